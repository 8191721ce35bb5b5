#!/bin/sh
# Prints the device numbers, one per name, counted from FIRST.
set -e

FIRST=3
n=$FIRST
for name in NULL ZERO; do
	echo "#define DEVID_$name $n"
	n=$((n + 1))
done
