#include <linux/module.h>

static int level = 3;
module_param(level, int, 0444);
MODULE_PARM_DESC(level, "how deep");

static int __init deep_init(void)
{
	return level;
}
module_init(deep_init);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("in a directory of its own, with a parameter");
