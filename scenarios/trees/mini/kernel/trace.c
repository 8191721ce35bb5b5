#include <linux/kernel.h>

static u32 ring[16];
static u32 head;

void trace_switch(u32 pid)
{
	ring[head % ARRAY_SIZE(ring)] = crc32(head, (const u8 *)&pid, sizeof(pid));
	head++;
}
