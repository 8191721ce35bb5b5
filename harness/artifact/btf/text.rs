//! BTF as text: one line per type, one more per member, ids replaced by names.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;
use sha2::{Digest as _, Sha256};

use super::diff::Member;
use super::wire::{Kind, Type};
use super::{MAX_TEXT, View};
use crate::artifact::Digest;
use crate::artifact::walk::{escape_bytes, escaped};

/// How many types are made text of at once.
const CHUNK: u32 = 2048;
/// How deep a reference is followed. Modifier chains in C are short; only loops are longer.
const MAX_DEPTH: u32 = 24;
/// How long one reference may become, in bytes, before anonymous types inside it are cut short with `…`; each
/// of them has its own entry in the section anyway.
const MAX_REFERENCE: usize = 2048;
/// How long one entry may become, in bytes, before its elements are cut short with `…`. The largest of a real
/// kernel have some 100 KB; only made-up BTF has more, and must not eat the memory.
const MAX_ENTRY: usize = 1 << 20;
/// How long the parameters of a function may become: any number of functions may share a prototype, which has its own entry.
const MAX_SIGNATURE: usize = 2 * MAX_REFERENCE;

/// The text of every type, and what is counted and hashed along the way.
pub(super) struct Rendered {
    /// All types, in the order of the section, in pieces; empty when only digests were asked for.
    text: Vec<String>,
    /// SHA-256 over the sorted digests of the types' texts: the same for any order.
    content: Digest,
    /// SHA-256 over the digests in order.
    pub(super) order: Digest,
    kinds: BTreeMap<Kind, u32>,
    /// Tag → the functions that carry it.
    tagged: BTreeMap<String, Vec<String>>,
}

/// What becomes of some of the types, one after the other.
#[derive(Default)]
struct Chunk {
    text: String,
    digests: Vec<Digest>,
    kinds: BTreeMap<Kind, u32>,
    tagged: Vec<(String, String)>,
}

impl Chunk {
    /// Types of these indices; none where there is more of all than is of use.
    fn of(view: &View<'_>, types: Range<u32>, keep: bool, made: &AtomicUsize) -> Option<Self> {
        let mut chunk = Self::default();
        let mut entry = String::new();
        for record in types.filter_map(|index| view.own.get(index)) {
            entry.clear();
            write_type(view, &record, &mut entry);
            let mut size = entry.len();
            *chunk.kinds.entry(record.kind).or_default() += 1;
            if let Some((tag, function)) = function_tag(view, &record) {
                // These are kept, so they count for more.
                size += 16 * (tag.len() + function.len());
                chunk.tagged.push((tag, function));
            }
            if made.fetch_add(size, Ordering::Relaxed) + size > MAX_TEXT {
                return None;
            }
            chunk.digests.push(Digest::of(entry.as_bytes()));
            if keep {
                chunk.text.push_str(&entry);
            }
        }
        Some(chunk)
    }
}

impl Rendered {
    /// Keeps the text if it is wanted. None where there is more of it than is of use. On all processors, for a vmlinux has 100,000 types.
    pub(super) fn new(view: &View<'_>, keep: bool) -> Option<Self> {
        let made = AtomicUsize::new(0);
        let all = view.own.len();
        let of = |first: u32| first..first.saturating_add(CHUNK).min(all);
        let firsts: Vec<u32> = (0..all).step_by(CHUNK as usize).collect();
        let chunks: Option<Vec<Chunk>> =
            firsts.into_par_iter().map(|first| Chunk::of(view, of(first), keep, &made)).collect();
        let chunks = chunks?;
        let mut rendered = Self {
            text: Vec::with_capacity(chunks.len()),
            content: Digest::default(),
            order: Digest::default(),
            kinds: BTreeMap::new(),
            tagged: BTreeMap::new(),
        };
        let mut digests = Vec::with_capacity(all as usize);
        for chunk in chunks {
            rendered.text.push(chunk.text);
            digests.extend(chunk.digests);
            for (kind, count) in chunk.kinds {
                *rendered.kinds.entry(kind).or_default() += count;
            }
            for (tag, function) in chunk.tagged {
                rendered.tagged.entry(tag).or_default().push(function);
            }
        }
        // Records that could not be told apart still count: by their bytes, as one.
        if !view.own.unread().is_empty() {
            digests.push(Digest::of(view.own.unread()));
        }
        let hash = |digests: &[Digest]| {
            let mut hash = Sha256::new();
            digests.iter().for_each(|digest| hash.update(digest.0));
            Digest(hash.finalize().into())
        };
        rendered.order = hash(&digests);
        digests.sort_unstable();
        rendered.content = hash(&digests);
        rendered.tagged.values_mut().for_each(|names| names.sort_unstable());
        Some(rendered)
    }
}

/// The header and every type, in pieces: of a vmlinux they come to 12 MB, which need not be copied.
pub(super) fn full(view: &View<'_>, rendered: Rendered) -> Vec<String> {
    let mut pieces = vec![header(view, &rendered) + "\n"];
    pieces.extend(rendered.text);
    let unread = view.own.unread();
    if !unread.is_empty() {
        let (bytes, digest) = (unread.len(), Digest::of(unread));
        pieces.push(format!("unread: {bytes} bytes from a record of unknown kind on, sha256 {digest}\n"));
    }
    pieces
}

/// The header and the tagged functions.
pub(super) fn summary(view: &View<'_>, rendered: &Rendered) -> String {
    let mut out = header(view, rendered);
    for (tag, functions) in &rendered.tagged {
        let _ = writeln!(out, "functions tagged \"{tag}\": {}", functions.len());
        for function in functions {
            let _ = writeln!(out, "  {function}");
        }
    }
    out
}

fn header(view: &View<'_>, rendered: &Rendered) -> String {
    let mut out = String::from(if view.split { "split BTF" } else { "BTF" });
    if view.own.big_endian {
        out.push_str(", big-endian");
    }
    if view.own.flags != 0 {
        let _ = write!(out, ", flags {:#x}", view.own.flags);
    }
    let _ = writeln!(out, ": {} types", view.own.len());
    for (kind, count) in &rendered.kinds {
        let _ = writeln!(out, "  {} {count}", kind.label());
    }
    let _ = writeln!(out, "content {}", rendered.content);
    let _ = writeln!(out, "order   {}", rendered.order);
    out
}

/// `("bpf_kfunc", "bpf_foo")` for a declaration tag on a function as a whole.
fn function_tag(view: &View<'_>, record: &Type<'_>) -> Option<(String, String)> {
    let target = view.get(record.word)?;
    let whole = record.tail_word(0) == u32::MAX;
    if record.kind != Kind::DeclTag || target.kind != Kind::Func || !whole {
        return None;
    }
    Some((name(view, record.name).into(), name(view, target.name).into()))
}

fn name<'a>(view: &View<'a>, offset: u32) -> Cow<'a, str> {
    view.name(offset).map_or(Cow::Borrowed("(name of the base)"), escaped)
}

/// The name, or `(anon)`.
pub(super) fn name_or_anon<'a>(view: &View<'a>, offset: u32) -> Cow<'a, str> {
    if offset == 0 { Cow::Borrowed("(anon)") } else { name(view, offset) }
}

fn reference(view: &View<'_>, id: u32) -> String {
    let mut out = String::new();
    push_reference(view, id, &mut out);
    out
}

/// A type as C would name it, as long as a reference may be.
fn push_reference(view: &View<'_>, id: u32, out: &mut String) {
    let room = Room { depth: 0, end: out.len() + MAX_REFERENCE };
    write_reference(view, id, room, out);
}

/// How much may still be said in one reference.
#[derive(Clone, Copy)]
struct Room {
    /// How many types were followed to here, [`MAX_DEPTH`] at most.
    depth: u32,
    /// How long the text may be before what follows is cut short.
    end: usize,
}

/// One type's own entry with its elements: complete, so that texts differ wherever records do (ids and string offsets aside).
fn write_type(view: &View<'_>, record: &Type<'_>, out: &mut String) {
    write_head(view, record, out);
    out.push('\n');
    write_elements(view, record, out);
    if out.len() > MAX_ENTRY {
        let _ = writeln!(out, "  {} bytes, sha256 {}", record.tail().len(), Digest::of(record.tail()));
    }
}

/// The first line of a type's entry, without its end.
fn write_head(view: &View<'_>, record: &Type<'_>, out: &mut String) {
    use Kind::*;
    let label = record.kind.label();
    let own_name = name_or_anon(view, record.name);
    // Writing to a String cannot fail, here and below.
    let _ = match record.kind {
        Int => {
            let bits = record.tail_word(0);
            let (encoding, offset, width) = (bits >> 24 & 0xf, bits >> 16 & 0xff, bits & 0xff);
            write!(out, "int {own_name}: {} bytes, {width} bits", record.word)
                .and_then(|()| write_if(out, offset != 0, format_args!(" at {offset}")))
                .and_then(|()| write!(out, "{}", encoding_name(encoding)))
        }
        Ptr | Volatile | Const | Restrict => {
            out.push_str(&label);
            out.push_str(" → ");
            push_reference(view, record.word, out);
            Ok(())
        }
        Array => {
            out.push_str("array ");
            write_array(view, record, Room { depth: 0, end: MAX_REFERENCE }, out);
            out.push_str(", index ");
            push_reference(view, record.tail_word(1), out);
            Ok(())
        }
        Struct | Union => write!(out, "{label} {own_name}: {} bytes", record.word)
            .and_then(|()| write_if(out, record.flag, format_args!(", bit fields"))),
        Datasec => write!(out, "datasec {own_name}: {} bytes", record.word),
        Enum | Enum64 => {
            let sign = if record.flag { "signed" } else { "unsigned" };
            write!(out, "{label} {own_name}: {} bytes, {sign}", record.word)
        }
        Fwd => {
            let of = if record.flag { "union" } else { "struct" };
            write!(out, "fwd {of} {own_name}")
        }
        Float => write!(out, "float {own_name}: {} bytes", record.word),
        Typedef => {
            out.push_str("typedef ");
            out.push_str(&own_name);
            out.push_str(" → ");
            push_reference(view, record.word, out);
            Ok(())
        }
        Func => {
            out.push_str("func ");
            match view.get(record.word) {
                Some(proto) if proto.kind == FuncProto => {
                    out.push_str(&own_name);
                    write_signature(view, &proto, None, MAX_SIGNATURE, out);
                }
                _ => {
                    let _ = write!(out, "{own_name}: {}", reference(view, record.word));
                }
            }
            out.push_str(" [");
            out.push_str(&linkage(record.vlen));
            out.push(']');
            Ok(())
        }
        FuncProto => {
            out.push_str("func_proto ");
            write_signature(view, record, None, MAX_ENTRY, out);
            Ok(())
        }
        Var => {
            let linkage = linkage(record.tail_word(0));
            write!(out, "var {own_name}: {} [{linkage}]", reference(view, record.word))
        }
        DeclTag => {
            let component = record.tail_word(0) as i32;
            write!(out, "decl_tag \"{own_name}\" on {}", reference(view, record.word))
                .and_then(|()| write_if(out, component != -1, format_args!(" component {component}")))
        }
        TypeTag => write!(out, "type_tag \"{own_name}\" → {}", reference(view, record.word)),
        Unknown(_) => write!(
            out,
            "{label} {own_name}: word {:#x}, vlen {}, {} bytes, sha256 {}",
            record.word,
            record.vlen,
            record.tail().len(),
            Digest::of(record.tail())
        ),
    };
    write_odd_bits(record, &own_name, out);
}

fn write_if(out: &mut String, when: bool, text: std::fmt::Arguments<'_>) -> std::fmt::Result {
    if when { out.write_fmt(text) } else { Ok(()) }
}

/// What the kernel wants to be zero and the entry does not show otherwise.
fn write_odd_bits(record: &Type<'_>, own_name: &str, out: &mut String) {
    use Kind::*;
    let flag_has_meaning = matches!(record.kind, Struct | Union | Enum | Enum64 | Fwd);
    if record.flag && !flag_has_meaning {
        out.push_str(" kind_flag");
    }
    let vlen_has_meaning =
        matches!(record.kind, Struct | Union | Enum | Enum64 | FuncProto | Datasec | Func | Unknown(_));
    if record.vlen != 0 && !vlen_has_meaning {
        let _ = write!(out, " vlen {}", record.vlen);
    }
    let nameless = matches!(record.kind, Ptr | Array | Volatile | Const | Restrict | FuncProto);
    if nameless && record.name != 0 {
        let _ = write!(out, " named {own_name}");
    }
    if matches!(record.kind, Array | Fwd) && record.word != 0 {
        let _ = write!(out, " word {:#x}", record.word);
    }
}

/// A type's own entry, with a line for each of its elements.
pub(super) fn entry(view: &View<'_>, record: &Type<'_>) -> String {
    let mut out = String::new();
    write_type(view, record, &mut out);
    out
}

/// The first line of a type's entry.
pub(super) fn head(view: &View<'_>, record: &Type<'_>) -> String {
    let mut out = String::new();
    write_head(view, record, &mut out);
    out
}

/// Entries of many types, of which in all no more than so many bytes are made. Of what comes after, the records speak for
/// themselves: in two BTFs whose ids differ they are then others.
pub(super) struct Entries<'v> {
    view: &'v View<'v>,
    left: usize,
}

impl<'v> Entries<'v> {
    pub(super) fn new(view: &'v View<'v>, most: usize) -> Self {
        Self { view, left: most }
    }

    pub(super) fn next(&mut self, record: &Type<'_>) -> String {
        if self.left == 0 {
            let (label, tail) = (record.kind.label(), Digest::of(record.tail()));
            let (name, word, vlen) = (record.name, record.word, record.vlen);
            return format!("{label} at {name:#x}: word {word:#x}, vlen {vlen}, sha256 {tail}\n");
        }
        let entry = entry(self.view, record);
        self.left = self.left.saturating_sub(entry.len());
        entry
    }

    /// A type's name, empty if it has none, and of types that come after what is made in all.
    pub(super) fn name(&mut self, record: &Type<'_>) -> String {
        let name = self.view.name(record.name).filter(|_| self.left > 0).map(escape_bytes).unwrap_or_default();
        self.left = self.left.saturating_sub(name.len());
        name
    }
}

/// A function's parameters and what it returns, as C would say them.
pub(super) struct Signature {
    pub(super) parameters: Vec<String>,
    pub(super) returns: String,
}

/// That of a function; none if its type is no prototype.
pub(super) fn signature(view: &View<'_>, function: &Type<'_>) -> Option<Signature> {
    let proto = view.get(function.word).filter(|proto| proto.kind == Kind::FuncProto)?;
    let parameter = |[name_off, id]: [u32; 2]| {
        if id == 0 && name_off == 0 {
            return "...".to_owned();
        }
        let mut out = reference(view, id);
        push_declared(view, name_off, &mut out);
        out
    };
    let mut left = MAX_SIGNATURE;
    let fits = |told: &String| {
        let fits = left > 0;
        left = left.saturating_sub(told.len());
        fits
    };
    let parameters = proto.elements().map(parameter).take_while(fits).collect();
    Some(Signature { parameters, returns: reference(view, proto.word) })
}

/// The members, enumerators or variables of a type, up to the length of an entry.
pub(super) fn members(view: &View<'_>, record: &Type<'_>) -> Vec<Member> {
    use Kind::*;
    let named = |name_off: u32, what: String, place: String| {
        let name = if name_off == 0 { what.clone() } else { name(view, name_off).into() };
        Member { name, what, place }
    };
    let mut left = MAX_ENTRY;
    let fits = |member: &Member| {
        let fits = left > 0;
        left = left.saturating_sub(member.name.len() + member.what.len());
        fits
    };
    match record.kind {
        Struct | Union => {
            let member = |[name_off, id, place]: [u32; 3]| {
                let (offset, width) = if record.flag { (place & 0x00ff_ffff, place >> 24) } else { (place, 0) };
                let place = if width == 0 { format!("@{offset}") } else { format!("@{offset} width {width}") };
                named(name_off, reference(view, id), place)
            };
            record.elements().map(member).take_while(fits).collect()
        }
        Enum => {
            let value = |[name_off, value]: [u32; 2]| {
                named(name_off, enum_value(record.flag, value).to_string(), String::new())
            };
            record.elements().map(value).take_while(fits).collect()
        }
        Enum64 => {
            let value = |it: [u32; 3]| named(it[0], enum64_value(record.flag, it).to_string(), String::new());
            record.elements().map(value).take_while(fits).collect()
        }
        Datasec => {
            let variable =
                |[id, offset, size]: [u32; 3]| named(0, reference(view, id), format!("@{offset} size {size}"));
            record.elements().map(variable).take_while(fits).collect()
        }
        _ => Vec::new(),
    }
}

/// Members, enumerators and variables, one line each.
fn write_elements(view: &View<'_>, record: &Type<'_>, out: &mut String) {
    use Kind::*;
    match record.kind {
        Struct | Union => write_lines(record.elements(), out, |[name_off, id, place], out| {
            // BTF_MEMBER_BIT_OFFSET and BTF_MEMBER_BITFIELD_SIZE, packed only under kind_flag.
            let (offset, width) = if record.flag { (place & 0x00ff_ffff, place >> 24) } else { (place, 0) };
            out.push_str(&name_or_anon(view, name_off));
            out.push_str(": ");
            push_reference(view, id, out);
            write!(out, " @{offset}")?;
            write_if(out, width != 0, format_args!(" width {width}"))
        }),
        Enum => write_lines(record.elements(), out, |[name_off, value], out| {
            out.push_str(&name_or_anon(view, name_off));
            write!(out, " = {}", enum_value(record.flag, value))
        }),
        Enum64 => write_lines(record.elements(), out, |element: [u32; 3], out| {
            let value = enum64_value(record.flag, element);
            write!(out, "{} = {value}", name_or_anon(view, element[0]))
        }),
        Datasec => write_lines(record.elements(), out, |[id, offset, size], out| {
            push_reference(view, id, out);
            write!(out, " @{offset} size {size}")
        }),
        _ => {}
    }
}

fn write_lines<T>(
    elements: impl Iterator<Item = T>,
    out: &mut String,
    write: impl Fn(T, &mut String) -> std::fmt::Result,
) {
    for element in elements {
        if out.len() > MAX_ENTRY {
            out.push_str("  …\n");
            return;
        }
        out.push_str("  ");
        let _ = write(element, out);
        out.push('\n');
    }
}

pub(super) fn enum_value(signed: bool, value: u32) -> i64 {
    if signed { i64::from(value as i32) } else { i64::from(value) }
}

pub(super) fn enum64_value(signed: bool, [_, low, high]: [u32; 3]) -> i128 {
    let value = u64::from(high) << 32 | u64::from(low);
    if signed { i128::from(value as i64) } else { i128::from(value) }
}

fn encoding_name(encoding: u32) -> String {
    let mut text = String::new();
    for (bit, name) in [(1, ", signed"), (2, ", char"), (4, ", bool"), (8, ", bit 3")] {
        if encoding & bit != 0 {
            text.push_str(name);
        }
    }
    text
}

/// `enum btf_func_linkage` and `BTF_VAR_*` agree on the first three.
pub(super) fn linkage(value: u32) -> Cow<'static, str> {
    match value {
        0 => "static".into(),
        1 => "global".into(),
        2 => "extern".into(),
        other => format!("linkage {other}").into(),
    }
}

/// `(int a, ...) -> int`, up to `end`. With no room given it is part of an entry, whose parameters are complete each; inside a
/// reference they share its room.
fn write_signature(view: &View<'_>, proto: &Type<'_>, room: Option<Room>, end: usize, out: &mut String) {
    let write = |id, out: &mut String| match room {
        Some(room) => write_reference(view, id, room, out),
        None => push_reference(view, id, out),
    };
    out.push('(');
    for (index, [name_off, id]) in proto.elements::<2>().enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        if out.len() > end {
            out.push('…');
            break;
        }
        // A last parameter without name and type is C's `...`.
        if id == 0 && name_off == 0 {
            out.push_str("...");
            continue;
        }
        write(id, out);
        push_declared(view, name_off, out);
    }
    out.push_str(") -> ");
    write(proto.word, out);
}

/// The name that a type declares, with C's spacing; nothing for an anonymous member or parameter.
fn push_declared(view: &View<'_>, name_off: u32, out: &mut String) {
    if name_off != 0 {
        if !out.ends_with('*') {
            out.push(' ');
        }
        out.push_str(&name(view, name_off));
    }
}

/// A type as C would name it, with functions and arrays written in reading order.
fn write_reference(view: &View<'_>, id: u32, room: Room, out: &mut String) {
    use Kind::*;
    if id == 0 {
        out.push_str("void");
        return;
    }
    let Some(record) = view.get(id) else {
        out.push_str("(type of the base)");
        return;
    };
    if room.depth >= MAX_DEPTH || out.len() > room.end {
        out.push('…');
        return;
    }
    let next = Room { depth: room.depth + 1, ..room };
    match record.kind {
        Ptr => {
            let function = view.get(record.word).is_some_and(|t| t.kind == FuncProto);
            if function {
                out.push('(');
            }
            write_reference(view, record.word, next, out);
            if function {
                out.push(')');
            }
            out.push_str(if out.ends_with('*') { "*" } else { " *" });
        }
        Const | Volatile | Restrict => {
            let label = record.kind.label();
            // `const char *` is a pointer to const, `char *const` a const pointer.
            if view.get(record.word).is_some_and(|t| t.kind == Ptr) {
                write_reference(view, record.word, next, out);
                out.push_str(&label);
            } else {
                out.push_str(&label);
                out.push(' ');
                write_reference(view, record.word, next, out);
            }
        }
        Array => write_array(view, &record, next, out),
        Struct | Union | Enum | Enum64 => {
            let label = if record.kind == Enum64 { Enum } else { record.kind }.label();
            if record.name == 0 {
                write_anonymous(view, &label, &record, next, out);
            } else {
                push_words(&label, &name(view, record.name), out);
            }
        }
        Fwd => {
            let label = if record.flag { "union" } else { "struct" };
            push_words(label, &name_or_anon(view, record.name), out);
        }
        FuncProto => {
            out.push_str("func");
            write_signature(view, &record, Some(next), next.end, out);
        }
        TypeTag => {
            write_reference(view, record.word, next, out);
            let _ = write!(out, " __tag(\"{}\")", name(view, record.name));
        }
        Int | Float | Typedef => out.push_str(&name_or_anon(view, record.name)),
        Func | Var | Datasec | DeclTag | Unknown(_) => {
            let label = record.kind.label();
            push_words(&label, &name_or_anon(view, record.name), out);
        }
    }
}

/// `int[2][3]`: dimensions of nested arrays in C's order, outermost first.
fn write_array(view: &View<'_>, array: &Type<'_>, mut room: Room, out: &mut String) {
    let mut dimensions = String::new();
    let mut element = *array;
    while room.depth < MAX_DEPTH {
        room.depth += 1;
        let _ = write!(dimensions, "[{}]", element.tail_word(2));
        match view.get(element.tail_word(0)) {
            Some(inner) if inner.kind == Kind::Array => element = inner,
            _ => break,
        }
    }
    write_reference(view, element.tail_word(0), room, out);
    out.push_str(&dimensions);
}

fn push_words(first: &str, second: &str, out: &mut String) {
    out.push_str(first);
    out.push(' ');
    out.push_str(second);
}

/// `struct { int a; int b; }`, cut short where it gets long.
fn write_anonymous(view: &View<'_>, label: &str, record: &Type<'_>, room: Room, out: &mut String) {
    use Kind::*;
    out.push_str(label);
    out.push_str(" {");
    let mut cut = false;
    let mut full = |out: &mut String| {
        cut |= out.len() > room.end;
        cut
    };
    match record.kind {
        Struct | Union => {
            for [name_off, id, _] in record.elements::<3>() {
                if full(out) {
                    break;
                }
                out.push(' ');
                write_reference(view, id, room, out);
                push_declared(view, name_off, out);
                out.push(';');
            }
        }
        Enum => {
            for [name_off, value] in record.elements::<2>() {
                if full(out) {
                    break;
                }
                let value = enum_value(record.flag, value);
                let _ = write!(out, " {} = {value},", name_or_anon(view, name_off));
            }
        }
        _ => {
            for element in record.elements::<3>() {
                if full(out) {
                    break;
                }
                let value = enum64_value(record.flag, element);
                let _ = write!(out, " {} = {value},", name_or_anon(view, element[0]));
            }
        }
    }
    out.push_str(if cut { " … }" } else { " }" });
}
