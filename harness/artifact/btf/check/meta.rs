//! What the kernel asks of each record by itself: `btf_check_meta` in kernel/bpf/btf.c and what it calls by kind, in its order and words.

use super::super::wire::{Kind, Type};
use super::super::{BtfError, View};
use super::misnamed;

/// `KSYM_NAME_LEN` in include/linux/kallsyms.h, the kernel's limit for names, in bytes.
const MAX_NAME: usize = 512;
/// `BTF_MAX_NAME_OFFSET` and `BTF_MAX_TYPE` in include/uapi/linux/btf.h.
const MAX_NAME_OFFSET: u32 = 0x00ff_ffff;
const MAX_TYPE: u32 = 0x000f_ffff;
/// `BITS_PER_U128`.
const MOST_BITS: u32 = 128;
/// `BTF_INT_MASK`.
const INT_MASK: u32 = 0x0fff_ffff;

type Fault = Result<(), BtfError>;

/// A record, and what it is read with.
struct Meta<'a> {
    view: &'a View<'a>,
    id: u32,
    record: &'a Type<'a>,
}

pub(super) fn check(view: &View<'_>, id: u32, record: &Type<'_>) -> Result<(), BtfError> {
    use Kind::*;
    let meta = Meta { view, id, record };
    meta.name(record.name)?;
    match record.kind {
        Int => meta.integer(),
        Ptr | Typedef | Volatile | Const | Restrict | TypeTag => meta.reference(),
        Array => meta.array(),
        Struct | Union => meta.members(),
        Enum | Enum64 => meta.enumeration(),
        Fwd => meta.forward(),
        FuncProto => meta.prototype(),
        Func => meta.function(),
        Var => meta.variable(),
        Datasec => meta.section(),
        Float => meta.float(),
        DeclTag => meta.tag(),
        Unknown(_) => Ok(()),
    }
}

/// Whether there is a name at the offset that a record has its own at: what is asked before all else.
pub(super) fn check_name(view: &View<'_>, id: u32, offset: u32) -> Result<(), BtfError> {
    let there = offset <= MAX_NAME_OFFSET && view.name(offset).is_some();
    if there { Ok(()) } else { Err(BtfError::NameOffset { id, offset }) }
}

impl<'a> Meta<'a> {
    fn wrong(&self, what: &'static str) -> BtfError {
        BtfError::Record { id: self.id, what }
    }

    fn unless(&self, fits: bool, what: &'static str) -> Fault {
        if fits { Ok(()) } else { Err(self.wrong(what)) }
    }

    /// The name at an offset: `btf_name_offset_valid`.
    fn name(&self, offset: u32) -> Result<&'a [u8], BtfError> {
        let name = self.view.name(offset).filter(|_| offset <= MAX_NAME_OFFSET);
        name.ok_or(BtfError::NameOffset { id: self.id, offset })
    }

    fn no_name(&self) -> Fault {
        if self.record.name == 0 { Ok(()) } else { Err(misnamed(self.id, self.name(self.record.name)?)) }
    }

    fn identifier(&self, offset: u32) -> Fault {
        let name = self.name(offset)?;
        if offset != 0 && is_identifier(name) { Ok(()) } else { Err(misnamed(self.id, name)) }
    }

    fn identifier_or_none(&self, offset: u32) -> Fault {
        if offset == 0 { Ok(()) } else { self.identifier(offset) }
    }

    fn no_vlen(&self) -> Fault {
        self.unless(self.record.vlen == 0, "vlen != 0")
    }

    fn no_flag(&self) -> Fault {
        self.unless(!self.record.flag, "Invalid btf_info kind_flag")
    }

    fn integer(&self) -> Fault {
        self.no_vlen()?;
        self.no_flag()?;
        let data = self.record.tail_word(0);
        let (encoding, offset, width) = (data >> 24 & 0xf, data >> 16 & 0xff, data & 0xff);
        self.unless(data & !INT_MASK == 0, "Invalid int_data")?;
        let bits = offset + width;
        self.unless(bits <= MOST_BITS, "nr_bits exceeds 128")?;
        self.unless(bits.div_ceil(8) <= self.record.word, "nr_bits exceeds type_size")?;
        // Signed, char, bool: one of them at the most.
        self.unless([0, 1, 2, 4].contains(&encoding), "Unsupported encoding")
    }

    fn reference(&self) -> Fault {
        self.no_vlen()?;
        if self.record.kind != Kind::TypeTag {
            self.no_flag()?;
        }
        self.unless(self.record.word <= MAX_TYPE, "Invalid type_id")?;
        match self.record.kind {
            Kind::Typedef => self.identifier(self.record.name),
            Kind::TypeTag if self.name(self.record.name)?.is_empty() => Err(misnamed(self.id, b"")),
            Kind::TypeTag => Ok(()),
            _ => self.no_name(),
        }
    }

    fn array(&self) -> Fault {
        self.no_name()?;
        self.no_vlen()?;
        self.no_flag()?;
        self.unless(self.record.word == 0, "size != 0")?;
        self.unless(is_type(self.record.tail_word(0)), "Invalid elem")?;
        self.unless(is_type(self.record.tail_word(1)), "Invalid index")
    }

    fn members(&self) -> Fault {
        self.identifier_or_none(self.record.name)?;
        let mut last = 0;
        for [name, id, place] in self.record.elements::<3>() {
            let offset = if self.record.flag { place & 0x00ff_ffff } else { place };
            if self.name(name).is_err() {
                return Err(BtfError::MemberNameOffset { id: self.id, offset: name });
            }
            self.identifier_or_none(name)?;
            self.unless(is_type(id), "Invalid type_id")?;
            let in_order = offset >= last && (self.record.kind != Kind::Union || offset == 0);
            self.unless(in_order, "Invalid member bits_offset")?;
            self.unless(offset.div_ceil(8) <= self.record.word, "Member bits_offset exceeds its struct size")?;
            last = offset;
        }
        Ok(())
    }

    fn enumeration(&self) -> Fault {
        let size = self.record.word;
        self.unless(size <= 8 && size.is_power_of_two(), "Unexpected size")?;
        self.identifier_or_none(self.record.name)?;
        match self.record.kind {
            Kind::Enum => self.record.elements::<2>().try_for_each(|[name, _]| self.identifier(name)),
            _ => self.record.elements::<3>().try_for_each(|[name, ..]| self.identifier(name)),
        }
    }

    fn forward(&self) -> Fault {
        self.no_vlen()?;
        self.unless(self.record.word == 0, "type != 0")?;
        self.identifier(self.record.name)
    }

    /// Parameters are not looked at as a module is loaded.
    fn prototype(&self) -> Fault {
        self.no_name()?;
        self.no_flag()
    }

    fn function(&self) -> Fault {
        self.identifier(self.record.name)?;
        self.unless(self.record.vlen <= 1, "Invalid func linkage")?;
        self.no_flag()
    }

    fn variable(&self) -> Fault {
        self.no_vlen()?;
        self.no_flag()?;
        self.identifier(self.record.name)?;
        self.unless(is_type(self.record.word), "Invalid type_id")?;
        self.unless(self.record.tail_word(0) <= 1, "Linkage not supported")
    }

    fn section(&self) -> Fault {
        let size = self.record.word;
        self.unless(size != 0, "size == 0")?;
        self.no_flag()?;
        let name = self.name(self.record.name)?;
        let printable = !name.is_empty() && name.len() <= MAX_NAME && name.iter().all(|&byte| is_printable(byte));
        if self.record.name == 0 || !printable {
            return Err(misnamed(self.id, name));
        }
        let (mut end, mut sum) = (0, 0);
        for [id, offset, length] in self.record.elements::<3>() {
            self.unless(is_type(id), "Invalid type_id")?;
            self.unless(u64::from(offset) >= end && offset < size, "Invalid offset")?;
            self.unless(length != 0 && length <= size, "Invalid size")?;
            // A sum of two words of 32 bits in the kernel, too.
            end = u64::from(offset.wrapping_add(length));
            self.unless(end <= u64::from(size), "Invalid offset+size")?;
            sum += u64::from(length);
        }
        self.unless(u64::from(size) >= sum, "Invalid btf_info size")
    }

    fn float(&self) -> Fault {
        self.no_vlen()?;
        self.no_flag()?;
        self.unless([2, 4, 8, 12, 16].contains(&self.record.word), "Invalid type_size")
    }

    fn tag(&self) -> Fault {
        self.unless(!self.name(self.record.name)?.is_empty(), "Invalid value")?;
        self.no_vlen()?;
        // A signed word, of which -1 says that the tag is on the whole.
        self.unless(self.record.tail_word(0).cast_signed() >= -1, "Invalid component_idx")
    }
}

/// A type that is not void, and whose number is within the bounds of the format; whether there is such a type is not asked.
fn is_type(id: u32) -> bool {
    id != 0 && id <= MAX_TYPE
}

/// `btf_name_valid_identifier`: a C identifier in which dots may stand, as in `foo.isra.0`; letters are those of Latin-1 (lib/ctype.c).
fn is_identifier(name: &[u8]) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphabetic() || byte >= 0xc0 && byte != 0xd7 && byte != 0xf7;
    let sign = |byte: u8| byte == b'_' || byte == b'.';
    let Some((&first, rest)) = name.split_first() else { return false };
    let plain = |&byte: &u8| letter(byte) || byte.is_ascii_digit() || sign(byte);
    (letter(first) || sign(first)) && rest.iter().all(plain) && name.len() <= MAX_NAME
}

/// `isprint` of lib/ctype.c, which knows Latin-1.
fn is_printable(byte: u8) -> bool {
    (0x20..0x7f).contains(&byte) || byte >= 0xa0
}
