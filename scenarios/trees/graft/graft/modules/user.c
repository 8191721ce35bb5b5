#include <linux/module.h>
#include <linux/graft.h>
#include "exporter.h"

static int __init user_init(void)
{
	struct graft_export of = { .value = graft_count() };

	return graft_isdigit(of.value) ? graft_exported(&of) : 0;
}
module_init(user_init);
MODULE_LICENSE("GPL");
MODULE_IMPORT_NS(GRAFT_NS);
MODULE_DESCRIPTION("uses symbols of vmlinux, of its library, and of another module");
