//! What differs in the BTF of two files.

use std::io::{self, Read, Seek};

use super::super::{Base, BtfFacts};
use super::headers::Side;
use super::{Bases, change, named};

/// The BTF of a file: what it says, and the bytes it says it with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Btf<'d> {
    /// Of the first `.BTF` section.
    pub(super) facts: Option<&'d BtfFacts>,
    /// The bytes of the first `.BTF` section; none where there is none, or it is too large to be read.
    pub(super) types: Option<&'d [u8]>,
    /// Those of `.BTF_ids`, ids of functions, sets and kfuncs (`include/linux/btf_ids.h`).
    pub(super) ids: Option<&'d [u8]>,
    /// Those of `.BTF.base`, the base of a module that brings its own.
    pub(super) base: Option<&'d [u8]>,
    /// The BTF of the vmlinux of the same tree, if there is one: what split BTF without a base of its own builds on.
    pub(super) vmlinux: Option<&'d Base>,
}

/// Reads the sections of both files and compares them.
pub(super) fn lines<R: Read + Seek>(
    a: &mut Side<'_, R>,
    b: &mut Side<'_, R>,
    bases: &dyn Bases,
) -> io::Result<Vec<String>> {
    let mut read = |name: &str| Ok::<_, io::Error>((a.part(name)?, b.part(name)?));
    let (types, ids, base) = (read(".BTF")?, read(".BTF_ids")?, read(".BTF.base")?);
    // Read only where it is needed: it is the largest BTF of all.
    let needs = |side: &Side<'_, R>, own: &Option<Vec<u8>>| {
        side.artifact.btf.as_ref().is_some_and(|facts| facts.base) && own.is_none()
    };
    let vmlinux_a = if needs(a, &base.0) { bases.of_a() } else { None };
    let vmlinux_b = if needs(b, &base.1) { bases.of_b() } else { None };
    // Names of split BTF are in the strings of its base; what was known without it is read again.
    let again = |side: &Side<'_, R>, types: &Option<Vec<u8>>, base: Option<&Base>| {
        let facts = side.artifact.btf.as_ref()?;
        match (types, base) {
            (Some(bytes), Some(base)) => Some(BtfFacts::of(bytes, facts.sections, Some(base))),
            _ => Some(facts.clone()),
        }
    };
    let (facts_a, facts_b) = (again(a, &types.0, vmlinux_a), again(b, &types.1, vmlinux_b));
    let of_a = Btf {
        facts: facts_a.as_ref(),
        types: types.0.as_deref(),
        ids: ids.0.as_deref(),
        base: base.0.as_deref(),
        vmlinux: vmlinux_a,
    };
    let of_b = Btf {
        facts: facts_b.as_ref(),
        types: types.1.as_deref(),
        ids: ids.1.as_deref(),
        base: base.1.as_deref(),
        vmlinux: vmlinux_b,
    };
    Ok(compare(&of_a, &of_b))
}

/// Lines on two files' BTF, pure over bytes: the place for all that is to be said of it.
pub(super) fn compare(a: &Btf<'_>, b: &Btf<'_>) -> Vec<String> {
    let mut lines = facts(a.facts, b.facts);
    for (what, before, after) in [(".BTF_ids", a.ids, b.ids), (".BTF.base", a.base, b.base)] {
        match (before, after) {
            (Some(before), Some(after)) if before != after => {
                lines.push(format!("{what}: {}", super::code::first_difference(before, after)));
            }
            (Some(_), None) => lines.push(format!("{what}: only in A")),
            (None, Some(_)) => lines.push(format!("{what}: only in B")),
            _ => {}
        }
    }
    for (which, side) in [("A", a), ("B", b)] {
        let unnamed = side.facts.map_or(0, |facts| facts.unnamed);
        if unnamed > 0 && side.vmlinux.is_none() && !lines.is_empty() {
            lines.push(format!(
                "{unnamed} functions of {which} have their names in a vmlinux, which is not at the top of it"
            ));
        }
    }
    if lines.is_empty()
        && let (Some(before), Some(after)) = (a.types, b.types)
    {
        lines.push(format!("as many types and the same functions; {}", super::code::first_difference(before, after)));
    }
    lines
}

fn facts(a: Option<&BtfFacts>, b: Option<&BtfFacts>) -> Vec<String> {
    let (a, b) = match (a, b) {
        (Some(a), Some(b)) => (a, b),
        (Some(a), None) => return vec![format!("only in A: {} types, {} functions", a.types, a.functions)],
        (None, Some(b)) => return vec![format!("only in B: {} types, {} functions", b.types, b.functions)],
        (None, None) => return Vec::new(),
    };
    let only = |of: &BtfFacts, other: &BtfFacts| -> Vec<String> {
        of.function_names.iter().filter(|name| other.function_names.binary_search(name).is_err()).cloned().collect()
    };
    let mut lines = Vec::new();
    for (what, names) in [("functions lost", only(a, b)), ("functions gained", only(b, a))] {
        if !names.is_empty() {
            lines.push(format!("{what}: {}", named(&names)));
        }
    }
    lines.extend(change(".BTF sections", &a.sections, &b.sections));
    lines.extend(change("types", &a.types, &b.types));
    lines.extend(change("functions", &a.functions, &b.functions));
    let problem = |facts: &BtfFacts| facts.problem.clone().unwrap_or_else(|| "none".to_owned());
    lines.extend(change("problem:", &problem(a), &problem(b)));
    lines
}
