#ifndef GRAFT_NET_H
#define GRAFT_NET_H

struct graft_socket {
	int family;
	unsigned int queued[GRAFT_NET_DEPTH];
};

int graft_stream_room(const struct graft_socket *socket);

#endif
