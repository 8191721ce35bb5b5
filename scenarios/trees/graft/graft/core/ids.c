#include <linux/graft.h>
#include <linux/btf_ids.h>

/* From 6.19 on resolve_btfids refuses a vmlinux without ids. */
BTF_ID_LIST(graft_ids)
BTF_ID(struct, graft_task)
BTF_ID(func, graft_register)

unsigned int graft_id(int n);
unsigned int graft_id(int n)
{
	return graft_ids[n & 1];
}
