//! What differs in the BTF of two files.

use std::io::{self, Read, Seek};
use std::sync::Arc;

use super::super::{Base, BtfFacts, btf};
use super::headers::Side;
use super::{Bases, SHOWN, change, named};

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
    pub(super) vmlinux: Option<&'d Arc<Base>>,
    /// The file, whose symbols say what the words of `.BTF_ids` are; none where these are the same, or it is too large.
    pub(super) file: Option<&'d [u8]>,
}

impl Btf<'_> {
    /// Its types, if there is all that they need.
    fn parsed(&self) -> Option<btf::Btf> {
        let base = match self.base {
            Some(own) => Some(Arc::new(Base::parse(own.to_vec()).ok()?)),
            None => self.vmlinux.cloned(),
        };
        btf::Btf::parse(self.types?.to_vec(), base).ok()
    }
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
    let again = |side: &Side<'_, R>, types: &Option<Vec<u8>>, base: Option<&Arc<Base>>| {
        let facts = side.artifact.btf.as_ref()?;
        match (types, base) {
            (Some(bytes), Some(base)) => Some(BtfFacts::of(bytes, facts.sections, Some(base.as_ref()))),
            _ => Some(facts.clone()),
        }
    };
    let (facts_a, facts_b) = (again(a, &types.0, vmlinux_a), again(b, &types.1, vmlinux_b));
    let differ = ids.0 != ids.1 && ids.0.is_some() && ids.1.is_some();
    let (file_a, file_b) = if differ { (a.whole()?, b.whole()?) } else { (None, None) };
    let of_a = Btf {
        facts: facts_a.as_ref(),
        types: types.0.as_deref(),
        ids: ids.0.as_deref(),
        base: base.0.as_deref(),
        vmlinux: vmlinux_a,
        file: file_a.as_deref(),
    };
    let of_b = Btf {
        facts: facts_b.as_ref(),
        types: types.1.as_deref(),
        ids: ids.1.as_deref(),
        base: base.1.as_deref(),
        vmlinux: vmlinux_b,
        file: file_b.as_deref(),
    };
    Ok(compare(&of_a, &of_b))
}

/// Lines on two files' BTF, pure over bytes: the place for all that is to be said of it.
pub(super) fn compare(a: &Btf<'_>, b: &Btf<'_>) -> Vec<String> {
    let parsed = (a.parsed(), b.parsed());
    let mut lines = match &parsed {
        // What is only written otherwise is no difference of what it says, and told below.
        (Some(a), Some(b)) => match btf::BtfDiff::of(a, b) {
            diff if diff.relation == btf::Relation::Identical => Vec::new(),
            diff => diff.lines(SHOWN),
        },
        _ => facts(a.facts, b.facts),
    };
    let ids = |file: Option<&[u8]>, types: &Option<btf::Btf>| btf::ids(file?, types.as_ref()).ok();
    match (a.ids, b.ids) {
        (Some(before), Some(after)) if before != after => {
            let told = ids(a.file, &parsed.0).zip(ids(b.file, &parsed.1));
            let told = told.map(|(before, after)| btf::diff_ids(&before, &after)).unwrap_or_default();
            match told.as_slice() {
                [] if parsed.0.is_some() => lines.push(".BTF_ids: other ids for the same types".to_owned()),
                [] => lines.push(format!(".BTF_ids: {}", super::code::first_difference(before, after))),
                told => lines.extend(told.iter().take(SHOWN).map(|line| format!(".BTF_ids: {line}"))),
            }
            lines.extend((told.len() > SHOWN).then(|| format!(".BTF_ids: and {} more", told.len() - SHOWN)));
        }
        (Some(_), None) => lines.push(".BTF_ids: only in A".to_owned()),
        (None, Some(_)) => lines.push(".BTF_ids: only in B".to_owned()),
        _ => {}
    }
    match (a.base, b.base) {
        (Some(before), Some(after)) if before != after => {
            lines.push(format!(".BTF.base: {}", super::code::first_difference(before, after)));
        }
        (Some(_), None) => lines.push(".BTF.base: only in A".to_owned()),
        (None, Some(_)) => lines.push(".BTF.base: only in B".to_owned()),
        _ => {}
    }
    for (which, side) in [("A", a), ("B", b)] {
        let unnamed = side.facts.map_or(0, |facts| facts.unnamed);
        if unnamed > 0 && side.vmlinux.is_none() && !lines.is_empty() {
            lines.push(format!(
                "{unnamed} functions of {which} have their names in a vmlinux, which was not found; --vmlinux FILE names it"
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
    // Where some names are not known, of those that are none can be told to be missing in the other.
    let known = a.unnamed == 0 && b.unnamed == 0;
    for (what, names) in [("functions lost", only(a, b)), ("functions gained", only(b, a))] {
        if known && !names.is_empty() {
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
