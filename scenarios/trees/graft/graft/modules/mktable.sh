#!/bin/sh
# Writes a table of weights as a C array.
echo 'static const int pair_table[] = {'
while read -r name weight; do
	echo "	$weight, /* $name */"
done
echo '};'
