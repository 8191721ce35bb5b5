#include <linux/graft.h>

struct graft_event {
	int pid;
	unsigned long when;
};

struct graft_event graft_last_event;

void graft_trace(int pid);
void graft_trace(int pid)
{
	graft_last_event.pid = pid;
}
