/* The namespace of a symbol is a bare word. */
#define GRAFT_NS GRAFT
#define GRAFT_NS_STRING(ns) __stringify(ns)
