/* Used by drivers/char/null.c alone. */
#ifndef LINUX_NULLDEV_H
#define LINUX_NULLDEV_H

#define NULLDEV_MODE 0666

#endif
