/* Used by crypto/sha.c alone. */
#ifndef LINUX_SHA_H
#define LINUX_SHA_H

#define SHA_SEED 0x67452301u

#endif
