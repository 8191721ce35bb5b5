#include <linux/export.h>
#include <linux/kernel.h>
#include <linux/net.h>

static u32 received;

int net_receive(struct packet *packet)
{
	if (!packet)
		return -1;
	received += packet->length;
	return 0;
}
EXPORT_SYMBOL(net_receive);

u32 net_received(void)
{
	return received;
}
EXPORT_SYMBOL(net_received);
