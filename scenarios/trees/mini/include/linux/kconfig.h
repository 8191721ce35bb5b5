/* Included by the command line before anything else. */
#ifndef LINUX_KCONFIG_H
#define LINUX_KCONFIG_H

#include <generated/autoconf.h>

#endif
