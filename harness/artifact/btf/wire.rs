//! The wire format of BTF: header, type records, strings. Bounded, and total over arbitrary bytes.
//!
//! Source: `include/uapi/linux/btf.h` and `Documentation/bpf/btf.rst`; the newer header with a *layout* section
//! (sizes of kinds the reader need not know) and the wider `vlen` and `kind` fields are read as well.
//!
//! Why not the `btf-rs` crate, which the tests use as a second opinion: it gives up on the first kind it does
//! not know and on names that are not UTF-8; finds only strings that begin at an entry of the string section,
//! while the linker-like suffix sharing that libbpf is free to do points into the middle; masks `kind` to 5 and
//! `vlen` to 16 bits; has no raw ids, index type of arrays, bit offset of ints, component of declaration tags
//! or unused bits in its interface; and needs the base even to count the types of split BTF.

use std::borrow::Cow;
use std::ops::Range;

use super::BtfError;

/// `BTF_MAGIC`; in the byte order of the target.
const MAGIC: u16 = 0xeb9f;
/// Length in bytes of the header up to `str_len`; later headers are longer (`hdr_len`).
const HEADER: usize = 24;
/// Longer strings are refused: any number of types may have one name. The kernel's names have at most 512 bytes.
pub(super) const MAX_STRING: usize = 4096;
/// Length in bytes of `struct btf_type`.
const TYPE: usize = 12;

/// `BTF_KIND_*`, as far as they are released; others stay numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    Int,
    Ptr,
    Array,
    Struct,
    Union,
    Enum,
    Fwd,
    Typedef,
    Volatile,
    Const,
    Restrict,
    Func,
    FuncProto,
    Var,
    Datasec,
    Float,
    DeclTag,
    TypeTag,
    Enum64,
    Unknown(u8),
}

impl Kind {
    fn from_number(number: u8) -> Self {
        use Kind::*;
        const KNOWN: [Kind; 19] = [
            Int, Ptr, Array, Struct, Union, Enum, Fwd, Typedef, Volatile, Const, Restrict, Func, FuncProto, Var,
            Datasec, Float, DeclTag, TypeTag, Enum64,
        ];
        match usize::from(number).checked_sub(1) {
            Some(index) if index < KNOWN.len() => KNOWN[index],
            _ => Unknown(number),
        }
    }

    /// Bytes after `struct btf_type`: a fixed number, and one per element.
    fn tail(self) -> Option<(usize, usize)> {
        use Kind::*;
        Some(match self {
            Ptr | Fwd | Typedef | Volatile | Const | Restrict | Func | Float | TypeTag => (0, 0),
            Int | Var | DeclTag => (4, 0),
            Array => (12, 0),
            Struct | Union | Datasec | Enum64 => (0, 12),
            Enum | FuncProto => (0, 8),
            Unknown(_) => return None,
        })
    }

    /// The name in a listing: that of the C enumerator in lower case, as bpftool prints it.
    pub(super) fn label(self) -> Cow<'static, str> {
        use Kind::*;
        Cow::Borrowed(match self {
            Int => "int",
            Ptr => "ptr",
            Array => "array",
            Struct => "struct",
            Union => "union",
            Enum => "enum",
            Fwd => "fwd",
            Typedef => "typedef",
            Volatile => "volatile",
            Const => "const",
            Restrict => "restrict",
            Func => "func",
            FuncProto => "func_proto",
            Var => "var",
            Datasec => "datasec",
            Float => "float",
            DeclTag => "decl_tag",
            TypeTag => "type_tag",
            Enum64 => "enum64",
            Unknown(number) => return format!("kind_{number}").into(),
        })
    }
}

/// One type record.
#[derive(Debug, Clone, Copy)]
pub(super) struct Type<'a> {
    pub(super) kind: Kind,
    pub(super) name: u32,
    pub(super) vlen: u32,
    pub(super) flag: bool,
    /// `size` or `type`, by kind.
    pub(super) word: u32,
    tail: &'a [u8],
    big_endian: bool,
}

impl<'a> Type<'a> {
    /// The `index`th 32-bit word after `struct btf_type`; 0 beyond the record.
    pub(super) fn tail_word(&self, index: usize) -> u32 {
        word(self.tail, index * 4, self.big_endian).unwrap_or(0)
    }

    /// The bytes after `struct btf_type`.
    pub(super) fn tail(&self) -> &'a [u8] {
        self.tail
    }

    /// The elements, `N` words each.
    pub(super) fn elements<const N: usize>(&self) -> impl Iterator<Item = [u32; N]> + use<'a, N> {
        let big_endian = self.big_endian;
        self.tail
            .chunks_exact(N * 4)
            .map(move |bytes| std::array::from_fn(|i| word(bytes, i * 4, big_endian).unwrap_or(0)))
    }

    /// The ids of the types this one refers to.
    pub(super) fn references(&self, mut visit: impl FnMut(u32)) {
        use Kind::*;
        match self.kind {
            Ptr | Typedef | Volatile | Const | Restrict | Func | Var | DeclTag | TypeTag => {
                visit(self.word);
            }
            Array => {
                visit(self.tail_word(0));
                visit(self.tail_word(1));
            }
            Struct | Union => self.elements::<3>().for_each(|[_, id, _]| visit(id)),
            FuncProto => {
                visit(self.word);
                self.elements::<2>().for_each(|[_, id]| visit(id));
            }
            Datasec => self.elements::<3>().for_each(|[id, _, _]| visit(id)),
            Int | Enum | Fwd | Float | Enum64 | Unknown(_) => {}
        }
    }

    /// The offsets of the names in this record, its own first.
    pub(super) fn names(&self, mut visit: impl FnMut(u32)) {
        use Kind::*;
        visit(self.name);
        match self.kind {
            Struct | Union | Enum64 => self.elements::<3>().for_each(|[name, ..]| visit(name)),
            Enum | FuncProto => self.elements::<2>().for_each(|[name, _]| visit(name)),
            _ => {}
        }
    }
}

/// A parsed BTF section; records are decoded when asked for.
#[derive(Debug, Clone)]
pub(super) struct Wire<'a> {
    bytes: Cow<'a, [u8]>,
    pub(super) big_endian: bool,
    pub(super) flags: u8,
    strings: Range<usize>,
    types: Range<usize>,
    layout: Range<usize>,
    /// Where each record begins, from the start of the section.
    starts: Vec<u32>,
    /// Where the records end that could be told apart; short of `types.end` after an unknown kind.
    end: usize,
}

impl<'a> Wire<'a> {
    pub(super) fn parse(bytes: impl Into<Cow<'a, [u8]>>) -> Result<Self, BtfError> {
        match Self::scan(bytes)? {
            (wire, None) => Ok(wire),
            (_, Some(cut)) => Err(cut),
        }
    }

    /// As [`parse`](Self::parse), with the records before the first that is cut off.
    pub(super) fn scan(bytes: impl Into<Cow<'a, [u8]>>) -> Result<(Self, Option<BtfError>), BtfError> {
        let bytes = bytes.into();
        if bytes.len() < HEADER {
            return Err(BtfError::TooShort { have: bytes.len() });
        }
        let big_endian = match [bytes[0], bytes[1]] {
            magic if u16::from_le_bytes(magic) == MAGIC => false,
            magic if u16::from_be_bytes(magic) == MAGIC => true,
            magic => return Err(BtfError::Magic(u16::from_le_bytes(magic))),
        };
        let (version, flags) = (bytes[2], bytes[3]);
        if version != 1 {
            return Err(BtfError::Version(version));
        }
        // Record offsets are kept as u32; the lengths in the header are no wider.
        if u32::try_from(bytes.len()).is_err() {
            return Err(BtfError::TooLong);
        }
        let field = |at| word(&bytes, at, big_endian).unwrap_or(0);
        let header_len = field(4) as usize;
        if header_len < HEADER || header_len > bytes.len() {
            return Err(BtfError::Header(field(4)));
        }
        let range = |what, offset: u32, size: u32| {
            let start = header_len.checked_add(offset as usize);
            let end = start.and_then(|start| start.checked_add(size as usize));
            match (start, end) {
                (Some(start), Some(end)) if end <= bytes.len() => Ok(start..end),
                _ => Err(BtfError::Range { what, offset, size }),
            }
        };
        let types = range("types", field(8), field(12))?;
        let strings = range("strings", field(16), field(20))?;
        let layout = if header_len >= HEADER + 8 { range("layout", field(24), field(28))? } else { 0..0 };
        if bytes[strings.clone()].last().is_some_and(|&last| last != 0) {
            return Err(BtfError::Strings);
        }
        let mut start = 0;
        for string in bytes[strings.clone()].split(|byte| *byte == 0) {
            if string.len() > MAX_STRING {
                return Err(BtfError::StringTooLong { offset: start, length: string.len() });
            }
            start += string.len() + 1;
        }
        let mut wire = Self { bytes, big_endian, flags, strings, end: types.start, types, layout, starts: Vec::new() };
        let cut = wire.index().err();
        Ok((wire, cut))
    }

    /// Finds the beginning of every record.
    fn index(&mut self) -> Result<(), BtfError> {
        while self.end < self.types.end {
            let cut = BtfError::Type { id: self.starts.len() + 1, offset: self.end - self.types.start };
            let types = &self.bytes[..self.types.end];
            let info = word(types, self.end + 4, self.big_endian).ok_or(cut.clone())?;
            let Some(tail) = self.tail_len(info) else {
                return Ok(());
            };
            let next = self.end + TYPE + tail;
            if next > self.types.end {
                return Err(cut);
            }
            self.starts.push(self.end as u32);
            self.end = next;
        }
        Ok(())
    }

    fn tail_len(&self, info: u32) -> Option<usize> {
        let (fixed, each) = kind_of(info).tail().or_else(|| self.layout_of(info))?;
        (vlen_of(info) as usize).checked_mul(each)?.checked_add(fixed)
    }

    /// `struct btf_layout`: `info_sz`, `elem_sz`, `flags`, one per kind from 0 on.
    fn layout_of(&self, info: u32) -> Option<(usize, usize)> {
        let number = (info >> 24 & 0x7f) as usize;
        let entry = self.bytes[self.layout.clone()].get(number * 4..number * 4 + 2)?;
        // Kind 0 is never valid, whatever the table says.
        (number != 0).then(|| (usize::from(entry[0]), usize::from(entry[1])))
    }

    /// The whole section.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The string section.
    pub(super) fn strings(&self) -> &[u8] {
        &self.bytes[self.strings.clone()]
    }

    /// What follows the first record whose length cannot be known.
    pub(super) fn unread(&self) -> &[u8] {
        &self.bytes[self.end..self.types.end]
    }

    /// Where that record has its name, if it is not shorter than any.
    pub(super) fn unread_name(&self) -> Option<u32> {
        word(self.unread(), 0, self.big_endian).filter(|_| self.unread().len() >= TYPE)
    }

    /// The kind of that record.
    pub(super) fn unread_kind(&self) -> Option<u8> {
        word(self.unread(), 4, self.big_endian).map(|info| (info >> 24 & 0x7f) as u8)
    }

    /// Number of types, without `void`.
    pub(super) fn len(&self) -> u32 {
        self.starts.len() as u32
    }

    /// The type at `index`, counting from 0.
    pub(super) fn get(&self, index: u32) -> Option<Type<'_>> {
        let start = *self.starts.get(index as usize)? as usize;
        let end = self.starts.get(index as usize + 1).map_or(self.end, |&next| next as usize);
        let record = self.bytes.get(start..end)?;
        let field = |at| word(record, at, self.big_endian).unwrap_or(0);
        let info = field(4);
        Some(Type {
            kind: kind_of(info),
            name: field(0),
            vlen: vlen_of(info),
            flag: info >> 31 == 1,
            word: field(8),
            tail: record.get(TYPE..)?,
            big_endian: self.big_endian,
        })
    }

    /// All types in the order of the section.
    pub(super) fn iter(&self) -> impl Iterator<Item = Type<'_>> {
        (0..self.len()).filter_map(|index| self.get(index))
    }

    /// The string at `offset` of this section, without its NUL.
    pub(super) fn string(&self, offset: u32) -> Option<&[u8]> {
        let rest = self.strings().get(offset as usize..)?;
        Some(&rest[..rest.iter().position(|&b| b == 0)?])
    }
}

fn kind_of(info: u32) -> Kind {
    Kind::from_number((info >> 24 & 0x7f) as u8)
}

fn vlen_of(info: u32) -> u32 {
    info & 0x00ff_ffff
}

fn word(bytes: &[u8], at: usize, big_endian: bool) -> Option<u32> {
    let word = bytes.get(at..at.checked_add(4)?)?.try_into().ok()?;
    Some(if big_endian { u32::from_be_bytes(word) } else { u32::from_le_bytes(word) })
}
