#!/bin/sh
# Writes the names of states as C.
echo '#include <linux/graft.h>'
echo
echo 'const char *const graft_states[] = {'
for state in running sleeping stopped dead; do
	echo "	\"$state\","
done
echo '};'
