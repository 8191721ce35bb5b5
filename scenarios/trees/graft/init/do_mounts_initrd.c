#include <linux/graft.h>

int graft_initrd_minor = 250;
