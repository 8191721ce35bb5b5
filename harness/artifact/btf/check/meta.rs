//! What the kernel asks of each record by itself: `btf_check_all_metas` in kernel/bpf/btf.c, which is all that it asks of a module's
//! BTF as it loads it, apart from what names and ids lead to. In its own words.

use super::super::wire::{Kind, Type};
use super::super::{BtfError, View};

/// `BITS_PER_U128`.
const MOST_BITS: u32 = 128;
/// `BTF_INT_MASK`.
const INT_MASK: u32 = 0x0fff_ffff;

pub(super) fn check(view: &View<'_>, id: u32, record: &Type<'_>) -> Result<(), BtfError> {
    match fault(view, record) {
        Some(what) => Err(BtfError::Record { id, what }),
        None => Ok(()),
    }
}

fn fault(view: &View<'_>, record: &Type<'_>) -> Option<&'static str> {
    use Kind::*;
    let none = record.vlen == 0;
    let plain = !record.flag;
    let (vlen, flag) = ("vlen != 0", "Invalid btf_info kind_flag");
    match record.kind {
        Int | Ptr | Array | Fwd | Typedef | Volatile | Const | Restrict | Var | Float | DeclTag | TypeTag if !none => {
            return Some(vlen);
        }
        Int | Ptr | Array | Typedef | Volatile | Const | Restrict | Func | FuncProto | Var | Datasec | Float
            if !plain =>
        {
            return Some(flag);
        }
        _ => {}
    }
    let value = || view.name(record.name).is_some_and(|name| !name.is_empty());
    match record.kind {
        Int => integer(record),
        Float => (![2, 4, 8, 12, 16].contains(&record.word)).then_some("Invalid type_size"),
        Enum | Enum64 => (record.word > 8 || !record.word.is_power_of_two()).then_some("Unexpected size"),
        Struct | Union => members(record),
        Array if record.word != 0 => Some("size != 0"),
        Array if record.tail_word(0) == 0 => Some("Invalid elem"),
        Array if record.tail_word(1) == 0 => Some("Invalid index"),
        Fwd => (record.word != 0).then_some("type != 0"),
        Func => (record.vlen > 1).then_some("Invalid func linkage"),
        Var if record.word == 0 => Some("Invalid type_id"),
        Var => (record.tail_word(0) > 1).then_some("Linkage not supported"),
        Datasec => section(record),
        DeclTag if !value() => Some("Invalid value"),
        // A signed word, of which -1 says that the tag is on the whole.
        DeclTag => (record.tail_word(0).cast_signed() < -1).then_some("Invalid component_idx"),
        TypeTag => (!value()).then_some("Invalid name"),
        _ => None,
    }
}

fn integer(record: &Type<'_>) -> Option<&'static str> {
    let data = record.tail_word(0);
    let (encoding, offset, width) = (data >> 24 & 0xf, data >> 16 & 0xff, data & 0xff);
    match offset + width {
        _ if data & !INT_MASK != 0 => Some("Invalid int_data"),
        bits if bits > MOST_BITS => Some("nr_bits exceeds 128"),
        bits if bits.div_ceil(8) > record.word => Some("nr_bits exceeds type_size"),
        // Signed, char, bool: one of them at the most.
        _ => (![0, 1, 2, 4].contains(&encoding)).then_some("Unsupported encoding"),
    }
}

fn members(record: &Type<'_>) -> Option<&'static str> {
    let mut last = 0;
    for [_, id, place] in record.elements::<3>() {
        let offset = if record.flag { place & 0x00ff_ffff } else { place };
        if id == 0 {
            return Some("Invalid type_id");
        }
        if record.kind == Kind::Union && offset != 0 || offset < last {
            return Some("Invalid member bits_offset");
        }
        if offset.div_ceil(8) > record.word {
            return Some("Member bits_offset exceeds its struct size");
        }
        last = offset;
    }
    None
}

fn section(record: &Type<'_>) -> Option<&'static str> {
    if record.word == 0 {
        return Some("size == 0");
    }
    let mut end = 0;
    for [id, offset, size] in record.elements::<3>() {
        if id == 0 {
            return Some("Invalid type_id");
        }
        if u64::from(offset) < end || offset >= record.word {
            return Some("Invalid offset");
        }
        if size == 0 || size > record.word {
            return Some("Invalid size");
        }
        end = u64::from(offset) + u64::from(size);
        if end > u64::from(record.word) {
            return Some("Invalid offset+size");
        }
    }
    None
}
