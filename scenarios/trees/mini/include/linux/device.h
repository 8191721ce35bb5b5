/* Used by vmlinux and by modules. */
#ifndef LINUX_DEVICE_H
#define LINUX_DEVICE_H

#include <linux/types.h>

struct device {
	const char *name;
	u32 id;
	struct device *next;
};

int device_register(struct device *dev);
void device_unregister(struct device *dev);

#endif
