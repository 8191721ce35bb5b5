#define GRAFT_KFUNCS_START(name) BTF_SET8_START(name)
#define GRAFT_KFUNCS_END(name) BTF_SET8_END(name)
