// The first process of a kernel that is booted to see what it makes of modules: reads /plan, does as it says line by line, and tells what
// came of it. Without a C library, so that it needs nothing but a compiler. x86-64.
//
// /plan:  load PATH NAME    finit_module(2) of PATH, a module that calls itself NAME
//         unload NAME       delete_module(2)
// told:   @boot RELEASE     once
//         @btf 0|1          after @boot: whether the kernel has BTF of its own; after @load: whether it took that of the module
//         @load N ERRNO     of the line N of the plan, from 0; 0 is success
//         |TEXT             what the kernel logged meanwhile
//         @end              once
//
// It tells by port 0xe9, which qemu has for this purpose (-debugcon), or on the console where ioperm(2) is left out of the kernel: no
// driver is needed for it, and nothing else is told there.

enum { SYS_write = 1, SYS_open = 2, SYS_close = 3, SYS_read = 0, SYS_uname = 63, SYS_syslog = 103, SYS_mount = 165, SYS_reboot = 169,
       SYS_ioperm = 173, SYS_delete_module = 176, SYS_finit_module = 313 };

static long sys(long n, long a, long b, long c, long d, long e)
{
	long ret;
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;

	__asm__ volatile("syscall" : "=a"(ret) : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8) : "rcx", "r11", "memory");
	return ret;
}

static int has_port;

static void tell(const char *text, long size)
{
	if (!has_port) {
		sys(SYS_write, 1, (long)text, size, 0, 0);
		return;
	}
	for (long i = 0; i < size; i++)
		__asm__ volatile("outb %0, %1" : : "a"(text[i]), "Nd"((unsigned short)0xe9));
}

static void say(const char *text)
{
	long size = 0;

	while (text[size])
		size++;
	tell(text, size);
}

static void say_number(long number)
{
	char digits[24];
	int at = sizeof(digits);

	do {
		digits[--at] = '0' + number % 10;
		number /= 10;
	} while (number);
	tell(digits + at, sizeof(digits) - at);
}

static int is_there(const char *path)
{
	long fd = sys(SYS_open, (long)path, 0, 0, 0, 0);

	if (fd < 0)
		return 0;
	sys(SYS_close, fd, 0, 0, 0, 0);
	return 1;
}

// What the kernel logged since the last time, each line behind a bar.
static void say_log(int silent)
{
	static char log[1 << 20];
	long size = sys(SYS_syslog, 4 /* SYSLOG_ACTION_READ_CLEAR */, (long)log, sizeof(log), 0, 0);
	int begins = 1;

	if (silent)
		return;
	for (long i = 0; i < size; i++) {
		if (begins)
			say("|");
		tell(log + i, 1);
		begins = log[i] == '\n';
	}
	if (!begins)
		say("\n");
}

// Ends a word, and gives where the next begins.
static char *next(char *text)
{
	while (*text && *text != ' ' && *text != '\n')
		text++;
	if (*text)
		*text++ = 0;
	return text;
}

static void say_btf(const char *name)
{
	static char path[512] = "/sys/kernel/btf/";
	int at = 16;

	while (*name && at < 500)
		path[at++] = *name++;
	path[at] = 0;
	say("@btf ");
	say_number(is_there(path));
	say("\n");
}

static char plan[1 << 22];

__attribute__((force_align_arg_pointer)) void _start(void)
{
	static struct { char sysname[65], nodename[65], release[65], version[65], machine[65], domain[65]; } names;
	char *at = plan, *words[2];
	long fd, got, size = 0;

	has_port = sys(SYS_ioperm, 0xe9, 1, 1, 0, 0) == 0;
	sys(SYS_mount, (long)"sysfs", (long)"/sys", (long)"sysfs", 0, 0);
	sys(SYS_uname, (long)&names, 0, 0, 0, 0);
	say("\n@boot ");
	say(names.release);
	say("\n");
	say_btf("vmlinux");
	say_log(1);
	fd = sys(SYS_open, (long)"/plan", 0, 0, 0, 0);
	while ((got = sys(SYS_read, fd, (long)plan + size, sizeof(plan) - 1 - size, 0, 0)) > 0)
		size += got;
	for (long line = 0; *at; line++) {
		int load = *at == 'l';

		words[0] = next(at);
		words[1] = next(words[0]);
		at = load ? next(words[1]) : words[1];
		if (load) {
			long file = sys(SYS_open, (long)words[0], 0, 0, 0, 0);
			long ret = sys(SYS_finit_module, file, (long)"", 0, 0, 0);

			sys(SYS_close, file, 0, 0, 0, 0);
			say("@load ");
			say_number(line);
			say(" ");
			say_number(-ret);
			say("\n");
			say_log(0);
			say_btf(words[1]);
		} else {
			sys(SYS_delete_module, (long)words[0], 04000 /* O_NONBLOCK */, 0, 0, 0);
			say_log(1);
		}
	}
	say("@end\n");
	sys(SYS_reboot, 0xfee1dead, 672274793, 0x01234567 /* LINUX_REBOOT_CMD_RESTART */, 0, 0);
	for (;;)
		;
}
