/* Nothing but modules includes this. */
#ifndef GRAFT_EXPORTER_H
#define GRAFT_EXPORTER_H

struct graft_export {
	int value;
	unsigned int crc;
};

int graft_exported(struct graft_export *of);

#endif
