//! What goes wrong, made small: fewer edits, smaller ones, a smaller configuration; and written as a scenario that is run.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use super::{Case, CliError, Session, Whole, Work, with, wrong};
use crate::cli::SelectArgs;
use crate::cli::load::{self, Ready};
use crate::cli::progress::note;
use crate::runner::Parts;
use crate::scenario::{Change, Class, Edit, ExpectFinding, FindingName, Scenario};
use crate::tree::kconfig::Type;
use crate::tree::source::SourceSpec;
use crate::verdict::fuzz::shrink::{minimise, simpler};
use crate::verdict::fuzz::{Found, Shown, groups};
use crate::verdict::{ATTENTION, Finding, Standing, Verdict};

/// How many characters of a name come into the name of a file.
const NAME: usize = 60;

/// Makes every fault of a scenario small, writes it, and runs what was written.
pub(super) fn all(whole: &Whole<'_>, work: &mut Work, session: &mut Session<'_>) -> Result<(), CliError> {
    let mut cases = std::mem::take(&mut work.cases);
    // Those that are told with an earlier one.
    let mut told = BTreeSet::new();
    // Who stops it gets what was found all the same: written as far as it was made small, and not run.
    for number in 0..cases.len() {
        let before = &cases[..number];
        // What was found in pieces can turn out to be one fault, once it is small.
        let mut shrinking =
            Shrinking { whole, work, case: &cases[number], ready: work.ready.clone(), last: None, runs: 0, session };
        let small = shrinking.small()?;
        let (runs, last) = (shrinking.runs, shrinking.last.take());
        let twin = last.as_ref().and_then(|(shown, _)| {
            before.iter().position(|case| !case.found.sequences.is_empty() && case.found.is(shown))
        });
        if let Some(twin) = twin {
            let sequences = std::mem::take(&mut cases[number].found.sequences);
            for sequence in sequences {
                if !cases[twin].found.sequences.contains(&sequence) {
                    cases[twin].found.sequences.push(sequence);
                }
            }
            told.insert(number);
            continue;
        }
        let case = &mut cases[number];
        case.found.runs = runs;
        case.found.edits = small.loaded.scenario.edit.len();
        if let Some((shown, finding)) = last {
            case.found.about.extend(shown.about);
            (case.edit, case.finding) = (shown.edit, finding);
        }
        // What was found is told in any case.
        match keep(whole, work, case, small, number + 1, session) {
            Ok(kept) => case.found.file = kept,
            Err(error) => {
                work.notes.push(format!("{ATTENTION}{}: no scenario was written: {error}", case.finding.id()))
            }
        }
    }
    let left = cases.into_iter().enumerate().filter(|(number, _)| !told.contains(number));
    work.cases = left.map(|(_, case)| case).collect();
    Ok(())
}

/// One fault on its way to be small.
struct Shrinking<'a, 's, 'o> {
    whole: &'a Whole<'a>,
    work: &'a Work,
    case: &'a Case,
    /// The smallest scenario that shows it, but for its edits.
    ready: Ready,
    /// What the last run that showed it showed.
    last: Option<(Shown, Finding)>,
    runs: usize,
    session: &'s mut Session<'o>,
}

impl Shrinking<'_, '_, '_> {
    /// The smallest scenario with edits.
    fn small(&mut self) -> Result<Ready, CliError> {
        let mut edits = self.case.edits.clone();
        if self.whole.args.no_shrink || edits.is_empty() {
            return Ok(with(&self.ready, edits, ""));
        }
        let alone: Vec<Edit> = edits.last().cloned().into_iter().collect();
        if edits.len() > 1 {
            edits = match self.try_edits(std::slice::from_ref(&alone))? {
                Some(_) => alone,
                None => minimise(edits, &mut |trials| self.try_edits(trials))?,
            };
        }
        loop {
            let mut trials = Vec::new();
            for at in 0..edits.len() {
                for simpler in simpler(&edits[at]) {
                    let mut trial = edits.clone();
                    trial[at] = simpler;
                    trials.push(trial);
                }
            }
            match self.try_edits(&trials)? {
                Some(at) => edits = trials.swap_remove(at),
                None => break,
            }
        }
        self.configuration(&edits)?;
        Ok(with(&self.ready, edits, ""))
    }

    /// What of the configuration, the goals and the tree's own changes it does not need.
    fn configuration(&mut self, edits: &[Edit]) -> Result<(), CliError> {
        let own = self.ready.loaded.scenario.tree.symbols.clone();
        let set: Vec<&String> =
            edits.iter().flat_map(Edit::changes_of).flat_map(|change| change.config.keys()).collect();
        let on = |kind: Type, value: Option<&String>| {
            matches!(kind, Type::Bool | Type::Tristate) && value.is_none_or(|value| value != "n")
        };
        let symbols = self.work.population.symbols.iter();
        let mut on: Vec<String> = symbols
            .filter(|(name, (kind, value))| {
                on(*kind, value.as_ref()) && !own.contains_key(*name) && !set.contains(name)
            })
            .map(|(name, _)| name.clone())
            .collect();
        if !on.is_empty() {
            // None of them, or as few as it takes.
            let all = on.clone();
            let off = |kept: &[String]| -> BTreeMap<String, String> {
                let off = all.iter().filter(|name| !kept.contains(name)).map(|name| (name.clone(), "n".to_owned()));
                own.clone().into_iter().chain(off).collect()
            };
            let trial =
                |this: &Self, kept: &[String]| this.changed(edits, |scenario| scenario.tree.symbols = off(kept));
            let none = trial(self, &[]);
            on = match self.try_all(vec![none])? {
                Some(_) => Vec::new(),
                None => minimise(on, &mut |trials: &[Vec<String>]| {
                    let trials = trials.iter().map(|kept| trial(self, kept)).collect();
                    self.try_all(trials)
                })?,
            };
            if on.len() < all.len() {
                self.ready = with(&trial(self, &on), Vec::new(), "");
            }
        }
        for name in own.keys() {
            let trial = self.changed(edits, |scenario| _ = scenario.tree.symbols.remove(name));
            self.take(trial)?;
        }
        for at in (0..self.ready.loaded.scenario.tree.edit.len()).rev() {
            let trial = self.changed(edits, |scenario| _ = scenario.tree.edit.remove(at));
            self.take(trial)?;
        }
        let sets = edits.iter().flat_map(Edit::changes_of).any(|change| change.goals.is_some());
        if self.work.population.kbuild && !sets {
            for goal in ["vmlinux", "modules"] {
                let trial = self.changed(edits, |scenario| scenario.make.goals = vec![goal.to_owned()]);
                if self.take(trial)? {
                    break;
                }
            }
        }
        Ok(())
    }

    /// The smallest scenario so far, changed.
    fn changed(&self, edits: &[Edit], change: impl FnOnce(&mut Scenario)) -> Ready {
        let mut ready = with(&self.ready, edits.to_vec(), "");
        change(&mut ready.loaded.scenario);
        ready
    }

    /// Goes on with this one if it shows the same.
    fn take(&mut self, trial: Ready) -> Result<bool, CliError> {
        let shows = self.try_all(vec![trial.clone()])?.is_some();
        if shows {
            self.ready = with(&trial, Vec::new(), "");
        }
        Ok(shows)
    }

    fn try_edits(&mut self, trials: &[Vec<Edit>]) -> Result<Option<usize>, CliError> {
        let trials = trials.iter().map(|edits| with(&self.ready, edits.clone(), "")).collect();
        self.try_all(trials)
    }

    /// Runs scenarios, some at a time; says which of them shows it, if one does.
    fn try_all(&mut self, trials: Vec<Ready>) -> Result<Option<usize>, CliError> {
        let width = self.whole.stages.host.cpus.clamp(1, 8);
        let possible: Vec<(usize, Ready)> =
            trials.into_iter().enumerate().filter(|(_, ready)| self.work.applies(ready)).collect();
        for some in possible.chunks(width) {
            if self.runs + some.len() > self.whole.args.shrink_runs || self.session.cancel.load(Ordering::Relaxed) {
                return Ok(None);
            }
            self.runs += some.len();
            let suffixed = |(n, (_, ready)): (usize, &(usize, Ready))| {
                let mut ready = ready.clone();
                ready.found.id.push_str(&format!("-{}", n + 1));
                ready
            };
            let ready: Vec<Ready> = some.iter().enumerate().map(suffixed).collect();
            let ids: Vec<String> = ready.iter().map(|ready| ready.found.id.clone()).collect();
            let name = format!("shrink-{}", self.runs);
            let parts = Parts { experiment: false, noops: self.whole.args.costs, oracles: true };
            let report = self.whole.stages.run_quietly(&name, parts, ready, self.session)?;
            self.whole.stages.forget(&name)?;
            for ((at, _), id) in some.iter().zip(ids) {
                let Some(scenario) = report.scenarios.iter().find(|scenario| scenario.id == id) else { continue };
                let findings: Vec<&Finding> = wrong(scenario, self.whole).collect();
                let Some(shown) = groups(findings.iter().copied()).into_iter().find(|shown| self.case.found.is(shown))
                else {
                    continue;
                };
                let same = |finding: &&&Finding| finding.name == shown.finding && finding.target == shown.target;
                if let Some(finding) = findings.iter().find(same) {
                    self.last = Some((shown.clone(), (*finding).clone()));
                }
                return Ok(Some(*at));
            }
        }
        Ok(None)
    }
}

/// What happens to a file in one change, in a few words.
fn words(edit: &Edit) -> String {
    let one = |change: &Change| {
        let file = change.file.clone().unwrap_or_default();
        let pairs = |what: &BTreeMap<String, String>| {
            what.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
        };
        match () {
            () if change.touch.is_some() => format!("{file} is touched"),
            () if change.delete.is_some() => format!("{file} is deleted"),
            () if change.rename.is_some() => format!("{file} gets another name"),
            () if change.chmod.is_some() => format!("{file} gets another mode"),
            () if !file.is_empty() => format!("{file} changes"),
            () if !change.config.is_empty() => format!("CONFIG_{}", pairs(&change.config)),
            () if !change.vars.is_empty() => format!("make {}", pairs(&change.vars)),
            () if !change.env.is_empty() => format!("{} in the environment", pairs(&change.env)),
            () if change.undo.is_some() => "an edit is taken back".to_owned(),
            () if change.clean.is_some() => "make clean".to_owned(),
            () if change.goals.is_some() => "other goals".to_owned(),
            () => "the command line changes".to_owned(),
        }
    };
    let what: Vec<String> = edit.changes_of().map(one).collect();
    let interrupted = if edit.interrupt.is_some() { ", and the build is interrupted" } else { "" };
    format!("{}{interrupted}", what.join(", "))
}

/// Writes the scenario and runs it from its file. Gives the file, and puts what the run found in the case.
fn keep(
    whole: &Whole<'_>,
    work: &mut Work,
    case: &mut Case,
    small: Ready,
    number: usize,
    session: &mut Session<'_>,
) -> Result<Option<String>, CliError> {
    let original = work.ready.loaded.scenario.title.clone();
    let mut scenario = small.loaded.scenario;
    let found = &case.found;
    let about = found.about.first().cloned().unwrap_or_default();
    let edits: Vec<String> = scenario.edit.iter().map(words).collect();
    let after = if edits.is_empty() { String::new() } else { format!(", after: {}", edits.join("; then ")) };
    let what = if about.is_empty() { String::new() } else { format!(": {about}") };
    scenario.title = format!("{}{what}{after}", found.finding).replace('\n', " ");
    scenario.why = Some(why(whole, work, found, &original));
    scenario.extends = Default::default();
    scenario.matrix = Default::default();
    scenario.link.clear();
    scenario.compare.oracle = None;
    for edit in &mut scenario.edit {
        if edit.title.is_some() {
            edit.title = Some(words(edit));
        }
    }
    let target = |finding: &Finding| Some(finding.target.clone()).filter(|target| !target.is_empty());
    let expected = |finding: &Finding| ExpectFinding {
        finding: finding.name,
        target: target(finding),
        edit: finding.edit.clone(),
        at_least: None,
        kernels: Vec::new(),
        tools: BTreeMap::new(),
    };
    scenario.expect.finding = vec![expected(&case.finding)];
    fs::create_dir_all(&whole.write).map_err(|error| unwritten(&whole.write, &error))?;
    let file = free(&whole.write, &name_of(found, &about));
    absolute(&mut scenario, &work.ready, &file);
    let (mut confirmed, mut told) = (false, None);
    // What comes along with it is demanded too.
    for attempt in 0..3 {
        let text = toml::to_string_pretty(&scenario).map_err(CliError::internal)?;
        fs::write(&file, tidied(&text)).map_err(|error| unwritten(&file, &error))?;
        if session.cancel.load(Ordering::Relaxed) {
            break;
        }
        let select = SelectArgs { what: vec![file.display().to_string()], tier: Vec::new(), scenarios: None };
        let sources = load::sources(&whole.stages.host, whole.args.how.cache.as_deref());
        let ready = load::read(load::select(&select, &whole.stages.host.cwd)?, &sources)?;
        let name = format!("found-{number}-{}", attempt + 1);
        let report = match whole.stages.run_quietly(&name, Parts::ALL, ready, session) {
            Err(_) if session.cancel.load(Ordering::Relaxed) => break,
            ran => ran?,
        };
        let Some(run) = report.scenarios.into_iter().next() else { break };
        work.seconds += run.seconds;
        confirmed = run.verdict == Verdict::Passed;
        let of = |finding: &&Finding| finding.name == case.finding.name && finding.target == case.finding.target;
        told = run.findings.iter().find(of).cloned().or(told);
        let open = |finding: &&Finding| finding.name.class() == Class::Wrong && finding.standing == Standing::New;
        let (unmet, more): (Vec<&Finding>, Vec<&Finding>) =
            run.findings.iter().filter(open).partition(|finding| finding.name == FindingName::ExpectUnmet);
        let more: Vec<ExpectFinding> = more.into_iter().map(expected).collect();
        // An interruption at a step that did not run interrupts nothing, and is not needed.
        let mut idle = 0;
        for edit in scenario.edit.iter_mut().filter(|edit| edit.interrupt.is_some()) {
            let step = edit.interrupt.as_ref().map(|interrupt| interrupt.step.clone()).unwrap_or_default();
            if unmet.iter().any(|finding| finding.edit == edit.id && finding.target == step) {
                edit.interrupt = None;
                idle += 1;
            }
        }
        if confirmed || (more.is_empty() && idle == 0) {
            break;
        }
        scenario.expect.finding.extend(more);
    }
    case.found.confirmed = confirmed;
    if let Some(told) = told {
        case.finding = told;
    }
    let shown = file.strip_prefix(&whole.stages.host.cwd).unwrap_or(&file).display().to_string();
    if !whole.args.how.output.quiet {
        note(&format!("{}: {} {}: {shown}", work.ready.found.id, case.found.finding, case.finding.target));
    }
    Ok(Some(shown))
}

fn unwritten(path: &Path, error: &std::io::Error) -> CliError {
    CliError::usage(format!("cannot write `{}`: {error}", path.display()), "--write DIR")
}

/// Where it comes from.
fn why(whole: &Whole<'_>, work: &Work, found: &Found, original: &str) -> String {
    let name = &work.ready.found.name;
    match found.sequences.first() {
        Some(number) => format!(
            "Found by `kbuild-repro fuzz {name} {} --only {number}`, in the tree of: {original}. {} of {} edits are left.",
            whole.options, found.edits, found.of
        ),
        None => format!("Found by `kbuild-repro fuzz {name}` in the tree of: {original}. It shows without an edit."),
    }
}

/// The scenario's paths are relative to where it is, and this one is elsewhere.
fn absolute(scenario: &mut Scenario, ready: &Ready, file: &Path) {
    match &ready.source {
        SourceSpec::Directory(_) | SourceSpec::Tarball(_) | SourceSpec::Git(_) => {
            let source = ready.source.to_string();
            if scenario.is_graft() { scenario.tree.kernel = Some(source) } else { scenario.tree.srctree = source }
        }
        _ => {}
    }
    let there = load::beside(&ready.found);
    let here = load::beside(&load::Found { file: file.to_owned(), ..ready.found.clone() });
    let in_any = |dirs: &[PathBuf], name: &str| {
        let paths = dirs.iter().map(|dir| dir.join(name));
        paths.filter_map(|path| path.canonicalize().ok()).next()
    };
    let places = |name: &mut String| {
        // A patch can be its own text.
        let old = in_any(&there.0, name).filter(|_| !name.contains('\n'));
        if let Some(old) = old.filter(|old| in_any(&here.0, name).as_ref() != Some(old)) {
            *name = old.display().to_string();
        }
    };
    let tree = &mut scenario.tree;
    let named = tree.config.iter_mut().chain(&mut tree.patches).chain(&mut tree.overlay);
    named.chain(tree.file.iter_mut().filter_map(|file| file.from.as_mut())).for_each(places);
}

/// A file's name of a finding and what it is about.
fn name_of(found: &Found, about: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let words: String =
        format!("{}-{}", found.finding, about.split(": ").next().unwrap_or(about)).chars().map(plain).collect();
    let words: Vec<&str> = words.split('-').filter(|word| !word.is_empty()).collect();
    let joined = words.join("-");
    joined.chars().take(NAME).collect::<String>().trim_end_matches('-').to_owned()
}

/// A file of this name that is not there.
fn free(dir: &Path, name: &str) -> PathBuf {
    let path = |n: usize| dir.join(if n == 1 { format!("{name}.toml") } else { format!("{name}-{n}.toml") });
    (1..).map(path).find(|path| !path.exists()).unwrap_or_else(|| path(1))
}

/// Without the headings of tables that say nothing.
fn tidied(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let mut kept: Vec<&str> = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let heading = line.starts_with('[') && line.ends_with(']') && !line.starts_with("[[");
        let next = lines[at + 1..].iter().find(|line| !line.trim().is_empty());
        let empty = heading && next.is_none_or(|next| next.starts_with('['));
        let blank = line.is_empty() && kept.last().is_none_or(|last| last.is_empty());
        if !empty && !blank {
            kept.push(line);
        }
    }
    while kept.last().is_some_and(|line| line.is_empty()) {
        kept.pop();
    }
    kept.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_without_keys_go_and_others_stay() {
        let text = "title = \"t\"\n\n[tree]\nsrctree = \"mini\"\n\n[make]\n\n[compare]\n\n[[edit]]\nid = \"a\"\n\n[expect]\n\n[[expect.finding]]\nfinding = \"x\"\n";
        assert_eq!(
            tidied(text),
            "title = \"t\"\n\n[tree]\nsrctree = \"mini\"\n\n[[edit]]\nid = \"a\"\n\n[[expect.finding]]\nfinding = \"x\"\n"
        );
    }
}
