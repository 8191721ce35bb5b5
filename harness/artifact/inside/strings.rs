//! Strings that came and went: string tables, and files of lines.

use super::super::walk::escape_bytes;
use super::{SHOWN, count, thousands};

/// Longer tables are compared as bytes, since each string takes memory of its own.
const LARGEST: usize = 64 << 20;
/// How much of a string is shown, in characters.
const WIDTH: usize = 160;

/// Whether bytes read as text: UTF-8 without control characters but tabs and ends of lines.
pub(super) fn is_text(bytes: &[u8]) -> bool {
    bytes.len() <= LARGEST
        && str::from_utf8(bytes)
            .is_ok_and(|text| !text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t' | '\r' | '\x0c')))
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
    let text = escape_bytes(bytes);
    if text.chars().count() <= WIDTH { text } else { text.chars().take(WIDTH).chain(['…']).collect() }
}

/// Strings, each ended by `end`, that only one has.
pub(super) fn lines(a: &[u8], b: &[u8], end: u8) -> Vec<String> {
    if a.len().max(b.len()) > LARGEST {
        return vec![super::code::first_difference(a, b)];
    }
    let (lost, gained) = differences(a, b, end);
    let mut lines = Vec::new();
    for (sign, strings) in [('-', &lost), ('+', &gained)] {
        lines.extend(strings.iter().take(SHOWN).map(|string| format!("{sign} {}", shown(string))));
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

/// How many strings only one has.
pub(super) fn counts(a: &[u8], b: &[u8]) -> Vec<String> {
    if a.len().max(b.len()) > LARGEST {
        return vec![super::code::first_difference(a, b)];
    }
    let (lost, gained) = differences(a, b, 0);
    if lost.is_empty() && gained.is_empty() {
        return vec!["the same strings in another order".to_owned()];
    }
    vec![format!("{} only in A, {} only in B", count(lost.len(), "string"), thousands(gained.len() as u64))]
}
