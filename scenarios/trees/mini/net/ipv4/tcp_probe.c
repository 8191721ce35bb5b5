#include <linux/kernel.h>
#include <linux/mini_ids.h>
#include <linux/module.h>
#include <linux/net.h>

static u32 window;

mini_id_function void tcp_probe_ack(void)
{
	window++;
}

mini_id_function void tcp_probe_init(void)
{
	window = net_received();
}

mini_id_function void tcp_probe_loss(void)
{
	window /= 2;
}

mini_id_function u32 tcp_probe_window(void)
{
	return window;
}

/* Neither in the order of the ids nor with equal flags, so that a wrong sort can be seen. */
MINI_SET(tcp_probe);
MINI_ID_FLAGS(tcp_probe_loss, 0x10);
MINI_ID_FLAGS(tcp_probe_ack, 0x20);
MINI_ID_FLAGS(tcp_probe_window, 0x40);
MINI_ID_FLAGS(tcp_probe_init, 0x80);

static int tcp_probe_start(void)
{
	tcp_probe_init();
	return 0;
}
module_init(tcp_probe_start);
MODULE_LICENSE("MIT");
