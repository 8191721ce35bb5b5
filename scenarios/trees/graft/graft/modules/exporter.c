#include <linux/module.h>
#include <linux/graft.h>

int graft_exported(int value);

int graft_exported(int value)
{
	return graft_crc(&value, sizeof(value));
}
EXPORT_SYMBOL_GPL(graft_exported);

static int __init exporter_init(void)
{
	return 0;
}
module_init(exporter_init);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("exports a symbol");
