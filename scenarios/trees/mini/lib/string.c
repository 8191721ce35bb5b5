#include <linux/kernel.h>

size_t strlen(const char *s)
{
	size_t n = 0;

	while (s[n])
		n++;
	return n;
}

void *memcpy(void *to, const void *from, size_t len)
{
	u8 *t = to;
	const u8 *f = from;

	while (len--)
		*t++ = *f++;
	return to;
}

void *memset(void *to, int byte, size_t len)
{
	u8 *t = to;

	while (len--)
		*t++ = (u8)byte;
	return to;
}
