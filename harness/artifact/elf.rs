//! Which byte of an ELF file belongs to what, from its headers alone.
//!
//! The format is the System V gABI's (`elf(5)`), read through `object`'s low-level traits; files of 32 and 64
//! bits and both byte orders. Headers are input like any other: whatever they claim, the answer is a list of
//! spans that covers the file exactly once, or a reason why there is none.

use std::collections::HashMap;
use std::io::{self, Read, Seek, SeekFrom};

use object::Endianness;
use object::elf::{ELFCLASS32, ELFCLASS64, FileHeader32, FileHeader64, SHT_NOBITS, SHT_NULL};
use object::read::ReadCache;
use object::read::ReadRef;
use object::read::elf::{FileHeader, SectionHeader};

use super::walk::escape_bytes;

/// More sections than any object file has; `vmlinux.o` with `-ffunction-sections` has some 100,000.
const MAX_SECTIONS: u32 = 1 << 19;
/// Names are shared between sections by offset; this bounds what a hostile table can make of that.
const MAX_NAME: usize = 255;
/// The largest section name table that is read; it is held in memory.
const MAX_NAME_TABLE: u64 = 64 << 20;
/// `MODULE_SIG_STRING` in `include/linux/module_signature.h`: the end of a signed module.
const SIGNATURE_END: &[u8] = b"~Module signature appended~\n";

/// A named range of bytes in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) name: String,
    pub(super) offset: u64,
    pub(super) size: u64,
}

/// What the first bytes of a file turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Layout {
    NotElf,
    Malformed(String),
    /// Covers the file exactly once, in rising order.
    Elf(Vec<Span>),
}

/// Reads the headers; `size` is the length of the file in bytes.
///
/// Errors are those of the reader while it delivers bytes it has; a range it does not have is `Malformed`.
pub(super) fn layout<R: Read + Seek>(mut reader: R, size: u64) -> io::Result<Layout> {
    let mut ident = [0; 5];
    if size < 16 {
        return Ok(Layout::NotElf);
    }
    reader.seek(SeekFrom::Start(0))?;
    reader.read_exact(&mut ident)?;
    if !ident.starts_with(b"\x7fELF") {
        return Ok(Layout::NotElf);
    }
    let cache = ReadCache::new(reader);
    let headers = match ident[4] {
        class if class == ELFCLASS32.0 => headers::<FileHeader32<Endianness>, _>(&cache),
        class if class == ELFCLASS64.0 => headers::<FileHeader64<Endianness>, _>(&cache),
        class => Err(format!("ELF class `{class}`")),
    };
    Ok(match headers.and_then(|claims| cover(claims, size, &cache)) {
        Ok(spans) => Layout::Elf(spans),
        Err(why) => Layout::Malformed(why),
    })
}

/// The ranges that the headers claim, in the order of the section table; empty ones left out.
fn headers<'a, E, R>(cache: &'a ReadCache<R>) -> Result<Vec<Span>, String>
where
    E: FileHeader<Endian = Endianness>,
    R: Read + Seek + 'a,
{
    let text = |e: object::Error| e.to_string();
    let header = E::parse(cache).map_err(text)?;
    let endian = header.endian().map_err(text)?;
    if usize::from(header.e_ehsize(endian)) != size_of::<E>() {
        return Err(format!("e_ehsize is `{}`", header.e_ehsize(endian)));
    }
    let mut names = Names::default();
    let mut spans = vec![Span { name: names.reserve("ELF header"), offset: 0, size: size_of::<E>() as u64 }];

    let shnum = header.shnum(endian, cache).map_err(text)?;
    if shnum > MAX_SECTIONS {
        return Err(format!("`{shnum}` sections"));
    }
    if shnum > 0 && header.e_shoff(endian).into() != 0 {
        spans.push(Span {
            name: names.reserve("section headers"),
            offset: header.e_shoff(endian).into(),
            size: u64::from(shnum) * u64::from(header.e_shentsize(endian)),
        });
    }
    let phnum = header.phnum(endian, cache).map_err(text)?;
    if phnum > 0 && header.e_phoff(endian).into() != 0 {
        spans.push(Span {
            name: names.reserve("program headers"),
            offset: header.e_phoff(endian).into(),
            size: u64::from(phnum) * u64::from(header.e_phentsize(endian)),
        });
    }

    let sections = header.section_headers(endian, cache).map_err(text)?;
    let table = name_table::<E, R>(header, endian, sections, cache)?;
    for section in sections {
        let kind = section.sh_type(endian);
        let size: u64 = section.sh_size(endian).into();
        if kind == SHT_NULL || kind == SHT_NOBITS || size == 0 {
            continue;
        }
        spans.push(Span {
            name: names.unique(&section_label(table, section.sh_name(endian))),
            offset: section.sh_offset(endian).into(),
            size,
        });
    }
    Ok(spans)
}

/// The bytes of the section name table; empty when there is none.
fn name_table<'a, E, R>(
    header: &E,
    endian: Endianness,
    sections: &[E::SectionHeader],
    cache: &'a ReadCache<R>,
) -> Result<&'a [u8], String>
where
    E: FileHeader<Endian = Endianness>,
    R: Read + Seek + 'a,
{
    // Without sections there are no names; SHN_UNDEF (0) says that the file keeps none.
    let Ok(index) = header.section_strings_index(endian, cache) else {
        return Ok(&[]);
    };
    let Some(section) = sections.get(index.0) else {
        return Err(format!("no section `{}` for the section names", index.0));
    };
    let size: u64 = section.sh_size(endian).into();
    if section.sh_type(endian) == SHT_NOBITS || size == 0 {
        return Ok(&[]);
    }
    if size > MAX_NAME_TABLE {
        return Err(format!("`{size}` bytes of section names"));
    }
    cache
        .read_bytes_at(section.sh_offset(endian).into(), size)
        .map_err(|()| "the section names lie outside the file".to_owned())
}

pub(super) fn section_label(table: &[u8], offset: u32) -> String {
    let bytes = usize::try_from(offset).ok().and_then(|start| table.get(start..)).unwrap_or_default();
    let bytes = &bytes[..bytes.len().min(MAX_NAME)];
    let name = bytes.split(|&b| b == 0).next().unwrap_or_default();
    if name.is_empty() { "(unnamed)".to_owned() } else { escape_bytes(name) }
}

/// The section a part shows, without the number of a duplicate: `.BTF` for `.BTF#2`.
pub(super) fn section_name(part: &str) -> &str {
    match part.rsplit_once('#') {
        Some((name, number)) if number.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => part,
    }
}

/// Whether a part says where things lie rather than what they are: headers and padding.
pub(super) fn is_layout(part: &str) -> bool {
    matches!(part, "ELF header" | "program headers" | "section headers") || is_gap(part)
}

/// Whether a part is padding between two others.
pub(super) fn is_gap(part: &str) -> bool {
    part.starts_with("gap before ")
}

/// The first section of this name in a file that is in memory, by its number; none without one.
///
/// Unlike `object`'s `section_by_name` it reads no more of a name than `wanted` has: names that lie may all be as long as the
/// table.
///
/// # Errors
/// Why the headers cannot be read.
pub(super) fn find(bytes: &[u8], wanted: &str) -> Result<Option<usize>, String> {
    match bytes.get(4) {
        Some(&class) if class == ELFCLASS32.0 => find_in::<FileHeader32<Endianness>>(bytes, wanted),
        _ => find_in::<FileHeader64<Endianness>>(bytes, wanted),
    }
}

fn find_in<E: FileHeader<Endian = Endianness>>(bytes: &[u8], wanted: &str) -> Result<Option<usize>, String> {
    let text = |e: object::Error| e.to_string();
    let header = E::parse(bytes).map_err(text)?;
    let endian = header.endian().map_err(text)?;
    let sections = header.section_headers(endian, bytes).map_err(text)?;
    let Ok(index) = header.section_strings_index(endian, bytes) else { return Ok(None) };
    let Some(names) = sections.get(index.0) else {
        return Err(format!("no section `{}` for the section names", index.0));
    };
    let names = names.data(endian, bytes).map_err(text)?;
    let is_wanted = |section: &E::SectionHeader| {
        let rest = names.get(section.sh_name(endian) as usize..).and_then(|rest| rest.strip_prefix(wanted.as_bytes()));
        rest.is_some_and(|rest| rest.first() == Some(&0))
    };
    Ok(sections.iter().position(is_wanted))
}

/// Gives every part a name of its own.
#[derive(Default)]
struct Names {
    /// How often a name was asked for, or was made.
    used: HashMap<String, u32>,
}

impl Names {
    fn reserve(&mut self, name: &str) -> String {
        self.used.insert(name.to_owned(), 1);
        name.to_owned()
    }

    fn unique(&mut self, name: &str) -> String {
        // A section may be called anything, but must not pass for one of the parts that are ours.
        let name = if is_layout(name) || matches!(name, "tail" | "module signature" | super::WHOLE) {
            format!("section `{name}`")
        } else {
            name.to_owned()
        };
        loop {
            let count = self.used.entry(name.clone()).or_insert(0);
            *count += 1;
            if *count == 1 {
                return name;
            }
            let numbered = format!("{name}#{count}");
            if !self.used.contains_key(&numbered) {
                self.used.insert(numbered.clone(), 1);
                return numbered;
            }
        }
    }
}

/// Puts the claims in order and fills the holes, or says why they cannot all be true.
fn cover<R: Read + Seek>(mut claims: Vec<Span>, size: u64, cache: &ReadCache<R>) -> Result<Vec<Span>, String> {
    claims.sort_by_key(|span| span.offset);
    let mut spans = Vec::with_capacity(claims.len() * 2);
    let mut end = 0;
    for span in claims {
        let Some(next) = span.offset.checked_add(span.size).filter(|&e| e <= size) else {
            return Err(format!("`{}` reaches beyond the file", span.name));
        };
        if span.offset < end {
            return Err(format!("`{}` overlaps what is before it", span.name));
        }
        if span.offset > end {
            spans.push(Span { name: format!("gap before {}", span.name), offset: end, size: span.offset - end });
        }
        spans.push(span);
        end = next;
    }
    if end < size {
        let rest = size - end;
        let signed = rest >= SIGNATURE_END.len() as u64
            && cache.read_bytes_at(size - SIGNATURE_END.len() as u64, SIGNATURE_END.len() as u64) == Ok(SIGNATURE_END);
        spans.push(Span { name: if signed { "module signature" } else { "tail" }.to_owned(), offset: end, size: rest });
    }
    Ok(spans)
}
