#include <linux/device.h>
#include <linux/export.h>
#include <linux/kernel.h>

static struct device *devices;

int device_register(struct device *dev)
{
	dev->next = devices;
	devices = dev;
	return printk(LOG_LEVEL_DEFAULT, dev->name);
}
EXPORT_SYMBOL(device_register);

void device_unregister(struct device *dev)
{
	for (struct device **p = &devices; *p; p = &(*p)->next) {
		if (*p == dev) {
			*p = dev->next;
			return;
		}
	}
}
EXPORT_SYMBOL(device_unregister);
