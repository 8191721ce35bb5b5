/* Bytes that a planted fault lets into an object: see scripts/Makefile.faults. */
static const char fault_bytes[] __attribute__((used, section(".rodata.fault"))) = FAULT_BYTES;
