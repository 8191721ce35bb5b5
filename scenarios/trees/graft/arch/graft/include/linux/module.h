/*
 * In place of the kernel's, which would bring in most of its headers: what modpost and the files it makes need.
 */
#ifndef _LINUX_MODULE_H
#define _LINUX_MODULE_H

#include <linux/compiler.h>
#include <linux/export.h>
#include <linux/graft-namespace.h>
#include <linux/init.h>
#include <linux/stringify.h>
#include <linux/types.h>

#define MODULE_NAME_LEN (64 - sizeof(unsigned long))
#define MODULE_ARCH_INIT 0

struct modversion_info {
	unsigned long crc;
	char name[MODULE_NAME_LEN];
};

struct module {
	int state;
	char name[MODULE_NAME_LEN];
	int (*init)(void);
	void (*exit)(void);
	unsigned int arch;
} __attribute__((aligned(64)));

extern struct module __this_module;
int init_module(void);
void cleanup_module(void);
#ifdef MODULE
#define THIS_MODULE (&__this_module)
#else
#define THIS_MODULE ((struct module *)0)
#endif

#ifdef MODULE
#define __MODULE_INFO_PREFIX
#else
#define __MODULE_INFO_PREFIX KBUILD_MODNAME "."
#endif
#define __MODULE_INFO(tag, name, info) \
	static const char __UNIQUE_ID(name)[] \
		__attribute__((used, section(".modinfo"), aligned(1))) = __MODULE_INFO_PREFIX __stringify(tag) "=" info
#define MODULE_INFO(tag, info) __MODULE_INFO(tag, tag, info)
#define MODULE_LICENSE(_text) MODULE_FILE MODULE_INFO(license, _text)
#define MODULE_AUTHOR(_text) MODULE_INFO(author, _text)
#define MODULE_DESCRIPTION(_text) MODULE_INFO(description, _text)
#define MODULE_PARM_DESC(parm, text) __MODULE_INFO(parm, parm, #parm ":" text)

struct kernel_param {
	const char *name;
	void *arg;
	unsigned short perm;
};

#define module_param(name, type, perm) \
	static const struct kernel_param __param_##name \
		__attribute__((used, section("__param"), aligned(sizeof(void *)))) = { #name, &name, perm }; \
	__MODULE_INFO(parmtype, name##type, #name ":" #type)

#define MODULE_VERSION(_text) MODULE_INFO(version, _text)
#define MODULE_IMPORT_NS(ns) MODULE_INFO(import_ns, GRAFT_NS_STRING(ns))

#ifdef MODULE
#define MODULE_FILE
#define module_init(fn) int init_module(void) __attribute__((alias(#fn), cold, section(".init.text")));
#define module_exit(fn) void cleanup_module(void) __attribute__((alias(#fn)));
#else
#define MODULE_FILE MODULE_INFO(file, KBUILD_MODFILE);
#define module_init(fn) int (*__initcall_##fn)(void) __attribute__((used, section(".initcall6.init"))) = fn;
#define module_exit(fn) void (*__exitcall_##fn)(void) __attribute__((used, section(".exitcall.exit"))) = fn;
#endif

#endif /* _LINUX_MODULE_H */
