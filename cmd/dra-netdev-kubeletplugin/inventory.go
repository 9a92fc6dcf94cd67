package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"unicode/utf8"

	"github.com/spf13/cobra"
	resourceapi "k8s.io/api/resource/v1"
	"k8s.io/dynamic-resource-allocation/deviceattribute"
	"sigs.k8s.io/yaml"

	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
	"github.com/dra-netdev/dra-netdev/pkg/inventory"
	"github.com/dra-netdev/dra-netdev/pkg/netdev"
)

// formats are the values of --output, each with the function that prints it.
var formats = map[string]func(io.Writer, []inventory.Device) error{
	"table": printTable,
	"json":  printJSON,
	"yaml":  printYAML,
}

func inventoryCommand(o *options) *cobra.Command {
	var format string
	var all bool
	var addresses []string
	c := &cobra.Command{
		Use:   "inventory",
		Short: "Print the devices that the driver offers on this node",
		Long: `Print the devices that the driver offers on this node. The list comes from the
running driver, through --health-socket, which is set in the driver's pod:

  kubectl -n dra-netdev exec ds/dra-netdev -- /dra-netdev-kubeletplugin inventory --all

With an empty --health-socket the command scans the interfaces of its own
network namespace instead.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			show := formats[format]
			if show == nil {
				return fmt.Errorf("--output: %q: must be table, json or yaml", format)
			}
			devices, err := o.inventory(c.Context(), addresses, c.ErrOrStderr())
			if err != nil {
				return err
			}
			if !all {
				devices = slices.DeleteFunc(devices, func(d inventory.Device) bool { return d.Skipped != "" })
			}
			return show(c.OutOrStdout(), devices)
		},
	}
	c.Flags().StringVarP(&format, "output", "o", "table", "table, json or yaml")
	c.Flags().BoolVar(&all, "all", false, "also print the interfaces that are not offered, with the reason")
	c.Flags().StringSliceVar(&addresses, "node-address", nil, "addresses of the Node object, for a scan without the driver: interfaces that have one are not offered")
	return c
}

// caveat is printed by a scan without the driver: what that scan does not know.
const caveat = `dra-netdev-kubeletplugin: scanned without the driver (--health-socket is empty). The driver also knows
the node's addresses (here: --node-address), its own --filter, --include and --attributes (here: those of this command) and which devices are in pods.
`

// inventory returns the driver's list, or scans the links if there is no
// --health-socket.
func (o *options) inventory(ctx context.Context, addresses []string, warn io.Writer) ([]inventory.Device, error) {
	var attributes []byte
	var err error
	if o.Attributes != "" {
		if attributes, err = os.ReadFile(o.Attributes); err != nil {
			return nil, fmt.Errorf("--attributes: %w", err)
		}
	}
	if o.HealthSocket != "" {
		devices, err := o.Inventory(ctx, o.filter, o.include, string(attributes))
		if err != nil {
			return nil, fmt.Errorf("get the list from the driver at --health-socket %s: %w", o.HealthSocket, err)
		}
		return devices, nil
	}
	var opts inventory.Options
	for _, text := range addresses {
		addr, err := netip.ParseAddr(text)
		if err != nil {
			return nil, fmt.Errorf("--node-address: %w", err)
		}
		opts.NodeAddresses = append(opts.NodeAddresses, addr)
	}
	if opts.Multus, err = o.Multus, checkMultus(o.Multus); err != nil {
		return nil, err
	}
	if opts.Filter, err = inventory.NewFilter(o.filter); err != nil {
		return nil, fmt.Errorf("--filter: %w", err)
	}
	if opts.Include, err = inventory.NewFilter(o.include); err != nil {
		return nil, fmt.Errorf("--include: %w", err)
	}
	added, err := inventory.ParseAdditions(attributes, o.NodeName)
	if err != nil {
		return nil, fmt.Errorf("--attributes: %s: %w", o.Attributes, err)
	}
	links, err := netdev.Links(ctx)
	if err != nil {
		return nil, err
	}
	fmt.Fprint(warn, caveat)
	devices, _ := added.Apply(inventory.Scan(links, sysfs(), opts))
	return devices, nil
}

func printTable(w io.Writer, devices []inventory.Device) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	header := "DEVICE\tINTERFACE\tTYPE\tSTATE\tMTU\tMAC\tPCI\tADDRESSES\tNOT OFFERED BECAUSE"
	some := slices.ContainsFunc(devices, func(d inventory.Device) bool { return d.Included != "" })
	if some {
		header += "\tINCLUDED ALTHOUGH"
	}
	added := slices.ContainsFunc(devices, func(d inventory.Device) bool { return len(d.Added) > 0 })
	if added {
		header += "\tADDED ATTRIBUTES"
	}
	fmt.Fprintln(t, header)
	for _, d := range devices {
		a := func(name resourceapi.QualifiedName) string {
			switch v := d.Attributes[name]; {
			case v.StringValue != nil && *v.StringValue != "":
				return *v.StringValue
			case v.IntValue != nil:
				return strconv.FormatInt(*v.IntValue, 10)
			}
			return "-"
		}
		addresses := "-"
		for _, p := range d.Link.Addresses {
			if addresses == "-" {
				addresses = p.String()
				continue
			}
			addresses += "," + p.String()
		}
		cells := []string{d.Name, a(v1alpha1.AttributeIfName), a(v1alpha1.AttributeType), a(v1alpha1.AttributeState), a(v1alpha1.AttributeMTU),
			a(v1alpha1.AttributeMAC), a(deviceattribute.StandardDeviceAttributePCIBusID), addresses, d.Skipped}
		if some {
			cells = append(cells, d.Included)
		}
		if added {
			cells = append(cells, addedAttributes(d))
		}
		for i, cell := range cells {
			cells[i] = printable(cell)
		}
		fmt.Fprintln(t, strings.Join(cells, "\t"))
	}
	return t.Flush()
}

// addedAttributes lists the attributes that the administrator has added to a
// device: example.com/rail=1.
func addedAttributes(d inventory.Device) string {
	var list []string
	for _, name := range d.Added {
		var value any
		switch a := d.Attributes[name]; {
		case a.StringValue != nil:
			value = *a.StringValue
		case a.IntValue != nil:
			value = *a.IntValue
		case a.BoolValue != nil:
			value = *a.BoolValue
		case a.VersionValue != nil:
			value = *a.VersionValue
		}
		list = append(list, fmt.Sprintf("%s=%v", name, value))
	}
	return strings.Join(list, ",")
}

// printable escapes what could control a terminal: a link's name may have nearly
// any byte.
func printable(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return !strconv.IsPrint(r) || r == utf8.RuneError }) {
		quoted := strconv.Quote(s)
		return quoted[1 : len(quoted)-1]
	}
	return s
}

func printJSON(w io.Writer, devices []inventory.Device) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(plain(devices))
}

func printYAML(w io.Writer, devices []inventory.Device) error {
	text, err := yaml.Marshal(plain(devices))
	if err != nil {
		return err
	}
	_, err = w.Write(text)
	return err
}

// plain returns an empty list for nil, which JSON would show as null.
func plain(devices []inventory.Device) []inventory.Device {
	if devices == nil {
		return []inventory.Device{}
	}
	return devices
}
