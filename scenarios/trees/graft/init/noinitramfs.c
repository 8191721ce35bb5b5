#include <linux/graft.h>

int graft_initramfs_size;
