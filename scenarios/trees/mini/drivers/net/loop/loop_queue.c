#include <linux/kernel.h>

#include "loop.h"

static struct packet *queue[LOOP_QUEUE_LENGTH];
static u32 head, tail;

int loop_enqueue(struct packet *packet)
{
	if (tail - head == ARRAY_SIZE(queue))
		return -1;
	queue[tail++ % ARRAY_SIZE(queue)] = packet;
	return 0;
}

struct packet *loop_dequeue(void)
{
	return head == tail ? NULL : queue[head++ % ARRAY_SIZE(queue)];
}
