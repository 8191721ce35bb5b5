#include <linux/graft.h>

int pair_more(struct graft_task *task);
int pair_more(struct graft_task *task)
{
	return task->pid;
}
