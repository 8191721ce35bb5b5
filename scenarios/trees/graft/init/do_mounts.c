#include <linux/graft.h>

int root_mountflags = 1;
