// SPDX-License-Identifier: GPL-2.0
/*
 * Test-only network driver for QEMU's NVMe PCI function (1b36:0010), the one
 * device of QEMU 7.2 that has an SR-IOV capability. PF and VFs each get an
 * Ethernet netdev, so that sysfs shows what an SR-IOV NIC shows. It drops all
 * packets, and keeps every setting of ethtool(8), dcb(8) and `ip link set vf`
 * that its NIC could have, in plain memory. Built against Linux 6.1 and 6.12.
 */
#include <linux/module.h>
#include <linux/version.h>
#include <linux/pci.h>
#include <linux/etherdevice.h>
#include <linux/ethtool.h>
#include <linux/if_link.h>
#include <linux/linkmode.h>
#include <linux/net_tstamp.h>
#include <linux/dcbnl.h>
#include <net/dcbnl.h>

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 9, 0)
#define ethtool_keee ethtool_eee
#endif

static uint vendor = 0x8086, device_pf = 0x1592, device_vf = 0x1889;
module_param(vendor, uint, 0444);
module_param(device_pf, uint, 0444);
module_param(device_vf, uint, 0444);
/* What the driver does with a setting: 0 takes it, 1 refuses it, 2 ignores it. */
static int mood;
module_param(mood, int, 0644);

#define MAXVF 64
#define QUEUES 8
#define INDIR 64
#define KEY 40
#define RULES 2048
#define FLOWS 0x20

struct fn_vf {
	u8 mac[ETH_ALEN];
	u16 vlan, qos;
	__be16 proto;
	u32 min_rate, max_rate, spoof, trust, rss_query;
	int link_state;
};

struct fn {
	struct pci_dev *pdev;
	int vf;
	struct fn_vf vfs[MAXVF];
	struct ethtool_link_ksettings link;
	struct ethtool_fecparam fec;
	struct ethtool_keee eee;
	struct ethtool_wolinfo wol;
	struct ethtool_ringparam ring;
	struct ethtool_coalesce coalesce[QUEUES];
	struct ethtool_pauseparam pause;
	struct ethtool_channels channels;
	u32 priv_flags, msg_level, rx_copybreak, tx_copybreak, indir[INDIR];
	u16 pfc_timeout;
	u8 downshift, key[KEY], hfunc;
	u64 hashed[FLOWS];
	struct ethtool_rx_flow_spec rules[RULES];
	bool used[RULES];
	struct hwtstamp_config stamp;
	struct ieee_ets ets;
	struct ieee_pfc pfc;
	struct ieee_maxrate maxrate;
	struct dcbnl_buffer buffer;
	u8 dcbx;
};

/* keep stores a setting in the driver's memory, as the mood is. */
static int keep(void *to, const void *from, size_t n)
{
	if (mood == 1)
		return -EBUSY;
	if (mood == 0)
		memcpy(to, from, n);
	return 0;
}
#define KEEP(to, from) keep(&(to), &(from), sizeof(to))

static netdev_tx_t fn_xmit(struct sk_buff *skb, struct net_device *dev)
{
	dev->stats.tx_packets++;
	dev->stats.tx_bytes += skb->len;
	dev_kfree_skb(skb);
	return NETDEV_TX_OK;
}

static int fn_open(struct net_device *d)
{
	netif_carrier_on(d);
	netif_start_queue(d);
	return 0;
}

static int fn_stop(struct net_device *d)
{
	netif_stop_queue(d);
	netif_carrier_off(d);
	return 0;
}

static int fn_ppn(struct net_device *d, char *n, size_t len)
{
	struct fn *p = netdev_priv(d);

	if (p->vf >= 0)
		return -EOPNOTSUPP;
	return snprintf(n, len, "p%d", PCI_FUNC(p->pdev->devfn)) >= len ? -EINVAL : 0;
}

static int fn_ppid(struct net_device *d, struct netdev_phys_item_id *id)
{
	struct fn *p = netdev_priv(d);
	struct pci_dev *pf = pci_physfn(p->pdev);

	id->id_len = 4;
	id->id[0] = pci_domain_nr(pf->bus);
	id->id[1] = pf->bus->number;
	id->id[2] = pf->devfn;
	id->id[3] = 1;
	return 0;
}

static int fn_ioctl(struct net_device *d, struct ifreq *r, int cmd)
{
	struct fn *p = netdev_priv(d);
	struct hwtstamp_config c;

	switch (cmd) {
	case SIOCGHWTSTAMP:
		return copy_to_user(r->ifr_data, &p->stamp, sizeof(p->stamp)) ? -EFAULT : 0;
	case SIOCSHWTSTAMP:
		if (copy_from_user(&c, r->ifr_data, sizeof(c)))
			return -EFAULT;
		return KEEP(p->stamp, c);
	}
	return -EOPNOTSUPP;
}

/* Virtual functions */

static struct fn_vf *fn_vf(struct net_device *d, int vf)
{
	struct fn *p = netdev_priv(d);

	return p->vf >= 0 || vf < 0 || vf >= MAXVF || vf >= pci_num_vf(p->pdev) ? NULL : &p->vfs[vf];
}

#define SET_VF(name, args, body) \
static int fn_vf_##name args { struct fn_vf *f = fn_vf(d, vf); if (!f) return -EINVAL; body }

SET_VF(mac, (struct net_device *d, int vf, u8 *m), return keep(f->mac, m, ETH_ALEN);)
SET_VF(vlan, (struct net_device *d, int vf, u16 v, u8 q, __be16 pr),
	u16 qos = q; return KEEP(f->vlan, v) ?: KEEP(f->qos, qos) ?: KEEP(f->proto, pr);)
SET_VF(rate, (struct net_device *d, int vf, int min, int max), return KEEP(f->min_rate, min) ?: KEEP(f->max_rate, max);)
SET_VF(spoof, (struct net_device *d, int vf, bool s), u32 v = s; return KEEP(f->spoof, v);)
SET_VF(trust, (struct net_device *d, int vf, bool s), u32 v = s; return KEEP(f->trust, v);)
SET_VF(rssq, (struct net_device *d, int vf, bool s), u32 v = s; return KEEP(f->rss_query, v);)
SET_VF(link, (struct net_device *d, int vf, int s), return KEEP(f->link_state, s);)
SET_VF(config, (struct net_device *d, int vf, struct ifla_vf_info *i),
	i->vf = vf; ether_addr_copy(i->mac, f->mac); i->vlan = f->vlan; i->qos = f->qos;
	i->vlan_proto = f->proto ?: htons(ETH_P_8021Q); i->min_tx_rate = f->min_rate; i->max_tx_rate = f->max_rate;
	i->spoofchk = f->spoof; i->trusted = f->trust; i->rss_query_en = f->rss_query; i->linkstate = f->link_state;
	return 0;)

static int fn_features(struct net_device *d, netdev_features_t f)
{
	return 0;
}

static const struct net_device_ops fn_ops = {
	.ndo_open = fn_open, .ndo_stop = fn_stop, .ndo_start_xmit = fn_xmit, .ndo_set_features = fn_features,
	.ndo_set_mac_address = eth_mac_addr, .ndo_validate_addr = eth_validate_addr, .ndo_eth_ioctl = fn_ioctl,
	.ndo_get_phys_port_name = fn_ppn, .ndo_get_phys_port_id = fn_ppid,
	.ndo_set_vf_mac = fn_vf_mac, .ndo_set_vf_vlan = fn_vf_vlan, .ndo_set_vf_rate = fn_vf_rate,
	.ndo_set_vf_spoofchk = fn_vf_spoof, .ndo_set_vf_trust = fn_vf_trust, .ndo_set_vf_rss_query_en = fn_vf_rssq,
	.ndo_set_vf_link_state = fn_vf_link, .ndo_get_vf_config = fn_vf_config,
};

/* ethtool */

static void fn_drvinfo(struct net_device *d, struct ethtool_drvinfo *i)
{
	struct fn *p = netdev_priv(d);

	strscpy(i->driver, KBUILD_MODNAME, sizeof(i->driver));
	strscpy(i->version, "1.0", sizeof(i->version));
	strscpy(i->fw_version, "0.0.1", sizeof(i->fw_version));
	strscpy(i->bus_info, pci_name(p->pdev), sizeof(i->bus_info));
}

/* As hardware does, it has no speed without carrier. */
static int fn_get_link(struct net_device *d, struct ethtool_link_ksettings *k)
{
	struct fn *p = netdev_priv(d);

	*k = p->link;
	if (!netif_carrier_ok(d)) {
		k->base.speed = SPEED_UNKNOWN;
		k->base.duplex = DUPLEX_UNKNOWN;
	}
	return 0;
}

static int fn_set_link(struct net_device *d, const struct ethtool_link_ksettings *k)
{
	struct fn *p = netdev_priv(d);
	struct ethtool_link_ksettings n = p->link;

	n.base.autoneg = k->base.autoneg;
	n.base.eth_tp_mdix_ctrl = k->base.eth_tp_mdix_ctrl;
	n.base.port = k->base.port;
	if (!n.base.autoneg) {
		if (k->base.speed != 1000 && k->base.speed != 10000 && k->base.speed != 25000)
			return -EINVAL;
		n.base.speed = k->base.speed;
		n.base.duplex = k->base.duplex;
	} else {
		n.base.speed = 25000;
		n.base.duplex = DUPLEX_FULL;
		bitmap_copy(n.link_modes.advertising, k->link_modes.advertising, __ETHTOOL_LINK_MODE_MASK_NBITS);
	}
	return KEEP(p->link, n);
}

/* STRUCT makes the pair of functions that get and set a whole struct. */
#define GETSET(name, type, field) \
static int fn_get_##name(struct net_device *d, type *v) { struct fn *p = netdev_priv(d); u32 cmd = v->cmd; *v = p->field; v->cmd = cmd; return 0; } \
static int fn_set_##name(struct net_device *d, type *v) { struct fn *p = netdev_priv(d); return KEEP(p->field, *v); }
GETSET(fec, struct ethtool_fecparam, fec)
GETSET(wolinfo, struct ethtool_wolinfo, wol)
GETSET(pauseparam, struct ethtool_pauseparam, pause)
GETSET(channelparam, struct ethtool_channels, channels)

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 9, 0)
GETSET(eee, struct ethtool_eee, eee)
#else
static int fn_get_eee(struct net_device *d, struct ethtool_keee *v) { *v = ((struct fn *)netdev_priv(d))->eee; return 0; }
static int fn_set_eee(struct net_device *d, struct ethtool_keee *v) { struct fn *p = netdev_priv(d); return KEEP(p->eee, *v); }
#endif

static void fn_get_wol(struct net_device *d, struct ethtool_wolinfo *w) { fn_get_wolinfo(d, w); }
static void fn_get_pause(struct net_device *d, struct ethtool_pauseparam *v) { fn_get_pauseparam(d, v); }
static void fn_get_channels(struct net_device *d, struct ethtool_channels *v) { fn_get_channelparam(d, v); }

static void fn_get_ring(struct net_device *d, struct ethtool_ringparam *r, struct kernel_ethtool_ringparam *k, struct netlink_ext_ack *e)
{
	struct fn *p = netdev_priv(d);

	*r = p->ring;
}

static int fn_set_ring(struct net_device *d, struct ethtool_ringparam *r, struct kernel_ethtool_ringparam *k, struct netlink_ext_ack *e)
{
	struct fn *p = netdev_priv(d);

	return KEEP(p->ring, *r);
}

static int fn_get_queue(struct net_device *d, u32 q, struct ethtool_coalesce *c)
{
	struct fn *p = netdev_priv(d);

	if (q >= p->channels.combined_count)
		return -EINVAL;
	*c = p->coalesce[q];
	c->cmd = ETHTOOL_GCOALESCE;
	return 0;
}

static int fn_set_queue(struct net_device *d, u32 q, struct ethtool_coalesce *c)
{
	struct fn *p = netdev_priv(d);

	return q >= p->channels.combined_count ? -EINVAL : KEEP(p->coalesce[q], *c);
}

static int fn_get_coalesce(struct net_device *d, struct ethtool_coalesce *c, struct kernel_ethtool_coalesce *k, struct netlink_ext_ack *e)
{
	return fn_get_queue(d, 0, c);
}

static int fn_set_coalesce(struct net_device *d, struct ethtool_coalesce *c, struct kernel_ethtool_coalesce *k, struct netlink_ext_ack *e)
{
	int q, err = 0;

	for (q = 0; q < QUEUES && !err; q++)
		err = fn_set_queue(d, q, c) == -EBUSY ? -EBUSY : 0;
	return err;
}

static u32 fn_get_msglevel(struct net_device *d) { return ((struct fn *)netdev_priv(d))->msg_level; }
static void fn_set_msglevel(struct net_device *d, u32 v) { struct fn *p = netdev_priv(d); KEEP(p->msg_level, v); }
static u32 fn_get_priv_flags(struct net_device *d) { return ((struct fn *)netdev_priv(d))->priv_flags; }
static int fn_set_priv_flags(struct net_device *d, u32 v) { struct fn *p = netdev_priv(d); return KEEP(p->priv_flags, v); }
static int fn_sset_count(struct net_device *d, int sset) { return sset == ETH_SS_PRIV_FLAGS ? 2 : -EOPNOTSUPP; }
static void fn_strings(struct net_device *d, u32 sset, u8 *b)
{
	strscpy(b, "first", ETH_GSTRING_LEN);
	strscpy(b + ETH_GSTRING_LEN, "second", ETH_GSTRING_LEN);
}

static int fn_tunable(struct net_device *d, const struct ethtool_tunable *t, void **at)
{
	struct fn *p = netdev_priv(d);

	switch (t->id) {
	case ETHTOOL_RX_COPYBREAK: *at = &p->rx_copybreak; return 0;
	case ETHTOOL_TX_COPYBREAK: *at = &p->tx_copybreak; return 0;
	case ETHTOOL_PFC_PREVENTION_TOUT: *at = &p->pfc_timeout; return 0;
	}
	return -EOPNOTSUPP;
}

static int fn_get_tunable(struct net_device *d, const struct ethtool_tunable *t, void *v)
{
	void *at;
	int err = fn_tunable(d, t, &at);

	if (!err)
		memcpy(v, at, t->len);
	return err;
}

static int fn_set_tunable(struct net_device *d, const struct ethtool_tunable *t, const void *v)
{
	void *at;

	return fn_tunable(d, t, &at) ?: keep(at, v, t->len);
}

static int fn_get_phy_tunable(struct net_device *d, const struct ethtool_tunable *t, void *v)
{
	if (t->id != ETHTOOL_PHY_DOWNSHIFT)
		return -EOPNOTSUPP;
	*(u8 *)v = ((struct fn *)netdev_priv(d))->downshift;
	return 0;
}

static int fn_set_phy_tunable(struct net_device *d, const struct ethtool_tunable *t, const void *v)
{
	struct fn *p = netdev_priv(d);

	return t->id != ETHTOOL_PHY_DOWNSHIFT ? -EOPNOTSUPP : keep(&p->downshift, v, 1);
}

static u32 fn_key_size(struct net_device *d) { return KEY; }
static u32 fn_indir_size(struct net_device *d) { return INDIR; }

static int fn_get_rxfh(struct net_device *d, u32 *indir, u8 *key, u8 *hfunc)
{
	struct fn *p = netdev_priv(d);

	if (indir)
		memcpy(indir, p->indir, sizeof(p->indir));
	if (key)
		memcpy(key, p->key, KEY);
	if (hfunc)
		*hfunc = p->hfunc;
	return 0;
}

static int fn_set_rxfh(struct net_device *d, const u32 *indir, const u8 *key, const u8 hfunc)
{
	struct fn *p = netdev_priv(d);
	int err = 0;

	if (indir)
		err = keep(p->indir, indir, sizeof(p->indir));
	if (key && !err)
		err = keep(p->key, key, KEY);
	if (hfunc && !err)
		err = keep(&p->hfunc, &hfunc, 1);
	return err;
}

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 8, 0)
#define fn_get_rss fn_get_rxfh
#define fn_set_rss fn_set_rxfh
#else
static int fn_get_rss(struct net_device *d, struct ethtool_rxfh_param *r) { return fn_get_rxfh(d, r->indir, r->key, &r->hfunc); }
static int fn_set_rss(struct net_device *d, struct ethtool_rxfh_param *r, struct netlink_ext_ack *e) { return fn_set_rxfh(d, r->indir, r->key, r->hfunc); }
#endif

static int fn_get_rxnfc(struct net_device *d, struct ethtool_rxnfc *c, u32 *locs)
{
	struct fn *p = netdev_priv(d);
	u32 i, n = 0;

	switch (c->cmd) {
	case ETHTOOL_GRXRINGS:
		c->data = p->channels.combined_count;
		return 0;
	case ETHTOOL_GRXFH:
		if (c->flow_type >= FLOWS)
			return -EINVAL;
		c->data = p->hashed[c->flow_type];
		return 0;
	case ETHTOOL_GRXCLSRLCNT:
	case ETHTOOL_GRXCLSRLALL:
		for (i = 0; i < RULES; i++) {
			if (!p->used[i])
				continue;
			if (c->cmd == ETHTOOL_GRXCLSRLALL) {
				if (n >= c->rule_cnt)
					return -EMSGSIZE;
				locs[n] = i;
			}
			n++;
		}
		c->rule_cnt = n;
		c->data = RULES;
		return 0;
	case ETHTOOL_GRXCLSRULE:
		if (c->fs.location >= RULES || !p->used[c->fs.location])
			return -ENOENT;
		c->fs = p->rules[c->fs.location];
		return 0;
	}
	return -EOPNOTSUPP;
}

static int fn_set_rxnfc(struct net_device *d, struct ethtool_rxnfc *c)
{
	struct fn *p = netdev_priv(d);
	bool use = c->cmd == ETHTOOL_SRXCLSRLINS;
	u32 at = c->fs.location;

	switch (c->cmd) {
	case ETHTOOL_SRXFH:
		return c->flow_type >= FLOWS ? -EINVAL : KEEP(p->hashed[c->flow_type], c->data);
	case ETHTOOL_SRXCLSRLINS:
	case ETHTOOL_SRXCLSRLDEL:
		if (at >= RULES || (!use && !p->used[at]))
			return -ENOENT;
		if (use && p->used[at])
			return -EEXIST;
		return KEEP(p->rules[at], c->fs) ?: KEEP(p->used[at], use);
	}
	return -EOPNOTSUPP;
}

static const struct ethtool_ops fn_eops = {
	.supported_coalesce_params = ETHTOOL_COALESCE_USECS | ETHTOOL_COALESCE_MAX_FRAMES,
	.get_drvinfo = fn_drvinfo, .get_link = ethtool_op_get_link, .get_link_ksettings = fn_get_link, .set_link_ksettings = fn_set_link,
	.get_fecparam = fn_get_fec, .set_fecparam = fn_set_fec, .get_eee = fn_get_eee, .set_eee = fn_set_eee,
	.get_wol = fn_get_wol, .set_wol = fn_set_wolinfo, .get_pauseparam = fn_get_pause, .set_pauseparam = fn_set_pauseparam,
	.get_channels = fn_get_channels, .set_channels = fn_set_channelparam, .get_ringparam = fn_get_ring, .set_ringparam = fn_set_ring,
	.get_coalesce = fn_get_coalesce, .set_coalesce = fn_set_coalesce,
	.get_per_queue_coalesce = fn_get_queue, .set_per_queue_coalesce = fn_set_queue,
	.get_msglevel = fn_get_msglevel, .set_msglevel = fn_set_msglevel, .get_priv_flags = fn_get_priv_flags, .set_priv_flags = fn_set_priv_flags,
	.get_sset_count = fn_sset_count, .get_strings = fn_strings, .get_tunable = fn_get_tunable, .set_tunable = fn_set_tunable,
	.get_phy_tunable = fn_get_phy_tunable, .set_phy_tunable = fn_set_phy_tunable,
	.get_rxfh_key_size = fn_key_size, .get_rxfh_indir_size = fn_indir_size, .get_rxfh = fn_get_rss, .set_rxfh = fn_set_rss,
	.get_rxnfc = fn_get_rxnfc, .set_rxnfc = fn_set_rxnfc,
};

/* Data center bridging */

#define DCB(name, type, field) \
static int fn_get_##name(struct net_device *d, type *v) { struct fn *p = netdev_priv(d); *v = p->field; return 0; } \
static int fn_set_##name(struct net_device *d, type *v) { struct fn *p = netdev_priv(d); return KEEP(p->field, *v); }
DCB(ets, struct ieee_ets, ets)
DCB(pfc, struct ieee_pfc, pfc)
DCB(maxrate, struct ieee_maxrate, maxrate)
DCB(buffer, struct dcbnl_buffer, buffer)
static u8 fn_get_dcbx(struct net_device *d) { return ((struct fn *)netdev_priv(d))->dcbx; }
static u8 fn_set_dcbx(struct net_device *d, u8 v) { struct fn *p = netdev_priv(d); return KEEP(p->dcbx, v) ? 1 : 0; }

static const struct dcbnl_rtnl_ops fn_dcb = {
	.ieee_getets = fn_get_ets, .ieee_setets = fn_set_ets, .ieee_getpfc = fn_get_pfc, .ieee_setpfc = fn_set_pfc,
	.ieee_getmaxrate = fn_get_maxrate, .ieee_setmaxrate = fn_set_maxrate,
	.dcbnl_getbuffer = fn_get_buffer, .dcbnl_setbuffer = fn_set_buffer, .getdcbx = fn_get_dcbx, .setdcbx = fn_set_dcbx,
};

static void fn_defaults(struct fn *p)
{
	int i;

	p->link.base = (struct ethtool_link_settings){ .speed = 25000, .duplex = DUPLEX_FULL, .port = PORT_FIBRE,
		.autoneg = AUTONEG_ENABLE, .eth_tp_mdix_ctrl = ETH_TP_MDI_AUTO };
	for (i = 0; i < 3; i++) {
		static const int modes[] = { ETHTOOL_LINK_MODE_1000baseT_Full_BIT, ETHTOOL_LINK_MODE_10000baseT_Full_BIT, ETHTOOL_LINK_MODE_25000baseCR_Full_BIT };

		__set_bit(modes[i], p->link.link_modes.supported);
		__set_bit(modes[i], p->link.link_modes.advertising);
	}
	__set_bit(ETHTOOL_LINK_MODE_Autoneg_BIT, p->link.link_modes.supported);
	p->fec.fec = ETHTOOL_FEC_AUTO;
	p->fec.active_fec = ETHTOOL_FEC_RS;
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 9, 0)
	p->eee.supported = SUPPORTED_1000baseT_Full | SUPPORTED_100baseT_Full;
	p->eee.advertised = p->eee.supported;
#else
	linkmode_set_bit(ETHTOOL_LINK_MODE_1000baseT_Full_BIT, p->eee.supported);
	linkmode_set_bit(ETHTOOL_LINK_MODE_100baseT_Full_BIT, p->eee.supported);
	linkmode_copy(p->eee.advertised, p->eee.supported);
#endif
	p->wol.supported = WAKE_MAGIC | WAKE_MAGICSECURE | WAKE_PHY;
	p->ring = (struct ethtool_ringparam){ .rx_max_pending = 4096, .tx_max_pending = 4096, .rx_pending = 512, .tx_pending = 512 };
	p->channels = (struct ethtool_channels){ .max_combined = QUEUES, .combined_count = 4 };
	for (i = 0; i < INDIR; i++)
		p->indir[i] = i % 4;
	for (i = 0; i < KEY; i++)
		p->key[i] = i;
	p->hfunc = ETH_RSS_HASH_TOP;
	for (i = TCP_V4_FLOW; i <= IPV6_FLOW; i++)
		p->hashed[i] = RXH_IP_SRC | RXH_IP_DST;
	p->dcbx = DCB_CAP_DCBX_HOST | DCB_CAP_DCBX_VER_IEEE;
	p->ets.ets_cap = 8;
	p->pfc.pfc_cap = 8;
	p->buffer.total_size = 1 << 20;
}

static int fn_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct net_device *d;
	struct fn *p;
	u8 mac[ETH_ALEN] = { 0x02, 0xfa, 0, 0, 0, 0 };
	int err;

	/* before the BARs or the interrupt vectors are used: the netdev needs none */
	d = alloc_etherdev_mqs(sizeof(*p), QUEUES, QUEUES);
	if (!d)
		return -ENOMEM;
	p = netdev_priv(d);
	p->pdev = pdev;
	p->vf = -1;
#ifdef CONFIG_PCI_IOV
	if (pdev->is_virtfn)
		p->vf = pci_iov_vf_id(pdev);
#endif
	if (vendor && pdev->device == 0x0010) { /* what sysfs shows; config space still has QEMU's ids */
		pdev->vendor = vendor;
		pdev->device = pdev->is_virtfn ? device_vf : device_pf;
		pdev->class = PCI_CLASS_NETWORK_ETHERNET << 8;
	}
	fn_defaults(p);
	SET_NETDEV_DEV(d, &pdev->dev);
	d->netdev_ops = &fn_ops;
	d->ethtool_ops = &fn_eops;
	if (p->vf < 0)
		d->dcbnl_ops = &fn_dcb;
	d->hw_features |= NETIF_F_NTUPLE | NETIF_F_RXHASH | NETIF_F_LOOPBACK;
	d->features |= NETIF_F_NTUPLE;
	d->max_mtu = 9702;
	d->dev_port = 0;
	mac[2] = pci_domain_nr(pdev->bus);
	mac[3] = pdev->bus->number;
	mac[4] = pdev->devfn;
	mac[5] = p->vf + 1;
	if (p->vf >= 0 && p->vf < MAXVF) { /* as hardware does: what the PF has given it, if anything */
		struct net_device *pf = pci_get_drvdata(pci_physfn(pdev));

		if (pf && is_valid_ether_addr(((struct fn *)netdev_priv(pf))->vfs[p->vf].mac))
			ether_addr_copy(mac, ((struct fn *)netdev_priv(pf))->vfs[p->vf].mac);
	}
	eth_hw_addr_set(d, mac);
	netif_carrier_off(d);
	err = register_netdev(d);
	if (err) {
		free_netdev(d);
		return err;
	}
	pci_set_drvdata(pdev, d);
	dev_info(&pdev->dev, "fakenic: %s is %s\n", d->name, p->vf >= 0 ? "VF" : "PF");
	return 0;
}

static void fn_remove(struct pci_dev *pdev)
{
	struct net_device *d = pci_get_drvdata(pdev);

	if (!pdev->is_virtfn)
		pci_disable_sriov(pdev);
	unregister_netdev(d);
	free_netdev(d);
	if (vendor) { /* the ids that fn_ids has, to be bound again */
		pdev->vendor = 0x1b36;
		pdev->device = 0x0010;
	}
}

static int fn_sriov(struct pci_dev *pdev, int n)
{
	int err;

	if (!n) {
		pci_disable_sriov(pdev);
		return 0;
	}
	err = pci_enable_sriov(pdev, n);
	return err ? err : n;
}

/* The core gives a VF its PF's vendor, which is changed by then. */
static const struct pci_device_id fn_ids[] = { { PCI_DEVICE(0x1b36, 0x0010) }, { PCI_DEVICE(PCI_ANY_ID, 0x0010) }, { } };
MODULE_DEVICE_TABLE(pci, fn_ids);
static struct pci_driver fn_drv = { .name = "fakenic", .id_table = fn_ids, .probe = fn_probe, .remove = fn_remove, .sriov_configure = fn_sriov };
module_pci_driver(fn_drv);
MODULE_DESCRIPTION("A mock NIC for tests");
MODULE_LICENSE("GPL");
