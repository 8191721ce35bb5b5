/* The kernel that is built here never runs: it is linked, described and compared. */
#include <linux/init.h>
#include <linux/graft.h>

struct graft_task graft_init_task = { .pid = 0, .comm = "swapper" };

void start_kernel(void);
void __init start_kernel(void)
{
	graft_register(&graft_init_task);
	graft_banner();
	for (;;)
		;
}
