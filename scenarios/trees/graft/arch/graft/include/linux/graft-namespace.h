/* The namespace of a symbol is a string. */
#define MODULE_IMPORT_NS(ns) MODULE_INFO(import_ns, ns)
#define GRAFT_NS "GRAFT"
