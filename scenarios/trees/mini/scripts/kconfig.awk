# Read Kconfig and assignments, settle every symbol, write the configuration.
#
#	awk -v mode=default|allno|sync -v kconfig=FILE -v inputs='FILE ...' -f kconfig.awk
#
# default: a symbol without an assignment takes its default. allno: it is n. Both write .config.
# sync: as default, and also writes what a build reads: include/config/auto.conf, autoconf.h, and
# touches include/config/FOO for every FOO whose value is another one than in the last auto.conf.
#
# The language is a small part of Kconfig's: config, bool, tristate, string, int, default, depends on
# (A && !B), help. Of two assignments the last one counts.

function fail(text) {
	print "kconfig: " text > "/dev/stderr"
	failed = 1
	exit 1
}

function unquote(s) {
	if (s ~ /^".*"$/)
		s = substr(s, 2, length(s) - 2)
	return s
}

function rest_of(line) {
	sub(/^[ \t]*[^ \t]+[ \t]*/, "", line)
	sub(/[ \t]+$/, "", line)
	return line
}

function read_kconfig(file,    line, word, sym, in_help, got) {
	while ((got = (getline line < file)) > 0) {
		if (line ~ /^config[ \t]/) {
			sym = rest_of(line)
			in_help = 0
			if (sym in type)
				fail(file ": `" sym "` is defined twice")
			order[++count] = sym
			type[sym] = "none"
			deps[sym] = ""
		} else if (line ~ /^[^ \t#]/ || line ~ /^[ \t]*(#|$)/ || in_help) {
			if (line ~ /^[^ \t#]/)
				in_help = 0
			continue
		} else {
			word = line
			sub(/^[ \t]+/, "", word)
			sub(/[ \t].*/, "", word)
			if (word == "bool" || word == "tristate" || word == "string" || word == "int")
				type[sym] = word
			else if (word == "default")
				preset[sym] = unquote(rest_of(line))
			else if (word == "depends")
				deps[sym] = deps[sym] (deps[sym] == "" ? "" : " && ") rest_of(rest_of(line))
			else if (word == "help")
				in_help = 1
			else
				fail(file ": cannot read `" line "`")
		}
	}
	if (got < 0)
		fail("cannot read `" file "`")
	close(file)
}

function read_values(file, into,    line, name, got) {
	while ((got = (getline line < file)) > 0) {
		if (line ~ /^CONFIG_[A-Za-z0-9_]+=/) {
			name = line
			sub(/=.*/, "", name)
			into[substr(name, 8)] = unquote(substr(line, length(name) + 2))
		} else if (line ~ /^# CONFIG_[A-Za-z0-9_]+ is not set/) {
			split(line, part, " ")
			into[substr(part[2], 8)] = "n"
		}
	}
	if (got < 0)
		return 0
	close(file)
	return 1
}

function level(v) { return v == "y" ? 2 : v == "m" ? 1 : 0 }
function letter(n) { return n >= 2 ? "y" : n == 1 ? "m" : "n" }

function limit(sym,    n, i, part, v, low, name) {
	low = 2
	n = split(deps[sym], part, /[ \t]*&&[ \t]*/)
	for (i = 1; i <= n; i++) {
		name = part[i]
		gsub(/[ \t()]/, "", name)
		if (name == "")
			continue
		if (name ~ /^!/) {
			name = substr(name, 2)
			v = 2 - level(value[name])
		} else
			v = level(value[name])
		if (v < low)
			low = v
	}
	return low
}

function settle(    i, sym, v, top, changed, rounds) {
	do {
		changed = 0
		for (i = 1; i <= count; i++) {
			sym = order[i]
			top = limit(sym)
			if (type[sym] == "string" || type[sym] == "int")
				v = top ? ((sym in asked) ? asked[sym] : preset[sym]) : ""
			else {
				v = (sym in asked) ? asked[sym] : mode == "allno" ? "n" : preset[sym]
				v = level(v)
				if (type[sym] == "bool") {
					v = v ? 2 : 0
					top = top ? 2 : 0
				} else if (v == 1 && value["MODULES"] != "y")
					v = 2
				if (v > top)
					v = top
				v = letter(v)
			}
			shown[sym] = top
			if (!(sym in value) || value[sym] != v) {
				value[sym] = v
				changed = 1
			}
		}
		if (++rounds > 100)
			fail("the dependencies of the symbols never settle")
	} while (changed)
}

function assignment(sym, off) {
	if (type[sym] == "string")
		return "CONFIG_" sym "=\"" value[sym] "\"\n"
	if (type[sym] == "int")
		return "CONFIG_" sym "=" value[sym] "\n"
	if (value[sym] == "n")
		return off ? "# CONFIG_" sym " is not set\n" : ""
	return "CONFIG_" sym "=" value[sym] "\n"
}

function define(sym) {
	if (type[sym] == "string")
		return "#define CONFIG_" sym " \"" value[sym] "\"\n"
	if (type[sym] == "int")
		return "#define CONFIG_" sym " " value[sym] "\n"
	if (value[sym] == "n")
		return ""
	return "#define CONFIG_" sym (value[sym] == "m" ? "_MODULE" : "") " 1\n"
}

function content_of(file,    line, text) {
	text = ""
	while ((getline line < file) > 0)
		text = text line "\n"
	close(file)
	return text
}

function write(file, text) {
	printf "%s", text > file
	if (close(file))
		fail("cannot write `" file "`")
}

# A symbol that is not set has the same standing as one that does not exist.
function standing(values, sym) {
	return (sym in values) && values[sym] != "n" ? values[sym] : ""
}

BEGIN {
	read_kconfig(kconfig)
	n = split(inputs, file, " ")
	for (i = 1; i <= n; i++)
		if (!read_values(file[i], asked))
			fail("cannot read `" file[i] "`")
	settle()

	dot = "# Made by scripts/kconfig.awk. An edit is taken up by the next make.\n"
	auto = "# Made by scripts/kconfig.awk from .config\n"
	header = "/* Made by scripts/kconfig.awk from .config */\n"
	for (i = 1; i <= count; i++) {
		sym = order[i]
		if (!shown[sym])
			continue
		dot = dot assignment(sym, 1)
		auto = auto assignment(sym, 0)
		header = header define(sym)
	}
	if (content_of(".config") != dot)
		write(".config", dot)
	if (mode != "sync")
		exit 0

	# auto.conf comes last: it is what the next sync compares with, and what make looks at.
	read_values("include/config/auto.conf", last)
	for (i = 1; i <= count; i++) {
		sym = order[i]
		now[sym] = shown[sym] ? value[sym] : ""
		if (standing(last, sym) != standing(now, sym))
			write("include/config/" sym, "")
	}
	for (sym in last)
		if (!(sym in now) && standing(last, sym) != "")
			write("include/config/" sym, "")
	write("include/generated/autoconf.h", header)
	write("include/config/.auto.conf.tmp", auto)
	if (system("mv -f include/config/.auto.conf.tmp include/config/auto.conf"))
		fail("cannot write `include/config/auto.conf`")
	exit 0
}
