#include <linux/module.h>
#include <linux/btf_ids.h>
#include <linux/graft.h>
#include <linux/graft-kfuncs.h>

struct graft_probe {
	long value;
	struct graft_task *task;
};

struct graft_probe *zz_acquire(long value);
void mm_release(struct graft_probe *probe);
long aa_read(const struct graft_probe *probe);

static struct graft_probe probe;

__used noinline struct graft_probe *zz_acquire(long value)
{
	probe.value = value;
	return &probe;
}

__used noinline void mm_release(struct graft_probe *p)
{
	p->value = 0;
}

__used noinline long aa_read(const struct graft_probe *p)
{
	return p->value;
}

/* Unequal flags, in an order that is not that of the ids: a set that is sorted twice shows. */
GRAFT_KFUNCS_START(graft_kfuncs)
BTF_ID_FLAGS(func, zz_acquire, 1)
BTF_ID_FLAGS(func, aa_read, 16)
BTF_ID_FLAGS(func, mm_release, 2)
GRAFT_KFUNCS_END(graft_kfuncs)

static int __init kfuncs_init(void)
{
	return graft_kfuncs.cnt;
}
module_init(kfuncs_init);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("kfuncs");
