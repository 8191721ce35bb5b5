//! `review`: what a change of the build does, before it is merged.
//!
//! ```text
//! before      the scenarios on the tree as it is
//! after       the same with the patches, or on the other commit: new findings have their mail and reproducer
//! time-N-...  incremental builds alone, untraced, one scenario at a time, both sides in turns
//! ```

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use clap::Args;

use super::host::Host;
use super::load::{self, MatrixArgs, Ready};
use super::progress::note;
use super::run::capture;
use super::stages::{Stages, on_commit, without_kernels};
use super::{CliError, HowArgs, SelectArgs, Session, patch_file};
use crate::artifact::record::{Mode, ScenarioRecord};
use crate::report::review as report;
use crate::runner::Parts;
use crate::scenario::Tier;
use crate::tree::source::{CommitRange, Sources};
use crate::tree::{patch_fault, series};
use crate::verdict::judge;
use crate::verdict::review::{Review, Reviewed, review as compare};
use crate::verdict::wanted::Wanted;

const AFTER_HELP: &str = "\
A patch, a mail or a mailbox as lore or b4 give it, on the kernel that the
scenarios name or --kernel:
  kbuild-repro review --patch split-the-rule.patch graft/vmlinux-only \\
      --kernel 6.12
  kbuild-repro review --patch series.mbox --kernel 7.3
Two commits:
  kbuild-repro review --repo ~/linux --range v6.12..topic graft/noop
The answer to the mail, in place of the table:
  kbuild-repro review --patch series.mbox --kernel 7.3 --reply

Of each scenario it says which findings are gone, new, and as before, by what
builds show and not by what scenarios list as known; how many steps run after
each edit, and how long make takes (--repeat builds each, in turns, not traced:
the median, the least and the most); what linking and BTF of modules cost; and
the size of the object tree. Without scenarios the grafts of tier `graft` are
taken whose kernel is in the cache. It ends with 1 where there is a new finding
of class wrong, with 4 where a scenario cannot be tested on one of the sides.";

/// What to review.
#[derive(Debug, Clone, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct ReviewArgs {
    /// Scenario files, directories of them, or patterns of ids
    #[arg(value_name = "SCENARIO")]
    what: Vec<String>,
    /// Patches: diffs, mails, mailboxes of a series; `-` is standard input
    #[arg(long, value_name = "FILE", required_unless_present = "range")]
    patch: Vec<PathBuf>,
    /// The repository of --range, which is only read
    #[arg(long, value_name = "DIR", requires = "range")]
    repo: Option<PathBuf>,
    /// Two commits: A..B
    #[arg(long, value_name = "A..B", conflicts_with = "patch", requires = "repo")]
    range: Option<String>,
    /// How often each incremental build is timed
    #[arg(long, value_name = "N", default_value = "3", value_parser = clap::value_parser!(u32).range(0..=100))]
    repeat: u32,
    /// Print the text of an answer to the patch mail in place of the table
    #[arg(long)]
    reply: bool,
    /// The directory of scenarios; by default `scenarios` here or in a directory above
    #[arg(long, value_name = "DIR", env = "KBUILD_REPRO_SCENARIOS")]
    scenarios: Option<PathBuf>,
    #[command(flatten)]
    matrix: MatrixArgs,
    #[command(flatten)]
    how: HowArgs,
}

/// The change.
enum Change {
    Patches(Vec<series::Patch>),
    Commits { repo: PathBuf, ids: [String; 2], subjects: [String; 2] },
}

pub(super) fn review(args: &ReviewArgs, session: &mut Session<'_>) -> Result<u8, CliError> {
    args.how.output.check_answer()?;
    let host = capture()?;
    let processors = host.cpus;
    let sources = load::sources(&host, args.how.cache.as_deref());
    let change = change(args, &host.cwd, &sources, session)?;
    let sides = sides(args, &host, &sources, &change)?;
    let quiet = args.how.output.quiet;
    let stages = Stages::new(host, &args.how, args.scenarios.as_deref())?;
    let [before, after]: [Vec<Ready>; 2] = sides;
    let names: Vec<String> = before.iter().map(|ready| ready.found.id.clone()).collect();
    stages.run("before", Some("done without the change"), Parts::ALL, before.clone(), session)?;
    stop(session)?;
    if !quiet {
        note(&format!("with the change: {}", names.join(" ")));
    }
    stages.run_closely("after", after.clone(), None, session)?;
    stop(session)?;
    let mut scenarios = Vec::new();
    for name in &names {
        // What the tree's own words would not let be built is in no record.
        let read = |stage: &str| stages.record(stage, name);
        let (old, new) = (read("before")?, read("after")?);
        let judged = [&old, &new].map(|record| judge(record, &Default::default()));
        scenarios.push(compare((&old, &judged[0]), (&new, &judged[1])));
    }
    for (at, scenario) in scenarios.iter_mut().enumerate() {
        if scenario.untested().is_none() && !scenario.edits.is_empty() {
            time(&stages, scenario, [&before[at], &after[at]], args.repeat, quiet, session)?;
        }
    }
    let (changes, message_id) = match change {
        Change::Patches(patches) => {
            let subject = |patch: &series::Patch| {
                if patch.subject.is_empty() { "a patch without a subject".to_owned() } else { patch.subject.clone() }
            };
            (patches.iter().map(subject).collect(), patches.first().and_then(|patch| patch.message_id.clone()))
        }
        Change::Commits { ids, subjects, .. } => {
            let told = |at: usize| format!("{} {}", &ids[at][..12], subjects[at]);
            (vec![format!("{} → {}", told(0), told(1))], None)
        }
    };
    let review = Review { changes, message_id, repeated: args.repeat, processors, scenarios };
    let mut text = Vec::new();
    if args.reply {
        report::reply(&review, &format!("kbuild-repro {}", env!("CARGO_PKG_VERSION")), &mut text)?;
    } else {
        report::write(&review, &stages.dir.display().to_string(), &mut text)?;
    }
    stages.answer("review", &review, &text, session)?;
    Ok(report::exit_code(&review))
}

fn stop(session: &Session<'_>) -> Result<(), CliError> {
    if session.cancel.load(Ordering::Relaxed) {
        return Err(CliError::Nothing { message: "stopped before there was something to say".into(), hint: None });
    }
    Ok(())
}

/// Reads the patches, or looks the commits up.
fn change(args: &ReviewArgs, cwd: &Path, sources: &Sources, session: &Session<'_>) -> Result<Change, CliError> {
    if let (Some(repo), Some(range)) = (&args.repo, &args.range) {
        let hint = "`--range A..B`: the commit without the change, and the one with it";
        let Some((good, bad)) = range.split_once("..").filter(|(a, b)| !a.is_empty() && !b.is_empty()) else {
            return Err(CliError::usage(format!("`{range}` is no range of commits"), hint));
        };
        let range = CommitRange {
            repo: cwd.join(repo),
            good: good.to_owned(),
            bad: bad.to_owned(),
            paths: Vec::new(),
            first_parent: false,
        };
        let [old, new] = sources.ends(&range).map_err(CliError::of_source)?;
        return Ok(Change::Commits { repo: range.repo, ids: [old.id, new.id], subjects: [old.subject, new.subject] });
    }
    let mut patches = Vec::new();
    for path in &args.patch {
        let unread = |why: &str| CliError::usage(format!("`{}`: {why}", path.display()), "--patch FILE, or `-`");
        let bytes = patch_file::bytes(path, cwd, session).map_err(|error| unread(&error.to_string()))?;
        let read = series::read(&bytes).map_err(unread)?;
        // Before anything is built without it.
        if let Some((patch, why)) = read.iter().find_map(|patch| Some((patch, patch_fault(&patch.diff)?))) {
            let which = if patch.subject.is_empty() { "the patch" } else { patch.subject.as_str() };
            return Err(unread(&format!("{which} {why}")));
        }
        patches.extend(read);
    }
    Ok(Change::Patches(patches))
}

/// The scenarios on both sides, raw: what they list was written for one of them.
fn sides(args: &ReviewArgs, host: &Host, sources: &Sources, change: &Change) -> Result<[Vec<Ready>; 2], CliError> {
    let select = SelectArgs { what: args.what.clone(), tier: Vec::new(), scenarios: args.scenarios.clone() };
    let over = args.matrix.matrix(host)?;
    let found = load::select(&select, &host.cwd)?;
    let (mut before, _) = load::read_over(found, &over, sources)?;
    if args.what.is_empty() {
        let is_quick = |ready: &Ready| ready.loaded.scenario.is_graft() && ready.loaded.scenario.tier() == Tier::Graft;
        // Of commits there is no kernel to be fetched.
        let at_hand = |ready: &Ready| {
            matches!(change, Change::Commits { .. })
                || !matches!(load::at_hand(ready, sources), Err(load::Absent::Fetch(_)))
        };
        before.retain(|ready| is_quick(ready) && at_hand(ready));
    }
    for ready in &mut before {
        ready.loaded.scenario = Wanted::raw(&ready.loaded.scenario);
        if ready.loaded.scenario.tree.srctree == "mini" {
            return Err(CliError::usage(
                format!("`{}` is built from the mini tree, which no patch is for", ready.found.id),
                "a change of kbuild is reviewed by grafts and by whole kernels",
            ));
        }
    }
    if before.is_empty() {
        return Err(CliError::Nothing {
            message: "no scenario is selected, and no graft has its kernel in the cache".into(),
            hint: Some("`kbuild-repro fetch debian:6.12`, or name one that `kbuild-repro list` has".into()),
        });
    }
    let sides = match change {
        Change::Patches(patches) => {
            let mut after = before.clone();
            for ready in &mut after {
                ready.loaded.scenario.tree.patches.extend(patches.iter().map(|patch| patch.diff.clone()));
            }
            [before, after]
        }
        Change::Commits { repo, ids, .. } => {
            without_kernels(&mut before)?;
            [0, 1].map(|side| before.iter().map(|ready| on_commit(ready, repo, &ids[side])).collect())
        }
    };
    Ok(sides)
}

/// Times the incremental builds of one scenario, both sides in turns, so that what else the machine does is in both.
fn time(
    stages: &Stages<'_>,
    scenario: &mut Reviewed,
    sides: [&Ready; 2],
    repeat: u32,
    quiet: bool,
    session: &mut Session<'_>,
) -> Result<(), CliError> {
    let parts = Parts { experiment: false, noops: false, oracles: false };
    for round in 1..=repeat {
        if !quiet {
            note(&format!("{}: timing, {round} of {repeat}", scenario.id));
        }
        for (at, ready) in sides.into_iter().enumerate() {
            let stage = format!("time-{round}-{}", ["before", "after"][at]);
            stages.run_untraced(&stage, parts, vec![ready.clone()], session)?;
            stop(session)?;
            let record = stages.record(&stage, &ready.found.id)?;
            for (edit, cost) in scenario.edits.iter_mut().enumerate() {
                let side = if at == 0 { &mut cost.before } else { &mut cost.after };
                side.seconds.extend(seconds(&record, edit));
            }
            stages.forget(&stage)?;
        }
    }
    Ok(())
}

/// How long the incremental build after an edit took.
fn seconds(record: &ScenarioRecord, edit: usize) -> Option<f64> {
    let build = record.builds.iter().find(|build| build.mode == Mode::Incremental && build.edit == Some(edit))?;
    Some(std::time::Duration::from_millis(build.wall_ms).as_secs_f64())
}
