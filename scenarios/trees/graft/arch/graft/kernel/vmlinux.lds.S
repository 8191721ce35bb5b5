#define PAGE_SIZE 4096
#define THREAD_SIZE 16384
#include <asm-generic/vmlinux.lds.h>
#include "modinfo.lds.h"

OUTPUT_FORMAT("elf64-x86-64")
OUTPUT_ARCH(i386:x86-64)
ENTRY(_stext_entry)

SECTIONS
{
	. = 0xffffffff81000000;
	_text = .;
	_stext = .;
	.head.text : { HEAD_TEXT }
	.text : {
		TEXT_TEXT
		*(.text .text.*)
	}
	_etext = .;
	RO_DATA(4096)
	_sdata = .;
	.data : {
		*(.data .data.*)
		BUG_TABLE
	}
	__init_begin = .;
	INIT_TEXT_SECTION(4096)
	INIT_DATA_SECTION(16)
	PERCPU_SECTION(64)
	__init_end = .;
	_edata = .;
	BSS_SECTION(0, 0, 0)
	_end = .;
	STABS_DEBUG
	DWARF_DEBUG
	GRAFT_MODINFO
	ELF_DETAILS
	DISCARDS
}
