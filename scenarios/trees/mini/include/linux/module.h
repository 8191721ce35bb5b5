/* What a module says about itself, as strings NAME=VALUE in .modinfo. */
#ifndef LINUX_MODULE_H
#define LINUX_MODULE_H

#include <linux/export.h>
#include <linux/stringify.h>
#include <linux/types.h>

#ifdef MODULE
#define modinfo_prefix
#else
#define modinfo_prefix stringify(KBUILD_MODNAME) "."
#endif

#define MODULE_INFO(tag, info)							\
	static const char paste(__modinfo_##tag##_, __LINE__)[]			\
	__attribute__((section(".modinfo"), used, aligned(1))) = modinfo_prefix #tag "=" info

/* The extra name tells modpost which modules were built in. */
#define MODULE_LICENSE(text)							\
	const char paste(__mini_license__, KBUILD_MODNAME)			\
	__attribute__((section(".modinfo.names"), used)) = 0;			\
	MODULE_INFO(license, text)

#ifdef MODULE
#define module_init(fn) int init_module(void) __attribute__((alias(#fn)))
#define module_exit(fn) void cleanup_module(void) __attribute__((alias(#fn)))
#else
#define module_init(fn)								\
	static int (*const paste(__initcall_, KBUILD_MODNAME))(void)		\
	__attribute__((section("__initcalls"), used)) = fn
#define module_exit(fn)								\
	static void (*const paste(__exitcall_, KBUILD_MODNAME))(void)		\
	__attribute__((section("__exitcalls"), used)) = fn
#endif

#endif
