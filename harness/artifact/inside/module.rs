//! Sections of a module that modpost writes: `.modinfo`, `__versions`, `.gnu.linkonce.this_module`.

use std::collections::BTreeMap;

use super::super::walk::escape_bytes;
use super::headers::Order;
use super::strings::shown;
use super::{SHOWN, named};

/// Entries of `.modinfo`: `KEY=VALUE`, each ended by NUL (`include/linux/moduleparam.h`). A key may occur often.
pub(super) fn modinfo(a: &[u8], b: &[u8]) -> Vec<String> {
    type Entries<'d> = BTreeMap<&'d [u8], Vec<&'d [u8]>>;
    fn entries(bytes: &[u8]) -> Entries<'_> {
        let mut entries = Entries::new();
        for entry in bytes.split(|&byte| byte == 0).filter(|entry| !entry.is_empty()) {
            let at = entry.iter().position(|&byte| byte == b'=');
            let (key, value) = at.map_or((entry, &[][..]), |at| (&entry[..at], &entry[at + 1..]));
            entries.entry(key).or_default().push(value);
        }
        entries.values_mut().for_each(|values| values.sort_unstable());
        entries
    }
    let (in_a, in_b) = (entries(a), entries(b));
    let mut lines = Vec::new();
    let keys: std::collections::BTreeSet<&&[u8]> = in_a.keys().chain(in_b.keys()).collect();
    for key in keys {
        let of = |entries: &Entries<'_>| entries.get(key).map_or(0, Vec::len);
        let (before, after) = (in_a.get(key).map_or(&[][..], |v| v), in_b.get(key).map_or(&[][..], |v| v));
        let name = escape_bytes(key);
        match (before, after) {
            (before, after) if before == after => {}
            ([before], [after]) => lines.push(format!("{name}: {} → {}", shown(before), shown(after))),
            _ => {
                // Both are sorted; what one has more often than the other counts as often.
                let only = |of: &[&[u8]], other: &[&[u8]]| -> Vec<String> {
                    let mut left: BTreeMap<&[u8], usize> = BTreeMap::new();
                    other.iter().for_each(|value| *left.entry(value).or_default() += 1);
                    let mut only = Vec::new();
                    for value in of {
                        match left.get_mut(value) {
                            Some(n) if *n > 0 => *n -= 1,
                            _ => only.push(shown(value)),
                        }
                    }
                    only
                };
                let lists = [('-', only(before, after), of(&in_a)), ('+', only(after, before), of(&in_b))];
                for (sign, values, _) in lists {
                    lines.extend(values.iter().take(SHOWN).map(|value| format!("{sign} {name}={value}")));
                    if values.len() > SHOWN {
                        lines.push(format!("{sign} and {} more of {name}", values.len() - SHOWN));
                    }
                }
            }
        }
    }
    if lines.is_empty() {
        lines.push("the same entries in another order".to_owned());
    }
    lines
}

/// `struct modversion_info` (`include/linux/module.h`): a CRC as wide as `long`, and a name; 64 bytes in all.
pub(super) fn versions(a: &[u8], b: &[u8], order: Order) -> Vec<String> {
    let of = |bytes| -> BTreeMap<String, u64> {
        let entry = |bytes: &[u8]| {
            let name = bytes.get(order.width()..)?.split(|&byte| byte == 0).next()?;
            Some((escape_bytes(name), order.wide(bytes, 0)?))
        };
        <[u8]>::chunks_exact(bytes, 64).filter_map(entry).collect()
    };
    let (a, b): (BTreeMap<_, _>, BTreeMap<_, _>) = (of(a), of(b));
    let mut lines = Vec::new();
    let only = |of: &BTreeMap<String, u64>, other: &BTreeMap<String, u64>| -> Vec<String> {
        of.keys().filter(|name| !other.contains_key(*name)).cloned().collect()
    };
    let (lost, gained) = (only(&a, &b), only(&b, &a));
    let other: Vec<String> = a
        .iter()
        .filter_map(|(name, crc)| {
            let after = b.get(name).filter(|after| *after != crc)?;
            Some(format!("CRC of {name}: {crc:#010x} → {after:#010x}"))
        })
        .collect();
    lines.extend(other.iter().take(SHOWN).cloned());
    if other.len() > SHOWN {
        lines.push(format!("and {} CRCs more", other.len() - SHOWN));
    }
    if !lost.is_empty() {
        lines.push(format!("imports lost: {}", named(&lost)));
    }
    if !gained.is_empty() {
        lines.push(format!("imports gained: {}", named(&gained)));
    }
    if lines.is_empty() {
        lines.push("the same imports in another order".to_owned());
    }
    lines
}

/// `struct module` (`include/linux/module.h`): begins with a state, a list head, and the name.
pub(super) fn this_module(a: &[u8], b: &[u8], order: Order) -> Vec<String> {
    let name = |bytes: &[u8]| {
        // `enum module_state` is padded to a pointer, and a list head is two of them; MODULE_NAME_LEN is 64 less a long
        let start = 3 * order.width();
        let bytes = bytes.get(start..).unwrap_or_default();
        let bytes = &bytes[..bytes.len().min(64 - order.width())];
        escape_bytes(bytes.split(|&byte| byte == 0).next().unwrap_or_default())
    };
    let mut lines = Vec::new();
    lines.extend(super::change("module name", &name(a), &name(b)));
    lines.extend(super::change("size of struct module", &a.len(), &b.len()));
    if lines.is_empty() {
        lines.push(super::code::first_difference(a, b));
    }
    lines
}
