#include <stdio.h>

#include "name.h"

int main(void)
{
	puts("hello, " NAME);
	return 0;
}
