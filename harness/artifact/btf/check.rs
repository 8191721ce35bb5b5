//! Whether the kernel would take BTF, by what it asks as it loads a module, in its order and in its words: `btf_parse_hdr`,
//! `btf_parse_str_sec`, `btf_check_all_metas` and the check of modifier chains in kernel/bpf/btf.c. Then what it does not ask: whether
//! references lead to something that they can mean. `tests/boot.rs` holds this against a kernel that is booted.
//!
//! Where kernels differ this is the newest that is known, 7.3. Kernels before 7.1 refuse more, such as a number of members above 65,535
//! (`Invalid btf_info`); whoever builds such a kernel has no tools that write it.

use super::wire::{Kind, Type, Wire};
use super::{BtfError, View, is_split};
use crate::artifact::walk::escape_bytes;

mod header;
mod meta;

/// How many modifiers may follow each other: `chain_limit` in `btf_check_modifier_chain_length`.
const CHAIN: u32 = 32;

/// The first fault of a section: what the kernel finds, or else what it does not look for.
pub(super) fn check(bytes: &[u8], base: Option<&Wire<'_>>) -> Result<(), BtfError> {
    if let Some(what) = header::fault(bytes, base.is_some()) {
        return Err(BtfError::Refused(what));
    }
    let (wire, cut) = Wire::scan(bytes)?;
    let split = is_split(&wire);
    if split && base.is_none() && cut.is_none() {
        return Err(BtfError::BaseNeeded);
    }
    records(&View::new(&wire, split, base), cut)
}

/// As [`check`], of a section that was parsed.
pub(super) fn check_parsed(view: &View<'_>) -> Result<(), BtfError> {
    match header::fault(view.own.bytes(), view.base.is_some()) {
        Some(what) => Err(BtfError::Refused(what)),
        None => records(view, None),
    }
}

/// What comes after the header; `cut` is the record that is cut off, which ends the section.
fn records(view: &View<'_>, cut: Option<BtfError>) -> Result<(), BtfError> {
    all(view).try_for_each(|(id, record)| match record.kind {
        Kind::Unknown(kind) => Err(BtfError::Kind { id, kind }),
        _ => meta::check(view, id, &record),
    })?;
    if let Some(cut) = cut {
        // Its name is looked at before its length.
        return view
            .own
            .unread_name()
            .map_or(Ok(()), |name| meta::check_name(view, view.id_of(view.own.len()), name))
            .and(Err(cut));
    }
    // What follows a record of unknown kind cannot be told apart, and the kernel does not come so far.
    if let Some(kind) = view.own.unread_kind() {
        return Err(BtfError::Kind { id: view.id_of(view.own.len()), kind });
    }
    chains(view)?;
    references(view)
}

/// As [`check`], of what was read before; records of kinds that are not known are passed over.
pub(super) fn check_read(view: &View<'_>) -> Result<(), BtfError> {
    let mut known = all(view).filter(|(_, record)| !matches!(record.kind, Kind::Unknown(_)));
    known.try_for_each(|(id, record)| meta::check(view, id, &record))?;
    references(view)
}

fn all<'v>(view: &'v View<'_>) -> impl Iterator<Item = (u32, Type<'v>)> {
    (0..).zip(view.own.iter()).map(|(index, record)| (view.id_of(index), record))
}

/// Modifiers that follow each other for ever or for too long.
fn chains(view: &View<'_>) -> Result<(), BtfError> {
    use Kind::*;
    let modifier = |record: &Type<'_>| matches!(record.kind, Typedef | Volatile | Const | Restrict | TypeTag);
    for (id, record) in all(view) {
        let (mut at, mut record, mut left) = (id, record, CHAIN);
        while modifier(&record) {
            if left == 0 {
                return Err(BtfError::Chain { id });
            }
            left -= 1;
            // Those before it were followed to their ends.
            if at < id {
                break;
            }
            at = record.word;
            match view.get(at) {
                Some(next) => record = next,
                None if at == 0 => break,
                None => return Err(BtfError::ChainEnd { id, to: at }),
            }
        }
    }
    Ok(())
}

fn references(view: &View<'_>) -> Result<(), BtfError> {
    all(view).try_for_each(|(id, record)| {
        let mut found = Ok(());
        record.references(|to| {
            if found.is_ok() {
                found = check_reference(view, id, record.kind, to);
            }
        });
        found
    })
}

fn check_reference(view: &View<'_>, id: u32, from: Kind, to: u32) -> Result<(), BtfError> {
    use Kind::*;
    let target = view.get(to).map(|record| record.kind);
    // Behind an unknown kind there are types that could not be counted.
    if target.is_none() && to != 0 && view.own.unread().is_empty() {
        return Err(BtfError::TypeId { id, to });
    }
    let Some(target) = target else { return Ok(()) };
    let fits = match from {
        Func => target == FuncProto,
        Datasec => target == Var,
        // What a tag is put on is a declaration; everything else is made of types.
        DeclTag => true,
        _ => !matches!(target, Func | Var | Datasec | DeclTag),
    };
    if fits {
        return Ok(());
    }
    Err(BtfError::Target { id, kind: from.label().into(), to: target.label().into() })
}

/// A name that cannot stand where it stands.
fn misnamed(id: u32, name: &[u8]) -> BtfError {
    BtfError::Name { id, name: escape_bytes(&name[..name.len().min(80)]) }
}
