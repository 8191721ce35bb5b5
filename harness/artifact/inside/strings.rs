//! Strings that came and went: string tables, and files of lines.

use std::collections::BTreeMap;

use super::super::walk::escape_bytes;
use super::{SHOWN, count, thousands};

/// Longer tables are compared as bytes, since each string takes memory of its own.
const LARGEST: usize = 64 << 20;
/// So are tables of more strings than this.
const MOST: usize = 4 << 20;
/// How much of a string is shown, in characters.
const WIDTH: usize = 160;

/// Whether bytes read as text: UTF-8 without control characters but tabs and ends of lines.
pub(super) fn is_text(bytes: &[u8]) -> bool {
    bytes.len() <= LARGEST
        && str::from_utf8(bytes)
            .is_ok_and(|text| !text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t' | '\r' | '\x0c')))
}

/// Whether two tables are compared string by string.
fn can_be_split(a: &[u8], b: &[u8], end: u8) -> bool {
    let fits = |bytes: &[u8]| bytes.len() <= LARGEST && bytes.iter().filter(|byte| **byte == end).count() <= MOST;
    fits(a) && fits(b)
}

/// The strings of one that the other has not, as often as it has them more; each list sorted.
fn differences<'d>(a: &'d [u8], b: &'d [u8], end: u8) -> (Vec<&'d [u8]>, Vec<&'d [u8]>) {
    let sorted = |bytes: &'d [u8]| {
        let mut all: Vec<&[u8]> = bytes.split(|byte| *byte == end).filter(|string| !string.is_empty()).collect();
        all.sort_unstable();
        all
    };
    let (a, b) = (sorted(a), sorted(b));
    let (mut lost, mut gained) = (Vec::new(), Vec::new());
    let (mut at_a, mut at_b) = (a.iter().peekable(), b.iter().peekable());
    loop {
        match (at_a.peek(), at_b.peek()) {
            (Some(x), Some(y)) if x == y => {
                at_a.next();
                at_b.next();
            }
            (Some(x), Some(y)) if x > y => gained.extend(at_b.next()),
            (Some(_), _) => lost.extend(at_a.next()),
            (None, Some(_)) => gained.extend(at_b.next()),
            (None, None) => return (lost, gained),
        }
    }
}

/// A string as it can be shown.
pub(super) fn shown(bytes: &[u8]) -> String {
    cut(escape_bytes(bytes))
}

fn cut(text: String) -> String {
    if text.chars().count() <= WIDTH { text } else { text.chars().take(WIDTH).chain(['…']).collect() }
}

/// Strings, each ended by `end`, that only one has.
pub(super) fn lines(a: &[u8], b: &[u8], end: u8) -> Vec<String> {
    if !can_be_split(a, b, end) {
        return vec![super::code::first_difference(a, b)];
    }
    let (mut lost, mut gained) = differences(a, b, end);
    let mut lines = if end == b'\n' { settings(&mut lost, &mut gained) } else { Vec::new() };
    // What is text has nothing to be escaped but what a terminal would obey, which the report sees to.
    let told = |string: &[u8]| match end {
        b'\n' => cut(String::from_utf8_lossy(string).into_owned()),
        _ => shown(string),
    };
    for (sign, strings) in [('-', &lost), ('+', &gained)] {
        lines.extend(strings.iter().take(SHOWN).map(|string| format!("{sign} {}", told(string))));
        if strings.len() > SHOWN {
            lines.push(format!("{sign} and {} more", thousands((strings.len() - SHOWN) as u64)));
        }
    }
    if lines.is_empty() {
        let what = if end == b'\n' { "lines" } else { "strings" };
        lines.push(format!("the same {what} in another order"));
    }
    lines
}

/// A line of a configuration as key and value: `KEY=VALUE`, or `# KEY is not set` as Kconfig writes it.
fn setting(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let (key, value) = match line.strip_prefix(b"# ").and_then(|line| line.strip_suffix(b" is not set")) {
        Some(key) => (key, &b"n"[..]),
        None => {
            let at = line.iter().position(|byte| *byte == b'=')?;
            (&line[..at], &line[at + 1..])
        }
    };
    let is_key = !key.is_empty() && key.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    is_key.then_some((key, value))
}

/// Takes lines out of both lists that set the same key once to another value, and tells them as one.
fn settings(lost: &mut Vec<&[u8]>, gained: &mut Vec<&[u8]>) -> Vec<String> {
    type Values<'d> = BTreeMap<&'d [u8], Vec<&'d [u8]>>;
    fn of<'d>(lines: &[&'d [u8]]) -> Values<'d> {
        let mut values = Values::new();
        for (key, value) in lines.iter().filter_map(|line| setting(line)) {
            values.entry(key).or_default().push(value);
        }
        values
    }
    let (before, after) = (of(lost), of(gained));
    let mut changed: BTreeMap<&[u8], String> = BTreeMap::new();
    for (key, values) in &before {
        if let ([x], Some([y])) = (values.as_slice(), after.get(key).map(Vec::as_slice)) {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            changed.insert(key, cut(format!("{}: {} → {}", text(key), text(x), text(y))));
        }
    }
    let is_told = |line: &&[u8]| setting(line).is_some_and(|(key, _)| changed.contains_key(key));
    lost.retain(|line| !is_told(line));
    gained.retain(|line| !is_told(line));
    let mut lines: Vec<String> = changed.values().take(SHOWN).cloned().collect();
    if changed.len() > SHOWN {
        lines.push(format!("and {} changed values more", thousands((changed.len() - SHOWN) as u64)));
    }
    lines
}

/// How many strings only one has.
pub(super) fn counts(a: &[u8], b: &[u8]) -> Vec<String> {
    if !can_be_split(a, b, 0) {
        return vec![super::code::first_difference(a, b)];
    }
    let (lost, gained) = differences(a, b, 0);
    if lost.is_empty() && gained.is_empty() {
        return vec!["the same strings in another order".to_owned()];
    }
    vec![format!("{} only in A, {} only in B", count(lost.len(), "string"), thousands(gained.len() as u64))]
}
