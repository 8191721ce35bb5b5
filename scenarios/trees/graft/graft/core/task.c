#include <linux/module.h>
#include <linux/graft.h>

static struct graft_task *first;

void graft_register(struct graft_task *task)
{
	task->next = first;
	first = task;
}
EXPORT_SYMBOL(graft_register);

int graft_count(void)
{
	int count = 0;

	for (struct graft_task *task = first; task; task = task->next)
		count++;
	return count;
}
EXPORT_SYMBOL_NS_GPL(graft_count, GRAFT_NS);
