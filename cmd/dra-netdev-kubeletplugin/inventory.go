package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"

	"github.com/spf13/cobra"
	resourceapi "k8s.io/api/resource/v1"
	"sigs.k8s.io/yaml"

	"github.com/dra-netdev/dra-netdev/pkg/inventory"
	"github.com/dra-netdev/dra-netdev/pkg/netdev"
)

// formats are what -o takes.
var formats = map[string]func(io.Writer, []inventory.Device) error{
	"table": printTable,
	"json":  printJSON,
	"yaml":  printYAML,
}

func inventoryCommand(o *options) *cobra.Command {
	var format string
	var all bool
	c := &cobra.Command{
		Use:   "inventory",
		Short: "Print this host's devices as the driver would offer them",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			show := formats[format]
			if show == nil {
				return fmt.Errorf("--output: %q: must be table, json or yaml", format)
			}
			filter, err := inventory.NewFilter(o.filter)
			if err != nil {
				return fmt.Errorf("--filter: %w", err)
			}
			links, err := netdev.Links(c.Context())
			if err != nil {
				return err
			}
			var devices []inventory.Device
			for _, d := range inventory.Scan(links, sysfs(), inventory.Options{Filter: filter}) {
				if all || d.Skipped == "" {
					devices = append(devices, d)
				}
			}
			return show(c.OutOrStdout(), devices)
		},
	}
	c.Flags().StringVarP(&format, "output", "o", "table", "table, json or yaml")
	c.Flags().BoolVar(&all, "all", false, "also the links that are not offered, with the reason")
	return c
}

func printTable(w io.Writer, devices []inventory.Device) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "DEVICE\tINTERFACE\tTYPE\tSTATE\tMTU\tMAC\tPCI\tADDRESSES\tNOT OFFERED BECAUSE")
	for _, d := range devices {
		a := func(name string) string {
			switch v := d.Attributes[resourceapi.QualifiedName(name)]; {
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
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", d.Name, a("ifName"), a("type"), a("state"), a("mtu"), a("mac"), a("pciAddress"), addresses, d.Skipped)
	}
	return t.Flush()
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

// plain makes no devices an empty list, not null.
func plain(devices []inventory.Device) []inventory.Device {
	if devices == nil {
		return []inventory.Device{}
	}
	return devices
}
