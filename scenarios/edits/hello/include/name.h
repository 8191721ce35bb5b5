#define NAME "world"
