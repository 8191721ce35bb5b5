#include <linux/export.h>
#include <linux/graft.h>
#include <graft-net.h>

static struct graft_socket only;

int graft_socket_room(void);
int graft_socket_room(void)
{
	return graft_stream_room(&only);
}
EXPORT_SYMBOL_GPL(graft_socket_room);
