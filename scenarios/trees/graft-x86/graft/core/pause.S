#include <linux/linkage.h>

SYM_FUNC_START(graft_pause)
	pause
	RET
SYM_FUNC_END(graft_pause)
