/* A module that the mini tree does not have. */
#include <linux/kernel.h>
#include <linux/module.h>

static int crc_start(void)
{
	return 0;
}
module_init(crc_start);
MODULE_LICENSE("MIT");
