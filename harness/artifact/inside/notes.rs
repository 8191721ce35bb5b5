//! Notes: build-ids, salts, properties.

use std::collections::BTreeMap;

use super::super::walk::escape_bytes;
use super::headers::Order;

/// How many bytes of a note are shown.
const BYTES: usize = 32;
const NT_GNU_BUILD_ID: u32 = 3;

/// `Elf32_Nhdr` (gABI, "Note Section"): lengths of name and content, a type, and both, each padded.
pub(super) struct Note<'d> {
    pub(super) name: &'d [u8],
    pub(super) kind: u32,
    pub(super) content: &'d [u8],
}

/// All notes, or where it stops to be notes. `align` is the section's: of 64-bit GNU properties 8, else 4.
pub(super) fn parse(bytes: &[u8], order: Order, align: u64) -> Result<Vec<Note<'_>>, String> {
    let align = if align == 8 { 8 } else { 4 };
    let mut notes = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let note = || -> Option<(Note<'_>, usize)> {
            let name_size = order.u32(bytes, at)? as usize;
            let size = order.u32(bytes, at + 4)? as usize;
            let kind = order.u32(bytes, at + 8)?;
            let name = bytes.get(at + 12..)?.get(..name_size)?;
            let start = (at + 12 + name_size).checked_next_multiple_of(align)?;
            let content = bytes.get(start..)?.get(..size)?;
            // the last one need not be padded
            let next = (start + size).checked_next_multiple_of(align)?;
            Some((Note { name: name.strip_suffix(b"\0").unwrap_or(name), kind, content }, next))
        };
        let Some((note, next)) = note() else { return Err(format!("the note at offset {at:#x} is cut off")) };
        notes.push(note);
        at = next;
    }
    Ok(notes)
}

/// Bytes in hexadecimal, not too many.
pub(super) fn hex(bytes: &[u8]) -> String {
    let digits: String = bytes.iter().take(BYTES).map(|byte| format!("{byte:02x}")).collect();
    if bytes.len() > BYTES { format!("{digits}… ({} bytes)", bytes.len()) } else { digits }
}

/// What a note is called.
fn title(name: &[u8], kind: u32) -> String {
    match (name, kind) {
        (b"GNU", NT_GNU_BUILD_ID) => "build-id".to_owned(),
        (b"GNU", 5) => "GNU properties".to_owned(),
        // include/linux/build-salt.h, elfnote-lto.h
        (b"Linux", 0x100) => "build salt".to_owned(),
        (b"Linux", 0x101) => "LTO".to_owned(),
        (b"FDO", 0xcafe_1a7e) => "package".to_owned(),
        _ => format!("note {} {kind:#x}", escape_bytes(name)),
    }
}

fn content(note: &[u8]) -> String {
    let text = note.strip_suffix(b"\0").unwrap_or(note);
    let printable = |text: &[u8]| text.len() > 3 && text.iter().all(|b| b.is_ascii_graphic() || *b == b' ');
    match note {
        [] => "(empty)".to_owned(),
        _ if printable(text) => super::strings::shown(text),
        _ => hex(note),
    }
}

/// Which notes are other, came or went.
pub(super) fn lines(a: &[u8], b: &[u8], order: Order, align: u64) -> Result<Vec<String>, String> {
    type Notes<'d> = BTreeMap<(&'d [u8], u32), Vec<&'d [u8]>>;
    let of = |bytes, which| -> Result<Notes<'_>, String> {
        let mut notes = Notes::new();
        for note in parse(bytes, order, align).map_err(|why| format!("{why} ({which})"))? {
            notes.entry((note.name, note.kind)).or_default().push(note.content);
        }
        Ok(notes)
    };
    let (in_a, in_b) = (of(a, 'A')?, of(b, 'B')?);
    let keys: std::collections::BTreeSet<_> = in_a.keys().chain(in_b.keys()).collect();
    let mut lines = Vec::new();
    for key in keys {
        let title = title(key.0, key.1);
        match (in_a.get(key), in_b.get(key)) {
            (Some(x), Some(y)) if x == y => {}
            (Some(x), Some(y)) => {
                let pairs = x.iter().zip(y).filter(|(x, y)| x != y).take(super::SHOWN);
                lines.extend(pairs.map(|(x, y)| format!("{title} {} → {}", content(x), content(y))));
                lines.extend(super::change(&format!("number of {title} notes:"), &x.len(), &y.len()));
            }
            (Some(x), None) => lines.push(format!("- {title} {}", content(x.first().unwrap_or(&&[][..])))),
            (None, Some(y)) => lines.push(format!("+ {title} {}", content(y.first().unwrap_or(&&[][..])))),
            (None, None) => {}
        }
    }
    if lines.is_empty() {
        lines.push("the same notes in another order or padding".to_owned());
    }
    lines.truncate(3 * super::SHOWN);
    Ok(lines)
}
