#include <linux/module.h>
#include <linux/graft.h>
#include "exporter.h"

int graft_exported(struct graft_export *of)
{
	of->crc = graft_crc(&of->value, sizeof(of->value));
	return of->crc;
}
EXPORT_SYMBOL_GPL(graft_exported);

static int __init exporter_init(void)
{
	return 0;
}
module_init(exporter_init);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("exports a symbol");
