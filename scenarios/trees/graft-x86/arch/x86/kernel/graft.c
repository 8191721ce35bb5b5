/*
 * What the linker script, sorttable and the modules want of objects that are not built. Nothing of it ever runs.
 */
#include <linux/cache.h>
#include <linux/compiler.h>
#include <linux/export.h>
#include <linux/init.h>
#include <linux/jiffies.h>
#include <linux/moduleparam.h>

u64 jiffies_64 __cacheline_aligned_in_smp;

/* sorttable clears it: the table of exceptions is sorted. */
u32 __initdata __visible main_extable_sort_needed = 1;

const struct kernel_param_ops param_ops_int = {};
EXPORT_SYMBOL(param_ops_int);

void __stack_chk_fail(void);
__visible noinstr void __stack_chk_fail(void)
{
}
EXPORT_SYMBOL(__stack_chk_fail);
