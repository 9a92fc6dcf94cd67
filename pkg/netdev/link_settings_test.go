package netdev

// linkSettings returns link settings with one word in each mask.
func linkSettings(autoneg byte, speed uint32, duplex byte, modes uint32) []byte {
	b := put(put(make([]byte, lsSize+masks*4), lsSpeed, speed), lsSize+4, modes)
	b[lsWords], b[lsAutoneg], b[lsDuplex] = 1, autoneg, duplex
	return b
}

func linkSamples() map[string][]sample {
	plain := make([]byte, 92)
	const sp, off, on = unknownSpeed, 0, 1
	return map[string][]sample{
		"forward error correction": {
			{"other", put(plain[:16], 8, 4), put(plain[:16], 8, 2), []string{"set forward error correction"}, ""},
			{"in effect only", put(plain[:16], 4, 4), plain[:16], nil, ""},
		},
		"energy-efficient Ethernet": {
			{"enabled", put(plain[:40], 20, 1), plain[:40], []string{"set energy-efficient Ethernet"}, ""},
			{"the peer's and in effect only", put(put(plain[:40], 12, 8), 16, 1), plain[:40], nil, ""},
		},
		"wake-on-LAN": {
			{"other", put(plain[:20], wolOptions, 1), put(plain[:20], wolOptions, 32), []string{"set wake-on-LAN"}, ""},
			{"password", put(plain[:20], wolPassword, 1), put(plain[:20], wolPassword, 2), []string{"set wake-on-LAN"}, ""},
		},
		"timestamping": {
			{"other", put(plain[:12], 4, 1), plain[:12], []string{"set timestamping"}, ""},
			{"another size", plain[:12], plain[:11], nil, errOtherForm.Error()},
		},
		"link settings": {
			{"no carrier", linkSettings(on, sp, 0xff, 3), linkSettings(on, 1000, 1, 3), nil, ""},
			{"advertised modes", linkSettings(on, sp, 0xff, 1), linkSettings(on, 1000, 1, 3), []string{"set link settings"}, ""},
			{"autonegotiation off", linkSettings(off, 10, 0, 3), linkSettings(on, 1000, 1, 3), []string{"set link settings"}, ""},
			{"speed", linkSettings(off, 10, 1, 3), linkSettings(off, 100, 1, 3), []string{"set link settings, unless operation not supported"}, ""},
			{"speed that was unknown", linkSettings(off, 10, 1, 3), linkSettings(off, sp, 0xff, 3), []string{"set link settings, unless operation not supported, invalid argument"}, ""},
			{"port", put8(linkSettings(on, 10, 1, 3), lsPort, 1), linkSettings(on, 10, 1, 3), []string{"set link settings, unless operation not supported"}, ""},
			{"MDI-X", put8(linkSettings(on, 10, 1, 3), lsMDIX, 1), linkSettings(on, 10, 1, 3), []string{"set link settings"}, ""},
			{"master-slave mode", put8(linkSettings(on, 10, 1, 3), lsMasterSlave, 2), linkSettings(on, 10, 1, 3), nil, "master-slave mode is 2, was 0, and cannot be set"},
			{"more words than bytes", put8(linkSettings(on, 10, 1, 3), lsWords, 4), linkSettings(on, 10, 1, 3), nil, errOtherForm.Error()},
			{"words below zero", linkSettings(on, 10, 1, 3), put8(linkSettings(on, 10, 1, 3), lsWords, 0x80), nil, errOtherForm.Error()},
		},
		"coalescing of queues": {
			{"two of three", make([]byte, queuesHeader+3*queueSize), put(put(make([]byte, queuesHeader+3*queueSize), queuesHeader+4, 7), queuesHeader+2*queueSize+4, 8), []string{"set coalescing of queues"}, ""},
			{"other channels", make([]byte, queuesHeader+queueSize), make([]byte, queuesHeader), nil, errOtherForm.Error()},
		},
	}
}
