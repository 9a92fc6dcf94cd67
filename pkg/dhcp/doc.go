// Package dhcp leases addresses for an interface that is in a pod. It hides
// DHCP's messages, the sockets that they go through, and all that a server can
// get wrong: a server in a tenant's network is not trusted, so whatever it sends
// is bounded (accept4.go) and fitted to the pod's network (fit.go) before
// anybody sees it.
//
// A Lease is plain data, made to be stored: what is needed to extend and to
// release it, by any process. What is to be done with it, and when, is the pure
// function Next. A Client does it: one exchange of messages at a time, in the
// namespace that it is given, and nothing else. It sets no address; whoever calls
// it does.
//
// Times are counted from the machine's boot (Uptime): a step of the clock neither
// ends a lease nor lengthens it.
package dhcp
