#include <linux/module.h>
#include <linux/graft.h>

int graft_first(int value);
int graft_first(int value)
{
	return value + graft_count();
}
EXPORT_SYMBOL_GPL(graft_first);

MODULE_DESCRIPTION("an external module that exports a symbol");
MODULE_IMPORT_NS(GRAFT_NS);
MODULE_LICENSE("GPL");
