#include <linux/kernel.h>
#include <linux/sched.h>

extern const char linux_banner[];

static const char hostname[] = CONFIG_DEFAULT_HOSTNAME;

void start_kernel(void)
{
	printk(LOG_LEVEL_DEFAULT, linux_banner);
	printk(LOG_LEVEL_DEFAULT, hostname);
	sched_init();
	for (;;)
		schedule();
}
