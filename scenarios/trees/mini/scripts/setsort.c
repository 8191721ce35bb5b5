/*
 * Fill in and sort the id sets of a module.
 *
 *	setsort [-f] SYSTEM.MAP MODULE.ko
 *
 * A set is a header { u32 state, u32 unused } and pairs { u32 id, u32 flags } in .mini_ids. The symbol
 * __mini_set__NAME stands at the header, __mini_id__FUNCTION at each pair. The id of a function is the
 * number of lines in System.map, plus its place among the module's functions sorted by name: like BTF
 * ids, those of a module go on where those of vmlinux end, so another vmlinux can mean other ids.
 *
 * The symbols stay where they are while the pairs are sorted. So in a second run on the same file, a
 * symbol no longer stands at its function's pair, but the order of the pairs is still right: a set that
 * is marked as sorted only has its ids counted anew. With -f the mark is not looked at, and the second
 * run gives flags to the wrong functions. That is a planted fault.
 */
#include <elf.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct pair { uint32_t id, flags; };
struct set { uint32_t state, unused; struct pair pairs[]; };

static char *image;
static Elf64_Sym *syms;
static size_t nsyms;
static char *strings;

static void die(const char *what, const char *name)
{
	fprintf(stderr, "setsort: %s: %s\n", what, name);
	exit(1);
}

static uint32_t lines_of(const char *name)
{
	FILE *f = fopen(name, "r");
	uint32_t n = 0;
	int c;

	if (!f)
		die("cannot read", name);
	while ((c = getc(f)) != EOF)
		n += c == '\n';
	fclose(f);
	return n;
}

static int is_function(const Elf64_Sym *s)
{
	return ELF64_ST_TYPE(s->st_info) == STT_FUNC && s->st_shndx != SHN_UNDEF;
}

static uint32_t place_of(const char *function)
{
	uint32_t place = 0, found = 0;

	for (size_t i = 0; i < nsyms; i++) {
		const char *name = strings + syms[i].st_name;

		if (!is_function(&syms[i]))
			continue;
		place += strcmp(name, function) < 0;
		found |= !strcmp(name, function);
	}
	if (!found)
		die("no such function in the module", function);
	return place;
}

static int by_id(const void *a, const void *b)
{
	const struct pair *x = a, *y = b;

	return x->id < y->id ? -1 : x->id > y->id;
}

static int by_number(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

int main(int argc, char **argv)
{
	int forget = argc == 4 && !strcmp(argv[1], "-f");
	Elf64_Shdr *sections, *ids = NULL, *symtab = NULL;
	char *map, *module, *names;
	Elf64_Ehdr *ehdr;
	uint32_t base;
	long size;
	FILE *f;

	if (argc != 3 + forget)
		die("usage", "setsort [-f] SYSTEM.MAP MODULE.ko");
	map = argv[1 + forget];
	module = argv[2 + forget];
	base = lines_of(map);

	f = fopen(module, "r+");
	if (!f || fseek(f, 0, SEEK_END) || (size = ftell(f)) < (long)sizeof(*ehdr))
		die("cannot open", module);
	rewind(f);
	image = malloc(size);
	if (!image || fread(image, 1, size, f) != (size_t)size)
		die("cannot read", module);
	ehdr = (Elf64_Ehdr *)image;
	if (memcmp(ehdr->e_ident, ELFMAG, SELFMAG) || ehdr->e_ident[EI_CLASS] != ELFCLASS64)
		die("not a 64-bit ELF file", module);
	sections = (Elf64_Shdr *)(image + ehdr->e_shoff);
	names = image + sections[ehdr->e_shstrndx].sh_offset;
	for (int i = 0; i < ehdr->e_shnum; i++) {
		if (!strcmp(names + sections[i].sh_name, ".mini_ids"))
			ids = &sections[i];
		if (sections[i].sh_type == SHT_SYMTAB)
			symtab = &sections[i];
	}
	if (!ids || !symtab)
		die("no id set in", module);
	syms = (Elf64_Sym *)(image + symtab->sh_offset);
	nsyms = symtab->sh_size / sizeof(*syms);
	strings = image + sections[symtab->sh_link].sh_offset;

	for (size_t i = 0; i < nsyms; i++) {
		uint64_t start = syms[i].st_value, end = ids->sh_size;
		uint32_t number[256], n = 0;
		struct set *set;

		if (&sections[syms[i].st_shndx] != ids || strncmp(strings + syms[i].st_name, "__mini_set__", 12))
			continue;
		for (size_t j = 0; j < nsyms; j++)
			if (&sections[syms[j].st_shndx] == ids && syms[j].st_value > start && syms[j].st_value < end &&
			    !strncmp(strings + syms[j].st_name, "__mini_set__", 12))
				end = syms[j].st_value;
		set = (struct set *)(image + ids->sh_offset + start);
		for (size_t j = 0; j < nsyms; j++) {
			const char *name = strings + syms[j].st_name;
			uint32_t id;

			if (&sections[syms[j].st_shndx] != ids || strncmp(name, "__mini_id__", 11) ||
			    syms[j].st_value < start || syms[j].st_value >= end)
				continue;
			if (n == 256)
				die("too many ids in one set of", module);
			id = base + 1 + place_of(name + 11);
			number[n++] = id;
			if (forget || !set->state)
				set->pairs[(syms[j].st_value - start - sizeof(*set)) / sizeof(struct pair)].id = id;
		}
		if (!forget && set->state) {
			qsort(number, n, sizeof(*number), by_number);
			for (uint32_t k = 0; k < n; k++)
				set->pairs[k].id = number[k];
		}
		qsort(set->pairs, n, sizeof(struct pair), by_id);
		set->state = 1;
	}

	if (fseek(f, ids->sh_offset, SEEK_SET) || fwrite(image + ids->sh_offset, 1, ids->sh_size, f) != ids->sh_size || fclose(f))
		die("cannot write", module);
	return 0;
}
