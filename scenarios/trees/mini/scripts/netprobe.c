/*
 * For the planted fault FAULT_ESCAPE_NETWORK: one datagram to an address that is reserved for
 * documentation and leads nowhere. The output is the same whether or not there is a network.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>

int main(void)
{
	struct sockaddr_in nowhere = { .sin_family = AF_INET, .sin_port = htons(9) };
	int s = socket(AF_INET, SOCK_DGRAM, 0);

	inet_pton(AF_INET, "192.0.2.1", &nowhere.sin_addr);
	if (s >= 0)
		sendto(s, "mini", 4, 0, (struct sockaddr *)&nowhere, sizeof(nowhere));
	printf("#define FAULT_BYTES \"network\"\n");
	return 0;
}
