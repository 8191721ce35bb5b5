#include <linux/export.h>
#include <linux/graft.h>
#include "crctable.h"

unsigned int graft_crc(const void *data, unsigned long size)
{
	const unsigned char *at = data;
	unsigned int crc = ~0u;

	while (size--)
		crc = crc >> 8 ^ crctable[(crc ^ *at++) & 0xff];
	return ~crc;
}
EXPORT_SYMBOL_GPL(graft_crc);
