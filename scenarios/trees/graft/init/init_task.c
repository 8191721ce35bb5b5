#include <linux/graft.h>

long init_stack[512];
