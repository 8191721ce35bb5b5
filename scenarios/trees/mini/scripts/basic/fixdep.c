/*
 * Turn the compiler's list of headers into a .cmd file.
 *
 *	fixdep [-a] [-i TAIL] [-C] [-n] DEPFILE TARGET COMMAND CMDFILE
 *
 * Every file in the list becomes a prerequisite, but for autoconf.h: it changes with every symbol.
 * In its place each CONFIG_FOO that a file mentions becomes include/config/FOO, which is touched
 * when FOO changes. Each prerequisite also gets an empty rule, so that a deleted header is no error.
 *
 * The options are for planted faults: -i leaves out files whose path ends in TAIL, -C leaves out
 * the symbols, -n leaves out the empty rules, -a keeps autoconf.h.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char **seen;
static size_t nseen;

static void die(const char *what, const char *name)
{
	fprintf(stderr, "fixdep: %s: %s\n", what, name);
	exit(1);
}

static char *slurp(const char *name)
{
	FILE *f = fopen(name, "r");
	size_t len = 0, size = 1 << 14;
	char *buf = malloc(size);

	if (!f || !buf)
		die("cannot read", name);
	for (;;) {
		len += fread(buf + len, 1, size - len - 1, f);
		if (len < size - 1)
			break;
		buf = realloc(buf, size *= 2);
		if (!buf)
			die("out of memory", name);
	}
	buf[len] = 0;
	fclose(f);
	return buf;
}

static int ends_with(const char *s, const char *tail)
{
	size_t n = strlen(s), m = strlen(tail);

	return n >= m && !strcmp(s + n - m, tail);
}

static int first_time(const char *name, size_t len)
{
	for (size_t i = 0; i < nseen; i++)
		if (strlen(seen[i]) == len && !memcmp(seen[i], name, len))
			return 0;
	seen = realloc(seen, (nseen + 1) * sizeof(*seen));
	if (!seen)
		die("out of memory", name);
	seen[nseen++] = strndup(name, len);
	return 1;
}

static int symbol_char(int c)
{
	return isalnum(c) || c == '_';
}

static void symbols_of(const char *file, FILE *out)
{
	char *text = slurp(file), *p = text;

	while ((p = strstr(p, "CONFIG_"))) {
		int inside = p > text && symbol_char((unsigned char)p[-1]);
		char *name = p += strlen("CONFIG_");
		size_t len;

		while (symbol_char((unsigned char)*p))
			p++;
		len = p - name;
		if (len > 7 && !memcmp(p - 7, "_MODULE", 7))
			len -= 7;
		if (!inside && len && first_time(name, len))
			fprintf(out, "    $(wildcard include/config/%.*s) \\\n", (int)len, name);
	}
	free(text);
}

int main(int argc, char **argv)
{
	const char *ignore = NULL, *target;
	int opt, autoconf = 0, symbols = 1, rules = 1;
	char *deps, *word, tmp[4096];
	FILE *out;

	while ((opt = getopt(argc, argv, "ai:Cn")) != -1) {
		if (opt == 'a')
			autoconf = 1;
		else if (opt == 'i')
			ignore = optarg;
		else if (opt == 'C')
			symbols = 0;
		else if (opt == 'n')
			rules = 0;
		else
			return 2;
	}
	if (argc - optind != 4)
		die("usage", "fixdep [-a] [-i TAIL] [-C] [-n] DEPFILE TARGET COMMAND CMDFILE");
	argv += optind;
	target = argv[1];

	snprintf(tmp, sizeof(tmp), "%s.tmp", argv[3]);
	out = fopen(tmp, "w");
	if (!out)
		die("cannot write", tmp);
	fprintf(out, "savedcmd_%s := %s\n\ndeps_%s := \\\n", target, argv[2], target);

	deps = slurp(argv[0]);
	for (word = strtok(deps, " \t\n\\"); word; word = strtok(NULL, " \t\n\\")) {
		if (word[strlen(word) - 1] == ':')
			continue;
		if (!autoconf && ends_with(word, "include/generated/autoconf.h"))
			continue;
		if (ignore && ends_with(word, ignore))
			continue;
		fprintf(out, "  %s \\\n", word);
		if (symbols)
			symbols_of(word, out);
	}
	fprintf(out, "\n%s: $(deps_%s)\n", target, target);
	if (rules)
		fprintf(out, "\n$(deps_%s):\n", target);
	if (fclose(out) || rename(tmp, argv[3]))
		die("cannot write", argv[3]);
	unlink(argv[0]);
	return 0;
}
