//! Versions of kernels and tools: what a scenario says of them, and which it means.

use std::str::FromStr;

use serde::Deserialize;

/// Comparisons of a version, all of which must hold: `>= 6.9, < 6.13`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct VersionRange(Vec<(Bound, Vec<u32>)>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bound {
    From,
    Below,
}

impl TryFrom<String> for VersionRange {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl FromStr for VersionRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let one = |part: &str| {
            let part = part.trim();
            let below = || part.strip_prefix('<').map(|version| (Bound::Below, version));
            let (bound, version) = part.strip_prefix(">=").map(|version| (Bound::From, version)).or_else(below)?;
            let numbers: Result<Vec<u32>, _> = version.trim().split('.').map(str::parse).collect();
            Some((bound, numbers.ok()?))
        };
        let all: Option<Vec<_>> = text.split(',').map(one).collect();
        all.map(Self).ok_or_else(|| format!("`{text}` is no range of versions such as `>= 6.9, < 6.13`"))
    }
}

impl VersionRange {
    /// Whether a version is within, by its numbers; those that are not there are 0.
    #[must_use]
    pub fn holds(&self, version: &[u32]) -> bool {
        let have = without_zeros(version);
        self.0.iter().all(|(bound, numbers)| match bound {
            Bound::From => have >= without_zeros(numbers),
            Bound::Below => have < without_zeros(numbers),
        })
    }
}

/// The numbers of a version but for zeros at its end: 6.9 is 6.9.0.
fn without_zeros(numbers: &[u32]) -> &[u32] {
    let end = numbers.iter().rposition(|number| *number != 0).map_or(0, |last| last + 1);
    &numbers[..end]
}

/// Whether a version is the one asked for: `6.12` names 6.12 and every 6.12.x.
#[must_use]
pub fn version_fits(wanted: &str, have: &str) -> bool {
    have == wanted || have.strip_prefix(wanted).is_some_and(|rest| rest.starts_with(['.', '-']))
}

/// Whether a version is among those that are meant. A name as `6.12` is that of its key, the part that lists go by; within a
/// [`VersionRange`] the whole version is, of which a release candidate counts as its release.
#[must_use]
pub fn version_is_among(meant: &str, key: &str, whole: &str) -> bool {
    let Ok(range) = meant.parse::<VersionRange>() else { return version_fits(meant, key) };
    let end = whole.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(whole.len());
    let numbers: Vec<u32> = whole[..end].split('.').map_while(|part| part.parse().ok()).collect();
    !numbers.is_empty() && range.holds(&numbers)
}

/// Whether a text can be a tool's version: numbers with dots between.
pub(super) fn is_version(text: &str) -> bool {
    text.split('.').all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
}

/// Whether a text can say which versions are meant: one, with what a kernel's may have behind it, or a range.
pub(super) fn means_versions(text: &str) -> bool {
    let (numbers, _) = text.split_once('-').unwrap_or((text, ""));
    is_version(numbers) || text.parse::<VersionRange>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_names_its_stable_versions_and_no_other() {
        assert!(version_fits("6.12", "6.12.117") && version_fits("6.12", "6.12") && version_fits("6.12", "6.12-rc1"));
        assert!(!version_fits("6.1", "6.12.117") && !version_fits("6.12.1", "6.12"));
    }

    #[test]
    fn ranges_go_by_numbers() {
        for (meant, within, without) in [
            ("< 6.13", &["6.12.117", "5.4", "6.9-rc1"][..], &["6.13", "6.13.0-rc1", "7.0", "git", ""][..]),
            (">= 6.9, < 6.13", &["6.9", "6.9.0", "6.12.117-1~deb12u1"], &["6.1", "6.8.12", "6.13", "6.13.0", "7.0"]),
            (">=13", &["13", "13.2.0"], &["12.9"]),
            ("<1.28", &["1.24"], &["1.28", "1.30"]),
            ("6.12", &["6.12", "6.12.117"], &["6.1", "6.13"]),
        ] {
            let among = |have: &&&str| version_is_among(meant, have, have);
            assert_eq!(within.iter().filter(among).count(), within.len(), "{meant}");
            assert_eq!(without.iter().filter(among).count(), 0, "{meant}");
        }
    }

    #[test]
    fn what_is_no_range() {
        for wrong in ["6.9", "= 6.9", "> 6.9", "<= 6.9", "< six.1", "", ">= 6.9,", "<", "< 6..1", "< 4294967296"] {
            assert!(wrong.parse::<VersionRange>().is_err(), "{wrong}");
        }
        for (text, meant) in [("6.12", true), ("6.12-rc1", true), (">= 6.9, < 6.13", true), ("12", true)] {
            assert_eq!(means_versions(text), meant, "{text}");
        }
        for wrong in ["v6.12", "<= 6.12", "6.12 ", "debian:6.12", "", "6.x"] {
            assert!(!means_versions(wrong), "{wrong}");
        }
    }
}
