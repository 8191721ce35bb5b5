/* The namespace of a symbol is a string. */
#define GRAFT_NS "GRAFT"
#define GRAFT_NS_STRING(ns) ns
