//! BTF as declarations in C, in an order that a compiler takes.
//!
//! A type that is part of another is defined before it; of what is only pointed to a struct or union is declared, as far as
//! cycles need it. As in bpftool's output, two types of one name get `___2` and so on, and functions are left out. Padding that
//! C would not put in by itself is not shown.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::io;

use super::text::{enum_value, enum64_value, name_or_anon};
use super::wire::{Kind, Type};
use super::{BtfError, View};

/// How deep declarations go into each other; more is a loop.
const MAX_DEPTH: u32 = 64;
/// The most that is written, in bytes, and counted with it what is looked at for that. The largest kernel's declarations have
/// some 5 MB.
const MOST: usize = super::MAX_TEXT;
/// The same for one declaration: prototypes that share their parameters have as many as there are ways through them.
const MOST_EACH: usize = 1 << 20;
/// What looking at a type counts as.
const STEP: usize = 8;

/// Writes the types of the section, and what they need of the base.
pub(super) fn write(view: &View<'_>, out: &mut dyn io::Write) -> io::Result<()> {
    let mut writer = Writer {
        view,
        out,
        defined: HashSet::new(),
        begun: HashSet::new(),
        declared: HashSet::new(),
        names: HashMap::new(),
        used: HashMap::new(),
        left: Cell::new(MOST),
        left_here: Cell::new(MOST_EACH),
    };
    for index in 0..view.own.len() {
        let id = view.id_of(index);
        if view.get(id).is_some_and(|record| is_declared(&record)) {
            writer.define(id)?;
        }
    }
    Ok(())
}

/// Whether a type has a declaration of its own.
fn is_declared(record: &Type<'_>) -> bool {
    use Kind::*;
    match record.kind {
        Struct | Union | Typedef => record.name != 0,
        Enum | Enum64 => true,
        _ => false,
    }
}

struct Writer<'v, 'o> {
    view: &'v View<'v>,
    out: &'o mut dyn io::Write,
    defined: HashSet<u32>,
    /// Under way: a type that is part of itself is no C.
    begun: HashSet<u32>,
    declared: HashSet<u32>,
    /// The name that a type got.
    names: HashMap<u32, String>,
    /// How many have a name, of tags and of all others.
    used: HashMap<(bool, String), u32>,
    /// What of [`MOST`] is left.
    left: Cell<usize>,
    /// What of [`MOST_EACH`] is left to the type under way.
    left_here: Cell<usize>,
}

impl Writer<'_, '_> {
    /// Defines a type after all that it needs; types wait on a list, for a kernel's reach deep.
    fn define(&mut self, id: u32) -> io::Result<()> {
        let mut waiting = vec![(id, false)];
        while let Some((id, ready)) = waiting.pop() {
            if self.defined.contains(&id) {
                continue;
            }
            let Some(record) = self.view.get(id) else { continue };
            self.left_here.set(MOST_EACH);
            if ready {
                self.defined.insert(id);
                self.write(id, &record)?;
                continue;
            }
            if !self.begun.insert(id) {
                continue;
            }
            waiting.push((id, true));
            let mut needs = Needs::default();
            self.needs(&record, 0, &mut needs);
            self.fits()?;
            for pointed in needs.pointed {
                self.declare(pointed)?;
            }
            waiting.extend(needs.whole.into_iter().rev().map(|id| (id, false)));
        }
        Ok(())
    }

    /// Counts what is written or looked at; false when it is too much.
    fn take(&self, bytes: usize) -> bool {
        [&self.left, &self.left_here].iter().for_each(|left| left.set(left.get().saturating_sub(bytes)));
        self.is_within()
    }

    fn is_within(&self) -> bool {
        self.left.get() > 0 && self.left_here.get() > 0
    }

    fn fits(&self) -> io::Result<()> {
        if self.is_within() { Ok(()) } else { Err(io::Error::other(BtfError::TextTooLong)) }
    }

    /// What has to be there before a type can be written.
    fn needs(&self, record: &Type<'_>, depth: u32, needs: &mut Needs) {
        use Kind::*;
        match record.kind {
            Struct | Union => record.elements::<3>().for_each(|[_, id, _]| self.need(id, false, depth, needs)),
            Typedef | Const | Volatile | Restrict | TypeTag => self.need(record.word, false, depth, needs),
            _ => {}
        }
    }

    fn need(&self, id: u32, pointed: bool, depth: u32, needs: &mut Needs) {
        use Kind::*;
        if depth > MAX_DEPTH || !self.take(STEP) {
            return;
        }
        let Some(record) = self.view.get(id) else { return };
        match record.kind {
            Ptr => self.need(record.word, true, depth + 1, needs),
            Const | Volatile | Restrict | TypeTag => self.need(record.word, pointed, depth + 1, needs),
            // The element of an array has to be complete, also of one that is pointed to.
            Array => self.need(record.tail_word(0), false, depth + 1, needs),
            FuncProto => {
                self.need(record.word, true, depth + 1, needs);
                record.elements::<2>().for_each(|[_, id]| self.need(id, true, depth + 1, needs));
            }
            Struct | Union if record.name == 0 => self.needs(&record, depth + 1, needs),
            Struct | Union if pointed => needs.pointed.push(id),
            Fwd => needs.pointed.push(id),
            // A name has to be known, however it is used. What it stands for is pointed to as well then.
            Typedef => needs.whole.push(id),
            Struct | Union => needs.whole.push(id),
            Enum | Enum64 if record.name != 0 => needs.whole.push(id),
            _ => {}
        }
    }

    fn declare(&mut self, id: u32) -> io::Result<()> {
        let Some(record) = self.view.get(id) else { return Ok(()) };
        if self.defined.contains(&id) || !self.declared.insert(id) {
            return Ok(());
        }
        let name = self.tag(id, &record);
        writeln!(self.out, "{name};\n")
    }

    fn write(&mut self, id: u32, record: &Type<'_>) -> io::Result<()> {
        use Kind::*;
        let mut text = String::new();
        match record.kind {
            Typedef => {
                let name = self.name(id, record, false);
                text = format!("typedef {}", self.declaration(record.word, name, 0, 0));
            }
            Struct | Union | Enum | Enum64 => {
                let tag = self.tag(id, record);
                text.push_str(&tag);
                // BTF has no forward declarations of enumerations: they have no values then.
                if matches!(record.kind, Struct | Union) || record.vlen > 0 {
                    self.body(record, 0, 0, &mut text);
                }
            }
            _ => return Ok(()),
        }
        self.fits()?;
        writeln!(self.out, "{text};\n")
    }

    /// `struct x`, `union x`, `enum x`; of an unnamed one the keyword.
    fn tag(&mut self, id: u32, record: &Type<'_>) -> String {
        let keyword = match record.kind {
            Kind::Union => "union",
            Kind::Fwd if record.flag => "union",
            Kind::Enum | Kind::Enum64 => "enum",
            _ => "struct",
        };
        if record.name == 0 {
            return keyword.to_owned();
        }
        format!("{keyword} {}", self.name(id, record, true))
    }

    fn name(&mut self, id: u32, record: &Type<'_>, tag: bool) -> String {
        if let Some(name) = self.names.get(&id) {
            self.take(name.len());
            return name.clone();
        }
        let plain = self.plain(record.name);
        // A forward declaration is of the type that has its name.
        if record.kind == Kind::Fwd {
            return plain;
        }
        let count = self.used.entry((tag, plain.clone())).or_insert(0);
        *count += 1;
        let name = if *count == 1 { plain } else { format!("{plain}___{count}") };
        self.names.insert(id, name.clone());
        name
    }

    /// A name as it is in the section.
    fn plain(&self, name: u32) -> String {
        let name = name_or_anon(self.view, name);
        self.take(name.len());
        name.into_owned()
    }

    fn body(&mut self, record: &Type<'_>, indent: usize, depth: u32, text: &mut String) {
        use Kind::*;
        let tabs = "\t".repeat(indent + 1);
        text.push_str(" {\n");
        match record.kind {
            Struct | Union => {
                for [name, id, place] in record.elements::<3>() {
                    let name = if name == 0 { String::new() } else { self.plain(name) };
                    let member = self.declaration(id, name, indent + 1, depth + 1);
                    let width = if record.flag { place >> 24 } else { 0 };
                    let width = if width == 0 { String::new() } else { format!(": {width}") };
                    // Writing to a String cannot fail, here and below.
                    let _ = writeln!(text, "{tabs}{member}{width};");
                }
            }
            Enum => {
                for [name, value] in record.elements::<2>() {
                    let name = self.enumerator(name);
                    let _ = writeln!(text, "{tabs}{name} = {},", enum_value(record.flag, value));
                }
            }
            Enum64 => {
                for element in record.elements::<3>() {
                    let name = self.enumerator(element[0]);
                    let suffix = if record.flag { "LL" } else { "ULL" };
                    let _ = writeln!(text, "{tabs}{name} = {}{suffix},", enum64_value(record.flag, element));
                }
            }
            _ => {}
        }
        text.push_str(&"\t".repeat(indent));
        text.push('}');
    }

    fn enumerator(&mut self, name: u32) -> String {
        let plain = self.plain(name);
        let count = self.used.entry((false, plain.clone())).or_insert(0);
        *count += 1;
        if *count == 1 { plain } else { format!("{plain}___{count}") }
    }

    /// `int (*name)(void)`: what is declared stands in the middle of its type.
    fn declaration(&mut self, id: u32, inner: String, indent: usize, depth: u32) -> String {
        use Kind::*;
        let with = |what: &str, inner: &str| match inner {
            "" => what.to_owned(),
            inner => format!("{what} {inner}"),
        };
        let Some(record) = self.view.get(id).filter(|_| depth <= MAX_DEPTH && self.take(STEP + indent)) else {
            return with("void", &inner);
        };
        match record.kind {
            Ptr => self.pointer(record.word, &format!("*{inner}"), indent, depth),
            Const | Volatile | Restrict => {
                let word = if record.kind == Restrict { "restrict".into() } else { record.kind.label() };
                match self.view.get(record.word) {
                    // `restrict` and others of a pointer stand behind its star.
                    Some(pointer) if pointer.kind == Ptr => {
                        let inner = if inner.is_empty() { format!("*{word}") } else { format!("*{word} {inner}") };
                        self.pointer(pointer.word, &inner, indent, depth)
                    }
                    _ => format!("{word} {}", self.declaration(record.word, inner, indent, depth + 1)),
                }
            }
            TypeTag => self.declaration(record.word, inner, indent, depth + 1),
            Array => {
                let inner = format!("{inner}[{}]", record.tail_word(2));
                self.declaration(record.tail_word(0), inner, indent, depth + 1)
            }
            FuncProto => {
                let parameters: Vec<String> = record
                    .elements::<2>()
                    .map(|[name, id]| match (name, id) {
                        (0, 0) => "...".to_owned(),
                        (name, id) => {
                            let name = if name == 0 { String::new() } else { self.plain(name) };
                            self.declaration(id, name, indent, depth + 1)
                        }
                    })
                    .collect();
                let parameters = if parameters.is_empty() { "void".to_owned() } else { parameters.join(", ") };
                self.declaration(record.word, format!("{inner}({parameters})"), indent, depth + 1)
            }
            Struct | Union | Enum | Enum64 | Fwd => {
                let mut text = self.tag(id, &record);
                if record.name == 0 {
                    self.body(&record, indent, depth, &mut text);
                }
                with(&text, &inner)
            }
            Typedef => with(&self.name(id, &record, false), &inner),
            _ => with(&self.plain(record.name), &inner),
        }
    }

    /// What points to an array or a function is put in parentheses.
    fn pointer(&mut self, to: u32, inner: &str, indent: usize, depth: u32) -> String {
        let wrapped = self.view.get(to).is_some_and(|target| matches!(target.kind, Kind::Array | Kind::FuncProto));
        let inner = if wrapped { format!("({inner})") } else { inner.to_owned() };
        self.declaration(to, inner, indent, depth + 1)
    }
}

#[derive(Default)]
struct Needs {
    /// Has to be defined.
    whole: Vec<u32>,
    /// Has to be declared.
    pointed: Vec<u32>,
}
