#include <linux/kernel.h>
#include <linux/sched.h>

static struct task idle;
static struct task *current_task;

void trace_switch(u32 pid);

void sched_init(void)
{
	idle.slice = SCHED_SLICE;
	idle.next = &idle;
	current_task = &idle;
}

struct task *schedule(void)
{
	current_task = current_task->next;
#ifdef CONFIG_TRACE
	trace_switch(current_task->pid);
#endif
	return current_task;
}
