#include <linux/kernel.h>

static char log_buf[1 << CONFIG_LOG_BUF_SHIFT];
static size_t log_end;

const u32 build_tag = MINI_TAG;

int printk(int level, const char *text)
{
	size_t len = strlen(text);

	if (level > CONFIG_LOG_LEVEL || log_end + len >= sizeof(log_buf))
		return -1;
	memcpy(log_buf + log_end, text, len);
	log_end += len;
	return (int)len;
}
