// Package inventory lists the network interfaces of a node as devices that
// claims can request, and gives a reason for each interface that is not
// offered.
//
// Its input are links (from package netdev) and sysfs; its output are devices
// with attributes, as ResourceSlices need them. It hides the layout of sysfs,
// how a device gets a name that does not change, the API's limits on attributes
// (one odd link must not make the API server refuse a whole slice), which links
// the node itself needs, and when to scan again.
//
// Scan, Merge and Devices are pure functions of their arguments. Only Run has a
// clock and a goroutine. The package enters no network namespace: it gets links
// from netdev as values and sysfs as a file system. It logs nothing: results
// and errors are returned or passed to a callback.
//
// To extend it, add a row to one of its tables: attributes, spare, capacities,
// multus, rules, foreign, bmcVendors and functionBuses.
package inventory
