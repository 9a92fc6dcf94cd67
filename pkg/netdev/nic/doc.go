// Package nic holds the plain types of a network interface that packages share:
// what a config sets, hardware addresses and counters. Each is declared once: the
// API of every version decodes into Config, and netdev applies it.
//
// The package imports the standard library only and builds for every system, so
// that a client of the API needs no Linux.
package nic
