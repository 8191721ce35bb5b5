//! The answer of a bisection, and the search where what is searched is a list.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a bisection was asked and found out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Bisection {
    /// The scenario, by its id.
    pub scenario: String,
    /// What is looked for.
    pub finding: String,
    /// What was searched: `commits`, the name of a tool, `symbols`.
    pub over: String,
    /// The end that is called good, and the one that is called bad.
    pub ends: [String; 2],
    /// How many there were to choose from, the bad end among them.
    pub candidates: u64,
    /// What was tried, in order.
    pub tests: Vec<Test>,
    /// What came of it.
    pub outcome: Outcome,
    /// Seconds in all.
    pub seconds: f64,
}

/// One test.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Test {
    /// The commit id, the version, or the symbols.
    pub name: String,
    /// What it is in words: a commit's subject.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub subject: String,
    /// What it showed.
    pub state: State,
    /// Ids of what was there, or why it could not be tested.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub told: Vec<String>,
    /// Seconds that it took; 0 of one that an earlier bisection had made.
    pub seconds: f64,
}

/// What a test shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// What is looked for is there.
    Present,
    /// It is not.
    Absent,
    /// Nothing can be said.
    Untestable,
}

/// What came of a bisection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", tag = "as")]
pub enum Outcome {
    /// The first that is otherwise.
    First {
        /// Its commit id, or version.
        name: String,
        /// Its subject.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        subject: String,
        /// Whether the finding came with it (or went).
        came: bool,
    },
    /// One of these: the others cannot be tested.
    Among {
        /// From the oldest.
        names: Vec<String>,
    },
    /// These together bring it, and with any one of them less it is not there.
    Together {
        /// Symbols with their values.
        names: Vec<String>,
    },
    /// Both ends show the same.
    Alike {
        /// Whether it is there.
        present: bool,
    },
    /// An end cannot be tested; which, and why.
    Untestable {
        /// The end.
        name: String,
        /// Why.
        why: String,
    },
    /// Tested again, the one that was found or the one before it shows something else: what is looked for comes and goes.
    Doubtful {
        /// The one that showed two things.
        name: String,
    },
    /// It was stopped; asked again it goes on.
    Interrupted,
}

/// Where a list changes from one state to the other, by halving; what cannot be tested is gone around.
#[derive(Debug, Clone)]
pub struct Line {
    /// The last that is as the first.
    old: usize,
    /// The first that is as the last.
    new: usize,
    untestable: BTreeSet<usize>,
}

/// What is next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Test this one.
    Test(usize),
    /// It changes here, or at one of these.
    Found(Vec<usize>),
}

impl Line {
    /// A list of so many, two or more, whose first and last differ.
    #[must_use]
    pub fn new(count: usize) -> Self {
        Self { old: 0, new: count.saturating_sub(1), untestable: BTreeSet::new() }
    }

    /// What is to be tested next, or the end.
    #[must_use]
    pub fn next(&self) -> Next {
        let middle = self.old.midpoint(self.new);
        let open = (self.old + 1..self.new).filter(|at| !self.untestable.contains(at));
        match open.min_by_key(|at| at.abs_diff(middle)) {
            Some(at) => Next::Test(at),
            None => Next::Found((self.old + 1..=self.new).collect()),
        }
    }

    /// Takes what the test of one showed: as the first, as the last, or nothing.
    pub fn tell(&mut self, at: usize, as_first: Option<bool>) {
        match as_first {
            Some(true) => self.old = self.old.max(at),
            Some(false) => self.new = self.new.min(at),
            None => {
                self.untestable.insert(at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(count: usize, change: usize, untestable: &[usize]) -> (Vec<usize>, usize) {
        let mut line = Line::new(count);
        let mut tests = 0;
        loop {
            match line.next() {
                Next::Test(at) => {
                    tests += 1;
                    assert!(tests <= count, "it comes to an end");
                    line.tell(at, (!untestable.contains(&at)).then_some(at < change));
                }
                Next::Found(found) => return (found, tests),
            }
        }
    }

    #[test]
    fn every_place_of_a_change_is_found() {
        for count in 2..30 {
            for change in 1..count {
                let (found, tests) = search(count, change, &[]);
                assert_eq!(found, [change], "{count}");
                assert!(tests <= usize::BITS as usize - count.leading_zeros() as usize, "{count}: {tests}");
            }
        }
    }

    #[test]
    fn what_cannot_be_tested_is_gone_around() {
        assert_eq!(search(10, 7, &[4, 5]).0, [7]);
        assert_eq!(search(10, 5, &[4]).0, [4, 5]);
        assert_eq!(search(10, 5, &[1, 2, 3, 4, 5, 6, 7, 8]).0, (1..=9).collect::<Vec<_>>());
    }
}
