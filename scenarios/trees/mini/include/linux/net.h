/* Used by vmlinux and by modules. */
#ifndef LINUX_NET_H
#define LINUX_NET_H

#include <linux/types.h>

struct packet {
	struct packet *next;
	u32 length;
	u8 data[64];
};

int net_receive(struct packet *packet);
u32 net_received(void);

#endif
