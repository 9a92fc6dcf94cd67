// SPDX-License-Identifier: GPL-2.0
/* fakeib: an interface with the addresses of IP over InfiniBand (20 bytes), for tests. Each packet is dropped. */
#include <linux/if_arp.h>
#include <linux/module.h>
#include <linux/netdevice.h>
#include <linux/platform_device.h>

#define ADDRESS 20 /* INFINIBAND_ALEN */

static struct platform_device *parent;
static struct net_device *ib;

static netdev_tx_t fake_xmit(struct sk_buff *skb, struct net_device *dev)
{
	dev_kfree_skb(skb);
	return NETDEV_TX_OK;
}

/* As ipoib(4) has it: the last 8 bytes can be set, the rest is the port's. */
static int fake_set_mac(struct net_device *dev, void *address)
{
	struct sockaddr_storage *to = address;

	if (memcmp(dev->dev_addr, to->__data, ADDRESS - 8))
		return -EINVAL;
	__dev_addr_set(dev, to->__data, ADDRESS);
	return 0;
}

static const struct net_device_ops fake_ops = { .ndo_start_xmit = fake_xmit, .ndo_set_mac_address = fake_set_mac };

static void fake_setup(struct net_device *dev)
{
	u8 address[ADDRESS] = { 0x80, 0, 0, 0x48, 0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0x24, 0x8a, 0x07, 0x03, 0, 0x1e, 0x2f, 0x30 };
	static const u8 everybody[ADDRESS] = { 0, 0xff, 0xff, 0xff, 0xff, 0x12, 0x40, 0x1b, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff };

	dev->netdev_ops = &fake_ops;
	dev->type = ARPHRD_INFINIBAND;
	dev->hard_header_len = 4;
	dev->addr_len = ADDRESS;
	dev->mtu = 2044;
	dev->min_mtu = 68;
	dev->max_mtu = 65520;
	dev->tx_queue_len = 256;
	dev->flags = IFF_BROADCAST | IFF_MULTICAST;
	memcpy(dev->broadcast, everybody, ADDRESS);
	memcpy(dev->perm_addr, address, ADDRESS);
	__dev_addr_set(dev, address, ADDRESS);
}

static int __init fake_init(void)
{
	int err;

	parent = platform_device_register_simple("fakeib", PLATFORM_DEVID_NONE, NULL, 0);
	if (IS_ERR(parent))
		return PTR_ERR(parent);
	ib = alloc_netdev(0, "ib%d", NET_NAME_ENUM, fake_setup);
	if (!ib) {
		platform_device_unregister(parent);
		return -ENOMEM;
	}
	SET_NETDEV_DEV(ib, &parent->dev);
	err = register_netdev(ib);
	if (err) {
		free_netdev(ib);
		platform_device_unregister(parent);
	}
	return err;
}

static void __exit fake_exit(void)
{
	unregister_netdev(ib);
	free_netdev(ib);
	platform_device_unregister(parent);
}

module_init(fake_init);
module_exit(fake_exit);
MODULE_LICENSE("GPL");
