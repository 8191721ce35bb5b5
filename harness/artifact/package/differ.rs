//! How two packages differ beside what they install: what makes them other files though their contents are the same.

use super::super::inside::{Detail, count, thousands};
use super::super::trees::{FileDiff, Looked, PartNote, PartState};
use super::{Entry, Package};

/// Whether both have the same members with the same contents, modes and targets.
#[must_use]
pub fn contents_equal(a: &Package, b: &Package) -> bool {
    let same = |(path, entry): (&String, &Entry)| {
        b.entries.get(path).is_some_and(|other| {
            (entry.kind, entry.mode, entry.size, entry.sha256, &entry.told)
                == (other.kind, other.mode, other.size, other.sha256, &other.told)
        })
    };
    a.kind == b.kind && a.entries.len() == b.entries.len() && a.entries.iter().all(same)
}

/// What is to be said of the packages themselves; none where they differ in their contents alone, or are not of one kind.
#[must_use]
pub fn differences(a: &Package, b: &Package) -> Option<Looked> {
    if a.sha256 == b.sha256 {
        return Some(Looked::Equal(None));
    }
    if a.kind != b.kind {
        return None;
    }
    let equal = contents_equal(a, b);
    let mut told: Vec<(&str, Vec<String>)> = vec![
        ("signature", signature(a, b)),
        ("container", container(a, b)),
        ("compression", compression(a, b)),
        ("order", order(a, b)),
        ("mtime", mtimes(a, b)),
        ("owner", owners(a, b)),
    ];
    told.retain(|(_, lines)| !lines.is_empty());
    if told.is_empty() && equal {
        let lines = a.pieces.iter().zip(&b.pieces).filter(|(a, b)| a.inside != b.inside);
        let lines = lines.map(|(a, _)| format!("{} is written otherwise, with the same in it", a.name)).collect();
        told.push(("headers", lines));
    }
    let names: Vec<&str> = told.iter().map(|(part, _)| *part).collect();
    if names.is_empty() {
        return None;
    }
    let verb = if names.len() == 1 { "differs" } else { "differ" };
    let names = names.join(", ");
    let summary = if equal {
        format!("the contents are equal, the packages are not: {names} {verb}")
    } else {
        format!("beside what is in the packages, {names} {verb}")
    };
    let parts = told.iter().map(|(part, _)| PartNote::of(part, PartState::Changed)).collect();
    let details = told.into_iter().map(|(part, lines)| Detail { part: part.to_owned(), lines }).collect();
    Some(Looked::Differs(FileDiff { summary, parts, details, signature_only: false }))
}

fn signature(a: &Package, b: &Package) -> Vec<String> {
    let of = |package: &Package| {
        let piece = package.pieces.iter().find(|piece| piece.name == "signature");
        piece.map(|piece| (piece.header.clone(), piece.outside))
    };
    match (of(a), of(b)) {
        (Some((a, x)), Some((b, y))) if x != y && a == b => vec![format!("another signature ({a})")],
        (Some((a, x)), Some((b, y))) if x != y => vec![format!("{a} → {b}")],
        _ => Vec::new(),
    }
}

/// What ar says of the members, and which there are.
fn container(a: &Package, b: &Package) -> Vec<String> {
    let mut lines = Vec::new();
    let stem = |name: &str| name.split_once(".tar").map_or(name.to_owned(), |(stem, _)| format!("{stem}.tar"));
    let of = |package: &Package, name: &str| {
        package.pieces.iter().find(|piece| stem(&piece.name) == stem(name)).map(|piece| piece.header.clone())
    };
    for piece in a.pieces.iter().filter(|piece| piece.name != "signature") {
        match of(b, &piece.name) {
            Some(header) if header != piece.header => {
                lines.push(format!("{}: {}", piece.name, changed(&piece.header, &header)));
            }
            Some(_) => {}
            None => lines.push(format!("{}: only in A {}", piece.name, piece.header)),
        }
    }
    let added = b.pieces.iter().filter(|piece| of(a, &piece.name).is_none());
    lines.extend(added.map(|piece| format!("{}: only in B {}", piece.name, piece.header)));
    lines
}

/// Of two lists of the same length, what differs.
fn changed(a: &str, b: &str) -> String {
    let pairs: Vec<(&str, &str)> = a.split(", ").zip(b.split(", ")).filter(|(a, b)| a != b).collect();
    let pairs: Vec<String> = pairs.iter().map(|(a, b)| format!("{a} → {b}")).collect();
    pairs.join(", ")
}

fn compression(a: &Package, b: &Package) -> Vec<String> {
    let mut lines = Vec::new();
    for piece in &a.pieces {
        let stem = |name: &str| name.split_once(".tar").map_or(name.to_owned(), |(stem, _)| stem.to_owned());
        let Some(other) = b.pieces.iter().find(|other| stem(&other.name) == stem(&piece.name)) else { continue };
        let told = |packing: Option<super::Packing>| packing.map_or("none".to_owned(), |packing| packing.to_string());
        if piece.packing != other.packing {
            let (before, after) = (told(piece.packing), told(other.packing));
            lines.push(format!("{}: {before} → {after}", stem(&piece.name)));
        } else if piece.inside == other.inside && piece.outside != other.outside {
            let how = told(piece.packing);
            lines.push(format!("{}: the same inside, compressed otherwise ({how})", piece.name));
        }
    }
    lines
}

/// What both have.
fn both<'p>(a: &'p Package, b: &'p Package) -> impl Iterator<Item = (&'p String, &'p Entry, &'p Entry)> {
    a.entries.iter().filter_map(|(path, entry)| Some((path, entry, b.entries.get(path)?)))
}

fn order(a: &Package, b: &Package) -> Vec<String> {
    let mut pairs: Vec<_> = both(a, b).collect();
    pairs.sort_by_key(|(_, entry, _)| entry.order);
    let later = pairs.windows(2).find(|pair| pair[0].2.order > pair[1].2.order);
    let told = later.map(|pair| format!("`{}` comes before `{}` in A, and after it in B", pair[0].0, pair[1].0));
    told.into_iter().collect()
}

fn mtimes(a: &Package, b: &Package) -> Vec<String> {
    let others: Vec<_> = both(a, b).filter(|(_, a, b)| a.mtime != b.mtime).collect();
    let Some((path, first_a, first_b)) = others.first() else { return Vec::new() };
    let by: i128 = i128::from(first_b.mtime) - i128::from(first_a.mtime);
    let same = others.iter().all(|(_, a, b)| i128::from(b.mtime) - i128::from(a.mtime) == by);
    let seconds = |by: i128| format!("{by:+} s");
    let of = count(both(a, b).count(), "common member");
    let how = if same { format!(", all by {}", seconds(by)) } else { String::new() };
    vec![
        format!("of {} of {of}{how}", thousands(others.len() as u64)),
        format!("{path}: {} → {}", utc(first_a.mtime), utc(first_b.mtime)),
    ]
}

fn owners(a: &Package, b: &Package) -> Vec<String> {
    let others: Vec<_> = both(a, b).filter(|(_, a, b)| a.owner != b.owner).collect();
    let Some((path, first_a, first_b)) = others.first() else { return Vec::new() };
    let of = count(both(a, b).count(), "common member");
    vec![
        format!("of {} of {of}", thousands(others.len() as u64)),
        format!("{path}: {} → {}", first_a.owner, first_b.owner),
    ]
}

/// A time as ISO 8601 has it (days to a civil date: Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn utc(seconds: i64) -> String {
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Beyond what four digits of a year say.
    if !(-719_468..2_932_897).contains(&days) {
        return format!("{seconds} s");
    }
    let shifted = days + 719_468;
    let (era, day) = (shifted / 146_097, shifted % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, month) = (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    let year = year + era * 400 + i64::from(month <= 2);
    let (hours, minutes, seconds) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{seconds:02}Z")
}

#[cfg(test)]
mod tests {
    #[test]
    fn times_are_told_as_dates() {
        for (seconds, told) in [
            (0, "1970-01-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_794_652_185, "2026-11-14T10:29:45Z"),
            (i64::MAX, "9223372036854775807 s"),
        ] {
            assert_eq!(super::utc(seconds), told);
        }
    }
}
