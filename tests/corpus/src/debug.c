// What tests/corpus/debug*.o are compiled from.
struct link { struct link *next; union { int number; char text[8]; }; };
typedef int (*visit_t)(const struct link *, void *);
enum order { FIRST, LAST = 7 };
static enum order order = LAST;
int walk(const struct link *link, visit_t visit, void *data)
{
	int sum = order;
	for (; link; link = link->next)
		sum += visit(link, data);
	return sum;
}
