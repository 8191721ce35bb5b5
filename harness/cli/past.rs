//! What a past run says of scenarios: how long each took, and what failed. Shards and time budgets go by it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use super::CliError;
use super::host::Host;
use crate::artifact::Digest;
use crate::report::Report;
use crate::verdict::Verdict;

/// The largest report that is read.
const LARGEST: u64 = 1 << 30;

/// A past run, as far as it matters to the next.
#[derive(Debug, Default)]
pub(crate) struct Past {
    /// Milliseconds of those that were built.
    lasted: BTreeMap<String, u64>,
    /// Half of all took longer.
    median: u64,
    failed: BTreeSet<String>,
    seen: BTreeSet<String>,
}

impl Past {
    /// The latest run of this user; nothing if there is none.
    pub(crate) fn latest(host: &Host) -> Self {
        let path = host.paths.state.join("runs/latest/report.json");
        fs::read(path).ok().and_then(|text| serde_json::from_slice(&text).ok()).map_or_else(Self::default, |r| of(&r))
    }

    /// A JSON report, or the directory of a run.
    pub(crate) fn read(path: &Path) -> Result<Self, CliError> {
        let file = if path.is_dir() { path.join("report.json") } else { path.to_owned() };
        let wrong = |why: String| {
            CliError::usage(
                format!("--durations: cannot read `{}`: {why}", file.display()),
                "name the directory of a finished run, or what `--json FILE` wrote",
            )
        };
        let report = read_report(&file).map_err(wrong)?;
        let past = of(&report);
        if past.lasted.is_empty() {
            return Err(wrong("nothing was built in that run".into()));
        }
        Ok(past)
    }

    /// How long a scenario took.
    pub(crate) fn millis(&self, id: &str) -> Option<u64> {
        self.lasted.get(id).copied()
    }

    /// How long a scenario will take: as long as the last time, and what is new as long as the median.
    pub(crate) fn expected(&self, id: &str) -> Duration {
        Duration::from_millis(self.millis(id).unwrap_or(self.median))
    }

    /// How much a scenario matters where time is short, the lowest first: what failed, what is new, the rest.
    pub(crate) fn rank(&self, id: &str) -> u8 {
        match () {
            () if self.failed.contains(id) => 0,
            () if !self.seen.contains(id) => 1,
            () => 2,
        }
    }

    /// Tells one set of durations from another.
    pub(crate) fn digest(&self) -> String {
        let text: String = self.lasted.iter().map(|(id, millis)| format!("{id}\0{millis}\n")).collect();
        Digest::of(text.as_bytes()).short()
    }
}

/// Reads a JSON report.
pub(crate) fn read_report(file: &Path) -> Result<Report, String> {
    let meta = fs::metadata(file).map_err(|error| error.to_string())?;
    if !meta.is_file() {
        return Err("it is no regular file".into());
    }
    if meta.len() > LARGEST {
        return Err(format!("it has {} MiB, more than any report", meta.len() >> 20));
    }
    let text = fs::read(file).map_err(|error| error.to_string())?;
    let report: Report = serde_json::from_slice(&text).map_err(|error| format!("it is no JSON report: {error}"))?;
    if report.format > crate::report::FORMAT {
        return Err(format!("it has format {}; this program reads up to {}", report.format, crate::report::FORMAT));
    }
    Ok(report)
}

fn of(report: &Report) -> Past {
    let mut past = Past::default();
    for scenario in &report.scenarios {
        past.seen.insert(scenario.id.clone());
        if matches!(scenario.verdict, Verdict::Failed | Verdict::HarnessError) {
            past.failed.insert(scenario.id.clone());
        }
        let seconds = Duration::try_from_secs_f64(scenario.seconds).ok();
        if let (false, Some(seconds)) = (scenario.builds.is_empty(), seconds) {
            past.lasted.insert(scenario.id.clone(), u64::try_from(seconds.as_millis()).unwrap_or(u64::MAX));
        }
    }
    let mut all: Vec<u64> = past.lasted.values().copied().collect();
    all.sort_unstable();
    past.median = all.get(all.len().saturating_sub(1) / 2).copied().unwrap_or_default();
    past
}
