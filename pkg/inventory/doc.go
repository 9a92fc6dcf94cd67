// Package inventory says what there is: it turns the links of a host, and
// what sysfs knows of them, into devices with attributes, and says of each
// link that is not offered why it is not.
//
// It hides the shape of sysfs, how a device gets a name that holds, what an
// attribute may look like so that one odd link cannot make the API server
// refuse a whole slice, which links a node would miss, and when to look again.
//
// Scan, Merge and Devices are pure given their arguments. Run alone has a
// clock and a goroutine. The package reads no network namespace: links come
// from netdev as a value, sysfs as a file system. Whatever is to be said is
// returned or called back; nothing is logged here.
//
// Four tables are the places to add to: attributes, rules, foreign and
// functionBuses.
package inventory
