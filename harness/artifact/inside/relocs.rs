//! Relocations, by what they refer to.

use std::collections::BTreeMap;
use std::io::{self, Read, Seek};

use object::elf::{Machine, RelocationType, machine_names};

use super::super::walk::escape_bytes;
use super::headers::{Order, SHT_RELA, Side};
use super::symbols::Table;
use super::{SHOWN, count, thousands};

/// What is said where nothing but symbols' numbers differs.
pub(super) const RENUMBERED: &str = "the same relocations; symbols have other numbers";

/// `Elf32_Rel`, `Elf32_Rela`, `Elf64_Rel` or `Elf64_Rela`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Relocation {
    /// Within the section that is relocated, in a relocatable file.
    pub(super) offset: u64,
    pub(super) kind: u32,
    /// An index of the symbol table.
    pub(super) symbol: u32,
    /// None where the addend lies in the section.
    pub(super) addend: Option<i64>,
}

/// The relocations of a section, in its order; a cut-off last one is left out.
pub(super) fn parse(bytes: &[u8], rela: bool, order: Order) -> Vec<Relocation> {
    let width = order.width();
    let read = |bytes: &[u8]| -> Option<Relocation> {
        let info = order.wide(bytes, width)?;
        // ELF32_R_SYM and ELF32_R_TYPE are of 24 and 8 bits, those of 64 bits of 32 each
        let (symbol, kind) = if order.is_64 { (info >> 32, info & 0xffff_ffff) } else { (info >> 8, info & 0xff) };
        let addend = match (rela, order.is_64) {
            (false, _) => None,
            (true, true) => Some(order.u64(bytes, 16)? as i64),
            (true, false) => Some(i64::from(order.u32(bytes, 8)? as i32)),
        };
        Some(Relocation {
            offset: order.wide(bytes, 0)?,
            kind: u32::try_from(kind).ok()?,
            symbol: u32::try_from(symbol).ok()?,
            addend,
        })
    };
    bytes.chunks_exact(width * if rela { 3 } else { 2 }).filter_map(read).collect()
}

/// A file's relocations with what is needed to name them.
struct Named<'s, R> {
    side: &'s Side<'s, R>,
    table: &'s Table,
    all: Vec<Relocation>,
}

impl<R: Read + Seek> Named<'_, R> {
    /// The name of what is referred to, as it is in the file.
    fn symbol(&self, relocation: &Relocation) -> &[u8] {
        let Some(symbol) = self.table.symbols.get(relocation.symbol as usize) else { return b"(no symbol)" };
        match self.table.name(symbol) {
            [] => self.side.place(symbol.section).as_bytes(),
            name => name,
        }
    }

    fn kind(&self, relocation: &Relocation) -> String {
        let names = machine_names(Machine(self.side.header.machine));
        names.r.name(RelocationType(relocation.kind)).map_or(format!("type {}", relocation.kind), str::to_owned)
    }

    fn told(&self, relocation: &Relocation) -> String {
        let addend = match relocation.addend {
            None | Some(0) => String::new(),
            Some(addend) if addend < 0 => format!("-{:#x}", addend.unsigned_abs()),
            Some(addend) => format!("+{addend:#x}"),
        };
        format!("{} {}{addend}", self.kind(relocation), escape_bytes(self.symbol(relocation)))
    }

    /// Apart from the symbol's index, which says nothing.
    fn same<'o>(&'o self, mine: &Relocation, other: &'o Self, theirs: &Relocation) -> bool {
        (mine.offset, mine.kind, mine.addend) == (theirs.offset, theirs.kind, theirs.addend)
            && self.symbol(mine) == other.symbol(theirs)
    }
}

/// What differs in the relocation section of this name.
pub(super) fn lines<R: Read + Seek>(
    a: &mut Side<'_, R>,
    b: &mut Side<'_, R>,
    part: &str,
    in_a: &[u8],
    in_b: &[u8],
) -> io::Result<Result<Vec<String>, String>> {
    let of = |side: &mut Side<'_, R>| {
        let section = side.section(part).map(|section| (section.link as usize, section.kind == SHT_RELA));
        let Some((link, rela)) = section else { return Ok(Err("it is no section".to_owned())) };
        Ok::<_, io::Error>(side.table(link)?.map(|table| (table, rela)))
    };
    let (of_a, of_b) = match (of(a)?, of(b)?) {
        (Ok(of_a), Ok(of_b)) => (of_a, of_b),
        (Err(why), _) | (_, Err(why)) => return Ok(Err(why)),
    };
    let before = Named { all: parse(in_a, of_a.1, a.order), table: &of_a.0, side: a };
    let after = Named { all: parse(in_b, of_b.1, b.order), table: &of_b.0, side: b };
    let section = part.trim_start_matches(".rela").trim_start_matches(".rel");
    let mut lines = Vec::new();
    if before.all.len() != after.all.len() {
        let (x, y) = (thousands(before.all.len() as u64), thousands(after.all.len() as u64));
        lines.push(format!("{x} relocations in A, {y} in B"));
    }
    lines.extend(references(&before, &after));
    let pairs = before.all.iter().zip(&after.all);
    let differ: Vec<_> = pairs.filter(|(x, y)| !before.same(x, &after, y)).collect();
    if differ.is_empty() && before.all.len() == after.all.len() {
        lines.push(RENUMBERED.to_owned());
        return Ok(Ok(lines));
    }
    // Where one side has more, what comes after is shifted: one example is enough.
    let shown = if before.all.len() == after.all.len() { SHOWN / 2 } else { 1 };
    for (x, y) in differ.iter().take(shown) {
        let place = |offset: u64| format!("{section}+{offset:#x}");
        lines.push(if x.offset == y.offset {
            format!("{}: {} → {}", place(x.offset), before.told(x), after.told(y))
        } else if before.told(x) == after.told(y) {
            format!("{}: {} at {:#x} in B", place(x.offset), before.told(x), y.offset)
        } else {
            format!("{}: {} → {} at {:#x}", place(x.offset), before.told(x), after.told(y), y.offset)
        });
    }
    if before.all.len() == after.all.len() && differ.len() > shown {
        lines.push(format!("{} differ in all", count(differ.len(), "relocation")));
    }
    Ok(Ok(lines))
}

/// Which symbols are referred to more or less often.
fn references<R: Read + Seek>(before: &Named<'_, R>, after: &Named<'_, R>) -> Vec<String> {
    let mut uses: BTreeMap<&[u8], i64> = BTreeMap::new();
    for (side, sign) in [(before, -1), (after, 1)] {
        // By number first: there are many relocations to few symbols.
        let mut by_number: BTreeMap<u32, (i64, &Relocation)> = BTreeMap::new();
        side.all.iter().for_each(|relocation| by_number.entry(relocation.symbol).or_insert((0, relocation)).0 += sign);
        for (times, relocation) in by_number.into_values() {
            *uses.entry(side.symbol(relocation)).or_default() += times;
        }
    }
    let told = |wanted: fn(&i64) -> bool| -> Vec<String> {
        let times = |by: &i64| if by.abs() == 1 { String::new() } else { format!(" ×{}", by.abs()) };
        let some = uses.iter().filter(|(_, by)| wanted(by));
        some.map(|(name, by)| format!("{}{}", escape_bytes(name), times(by))).collect()
    };
    let (lost, gained) = (told(|by| *by < 0), told(|by| *by > 0));
    let mut lines = Vec::new();
    if !lost.is_empty() {
        lines.push(format!("references lost: {}", super::named(&lost)));
    }
    if !gained.is_empty() {
        lines.push(format!("references gained: {}", super::named(&gained)));
    }
    lines
}
