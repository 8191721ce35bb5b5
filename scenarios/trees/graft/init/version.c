#include <generated/compile.h>
#include <linux/graft.h>

const char linux_proc_banner[] = "%s version %s (" LINUX_COMPILE_BY "@" LINUX_COMPILE_HOST ") (" LINUX_COMPILER ") %s\n";

/* As in the kernel: weak here, replaced by version-timestamp.c, which is compiled for the last link. */
const char linux_banner[] __attribute__((weak));

#include "version-timestamp.c"
