// Package netdev is the only user of the kernel's network interfaces: it lists,
// watches and reads the links of a network namespace, moves them into a pod's
// namespace and back to the host, and restores their settings there. It hides
// rtnetlink(7), ethtool's ioctl, bpf(2) and the threads that namespaces need, and
// does not depend on Kubernetes.
//
// # Undo is a state
//
// Before a link is touched its whole State is read; Desired applies the user's
// config to a copy of it. Attach moves the link and converges on the wanted
// state, Detach moves it back and converges on the original one. Rollback, pod
// stop, crash recovery and a repeated call are all this one code path; what is
// already as wanted is not set.
//
// # What the kernel does
//
// Each of these was seen on 6.18 and shapes the code:
//
//   - A set-down flushes all IPv6 addresses and the permanent neighbors, so
//     State is read while the link is still up, and nothing sets it down.
//   - RTM_NEWLINK with a namespace and a name is not all or nothing: the kernel
//     moves first and then applies hardware address, MTU and name. A late
//     error leaves the link in the pod, down, under its host name.
//   - With the link's present name as an altname of the target's lo (the
//     guard), the kernel checks and applies the new name inside the move,
//     before anything is changed. So the move message holds a namespace and a
//     name and nothing else, and it either happens or it does not.
//   - The move keeps MTU, hardware address, altnames, alias, queue length,
//     group, flags and counters, and usually the ifindex. It loses addresses,
//     routes, neighbors and settings under /proc/sys/net, and leaves the link
//     down.
//   - Neither name nor ifindex is an identity. Ident is: parent device and
//     permanent address for hardware, and an altname of our own (the tag) for
//     virtual links, which moves with the link. A pod can forge names, tags
//     and indices, so in a pod they count only with the lower device.
//   - A dump of links without IFLA_EXT_MASK ends, with success, at a link whose
//     message is longer than a page.
//   - inode numbers of namespaces are used again; SO_NETNS_COOKIE is not.
//   - IPv6 addresses are dumped newest first, IPv4 addresses oldest first.
//     Source address selection depends on the order, so it is kept.
//   - One move takes about 16 ms at HZ=250, in rcu_barrier, whatever is done
//     around it, so links go one after another.
package netdev
