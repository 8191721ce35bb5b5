//! How verdict, times and sizes of a cell moved over the runs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::since::{At, is_flaky};
use super::{History, PastCell, When};
use crate::verdict::Verdict;

/// How many runs are shown of a cell, the latest.
pub const SHOWN: usize = 30;

/// What the characters of a sequence of verdicts mean.
pub const LEGEND: &str =
    ". passed · F failed · ~ not the same from build to build · ? inconclusive · s skipped · i interrupted · E error";

/// A cell over the runs that had it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CellTrend {
    /// The cell.
    pub id: String,
    /// Its verdict.
    pub verdict: Verdict,
    /// The verdict of the last run before that tested it to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Verdict>,
    /// That run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<When>,
    /// Its verdicts, the latest last, in characters: `.` passed, `F` failed, `~` not the same from build to build, `?` inconclusive,
    /// `s` skipped, `i` interrupted, `E` error.
    pub verdicts: String,
    /// Whether the verdict changes back and forth with the same sources, toolchain, scenario and kbuild-repro.
    pub flaky: bool,
    /// How many of the last ten runs had the same inputs and came to its end, this one included: it was tried so often.
    pub tried: usize,
    /// How many of these passed.
    pub passed: usize,
    /// How its times and sizes moved.
    pub trend: Trend,
}

/// Times and sizes over the runs in which a cell was built, the oldest first. Each list is as long as `started`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Trend {
    /// When the runs began, seconds since the epoch.
    pub started: Vec<u64>,
    /// Milliseconds of wall time of the commands of all builds.
    pub wall_ms: Vec<Option<u64>>,
    /// Milliseconds of their processor time.
    pub cpu_ms: Vec<Option<u64>>,
    /// Milliseconds that steps for nothing took.
    pub needless_ms: Vec<Option<u64>>,
    /// How many such steps there were.
    pub needless_steps: Vec<Option<u64>>,
    /// Bytes of the object tree after the first clean build.
    pub objtree_bytes: Vec<Option<u64>>,
    /// Bytes of the modules.
    pub module_bytes: Vec<Option<u64>>,
    /// Bytes of vmlinux.
    pub vmlinux_bytes: Vec<Option<u64>>,
}

/// How one figure moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moved {
    /// The first.
    pub first: u64,
    /// The last.
    pub last: u64,
    /// The least.
    pub least: u64,
    /// The most.
    pub most: u64,
}

impl Moved {
    /// How the numbers that are there moved; nothing where there are none.
    #[must_use]
    pub fn of(numbers: &[Option<u64>]) -> Option<Self> {
        let there = || numbers.iter().flatten().copied();
        Some(Self { first: there().next()?, last: there().last()?, least: there().min()?, most: there().max()? })
    }

    /// How far the ends are from each other, in thousandths of the first.
    #[must_use]
    pub fn per_mille(&self) -> u64 {
        self.first.abs_diff(self.last).saturating_mul(1000).checked_div(self.first).unwrap_or(0)
    }
}

/// The character of a cell's verdict.
fn character(cell: &PastCell) -> char {
    match cell.verdict {
        Verdict::Passed | Verdict::Failed if cell.alarms.iter().any(|it| it.counts() && it.transient) => '~',
        Verdict::Passed => '.',
        Verdict::Failed => 'F',
        Verdict::Inconclusive => '?',
        Verdict::Skipped => 's',
        Verdict::Interrupted => 'i',
        Verdict::HarnessError | Verdict::HostCannot | Verdict::ScenarioError => 'E',
    }
}

/// That of a cell in the run of this number, with the runs before, and which of the last had the same inputs.
pub(super) fn of(history: &History<'_>, now: At<'_>, at: usize, same: &[At<'_>]) -> CellTrend {
    let id = &now.1.id;
    let all: Vec<At<'_>> = history.of_cell(id, at).collect();
    let mut trend = Trend::default();
    let built = all.iter().filter(|(_, cell)| !cell.builds.is_empty()).take(SHOWN);
    for (run, cell) in built.collect::<Vec<_>>().into_iter().rev() {
        let times = cell.times();
        trend.started.push(run.started);
        trend.wall_ms.push(times.map(|times| times.0));
        trend.cpu_ms.push(times.map(|times| times.1));
        trend.needless_ms.push(cell.figures.needless_ms);
        trend.needless_steps.push(cell.figures.needless_steps);
        trend.objtree_bytes.push(cell.figures.objtree_bytes);
        trend.module_bytes.push(cell.figures.module_bytes);
        trend.vmlinux_bytes.push(cell.figures.vmlinux_bytes);
    }
    let verdicts: Vec<char> = all.iter().take(SHOWN).map(|(_, cell)| character(cell)).collect();
    let before = all.iter().skip(1).find(|(_, cell)| cell.is_real());
    let tried = || same.iter().filter(|(_, cell)| cell.is_real());
    CellTrend {
        id: id.clone(),
        verdict: now.1.verdict,
        before: before.map(|(_, cell)| cell.verdict),
        last: before.map(|(run, _)| When::of(run)),
        verdicts: verdicts.into_iter().rev().collect(),
        flaky: is_flaky(same),
        tried: tried().count(),
        passed: tried().filter(|(_, cell)| cell.verdict == Verdict::Passed).count(),
        trend,
    }
}
