//! Names that belong together though they are not the same: a module that is compressed in one tree, and the paths of two
//! releases of a kernel.

use std::collections::BTreeMap;

use super::super::packed::Packing;
use super::super::walk::FileKind;
use super::place::Place;

/// Endings of modules, packed or not: `x.ko` in one tree belongs to `x.ko.zst` in the other.
const MODULE: &str = ".ko";
/// Below it each release has a directory of its own.
const RELEASES: &str = "lib/modules/";

/// Everything that trees have, by path in A or in B.
pub(super) type Names = BTreeMap<String, (Option<Place>, Option<Place>)>;

/// Puts together what only A has and what only B has. The names in B of what was put together.
pub(super) fn put_together(names: &mut Names) -> BTreeMap<String, String> {
    let releases = (release(names, |(a, _)| a.is_some()), release(names, |(_, b)| b.is_some()));
    let releases = match releases {
        (Some(a), Some(b)) if a != b => Some((a, b)),
        _ => None,
    };
    let key = |path: &str, place: &Place, release: Option<&String>| {
        // Only a file is the same thing when it is compressed: a link leads to another name.
        let stem = if place.kind == FileKind::File { stem(path) } else { path };
        // no path has a zero in it
        let stem = release.map_or_else(|| stem.to_owned(), |release| stem.replace(release.as_str(), "\0"));
        (place.kind, stem)
    };
    let (release_a, release_b) = (releases.as_ref().map(|r| &r.0), releases.as_ref().map(|r| &r.1));
    let mut by_key: BTreeMap<(FileKind, String), Vec<String>> = BTreeMap::new();
    for (path, sides) in &*names {
        if let (None, Some(b)) = sides {
            by_key.entry(key(path, b, release_b)).or_default().push(path.clone());
        }
    }
    let mut matched = BTreeMap::new();
    let only_a = names.iter().filter_map(|(path, sides)| match sides {
        (Some(a), None) => Some((path.clone(), key(path, a, release_a))),
        _ => None,
    });
    for (path, key) in only_a.collect::<Vec<_>>() {
        let Some(other) = by_key.get_mut(&key).and_then(Vec::pop) else { continue };
        let Some((_, place)) = names.remove(&other) else { continue };
        if let Some(sides) = names.get_mut(&path) {
            sides.1 = place;
        }
        matched.insert(path, other);
    }
    matched
}

/// A module's name without its compression; of anything else the name.
fn stem(path: &str) -> &str {
    match Packing::of(path) {
        Some((_, stem)) if stem.ends_with(MODULE) => stem,
        _ => path,
    }
}

/// The only release of which one side has modules.
fn release(names: &Names, has: impl Fn(&(Option<Place>, Option<Place>)) -> bool) -> Option<String> {
    let mut found: Option<&str> = None;
    for (path, _) in names.iter().filter(|(_, sides)| has(sides)) {
        let Some((before, rest)) = path.split_once(RELEASES) else { continue };
        let Some((release, _)) = rest.split_once('/') else { continue };
        if !(before.is_empty() || before.ends_with('/')) || release.is_empty() {
            continue;
        }
        match found {
            Some(other) if other != release => return None,
            _ => found = Some(release),
        }
    }
    found.map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matched(a: &[&str], b: &[&str]) -> Vec<(String, String)> {
        let mut names = Names::new();
        let place = || Some(Place::on_disk("x".into(), FileKind::File, 0));
        a.iter().for_each(|path| names.entry((*path).to_owned()).or_default().0 = place());
        b.iter().for_each(|path| names.entry((*path).to_owned()).or_default().1 = place());
        put_together(&mut names).into_iter().collect()
    }

    #[test]
    fn paths_of_two_releases_belong_together_where_each_side_has_one() {
        let one = ["boot/vmlinuz-6.1-1", "lib/modules/6.1-1/a.ko", "lib/modules/6.1-1/b.ko", "usr/6.1-2/x"];
        let two = ["boot/vmlinuz-6.1-2", "lib/modules/6.1-2/a.ko.xz", "usr/lib/modules/6.1-2/b.ko", "usr/6.1-2/x"];
        let found = matched(&one, &two);
        let found: Vec<(&str, &str)> = found.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        // what lies in another directory is something else
        let both =
            [("boot/vmlinuz-6.1-1", "boot/vmlinuz-6.1-2"), ("lib/modules/6.1-1/a.ko", "lib/modules/6.1-2/a.ko.xz")];
        assert_eq!(found, both);
        // two releases on one side: which is which cannot be told
        assert!(matched(&["lib/modules/1/a", "lib/modules/2/a"], &["lib/modules/3/a"]).is_empty());
        for other in [["xlib/modules/1/a", "lib/modules/2/a"], ["lib/modules/a", "lib/modules/2/a"]] {
            assert!(matched(&other[..1], &other[1..]).is_empty(), "{other:?}");
        }
    }
}
