//! Past runs, and what a run says over them: what is new, still there, gone or flaky, what changed in between, and how
//! times and sizes moved. Pure, and no part of a verdict: that is made without it.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::alarm::{Identity, groups};
use super::{Finding, Standing, Verdict};
use crate::artifact::Digest;
use crate::scenario::Class;

mod changes;
mod since;
#[cfg(test)]
mod tests;
mod trend;

pub use changes::{Change, Changed, What};
pub use since::{AlarmSince, CellAlarm, Counts, GoneAlarm, Since, State, When};
pub use trend::{CellTrend, LEGEND, Moved, SHOWN, Trend};

/// Version of the files of a history. A reader refuses a newer one.
pub const FORMAT: u32 = 1;
/// What such a file says that it is.
pub const KIND: &str = "a run in a history of kbuild-repro";

/// One run, as far as a later one needs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastRun {
    /// [`KIND`].
    pub kind: String,
    /// [`FORMAT`].
    pub format: u32,
    /// The run's name.
    pub run: String,
    /// Start, seconds since the epoch.
    pub started: u64,
    /// The host, in words.
    pub host: String,
    /// Version of the harness.
    pub harness: String,
    /// The worst verdict.
    pub verdict: Verdict,
    /// How many scenarios were not begun.
    #[serde(default)]
    pub left_out: usize,
    /// Programs by which its cells name theirs.
    #[serde(default)]
    pub tools: Vec<PastTool>,
    /// Files outside of the trees that builds read or ran, by content; `None` where it could not be read.
    #[serde(default)]
    pub files: Vec<(String, Option<Digest>)>,
    /// Sets of these, by their numbers in rising order; many cells have the same.
    #[serde(default)]
    pub fingerprints: Vec<Vec<u32>>,
    /// The scenarios, or cells of their matrices, in the order of the report.
    pub cells: Vec<PastCell>,
}

/// A program that a scenario was built by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastTool {
    /// Its name.
    pub name: String,
    /// Where it was found.
    pub path: String,
    /// What it says of its version.
    pub version: String,
    /// SHA-256 of its file.
    pub sha256: Option<Digest>,
}

/// One scenario of a past run, or one cell of its matrix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastCell {
    /// Its id.
    pub id: String,
    /// Its verdict.
    pub verdict: Verdict,
    /// Its findings, those of one cause as one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alarms: Vec<PastAlarm>,
    /// The kernel's version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    /// What identifies its sources.
    pub source: String,
    /// SHA-256 over the files of the sources that steps of the first clean build read, with their digests; `None` where it was not
    /// traced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read: Option<Digest>,
    /// SHA-256 of the scenario as it was run; `None` where there was no record of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scenario: Option<Digest>,
    /// Its tools, by their numbers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<u32>,
    /// The files its builds used, as a number of a set; `None` where no build was traced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<u32>,
    /// Its builds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub builds: Vec<PastBuild>,
    /// What it cost, and how large what it made is.
    #[serde(default)]
    pub figures: Figures,
}

/// A build of a past run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastBuild {
    /// Its name.
    pub id: String,
    /// Milliseconds of wall time of its commands.
    pub wall_ms: u64,
    /// Milliseconds of processor time of its commands.
    pub cpu_ms: u64,
}

/// The figures of a scenario whose course over the runs is of interest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figures {
    /// Milliseconds that steps for nothing took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needless_ms: Option<u64>,
    /// How many such steps there were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needless_steps: Option<u64>,
    /// Bytes of the files that the first clean build left in the object tree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objtree_bytes: Option<u64>,
    /// Bytes of its modules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module_bytes: Option<u64>,
    /// Bytes of its vmlinux.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vmlinux_bytes: Option<u64>,
}

/// An alarm of a past run in one cell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastAlarm {
    /// What it is known by.
    #[serde(flatten)]
    pub identity: Identity,
    /// Its weight.
    pub class: Class,
    /// How it stood to what the scenario says.
    pub standing: PastStanding,
    /// Whether it differs from build to build by itself: further builds, in which nothing was varied, differed in it as well.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub transient: bool,
}

/// How an alarm stood to what its scenario says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PastStanding {
    /// The scenario says nothing of it.
    New,
    /// The scenario demands it.
    Expected,
    /// The scenario tolerates it.
    Known,
}

impl PastAlarm {
    /// Those of findings. What no build came to is none.
    #[must_use]
    pub fn of_all(findings: &[Finding]) -> Vec<Self> {
        let mut all: Vec<Self> = Vec::new();
        for group in groups(&findings.iter().collect::<Vec<_>>()) {
            let finding = group[0];
            let standing = match finding.standing {
                Standing::New => PastStanding::New,
                Standing::Expected => PastStanding::Expected,
                Standing::Known { .. } => PastStanding::Known,
                Standing::Latent => continue,
            };
            let alarm = Self {
                identity: Identity::of_group(&group),
                class: finding.name.class(),
                standing,
                transient: group.iter().any(|it| it.varied.as_ref().is_some_and(Vec::is_empty)),
            };
            match all.iter_mut().find(|have| have.standing == standing && have.identity.is(&alarm.identity)) {
                Some(have) => {
                    have.identity.take(&alarm.identity);
                    have.transient |= alarm.transient;
                }
                None => all.push(alarm),
            }
        }
        all
    }

    /// Whether it is one that somebody has to do something about, or had once: no planted fault.
    fn counts(&self) -> bool {
        self.standing != PastStanding::Expected
    }
}

impl PastCell {
    /// Whether it was tested to the end: what is not in it was not there.
    #[must_use]
    pub fn is_real(&self) -> bool {
        matches!(self.verdict, Verdict::Passed | Verdict::Failed)
    }

    fn alarm(&self, identity: &Identity) -> Option<&PastAlarm> {
        self.alarms.iter().find(|alarm| alarm.identity.is(identity))
    }

    /// Seconds of wall and processor time of all builds, in milliseconds.
    fn times(&self) -> Option<(u64, u64)> {
        let sum = |of: fn(&PastBuild) -> u64| self.builds.iter().map(of).fold(0, u64::saturating_add);
        (!self.builds.is_empty()).then(|| (sum(|build| build.wall_ms), sum(|build| build.cpu_ms)))
    }
}

/// How the name of a run ends that was put together of shards.
pub const MERGED: &str = "-merged";

impl PastRun {
    /// Orders runs: by their start.
    #[must_use]
    pub fn order(&self) -> (u64, &str) {
        (self.started, &self.run)
    }

    /// Tells a run from others of the same name, as containers make them: process 1 of each, in the same second. What shards were put
    /// together to is the same run when they are put together anew, because one came late.
    #[must_use]
    pub fn digest(&self) -> Digest {
        if self.run.ends_with(MERGED) {
            return Digest::of(self.run.as_bytes());
        }
        let mut text = format!("{}\n{}\n{}\n", self.run, self.started, self.host);
        for cell in &self.cells {
            text.push_str(&format!("{}\0{}\n", cell.id, cell.source));
        }
        Digest::of(text.as_bytes())
    }

    /// Whether what it says can be believed: numbers that lead nowhere are those of a damaged file.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        let below = |number: u32, list: usize| usize::try_from(number).is_ok_and(|number| number < list);
        let files = self.fingerprints.iter().flatten().all(|file| below(*file, self.files.len()));
        let cell = |cell: &PastCell| {
            cell.tools.iter().all(|tool| below(*tool, self.tools.len()))
                && cell.fingerprint.is_none_or(|set| below(set, self.fingerprints.len()))
        };
        files && self.cells.iter().all(cell)
    }

    fn tools<'r>(&'r self, cell: &'r PastCell) -> BTreeMap<&'r str, &'r PastTool> {
        self.tool_list(cell).map(|tool| (tool.name.as_str(), tool)).collect()
    }

    fn tool_list<'r>(&'r self, cell: &'r PastCell) -> impl Iterator<Item = &'r PastTool> {
        cell.tools.iter().filter_map(|number| self.tools.get(*number as usize))
    }

    fn file_list<'r>(&'r self, cell: &'r PastCell) -> impl Iterator<Item = &'r (String, Option<Digest>)> {
        let set = cell.fingerprint.and_then(|number| self.fingerprints.get(number as usize));
        set.into_iter().flatten().filter_map(|number| self.files.get(*number as usize))
    }

    fn files<'r>(&'r self, cell: &'r PastCell) -> Option<BTreeMap<&'r str, Option<Digest>>> {
        cell.fingerprint?;
        Some(self.file_list(cell).map(|(path, digest)| (path.as_str(), *digest)).collect())
    }
}

/// Runs in the order of their beginning, and where in each a cell is.
pub struct History<'r> {
    runs: Vec<(&'r PastRun, HashMap<&'r str, &'r PastCell>)>,
}

impl<'r> History<'r> {
    /// Of these runs; of one that is there twice the first counts.
    #[must_use]
    pub fn new(runs: impl IntoIterator<Item = &'r PastRun>) -> Self {
        let mut runs: Vec<&PastRun> = runs.into_iter().collect();
        runs.sort_by(|a, b| a.order().cmp(&b.order()));
        let index = |run: &'r PastRun| (run, run.cells.iter().map(|cell| (cell.id.as_str(), cell)).collect());
        let mut all: Vec<(&PastRun, HashMap<&str, &PastCell>)> = Vec::new();
        for run in runs {
            let twice = all.iter().rev().any(|(have, _)| have.order() == run.order() && have.digest() == run.digest());
            if !twice {
                all.push(index(run));
            }
        }
        Self { runs: all }
    }

    /// What was before a run, with the run at its end: what began later, and the run itself as it was entered, is not in it.
    #[must_use]
    pub fn up_to(now: &'r PastRun, past: &'r [PastRun]) -> Self {
        let own = now.digest();
        let earlier = past.iter().filter(|run| run.order() <= now.order() && run.digest() != own);
        Self::new(earlier.chain(std::iter::once(now)))
    }

    /// The runs, the oldest first.
    pub fn runs(&self) -> impl DoubleEndedIterator<Item = &'r PastRun> + ExactSizeIterator + '_ {
        self.runs.iter().map(|(run, _)| *run)
    }

    /// The runs that had a cell, up to the one of this number, the latest first.
    fn of_cell<'h>(&'h self, id: &'h str, up_to: usize) -> impl Iterator<Item = (&'r PastRun, &'r PastCell)> + 'h {
        let runs = self.runs.get(..=up_to).unwrap_or_default();
        runs.iter().rev().filter_map(move |(run, cells)| Some((*run, *cells.get(id)?)))
    }
}
