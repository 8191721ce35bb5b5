//! What two BTFs say differently: types are matched by what they say, never by id or by where their names lie.
//!
//! A type's entry in the text ([`super::text`]) names the types it refers to, and takes in unnamed ones. So a struct whose
//! member points to a changed struct is itself the same, and what is listed is what changed, not what follows from it.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use super::text::{Entries, head, members, name_or_anon, signature};
use super::wire::{Kind, Type};
use super::{Btf, MAX_TEXT, View};
use crate::artifact::Digest;

/// How much of what is said of a tag it is known by, in bytes.
const TAG: usize = 128;

/// How two BTFs stand to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Relation {
    /// The same bytes.
    Identical,
    /// The same types in the same order; only strings lie elsewhere, or ids of the base are others.
    SameMeaning,
    /// The same types in another order.
    OtherOrder,
    /// Types were added, removed or changed.
    Different,
}

/// How two BTFs differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BtfDiff {
    /// In a word.
    pub relation: Relation,
    /// Number of types of A and of B, without those of a base.
    pub types: (u32, u32),
    /// The order of what both have, if it is another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<OtherOrder>,
    /// Functions of A that B does not describe, sorted, as declared.
    pub functions_lost: Vec<String>,
    /// Functions of B that A does not describe.
    pub functions_gained: Vec<String>,
    /// Other named types, variables and tags that A alone has, sorted, a line each.
    pub removed: Vec<String>,
    /// Those that B alone has.
    pub added: Vec<String>,
    /// Types of one kind and name that say something else.
    pub changed: Vec<TypeChange>,
    /// Types without a name, by kind, that A alone and that B alone has: pointers, arrays, prototypes and the like, which follow
    /// from what uses them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub unnamed: BTreeMap<String, (u32, u32)>,
}

/// The order of the types that both have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OtherOrder {
    /// How many would have to move, at the least.
    pub moved: u32,
    /// Of how many.
    pub of: u32,
    /// The first type of B that A has elsewhere.
    pub first: String,
    /// Its place in the section of A and of B, from 1.
    pub places: (u32, u32),
}

/// A type that both have, and that says something else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TypeChange {
    /// The kind, as bpftool calls it.
    pub kind: String,
    /// The name.
    pub name: String,
    /// The size in A and in B, in bytes, if it is another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<(u32, u32)>,
    /// What changed, a line each.
    pub lines: Vec<String>,
}

impl BtfDiff {
    /// Compares A with B.
    #[must_use]
    pub fn of(a: &Btf, b: &Btf) -> Self {
        let types = (a.wire.len(), b.wire.len());
        let mut diff = Self {
            relation: Relation::Identical,
            types,
            order: None,
            functions_lost: Vec::new(),
            functions_gained: Vec::new(),
            removed: Vec::new(),
            added: Vec::new(),
            changed: Vec::new(),
            unnamed: BTreeMap::new(),
        };
        if a.wire.bytes() == b.wire.bytes() && a.same_base(b) {
            return diff;
        }
        let (a, b) = (a.view(), b.view());
        let (mine, theirs) = rayon::join(|| digests(&a), || digests(&b));
        let matched = Matched::of(&mine, &theirs);
        diff.order = other_order(&b, &matched.pairs);
        diff.leftovers(&a, &b, &matched);
        diff.relation = match &diff.order {
            _ if !matched.only_a.is_empty() || !matched.only_b.is_empty() || a.own.unread() != b.own.unread() => {
                Relation::Different
            }
            Some(_) => Relation::OtherOrder,
            None => Relation::SameMeaning,
        };
        diff
    }

    /// Whether B describes all functions that A does, in the same way.
    #[must_use]
    pub fn keeps_functions(&self) -> bool {
        self.functions_lost.is_empty() && !self.changed.iter().any(|change| change.kind == "func")
    }

    fn leftovers(&mut self, a: &View<'_>, b: &View<'_>, matched: &Matched) {
        // By place in the sections of A and of B.
        let mut named: BTreeMap<Key<'_>, (Vec<u32>, Vec<u32>)> = BTreeMap::new();
        let (mut left, mut left_keys) = (MAX_TEXT, MAX_TEXT);
        for (view, all, is_a) in [(a, &matched.only_a, true), (b, &matched.only_b, false)] {
            for index in all {
                let Some(record) = view.own.get(*index) else { continue };
                match key(view, &record, &mut left_keys) {
                    Some(key) => {
                        let sides = named.entry(key).or_default();
                        if is_a { sides.0.push(*index) } else { sides.1.push(*index) }
                    }
                    None => {
                        let counts = self.unnamed.entry(record.kind.label().into()).or_default();
                        if is_a { counts.0 += 1 } else { counts.1 += 1 }
                    }
                }
            }
        }
        for (_, (mine, theirs)) in named {
            let both = mine.len().min(theirs.len());
            for (mine, theirs) in mine.iter().zip(&theirs) {
                if let (Some(x), Some(y)) = (a.own.get(*mine), b.own.get(*theirs)) {
                    self.changed.push(change_within(&mut left, a, &x, b, &y));
                }
            }
            for (view, rest, functions, others) in [
                (a, &mine[both..], &mut self.functions_lost, &mut self.removed),
                (b, &theirs[both..], &mut self.functions_gained, &mut self.added),
            ] {
                for record in rest.iter().filter_map(|index| view.own.get(*index)) {
                    let line = line_within(&mut left, || head(view, &record));
                    if record.kind == Kind::Func { functions.push(line) } else { others.push(line) }
                }
            }
        }
    }

    /// For people, a line each: what matters most first, at most `most` of each kind.
    #[must_use]
    pub fn lines(&self, most: usize) -> Vec<String> {
        let mut lines = Vec::new();
        match self.relation {
            Relation::Identical => return vec!["identical".into()],
            Relation::SameMeaning => {
                return vec!["same types in the same order; only ids of the base or places of strings differ".into()];
            }
            Relation::OtherOrder => lines.push("same types in another order".to_owned()),
            Relation::Different => {}
        }
        let mut list = |what: &str, all: &[String]| {
            if all.is_empty() {
                return;
            }
            lines.push(format!("{}: {}", what, all.len()));
            lines.extend(all.iter().take(most).map(|line| format!("  {line}")));
            lines.extend((all.len() > most).then(|| format!("  and {} more", all.len() - most)));
        };
        list("functions that lost their BTF", &self.functions_lost);
        list("functions that gained BTF", &self.functions_gained);
        list("removed", &self.removed);
        list("added", &self.added);
        if !self.changed.is_empty() {
            lines.push(format!("changed: {}", self.changed.len()));
        }
        for change in self.changed.iter().take(most) {
            let size = change.size.map_or(String::new(), |(a, b)| format!(": {a} → {b} bytes"));
            lines.push(format!("  {} {}{size}", change.kind, change.name));
            lines.extend(change.lines.iter().take(most).map(|line| format!("    {line}")));
            let left = change.lines.len().saturating_sub(most);
            lines.extend((left > 0).then(|| format!("    and {left} more")));
        }
        let left = self.changed.len().saturating_sub(most);
        lines.extend((left > 0).then(|| format!("  and {left} more")));
        if let Some(order) = &self.order {
            let (a, b) = order.places;
            lines.push(format!(
                "order: {} of {} types stand elsewhere, the first `{}`: number {a} in A, {b} in B",
                order.moved, order.of, order.first
            ));
        }
        if !self.unnamed.is_empty() {
            let count = |(kind, (a, b)): (&String, &(u32, u32))| match (a, b) {
                (a, 0) => format!("{a} {kind} in A alone"),
                (0, b) => format!("{b} {kind} in B alone"),
                (a, b) => format!("{a} {kind} in A and {b} in B alone"),
            };
            let counts: Vec<String> = self.unnamed.iter().map(count).collect();
            lines.push(format!("types without a name: {}", counts.join(", ")));
        }
        if lines.is_empty() {
            lines.push("records of a kind that is not known differ".into());
        }
        lines
    }
}

/// A digest of every type's entry, in the order of the section.
fn digests(view: &View<'_>) -> Vec<Digest> {
    let mut entries = Entries::new(view, MAX_TEXT);
    view.own.iter().map(|record| Digest::of(entries.next(&record).as_bytes())).collect()
}

/// Which types of A and B say the same, by their places in the sections, from 0.
struct Matched {
    /// By the place in B.
    pairs: Vec<(u32, u32)>,
    only_a: Vec<u32>,
    only_b: Vec<u32>,
}

impl Matched {
    fn of(a: &[Digest], b: &[Digest]) -> Self {
        // Places of equal types of A, the last first.
        let mut places: HashMap<Digest, Vec<u32>> = HashMap::with_capacity(a.len());
        // A section has no more types than a `u32` can number.
        for (index, digest) in (0..a.len() as u32).zip(a).rev() {
            places.entry(*digest).or_default().push(index);
        }
        let (mut pairs, mut only_b) = (Vec::with_capacity(b.len()), Vec::new());
        for (index, digest) in (0..).zip(b) {
            match places.get_mut(digest).and_then(Vec::pop) {
                Some(mine) => pairs.push((mine, index)),
                None => only_b.push(index),
            }
        }
        let mut only_a: Vec<u32> = places.into_values().flatten().collect();
        only_a.sort_unstable();
        Self { pairs, only_a, only_b }
    }
}

/// The fewest types that have to move: all but a longest rising sequence of A's places (patience sorting).
fn other_order(b: &View<'_>, pairs: &[(u32, u32)]) -> Option<OtherOrder> {
    let mut tails: Vec<u32> = Vec::new();
    for (mine, _) in pairs {
        let at = tails.partition_point(|tail| tail < mine);
        match tails.get_mut(at) {
            Some(tail) => *tail = *mine,
            None => tails.push(*mine),
        }
    }
    let moved = pairs.len() - tails.len();
    if moved == 0 {
        return None;
    }
    // The first that does not follow in A on what it follows in B.
    let mut sorted: Vec<u32> = pairs.iter().map(|(mine, _)| *mine).collect();
    sorted.sort_unstable();
    let (first, _) = pairs.iter().zip(&sorted).find(|((mine, _), want)| mine != *want)?;
    let record = b.own.get(first.1)?;
    Some(OtherOrder {
        // Both are numbers of types, which are no more than `u32`s.
        moved: moved as u32,
        of: pairs.len() as u32,
        first: head(b, &record),
        places: (first.0 + 1, first.1 + 1),
    })
}

/// Kind and name, in the order in which changes are told.
type Key<'v> = (&'static str, Cow<'v, [u8]>);

/// By what a type is known in both. Types without a name have none, but for enumerations, whose first value
/// has one; and tags for which nothing is left of what is made in all.
fn key<'v>(view: &View<'v>, record: &Type<'_>, left: &mut usize) -> Option<Key<'v>> {
    use Kind::*;
    let kind = match record.kind {
        Func => "0 func",
        Struct => "1 struct",
        Union => "1 union",
        Enum | Enum64 => "2 enum",
        Typedef => "3 typedef",
        Var => "4 var",
        Datasec => "5 datasec",
        Int | Float => "6 number",
        Fwd => "7 fwd",
        DeclTag => return Some(("8 decl_tag", tag(view, record, left)?)),
        TypeTag => return Some(("9 type_tag", tag(view, record, left)?)),
        Ptr | Array | Volatile | Const | Restrict | FuncProto | Unknown(_) => return None,
    };
    if record.name != 0 {
        return Some((kind, Cow::Borrowed(view.name(record.name)?)));
    }
    let first = match record.kind {
        Enum => record.elements::<2>().next().map(|[name, _]| name),
        Enum64 => record.elements::<3>().next().map(|[name, ..]| name),
        _ => None,
    };
    Some((kind, Cow::Borrowed(view.name(first?)?)))
}

/// By what a tag is known: the beginning of what is said of it, and a digest of all.
fn tag<'v>(view: &View<'v>, record: &Type<'_>, left: &mut usize) -> Option<Cow<'v, [u8]>> {
    if *left == 0 {
        return None;
    }
    let mut line = head(view, record).into_bytes();
    *left = left.saturating_sub(line.len());
    let digest = Digest::of(&line);
    line.truncate(TAG);
    line.extend_from_slice(&digest.0);
    Some(Cow::Owned(line))
}

/// What `line` makes, while something is left of what is told in all; then only that there is something.
fn line_within(left: &mut usize, line: impl FnOnce() -> String) -> String {
    if *left == 0 {
        return "…".to_owned();
    }
    let line = line();
    *left = left.saturating_sub(line.len());
    line
}

/// As [`line_within`].
fn change_within(left: &mut usize, a: &View<'_>, x: &Type<'_>, b: &View<'_>, y: &Type<'_>) -> TypeChange {
    if *left == 0 {
        return TypeChange { kind: y.kind.label().into(), name: "…".to_owned(), size: None, lines: Vec::new() };
    }
    let change = change(a, x, b, y);
    // What is compared takes more than what is told of it.
    let compared = 4 * (x.tail().len() + y.tail().len());
    *left = left.saturating_sub(compared + change.name.len() + change.lines.iter().map(String::len).sum::<usize>());
    change
}

fn change(a: &View<'_>, x: &Type<'_>, b: &View<'_>, y: &Type<'_>) -> TypeChange {
    use Kind::*;
    let sized = |kind| matches!(kind, Struct | Union | Enum | Enum64 | Int | Float | Datasec);
    let size = (sized(x.kind) && sized(y.kind) && x.word != y.word).then_some((x.word, y.word));
    let mut lines = Vec::new();
    if x.kind != y.kind {
        lines.push(format!("{} → {}", x.kind.label(), y.kind.label()));
    }
    match (x.kind, y.kind) {
        (Struct, Struct) | (Union, Union) | (Enum | Enum64, Enum | Enum64) | (Datasec, Datasec) => {
            member_lines(&members(a, x), &members(b, y), &mut lines);
        }
        (Func, Func) => function_lines(a, x, b, y, &mut lines),
        _ => {}
    }
    if lines.is_empty() && size.is_none() {
        lines.push(format!("- {}", head(a, x)));
        lines.push(format!("+ {}", head(b, y)));
    }
    TypeChange { kind: y.kind.label().into(), name: name_or_anon(b, y.name).into(), size, lines }
}

/// A member, enumerator or variable of a section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member {
    /// Its name; of one without, its type.
    pub(super) name: String,
    /// Its type, or the value.
    pub(super) what: String,
    /// Where it is, as text; empty of enumerators.
    pub(super) place: String,
}

fn member_lines(a: &[Member], b: &[Member], lines: &mut Vec<String>) {
    fn index(all: &[Member]) -> HashMap<&str, &Member> {
        all.iter().map(|member| (member.name.as_str(), member)).collect()
    }
    let (in_a, in_b) = (index(a), index(b));
    let told = |member: &Member| match member.place.as_str() {
        "" => format!("{}: {}", member.name, member.what),
        place => format!("{}: {} {place}", member.name, member.what),
    };
    lines.extend(a.iter().filter(|it| !in_b.contains_key(it.name.as_str())).map(|it| format!("- {}", told(it))));
    lines.extend(b.iter().filter(|it| !in_a.contains_key(it.name.as_str())).map(|it| format!("+ {}", told(it))));
    let mut moved: Vec<(&Member, &Member)> = Vec::new();
    for member in b {
        let Some(before) = in_a.get(member.name.as_str()) else { continue };
        if before.what != member.what {
            lines.push(format!("{}: {} → {}", member.name, before.what, member.what));
        } else if before.place != member.place {
            moved.push((before, member));
        }
    }
    if let Some((before, now)) = moved.first() {
        let more = match moved.len() - 1 {
            0 => String::new(),
            left => format!(", and {left} more with it"),
        };
        lines.push(format!("{} moves: {} → {}{more}", now.name, before.place, now.place));
    }
    if lines.is_empty() && a != b {
        lines.push("the same in another order".into());
    }
}

fn function_lines(a: &View<'_>, x: &Type<'_>, b: &View<'_>, y: &Type<'_>, lines: &mut Vec<String>) {
    let (before, now) = (signature(a, x), signature(b, y));
    let (Some(before), Some(now)) = (before, now) else { return };
    if before.parameters.len() == now.parameters.len() {
        for (number, (mine, theirs)) in (1..).zip(before.parameters.iter().zip(&now.parameters)) {
            if mine != theirs {
                lines.push(format!("parameter {number}: {mine} → {theirs}"));
            }
        }
    } else {
        lines.push(format!("parameters: ({}) → ({})", before.parameters.join(", "), now.parameters.join(", ")));
    }
    if before.returns != now.returns {
        lines.push(format!("returns: {} → {}", before.returns, now.returns));
    }
    if x.vlen != y.vlen {
        lines.push(format!("linkage: {} → {}", super::text::linkage(x.vlen), super::text::linkage(y.vlen)));
    }
}
