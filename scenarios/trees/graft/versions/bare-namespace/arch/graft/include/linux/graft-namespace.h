/* The namespace of a symbol is a bare word. */
#define MODULE_IMPORT_NS(ns) MODULE_INFO(import_ns, __stringify(ns))
#define GRAFT_NS GRAFT
