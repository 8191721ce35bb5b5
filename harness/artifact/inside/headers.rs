//! An ELF file's headers as plain values, and its sections by the names of its parts.
//!
//! The format is the gABI's (`elf(5)`). [`layout`](super::super::elf::layout) has accepted the headers before:
//! what it refused is one part and has no sections here.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom};
use std::rc::Rc;

use super::super::Artifact;
use super::symbols::Table;

pub(super) const SHT_SYMTAB: u32 = 2;
pub(super) const SHT_STRTAB: u32 = 3;
pub(super) const SHT_RELA: u32 = 4;
pub(super) const SHT_NOTE: u32 = 7;
pub(super) const SHT_NOBITS: u32 = 8;
pub(super) const SHT_REL: u32 = 9;
pub(super) const SHT_DYNSYM: u32 = 11;
pub(super) const SHT_SYMTAB_SHNDX: u32 = 18;
pub(super) const SHF_ALLOC: u64 = 2;
pub(super) const SHF_STRINGS: u64 = 0x20;
pub(super) const SHF_COMPRESSED: u64 = 0x800;

/// The longest part that is read, in bytes: the `.debug_info` of a distribution's vmlinux has some 200 MB.
const LARGEST: u64 = 256 << 20;
/// The longest symbol table, in bytes: each symbol takes some times its length of memory, and a vmlinux has 300,000.
const LARGEST_TABLE: u64 = 48 << 20;
/// The most that is unpacked of one file's sections in all, in bytes, and for each byte of the file. Before it is linked debug
/// information has sections of zeros, which pack to next to nothing; otherwise a tenth is left of it at the least.
const UNPACKED: u64 = 16 << 20;
const UNPACKED_EACH: u64 = 32;
/// The most that is read of one file in all, in bytes.
pub(super) const BUDGET: u64 = 1 << 30;

/// Byte order and class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Order {
    pub(super) is_64: bool,
    pub(super) big_endian: bool,
}

impl Order {
    /// The number of `N` bytes at an offset, if the bytes go that far.
    fn number<const N: usize>(self, bytes: &[u8], at: usize) -> Option<u64> {
        let mut wide = [0; 8];
        let field = bytes.get(at..at.checked_add(N)?)?;
        if self.big_endian {
            wide[8 - N..].copy_from_slice(field);
            Some(u64::from_be_bytes(wide))
        } else {
            wide[..N].copy_from_slice(field);
            Some(u64::from_le_bytes(wide))
        }
    }

    pub(super) fn u16(self, bytes: &[u8], at: usize) -> Option<u16> {
        self.number::<2>(bytes, at).and_then(|n| n.try_into().ok())
    }

    pub(super) fn u32(self, bytes: &[u8], at: usize) -> Option<u32> {
        self.number::<4>(bytes, at).and_then(|n| n.try_into().ok())
    }

    pub(super) fn u64(self, bytes: &[u8], at: usize) -> Option<u64> {
        self.number::<8>(bytes, at)
    }

    /// An address, offset or size: as wide as the class.
    pub(super) fn wide(self, bytes: &[u8], at: usize) -> Option<u64> {
        if self.is_64 { self.u64(bytes, at) } else { self.u32(bytes, at).map(u64::from) }
    }

    /// The length of [`Order::wide`] in bytes.
    pub(super) fn width(self) -> usize {
        if self.is_64 { 8 } else { 4 }
    }
}

/// A section header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Section {
    /// The name of its part; of a section without bytes in the file its own name.
    pub(super) label: String,
    pub(super) kind: u32,
    pub(super) flags: u64,
    pub(super) address: u64,
    pub(super) offset: u64,
    pub(super) size: u64,
    pub(super) link: u32,
    pub(super) info: u32,
    pub(super) align: u64,
    pub(super) entsize: u64,
}

impl Section {
    pub(super) fn is_alloc(&self) -> bool {
        self.flags & SHF_ALLOC != 0
    }
}

/// Fields of the ELF header that do not follow from where things lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Header {
    pub(super) kind: u16,
    pub(super) machine: u16,
    pub(super) entry: u64,
    pub(super) flags: u32,
    /// `e_ident` after the magic: class, byte order, version, ABI, padding.
    pub(super) ident: [u8; 12],
    /// `e_version`.
    pub(super) version: u32,
}

/// One of the two files.
pub(super) struct Side<'r, R> {
    pub(super) artifact: &'r Artifact,
    pub(super) order: Order,
    pub(super) header: Header,
    /// In the order of the section table, the null section first; empty when the file is no ELF file.
    pub(super) sections: Vec<Section>,
    /// Offset and length of each part, and the section that it is; a file can have many.
    parts: BTreeMap<&'r str, (u64, u64, Option<usize>)>,
    file: &'r mut R,
    left: u64,
    /// What may still be unpacked.
    left_packed: u64,
    tables: BTreeMap<usize, Rc<Table>>,
}

impl<'r, R: Read + Seek> Side<'r, R> {
    pub(super) fn open(artifact: &'r Artifact, file: &'r mut R) -> io::Result<Self> {
        let mut side = Self {
            artifact,
            order: Order::default(),
            header: Header::default(),
            sections: Vec::new(),
            parts: artifact.parts.iter().map(|p| (p.name.as_str(), (p.offset, p.size, None))).collect(),
            file,
            left: BUDGET,
            left_packed: UNPACKED.saturating_add(artifact.size.saturating_mul(UNPACKED_EACH)),
            tables: BTreeMap::new(),
        };
        if artifact.parts.len() > 1 {
            side.read_headers()?;
        }
        Ok(side)
    }

    fn read_headers(&mut self) -> io::Result<()> {
        let (Some(head), table) = (self.part("ELF header")?, self.part("section headers")?.unwrap_or_default()) else {
            return Ok(());
        };
        let order = Order { is_64: head.get(4) == Some(&2), big_endian: head.get(5) == Some(&2) };
        self.order = order;
        // The fields after e_version are e_entry, e_phoff, e_shoff, e_flags; e_shstrndx is the last.
        let after = 24 + 3 * order.width();
        let field = |at| order.u16(&head, at).unwrap_or_default();
        self.header = Header {
            kind: field(16),
            machine: field(18),
            entry: order.wide(&head, 24).unwrap_or_default(),
            flags: order.u32(&head, after).unwrap_or_default(),
            ident: head.get(4..16).and_then(|ident| ident.try_into().ok()).unwrap_or_default(),
            version: order.u32(&head, 20).unwrap_or_default(),
        };
        let entry = if order.is_64 { 64 } else { 40 };
        let names: BTreeMap<u64, &str> =
            self.artifact.parts.iter().map(|part| (part.offset, part.name.as_str())).collect();
        let read = |bytes: &[u8]| -> Option<(u32, Section)> {
            // sh_name, sh_type, then flags, addr, offset, size as wide as the class, link, info, align, entsize
            let wide = |n: usize| order.wide(bytes, 8 + n * order.width());
            let words = 8 + 4 * order.width();
            let last = |n: usize| order.wide(bytes, words + 8 + n * order.width());
            let section = Section {
                label: String::new(),
                kind: order.u32(bytes, 4)?,
                flags: wide(0)?,
                address: wide(1)?,
                offset: wide(2)?,
                size: wide(3)?,
                link: order.u32(bytes, words)?,
                info: order.u32(bytes, words + 4)?,
                align: last(0)?,
                entsize: last(1)?,
            };
            Some((order.u32(bytes, 0)?, section))
        };
        let read: Vec<(u32, Section)> = table.chunks_exact(entry).filter_map(read).collect();
        // As `object` reads e_shstrndx: SHN_XINDEX (0xffff) refers to the null section's sh_link.
        let last = if order.is_64 { 62 } else { 50 };
        let index = match field(last) {
            0xffff => read.first().map_or(0, |(_, null)| null.link as usize),
            index => usize::from(index),
        };
        let strings = match read.get(index) {
            Some((_, section)) if section.kind != SHT_NOBITS => self.bytes(section.offset, section.size)?,
            _ => None,
        };
        let strings = strings.unwrap_or_default();
        self.sections = read
            .into_iter()
            .map(|(name, mut section)| {
                let has_bytes = section.kind != SHT_NOBITS && section.kind != 0 && section.size > 0;
                section.label = match names.get(&section.offset) {
                    Some(part) if has_bytes => (*part).to_owned(),
                    _ => super::super::elf::section_label(&strings, name),
                };
                section
            })
            .collect();
        for (index, section) in self.sections.iter().enumerate().filter(|(_, section)| section.kind != SHT_NOBITS) {
            if let Some(part) = self.parts.get_mut(section.label.as_str())
                && (part.0, part.1) == (section.offset, section.size)
            {
                part.2 = Some(index);
            }
        }
        Ok(())
    }

    /// The section whose bytes are the part of this name.
    pub(super) fn section(&self, part: &str) -> Option<&Section> {
        self.index(part).and_then(|index| self.sections.get(index))
    }

    pub(super) fn index(&self, part: &str) -> Option<usize> {
        self.parts.get(part)?.2
    }

    /// What a section index of a symbol or a header means, for people.
    pub(super) fn place(&self, index: u32) -> &str {
        match index {
            0 => "undefined",
            0xfff1 => "absolute",
            0xfff2 => "common",
            index => self.sections.get(index as usize).map_or("no section", |section| section.label.as_str()),
        }
    }

    /// The bytes of a part; none where there is no such part, or it is longer than what is read.
    pub(super) fn part(&mut self, name: &str) -> io::Result<Option<Vec<u8>>> {
        match self.parts.get(name) {
            Some((offset, size, _)) => self.bytes(*offset, *size),
            None => Ok(None),
        }
    }

    /// The whole file, unless it is too large.
    pub(super) fn whole(&mut self) -> io::Result<Option<Vec<u8>>> {
        self.bytes(0, self.artifact.size)
    }

    /// The length of a part in bytes.
    pub(super) fn size(&self, name: &str) -> u64 {
        self.parts.get(name).map_or(0, |(_, size, _)| *size)
    }

    /// What a section has inside: `bytes`, unpacked if it is compressed by itself (`Elf32_Chdr`, `Elf64_Chdr`).
    pub(super) fn unpacked<'b>(&mut self, name: &str, bytes: &'b [u8]) -> Result<Cow<'b, [u8]>, String> {
        if self.section(name).is_none_or(|section| section.flags & SHF_COMPRESSED == 0) {
            return Ok(Cow::Borrowed(bytes));
        }
        // ch_type, in 64 bits a reserved word, ch_size, ch_addralign
        let header = if self.order.is_64 { 24 } else { 12 };
        let kind = self.order.u32(bytes, 0).ok_or_else(|| format!("{name} is too short to be compressed"))?;
        let packed = bytes.get(header..).ok_or_else(|| format!("{name} is too short to be compressed"))?;
        // What is unpacked counts as read, or small sections could take long.
        let inside = super::super::packed::section(kind, packed, LARGEST.min(self.left).min(self.left_packed));
        let inside = inside.map_err(|why| format!("{name}: {why}"))?;
        self.left = self.left.saturating_sub(inside.len() as u64);
        self.left_packed = self.left_packed.saturating_sub(inside.len() as u64);
        Ok(Cow::Owned(inside))
    }

    /// None of what is too large, and of what the file never had: the null section is no part, and may claim anything.
    fn bytes(&mut self, offset: u64, size: u64) -> io::Result<Option<Vec<u8>>> {
        let is_within = offset.checked_add(size).is_some_and(|end| end <= self.artifact.size);
        if size > LARGEST || size > self.left || !is_within {
            return Ok(None);
        }
        self.left -= size;
        self.file.seek(SeekFrom::Start(offset))?;
        let mut bytes = Vec::new();
        // `take` bounds the memory by what the file has, whatever its headers claim.
        (&mut *self.file).take(size).read_to_end(&mut bytes)?;
        if bytes.len() as u64 == size { Ok(Some(bytes)) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    /// The symbol table in a section, read once; the inner error says why there is none.
    pub(super) fn table(&mut self, index: usize) -> io::Result<Result<Rc<Table>, String>> {
        if let Some(table) = self.tables.get(&index) {
            return Ok(Ok(Rc::clone(table)));
        }
        let Some(section) = self.sections.get(index).filter(|s| matches!(s.kind, SHT_SYMTAB | SHT_DYNSYM)) else {
            return Ok(Err(format!("section {index} is no symbol table")));
        };
        let (offset, size, link) = (section.offset, section.size, section.link as usize);
        let strings = self.sections.get(link).filter(|s| s.kind == SHT_STRTAB).map(|s| (s.offset, s.size));
        let wide = self.sections.iter().find(|s| s.kind == SHT_SYMTAB_SHNDX && s.link as usize == index);
        let wide = wide.map(|s| (s.offset, s.size));
        let Some((at, length)) = strings else {
            return Ok(Err(format!("the symbol table's names are said to be in section {link}, which has none")));
        };
        if size > LARGEST_TABLE {
            return Ok(Err("the symbol table is too large to be read".to_owned()));
        }
        let wide = match wide {
            Some((offset, size)) => self.bytes(offset, size)?,
            None => None,
        };
        let (Some(symbols), Some(strings)) = (self.bytes(offset, size)?, self.bytes(at, length)?) else {
            return Ok(Err("the symbol table is too large to be read".to_owned()));
        };
        let table = match Table::parse(&symbols, strings, wide.as_deref(), self.order) {
            Ok(table) => Rc::new(table),
            Err(why) => return Ok(Err(why)),
        };
        self.tables.insert(index, Rc::clone(&table));
        Ok(Ok(table))
    }

    /// The symbol table of this file that says most: `.symtab`, else `.dynsym`.
    pub(super) fn symbols(&mut self) -> io::Result<Option<Rc<Table>>> {
        let of = |kind| self.sections.iter().position(|section| section.kind == kind);
        match of(SHT_SYMTAB).or_else(|| of(SHT_DYNSYM)) {
            Some(index) => Ok(self.table(index)?.ok()),
            None => Ok(None),
        }
    }
}
