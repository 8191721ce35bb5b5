//! The answers of `history`: the runs in a line each, cells over the runs, and one run in full.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::OnceLock;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{day, lines, moves, tries};
use crate::report::terminal::clean;
use crate::verdict::Verdict;
use crate::verdict::history::{CellTrend, Counts, History, LEGEND, Moved, PastRun, Since};

/// Version of the answer.
pub const FORMAT: u32 = 1;

/// What a history says.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "kbuild-repro history")]
pub struct Overview {
    /// [`FORMAT`].
    pub format: u32,
    /// How many runs there are in it, shown or not.
    pub runs_in_all: usize,
    /// The runs, the newest last.
    pub runs: Vec<RunLine>,
    /// Cells over the runs, if they were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cells: Option<Vec<CellTrend>>,
    /// What one run says over those before, if it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Since>,
    /// What is to be known of the history itself, such as a file that cannot be read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub told: Vec<String>,
}

/// One run.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct RunLine {
    /// Its name.
    pub run: String,
    /// Start, seconds since the epoch.
    pub started: u64,
    /// The host, in words.
    pub host: String,
    /// Version of the harness.
    pub harness: String,
    /// The worst verdict.
    pub verdict: Verdict,
    /// How many scenarios have which.
    pub verdicts: BTreeMap<String, usize>,
    /// How many were not begun.
    pub left_out: usize,
    /// Alarms, but for costs.
    pub alarms: Counts,
    /// Alarms that are costs.
    pub costs: Counts,
}

impl RunLine {
    fn of(run: &PastRun, since: &Since) -> Self {
        let mut verdicts: BTreeMap<Verdict, usize> = BTreeMap::new();
        for cell in &run.cells {
            *verdicts.entry(cell.verdict).or_default() += 1;
        }
        Self {
            run: run.run.clone(),
            started: run.started,
            host: run.host.clone(),
            harness: run.harness.clone(),
            verdict: run.verdict,
            verdicts: verdicts.into_iter().map(|(verdict, count)| (verdict.name().to_owned(), count)).collect(),
            left_out: run.left_out,
            alarms: since.counts(false),
            costs: since.counts(true),
        }
    }
}

impl Overview {
    /// Of the runs whose numbers, from 0, are given.
    #[must_use]
    pub fn of(history: &History<'_>, shown: &[usize], told: Vec<String>) -> Self {
        let runs: Vec<&PastRun> = history.runs().collect();
        let line = |at: &usize| Some(RunLine::of(runs.get(*at)?, &history.since_at(*at)));
        let lines = shown.iter().filter_map(line).collect();
        Self { format: FORMAT, runs_in_all: runs.len(), runs: lines, cells: None, since: None, told }
    }

    /// It in words.
    ///
    /// # Errors
    /// What the writer answers.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        match (&self.cells, &self.since) {
            (Some(cells), _) => self.write_cells(cells, out),
            (None, Some(since)) => {
                for run in &self.runs {
                    writeln!(out, "{}  {}: {}", day(run.started), clean(&run.run), counted(run))?;
                }
                lines(since).iter().try_for_each(|line| writeln!(out, "{line}"))
            }
            _ => self.write_runs(out),
        }
    }

    fn write_runs(&self, out: &mut dyn Write) -> io::Result<()> {
        if self.runs.is_empty() {
            return writeln!(out, "no runs");
        }
        let width = self.runs.iter().map(|run| run.run.chars().count()).max().unwrap_or(0);
        writeln!(
            out,
            "{:<16}  {:<width$}  {:>4} {:>5} {:>5} {:>5}  verdicts",
            "started (UTC)", "run", "new", "still", "gone", "flaky"
        )?;
        for run in &self.runs {
            let Counts { new, still, gone, flaky, .. } = run.alarms;
            let name = clean(&run.run);
            writeln!(
                out,
                "{}  {name:<width$}  {new:>4} {still:>5} {gone:>5} {flaky:>5}  {}",
                day(run.started),
                counted(run)
            )?;
        }
        if self.runs_in_all > self.runs.len() {
            writeln!(out, "{} of {} runs; --runs N and --since TIME choose", self.runs.len(), self.runs_in_all)?;
        }
        Ok(())
    }

    fn write_cells(&self, cells: &[CellTrend], out: &mut dyn Write) -> io::Result<()> {
        let width = cells.iter().map(|cell| cell.id.chars().count()).max().unwrap_or(0);
        for cell in cells {
            let flaky = if cell.flaky { format!("  flaky: {}", tries(cell)) } else { String::new() };
            writeln!(out, "{:<width$}  {}{flaky}", clean(&cell.id), cell.verdicts)?;
            let trend = &cell.trend;
            let all = [
                ("make", &trend.wall_ms, true),
                ("processor", &trend.cpu_ms, true),
                ("needless", &trend.needless_ms, true),
                ("object tree", &trend.objtree_bytes, false),
                ("modules", &trend.module_bytes, false),
                ("vmlinux", &trend.vmlinux_bytes, false),
            ];
            for (what, numbers, is_time) in all {
                if let Some(moved) = Moved::of(numbers) {
                    writeln!(out, "    {what:<11}  {}", moves(moved, is_time))?;
                }
            }
        }
        writeln!(out, "{LEGEND}")
    }
}

fn counted(run: &RunLine) -> String {
    let mut told: Vec<String> = run.verdicts.iter().map(|(verdict, count)| format!("{count} {verdict}")).collect();
    if run.left_out > 0 {
        told.push(format!("{} left out", run.left_out));
    }
    if told.is_empty() { "nothing was run".into() } else { told.join(", ") }
}

/// The JSON schema of the answer.
#[must_use]
pub fn schema() -> &'static serde_json::Value {
    static SCHEMA: OnceLock<serde_json::Value> = OnceLock::new();
    SCHEMA.get_or_init(|| schemars::schema_for!(Overview).to_value())
}
