//! `run --shard K/N`: which scenarios of a run this machine does. Every shard finds the same division from the same scenarios
//! and the same past durations; nothing is agreed on between them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;

use super::load::Ready;
use super::past::Past;
use super::progress::note;
use super::{CliError, HowArgs, IsolationArg};
use crate::artifact::Digest;
use crate::artifact::record::{FORMAT, ShardCell, ShardRecord};

mod auto;
mod divide;

/// The most shards.
pub(super) const MOST: u32 = 10_000;

/// Which part of a run.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Scale out")]
pub(crate) struct ShardArgs {
    /// Run one of N parts, e.g. 2/4; `merge` makes one report of them all. `auto` takes K and N from the variables of GitLab,
    /// Buildkite, CircleCI, a Slurm array or a Kubernetes indexed Job, or from KBUILD_REPRO_SHARD=K/N. With the same --out a shard
    /// that was killed goes on where it was
    #[arg(long, value_name = "K/N|auto", value_parser = parse, conflicts_with = "bisect")]
    pub(crate) shard: Option<ShardArg>,
    /// A past run or its JSON report: shards are divided so that they take equally long, and --time-budget knows what fits and what
    /// failed. All shards must be given the same. Without it a time budget goes by the latest run
    #[arg(long, value_name = "FILE|DIR", conflicts_with = "bisect")]
    pub(crate) durations: Option<PathBuf>,
}

/// A part on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ShardArg {
    Auto,
    Named(Which),
}

/// One of several parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Which {
    /// From 1.
    pub(crate) index: u32,
    pub(crate) count: u32,
}

impl Which {
    /// `2/4`.
    fn parse(text: &str) -> Result<Self, String> {
        let wrong = || "K/N, the K-th of N parts, e.g. 2/4".to_owned();
        let (index, count) = text.split_once('/').ok_or_else(wrong)?;
        let number = |text: &str| text.parse().ok().filter(|number| (1..=MOST).contains(number)).ok_or_else(wrong);
        let (index, count) = (number(index)?, number(count)?);
        if index > count {
            return Err(format!("there is no part {index} of {count}; they count from 1"));
        }
        Ok(Self { index, count })
    }
}

impl std::fmt::Display for Which {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}/{}", self.index, self.count)
    }
}

fn parse(text: &str) -> Result<ShardArg, String> {
    match text {
        "auto" => Ok(ShardArg::Auto),
        text => Which::parse(text).map(ShardArg::Named).map_err(|why| format!("{why}; or `auto`")),
    }
}

impl ShardArgs {
    /// Takes what other shards do out of the scenarios; none if the run is not divided.
    pub(crate) fn take(
        &self,
        ready: &mut Vec<Ready>,
        past: &Past,
        how: &HowArgs,
    ) -> Result<Option<ShardRecord>, CliError> {
        let which = match self.shard {
            None => return Ok(None),
            Some(ShardArg::Named(which)) => which,
            Some(ShardArg::Auto) => auto::read(&|name| std::env::var_os(name).map(|it| it.to_string_lossy().into()))
                .map_err(|why| CliError::usage(format!("--shard auto: {why}"), auto::HINT))?,
        };
        let ids: Vec<&str> = ready.iter().map(|ready| ready.found.id.as_str()).collect();
        // What was read only for the time budget is on this machine alone.
        let lasted = |id: &str| self.durations.is_some().then(|| past.millis(id)).flatten();
        let shards = divide::divide(&ids, &lasted, which.count);
        let cells: Vec<ShardCell> = ready.iter().zip(&shards).map(|(ready, shard)| cell(ready, *shard)).collect();
        let mut options = options(how);
        if self.durations.is_some() {
            options.insert("--durations".into(), past.digest());
        }
        let mut own = shards.iter().map(|shard| *shard == which.index);
        ready.retain(|_| own.next().unwrap_or(false));
        let record = ShardRecord {
            format: FORMAT,
            index: which.index,
            count: which.count,
            command: std::env::args().skip(1).collect(),
            options,
            cells,
        };
        if !how.output.quiet {
            let all = record.cells.len();
            match ready.len() {
                0 => note(&format!("shard {which}: nothing to do: there are {all} scenarios")),
                own => note(&format!("shard {which}: {own} of {all} scenarios")),
            }
        }
        Ok(Some(record))
    }
}

fn cell(ready: &Ready, shard: u32) -> ShardCell {
    let mut scenario = ready.loaded.scenario.clone();
    // The place of a tree on this machine.
    scenario.tree.at = None;
    let text = serde_json::to_vec(&scenario).unwrap_or_default();
    ShardCell {
        id: ready.found.id.clone(),
        shard,
        digest: Digest::of(&text).short(),
        source: scenario.kernel_source().to_owned(),
    }
}

/// What decides what a run shows, as far as it is none of the scenarios'.
fn options(how: &HowArgs) -> BTreeMap<String, String> {
    let flag = |set: bool| if set { "yes" } else { "no" }.to_owned();
    let isolation = match how.isolation {
        IsolationArg::Auto => "auto",
        IsolationArg::UserNs => "user-ns",
        IsolationArg::Direct => "direct",
    };
    let mut variations: Vec<String> = how.variations.iter().map(|it| format!("{it:?}")).collect();
    variations.sort();
    let all = [
        ("--variations", variations.join(",")),
        ("--boot", flag(how.boot)),
        ("--no-fetch", flag(how.no_fetch)),
        ("--no-trace", flag(how.no_trace)),
        ("--require-hermetic", flag(how.require_hermetic)),
        ("--require-all", flag(how.require_all)),
        ("--confirm", flag(how.confirm)),
        ("--no-confirm", flag(how.no_confirm)),
        ("--isolation", isolation.to_owned()),
        ("the version of kbuild-repro", env!("CARGO_PKG_VERSION").to_owned()),
    ];
    all.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

#[cfg(test)]
mod tests {
    use super::{ShardArg, Which, parse};

    #[test]
    fn a_part_counts_from_one() {
        assert_eq!(parse("2/4"), Ok(ShardArg::Named(Which { index: 2, count: 4 })));
        assert_eq!(parse("1/1"), Ok(ShardArg::Named(Which { index: 1, count: 1 })));
        assert_eq!(parse("auto"), Ok(ShardArg::Auto));
        for bad in ["", "0/4", "5/4", "4", "1/0", "a/b", "-1/2", "1/2/3", "1/99999999999", " 1/2"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
