/* Symbols that modules may use: modpost looks for the names __ksymtab_*. */
#ifndef LINUX_EXPORT_H
#define LINUX_EXPORT_H

struct kernel_symbol {
	const void *value;
	const char *name;
};

#define EXPORT_SYMBOL(sym)						\
	extern const struct kernel_symbol __ksymtab_##sym;		\
	const struct kernel_symbol __ksymtab_##sym			\
	__attribute__((section("__ksymtab"), used)) = { (const void *)&sym, #sym }

#endif
