//! Symbol tables: what came, what went, what is another; and what a module or the kernel exports by them.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read, Seek};

use object::elf::{SymbolBind, SymbolType};

use super::super::walk::escape_bytes;
use super::headers::{Order, Side};
use super::{SHOWN, change, count, named};

/// Longer names are told by their beginning: twice `KSYM_NAME_LEN` (`include/linux/kallsyms.h`).
const MAX_NAME: usize = 1024;
/// How often a byte of the names may belong to a symbol: linkers share the ends of names, which is seldom more than once.
const SHARED: usize = 64;
const STT_SECTION: u8 = 3;

/// `Elf32_Sym` or `Elf64_Sym`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Symbol {
    name: u32,
    /// Within its section in a relocatable file, else an address.
    pub(super) value: u64,
    /// In bytes.
    pub(super) size: u64,
    bind: u8,
    pub(super) kind: u8,
    visibility: u8,
    /// An index of the section table, or one of `SHN_*`.
    pub(super) section: u32,
}

/// Symbols with their names.
#[derive(Debug, Default)]
pub(super) struct Table {
    strings: Vec<u8>,
    /// In the order of the table, the null symbol first.
    pub(super) symbols: Vec<Symbol>,
}

impl Table {
    /// `wide` is the section of type `SHT_SYMTAB_SHNDX` that goes with it. A cut-off last symbol is left out.
    ///
    /// # Errors
    /// A table whose names lie over each other so often that reading them would take no end.
    pub(super) fn parse(symbols: &[u8], strings: Vec<u8>, wide: Option<&[u8]>, order: Order) -> Result<Self, String> {
        let entry = if order.is_64 { 24 } else { 16 };
        let read = |(index, bytes): (usize, &[u8])| -> Option<Symbol> {
            let (value, size, rest) = if order.is_64 { (8, 16, 4) } else { (4, 8, 12) };
            let (info, other) = (bytes.get(rest)?, bytes.get(rest + 1)?);
            let section = match order.u16(bytes, rest + 2)? {
                // SHN_XINDEX: the index lies in the other section
                0xffff => wide.and_then(|wide| order.u32(wide, index.checked_mul(4)?)).unwrap_or(0),
                section => u32::from(section),
            };
            Some(Symbol {
                name: order.u32(bytes, 0)?,
                value: order.wide(bytes, value)?,
                size: order.wide(bytes, size)?,
                bind: info >> 4,
                kind: info & 0xf,
                visibility: other & 3,
                section,
            })
        };
        let table = Self { symbols: symbols.chunks_exact(entry).enumerate().filter_map(read).collect(), strings };
        let mut left = SHARED * table.strings.len() + MAX_NAME;
        for (index, symbol) in table.symbols.iter().enumerate() {
            left = left
                .checked_sub(table.name(symbol).len())
                .ok_or_else(|| format!("the names of the first {index} symbols lie over each other"))?;
        }
        Ok(table)
    }

    /// A symbol's name as it is in the file, empty where there is none.
    pub(super) fn name(&self, symbol: &Symbol) -> &[u8] {
        let rest = self.strings.get(symbol.name as usize..).unwrap_or_default();
        let rest = &rest[..rest.len().min(MAX_NAME)];
        rest.split(|&byte| byte == 0).next().unwrap_or_default()
    }
}

/// What of a symbol is compared; not where it lies.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Facts<'s> {
    bind: u8,
    kind: u8,
    visibility: u8,
    size: u64,
    section: &'s str,
}

impl fmt::Display for Facts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}, {} bytes, {}", bind(self.bind), kind(self.kind), self.size, self.section)
    }
}

fn bind(bind: u8) -> String {
    SymbolBind(bind).name().map_or(format!("binding {bind}"), |name| name.trim_start_matches("STB_").to_lowercase())
}

fn kind(kind: u8) -> String {
    SymbolType(kind).name().map_or(format!("type {kind}"), |name| name.trim_start_matches("STT_").to_lowercase())
}

type Names<'s> = BTreeMap<&'s [u8], Vec<(Facts<'s>, u64)>>;

fn by_name<'s, R: Read + Seek>(side: &'s Side<'_, R>, table: &'s Table) -> Names<'s> {
    let mut names = Names::new();
    // Section symbols have no name and follow from the sections.
    for symbol in table.symbols.iter().skip(1).filter(|symbol| symbol.kind != STT_SECTION) {
        let facts = Facts {
            bind: symbol.bind,
            kind: symbol.kind,
            visibility: symbol.visibility,
            size: symbol.size,
            section: side.place(symbol.section),
        };
        names.entry(table.name(symbol)).or_default().push((facts, symbol.value));
    }
    names.values_mut().for_each(|all| all.sort());
    names
}

/// What differs in the symbol table of this name.
pub(super) fn lines<R: Read + Seek>(
    a: &mut Side<'_, R>,
    b: &mut Side<'_, R>,
    part: &str,
) -> io::Result<Result<Vec<String>, String>> {
    let (Some(index_a), Some(index_b)) = (a.index(part), b.index(part)) else {
        return Ok(Err("it is in one file alone".to_owned()));
    };
    let (table_a, table_b) = match (a.table(index_a)?, b.table(index_b)?) {
        (Ok(table_a), Ok(table_b)) => (table_a, table_b),
        (Err(why), _) => return Ok(Err(format!("{why} (A)"))),
        (_, Err(why)) => return Ok(Err(format!("{why} (B)"))),
    };
    let (in_a, in_b) = (by_name(a, &table_a), by_name(b, &table_b));
    let mut lines = exports(&in_a, &in_b);
    let mut moved = 0;
    let (mut gone, mut new, mut other) = (Vec::new(), Vec::new(), Vec::new());
    for (name, before) in &in_a {
        match in_b.get(name) {
            None => gone.extend(before.iter().map(|(facts, _)| format!("{} ({facts})", escape_bytes(name)))),
            Some(after) if before.iter().map(|s| &s.0).eq(after.iter().map(|s| &s.0)) => {
                moved += before.iter().zip(after).filter(|(x, y)| x.1 != y.1).count();
            }
            Some(after) => other.push(changed(name, before, after)),
        }
    }
    for (name, after) in in_b.iter().filter(|(name, _)| !in_a.contains_key(*name)) {
        new.extend(after.iter().map(|(facts, _)| format!("{} ({facts})", escape_bytes(name))));
    }
    for (what, sign, names) in [("only in A", '-', &gone), ("only in B", '+', &new), ("changed", ' ', &other)] {
        if names.is_empty() {
            continue;
        }
        lines.push(format!("{} {what}:", count(names.len(), "symbol")));
        lines.extend(names.iter().take(SHOWN).map(|name| format!("{sign} {name}")));
        if names.len() > SHOWN {
            lines.push(format!("  and {} more", names.len() - SHOWN));
        }
    }
    if moved > 0 {
        lines.push(format!("{} at another address", count(moved, "symbol")));
    }
    if lines.is_empty() {
        lines.push("the same symbols in another order".to_owned());
    }
    Ok(Ok(lines))
}

fn changed(name: &[u8], before: &[(Facts<'_>, u64)], after: &[(Facts<'_>, u64)]) -> String {
    let name = escape_bytes(name);
    let ([(x, _)], [(y, _)]) = (before, after) else {
        // Static symbols of one name, in several files or scopes: which is which cannot be told.
        return format!("{name}: {} in A, {} in B, with other sizes or sections", before.len(), after.len());
    };
    let differences = [
        change("size", &x.size, &y.size),
        change("section", &x.section, &y.section),
        change("binding", &bind(x.bind), &bind(y.bind)),
        change("type", &kind(x.kind), &kind(y.kind)),
        change("visibility", &x.visibility, &y.visibility),
    ];
    format!("{name}: {}", differences.into_iter().flatten().collect::<Vec<_>>().join(", "))
}

/// What `EXPORT_SYMBOL` left: a symbol `__ksymtab_NAME` in a section that says which kind of export it is
/// (`include/linux/export-internal.h`).
fn exports(a: &Names<'_>, b: &Names<'_>) -> Vec<String> {
    fn of(names: &Names<'_>) -> BTreeMap<String, String> {
        let export = |(name, all): (&&[u8], &Vec<(Facts<'_>, u64)>)| {
            let name = name.strip_prefix(b"__ksymtab_")?;
            // `___ksymtab_gpl+name` of an object is merged into `__ksymtab_gpl` of a module
            let section = all.first()?.0.section;
            Some((escape_bytes(name), section.split('+').next().unwrap_or(section).to_owned()))
        };
        names.iter().filter_map(export).collect()
    }
    let (a, b) = (of(a), of(b));
    let told = |(name, section): (&String, &String)| {
        if section.ends_with("_gpl") { format!("{name} (GPL)") } else { name.clone() }
    };
    let lost: Vec<String> = a.iter().filter(|(name, _)| !b.contains_key(*name)).map(told).collect();
    let gained: Vec<String> = b.iter().filter(|(name, _)| !a.contains_key(*name)).map(told).collect();
    let mut lines = Vec::new();
    if !lost.is_empty() {
        lines.push(format!("exports lost: {}", named(&lost)));
    }
    if !gained.is_empty() {
        lines.push(format!("exports gained: {}", named(&gained)));
    }
    let other = a.iter().filter_map(|(name, before)| {
        let after = b.get(name)?;
        (before != after).then(|| format!("export {name}: {before} → {after}"))
    });
    lines.extend(other.take(SHOWN));
    lines
}
