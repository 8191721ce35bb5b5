#include <linux/types.h>

void *memset(void *to, int byte, size_t size);
void *memset(void *to, int byte, size_t size)
{
	unsigned char *at = to;

	while (size--)
		*at++ = byte;
	return to;
}
