//! What differs inside two files, in the words of whoever made them: keys of `.modinfo`, symbols, relocations,
//! functions, who signed.
//!
//! ```text
//! two files, PartDiff --details--> Inside      a few lines a part, semantics before bytes
//! ```
//!
//! [`diff_parts`](super::diff_parts) has found which parts differ; each is handed to the decoder of its kind, which is a
//! function of bytes. Only sections that differ are read, and those that name what is in them, and of a file no
//! more than a gibibyte. What cannot be decoded says where and why, and is still a difference.

use std::io::{self, Read, Seek};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::diff::PartDiff;
use super::elf::{is_gap, is_layout, section_name};
use super::{Artifact, Base, WHOLE};
use headers::{Section, Side};

mod btf;
mod code;
mod der;
mod headers;
mod module;
mod notes;
mod relocs;
mod sections;
mod signature;
mod strings;
mod symbols;
#[cfg(test)]
pub(super) mod tests;
mod units;

/// How many parts of a file are decoded: a file with a section for each function may have 100,000 that differ.
const DECODED: usize = 200;
/// Sections of which each entry takes memory of its own are decoded up to this many bytes; a module's have a few thousand.
const SMALL: usize = 4 << 20;
/// How many of a kind are named before the rest is only counted: symbols, strings, relocations.
const SHOWN: usize = 8;

/// What is said of one part of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detail {
    /// The part, as [`Part`](super::Part) names it.
    pub part: String,
    /// One or a few lines for people.
    pub lines: Vec<String>,
}

/// What was found inside two files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inside {
    /// What matters most first.
    pub details: Vec<Detail>,
    /// Headers and padding that are other only because something between them has another length: they say
    /// nothing of their own.
    pub follow: Vec<String>,
    /// Both files are text, and no ELF files: what differs is lines.
    pub text: bool,
}

/// Where the BTF of the vmlinux comes from that a module was built for; asked only for modules that need it.
pub trait Bases: Sync {
    /// That of A's tree.
    fn of_a(&self) -> Option<&Arc<Base>>;
    /// That of B's tree.
    fn of_b(&self) -> Option<&Arc<Base>>;
}

/// No vmlinux is known.
pub struct NoBases;

impl Bases for NoBases {
    fn of_a(&self) -> Option<&Arc<Base>> {
        None
    }
    fn of_b(&self) -> Option<&Arc<Base>> {
        None
    }
}

pub(super) use code::first_difference;
pub(super) use signature::signer;

/// What the parts of a file are for, by the order in which they are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    ThisModule,
    ModInfo,
    Versions,
    Symbols,
    Btf,
    Code,
    Relocations,
    Note,
    Strings,
    Debug,
    Sections,
    Header,
    Bytes,
    Text,
    Signature,
}

/// Looks into two files whose parts were compared. Parts that are not ELF sections are compared as text or bytes.
///
/// # Errors
/// What the readers say. Contents that are malformed are no error: a detail says so.
pub fn details<R: Read + Seek>(
    (a, file_a): (&Artifact, &mut R),
    (b, file_b): (&Artifact, &mut R),
    diff: &PartDiff,
    bases: &dyn Bases,
) -> io::Result<Inside> {
    let (mut a, mut b) = (Side::open(a, file_a)?, Side::open(b, file_b)?);
    let mut inside = Inside::default();
    let mut told: Vec<(Kind, Detail)> = Vec::new();
    let renumbered = diff.changed.iter().any(|part| kind(&part.name, &a, &b) == Kind::Symbols);
    let others = diff.added.iter().chain(&diff.removed).any(|name| !is_layout(name));
    let mut parts: Vec<(Kind, &String)> =
        diff.changed.iter().map(|part| (kind(&part.name, &a, &b), &part.name)).collect();
    // these are told once each, below
    parts.retain(|(kind, _)| !matches!(kind, Kind::Btf | Kind::Sections | Kind::Header));
    parts.sort_by_key(|(kind, _)| *kind);
    let more = parts.len().saturating_sub(DECODED);
    for (kind, name) in parts.into_iter().take(DECODED) {
        let kind = if name == WHOLE && is_text_file(&mut a)? && is_text_file(&mut b)? { Kind::Text } else { kind };
        let lines = decode(kind, name, &mut a, &mut b)?;
        let lines = lines.unwrap_or_else(|why| vec![format!("differs; not decoded: {why}")]);
        // Names of sections come and go with them.
        if name == ".shstrtab" && others {
            inside.follow.push(name.clone());
            continue;
        }
        // A relocation names its symbol by number, and a symbol's name is in the string table: where the symbol table is
        // another, these say nothing more.
        if renumbered && (lines == [relocs::RENUMBERED] || name == ".strtab") {
            inside.follow.push(name.clone());
            continue;
        }
        inside.text |= kind == Kind::Text;
        told.push((kind, Detail { part: name.clone(), lines }));
    }
    if more > 0 {
        let lines = vec![format!("{} differ that are not looked into", count(more, "part"))];
        told.push((Kind::Bytes, Detail { part: "others".to_owned(), lines }));
    }
    let btf = |name: &str| section_name(name).starts_with(".BTF");
    if diff.changed.iter().any(|part| btf(&part.name)) || diff.added.iter().chain(&diff.removed).any(|name| btf(name)) {
        told.push((Kind::Btf, Detail { part: ".BTF".to_owned(), lines: btf::lines(&mut a, &mut b, bases)? }));
    }
    for (names, side, only) in [(&diff.removed, &mut a, "only in A"), (&diff.added, &mut b, "only in B")] {
        for name in names.iter().filter(|name| !is_layout(name) && !btf(name)) {
            let signed = name == "module signature";
            let size = side.size(name);
            let mut lines = vec![format!("{only}, {}", bytes(size))];
            if signed {
                lines.extend(signature::of(&side.part(name)?.unwrap_or_default()).map_or_else(|why| why, |s| s.told()));
            }
            told.push((if signed { Kind::Signature } else { Kind::Sections }, Detail { part: name.clone(), lines }));
        }
    }
    headers_and_padding(&mut a, &mut b, diff, &mut told, &mut inside.follow)?;
    told.retain(|(_, detail)| !detail.lines.is_empty());
    told.sort_by_key(|(kind, _)| *kind);
    inside.details = told.into_iter().map(|(_, detail)| detail).collect();
    Ok(inside)
}

/// What a part of both files is.
fn kind<R: Read + Seek>(name: &str, a: &Side<'_, R>, b: &Side<'_, R>) -> Kind {
    let (Some(in_a), Some(in_b)) = (a.section(name), b.section(name)) else {
        return match name {
            "module signature" => Kind::Signature,
            "section headers" => Kind::Sections,
            "ELF header" | "program headers" => Kind::Header,
            _ if is_gap(name) => Kind::Sections,
            _ => Kind::Bytes,
        };
    };
    if in_a.kind != in_b.kind {
        return Kind::Bytes;
    }
    match section_name(name) {
        ".gnu.linkonce.this_module" => return Kind::ThisModule,
        ".modinfo" => return Kind::ModInfo,
        "__versions" => return Kind::Versions,
        name if name.starts_with(".BTF") => return Kind::Btf,
        _ => {}
    }
    match in_a.kind {
        headers::SHT_SYMTAB | headers::SHT_DYNSYM => Kind::Symbols,
        headers::SHT_REL | headers::SHT_RELA if is_unwinding(name) => Kind::Debug,
        headers::SHT_REL | headers::SHT_RELA => Kind::Relocations,
        headers::SHT_NOTE => Kind::Note,
        headers::SHT_STRTAB => Kind::Strings,
        // names of debug information come and go with it
        _ if is_text(in_a) && !is_unwinding(name) => Kind::Strings,
        _ if section_name(name).starts_with(".debug_") => Kind::Debug,
        _ if is_unwinding(name) => Kind::Bytes,
        _ if in_a.is_alloc() => Kind::Code,
        _ => Kind::Bytes,
    }
}

fn is_text_file<R: Read + Seek>(side: &mut Side<'_, R>) -> io::Result<bool> {
    Ok(side.part(WHOLE)?.is_some_and(|bytes| strings::is_text(&bytes)))
}

/// Whether a section, or what a relocation section is for, is of use to debuggers and unwinders alone.
fn is_unwinding(name: &str) -> bool {
    let name = name.strip_prefix(".rela").or_else(|| name.strip_prefix(".rel")).unwrap_or(name);
    [".debug_", ".eh_frame", ".orc_"].iter().any(|prefix| name.starts_with(prefix))
}

/// Whether a section is strings one after the other, by its flags or by what modpost puts there.
fn is_text(section: &Section) -> bool {
    section.flags & headers::SHF_STRINGS != 0 && section.entsize == 1
        || matches!(section_name(&section.label), "__ksymtab_strings" | ".debug_str" | ".debug_line_str" | ".comment")
}

/// Lines on a part that both files have; the inner error is why it could not be decoded.
fn decode<R: Read + Seek>(
    kind: Kind,
    name: &str,
    a: &mut Side<'_, R>,
    b: &mut Side<'_, R>,
) -> io::Result<Result<Vec<String>, String>> {
    let (Some(in_a), Some(in_b)) = (a.part(name)?, b.part(name)?) else {
        return Ok(Err("it is too large to be read".to_owned()));
    };
    let order = a.order;
    let is_small = in_a.len().max(in_b.len()) <= SMALL;
    Ok(match kind {
        Kind::ModInfo | Kind::Versions | Kind::Note if !is_small => Ok(vec![code::first_difference(&in_a, &in_b)]),
        Kind::ThisModule => Ok(module::this_module(&in_a, &in_b, order)),
        Kind::ModInfo => Ok(module::modinfo(&in_a, &in_b)),
        Kind::Versions => Ok(module::versions(&in_a, &in_b, order)),
        Kind::Symbols => symbols::lines(a, b, name)?,
        Kind::Relocations => relocs::lines(a, b, name, &in_a, &in_b)?,
        Kind::Note => notes::lines(&in_a, &in_b, order, a.section(name).map_or(4, |section| section.align)),
        // of what the symbol table tells by name, the names alone say nothing more
        Kind::Strings if section_name(name) == ".strtab" => Ok(strings::counts(&in_a, &in_b)),
        Kind::Strings => Ok(strings::lines(&in_a, &in_b, 0)),
        Kind::Debug if a.section(name).is_some_and(|s| matches!(s.kind, headers::SHT_REL | headers::SHT_RELA)) => {
            relocs::lines(a, b, name, &in_a, &in_b)?.map(|mut lines| {
                // which string or address is meant says the section itself
                lines.truncate(1);
                lines
            })
        }
        Kind::Debug => units::lines(a, b, name, &in_a, &in_b)?,
        Kind::Code => code::lines(a, b, name, &in_a, &in_b)?,
        Kind::Signature => Ok(signature::lines(&in_a, &in_b)),
        Kind::Text => Ok(strings::lines(&in_a, &in_b, b'\n')),
        Kind::Bytes | Kind::Btf | Kind::Sections | Kind::Header => Ok(vec![code::first_difference(&in_a, &in_b)]),
    })
}

/// What headers and padding say beyond where things lie.
fn headers_and_padding<R: Read + Seek>(
    a: &mut Side<'_, R>,
    b: &mut Side<'_, R>,
    diff: &PartDiff,
    told: &mut Vec<(Kind, Detail)>,
    follow: &mut Vec<String>,
) -> io::Result<()> {
    // Where no section has another length or is missing, nothing has to lie elsewhere.
    let shifts = !diff.moved.is_empty()
        || diff.changed.iter().any(|part| part.size_a != part.size_b && !is_layout(&part.name))
        || diff.added.iter().chain(&diff.removed).any(|name| !is_layout(name));
    for part in diff.changed.iter().filter(|part| is_layout(&part.name)) {
        let (kind, lines) = match part.name.as_str() {
            "section headers" => (Kind::Sections, sections::lines(a, b)),
            "ELF header" => (Kind::Header, sections::header(a, b)),
            "program headers" => match (a.part(&part.name)?, b.part(&part.name)?) {
                (Some(in_a), Some(in_b)) => (Kind::Header, sections::segments(&in_a, &in_b, a.order)),
                _ => (Kind::Header, vec!["differ; too long to be read".to_owned()]),
            },
            name if part.size_a == part.size_b => match (a.part(name)?, b.part(name)?) {
                (Some(in_a), Some(in_b)) => (Kind::Sections, vec![code::first_difference(&in_a, &in_b)]),
                _ => (Kind::Sections, vec!["padding differs".to_owned()]),
            },
            _ => (Kind::Sections, Vec::new()),
        };
        if lines.is_empty() && shifts {
            follow.push(part.name.clone());
        }
        told.push((kind, Detail { part: part.name.clone(), lines }));
    }
    if shifts {
        follow.extend(diff.added.iter().chain(&diff.removed).filter(|name| is_layout(name)).cloned());
    }
    Ok(())
}

/// A number with commas between thousands.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A length in bytes.
pub fn bytes(number: u64) -> String {
    format!("{} byte{}", thousands(number), if number == 1 { "" } else { "s" })
}

/// The first of some names, and how many more there are.
fn named(names: &[String]) -> String {
    let mut text = names[..names.len().min(SHOWN)].join(", ");
    if names.len() > SHOWN {
        text.push_str(&format!(" and {} more", thousands((names.len() - SHOWN) as u64)));
    }
    text
}

/// `1 symbol`, `2 symbols`.
pub(super) fn count(number: usize, what: &str) -> String {
    format!("{} {what}{}", thousands(number as u64), if number == 1 { "" } else { "s" })
}

/// Before and after, where they differ.
fn change<T: PartialEq + std::fmt::Display>(what: &str, before: &T, after: &T) -> Option<String> {
    (before != after).then(|| format!("{what} {before} → {after}"))
}
