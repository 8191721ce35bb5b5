//! What the `.BTF` section of a kernel or module says, as facts and as text.
//!
//! BTF of a module is *split*: its type ids go on after the last of its base, its string offsets after the
//! base's strings (`Documentation/bpf/btf.rst`). The base is the BTF of the vmlinux beside the module, or the
//! module's own `.BTF.base` section where there is one.

use std::io;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Digest;
use super::walk::escape_bytes;
use crate::runner::boot::NO_REASON;
use check::{check, check_parsed, check_read};
pub use diff::{BtfDiff, OtherOrder, Relation, TypeChange};
pub use ext::{Ext, ExtKind, ExtRecord, ext};
pub(super) use file::base_of;
pub use file::{BtfFile, BtfFileError};
pub use ids::{Id, IdKind, Ids, diff_ids, ids};
use text::Rendered;
use wire::{Kind, Type, Wire};

mod c;
mod check;
mod diff;
mod ext;
mod file;
mod ids;
mod text;
mod wire;

/// Names are kept for modules, and for other BTF no larger than this many functions: a vmlinux has 50,000.
const MAX_NAMES_WITHOUT_SPLIT: u32 = 1024;
/// The longest text that is made of one BTF, in bytes, be it to be shown, counted or compared; a distribution's vmlinux gives
/// 12 MB. Types may share what is said of them, so that BTF of a megabyte could have terabytes.
const MAX_TEXT: usize = 64 << 20;
/// How much of functions' names facts keep, in bytes.
const MAX_NAMES: usize = 8 << 20;

/// Why bytes are no BTF, or do not belong to the base they were read with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BtfError {
    /// Less than a header.
    #[error("`{have}` bytes are too few for a BTF header")]
    TooShort {
        /// Bytes there are.
        have: usize,
    },
    /// More than 4 GiB, which no field of BTF can address.
    #[error("BTF longer than 4 GiB")]
    TooLong,
    /// Neither byte order gives `0xeb9f`.
    #[error("`{0:#06x}` is not the magic of BTF")]
    Magic(u16),
    /// A version other than 1.
    #[error("BTF version `{0}` is not known")]
    Version(u8),
    /// A header shorter than the first version's, or longer than the section.
    #[error("header length `{0}` cannot be")]
    Header(u32),
    /// A part of the section that lies outside it.
    #[error("{what} at `{offset}` with length `{size}` lie outside the section")]
    Range {
        /// `types`, `strings` or `layout`.
        what: &'static str,
        /// Bytes after the header.
        offset: u32,
        /// Length in bytes.
        size: u32,
    },
    /// A string section whose last byte is not NUL.
    #[error("the last string does not end")]
    Strings,
    /// A string longer than any name.
    #[error("the string at `{offset}` has `{length}` bytes, more than the {} that are read", wire::MAX_STRING)]
    StringTooLong {
        /// Bytes after the beginning of the string section.
        offset: usize,
        /// Its length in bytes.
        length: usize,
    },
    /// A record that reaches beyond the type section.
    #[error("type `{id}` at offset `{offset}` is cut off")]
    Type {
        /// Its id within the section, counting from 1.
        id: usize,
        /// Bytes after the beginning of the type section.
        offset: usize,
    },
    /// Split BTF without its base.
    #[error("split BTF needs the BTF it was split from")]
    BaseNeeded,
    /// A base that is itself split.
    #[error("the base is split BTF itself")]
    BaseIsSplit,
    /// A name beyond the strings of base and section: what the kernel calls "Invalid name_offset".
    #[error("type `{id}` has its name at `{offset}`, beyond the strings")]
    NameOffset {
        /// The type's id.
        id: u32,
        /// Offset into the strings of base and section.
        offset: u32,
    },
    /// A reference to a type that neither base nor section has.
    #[error("type `{id}` refers to type `{to}`, which does not exist")]
    TypeId {
        /// The referring type's id.
        id: u32,
        /// The id it refers to.
        to: u32,
    },
    /// A name where none may be, or one that is no C identifier: the kernel's "Invalid name".
    #[error("type `{id}` cannot be named `{name}`")]
    Name {
        /// The type's id.
        id: u32,
        /// Its name, or that of a member.
        name: String,
    },
    /// A member whose name lies beyond the strings.
    #[error("type `{id}` has the name of a member at `{offset}`, beyond the strings")]
    MemberNameOffset {
        /// The type's id.
        id: u32,
        /// Offset into the strings of base and section.
        offset: u32,
    },
    /// A kind that is not known here, nor to any kernel that is.
    #[error("type `{id}` is of kind {kind}, which is not known")]
    Kind {
        /// The type's id.
        id: u32,
        /// Its kind.
        kind: u8,
    },
    /// Modifiers that follow each other for ever, or more than 32 of them.
    #[error("type `{id}` begins a chain of modifiers without end")]
    Chain {
        /// The type's id.
        id: u32,
    },
    /// A chain of modifiers that leads to a type that does not exist.
    #[error("type `{id}` begins a chain of modifiers that ends at type `{to}`, which does not exist")]
    ChainEnd {
        /// The type's id.
        id: u32,
        /// The id that leads nowhere.
        to: u32,
    },
    /// A header that the kernel refuses, or what it says of the section, in the kernel's words.
    #[error("its header: {0}")]
    Refused(&'static str),
    /// A record that the kernel refuses, whatever it is read with.
    #[error("type `{id}`: {what}")]
    Record {
        /// Its id.
        id: u32,
        /// What is wrong, in the kernel's words.
        what: &'static str,
    },
    /// A reference to a type of the wrong kind, such as a function whose type is a struct.
    #[error("type `{id}`, a `{kind}`, cannot refer to a `{to}`")]
    Target {
        /// The type's id.
        id: u32,
        /// Its kind.
        kind: String,
        /// The kind it refers to.
        to: String,
    },
    /// More text than is of use to anyone.
    #[error("its text would be longer than `{MAX_TEXT}` bytes")]
    TextTooLong,
}

impl BtfError {
    /// What the kernel finds wrong as it refuses the module (`btf_verifier_log` in kernel/bpf/btf.c), where it looks at that
    /// then: what types refer to it takes as it is.
    #[must_use]
    pub fn kernel(&self) -> Option<String> {
        Some(match self {
            Self::TooShort { .. } => "hdr_len not found".into(),
            Self::Magic(_) => "Invalid magic".into(),
            Self::Version(_) => "Unsupported version".into(),
            Self::Refused(what) => (*what).into(),
            Self::Type { .. } => "meta_left is less than meta_needed".into(),
            Self::Kind { kind, .. } => format!("Invalid kind:{kind}"),
            Self::Chain { .. } => "Max chain length or cycle detected".into(),
            Self::ChainEnd { .. } => NO_REASON.into(),
            Self::NameOffset { offset, .. } => format!("Invalid name_offset:{offset}"),
            Self::MemberNameOffset { offset, .. } => format!("Invalid member name_offset:{offset}"),
            Self::Name { .. } => "Invalid name".into(),
            Self::Record { what, .. } => (*what).into(),
            _ => return None,
        })
    }

    /// What the reader of the message can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::BaseNeeded | Self::BaseIsSplit => {
                Some("the base is the .BTF section of the vmlinux of the same build")
            }
            Self::NameOffset { .. }
            | Self::MemberNameOffset { .. }
            | Self::TypeId { .. }
            | Self::ChainEnd { .. }
            | Self::Name { .. }
            | Self::Target { .. } => Some("was the module built against another vmlinux?"),
            _ => None,
        }
    }
}

/// Stand-alone BTF that split BTF builds on; parse it once for all modules.
#[derive(Debug, Clone)]
pub struct Base(Wire<'static>);

impl Base {
    /// Takes the bytes of a vmlinux's `.BTF` section, or of a module's `.BTF.base`.
    ///
    /// # Errors
    /// [`BtfError`] when they are no BTF, or split themselves.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, BtfError> {
        let wire = Wire::parse(bytes)?;
        if is_split(&wire) {
            return Err(BtfError::BaseIsSplit);
        }
        Ok(Self(wire))
    }
}

/// BTF with the base that it is read with.
#[derive(Debug, Clone)]
pub struct Btf {
    wire: Wire<'static>,
    split: bool,
    base: Option<Arc<Base>>,
}

impl Btf {
    /// Takes the bytes of a `.BTF` section; the base is only used if they are split.
    ///
    /// # Errors
    /// [`BtfError`] when they are no BTF, or are split and there is no base.
    pub fn parse(bytes: Vec<u8>, base: Option<Arc<Base>>) -> Result<Self, BtfError> {
        let wire = Wire::parse(bytes)?;
        let split = is_split(&wire);
        if split && base.is_none() {
            return Err(BtfError::BaseNeeded);
        }
        Ok(Self { wire, split, base: base.filter(|_| split) })
    }

    /// Whether a kernel would take it.
    ///
    /// # Errors
    /// The first fault in the order of the section.
    pub fn check(&self) -> Result<(), BtfError> {
        check_parsed(&self.view())
    }

    /// As [`full_text`], in pieces that follow each other.
    ///
    /// # Errors
    /// As [`full_text`].
    pub fn text(&self) -> Result<Vec<String>, BtfError> {
        self.view().full_text()
    }

    /// As [`summary_text`].
    ///
    /// # Errors
    /// As [`summary_text`].
    pub fn summary(&self) -> Result<String, BtfError> {
        self.view().summary_text()
    }

    /// Writes its types as declarations in C, with those of the base that they need.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn write_c(&self, out: &mut dyn io::Write) -> io::Result<()> {
        c::write(&self.view(), out)
    }

    /// Every type of the section, with what is said of it: of BTF that has more to say than is of use, of the last ones little.
    #[must_use]
    pub fn entries(&self) -> Vec<TypeEntry> {
        let view = self.view();
        let mut entries = text::Entries::new(&view, MAX_TEXT);
        let of = |(index, record): (u32, Type<'_>)| {
            let entry = entries.next(&record);
            let mut lines = entry.lines().map(|line| line.trim_start().to_owned());
            TypeEntry {
                id: view.id_of(index),
                kind: record.kind.label().into(),
                name: entries.name(&record),
                says: lines.next().unwrap_or_default(),
                elements: lines.collect(),
            }
        };
        (0..).zip(self.wire.iter()).map(of).collect()
    }

    fn view(&self) -> View<'_> {
        View::new(&self.wire, self.split, self.base.as_deref().map(|base| &base.0))
    }

    /// Whether both are read with the same base, or with none.
    fn same_base(&self, other: &Self) -> bool {
        match (&self.base, &other.base) {
            (None, None) => true,
            (Some(a), Some(b)) => Arc::ptr_eq(a, b) || a.0.bytes() == b.0.bytes(),
            _ => false,
        }
    }
}

/// A type for programs: as the text has it, with its id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TypeEntry {
    /// Its id; those of split BTF go on after the base's.
    pub id: u32,
    /// The kind, as bpftool calls it.
    pub kind: String,
    /// Its name, empty if it has none.
    pub name: String,
    /// What the text says of it.
    pub says: String,
    /// A line for each member, enumerator or variable.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub elements: Vec<String>,
}

/// What a run record keeps of a file's `.BTF`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BtfFacts {
    /// How many `.BTF` sections the file has; the rest is about the first.
    pub sections: u32,
    /// Number of types in the section itself, without `void` and without the base's.
    pub types: u32,
    /// How many of them are functions.
    pub functions: u32,
    /// The functions' names, sorted, a name as often as it occurs; empty for BTF the size of a vmlinux's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub function_names: Vec<String>,
    /// Functions that are not in `function_names` because their name lies in the strings of an unknown base.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unnamed: u32,
    /// Bytes of the type section behind the first record of a kind that is not known; nothing of them is in
    /// the counts above.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unread: u32,
    /// Whether it is split BTF, which is of no use without its base.
    pub base: bool,
    /// SHA-256 of the section.
    pub sha256: Digest,
    /// Why nothing could be read, or the first name or reference the kernel would refuse; the latter is only
    /// looked for in stand-alone BTF and where the base is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// What a kernel says of the problem as it loads the module, if it looks at that then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
    /// The problem is with what the base has at a place that the section refers to.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub misfit: bool,
    /// SHA-256 of what split BTF says over its base: of the digests of its types' texts, in order. None without a base, or with a problem.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meaning: Option<Digest>,
}

fn is_zero(n: &u32) -> bool {
    *n == 0
}

impl BtfFacts {
    /// Reads the bytes of one section of a file that has `sections` of them. Never fails: what is no BTF has
    /// no types and a `problem`.
    pub fn of(bytes: &[u8], sections: u32, base: Option<&Base>) -> Self {
        let facts = Self { sections, sha256: Digest::of(bytes), ..Self::default() };
        let wire = match Wire::parse(bytes) {
            Ok(wire) => wire,
            Err(e) => {
                let refusal = check(bytes, base.map(|base| &base.0)).err().and_then(|error| error.kernel());
                return Self { problem: Some(e.to_string()), refusal, ..facts };
            }
        };
        let split = is_split(&wire);
        let view = View::new(&wire, split, base.map(|base| &base.0));
        let functions = wire.iter().filter(|t| t.kind == Kind::Func).count() as u32;
        let mut function_names = Vec::new();
        if split || functions <= MAX_NAMES_WITHOUT_SPLIT {
            let named = wire.iter().filter(|t| t.kind == Kind::Func);
            let mut left = MAX_NAMES;
            let fits = |name: &&[u8]| {
                left = left.saturating_sub(name.len());
                left > 0
            };
            function_names.extend(named.filter_map(|t| view.name(t.name)).take_while(fits).map(escape_bytes));
            function_names.sort_unstable();
        }
        let unnamed = if split { functions - function_names.len() as u32 } else { 0 };
        let checkable = !split || base.is_some();
        let error = checkable.then(|| check_parsed(&view).err()).flatten();
        // A kernel may know kinds that are not known here.
        let error = error.filter(|error| !matches!(error, BtfError::Kind { kind: 1.., .. }));
        let says = || Rendered::new(&view, false).map(|rendered| rendered.order);
        Self {
            types: wire.len(),
            functions,
            unnamed,
            function_names,
            // A part of a section, whose length is a u32.
            unread: wire.unread().len() as u32,
            base: split,
            meaning: if split && base.is_some() && error.is_none() { says() } else { None },
            misfit: split && error.as_ref().is_some_and(|error| view.lies_in_base(error)),
            refusal: error.as_ref().and_then(BtfError::kernel),
            problem: error.map(|error| error.to_string()),
            ..facts
        }
    }

    /// For a section too large to be BTF: only its digest is known.
    pub(super) fn unread(sections: u32, sha256: Digest) -> Self {
        Self { sections, sha256, problem: Some("larger than any BTF, not read".to_owned()), ..Self::default() }
    }
}

/// Canonical text of BTF, for snapshots: a header, then every type in the order of the section.
///
/// Types are called by their C names, never by id, so the text does not change when only the ids of the base
/// do. The order of types is part of the text, because it is part of what a build must reproduce; the `content`
/// digest in the header is the same for any order. `base` is ignored for stand-alone BTF.
///
/// # Errors
/// [`BtfError`], in particular [`BtfError::NameOffset`], [`BtfError::TypeId`], [`BtfError::Name`] and
/// [`BtfError::Target`] when `base` is not the one the bytes were made for.
pub fn full_text(btf: &[u8], base: Option<&[u8]>) -> Result<String, BtfError> {
    let wire = Wire::parse(btf)?;
    if !is_split(&wire) {
        return full_text_with(btf, None);
    }
    let base = base.ok_or(BtfError::BaseNeeded)?;
    full_text_with(btf, Some(&Base::parse(base.to_vec())?))
}

/// As [`full_text`], with a base parsed before.
///
/// # Errors
/// As [`full_text`].
pub fn full_text_with(btf: &[u8], base: Option<&Base>) -> Result<String, BtfError> {
    let wire = Wire::parse(btf)?;
    let split = is_split(&wire);
    if split && base.is_none() {
        return Err(BtfError::BaseNeeded);
    }
    View::new(&wire, split, base.map(|base| &base.0)).full_text().map(|pieces| pieces.concat())
}

/// A short text for BTF the size of a vmlinux's: counts by kind, digests, and the functions that are tagged
/// (kfuncs). References that lead nowhere are named as such, not refused.
///
/// # Errors
/// [`BtfError`] when the bytes are no BTF.
pub fn summary_text(btf: &[u8]) -> Result<String, BtfError> {
    let wire = Wire::parse(btf)?;
    View::new(&wire, is_split(&wire), None).summary_text()
}

/// Whether BTF cannot stand alone. libbpf begins the strings of stand-alone BTF with the empty string, as the
/// kernel demands, and those of split BTF without; and split BTF refers to what it does not have.
fn is_split(wire: &Wire<'_>) -> bool {
    if wire.strings().first() != Some(&0) {
        return true;
    }
    let (strings, types) = (wire.strings().len() as u64, wire.len());
    let mut beyond = false;
    for record in wire.iter() {
        record.names(|offset| beyond |= u64::from(offset) >= strings);
        // After an unknown kind, ids that lead nowhere may be those that could not be counted.
        record.references(|id| beyond |= id > types && wire.unread().is_empty());
    }
    beyond
}

/// BTF together with its base: resolves names and ids.
struct View<'a> {
    own: &'a Wire<'a>,
    base: Option<&'a Wire<'a>>,
    split: bool,
    /// Id of the section's first type; `None` for split BTF without its base.
    first_id: Option<u32>,
    /// Offset of the section's first string; `None` where it cannot be known.
    first_string: Option<u32>,
}

impl<'a> View<'a> {
    fn new(own: &'a Wire<'a>, split: bool, base: Option<&'a Wire<'a>>) -> Self {
        let base = base.filter(|_| split);
        let (first_id, first_string) = match base {
            None if split => (None, guess_first_string(own)),
            None => (Some(1), Some(0)),
            // Both come from sections shorter than 4 GiB.
            Some(base) => (Some(base.len() + 1), Some(base.strings().len() as u32)),
        };
        Self { own, base, split, first_id, first_string }
    }

    /// As [`full_text`].
    fn full_text(&self) -> Result<Vec<String>, BtfError> {
        check_read(self)?;
        let rendered = Rendered::new(self, true).ok_or(BtfError::TextTooLong)?;
        Ok(text::full(self, rendered))
    }

    /// As [`summary_text`].
    fn summary_text(&self) -> Result<String, BtfError> {
        let rendered = Rendered::new(self, false).ok_or(BtfError::TextTooLong)?;
        Ok(text::summary(self, &rendered))
    }

    /// Whether an error is about what the base has at a place that the section refers to, so that another base may not have it.
    fn lies_in_base(&self, error: &BtfError) -> bool {
        let (first_id, first_string) = (self.first_id.unwrap_or(0), self.first_string.unwrap_or(0));
        let record = |id: u32| self.own.get(id.checked_sub(first_id)?);
        match error {
            BtfError::NameOffset { .. }
            | BtfError::MemberNameOffset { .. }
            | BtfError::TypeId { .. }
            | BtfError::ChainEnd { .. } => true,
            BtfError::Name { id, name } => record(*id).is_some_and(|record| {
                let mut found = false;
                let is_it = |at| self.name(at).is_some_and(|other| escape_bytes(other).starts_with(name.as_str()));
                record.names(|at| found |= at < first_string && is_it(at));
                found
            }),
            BtfError::Target { id, .. } => record(*id).is_some_and(|record| {
                let mut found = false;
                record.references(|to| found |= to < first_id);
                found
            }),
            _ => false,
        }
    }

    /// The name at `offset` of base and section taken as one.
    fn name(&self, offset: u32) -> Option<&'a [u8]> {
        if offset == 0 {
            return Some(b"");
        }
        let own = self.first_string.and_then(|first| offset.checked_sub(first));
        match own {
            Some(offset) => self.own.string(offset),
            None => self.base?.string(offset),
        }
    }

    /// The type with `id`; `None` for `void` and for what does not exist.
    fn get(&self, id: u32) -> Option<Type<'a>> {
        let own = self.first_id.and_then(|first| id.checked_sub(first));
        match own {
            Some(index) => self.own.get(index),
            None => self.base?.get(id.checked_sub(1)?),
        }
    }

    /// The id of the section's type at `index`, counting from 0; for split BTF without base as if it had none.
    fn id_of(&self, index: u32) -> u32 {
        self.first_id.unwrap_or(1).saturating_add(index)
    }
}

/// Where the strings of split BTF begin, from the section alone.
///
/// libbpf keeps exactly the strings that are used, so the greatest offset in use is that of the last string.
/// Believed only when then every string is used, and every offset in this range is the beginning of one.
fn guess_first_string(wire: &Wire<'_>) -> Option<u32> {
    let mut used = Vec::new();
    wire.iter().for_each(|t| t.names(|offset| used.push(offset)));
    used.sort_unstable();
    used.dedup();
    let mut starts = Vec::new();
    let mut start = 0;
    for string in wire.strings().split_inclusive(|&b| b == 0) {
        starts.push(start);
        start += string.len() as u32;
    }
    let first = used.last()?.checked_sub(*starts.last()?)?;
    let own = &used[used.partition_point(|&offset| offset < first)..];
    (first > 0 && own.iter().map(|offset| offset - first).eq(starts)).then_some(first)
}

#[cfg(test)]
pub(super) mod tests;
