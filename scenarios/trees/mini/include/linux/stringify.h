#ifndef LINUX_STRINGIFY_H
#define LINUX_STRINGIFY_H

#define stringify_1(x...) #x
#define stringify(x...) stringify_1(x)
#define paste_1(a, b) a##b
#define paste(a, b) paste_1(a, b)

#endif
