#include <linux/device.h>
#include <linux/module.h>
#include <linux/nulldev.h>

#include "devids.h"

static struct device null_device = { .name = "null", .id = DEVID_NULL };

const u32 null_mode = NULLDEV_MODE;

static int null_start(void)
{
	return device_register(&null_device);
}
module_init(null_start);

static void null_stop(void)
{
	device_unregister(&null_device);
}
module_exit(null_stop);
MODULE_LICENSE("MIT");
