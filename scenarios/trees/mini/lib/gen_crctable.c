/* Prints the table of the CRC-32 polynomial, reversed. */
#include <stdio.h>

#define POLYNOMIAL 0xedb88320u

int main(void)
{
	printf("static const u32 crc_table[256] = {\n");
	for (unsigned int i = 0; i < 256; i++) {
		unsigned int c = i;

		for (int bit = 0; bit < 8; bit++)
			c = c & 1 ? c >> 1 ^ POLYNOMIAL : c >> 1;
		printf("\t0x%08xu,\n", c);
	}
	printf("};\n");
	return 0;
}
