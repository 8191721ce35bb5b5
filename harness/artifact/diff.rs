//! Where two files differ, part by part.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::elf::{is_gap, is_layout};
use super::{Artifact, Digest, Part, WHOLE};

/// How many part names a summary spells out.
const NAMED: usize = 6;

/// A part that both files have, with other bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartChange {
    /// The part's name.
    pub name: String,
    /// Its length in A, in bytes.
    pub size_a: u64,
    /// Its length in B, in bytes.
    pub size_b: u64,
}

/// A part that both files have, with the same bytes at another place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartMove {
    /// The part's name.
    pub name: String,
    /// Its offset in A, in bytes.
    pub from: u64,
    /// Its offset in B, in bytes.
    pub to: u64,
}

/// How two artifacts differ. Lists are in the order of A's parts, `added` in that of B's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartDiff {
    /// Parts with other bytes.
    pub changed: Vec<PartChange>,
    /// Parts with the same bytes elsewhere.
    pub moved: Vec<PartMove>,
    /// Parts that only B has.
    pub added: Vec<String>,
    /// Parts that only A has.
    pub removed: Vec<String>,
    /// The permission bits of A and B, where they differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<(u32, u32)>,
    /// The bytes differ, but only in headers and padding: every section is there with the same content.
    /// A section header's flags count as layout too, since its digest does not tell them from its offsets.
    pub layout_only: bool,
    /// Length of B minus length of A, in bytes.
    pub size_delta: i64,
    /// One line for people.
    pub summary: String,
}

impl PartDiff {
    /// Whether nothing differs, neither bytes nor mode.
    pub fn is_empty(&self) -> bool {
        self.same_bytes() && self.mode.is_none()
    }

    fn same_bytes(&self) -> bool {
        self.changed.is_empty() && self.moved.is_empty() && self.added.is_empty() && self.removed.is_empty()
    }
}

/// Compares two artifacts by their records. Artifacts with different digests never give an empty diff.
pub fn diff_parts(a: &Artifact, b: &Artifact) -> PartDiff {
    let in_a = by_name(&a.parts);
    let in_b = by_name(&b.parts);
    let mut diff = PartDiff {
        mode: (a.mode != b.mode).then_some((a.mode, b.mode)),
        // Lengths of files fit (`off_t` is signed); a record that claims more must not panic.
        size_delta: (b.size as i64).wrapping_sub(a.size as i64),
        ..PartDiff::default()
    };
    for part in &a.parts {
        match in_b.get(part.name.as_str()) {
            None => diff.removed.push(part.name.clone()),
            Some(other) if content(other) != content(part) => {
                diff.changed.push(PartChange { name: part.name.clone(), size_a: part.size, size_b: other.size })
            }
            Some(other) if other.offset != part.offset => {
                diff.moved.push(PartMove { name: part.name.clone(), from: part.offset, to: other.offset })
            }
            Some(_) => {}
        }
    }
    for part in &b.parts {
        if !in_a.contains_key(part.name.as_str()) {
            diff.added.push(part.name.clone());
        }
    }
    // Parts that cover a file determine its bytes. A record from disk may break that rule; believe its digest.
    if a.sha256 != b.sha256 && diff.same_bytes() {
        diff.changed.push(PartChange { name: WHOLE.to_owned(), size_a: a.size, size_b: b.size });
    }
    diff.layout_only = !diff.same_bytes()
        && diff.changed.iter().all(|part| is_layout(&part.name))
        && diff.added.iter().all(|name| is_layout(name))
        && diff.removed.iter().all(|name| is_layout(name));
    diff.summary = summary(&diff);
    diff
}

fn by_name(parts: &[Part]) -> BTreeMap<&str, &Part> {
    parts.iter().map(|part| (part.name.as_str(), part)).collect()
}

fn content(part: &Part) -> (Digest, u64) {
    (part.sha256, part.size)
}

fn summary(diff: &PartDiff) -> String {
    let mut clauses = Vec::new();
    if diff.layout_only {
        let size = match diff.size_delta {
            0 => "same size".to_owned(),
            delta => format!("{delta:+} bytes"),
        };
        let sections_moved = diff.moved.iter().any(|part| !is_layout(&part.name));
        clauses.push(if sections_moved {
            format!("same sections, other offsets (layout only, {size})")
        } else {
            format!("same sections, other headers or padding (layout only, {size})")
        });
    } else {
        // Headers follow from what changed between them; they are worth a word only when alone.
        let sections: Vec<&str> = diff.changed.iter().map(|part| part.name.as_str()).collect();
        clauses.extend(clause("", &sections, differ_or_differs(&sections)));
        let removed: Vec<&str> = diff.removed.iter().map(String::as_str).collect();
        clauses.extend(clause("only in A: ", &removed, ""));
        let added: Vec<&str> = diff.added.iter().map(String::as_str).collect();
        clauses.extend(clause("only in B: ", &added, ""));
        if clauses.is_empty() && !diff.same_bytes() {
            clauses.push("same sections, other offsets".to_owned());
        }
    }
    if let Some((a, b)) = diff.mode {
        clauses.push(format!("mode {a:o} in A, {b:o} in B"));
    }
    if clauses.is_empty() {
        return "identical".to_owned();
    }
    clauses.join("; ")
}

/// `prefix` + the names that are sections + `suffix`; nothing when there are none.
fn clause(prefix: &str, names: &[&str], suffix: &str) -> Option<String> {
    let sections: Vec<&str> = names.iter().copied().filter(|name| !is_layout(name)).collect();
    if sections.is_empty() {
        return None;
    }
    let mut list = sections[..sections.len().min(NAMED)].join(", ");
    if sections.len() > NAMED {
        list.push_str(&format!(" and {} more", sections.len() - NAMED));
    }
    Some(format!("{prefix}{list}{suffix}"))
}

fn differ_or_differs(names: &[&str]) -> &'static str {
    let sections = names.iter().filter(|name| !is_layout(name)).count();
    if sections == 1 && names.iter().all(|name| *name != WHOLE && !is_gap(name)) { " differs" } else { " differ" }
}
