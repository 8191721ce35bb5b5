/* Exports of functions that live in lib.a: the reference also pulls them into vmlinux. */
#include <linux/export.h>
#include <linux/kernel.h>

EXPORT_SYMBOL(printk);
EXPORT_SYMBOL(crc32);
EXPORT_SYMBOL(strlen);
EXPORT_SYMBOL(memcpy);
EXPORT_SYMBOL(memset);
