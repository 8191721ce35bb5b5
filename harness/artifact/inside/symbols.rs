//! Symbol tables: what came, what went, what is another; and what a module or the kernel exports by them.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read, Seek};

use object::elf::{SymbolBind, SymbolType};

use super::super::walk::escape_bytes;
use super::headers::{Order, Side};
use super::{SHOWN, change, count, named, thousands};

/// Longer names are told by their beginning: twice `KSYM_NAME_LEN` (`include/linux/kallsyms.h`).
const MAX_NAME: usize = 1024;
/// How often a byte of the names may belong to a symbol: linkers share the ends of names, and many static
/// symbols have one name.
const SHARED: usize = 16;
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
        let mut left = table.strings.len().saturating_mul(SHARED).saturating_add(MAX_NAME);
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

/// A symbol under its name; ordered so that those of one name lie together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Named<'s> {
    name: &'s [u8],
    facts: Facts<'s>,
    value: u64,
}

/// Sorted, in one piece: a vmlinux has some hundred thousand.
fn by_name<'s, R: Read + Seek>(side: &'s Side<'_, R>, table: &'s Table) -> Vec<Named<'s>> {
    // Section symbols have no name and follow from the sections.
    let symbols = table.symbols.iter().skip(1).filter(|symbol| symbol.kind != STT_SECTION);
    let named = |symbol: &Symbol| Named {
        name: table.name(symbol),
        facts: Facts {
            bind: symbol.bind,
            kind: symbol.kind,
            visibility: symbol.visibility,
            size: symbol.size,
            section: side.place(symbol.section),
        },
        value: symbol.value,
    };
    let mut all: Vec<Named<'s>> = symbols.map(named).collect();
    all.sort_unstable();
    all
}

/// How many there are, and the first of them in words.
#[derive(Default)]
struct List {
    count: usize,
    shown: Vec<String>,
}

impl List {
    fn push(&mut self, told: impl FnOnce() -> String) {
        self.count += 1;
        if self.shown.len() < SHOWN {
            self.shown.push(told());
        }
    }

    fn extend(&mut self, symbols: &[Named<'_>]) {
        symbols.iter().for_each(|symbol| self.push(|| format!("{} ({})", escape_bytes(symbol.name), symbol.facts)));
    }
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
    let (mut gone, mut new, mut other) = (List::default(), List::default(), List::default());
    let same_name = |x: &Named<'_>, y: &Named<'_>| x.name == y.name;
    let (mut groups_a, mut groups_b) = (in_a.chunk_by(same_name).peekable(), in_b.chunk_by(same_name).peekable());
    loop {
        let (before, after) = match (groups_a.peek(), groups_b.peek()) {
            (Some(x), Some(y)) if x[0].name == y[0].name => (groups_a.next(), groups_b.next()),
            (Some(x), Some(y)) if x[0].name > y[0].name => (None, groups_b.next()),
            (Some(_), _) => (groups_a.next(), None),
            (None, _) => (None, groups_b.next()),
        };
        match (before.unwrap_or_default(), after.unwrap_or_default()) {
            ([], []) => break,
            (before, []) => gone.extend(before),
            ([], after) => new.extend(after),
            (before, after) if before.iter().map(|s| &s.facts).eq(after.iter().map(|s| &s.facts)) => {
                moved += before.iter().zip(after).filter(|(x, y)| x.value != y.value).count();
            }
            (before, after) => other.push(|| changed(before, after)),
        }
    }
    for (what, sign, list) in [("only in A", '-', gone), ("only in B", '+', new), ("changed", ' ', other)] {
        if list.count == 0 {
            continue;
        }
        lines.push(format!("{} {what}:", count(list.count, "symbol")));
        lines.extend(list.shown.iter().map(|name| format!("{sign} {name}")));
        if list.count > list.shown.len() {
            lines.push(format!("  and {} more", thousands((list.count - list.shown.len()) as u64)));
        }
    }
    if moved > 0 {
        lines.push(format!("{} at another address", count(moved, "symbol")));
    }
    if lines.is_empty() {
        let names_a = table_a.symbols.iter().map(|symbol| table_a.name(symbol));
        let names_b = table_b.symbols.iter().map(|symbol| table_b.name(symbol));
        lines.push(match names_a.eq(names_b) {
            true => "the same symbols, whose names stand elsewhere in the string table".to_owned(),
            false => "the same symbols in another order".to_owned(),
        });
    }
    Ok(Ok(lines))
}

fn changed(before: &[Named<'_>], after: &[Named<'_>]) -> String {
    let name = before.first().map_or(String::new(), |symbol| escape_bytes(symbol.name));
    let ([x], [y]) = (before, after) else {
        // Static symbols of one name, in several files or scopes: which is which cannot be told.
        return format!("{name}: {} in A, {} in B, with other sizes or sections", before.len(), after.len());
    };
    let (x, y) = (&x.facts, &y.facts);
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
fn exports(a: &[Named<'_>], b: &[Named<'_>]) -> Vec<String> {
    fn of(names: &[Named<'_>]) -> BTreeMap<String, String> {
        let export = |symbol: &Named<'_>| {
            let name = symbol.name.strip_prefix(b"__ksymtab_")?;
            // `___ksymtab_gpl+name` of an object is merged into `__ksymtab_gpl` of a module
            let section = symbol.facts.section;
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
