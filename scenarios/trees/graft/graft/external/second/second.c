#include <linux/module.h>

int graft_first(int value);

static int __init second_init(void)
{
	return graft_first(2);
}
module_init(second_init);

MODULE_DESCRIPTION("an external module that uses another's symbol");
MODULE_LICENSE("GPL");
