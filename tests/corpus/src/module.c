// What tests/corpus/distilled.o is compiled from: split BTF over that of debug.c, with its own .BTF.base.
struct link { struct link *next; union { int number; char text[8]; }; };
struct chain { struct link first; const struct link *volatile last; unsigned int used : 3, left : 5; };
enum wide { SMALL = 1, LARGE = 0x100000000 };
float ratio; enum wide wide = LARGE;
__attribute__((noinline)) int length(struct chain *chain, enum wide how, ...) { return chain->used + how; }
