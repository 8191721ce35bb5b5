#ifndef _LINUX_GRAFT_H
#define _LINUX_GRAFT_H

#include <linux/types.h>
#include <linux/version.h>

/* cdd30ebb1b9f (v6.13) made the namespace a string. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 13, 0)
#define GRAFT_NS "GRAFT"
#else
#define GRAFT_NS GRAFT
#endif

struct graft_task {
	int pid;
	char comm[16];
	struct graft_task *next;
};

extern struct graft_task graft_init_task;
void graft_register(struct graft_task *task);
int graft_count(void);
void graft_banner(void);
unsigned int graft_crc(const void *data, unsigned long size);

#endif
