#include <linux/hash.h>
#include <linux/kernel.h>
#include <linux/module.h>

int crypto_register(const char *name);

void md5_block(struct hash_state *state, const u32 *block)
{
	u32 a = state->word[0], b = state->word[1];

	for (int i = 0; i < HASH_ROUNDS; i++) {
		a += (b ^ state->word[2]) + block[i % 16];
		b = (a << 7 | a >> 25) + state->word[3];
	}
	state->word[0] += a;
	state->word[1] += b;
	state->length += 64;
}
EXPORT_SYMBOL(md5_block);

static int md5_start(void)
{
	return crypto_register("md5");
}
module_init(md5_start);
MODULE_LICENSE("MIT");
