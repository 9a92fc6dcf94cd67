package driver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"k8s.io/klog/v2"

	"github.com/dra-netdev/dra-netdev/pkg/inventory"
	"github.com/dra-netdev/dra-netdev/pkg/netdev"
)

const (
	inventoryPath = "/inventory"
	filterParam   = "filter"
	includeParam  = "include"
	attrParam     = "attributes"
	offerTimeout  = 15 * time.Second
)

// Inventory asks the running driver that serves c.HealthSocket for all devices
// of its node, those that are not offered with the reason. The driver scans
// anew and decides as it does for its ResourceSlices; expressions, and a text of
// attributes, that are not empty are tried in place of its own Filter, Include
// and Attributes.
func (c Config) Inventory(ctx context.Context, filter, include, attributes string) (devices []inventory.Device, err error) {
	client := http.Client{Timeout: offerTimeout, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", c.HealthSocket)
		},
	}}
	// The host, driver, is a name only: the socket is what is dialed.
	form := url.Values{filterParam: {filter}, includeParam: {include}, attrParam: {attributes}}.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://driver"+inventoryPath, strings.NewReader(form))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, maxNote))
		return nil, errors.New(strings.TrimSpace(string(text)))
	}
	return devices, json.NewDecoder(resp.Body).Decode(&devices)
}

// serveInventory answers Config.Inventory. Only the socket has it, which is the
// pod's own: at the address anybody on the node could ask.
func (d *Driver) serveInventory(w http.ResponseWriter, r *http.Request) {
	devices, status, err := d.inventory(r.Context(), r.FormValue(filterParam), r.FormValue(includeParam), r.FormValue(attrParam))
	if err != nil {
		http.Error(w, err.Error(), status)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(devices); err != nil {
		klog.FromContext(r.Context()).Error(err, "Failed to send the inventory")
	}
}

// inventory returns the devices of the node as they are now, or an error with
// its HTTP status.
func (d *Driver) inventory(ctx context.Context, filter, include, attributes string) (devices []inventory.Device, status int, err error) {
	if !d.nodes.areKnown() {
		return nil, http.StatusServiceUnavailable, fmt.Errorf("the addresses of node %s are not known yet", d.cfg.NodeName)
	}
	opts := d.scanOptions()
	for _, f := range []struct {
		flag, expression string
		filter           **inventory.Filter
	}{{"--filter", filter, &opts.Filter}, {"--include", include, &opts.Include}} {
		if f.expression == "" {
			continue
		}
		if *f.filter, err = inventory.NewFilter(f.expression); err != nil {
			return nil, http.StatusBadRequest, fmt.Errorf("%s: %w", f.flag, err)
		}
	}
	added := d.added.get()
	if attributes != "" {
		if added, err = inventory.ParseAdditions([]byte(attributes), d.cfg.NodeName); err != nil {
			return nil, http.StatusBadRequest, fmt.Errorf("--attributes: %w", err)
		}
	}
	links, err := netdev.Links(ctx)
	if err == nil {
		devices, _ = added.Apply(withHeld(inventory.Scan(links, d.cfg.Sys, opts), d.store.All()))
	}
	return devices, http.StatusInternalServerError, err
}
