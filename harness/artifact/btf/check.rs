//! Whether the kernel would take BTF: names and references that lead somewhere sensible.
//!
//! What `btf_check_all_metas` in `kernel/bpf/btf.c` asks, and a part of what `btf_resolve` asks, chosen for what happens
//! when a module's BTF meets another base than its own: offsets then lead into the middle of strings, and ids
//! to types of other kinds.

use super::wire::{Kind, Type};
use super::{BtfError, View};
use crate::artifact::walk::escape_bytes;

mod meta;

/// `KSYM_NAME_LEN` in `include/linux/kallsyms.h`, the kernel's limit for names, in bytes.
const MAX_IDENTIFIER: usize = 512;

/// The first fault that a kernel finds as it loads a module, in the order of the section; else the first reference that leads
/// nowhere or to what it cannot mean, at which the kernel does not look then.
pub(super) fn check(view: &View<'_>) -> Result<(), BtfError> {
    let all = || (0..).zip(view.own.iter()).map(|(index, record)| (view.id_of(index), record));
    for (id, record) in all() {
        check_names(view, id, &record)?;
        meta::check(view, id, &record)?;
    }
    all().try_for_each(|(id, record)| check_references(view, id, &record))
}

fn check_names(view: &View<'_>, id: u32, record: &Type<'_>) -> Result<(), BtfError> {
    use Kind::*;
    let own = record.name;
    match record.kind {
        Ptr | Const | Volatile | Restrict | Array | FuncProto => name_is(view, id, own, Rule::Absent)?,
        Typedef | Fwd | Func | Var => name_is(view, id, own, Rule::Identifier)?,
        Struct | Union | Enum | Enum64 => name_is(view, id, own, Rule::Optional)?,
        Int | Float | Datasec | DeclTag | TypeTag | Unknown(_) => name_is(view, id, own, Rule::Any)?,
    }
    match record.kind {
        Struct | Union => record.elements::<3>().try_for_each(|[name, ..]| name_is(view, id, name, Rule::Optional)),
        FuncProto => record.elements::<2>().try_for_each(|[name, _]| name_is(view, id, name, Rule::Optional)),
        Enum => record.elements::<2>().try_for_each(|[name, _]| name_is(view, id, name, Rule::Identifier)),
        Enum64 => record.elements::<3>().try_for_each(|[name, ..]| name_is(view, id, name, Rule::Identifier)),
        _ => Ok(()),
    }
}

/// What a name must be.
#[derive(Clone, Copy, PartialEq)]
enum Rule {
    Absent,
    Identifier,
    /// An identifier or nothing.
    Optional,
    Any,
}

fn name_is(view: &View<'_>, id: u32, offset: u32, rule: Rule) -> Result<(), BtfError> {
    let name = view.name(offset).ok_or(BtfError::NameOffset { id, offset })?;
    let fits = match rule {
        Rule::Any => true,
        Rule::Absent => offset == 0,
        Rule::Optional => offset == 0 || is_identifier(name),
        Rule::Identifier => is_identifier(name),
    };
    if fits {
        return Ok(());
    }
    Err(BtfError::Name { id, name: escape_bytes(&name[..name.len().min(80)]) })
}

/// `__btf_name_valid`: a C identifier in which dots may stand, as in `foo.isra.0`.
fn is_identifier(name: &[u8]) -> bool {
    let plain = |&b: &u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'.';
    name.first().is_some_and(|b| !b.is_ascii_digit()) && name.iter().all(plain) && name.len() < MAX_IDENTIFIER
}

fn check_references(view: &View<'_>, id: u32, record: &Type<'_>) -> Result<(), BtfError> {
    let mut found = Ok(());
    record.references(|to| {
        if found.is_ok() {
            found = check_reference(view, id, record.kind, to);
        }
    });
    found
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
    Err(BtfError::Target { id, kind: from.label(), to: target.label() })
}
