/* Used by vmlinux alone. */
#ifndef LINUX_SCHED_H
#define LINUX_SCHED_H

#include <linux/types.h>

#define SCHED_SLICE 20

struct task {
	u32 pid;
	u32 slice;
	struct task *next;
};

void sched_init(void);
struct task *schedule(void);

#endif
