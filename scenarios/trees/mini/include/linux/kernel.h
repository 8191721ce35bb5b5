/* Used by vmlinux and by modules. */
#ifndef LINUX_KERNEL_H
#define LINUX_KERNEL_H

#include <linux/types.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define LOG_LEVEL_DEFAULT 4

int printk(int level, const char *text);
u32 crc32(u32 seed, const u8 *data, size_t len);
size_t strlen(const char *s);
void *memcpy(void *to, const void *from, size_t len);
void *memset(void *to, int byte, size_t len);

#endif
