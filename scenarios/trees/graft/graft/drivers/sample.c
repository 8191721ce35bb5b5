#include <linux/module.h>
#include <linux/graft.h>

static int level = CONFIG_GRAFT_LEVEL;
module_param(level, int, 0444);
MODULE_PARM_DESC(level, "how much is said");

static struct graft_task sample = { .pid = 9, .comm = "sample" };

static int __init sample_init(void)
{
	graft_register(&sample);
	return level;
}
module_init(sample_init);

MODULE_DESCRIPTION("built in or a module");
MODULE_LICENSE("GPL");
