//! Random sequences of edits, and which faults they show: pure.
//!
//! [`generate`] makes a sequence of a seed and of what the tree has, by changes of texts ([`texts`]); builds after it are a run
//! like any other. Of what it finds [`groups`] tells which is the same fault, and [`shrink`] takes away what it does not need.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Finding;
use crate::scenario::{Class, FindingName};

pub mod generate;
pub mod shrink;
pub mod texts;

macro_rules! kinds {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal, $weight:literal;)+) => {
        /// A kind of edit.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "lowercase")]
        pub enum EditKind {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl EditKind {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// Its name, on the command line and in the names of edits.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// How often it is drawn, against others.
            #[must_use]
            pub fn weight(self) -> usize {
                match self { $(Self::$variant => $weight),+ }
            }
        }
    };
}

kinds! {
    /// A new time stamp.
    Touch = "touch", 1;
    /// A comment.
    Comment = "comment", 2;
    /// Another number, text, function or variable in a source, or line in what is read.
    Change = "change", 5;
    /// The same in a header, or another name of it.
    Header = "header", 6;
    /// Flags, order and number of objects.
    Makefile = "makefile", 3;
    /// Another value of a symbol, another default, a new symbol.
    Kconfig = "kconfig", 5;
    /// Variables on make's command line, and the environment.
    Command = "command", 4;
    /// Another mode of a file.
    Mode = "mode", 1;
    /// A file that the build made is lost: an object, a module, a `.cmd` file.
    Delete = "delete", 3;
    /// Other goals, another number of jobs, `make clean`.
    Goals = "goals", 2;
    /// An earlier edit is taken back.
    Undo = "undo", 4;
    /// A name that others use is gone, and comes back: the build has to fail in between.
    Break = "break", 2;
    /// The build after a change is interrupted, and made again.
    Interrupt = "interrupt", 4;
}

/// What is told of the fuzzing of one scenario.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Fuzz {
    /// The seed.
    pub seed: u64,
    /// Edits in a sequence.
    pub edits: usize,
    /// Files that can be edited.
    pub files: usize,
    /// Sequences that were asked for; none if it was time that was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<u64>,
    /// Sequences that were tried to their end.
    pub tried: u64,
    /// Those of them in which something went wrong.
    pub wrong: u64,
    /// Edits after which there was a build.
    pub made: u64,
    /// Those of them with which a clean build fails as well, and that were not meant to.
    pub broke: u64,
    /// Those that could not be made, or changed nothing.
    pub void: u64,
    /// Sequences that showed a fault that the scenario lists as known.
    pub known: u64,
    /// What went wrong, each fault once.
    pub found: Vec<Found>,
    /// The sequences, where they are listed alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub listed: Vec<Listed>,
}

/// A sequence that is listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Listed {
    /// Its number.
    pub number: u64,
    /// Its edits: name, and what each does.
    pub edits: Vec<(String, String)>,
}

/// One fault, and the scenario that shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Found {
    /// What shows.
    pub finding: FindingName,
    /// The steps to blame, or the artifacts where none is known.
    pub about: BTreeSet<String>,
    /// The numbers of the sequences that showed it; none if two clean builds, or a build with nothing changed, did.
    pub sequences: Vec<u64>,
    /// Edits of the scenario that is left of the first.
    pub edits: usize,
    /// How many there were.
    pub of: usize,
    /// Runs that it took.
    pub runs: usize,
    /// The scenario's file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Whether a run of that file found it.
    pub confirmed: bool,
}

/// What one run shows of one fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// What shows.
    pub finding: FindingName,
    /// The steps to blame, or the artifacts.
    pub about: BTreeSet<String>,
    /// The edit at which it begins, if it is one.
    pub edit: Option<String>,
    /// The first artifact.
    pub target: String,
}

impl Found {
    /// Whether it is this one.
    #[must_use]
    pub fn is(&self, shown: &Shown) -> bool {
        self.finding == shown.finding && !self.about.is_disjoint(&shown.about)
    }
}

/// The step that a finding comes from, or what it is about.
fn about(finding: &Finding) -> String {
    match &finding.cause {
        Some(cause) => format!("{}: {}", cause.step, cause.fault.words()),
        None => finding.target.clone(),
    }
}

/// Whether a finding is one of those that a sequence is made to find.
#[must_use]
pub fn counts(finding: &Finding, costs: bool) -> bool {
    let own = matches!(finding.name, FindingName::ExpectUnmet | FindingName::KnownStale);
    // What make runs again because a file is newer, it runs by design; a build with nothing changed has no such reason.
    let cost = costs && finding.name == FindingName::NoopRan;
    !own && (finding.name.class() == Class::Wrong || cost)
}

/// The faults that a run shows, each once: findings of one edit that are like each other are one.
pub fn groups<'f>(findings: impl Iterator<Item = &'f Finding>) -> Vec<Shown> {
    let mut groups: Vec<(&Finding, Shown)> = Vec::new();
    for finding in findings {
        let like = |other: &Finding| {
            let causes = || finding.cause.as_ref().zip(other.cause.as_ref());
            (finding.name, &finding.edit) == (other.name, &other.edit)
                && (causes().is_some_and(|(one, other)| one.is_like(other))
                    || finding.cause.is_none() && other.cause.is_none())
        };
        match groups.iter_mut().find(|(first, _)| like(first)) {
            Some((_, shown)) => _ = shown.about.insert(about(finding)),
            None => {
                let (name, edit) = (finding.name, finding.edit.clone());
                let target = finding.target.clone();
                groups.push((finding, Shown { finding: name, about: [about(finding)].into(), edit, target }));
            }
        }
    }
    groups.into_iter().map(|(_, shown)| shown).collect()
}
