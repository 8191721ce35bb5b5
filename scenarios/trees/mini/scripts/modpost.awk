# Match exported symbols with wanted ones.
#
#	awk -v modules='a.o b.o' -v symvers=FILE [-v known=FILE] [-v top=DIR/] -f modpost.awk NM-OUTPUT
#
# Reads `nm -A -P` of everything in vmlinux and of every module. Writes symvers; and, each only when it
# changes, X.mod.c for every module, modules.builtin and modules.ids. known is the Module.symvers of the
# tree an external module is built for. An undefined symbol that nobody exports is an error.

function owner_of(file) {
	return (file in is_module) ? file : "vmlinux"
}

function content_of(file,    line, text) {
	text = ""
	while ((getline line < file) > 0)
		text = text line "\n"
	close(file)
	return text
}

function exists(file,    line, got) {
	got = (getline line < file)
	close(file)
	return got >= 0
}

function update(file, text) {
	if (exists(file) && content_of(file) == text)
		return
	printf "%s", text > file
	close(file)
}

function name_of(module,    s) {
	s = module
	sub(/^.*\//, "", s)
	sub(/\.o$/, "", s)
	gsub(/-/, "_", s)
	return s
}

BEGIN {
	n_modules = split(modules, module, " ")
	for (i = 1; i <= n_modules; i++)
		is_module[module[i]] = 1
	if (known != "")
		while ((getline line < known) > 0) {
			split(line, col, "\t")
			exporter[col[2]] = col[3]
		}
}

{
	file = $1
	sub(/:$/, "", file)
	member = ""
	if (match(file, /\[.*\]$/)) {
		member = substr(file, RSTART + 1, RLENGTH - 2)
		file = substr(file, 1, RSTART - 1)
	}
	owner = owner_of(file)
}

$3 == "U" {
	if (owner != "vmlinux")
		wanted[owner] = wanted[owner] " " $2
	next
}

$2 ~ /^__ksymtab_/ {
	sym = substr($2, 11)
	if ((sym in exporter) && exporter[sym] != owner) {
		print "ERROR: modpost: " owner ": \"" sym "\" is exported twice, first by " exporter[sym] > "/dev/stderr"
		bad = 1
	}
	kind = ($3 ~ /[rR]/) ? "EXPORT_SYMBOL" : "EXPORT_SYMBOL_GPL"
	n_exports++
	exported[n_exports] = sym
	kind_of[sym] = kind
	exporter[sym] = (owner == "vmlinux") ? owner : substr(owner, 1, length(owner) - 2)
}

$2 ~ /^__mini_set__/ && owner != "vmlinux" {
	has_ids[owner] = 1
}

$2 ~ /^__mini_license__/ && owner == "vmlinux" {
	dir = member
	sub(/[^\/]*$/, "", dir)
	builtin = builtin "kernel/" dir substr($2, 17) ".ko\n"
}

END {
	for (i = 1; i <= n_exports; i++)
		list = list "0x00000000\t" exported[i] "\t" exporter[exported[i]] "\t" kind_of[exported[i]] "\t\n"

	for (i = 1; i <= n_modules; i++) {
		m = module[i]
		depends = ""
		split("", seen)
		n = split(wanted[m], want, " ")
		for (j = 1; j <= n; j++) {
			if (!(want[j] in exporter)) {
				print "ERROR: modpost: \"" want[j] "\" [" substr(m, 1, length(m) - 2) ".ko] undefined!" > "/dev/stderr"
				bad = 1
				continue
			}
			from = exporter[want[j]]
			if (from == "vmlinux" || from in seen)
				continue
			seen[from] = 1
			depends = depends (depends == "" ? "" : ",") name_of(from)
		}
		text = "#include <linux/module.h>\n#include <generated/utsrelease.h>\n\n"
		text = text "MODULE_INFO(depends, \"" depends "\");\n"
		text = text "MODULE_INFO(name, \"" name_of(m) "\");\n"
		text = text "MODULE_INFO(vermagic, UTS_RELEASE \" mini\");\n"
		mod_c[m] = text
		if (m in has_ids)
			ids = ids substr(m, 1, length(m) - 2) ".ko\n"
	}
	if (bad)
		exit 1

	for (i = 1; i <= n_modules; i++)
		update(substr(module[i], 1, length(module[i]) - 2) ".mod.c", mod_c[module[i]])
	update(top "modules.ids", ids)
	if (top == "")
		update("modules.builtin", builtin)
	printf "%s", list > symvers
	close(symvers)
}
