#include <linux/graft.h>
#include "build-level.h"

const char graft_level[] = GRAFT_LEVEL_NAME;
