#include <linux/module.h>
#include <linux/graft.h>

int pair_more(struct graft_task *task);

static struct graft_task task = { .pid = 7, .comm = "pair" };

static int __init pair_init(void)
{
	graft_register(&task);
	return pair_more(&task);
}
module_init(pair_init);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("of two objects");
