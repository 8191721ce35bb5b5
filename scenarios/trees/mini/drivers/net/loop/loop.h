#ifndef LOOP_H
#define LOOP_H

#include <linux/net.h>

#define LOOP_QUEUE_LENGTH 32

int loop_enqueue(struct packet *packet);
struct packet *loop_dequeue(void);

#endif
