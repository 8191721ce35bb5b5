/* Sets of function ids with flags, filled in and sorted by scripts/setsort. */
#ifndef LINUX_MINI_IDS_H
#define LINUX_MINI_IDS_H

#define MINI_SET(name)				\
asm(".pushsection .mini_ids,\"a\"\n"		\
    ".balign 8\n"				\
    "__mini_set__" #name ":\n"			\
    ".long 0, 0\n"				\
    ".popsection\n")

#define MINI_ID_FLAGS(function, flags)		\
asm(".pushsection .mini_ids,\"a\"\n"		\
    "__mini_id__" #function ":\n"		\
    ".long 0, " #flags "\n"			\
    ".popsection\n")

#define mini_id_function __attribute__((noinline, used))

#endif
