//! Code and data: which functions and variables have other bytes, and where the first one is.

use std::collections::BTreeMap;
use std::io::{self, Read, Seek};

use super::super::walk::escape_bytes;
use super::headers::Side;
use super::notes::hex;
use super::symbols::Table;
use super::{SHOWN, count, thousands};

const STT_OBJECT: u8 = 1;
const STT_FUNC: u8 = 2;
/// `ET_REL`: symbol values are offsets within their section, elsewhere addresses.
const ET_REL: u16 = 1;
/// How many bytes are shown where two parts begin to differ.
const NEAR: usize = 8;
/// Symbols may lie over each other as often as a table claims: no section is looked at more often than this.
const TIMES: u64 = 8;

/// A function or variable within its section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Extent {
    start: u64,
    size: u64,
}

/// Of a section, the first of each name.
fn extents<'s, R: Read + Seek>(side: &Side<'_, R>, table: &'s Table, part: &str) -> BTreeMap<&'s [u8], Option<Extent>> {
    let (Some(index), Some(section)) = (side.index(part), side.section(part)) else { return BTreeMap::new() };
    let base = if side.header.kind == ET_REL { 0 } else { section.address };
    let mut extents = BTreeMap::new();
    for symbol in table.symbols.iter().skip(1) {
        if symbol.section as usize != index || symbol.size == 0 || !matches!(symbol.kind, STT_OBJECT | STT_FUNC) {
            continue;
        }
        let extent = symbol.value.checked_sub(base).map(|start| Extent { start, size: symbol.size });
        // Static ones of one name cannot be told apart.
        extents.entry(table.name(symbol)).and_modify(|old| *old = None).or_insert(extent);
    }
    extents
}

fn bytes_of(part: &[u8], extent: Extent) -> Option<&[u8]> {
    let start = usize::try_from(extent.start).ok()?;
    part.get(start..)?.get(..usize::try_from(extent.size).ok()?)
}

/// What differs in a section that is loaded.
pub(super) fn lines<R: Read + Seek>(
    a: &mut Side<'_, R>,
    b: &mut Side<'_, R>,
    part: &str,
    in_a: &[u8],
    in_b: &[u8],
) -> io::Result<Result<Vec<String>, String>> {
    let (Some(table_a), Some(table_b)) = (a.symbols()?, b.symbols()?) else {
        return Ok(Ok(vec![first_difference(in_a, in_b)]));
    };
    let (of_a, of_b) = (extents(a, &table_a, part), extents(b, &table_b, part));
    let mut differ: Vec<(u64, String)> = Vec::new();
    let mut left = TIMES * (in_a.len() as u64 + in_b.len() as u64);
    for (name, x) in &of_a {
        let (Some(x), Some(Some(y))) = (x, of_b.get(name)) else { continue };
        let (Some(before), Some(after)) = (bytes_of(in_a, *x), bytes_of(in_b, *y)) else { continue };
        let Some(rest) = left.checked_sub(x.size.max(y.size)) else { break };
        left = rest;
        if before == after {
            continue;
        }
        let at = before.iter().zip(after).position(|(x, y)| x != y).unwrap_or(before.len().min(after.len()));
        let size = if x.size == y.size {
            format!("{} bytes", thousands(x.size))
        } else {
            format!("{} → {} bytes", thousands(x.size), thousands(y.size))
        };
        differ.push((x.start, format!("{}: {size}, other from +{at:#x} on", escape_bytes(name))));
    }
    differ.sort();
    if differ.is_empty() {
        return Ok(Ok(vec![first_difference(in_a, in_b)]));
    }
    let mut lines: Vec<String> = differ.iter().take(SHOWN).map(|(_, line)| line.clone()).collect();
    if differ.len() > SHOWN {
        lines.push(format!("{} differ in all", count(differ.len(), "symbol")));
    }
    Ok(Ok(lines))
}

/// Where two byte strings begin to differ, and in how many bytes.
pub(in super::super) fn first_difference(a: &[u8], b: &[u8]) -> String {
    let size = if a.len() == b.len() {
        String::new()
    } else {
        format!("{} → {} bytes, ", thousands(a.len() as u64), thousands(b.len() as u64))
    };
    let Some(at) = a.iter().zip(b).position(|(x, y)| x != y) else {
        return format!("{size}the same up to {:#x}", a.len().min(b.len()));
    };
    let near = |bytes: &[u8]| hex(&bytes[at..bytes.len().min(at + NEAR)]);
    let number = a.iter().zip(b).filter(|(x, y)| x != y).count();
    let many = if a.len() == b.len() { format!("{}, ", count(number, "byte")) } else { size };
    format!("{many}first at {at:#x}: {} → {}", near(a), near(b))
}
