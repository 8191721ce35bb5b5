/* The entry. Nothing here ever runs. */
#include <linux/linkage.h>
#include <linux/init.h>
	__HEAD
SYM_CODE_START(_stext_entry)
	jmp start_kernel
SYM_CODE_END(_stext_entry)
