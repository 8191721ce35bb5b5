#include <linux/export.h>
#include <linux/module.h>

/* MODVERSIONS wants its checksum in every module. */
void module_layout(struct module *mod, struct modversion_info *versions);
void module_layout(struct module *mod, struct modversion_info *versions)
{
}
EXPORT_SYMBOL(module_layout);
