//! `.BTF.ext`: what a BPF object says of its instructions, in words of its `.BTF`: which function one belongs to, which line of
//! source it comes from, and what a loader has to relocate (CO-RE). No kernel or module has it; what is built beside them,
//! as tools/testing/selftests/bpf, does.
//!
//! Source: Documentation/bpf/btf.rst and include/uapi/linux/bpf.h (`bpf_func_info`, `bpf_line_info`, `bpf_core_relo`).

use object::{Object as _, ObjectSection as _};
use serde::Serialize;

use super::text::{entry, name_or_anon};
use super::{Btf, View};
use crate::artifact::walk::escape_bytes;

/// The section's name.
const SECTION: &str = ".BTF.ext";
/// Bytes of the header up to `core_relo_off`, which older ones do not have.
const HEADER: usize = 24;
/// `enum bpf_core_relo_kind`, from 0.
const RELOCATIONS: [&str; 13] = [
    "field_byte_offset",
    "field_byte_size",
    "field_exists",
    "field_signed",
    "field_lshift_u64",
    "field_rshift_u64",
    "type_id_local",
    "type_id_target",
    "type_exists",
    "type_size",
    "enumval_exists",
    "enumval_value",
    "type_matches",
];

/// What the records of a list say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExtKind {
    /// `func_info`
    Function,
    /// `line_info`
    Line,
    /// `core_relo`
    Relocation,
}

impl ExtKind {
    /// As the format calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Function => "func_info",
            Self::Line => "line_info",
            Self::Relocation => "core_relo",
        }
    }

    /// Bytes of a record; newer ones may be longer.
    fn size(self) -> usize {
        if self == Self::Function { 8 } else { 16 }
    }
}

/// Records about the instructions of one section.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ext {
    /// What they say.
    pub kind: ExtKind,
    /// The section with the instructions.
    pub section: String,
    /// In the order of the section.
    pub records: Vec<ExtRecord>,
}

/// What is said of an instruction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExtRecord {
    /// Where it is, in bytes from the beginning of its section.
    pub offset: u32,
    /// The function, the place in the source, or the relocation.
    pub says: String,
}

/// The `.BTF.ext` of an ELF file; nothing without the section.
///
/// # Errors
/// What is wrong with it and where, in a clause.
pub fn ext(elf: &[u8], btf: &Btf) -> Result<Vec<Ext>, String> {
    let file = object::File::parse(elf).map_err(|error| error.to_string())?;
    let Some(section) = file.section_by_name(SECTION) else { return Ok(Vec::new()) };
    let bytes = section.data().map_err(|error| error.to_string())?;
    Reading { bytes, view: btf.view(), big_endian: bytes.starts_with(&[0xeb, 0x9f]) }.all()
}

struct Reading<'a> {
    bytes: &'a [u8],
    view: View<'a>,
    big_endian: bool,
}

impl Reading<'_> {
    fn word(&self, at: usize) -> Result<u32, String> {
        let bytes = at.checked_add(4).and_then(|end| self.bytes.get(at..end)).and_then(|bytes| bytes.try_into().ok());
        let bytes = bytes.ok_or_else(|| format!("{SECTION} is cut off at {at:#x}"))?;
        Ok(if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    fn all(&self) -> Result<Vec<Ext>, String> {
        match self.bytes {
            [0x9f, 0xeb, 1, ..] | [0xeb, 0x9f, 1, ..] => {}
            [0x9f, 0xeb, version, ..] | [0xeb, 0x9f, version, ..] => {
                return Err(format!("{SECTION} has version {version}, which is not known"));
            }
            _ => return Err(format!("{SECTION} has not the magic of BTF")),
        }
        let header = self.word(4)? as usize;
        if header < HEADER || header > self.bytes.len() {
            return Err(format!("{SECTION} has a header of {header} bytes, which cannot be"));
        }
        let mut found = Vec::new();
        for (kind, at) in [(ExtKind::Function, 8), (ExtKind::Line, 16), (ExtKind::Relocation, 24)] {
            if at + 8 <= header {
                let (offset, size) = (self.word(at)? as usize, self.word(at + 4)? as usize);
                self.part(kind, header.saturating_add(offset), size, &mut found)?;
            }
        }
        Ok(found)
    }

    /// The lists of one kind: how long a record is, then a list for each section.
    fn part(&self, kind: ExtKind, start: usize, size: usize, found: &mut Vec<Ext>) -> Result<(), String> {
        if size == 0 {
            return Ok(());
        }
        let name = kind.name();
        let end = start.checked_add(size).filter(|end| *end <= self.bytes.len());
        let end =
            end.ok_or_else(|| format!("{name} of {SECTION} at {start:#x} with {size} bytes lies outside of it"))?;
        let length = self.word(start)? as usize;
        if length < kind.size() || !length.is_multiple_of(4) {
            return Err(format!("{name} of {SECTION} has records of {length} bytes at {start:#x}"));
        }
        let mut at = start + 4;
        while at < end {
            let (section, count) = (self.word(at)?, self.word(at + 4)? as usize);
            at += 8;
            let next = count.checked_mul(length).and_then(|size| at.checked_add(size)).filter(|next| *next <= end);
            let next =
                next.ok_or_else(|| format!("{name} of {SECTION} has {count} records at {at:#x}, more than fit"))?;
            let records: Result<Vec<ExtRecord>, String> = (at..next)
                .step_by(length)
                .map(|at| Ok(ExtRecord { offset: self.word(at)?, says: self.says(kind, at)? }))
                .collect();
            found.push(Ext { kind, section: name_or_anon(&self.view, section).into(), records: records? });
            at = next;
        }
        Ok(())
    }

    /// What a record says, but for its first word.
    fn says(&self, kind: ExtKind, at: usize) -> Result<String, String> {
        let word = |index: usize| self.word(at + 4 * index);
        let text = |offset: u32| self.view.name(offset).map_or_else(|| format!("#{offset}"), escape_bytes);
        let of_type = |id: u32| {
            let told = self.view.get(id).map(|record| entry(&self.view, &record));
            told.as_deref().and_then(|told| told.lines().next()).map_or_else(|| format!("#{id}"), str::to_owned)
        };
        Ok(match kind {
            ExtKind::Function => of_type(word(1)?),
            ExtKind::Line => {
                // The line in 22 bits, the column in 10.
                let place = word(3)?;
                let line = text(word(2)?);
                format!("{}:{}:{}  {}", text(word(1)?), place >> 10, place & 0x3ff, line.trim()).trim_end().to_owned()
            }
            ExtKind::Relocation => {
                let kind = word(3)?;
                let kind = RELOCATIONS.get(kind as usize).map_or_else(|| format!("kind {kind}"), ToString::to_string);
                format!("{kind} {} of {}", text(word(2)?), of_type(word(1)?))
            }
        })
    }
}

#[cfg(test)]
mod tests;
