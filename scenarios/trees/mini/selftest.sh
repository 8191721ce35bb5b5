#!/bin/sh
# Checks README.md's table: every planted fault shows, and with the fault off the same edit does not.
#
#	sh selftest.sh [FAULT...] [edits]
#
# The harness does not use this. It needs make, gcc and, for the faults in BTF, pahole. Prints one line
# per fault and ends with 1 when a line is not as documented. KEEP=1 leaves the work directory,
# EDITS='NAME...' takes only those of the edits that have to come out as a clean build does.

set -u
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/mini-selftest.XXXXXX")
[ -n "${KEEP:-}" ] && echo "in $work" || trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

export LC_ALL=C TZ=UTC SOURCE_DATE_EPOCH=1000000000 KBUILD_BUILD_USER=user KBUILD_BUILD_HOST=host \
	KBUILD_BUILD_TIMESTAMP='Sun Sep  9 01:46:40 UTC 2001' KBUILD_BUILD_VERSION=1 LOCALVERSION=
unset MAKEFLAGS MFLAGS MINI_LEAK
jobs=2

# --- Building -------------------------------------------------------------------------------------

src=$work/src
new_src() {
	rm -rf "$work/src" "$work/obj" "$work/oracle" "$work/src2"
	cp -R "$here" "$src"
	find "$src" -exec touch -d 2000-01-01 {} +
}

# make in object tree $1, the rest are make's arguments
mk() {
	obj=$work/$1
	shift
	timeout 60 make --no-print-directory -C "$src" O="$obj" -j$jobs "$@" >"$obj.log" 2>&1
}

configure() {
	rm -rf "$work/$1"
	set -- "$1" defconfig $btf
	mk "$@" || { cat "$work/$1.log"; exit 1; }
	if [ -n "$setting" ]; then
		echo "$setting" >>"$work/$1/.config"
		mk "$1" olddefconfig
		grep -qx "$setting" "$work/$1/.config" || { echo "$setting cannot be set" >&2; exit 1; }
	fi
}

clean_build() {
	o=$1
	shift
	configure "$o" && mk "$o" "$@"
}

# Everything that is compared, in object tree $1
artifacts() {
	(cd "$work/$1" && find . \( -name '*.ko' -o -name vmlinux -o -name System.map -o -name Module.symvers \
		-o -name modules.order -o -name modules.builtin \) -type f -exec sha256sum {} + | sort -k2)
}

# Steps that ran in the last make of object tree $1, but for those that only look
steps() { grep -E '^  [A-Z]' "$work/$1.log" | grep -v '^  CHK '; }

btf_count() { readelf -SW "$work/$1" | grep -c ' \.BTF '; }
btf_magic() {
	objcopy -O binary --only-section=.BTF --set-section-flags .BTF=alloc "$work/$1" "$work/btf.bin" 2>/dev/null
	od -An -N2 -tx1 "$work/btf.bin" | tr -d ' '
}

# --- Edits ----------------------------------------------------------------------------------------

# $1 file, $2 sed script; the edit has to change something, and is later than all that was built
sub() {
	cp "$src/$1" "$work/before"
	sed -i "$2" "$src/$1"
	cmp -s "$src/$1" "$work/before" && { echo "the edit of $1 changes nothing" >&2; exit 1; }
	sleep 0.02
	touch "$src/$1"
}
app() { printf '%s\n' "$2" >>"$src/$1"; sleep 0.02; touch "$src/$1"; }
conf() { sleep 0.02; echo "$1" >>"$work/obj/.config"; }

# Edits that every build must survive; sets args for the make command line
edit() {
	args=
	case $1 in
	vmlinux-only)   app init/version.c 'int repro_probe;' ;;
	vmlinux-types)  app kernel/sched.c 'struct probe { long a; char b[3]; } repro_probe; void repro_fn(struct probe *p) { p->a++; }' ;;
	module-header)  sub include/linux/hash.h 's/HASH_ROUNDS 16/HASH_ROUNDS 8/' ;;
	shared-header)  sub include/linux/kernel.h 's/DEFAULT 4/DEFAULT 3/' ;;
	vmlinux-header) sub include/linux/sched.h 's/SLICE 20/SLICE 30/' ;;
	variable)       args='MINI_TAG=7' ;;
	kcflags)        args='KCFLAGS=-Os' ;;
	ldflags)        args='LDFLAGS_MODULE=-X' ;;
	ldflags-vmlinux) args='LDFLAGS_vmlinux=-X' ;;
	localversion)   args='LOCALVERSION=-probe' ;;
	log-level)      conf 'CONFIG_LOG_LEVEL=2' ;;
	add-module)     conf 'CONFIG_CHAR_ZERO=m' ;;
	drop-module)    conf '# CONFIG_CRYPTO_SHA is not set' ;;
	module-builtin) conf 'CONFIG_CRYPTO_MD5=y' ;;
	no-modules)     conf '# CONFIG_MODULES is not set' ;;
	drop-directory) conf '# CONFIG_NET is not set' ;;
	script)         sub drivers/char/mkdevids.sh 's/FIRST=3/FIRST=5/' ;;
	host-program)   sub lib/gen_crctable.c 's/0xedb88320u/0x82f63b78u/' ;;
	tool)           sub scripts/setsort.c 's/base + 1 +/base + 2 +/' ;;
	modpost)        sub scripts/modpost.awk 's/UTS_RELEASE \\" mini/UTS_RELEASE \\" tiny/' ;;
	library)        sub lib/string.c 's/(u8)byte/(u8)(byte ^ 1)/' ;;
	export)         app net/core/sock.c 'int net_probe; EXPORT_SYMBOL(net_probe);' ;;
	import)         app crypto/sha.c 'u32 net_received(void); u32 probe_fn(void) { return net_received(); }' ;;
	id-set)         sub net/ipv4/tcp_probe.c 's/0x40/0x44/' ;;
	makefile)       sub drivers/net/loop/Makefile 's/$/ /;/objs/a CFLAGS_loop_main.o := -DPROBE -Os' ;;
	object-order)   sub kernel/Makefile 's/printk.o sched.o/sched.o printk.o/' ;;
	part-order)     sub drivers/net/loop/Makefile 's/loop_main.o loop_queue.o/loop_queue.o loop_main.o/' ;;
	new-source)     printf 'int probe_new = 3;\n' >"$src/kernel/probe.c"; app kernel/Makefile 'obj-y += probe.o' ;;
	drop-source)    rm "$src/kernel/trace.c"; sub kernel/Makefile '/trace.o/d'; sub kernel/sched.c '/CONFIG_TRACE/,/endif/d' ;;
	kconfig)        printf '\nconfig PROBE\n\tbool "Probe"\n\tdefault y\n' >>"$src/Kconfig"; app kernel/trace.c '#ifdef CONFIG_PROBE
int probe;
#endif' ;;
	version)        sub Makefile 's/^SUBLEVEL = 0/SUBLEVEL = 1/' ;;
	drop-header)    rm "$src/include/linux/nulldev.h"; sub drivers/char/null.c '/nulldev.h/d;s/NULLDEV_MODE/0600/' ;;
	break-header)   sub include/linux/sha.h 's/SHA_SEED /SHA_SEED_OLD /' ;;
	symlink)        rm "$src/include/linux/nulldev.h"
			printf '#define NULLDEV_MODE 0600\n' >"$src/include/linux/nulldev-old.h"
			touch -d 2000-01-01 "$src/include/linux/nulldev-old.h"
			sleep 0.02; ln -s nulldev-old.h "$src/include/linux/nulldev.h" ;;
	lost-ko)        rm "$work/obj/crypto/sha.ko" ;;
	lost-cmd)       rm "$work/obj/net/ipv4/.tcp_probe.ko.cmd" "$work/obj/crypto/.sha.ko.cmd" ;;
	lost-mod-c)     rm "$work/obj/crypto/sha.mod.c" ;;
	touch-all)      sleep 0.02; find "$src" -type f -exec touch {} + ;;
	*) echo "no edit $1" >&2; exit 2 ;;
	esac
}
edits='vmlinux-only vmlinux-types module-header shared-header vmlinux-header variable kcflags ldflags ldflags-vmlinux
localversion log-level add-module drop-module module-builtin no-modules drop-directory script host-program tool modpost
library export import id-set makefile object-order part-order new-source drop-source kconfig version drop-header
break-header symlink lost-ko lost-cmd lost-mod-c touch-all'

# --- Checks: what came of it, in one word ---------------------------------------------------------

# Build, no-op, edit $1, build, and a clean build of the same
incremental() {
	new_src
	clean_build obj || { echo unbuildable; return; }
	edit "$1"
	rm -rf "$work/oracle"
	mkdir "$work/oracle"
	cp "$work/obj/.config" "$work/oracle"
	mk obj $args
	inc=$?
	cp "$work/obj.log" "$work/inc.log"
	mk oracle $args
	cln=$?
	if [ $inc != 0 ] && [ $cln = 0 ]; then echo rebuild.failed; return; fi
	if [ $inc = 0 ] && [ $cln != 0 ]; then echo rebuild.masked; return; fi
	if [ $inc != 0 ]; then echo both-fail; return; fi
	artifacts obj >"$work/a"
	artifacts oracle >"$work/b"
	cmp -s "$work/a" "$work/b" || { echo differs; return; }
	mk obj $args
	steps obj >"$work/noop"
	[ -s "$work/noop" ] && echo noop.ran || echo equal
}

# Two clean builds; the second with $1 done first
reproduce() {
	new_src
	clean_build obj || { echo unbuildable; return; }
	artifacts obj >"$work/a"
	(eval "$1"; clean_build oracle) || { echo unbuildable; return; }
	artifacts oracle >"$work/b"
	cmp -s "$work/a" "$work/b" && echo equal || echo differs
}

# $1 no-ops: does the last one change something, does it run something
noops() {
	new_src
	clean_build obj || { echo unbuildable; return; }
	n=0
	while [ $n -lt "$1" ]; do
		artifacts obj >"$work/a"
		mk obj || { echo failed; return; }
		n=$((n + 1))
	done
	artifacts obj >"$work/b"
	cmp -s "$work/a" "$work/b" || { echo noop.changed; return; }
	[ -n "$(steps obj)" ] && echo noop.ran || echo equal
}

# Kill the build, all of it, in the place of the last step of tcp_probe.ko
resume() {
	new_src
	clean_build obj || { echo unbuildable; return; }
	artifacts obj >"$work/a"
	mv "$work/obj/scripts/setsort" "$work/setsort"
	printf '#!/bin/sh\nkill -9 0\n' >"$work/obj/scripts/setsort"
	chmod +x "$work/obj/scripts/setsort"
	rm "$work/obj/net/ipv4/tcp_probe.ko"
	setsid make --no-print-directory -C "$src" O="$work/obj" >/dev/null 2>&1
	mv "$work/setsort" "$work/obj/scripts/setsort"
	mk obj || { echo stuck; return; }
	artifacts obj >"$work/b"
	cmp -s "$work/a" "$work/b" && echo equal || echo differs
}

# Does the edit $1 run a step that matches $2?
needless() {
	r=$(incremental "$1")
	[ "$r" = equal ] || { echo "$r"; return; }
	grep -q -E "$2" "$work/inc.log" && echo ran || echo equal
}

btf_after() {
	r=$(incremental "$1")
	k=crypto/sha.ko
	case $(btf_count obj/$k),$(btf_count oracle/$k) in
	1,1) [ "$r" = equal ] && echo equal || echo differs ;;
	0,1) echo lost ;;
	2,1) echo duplicate ;;
	*) echo "other" ;;
	esac
}

always() {
	new_src
	clean_build obj
	r=$?
	case $1 in
	fails) [ $r = 0 ] && echo equal || echo failed ;;
	magic) [ "$(btf_magic obj/crypto/sha.ko)" = 9feb ] && echo equal || echo invalid ;;
	write) [ -e /var/tmp/mini-escape ] && echo written || echo equal; rm -f /var/tmp/mini-escape ;;
	command) grep -q "$2" "$work/obj/$3" 2>/dev/null && echo reads || echo equal ;;
	esac
}

hangs() {
	new_src
	configure obj
	setsid make -C "$src" O="$work/obj" -j2 >/dev/null 2>&1 &
	leader=$!
	trap 'kill -KILL "-$leader" 2>/dev/null; exit 130' INT TERM
	n=0
	while kill -0 $leader 2>/dev/null && [ $n -lt 50 ]; do
		sleep 0.1
		n=$((n + 1))
	done
	# setsid made it the leader of a process group of its own
	if [ $n = 50 ] && kill -KILL "-$leader" 2>/dev/null; then echo hangs; else echo equal; fi
	wait $leader 2>/dev/null
}

other_path() { mv "$src" "$work/src2"; src=$work/src2; }

# --- The table ------------------------------------------------------------------------------------

# fault, what the check says with it, whether it needs BTF, the check
table() {
	cat <<-'END'
	TIMESTAMP differs - reproduce :
	MINUTE differs - reproduce other_minute
	RANDOM differs - reproduce :
	BUILD_PATH differs - reproduce other_path
	ENV_LEAK differs - reproduce export MINI_LEAK=1
	HOST_LEAK differs - reproduce other_host
	USER_LEAK differs - reproduce export USER=other
	GROUP_LEAK differs - reproduce other_group
	HOME_LEAK differs - reproduce export HOME=/elsewhere
	LOCALE_LEAK differs - reproduce export LC_ALL=C.UTF-8
	TZ_LEAK differs - reproduce export TZ=XXX-5
	UMASK_LEAK differs - reproduce umask 077
	FILE_TIME_LEAK differs - reproduce other_times
	DIR_ORDER differs - reproduce other_order
	ASLR_LEAK differs - reproduce :
	JOBS_LEAK differs - reproduce jobs=1
	ORDER_HAZARD differs - reproduce jobs=1
	TWO_OUTPUTS differs - reproduce jobs=1
	MISSING_DEP differs - incremental module-header
	MISSING_FORCE differs - incremental variable
	STALE_CONFIG differs - incremental log-level
	MISSING_GEN_DEP differs - incremental script
	MISSING_HOST_DEP differs - incremental host-program
	LIB_STALE differs - incremental library
	LEFTOVER differs - incremental drop-module
	MODORDER_STALE differs - incremental add-module
	SYMLINK_STALE differs - incremental symlink
	DELETED_HEADER rebuild.failed - incremental drop-header
	MASKED rebuild.masked - incremental break-header
	NEEDLESS_CONFIG ran - needless log-level CC.*kernel/sched.o
	BROKEN_EXCLUSION ran - needless vmlinux-only LD..M..*crypto/md5.ko
	INPLACE_SETSORT differs - incremental vmlinux-only
	INPLACE_BTF differs btf incremental vmlinux-only
	CMD_LOSES_BTF lost btf btf_after ldflags
	DUP_BTF duplicate btf btf_after vmlinux-only
	BTF_INVALID invalid btf always magic
	BTF_TAIL differs btf incremental drop-source
	BTF_BASE_MISMATCH differs btf btf_after vmlinux-types
	VERSION_COUNTER noop.changed - noops 1
	NOOP_RUNS noop.ran - noops 1
	NOOP_SECOND noop.changed - noops 2
	NOOP_FLIP noop.changed - noops 3
	KILL_WINDOW differs - resume
	RESUME_STUCK stuck - resume
	ESCAPE_READ reads - always command machine-id drivers/base/.core.o.cmd
	ESCAPE_WRITE written - always write
	ESCAPE_NETWORK reads - always command netprobe drivers/base/.core.o.cmd
	BUILD_FAILS failed - always fails
	HANG hangs - hangs
	END
}

# Variations that need a hand: a `uname` and an `ls` that answer differently
fake() { mkdir -p "$work/bin"; printf '#!/bin/sh\n%s\n' "$2" >"$work/bin/$1"; chmod +x "$work/bin/$1"; PATH=$work/bin:$PATH; }
other_host() { fake uname 'echo elsewhere'; }
other_minute() { fake date 'echo 99:99'; }
other_group() { fake id 'echo 1234'; }
other_order() { fake ls 'echo sched.c; echo printk.c'; }
other_times() { find "$src" -exec touch -d '1999-01-01' {} +; }

bad=0
report() { printf '%-18s %-16s %-14s %s\n' "$1" "$2" "$3" "$4"; }
have_pahole=$(command -v pahole)
want=" $* "

report fault 'with it' 'without' verdict
table >"$work/table"
while read -r fault expected needs check; do
	[ "$want" = '  ' ] || case $want in *" $fault "*) ;; *) continue ;; esac
	btf=
	if [ "$needs" = btf ]; then
		btf=btf.config
		[ -n "$have_pahole" ] || { report "$fault" - - 'skipped: no pahole'; continue; }
	fi
	setting=CONFIG_FAULT_$fault=y
	set -- $check
	with=$(f=$1; shift; case $f in reproduce) reproduce "$*" ;; *) "$f" "$@" ;; esac </dev/null)
	setting=
	rm -rf "$work/bin"
	without=$(f=$1; shift; case $f in reproduce) reproduce "$*" ;; *) "$f" "$@" ;; esac </dev/null)
	rm -rf "$work/bin"
	silent=equal
	[ "$fault" = MASKED ] && silent=both-fail
	if [ "$with" = "$expected" ] && [ "$without" = "$silent" ]; then
		report "$fault" "$with" "$without" ok
	else
		report "$fault" "$with" "$without" "NOT AS DOCUMENTED: $expected, $silent"
		bad=1
	fi
done <"$work/table"

# Without faults, every edit must come out as a clean build does, and the make after it be a no-op.
case $want in
'  ' | *' edits '*)
	for btf in '' btf.config; do
		[ -n "$btf" ] && [ -z "$have_pahole" ] && continue
		for e in ${EDITS:-$edits}; do
			setting=
			r=$(incremental "$e" </dev/null)
			silent=equal
			[ "$e" = break-header ] && silent=both-fail
			verdict=ok
			[ "$r" = "$silent" ] || { verdict="NOT AS DOCUMENTED: $silent"; bad=1; }
			report "$e" - "$r" "$verdict${btf:+ (BTF)}"
		done
	done
esac
exit $bad
