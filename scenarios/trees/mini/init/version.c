#include <generated/compile.h>
#include <generated/utsrelease.h>
#include <generated/utsversion.h>

const char linux_banner[] =
	"Mini version " UTS_RELEASE " (" LINUX_COMPILE_BY "@" LINUX_COMPILE_HOST ") " UTS_VERSION "\n";
