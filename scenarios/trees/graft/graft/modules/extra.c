#include <linux/module.h>

static int __init extra_init(void)
{
	return 0;
}
module_init(extra_init);

MODULE_DESCRIPTION("switched on by an edit");
MODULE_LICENSE("GPL");
