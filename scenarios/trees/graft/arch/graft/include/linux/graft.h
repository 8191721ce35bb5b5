#ifndef _LINUX_GRAFT_H
#define _LINUX_GRAFT_H

#include <linux/graft-namespace.h>
#include <linux/types.h>

struct graft_task {
	int pid;
	char comm[16];
	struct graft_task *next;
};

extern struct graft_task graft_init_task;
void graft_register(struct graft_task *task);
int graft_count(void);
void graft_banner(void);
int graft_isdigit(int c);
unsigned int graft_crc(const void *data, unsigned long size);

#endif
