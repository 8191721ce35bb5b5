#include <linux/graft.h>
#include "pair-table.h"

int pair_more(struct graft_task *task);
int pair_more(struct graft_task *task)
{
	return pair_table[task->pid % (sizeof(pair_table) / sizeof(*pair_table))];
}
