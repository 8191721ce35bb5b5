//! `.BTF_ids`: lists and sets of type ids that a kernel or module carries, e.g. of its kfuncs with their flags.
//!
//! Source: `include/linux/btf_ids.h` and `tools/bpf/resolve_btfids/main.c`. The section is plain words; only symbols say what
//! they are: `__BTF_ID__set__NAME` and `__BTF_ID__set8__NAME` span a set with its count, `__BTF_ID__KIND__NAME__UNIQUE` names the
//! type that a word stands for, any other symbol is where a list begins. resolve_btfids sorts a set in place: what an entry of
//! a set stands for is told by its id alone, never by the symbol at its place.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap, HashSet};

use object::{Object as _, ObjectSection as _, ObjectSymbol as _};
use serde::Serialize;

use super::text::name_or_anon;
use super::{Btf, View};
use crate::artifact::elf;
use crate::artifact::walk::escape_bytes;

/// The section's name.
const SECTION: &str = ".BTF_ids";
/// Words of a section that are read; a vmlinux has some thousand.
const MOST: usize = 1 << 20;
/// The most that names of symbols and of types are in all, in bytes: symbols and ids that lie may share a long one.
const MOST_NAMES: usize = 16 << 20;

/// What an entry of `.BTF_ids` belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum IdKind {
    /// `BTF_ID_LIST`: in the order of the source.
    List,
    /// `BTF_SET`: sorted by id.
    Set,
    /// `BTF_SET8`: sorted by id, with flags (`KF_ACQUIRE` and the like of kfuncs).
    Set8,
}

impl IdKind {
    /// As the section's macros call it, in small letters.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Set => "set",
            Self::Set8 => "set8",
        }
    }
}

/// One id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Id {
    /// The id; 0 was not resolved.
    pub id: u32,
    /// The type's name, or what the symbol says of one that was not resolved; `#ID` where nothing is known.
    pub name: String,
    /// Flags of an entry of a `BTF_SET8`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flags: Option<u32>,
}

/// A list or a set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ids {
    /// What it is.
    pub kind: IdKind,
    /// The name that the source gives it; empty of words that no symbol names.
    pub name: String,
    /// Flags of a whole `BTF_SET8`: 1 says that it holds kfuncs (`BTF_SET8_KFUNCS`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flags: Option<u32>,
    /// What is in it.
    pub ids: Vec<Id>,
    /// What is wrong with it, e.g. a count beyond its size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// A symbol in the section.
struct Symbol {
    name: String,
    offset: usize,
    size: usize,
}

/// The lists and sets of an ELF file, in the order of the section; none without the section. Without `btf`, or where it does
/// not know an id, ids stay numbers.
///
/// # Errors
/// Why the file cannot be read, in a clause.
pub fn ids(elf: &[u8], btf: Option<&Btf>) -> Result<Vec<Ids>, String> {
    let file = object::File::parse(elf).map_err(|error| error.to_string())?;
    let Some(index) = elf::find(elf, SECTION)? else { return Ok(Vec::new()) };
    let section = file.section_by_index(object::SectionIndex(index)).map_err(|error| error.to_string())?;
    let bytes = section.data().map_err(|error| error.to_string())?;
    if bytes.len() / 4 > MOST {
        return Err(format!("{SECTION} of {} bytes", bytes.len()));
    }
    let big_endian = !file.is_little_endian();
    let words: Vec<u32> = bytes
        .chunks_exact(4)
        .map(|word| {
            let word = word.try_into().unwrap_or_default();
            if big_endian { u32::from_be_bytes(word) } else { u32::from_le_bytes(word) }
        })
        .collect();
    let mut symbols: Vec<Symbol> = Vec::new();
    let mut left = MOST_NAMES;
    for symbol in file.symbols().filter(|symbol| symbol.section_index() == Some(section.index())) {
        let Ok(name) = symbol.name_bytes() else { continue };
        left = left.checked_sub(name.len()).ok_or_else(|| {
            format!("the names of symbols of {SECTION} up to number {} lie over each other", symbol.index().0)
        })?;
        // Of a relocatable file section addresses are 0.
        let offset = symbol.address().checked_sub(section.address()).and_then(|offset| usize::try_from(offset).ok());
        let Some(offset) = offset.filter(|_| !name.is_empty()) else { continue };
        symbols.push(Symbol { name: escape_bytes(name), offset, size: usize::try_from(symbol.size()).unwrap_or(0) });
    }
    symbols.sort_by(|a, b| (a.offset, &a.name).cmp(&(b.offset, &b.name)));
    let view = btf.map(Btf::view);
    Ok(Reading { words, symbols, view, left: Cell::new(MOST_NAMES) }.all())
}

struct Reading<'a> {
    words: Vec<u32>,
    symbols: Vec<Symbol>,
    view: Option<View<'a>>,
    /// What names of types may still take.
    left: Cell<usize>,
}

impl Reading<'_> {
    fn all(&self) -> Vec<Ids> {
        let sets = self.symbols.iter().filter_map(|symbol| {
            let set8 = symbol.name.strip_prefix("__BTF_ID__set8__").map(|name| (IdKind::Set8, name));
            let set = symbol.name.strip_prefix("__BTF_ID__set__").map(|name| (IdKind::Set, name));
            let (kind, name) = set8.or(set)?;
            Some((symbol.offset / 4, symbol.offset.saturating_add(symbol.size).div_ceil(4), kind, name))
        });
        let mut sets: Vec<(usize, usize, IdKind, &str)> = sets.collect();
        sets.sort_by_key(|(start, ..)| *start);
        let mut found = Vec::new();
        let mut at = 0;
        for (start, end, kind, name) in sets {
            let (start, end) = (start.clamp(at, self.words.len()), end.clamp(at, self.words.len()));
            self.lists(at, start, &mut found);
            found.push(self.set(start, end.max(start), kind, name));
            at = end.max(start);
        }
        self.lists(at, self.words.len(), &mut found);
        found
    }

    fn set(&self, start: usize, end: usize, kind: IdKind, name: &str) -> Ids {
        let words = self.words.get(start..end).unwrap_or_default();
        let (header, each) = if kind == IdKind::Set8 { (2, 2) } else { (1, 1) };
        let count = words.first().map_or(0, |count| *count as usize);
        let entries = words.get(header..).unwrap_or_default().chunks_exact(each);
        let there = entries.len();
        let problem =
            (count != there).then(|| format!("it says that it has {count} entries, and has room for {there}"));
        let id = |entry: &[u32]| self.id(entry[0], None, entry.get(1).copied());
        Ids {
            kind,
            name: name.to_owned(),
            flags: (kind == IdKind::Set8).then(|| words.get(1).copied().unwrap_or(0)),
            ids: entries.take(count).map(id).collect(),
            problem,
        }
    }

    /// The words outside of sets, by the lists that begin there.
    fn lists(&self, start: usize, end: usize, found: &mut Vec<Ids>) {
        let mut list: Option<Ids> = None;
        for at in start..end {
            let mut here = self.symbols[self.symbols.partition_point(|symbol| symbol.offset < at * 4)..]
                .iter()
                .take_while(|symbol| symbol.offset == at * 4);
            let label = here.clone().find(|symbol| !symbol.name.starts_with("__BTF_ID__"));
            let entry = here.find_map(|symbol| stands_for(&symbol.name));
            if label.is_some() || list.is_none() {
                found.extend(list.take());
                let name = label.map(|symbol| symbol.name.clone()).unwrap_or_default();
                list = Some(Ids { kind: IdKind::List, name, flags: None, ids: Vec::new(), problem: None });
            }
            if let Some(list) = &mut list {
                list.ids.push(self.id(self.words[at], entry, None));
            }
        }
        found.extend(list);
    }

    fn id(&self, id: u32, symbol: Option<&str>, flags: Option<u32>) -> Id {
        let known = self.view.as_ref().and_then(|view| {
            let name = view
                .get(id)
                .filter(|_| self.left.get() > 0)
                .map(|record| name_or_anon(view, record.name).into_owned())?;
            self.left.set(self.left.get().saturating_sub(name.len()));
            Some(name)
        });
        let name = known.or_else(|| symbol.map(str::to_owned)).unwrap_or_else(|| format!("#{id}"));
        Id { id, name, flags }
    }
}

/// `name` of `__BTF_ID__func__name__123`.
fn stands_for(symbol: &str) -> Option<&str> {
    let (_, rest) = symbol.strip_prefix("__BTF_ID__")?.split_once("__")?;
    let (name, unique) = rest.rsplit_once("__")?;
    unique.bytes().all(|byte| byte.is_ascii_digit()).then_some(name)
}

/// How two files' lists and sets differ, a line for each id; ids that are others and mean the same are no difference.
#[must_use]
pub fn diff_ids(a: &[Ids], b: &[Ids]) -> Vec<String> {
    let mut lines = Vec::new();
    let (in_a, in_b) = (by_name(a), by_name(b));
    for (key @ (kind, name, _), mine) in &in_a {
        let what = told(*kind, name);
        match in_b.get(key) {
            None => lines.push(format!("{what} is gone")),
            Some(theirs) => differ(&what, mine, theirs, &mut lines),
        }
    }
    let new = in_b.keys().filter(|key| !in_a.contains_key(key));
    lines.extend(new.map(|(kind, name, _)| format!("{} is new", told(*kind, name))));
    lines
}

/// Of several that have one name the first goes with the first.
fn by_name(all: &[Ids]) -> BTreeMap<(IdKind, &str, usize), &Ids> {
    let mut found: BTreeMap<(IdKind, &str, usize), &Ids> = BTreeMap::new();
    let mut before: HashMap<(IdKind, &str), usize> = HashMap::new();
    for ids in all {
        let before = before.entry((ids.kind, &ids.name)).or_default();
        found.insert((ids.kind, &ids.name, *before), ids);
        *before += 1;
    }
    found
}

fn told(kind: IdKind, name: &str) -> String {
    let kind = kind.name();
    if name.is_empty() { format!("a {kind} without a name") } else { format!("{kind} {name}") }
}

/// A name is there once, for it is one function; of several that have one, as types without a name do, the first goes with the
/// first.
fn numbered(ids: &[Id]) -> Vec<((&str, usize), &Id)> {
    let mut before: HashMap<&str, usize> = HashMap::new();
    let mut all = Vec::with_capacity(ids.len());
    for id in ids {
        let number = before.entry(&id.name).or_default();
        *number += 1;
        all.push(((id.name.as_str(), *number), id));
    }
    all
}

fn differ(what: &str, a: &Ids, b: &Ids, lines: &mut Vec<String>) {
    if a.flags != b.flags {
        let flags = |ids: &Ids| ids.flags.unwrap_or(0);
        lines.push(format!("{what}: flags of the set {:#x} → {:#x}", flags(a), flags(b)));
    }
    if a.problem != b.problem {
        lines.extend(b.problem.iter().map(|problem| format!("{what}: {problem}")));
    }
    let before = lines.len();
    let (mine, theirs) = (numbered(&a.ids), numbered(&b.ids));
    let there: HashMap<(&str, usize), &Id> = theirs.iter().copied().collect();
    let here: HashSet<(&str, usize)> = mine.iter().map(|(key, _)| *key).collect();
    let gone = mine.iter().filter(|(key, _)| !there.contains_key(key));
    lines.extend(gone.map(|(_, id)| format!("{what}: {} is gone", id.name)));
    let new = theirs.iter().filter(|(key, _)| !here.contains(key));
    lines.extend(new.map(|(_, id)| format!("{what}: {} is new", id.name)));
    for (key, id) in &mine {
        if let (Some(before), Some(now)) = (id.flags, there.get(key).and_then(|id| id.flags))
            && before != now
        {
            lines.push(format!("{what}: {}: flags {before:#x} → {now:#x}", id.name));
        }
    }
    if lines.len() == before && !a.ids.iter().map(|id| &id.name).eq(b.ids.iter().map(|id| &id.name)) {
        lines.push(format!("{what}: the same in another order"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn symbol(name: &str, word: usize, words: usize) -> Symbol {
        Symbol { name: name.into(), offset: word * 4, size: words * 4 }
    }

    /// A list of two, a set of two, and a set of two with flags, as resolve_btfids has sorted it.
    fn read(pairs: [[u32; 2]; 2]) -> Vec<Ids> {
        let [[first, flags], [second, others]] = pairs;
        let words = vec![7, 0, 2, 3, 9, 2, 1, first, flags, second, others];
        let symbols = vec![
            symbol("__BTF_ID__struct__task__1", 0, 1),
            symbol("a_list", 0, 0),
            symbol("__BTF_ID__struct__gone__2", 1, 1),
            symbol("__BTF_ID__set__plain", 2, 3),
            symbol("__BTF_ID__set8__kfuncs", 5, 6),
            symbol("__BTF_ID__func__other__3", 7, 1),
        ];
        Reading { words, symbols, view: None, left: Cell::new(MOST_NAMES) }.all()
    }

    #[test]
    fn symbols_say_what_words_are() {
        let all = read([[10, 0x20], [11, 0x40]]);
        let told = |ids: &Ids| {
            let names: Vec<&str> = ids.ids.iter().map(|id| id.name.as_str()).collect();
            format!("{:?} {} {:?}: {}", ids.kind, ids.name, ids.flags, names.join(" "))
        };
        let told: Vec<String> = all.iter().map(told).collect();
        assert_eq!(told, ["List a_list None: task gone", "Set plain None: #3 #9", "Set8 kfuncs Some(1): #10 #11"]);
        assert_eq!(all[2].ids[1], Id { id: 11, name: "#11".into(), flags: Some(0x40) });
    }

    #[test]
    fn flags_that_moved_are_told_by_function() {
        let (a, b) = (read([[10, 0x20], [11, 0x40]]), read([[10, 0x40], [11, 0x20]]));
        assert_eq!(diff_ids(&a, &a), [""; 0]);
        assert_eq!(diff_ids(&a, &b), ["set8 kfuncs: #10: flags 0x20 → 0x40", "set8 kfuncs: #11: flags 0x40 → 0x20"]);
        assert_eq!(diff_ids(&a, &read([[11, 0x40], [10, 0x20]])), ["set8 kfuncs: the same in another order"]);
        assert_eq!(diff_ids(&a, &a[..2]), ["set8 kfuncs is gone"]);
    }

    #[test]
    fn a_count_that_lies_is_told_and_nothing_beyond_is_read() {
        let symbols = vec![symbol("__BTF_ID__set8__x", 0, 1 << 20), symbol("__BTF_ID__set__y", 1, 9)];
        let all = Reading { words: vec![u32::MAX, 0, 1, 2], symbols, view: None, left: Cell::new(MOST_NAMES) }.all();
        assert_eq!(all[0].problem.as_deref(), Some("it says that it has 4294967295 entries, and has room for 1"));
        assert_eq!((all[0].ids.len(), all.len()), (1, 2));
    }
}
