#include <linux/graft.h>

extern const char __initramfs_start[];
extern unsigned long __initramfs_size;

unsigned long graft_initramfs(void);
unsigned long graft_initramfs(void)
{
	return __initramfs_start[0] + __initramfs_size;
}
