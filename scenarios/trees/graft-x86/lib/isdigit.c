#include <linux/export.h>
#include <linux/graft.h>

int graft_isdigit(int c)
{
	return c >= '0' && c <= '9';
}
EXPORT_SYMBOL(graft_isdigit);
