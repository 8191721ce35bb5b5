//! Whose a file of a kernel is, as its MAINTAINERS says (the head of that file; `scripts/get_maintainer.pl` reads it).
//!
//! A section is somebody's by its `F:` patterns, but for what its `X:` patterns take out. Not read are `N:` and `K:`, regular
//! expressions over names and contents, of which none is there for the files of the build; `tests/maintainers.rs` holds the
//! answers against those of the kernel's own script.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The section that has every file; its maintainer is not written to about each.
const THE_REST: &str = "THE REST";

/// One section.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Section {
    title: String,
    maintainers: Vec<String>,
    reviewers: Vec<String>,
    lists: Vec<String>,
    files: Vec<String>,
    excluded: Vec<String>,
}

/// A MAINTAINERS file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Maintainers(Vec<Section>);

/// Whose a file is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Owners {
    /// The file, from the top of the sources.
    pub file: String,
    /// The sections of MAINTAINERS that have it, the closest first.
    pub sections: Vec<String>,
    /// Who maintains it, each as `Name <address>`.
    pub maintainers: Vec<String>,
    /// Who reviews it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reviewers: Vec<String>,
    /// Mailing lists.
    pub lists: Vec<String>,
}

impl Maintainers {
    /// Reads the file. What is no section, as the explanations at its head, has no patterns and matches nothing.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut sections: Vec<Section> = Vec::new();
        let mut before = "";
        for line in text.lines() {
            let Some((kind, value)) = entry(line) else {
                before = if line.trim().is_empty() { "" } else { line.trim() };
                continue;
            };
            // The line right before the first entry is the title.
            if !before.is_empty() {
                sections.push(Section { title: std::mem::take(&mut before).to_owned(), ..Section::default() });
            }
            let Some(section) = sections.last_mut() else { continue };
            let of = match kind {
                'M' => &mut section.maintainers,
                'R' => &mut section.reviewers,
                'L' => &mut section.lists,
                'F' => &mut section.files,
                'X' => &mut section.excluded,
                _ => continue,
            };
            of.push(value.to_owned());
        }
        Self(sections)
    }

    /// Whose the file at this path is, from the top of the sources; none if no section has it.
    #[must_use]
    pub fn of(&self, file: &str) -> Option<Owners> {
        let mut sections: Vec<(usize, &Section)> =
            self.0.iter().filter_map(|section| Some((section.closeness(file)?, section))).collect();
        // The longest pattern first; of equal ones as they stand in the file.
        sections.sort_by_key(|(closeness, _)| std::cmp::Reverse(*closeness));
        let mut owners = Owners { file: file.to_owned(), ..Owners::default() };
        for (_, section) in sections {
            owners.sections.push(section.title.clone());
            if section.title != THE_REST {
                add(&mut owners.maintainers, section.maintainers.iter().map(String::as_str));
                add(&mut owners.reviewers, section.reviewers.iter().map(String::as_str));
            }
            // A list can be followed by who may write to it.
            add(&mut owners.lists, section.lists.iter().filter_map(|list| list.split_whitespace().next()));
        }
        owners.reviewers.retain(|one| !owners.maintainers.contains(one));
        (!owners.sections.is_empty()).then_some(owners)
    }
}

impl Section {
    /// How long the pattern is by which it has the file, if it has it.
    fn closeness(&self, file: &str) -> Option<usize> {
        if self.excluded.iter().any(|pattern| matches(pattern, file)) {
            return None;
        }
        let of = |pattern: &&String| matches(pattern, file);
        // That of everything is no pattern of anybody's.
        let length = |pattern: &String| if pattern.starts_with('*') { 0 } else { pattern.len() };
        self.files.iter().filter(of).map(length).max()
    }
}

fn add<'t>(all: &mut Vec<String>, more: impl Iterator<Item = &'t str>) {
    for one in more {
        if !all.iter().any(|have| have == one) {
            all.push(one.to_owned());
        }
    }
}

/// A line `M:<blank>value`.
fn entry(line: &str) -> Option<(char, &str)> {
    let mut chars = line.chars();
    let kind = chars.next().filter(char::is_ascii_uppercase)?;
    let value = chars.as_str().strip_prefix(':')?.trim();
    Some((kind, value))
}

/// Whether a pattern has a file, as `file_match_pattern` of `scripts/get_maintainer.pl` says: one that ends with a slash has all
/// below, another one what begins like it and lies as deep. `*` is any run of characters, `?` any one.
fn matches(pattern: &str, file: &str) -> bool {
    let depth = |path: &str| path.bytes().filter(|byte| *byte == b'/').count();
    let deep = pattern.ends_with('/') || depth(pattern) == depth(file);
    deep && wildmatch::WildMatch::new(&format!("{pattern}*")).matches(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "List of maintainers\n===================\n\n\tM: *Mail* patches to: FullName <address@domain>\n\n\
        KERNEL BUILD + files below scripts/ (unless maintained elsewhere)\n\
        M:\tNathan <nathan@example.org>\nR:\tNicolas <nicolas@example.org>\nL:\tlinux-kbuild@example.org\nS:\tMaintained\n\
        F:\tMakefile\nF:\tscripts/*vmlinux*\nF:\tscripts/Makefile*\nF:\tscripts/mod/\nX:\tscripts/mod/odd.c\n\n\
        BPF [GENERAL] (Safe Dynamic Programs and Tools)\nM:\tAlexei <ast@example.org>\n\
        L:\tbpf@example.org (moderated for non-subscribers)\nF:\tscripts/Makefile.btf\nF:\ttools/bpf/\n\n\
        THE REST\nM:\tPenguin <penguin@example.org>\nL:\tlinux-kernel@example.org\nF:\t*\nF:\t*/\n";

    fn of(file: &str) -> (Vec<String>, Vec<String>, Vec<String>) {
        let owners = Maintainers::parse(TEXT).of(file).expect("somebody has it");
        let sections = owners.sections.iter().map(|title| title.split(' ').next().unwrap_or("").to_owned()).collect();
        (sections, owners.maintainers, owners.lists)
    }

    #[test]
    fn a_file_is_of_all_sections_that_name_it_the_closest_first() {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let (nathan, alexei) = ("Nathan <nathan@example.org>", "Alexei <ast@example.org>");
        let rest = "linux-kernel@example.org";
        assert_eq!(
            of("scripts/Makefile.btf"),
            (
                words(&["BPF", "KERNEL", "THE"]),
                words(&[alexei, nathan]),
                words(&["bpf@example.org", "linux-kbuild@example.org", rest])
            )
        );
        let kbuild = (words(&["KERNEL", "THE"]), words(&[nathan]), words(&["linux-kbuild@example.org", rest]));
        for file in ["Makefile", "scripts/link-vmlinux.sh", "scripts/Makefile.modfinal", "scripts/mod/modpost.c"] {
            assert_eq!(of(file), kbuild, "{file}");
        }
        // Not as deep, taken out, or nobody's.
        for file in ["fs/Makefile", "scripts/mod/odd.c", "scripts/a/vmlinux"] {
            assert_eq!(of(file), (words(&["THE"]), Vec::new(), words(&[rest])), "{file}");
        }
        assert_eq!(of("tools/bpf/resolve_btfids/main.c").0, words(&["BPF", "THE"]));
    }

    #[test]
    fn what_is_no_such_file_says_nothing() {
        for text in ["", "M:\tnobody\nF:\t*\n", "a\n\nb\n", "\0\u{1F427}:\n", "T\nF:\n"] {
            let owners = Maintainers::parse(text).of("Makefile");
            assert!(owners.is_none_or(|owners| owners.maintainers.is_empty()), "{text:?}");
        }
    }
}
