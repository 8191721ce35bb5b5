#include <linux/graft.h>
#include <graft-net.h>

int graft_stream_room(const struct graft_socket *socket)
{
	int room = GRAFT_STREAM_WINDOW;

	for (int i = 0; i < GRAFT_NET_DEPTH; i++)
		room -= socket->queued[i];
	return room;
}
