#include <linux/kernel.h>

#include "crctable.h"

u32 crc32(u32 seed, const u8 *data, size_t len)
{
	while (len--)
		seed = seed >> 8 ^ crc_table[(seed ^ *data++) & 0xff];
	return seed;
}
