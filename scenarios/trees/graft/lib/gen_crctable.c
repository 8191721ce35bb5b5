#include <stdio.h>

int main(void)
{
	printf("static const unsigned int crctable[256] = {\n");
	for (unsigned int i = 0; i < 256; i++) {
		unsigned int crc = i;

		for (int bit = 0; bit < 8; bit++)
			crc = crc & 1 ? crc >> 1 ^ 0xedb88320u : crc >> 1;
		printf("\t0x%08xu,\n", crc);
	}
	printf("};\n");
	return 0;
}
