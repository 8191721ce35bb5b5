//! The mail and the stand-alone reproducer of findings: written beside the record, and run before it calls them
//! confirmed.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use super::HowArgs;
use crate::artifact::record::{Confirmation, Outcome, ScenarioRecord, write_atomically};
use crate::report::{mail, reproducer};
use crate::runner::recipe::Recipe;
use crate::runner::reproduce::{Ran, Reproducer, reproduce};
use crate::runner::{Context, Event, RunErrorKind, Status, timeout};
use crate::scenario::Tier;
use crate::verdict::{Accepted, Fault, Finding, Judgement, Standing, judge};

/// The recipe, beside the record.
pub(super) const RECIPE: &str = "recipe.json";
/// The directories of findings.
const FINDINGS: &str = "findings";
/// The script in one of them.
const SCRIPT: &str = "reproduce.sh";
/// How long the name of one of them gets.
const NAME: usize = 60;
/// Of what length a log is read for what was seen.
const LOG: usize = 1 << 20;

/// Whether there is something to write: a finding of class wrong, whatever the scenario says of it.
pub(super) fn wanted(judgement: &Judgement) -> bool {
    judgement.findings.iter().any(|finding| reproducer::no_mail(finding.name).is_none())
}

/// Writes what goes beside the findings, runs the scripts, and puts what came of it in the record.
pub(super) fn findings(
    record: &mut ScenarioRecord,
    judgement: &Judgement,
    recipe: &Recipe,
    dir: &Path,
    how: &HowArgs,
    context: &Context<'_>,
    events: &dyn Fn(Event),
) -> io::Result<()> {
    let text = serde_json::to_vec(recipe)?;
    write_atomically(&dir.join(RECIPE), &text).map_err(io::Error::other)?;
    let own = |finding: &&Finding| {
        reproducer::no_mail(finding.name).is_none()
            && (how.confirm || !matches!(finding.standing, Standing::Known { .. } | Standing::Latent))
    };
    let chosen: Vec<&Finding> = judgement.findings.iter().filter(own).collect();
    let groups = reproducer::groups(&chosen);
    for (number, group) in (1..).zip(&groups) {
        let Some(first) = group.first() else { continue };
        let beside = format!("{FINDINGS}/{number}-{}", file_name(&first.id()));
        let place = dir.join(&beside);
        fs::create_dir_all(&place)?;
        let confirm = |outcome, why: Option<String>| Confirmation { outcome, why, beside: beside.clone() };
        let confirmed: Vec<(String, Confirmation)> = match reproducer::script(record, recipe, group) {
            Err(why) => group.iter().map(|f| (f.id(), confirm(Outcome::NoScript, Some(why.clone())))).collect(),
            Ok(text) => {
                write(&place.join(SCRIPT), &text)?;
                match not_asked(record, group, how) {
                    Some(why) => {
                        group.iter().map(|f| (f.id(), confirm(Outcome::NotRun, Some(why.to_owned())))).collect()
                    }
                    None => {
                        let started = Instant::now();
                        events(Event::Planned(1));
                        events(Event::Started(format!("{beside}/{SCRIPT}")));
                        let (seen, why) = run(record, recipe, &place, context);
                        events(Event::Ended(format!("{beside}/{SCRIPT}"), Status::Ok, started.elapsed()));
                        let of = |finding: &&Finding| {
                            let outcome = match (&why, shows(&seen, group, finding)) {
                                (Some(_), _) => Outcome::NotRun,
                                (None, true) => Outcome::Confirmed,
                                (None, false) => Outcome::NotSeen,
                            };
                            (finding.id(), confirm(outcome, why.clone()))
                        };
                        group.iter().map(of).collect()
                    }
                }
            }
        };
        record.confirmations.extend(confirmed);
    }
    // The mail says whether the script was run: that is known only now.
    let findings = judge(record, &Accepted::default()).findings;
    for (id, confirmation) in &record.confirmations {
        let first = groups.iter().find(|group| group.first().is_some_and(|finding| finding.id() == *id));
        let Some(finding) = findings.iter().find(|finding| finding.id() == *id).filter(|_| first.is_some()) else {
            continue;
        };
        if let Ok(text) = mail::mail(record, Some(recipe), &findings, finding) {
            write(&dir.join(&confirmation.beside).join("mail.txt"), &text)?;
        }
    }
    Ok(())
}

/// Whether what a script saw shows a finding. Of what comes out otherwise at each run, another time others are seen: who has the
/// same cause as one of them is shown by that.
fn shows(seen: &BTreeSet<String>, group: &[&Finding], finding: &Finding) -> bool {
    let irreproducible = finding.cause.as_ref().is_some_and(|cause| cause.fault == Fault::Irreproducible);
    let alike = |other: &&&Finding| {
        irreproducible && other.cause.as_ref().zip(finding.cause.as_ref()).is_some_and(|(a, b)| a.is_like(b))
    };
    seen.contains(&finding.target) || group.iter().filter(alike).any(|other| seen.contains(&other.target))
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    write_atomically(path, text.as_bytes()).map_err(io::Error::other)
}

/// Why the script is not run, if it is not.
fn not_asked(record: &ScenarioRecord, group: &[&Finding], how: &HowArgs) -> Option<&'static str> {
    if how.no_confirm {
        return Some("--no-confirm");
    }
    if how.confirm {
        return None;
    }
    if record.scenario.tree.at.is_some() {
        return Some("in a tree of your own it is run by --confirm");
    }
    if record.scenario.tier() >= Tier::Kernel {
        return Some("of tier `kernel`, as trees are that say no other, it is run only by --confirm");
    }
    group
        .iter()
        .all(|finding| finding.standing != Standing::New)
        .then_some("the scenario expects it; --confirm runs it")
}

/// Runs the script: the artifacts that it says show the fault, or why it said nothing.
fn run(
    record: &ScenarioRecord,
    recipe: &Recipe,
    place: &Path,
    context: &Context<'_>,
) -> (BTreeSet<String>, Option<String>) {
    let varied = recipe.varied.iter().chain(recipe.variations.values()).map(|varied| &varied.build);
    let jobs = recipe.edits.iter().map(|edit| &edit.build).chain([&recipe.first]).chain(varied);
    let log = place.join("reproduce.log");
    let took: u64 = record.builds.iter().map(|build| build.wall_ms).sum();
    let reproducer = Reproducer {
        dir: place,
        name: SCRIPT,
        log: &log,
        given: recipe.given,
        fixed: jobs.filter_map(|build| build.jobs).max(),
        // As long as one build may take, or far longer than all of them took: it makes fewer, but prepares itself.
        limit: timeout(&record.scenario).max(Duration::from_millis(took.saturating_mul(4))),
    };
    let nothing = |why: String| (BTreeSet::new(), Some(why));
    match reproduce(context, reproducer) {
        Err(error) if error.kind == RunErrorKind::Interrupted => nothing("it was stopped".into()),
        Err(error) => nothing(error.to_string()),
        Ok(Ran::Timeout) => nothing(format!("it did not end within {} s", reproducer.limit.as_secs())),
        Ok(Ran::Signal(signal)) => nothing(format!("it was killed by signal {signal}")),
        Ok(Ran::Exit(status @ (reproducer::STATUS_SEEN | reproducer::STATUS_NOT_SEEN))) => {
            let text = fs::read(&log).unwrap_or_default();
            let text = String::from_utf8_lossy(&text[text.len().saturating_sub(LOG)..]).into_owned();
            let lines = text.lines().filter_map(|line| line.strip_prefix(reproducer::SEEN));
            let mut seen: BTreeSet<String> = lines.map(str::to_owned).collect();
            if status == reproducer::STATUS_SEEN {
                // A finding about a whole build names no artifact.
                seen.insert(String::new());
            }
            (seen, None)
        }
        Ok(Ran::Exit(status)) => {
            let last = crate::runner::tail(&log, 1).unwrap_or_default();
            let last = last.last().map_or(String::new(), |line| format!(": {line}"));
            nothing(format!("it ended with status {status}{last}"))
        }
    }
}

/// An id as a name of a directory.
fn file_name(id: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.@".contains(c) { c } else { '-' };
    id.chars().map(plain).take(NAME).collect()
}
