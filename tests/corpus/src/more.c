// The second unit of tests/corpus/debug*.o.
extern int walk(const void *, int (*)(const void *, void *), void *);
static int one(const void *link, void *data) { return link != data; }
int count(const void *link) { return walk(link, one, 0); }
