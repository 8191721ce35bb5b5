#include <linux/device.h>
#include <linux/module.h>

#include "devids.h"

static struct device zero_device = { .name = "zero", .id = DEVID_ZERO };

const u8 zero_page[64];

static int zero_start(void)
{
	return device_register(&zero_device);
}
module_init(zero_start);

static void zero_stop(void)
{
	device_unregister(&zero_device);
}
module_exit(zero_stop);
MODULE_LICENSE("MIT");
