#include <linux/linkage.h>

SYM_FUNC_START(graft_pause)
	pause
	ret
SYM_FUNC_END(graft_pause)
