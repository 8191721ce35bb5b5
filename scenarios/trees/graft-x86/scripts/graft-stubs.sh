#!/bin/sh
# Usage: graft-stubs.sh LINKER-SCRIPT ARCHIVE...
#
# Writes assembly with a definition of every symbol that the objects of a vmlinux use, and that neither they nor the
# linker script define: a few real objects of a kernel can then be linked without those they call. NM and OBJDUMP are
# those of kbuild.

set -e
export LC_ALL=C

script=$1
shift
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# An archive without members is no error: its directory has nothing to build.
symbols()
{
	$NM --format=posix "$@" 2>/dev/null | awk 'NF > 1 { print $1 }' | sort -u
}

{
	symbols --defined-only "$@"
	# `symbol = expression`, in PROVIDE() too.
	grep -o '[A-Za-z_][A-Za-z0-9_]* *=[^=]' "$script" | sed 's/ *=.*//'
} | sort -u > "$work/defined"

symbols --undefined-only "$@" | comm -23 - "$work/defined" > "$work/missing"

# What is called is a function, in assembly and in C alike: objtool looks at both ends of a call.
$OBJDUMP --reloc -j .text -j .text.unlikely -j .noinstr.text -j .entry.text -j .head.text -j .init.text -j .exit.text \
	-j .altinstr_replacement "$@" 2>/dev/null |
	sed -n 's/.* R_X86_64_PLT32 *\([A-Za-z_][A-Za-z0-9_]*\).*/\1/p' | sort -u > "$work/called"

# INIT_PER_CPU() of arch/x86/kernel/vmlinux.lds.S: only the linker script uses them. One of them has to come first in the
# area, fixed_percpu_data, and does by its name.
grep -o 'ABSOLUTE([A-Za-z_][A-Za-z0-9_]*)' "$script" | sed 's/ABSOLUTE(//; s/)//' | sort -u |
	comm -23 - "$work/defined" > "$work/percpu"

cat <<'END'
#include <linux/cfi_types.h>
#include <linux/linkage.h>

	.section .noinstr.text, "ax"
END
comm -12 "$work/missing" "$work/called" | sed 's/.*/SYM_TYPED_FUNC_START(&)\n\tRET\nSYM_FUNC_END(&)/'

printf '\n\t.data\n\t.balign 64\n'
comm -23 "$work/missing" "$work/called" | comm -23 - "$work/percpu" |
	sed 's/.*/SYM_DATA_START(&)\n\t.skip 64\nSYM_DATA_END(&)/'

if [ -s "$work/percpu" ]; then
	printf '\n\t.section .data..percpu..first, "aw"\n\t.balign 64\n'
	sed 's/.*/SYM_DATA_START(&)\n\t.skip 64\nSYM_DATA_END(&)/' "$work/percpu"
fi
