//! TOML text → a tree of values that know where they were written, with `extends` merged in.

use std::ops::Range;
use std::sync::Arc;

use miette::NamedSource;
use serde_json::Value as Json;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{Errors, Problem, Text};

/// How deep `extends` may go; a chain this long is a mistake even where it is no cycle.
const MAX_EXTENDS: usize = 16;
/// How many files a scenario may be made of: each file that extends another twice doubles them.
const MAX_FILES: usize = 256;
/// How deep values may nest: no scenario needs more, and every walk over them is then bounded.
const MAX_DEPTH: usize = 64;

/// Gives the text of files that a scenario extends.
pub trait Loader {
    /// The text of `wanted` as written in the file `from`, and the name under which it was found;
    /// that name is the same for the same file, since cycles are known by it.
    ///
    /// # Errors
    /// Why the file cannot be read, in a few words.
    fn load(&self, from: &str, wanted: &str) -> Result<(String, String), String>;
}

/// No file can be extended: for text that stands alone.
impl Loader for () {
    fn load(&self, _: &str, _: &str) -> Result<(String, String), String> {
        Err("a scenario given as text cannot extend a file".into())
    }
}

/// One step from a table or an array to a value in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// A table's key.
    Name(String),
    /// An array's index, from 0.
    Index(usize),
}

impl From<&str> for Key {
    fn from(name: &str) -> Self {
        Self::Name(name.to_owned())
    }
}
impl From<usize> for Key {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}

/// Makes a key path: `path!["edit", 2, "file"]`.
#[macro_export]
macro_rules! key_path {
    ($($key:expr),* $(,)?) => { [$($crate::scenario::Key::from($key)),*] };
}

#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) source: usize,
    pub(super) span: Range<usize>,
    pub(super) value: Value,
}

impl Node {
    fn at(&self, key: &Key) -> Option<&Self> {
        match (key, &self.value) {
            (Key::Name(name), Value::Table(entries)) => {
                entries.iter().find(|entry| entry.name == *name).map(|entry| &entry.node)
            }
            (Key::Index(index), Value::Array(items)) => items.get(*index),
            _ => None,
        }
    }
}

#[derive(Debug, Clone)]
pub(super) enum Value {
    String(String),
    Integer(i64),
    Float(f64),
    Bool(bool),
    Datetime(String),
    Array(Vec<Node>),
    Table(Vec<Entry>),
}

#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) source: usize,
    pub(super) name_span: Range<usize>,
    pub(super) node: Node,
}

/// A scenario's text and that of the files it extends, as one tree of values with their places.
#[derive(Debug, Clone)]
pub struct Document {
    sources: Vec<Text>,
    pub(super) root: Node,
    /// Tables and keys in which something is wrong already.
    damaged: Vec<Vec<Key>>,
    /// Keys whose value is not what was written.
    filled: Vec<Vec<Key>>,
    /// Whether keys may be missing that were written, or are written in a file that was not read.
    pub(super) incomplete: bool,
    /// Whether it has as many files as it may have.
    full: bool,
}

impl Document {
    /// Reads `text` and everything it extends: as much as can be read, and what is wrong with the rest:
    /// syntax errors (all of them), files that cannot be read, cycles, each with its place.
    #[must_use]
    pub fn read(name: &str, text: &str, loader: &dyn Loader) -> (Self, Errors) {
        let root = Node { source: 0, span: 0..0, value: Value::Table(Vec::new()) };
        let mut document =
            Self { sources: Vec::new(), root, damaged: Vec::new(), filled: Vec::new(), incomplete: false, full: false };
        let mut errors = Errors::default();
        document.root = document.read_one(name, text, loader, &mut Vec::new(), &mut errors);
        // Places of syntax errors become keys only now that all files are one tree.
        for problem in &errors.0 {
            document.damage_at(problem);
        }
        (document, errors)
    }

    fn read_one(
        &mut self,
        name: &str,
        text: &str,
        loader: &dyn Loader,
        open: &mut Vec<String>,
        errors: &mut Errors,
    ) -> Node {
        let source = self.sources.len();
        let shared = Arc::new(NamedSource::new(name, text.to_owned()));
        self.sources.push(Arc::clone(&shared));
        let before = errors.0.len();
        let (table, syntax) = DeTable::parse_recoverable(text);
        for error in syntax {
            let span = error.span().unwrap_or(0..0);
            errors.0.push(
                Problem::in_text(&shared, span, format!("not TOML: {}", error.message().replace('\n', ", ")))
                    .hint("the format is TOML 1.0: `key = \"value\"`, `[table]`, `[[edit]]`"),
            );
        }
        let mut too_deep = None;
        let own = node_of_table(source, table.span(), table.into_inner(), 0, &mut too_deep);
        if let Some(span) = too_deep {
            errors.0.push(Problem::in_text(&shared, span, format!("nested more than {MAX_DEPTH} deep")));
        }
        open.push(name.to_owned());
        let mut merged: Option<Node> = None;
        for (wanted, span) in extended(&own) {
            let problem = |message: String| Problem::in_text(&shared, span.clone(), message);
            if open.len() >= MAX_EXTENDS {
                errors.0.push(problem(format!("`extends` goes more than {MAX_EXTENDS} files deep")));
                continue;
            }
            if self.sources.len() >= MAX_FILES {
                // Said once: the files above would say it again and again.
                if !std::mem::replace(&mut self.full, true) {
                    errors.0.push(problem(format!("`extends` names more than {MAX_FILES} files in all")));
                }
                continue;
            }
            match loader.load(name, &wanted) {
                Err(why) => errors.0.push(
                    problem(format!("cannot extend `{wanted}`: {why}"))
                        .hint("the path is relative to the file that names it"),
                ),
                Ok((found, _)) if open.contains(&found) => errors.0.push(
                    problem(format!("`extends` goes round: {} → {found}", open.join(" → ")))
                        .hint("take one of these `extends` out"),
                ),
                Ok((found, text)) => {
                    let base = self.read_one(&found, &text, loader, open, errors);
                    merged = Some(match merged {
                        None => base,
                        Some(earlier) => merge(earlier, base),
                    });
                }
            }
        }
        open.pop();
        self.incomplete |= errors.0.len() > before;
        match merged {
            None => own,
            Some(base) => merge(base, own),
        }
    }

    /// Marks the table in which a syntax error stands, which is the one whose header stands last before it.
    fn damage_at(&mut self, problem: &Problem) {
        let (text, start) = problem.place();
        let Some(source) = self.sources.iter().position(|known| Arc::ptr_eq(known, text)) else { return };
        let mut found: (usize, Vec<Key>) = (0, Vec::new());
        tables(&self.root, &mut Vec::new(), &mut |node, path| {
            if node.source == source && node.span.start <= start && node.span.start >= found.0 {
                found = (node.span.start, path.to_vec());
            }
        });
        self.damaged.push(found.1);
    }

    /// Notes that something is wrong at a key or in a table, so that nobody complains of what follows from it.
    pub(super) fn damage(&mut self, path: &[Key]) {
        self.damaged.push(path.to_vec());
    }

    /// Notes that the value of a key is taken out or filled in.
    pub(super) fn fill(&mut self, path: &[Key]) {
        self.damage(path);
        self.damage(&path[..path.len().saturating_sub(1)]);
        self.filled.push(path.to_vec());
    }

    /// Whether something is wrong already at this key or below it.
    #[must_use]
    pub fn is_damaged(&self, path: &[Key]) -> bool {
        self.damaged.iter().any(|damaged| damaged.starts_with(path))
            || self.filled.iter().any(|filled| path.starts_with(filled))
    }

    /// Name and text of a source: 0 is the scenario itself.
    #[must_use]
    pub fn text(&self, index: usize) -> &Text {
        &self.sources[index]
    }

    /// The source and byte range at which a key was written, or the nearest table around it.
    #[must_use]
    pub fn locate(&self, path: &[Key]) -> (usize, Range<usize>) {
        let mut node = &self.root;
        for key in path {
            match node.at(key) {
                Some(next) => node = next,
                None => break,
            }
        }
        (node.source, node.span.clone())
    }

    /// The source and byte range of the name of a key, where what is wrong is the name; or else what [`Self::locate`] says.
    #[must_use]
    pub fn locate_name(&self, path: &[Key]) -> (usize, Range<usize>) {
        let Some((last, above)) = path.split_last() else { return self.locate(path) };
        match (self.node(above), last) {
            (Some(Node { value: Value::Table(entries), .. }), Key::Name(name)) => {
                let entry = entries.iter().find(|entry| entry.name == *name);
                entry.map_or_else(|| self.locate(path), |entry| (entry.source, entry.name_span.clone()))
            }
            _ => self.locate(path),
        }
    }

    /// The value at a path, if there is one.
    fn node(&self, path: &[Key]) -> Option<&Node> {
        path.iter().try_fold(&self.root, |node, key| node.at(key))
    }

    /// The values without their places.
    #[must_use]
    pub fn to_json(&self) -> Json {
        to_json(&self.root)
    }
}

fn extended(root: &Node) -> Vec<(String, Range<usize>)> {
    let Value::Table(entries) = &root.value else { return Vec::new() };
    let Some(entry) = entries.iter().find(|entry| entry.name == "extends") else { return Vec::new() };
    let one = |node: &Node| match &node.value {
        Value::String(text) => Some((text.clone(), node.span.clone())),
        _ => None,
    };
    match &entry.node.value {
        Value::Array(items) => items.iter().filter_map(one).collect(),
        _ => one(&entry.node).into_iter().collect(),
    }
}

/// Calls `seen` with every table below `node` and its path.
fn tables(node: &Node, path: &mut Vec<Key>, seen: &mut dyn FnMut(&Node, &[Key])) {
    match &node.value {
        Value::Table(entries) => {
            seen(node, path);
            for entry in entries {
                path.push(Key::from(entry.name.as_str()));
                tables(&entry.node, path, seen);
                path.pop();
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                path.push(Key::Index(index));
                tables(item, path, seen);
                path.pop();
            }
        }
        _ => {}
    }
}

fn node_of_table(
    source: usize,
    span: Range<usize>,
    table: DeTable<'_>,
    depth: usize,
    too_deep: &mut Option<Range<usize>>,
) -> Node {
    let mut entries: Vec<Entry> = table
        .into_iter()
        .map(|(name, value)| Entry {
            source,
            name_span: name.span(),
            name: name.into_inner().into_owned(),
            node: node_of(source, value, depth + 1, too_deep),
        })
        .collect();
    entries.sort_by_key(|entry| entry.name_span.start);
    Node { source, span, value: Value::Table(entries) }
}

fn node_of(source: usize, value: Spanned<DeValue<'_>>, depth: usize, too_deep: &mut Option<Range<usize>>) -> Node {
    let span = value.span();
    if depth > MAX_DEPTH {
        too_deep.get_or_insert(span.clone());
        return Node { source, span, value: Value::Bool(false) };
    }
    let value = match value.into_inner() {
        DeValue::String(text) => Value::String(text.into_owned()),
        DeValue::Integer(number) => {
            let digits: String = number.as_str().chars().filter(|c| *c != '_').collect();
            match i64::from_str_radix(&digits, number.radix()) {
                Ok(number) => Value::Integer(number),
                // TOML integers are 64 bits; what does not fit has the wrong type wherever it stands.
                Err(_) => Value::Float(f64::INFINITY),
            }
        }
        DeValue::Float(number) => Value::Float(number.as_str().replace('_', "").parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(value) => Value::Bool(value),
        DeValue::Datetime(value) => Value::Datetime(value.to_string()),
        DeValue::Array(items) => {
            Value::Array(items.into_iter().map(|item| node_of(source, item, depth + 1, too_deep)).collect())
        }
        DeValue::Table(table) => return node_of_table(source, span, table, depth, too_deep),
    };
    Node { source, span, value }
}

/// `over` over `base`: tables key by key, everything else replaced.
fn merge(base: Node, over: Node) -> Node {
    match (base.value, over.value) {
        (Value::Table(mut entries), Value::Table(over_entries)) => {
            for entry in over_entries {
                match entries.iter().position(|have| have.name == entry.name) {
                    None => entries.push(entry),
                    Some(at) => {
                        let old = std::mem::replace(&mut entries[at], entry.clone());
                        entries[at].node = merge(old.node, entry.node);
                    }
                }
            }
            Node { source: over.source, span: over.span, value: Value::Table(entries) }
        }
        (_, value) => Node { source: over.source, span: over.span, value },
    }
}

impl Document {
    pub(super) fn json_of(node: &Node) -> Json {
        to_json(node)
    }
}

fn to_json(node: &Node) -> Json {
    match &node.value {
        Value::String(text) | Value::Datetime(text) => Json::from(text.clone()),
        Value::Integer(number) => Json::from(*number),
        Value::Float(number) => Json::from(*number),
        Value::Bool(value) => Json::from(*value),
        Value::Array(items) => items.iter().map(to_json).collect(),
        Value::Table(entries) => {
            Json::Object(entries.iter().map(|entry| (entry.name.clone(), to_json(&entry.node))).collect())
        }
    }
}
