/* Used by modules alone. */
#ifndef LINUX_HASH_H
#define LINUX_HASH_H

#include <linux/types.h>

#define HASH_ROUNDS 16

struct hash_state {
	u32 word[4];
	u64 length;
};

void md5_block(struct hash_state *state, const u32 *block);

#endif
