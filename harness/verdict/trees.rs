//! Two trees: which of their differences count. Pure over what was found.

use serde::{Deserialize, Serialize};

use super::pattern_matches;
use crate::artifact::inside::Detail;
use crate::artifact::trees::{FileDiff, Looked, Pair, PartNote};

/// The version of the JSON document, raised when a reader of the last one would misunderstand it.
pub const FORMAT: u32 = 1;

/// The word by which a rule means headers and padding of an ELF file.
const LAYOUT: &str = "layout";

/// A difference that is not to count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Which files: `*` is any run of characters, `/` too.
    pub path: String,
    /// Which of their parts; all of the file without it.
    pub part: Option<String>,
    /// Why.
    pub reason: String,
}

/// Why text is no rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRule {
    /// Without a reason nobody knows later whether it still holds.
    #[error("`{0}` needs a reason: PATTERN=REASON")]
    NoReason(String),
    /// Nothing to match.
    #[error("`{0}` has no pattern before its `=`")]
    NoPattern(String),
    /// A rule for parts that names none.
    #[error("`{0}` names no part: PATTERN:PART=REASON")]
    NoPart(String),
}

impl Rule {
    /// A rule for whole files, `PATTERN=REASON`.
    ///
    /// # Errors
    /// [`BadRule`]
    pub fn of_path(text: &str) -> Result<Self, BadRule> {
        let (path, reason) = split(text)?;
        Ok(Self { path: path.to_owned(), part: None, reason: reason.to_owned() })
    }

    /// A rule for parts of files, `PATTERN:PART=REASON`; a `:` in a path is written `?`.
    ///
    /// # Errors
    /// [`BadRule`]
    pub fn of_part(text: &str) -> Result<Self, BadRule> {
        let (target, reason) = split(text)?;
        match target.rsplit_once(':') {
            Some((path, part)) if !path.trim().is_empty() && !part.trim().is_empty() => {
                Ok(Self { path: path.trim().to_owned(), part: Some(part.trim().to_owned()), reason: reason.to_owned() })
            }
            _ => Err(BadRule::NoPart(text.to_owned())),
        }
    }

    /// A rule of either kind: with a `:` before its `=` it is for parts.
    ///
    /// # Errors
    /// [`BadRule`]
    pub fn of_line(text: &str) -> Result<Self, BadRule> {
        if split(text)?.0.contains(':') { Self::of_part(text) } else { Self::of_path(text) }
    }

    /// The rule as it can be written again, without its reason.
    #[must_use]
    pub fn target(&self) -> String {
        self.part.as_ref().map_or(self.path.clone(), |part| format!("{}:{part}", self.path))
    }

    fn fits(&self, pair: &Pair) -> bool {
        pattern_matches(&self.path, &pair.path) || pair.path_b.as_ref().is_some_and(|b| pattern_matches(&self.path, b))
    }

    fn fits_part(&self, pair: &Pair, part: &PartNote) -> bool {
        let is_layout = |name: &str| {
            matches!(name, "ELF header" | "section headers" | "program headers") || name.starts_with("gap before ")
        };
        let Some(wanted) = &self.part else { return false };
        self.fits(pair) && (pattern_matches(wanted, &part.name) || wanted == LAYOUT && is_layout(&part.name))
    }
}

fn split(text: &str) -> Result<(&str, &str), BadRule> {
    let (target, reason) = text.split_once('=').ok_or_else(|| BadRule::NoReason(text.to_owned()))?;
    match (target.trim(), reason.trim()) {
        ("", _) => Err(BadRule::NoPattern(text.to_owned())),
        (_, "") => Err(BadRule::NoReason(text.to_owned())),
        parts => Ok(parts),
    }
}

/// The rule by which a pair is ignored as a whole.
#[must_use]
pub fn ignored_by<'r>(pair: &Pair, rules: &'r [Rule]) -> Option<&'r Rule> {
    rules.iter().find(|rule| rule.part.is_none() && rule.fits(pair))
}

/// What came of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// The same in both.
    Equal,
    /// Not the same.
    Differs,
    /// Only A has it.
    OnlyA,
    /// Only B has it.
    OnlyB,
    /// Not the same, and a rule says why that does not count.
    Ignored,
    /// Not the same, but the module signature is all of it.
    SignatureOnly,
    /// One of the two cannot be read.
    Unreadable,
}

/// One file of two trees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileResult {
    /// Relative to the trees.
    pub path: String,
    /// What it is called in B, where that is something else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_b: Option<String>,
    /// What came of it.
    pub result: Standing,
    /// One line; empty for what is equal.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub summary: String,
    /// The parts that differ.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<PartNote>,
    /// What differs in them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<Detail>,
    /// Why it is ignored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// How often what came.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Files in all.
    pub files: usize,
    /// The same in both.
    pub equal: usize,
    /// Not the same.
    pub differ: usize,
    /// Equal but for the module signature.
    pub signature_only: usize,
    /// Only in A.
    pub only_a: usize,
    /// Only in B.
    pub only_b: usize,
    /// Ignored for a reason.
    pub ignored: usize,
    /// Parts that are ignored, in files that differ otherwise.
    pub ignored_parts: usize,
    /// Not readable.
    pub unreadable: usize,
}

/// Two trees, compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compared {
    /// [`FORMAT`].
    pub format: u32,
    /// The first tree or file, as it was named.
    pub a: String,
    /// The second.
    pub b: String,
    /// What is to be known beside: what was left out, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// How often what came.
    pub summary: Counts,
    /// Rules that no difference fits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unused_rules: Vec<String>,
    /// By path.
    pub files: Vec<FileResult>,
}

impl Compared {
    /// The exit code: 2 if something could not be read, 4 if there was nothing, 1 if something differs that counts.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        let counts = &self.summary;
        match () {
            () if counts.unreadable > 0 => 2,
            () if counts.files == 0 => 4,
            () if counts.differ + counts.signature_only + counts.only_a + counts.only_b > 0 => 1,
            () => 0,
        }
    }
}

/// Says of everything that was looked at whether it counts. `lost` is what could not even be listed: path and why.
#[must_use]
pub fn judge(
    names: (String, String),
    looked: Vec<(Pair, Looked)>,
    lost: Vec<(String, String)>,
    rules: &[Rule],
) -> Compared {
    let mut used = vec![false; rules.len()];
    let mut files: Vec<FileResult> =
        looked.into_iter().map(|(pair, looked)| one(pair, looked, rules, &mut used)).collect();
    files.extend(lost.into_iter().map(|(path, why)| FileResult {
        path,
        path_b: None,
        result: Standing::Unreadable,
        summary: why,
        parts: Vec::new(),
        details: Vec::new(),
        reason: None,
    }));
    let count = |standing| files.iter().filter(|file| file.result == standing).count();
    let is_partly = |file: &&FileResult| file.result != Standing::Ignored;
    let summary = Counts {
        files: files.len(),
        equal: count(Standing::Equal),
        differ: count(Standing::Differs),
        signature_only: count(Standing::SignatureOnly),
        only_a: count(Standing::OnlyA),
        only_b: count(Standing::OnlyB),
        ignored: count(Standing::Ignored),
        ignored_parts: files.iter().filter(is_partly).flat_map(|f| &f.parts).filter(|p| p.ignored.is_some()).count(),
        unreadable: count(Standing::Unreadable),
    };
    let unused_rules = rules.iter().zip(used).filter(|(_, used)| !used).map(|(rule, _)| rule.target()).collect();
    Compared { format: FORMAT, a: names.0, b: names.1, notes: Vec::new(), summary, unused_rules, files }
}

fn one(pair: Pair, looked: Looked, rules: &[Rule], used: &mut [bool]) -> FileResult {
    let (result, summary, diff) = match looked {
        Looked::Equal(what) => {
            (Standing::Equal, what.map_or(String::new(), |what| format!("{what}, not opened")), FileDiff::default())
        }
        Looked::OnlyA(what) => (Standing::OnlyA, format!("only in A: {what}"), FileDiff::default()),
        Looked::OnlyB(what) => (Standing::OnlyB, format!("only in B: {what}"), FileDiff::default()),
        Looked::Unreadable(why) => (Standing::Unreadable, why, FileDiff::default()),
        Looked::Differs(diff) if diff.signature_only => (Standing::SignatureOnly, diff.summary.clone(), diff),
        Looked::Differs(diff) => (Standing::Differs, diff.summary.clone(), diff),
    };
    let mut file = FileResult {
        path: pair.path.clone(),
        path_b: pair.path_b.clone(),
        result,
        summary,
        parts: diff.parts,
        details: diff.details,
        reason: None,
    };
    if result == Standing::Equal {
        return file;
    }
    let mut use_rule = |rule: &Rule| {
        let at = rules.iter().position(|have| std::ptr::eq(have, rule));
        if let Some(used) = at.and_then(|at| used.get_mut(at)) {
            *used = true;
        }
        rule.reason.clone()
    };
    if let Some(rule) = ignored_by(&pair, rules) {
        file.reason = Some(use_rule(rule));
        file.result = Standing::Ignored;
        return file;
    }
    for part in &mut file.parts {
        part.ignored = rules.iter().find(|rule| rule.fits_part(&pair, part)).map(&mut use_rule);
    }
    let counts = |part: &PartNote| !part.follows && part.ignored.is_none();
    if file.parts.iter().any(|part| part.ignored.is_some()) {
        if file.parts.iter().any(counts) {
            // What is left may be the signature alone.
            let mut left = file.parts.iter().filter(|part| counts(part)).map(|part| part.name.as_str());
            if left.all(|name| name == "module signature") {
                file.result = Standing::SignatureOnly;
            }
        } else {
            let mut reasons: Vec<&str> = file.parts.iter().filter_map(|part| part.ignored.as_deref()).collect();
            reasons.sort_unstable();
            reasons.dedup();
            file.reason = Some(reasons.join("; "));
            file.result = Standing::Ignored;
        }
    }
    file
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::trees::PartState;

    fn rule(path: &str, part: Option<&str>, reason: &str) -> Rule {
        Rule { path: path.into(), part: part.map(str::to_owned), reason: reason.into() }
    }

    #[test]
    fn rules_are_read_as_they_are_written() {
        assert_eq!(Rule::of_path("*.ko = why = so"), Ok(rule("*.ko", None, "why = so")));
        assert_eq!(Rule::of_path("a:b=why"), Ok(rule("a:b", None, "why")));
        assert_eq!(Rule::of_part("a?b:.debug_*=why"), Ok(rule("a?b", Some(".debug_*"), "why")));
        assert_eq!(Rule::of_part("a:b:mode=why"), Ok(rule("a:b", Some("mode"), "why")));
        assert_eq!(Rule::of_line("*.ko:module signature=a key"), Ok(rule("*.ko", Some("module signature"), "a key")));
        assert_eq!(Rule::of_line("*.ko=why"), Ok(rule("*.ko", None, "why")));
        for bad in ["", "x", "x=", "x= ", "=why"] {
            assert!(Rule::of_path(bad).is_err(), "{bad}");
        }
        for bad in ["x=why", ":x=why", "x:=why", "x:y"] {
            assert!(Rule::of_part(bad).is_err(), "{bad}");
        }
    }

    fn judged(parts: &[(&str, bool)], rules: &[Rule]) -> FileResult {
        let note = |&(name, follows): &(&str, bool)| PartNote {
            name: name.into(),
            change: PartState::Changed,
            size_a: None,
            size_b: None,
            follows,
            ignored: None,
        };
        let diff = FileDiff { parts: parts.iter().map(note).collect(), ..FileDiff::default() };
        let mut pair = Pair::default();
        (pair.path, pair.path_b) = ("lib/x.ko".into(), Some("lib/x.ko.xz".into()));
        let looked = vec![(pair, Looked::Differs(diff))];
        let mut compared = judge(("a".into(), "b".into()), looked, Vec::new(), rules);
        compared.files.remove(0)
    }

    #[test]
    fn a_file_is_ignored_when_all_that_counts_is() {
        let rules = [rule("*.ko", Some(".modinfo"), "one"), rule("*.xz", Some("layout"), "two")];
        let result = |parts| judged(parts, &rules).result;
        assert_eq!(result(&[(".modinfo", false)]), Standing::Ignored);
        assert_eq!(result(&[(".modinfo", false), ("section headers", true)]), Standing::Ignored);
        // Headers that say something of their own count, unless a rule has them.
        assert_eq!(judged(&[(".modinfo", false), ("section headers", false)], &rules[..1]).result, Standing::Differs);
        let file = judged(&[(".modinfo", false), ("gap before .text", false)], &rules);
        assert_eq!((file.result, file.reason.as_deref()), (Standing::Ignored, Some("one; two")));
        assert_eq!(result(&[(".modinfo", false), (".text", false)]), Standing::Differs);
        assert_eq!(result(&[(".modinfo", false), ("module signature", false)]), Standing::SignatureOnly);
        assert_eq!(judged(&[(".text", false)], &[rule("lib/*", None, "all")]).result, Standing::Ignored);
    }
}
