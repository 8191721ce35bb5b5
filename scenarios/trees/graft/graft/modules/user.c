#include <linux/module.h>
#include <linux/graft.h>

int graft_exported(int value);

static int __init user_init(void)
{
	return graft_exported(graft_count());
}
module_init(user_init);
MODULE_LICENSE("GPL");
MODULE_IMPORT_NS(GRAFT_NS);
MODULE_DESCRIPTION("uses symbols of vmlinux and of another module");
