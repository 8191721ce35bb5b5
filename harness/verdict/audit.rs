//! `audit`: what steps read, against what make knows that they depend on.
//!
//! A file that a step read and that its target is not out of date against, by make's own data base, may be a missing
//! dependency. It may as well be none: another prerequisite may always change along with it. So every such file is a
//! *candidate* only, and two builds after an edit of it decide: it counts if the incremental build did not run the step,
//! and the clean one has the step read the changed file ([`confirm`]).
//!
//! kbuild depends on more than it reads on purpose, so that what is declared and not read is no concern of this.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Cause, Fault, Finding, Standing};
use crate::artifact::database::Database;
use crate::artifact::record::ScenarioRecord;
use crate::artifact::steps::Steps;
use crate::scenario::FindingName;
use crate::trace::{Cmd, End, Kind, Step, kbuild};

mod forms;

pub use forms::{Purpose, forms};

/// How many sources are tried for a generated file.
const ROUTES: usize = 3;

/// Where a file that a step reads comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// The source tree.
    Source,
    /// A step of the build made it.
    Generated,
    /// It was in the object tree before the build: what a prepared state brings along.
    Prepared,
    /// A step of the build made it, and it is gone.
    Temporary,
    /// All of the configuration in one file. Who depends on single symbols of it does so by `include/config/SYMBOL`
    /// (scripts/basic/fixdep.c), and to depend on the whole would be too much.
    Configuration,
    /// make reads it itself: its commands follow.
    Makefile,
    /// Outside of the trees, or a tool that the scenario chose.
    Toolchain,
}

impl Origin {
    /// Its name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Generated => "generated",
            Self::Prepared => "prepared",
            Self::Temporary => "temporary",
            Self::Configuration => "configuration",
            Self::Makefile => "makefile",
            Self::Toolchain => "toolchain",
        }
    }
}

/// How much was read, by what make knows of it. All but the first two count a file once for each step that reads it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Counts {
    /// Steps that leave something and ran for the goals.
    pub steps: usize,
    /// Of these, steps that every build runs: they need no dependency.
    pub always: usize,
    /// Files that the others read.
    pub reads: usize,
    /// Prerequisites of the step's target.
    pub declared: usize,
    /// Named in the `.cmd` file of a target that no make considers while nothing is changed: whether that is ever read, other
    /// rules decide.
    pub listed: usize,
    /// No prerequisites, but files that one of the prerequisites is made from.
    pub through: usize,
    /// What an earlier step of the same rule made, or a program that only writes its `.cmd` file.
    pub own: usize,
    /// All else, by where it comes from.
    pub undeclared: BTreeMap<Origin, usize>,
}

/// A file that a step reads and make does not know of, or only by something else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Candidate {
    /// The file, below `src` or `obj`.
    pub file: String,
    /// Where it comes from.
    pub origin: Origin,
    /// Whether a prerequisite of the step's target is made from it.
    pub through: bool,
    /// Whether it is named in a `.cmd` file that no make read while nothing was changed.
    pub listed: bool,
    /// The step, as kbuild prints it, or its command.
    pub step: String,
    /// What it is there to make.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Its `cmd_X`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cmd: Option<Cmd>,
    /// The makefile and line of the recipe, where make has one for the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<(String, usize)>,
    /// What the step reads too, and would be a prerequisite by this file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub folded: Vec<String>,
    /// What came of it.
    pub outcome: Outcome,
    /// Number of the step in the clean build.
    #[serde(skip)]
    pub at: usize,
    /// Sources whose edit changes it, the most promising first, below `src`.
    #[serde(skip)]
    pub sources: Vec<String>,
}

/// What came of a candidate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum Outcome {
    /// The step was not run after the edit of this source, and a clean build has it read what changed.
    Missing {
        /// The source that was edited, below the source tree.
        edited: String,
        /// What was added to it.
        added: String,
        /// Which of the files that the step makes are not what a clean build makes.
        stale: Vec<String>,
    },
    /// The step ran after the edit of this source: something else tells make.
    Runs {
        /// The source that was edited.
        edited: String,
    },
    /// Nothing is said, for a reason.
    Untried {
        /// The reason.
        why: String,
    },
}

/// What a build read and did not declare.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Audit {
    /// How much was read.
    pub counts: Counts,
    /// Makes whose data bases were read.
    pub makes: usize,
    /// Files that were edited.
    pub edits: usize,
    /// The candidates.
    pub candidates: Vec<Candidate>,
}

/// One traced build and what make knows of it.
pub struct Ground<'r> {
    /// The clean build.
    pub clean: &'r Steps,
    /// How many of its last commands were for the goals; those before configure.
    pub goals: usize,
    /// The builds with nothing changed after it.
    pub noops: Vec<&'r Steps>,
    /// What make knows.
    pub database: &'r Database,
}

impl Ground<'_> {
    /// Counts what was read, and finds what make does not know of. `wanted` says which steps are looked at.
    #[must_use]
    pub fn audit(&self, wanted: &dyn Fn(&Step) -> bool) -> Audit {
        let makers = Makers::of(self.clean);
        let mut audit = Audit { makes: self.database.makes, ..Audit::default() };
        let commands = &self.clean.commands;
        let first = commands.get(commands.len().saturating_sub(self.goals)).copied().unwrap_or(0);
        let leaves = |step: &Step| step.outputs.iter().any(|output| !is_book(&output.path));
        for (at, step) in self.clean.steps.iter().enumerate().skip(first) {
            // What runs another make may make something itself, too, as scripts/link-vmlinux.sh does.
            if step.kind == Kind::Query || step.end != Some(End::Exit(0)) || !leaves(step) || !wanted(step) {
                continue;
            }
            audit.counts.steps += 1;
            if !self.noops.is_empty() && self.noops.iter().all(|noop| ran(step, noop)) {
                audit.counts.always += 1;
                continue;
            }
            self.step(at, step, &makers, &mut audit);
        }
        // What can be edited itself, then what only an edit of something else changes, then what is likely declared.
        audit.candidates.sort_by(|a, b| {
            let key = |it: &Candidate| (it.through, it.listed, it.origin, it.file.clone(), it.at);
            key(a).cmp(&key(b))
        });
        audit
    }

    fn step(&self, at: usize, step: &Step, makers: &Makers<'_>, audit: &mut Audit) {
        let targets: Vec<&str> = targets(step).collect();
        let rules = || targets.iter().flat_map(|target| self.database.rules(target));
        let known = rules().next().is_some();
        let direct: BTreeSet<&str> = rules().flat_map(|rule| &rule.prerequisites).map(String::as_str).collect();
        let reach = self.database.reach(&targets);
        let unlisted = self.clean.unlisted.get(at);
        let has_cmd = step.outputs.iter().any(|output| output.path.ends_with(".cmd"));
        let counts = &mut audit.counts;
        counts.reads += step.inputs.len() + step.tools.len();
        *counts.undeclared.entry(Origin::Toolchain).or_default() += step.tools.len();
        let mut found: Vec<Found<'_>> = Vec::new();
        for input in &step.inputs {
            let path = &*input.path;
            if direct.contains(path) {
                counts.declared += 1;
                continue;
            }
            let listed = !known && has_cmd && unlisted.is_some_and(|all| !all.iter().any(|other| **other == *path));
            let origin = self.origin(path, makers);
            let through = reach.contains(path);
            if is_own(step, path, makers) {
                counts.own += 1;
                continue;
            } else if listed {
                counts.listed += 1;
            } else if through {
                counts.through += 1;
            } else {
                *counts.undeclared.entry(origin).or_default() += 1;
            }
            // What a prerequisite is made from is made anew with it, if make is what makes it.
            let generated = origin == Origin::Generated && !listed && !through;
            if origin == Origin::Source || generated {
                found.push(Found { path, origin, through, listed });
            }
        }
        let generated = found.iter().filter(|it| it.origin == Origin::Generated);
        let below: BTreeMap<&str, BTreeSet<&str>> =
            generated.map(|it| (it.path, self.database.reach(&[it.path]))).collect();
        // What would be depended on by another candidate is told with that.
        let above = |path: &str| {
            let over = |(other, reach): &(&&str, &BTreeSet<&str>)| **other != path && reach.contains(path);
            let back = |other: &str| below.get(path).is_some_and(|reach| reach.contains(other));
            below.iter().filter(over).map(|(other, _)| *other).find(|other| !back(other))
        };
        for &Found { path, origin, through, listed } in &found {
            if origin == Origin::Generated && above(path).is_some() {
                continue;
            }
            let folded = found
                .iter()
                .map(|it| it.path)
                .filter(|other| below.get(path).is_some_and(|reach| reach.contains(other)));
            let sources = match path.strip_prefix("src/") {
                Some(source) if origin == Origin::Source => vec![source.to_owned()],
                _ => self.sources(path, makers, &reach),
            };
            audit.candidates.push(Candidate {
                file: path.to_owned(),
                origin,
                through,
                listed,
                step: named(step),
                target: step.target.clone(),
                cmd: step.cmd.clone(),
                rule: rules().find_map(|rule| rule.place.clone()),
                folded: folded.filter(|other| *other != path).map(str::to_owned).collect(),
                outcome: Outcome::Untried { why: "it was not tried".into() },
                at,
                sources,
            });
        }
    }

    fn origin(&self, path: &str, makers: &Makers<'_>) -> Origin {
        let in_objtree = path.strip_prefix(self.clean.objtree.as_str()).and_then(|path| path.strip_prefix('/'));
        if path.starts_with("tools/") {
            return Origin::Toolchain;
        }
        if self.database.makefiles.contains(path) {
            return Origin::Makefile;
        }
        if in_objtree.is_some_and(is_configuration) {
            return Origin::Configuration;
        }
        match makers.of_file(path).last() {
            Some(_) if makers.gone.contains(path) => Origin::Temporary,
            Some(_) => Origin::Generated,
            None if path.starts_with("src/") => Origin::Source,
            None => Origin::Prepared,
        }
    }

    /// Sources from which a generated file is made, and that the step does not depend on by anything else.
    fn sources(&self, file: &str, makers: &Makers<'_>, reach: &BTreeSet<&str>) -> Vec<String> {
        let mut found = Vec::new();
        let mut seen = BTreeSet::from([file]);
        let mut level = vec![file];
        while !level.is_empty() && found.len() < ROUTES {
            let mut next = Vec::new();
            for input in level.iter().flat_map(|path| makers.of_file(path)).flat_map(|step| &step.inputs) {
                let path = &*input.path;
                // What keeps books leaves no trace in what is made.
                if !seen.insert(path) || keeps_books(path) {
                    continue;
                }
                match (self.origin(path, makers), path.strip_prefix("src/")) {
                    (Origin::Source, Some(source)) if path.ends_with(".c") && !reach.contains(path) => {
                        found.push(source.to_owned());
                    }
                    (Origin::Generated | Origin::Temporary, _) => next.push(path),
                    _ => {}
                }
            }
            level = next;
        }
        found.truncate(ROUTES);
        found
    }
}

/// A file that a step read.
struct Found<'s> {
    path: &'s str,
    origin: Origin,
    through: bool,
    listed: bool,
}

/// Who made what.
struct Makers<'r> {
    all: BTreeMap<&'r str, Vec<&'r Step>>,
    /// What was made and removed later.
    gone: BTreeSet<&'r str>,
}

impl<'r> Makers<'r> {
    fn of(steps: &'r Steps) -> Self {
        let (mut all, mut gone) = (BTreeMap::<&str, Vec<&Step>>::new(), BTreeSet::new());
        for step in &steps.steps {
            for output in &step.outputs {
                all.entry(&*output.path).or_default().push(step);
                gone.remove(&*output.path);
            }
            gone.extend(step.removed.iter().map(String::as_str));
        }
        Self { all, gone }
    }

    fn of_file(&self, path: &str) -> &[&'r Step] {
        self.all.get(path).map_or(&[], Vec::as_slice)
    }
}

/// What a step may be the recipe of: its target, and all that it leaves.
fn targets(step: &Step) -> impl Iterator<Item = &str> {
    let outputs = step.outputs.iter().map(|output| &*output.path).filter(|path| !is_book(path));
    step.target.as_deref().into_iter().chain(outputs)
}

/// Whether it is one of kbuild's books: a saved command, or a compiler's list of headers on the way to one.
fn is_book(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.ends_with(".d") || name.starts_with('.') && (name.ends_with(".cmd") || name.ends_with(".cmd.tmp"))
}

/// Whether it holds all of the configuration.
fn is_configuration(path: &str) -> bool {
    let whole = [".config", "include/generated/autoconf.h", "include/generated/rustc_cfg"];
    whole.contains(&path) || path.starts_with("include/config/")
}

/// Whether what a step reads is part of its own rule: made by another line of the recipe, or the program that keeps kbuild's
/// books (scripts/basic/fixdep, tools/build/fixdep).
fn is_own(step: &Step, path: &str, makers: &Makers<'_>) -> bool {
    let makes = |path: &str| step.outputs.iter().any(|output| *output.path == *path);
    let made = makers.of_file(path);
    let same_rule = |maker: &&Step| step.target.is_some() && maker.target == step.target;
    if is_book(path) || makes(path) || !made.is_empty() && made.iter().all(same_rule) {
        return true;
    }
    keeps_books(path)
}

/// Whether it is fixdep, which writes nothing but the `.cmd` file: a change of it is no reason to compile anything.
fn keeps_books(path: &str) -> bool {
    path.rsplit('/').next() == Some("fixdep")
}

/// Whether a build ran a step, or one that is there to make the same. In doubt it did.
#[must_use]
pub fn ran(step: &Step, build: &Steps) -> bool {
    let same = |other: &Step| {
        let makes = |path: &str| targets(other).any(|target| target == path);
        other.kind != Kind::Query
            && (targets(step).any(makes) || other.command == step.command && other.cwd == step.cwd)
    };
    build.steps.iter().any(same)
}

impl Candidate {
    /// Whether it is a file that another step makes.
    #[must_use]
    pub fn is_made(&self) -> bool {
        self.origin == Origin::Generated
    }

    fn files(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.file.as_str()).chain(self.folded.iter().map(String::as_str))
    }
}

/// A name for people: what kbuild prints, or else calls it, or the command.
fn named(step: &Step) -> String {
    match (&step.label, &step.cmd, &step.target) {
        (None, Some(cmd), Some(target)) => format!("{} {target}", cmd.name),
        _ => step.name(),
    }
}

/// What a step had read of a file.
fn read<'s>(step: &'s Step, path: &str) -> Option<&'s str> {
    step.inputs.iter().find(|input| *input.path == *path)?.sha256.as_deref()
}

/// What the build after an edit shows of a candidate; `None` if its step did not run though the file is another one.
#[must_use]
pub fn suspect(candidate: &Candidate, edited: &str, clean: &Steps, incremental: &Steps) -> Option<Outcome> {
    let step = clean.steps.get(candidate.at)?;
    if ran(step, incremental) {
        return Some(Outcome::Runs { edited: edited.to_owned() });
    }
    let moved = |path: &str| {
        let made = incremental.steps.iter().flat_map(|step| &step.outputs).rfind(|output| *output.path == *path);
        made.is_some_and(|made| made.sha256.is_some() && made.sha256.as_deref() != read(step, path))
    };
    if candidate.is_made() && !candidate.files().any(moved) {
        return Some(Outcome::Untried { why: format!("an edit of {edited} did not change it") });
    }
    None
}

/// Whether a clean build after the edit has the step read what changed, while the incremental one did not run it: the
/// files that are stale for it, or why it does not count.
///
/// # Errors
/// Why it does not count.
pub fn confirm(
    candidate: &Candidate,
    edited: &str,
    clean: &Steps,
    incremental: &Steps,
    oracle: &Steps,
) -> Result<Vec<String>, Outcome> {
    let untried = |why: &str| Err(Outcome::Untried { why: why.to_owned() });
    let Some(step) = clean.steps.get(candidate.at) else { return untried("the step is not there") };
    if let Some(outcome) = suspect(candidate, edited, clean, incremental) {
        return Err(outcome);
    }
    let same = |other: &&Step| {
        other.kind != Kind::Query
            && other.cwd == step.cwd
            && targets(other).any(|it| targets(step).any(|own| own == it))
    };
    let changed = |other: &&Step| {
        candidate.files().any(|path| {
            let (before, now) = (read(step, path), read(other, path));
            before.is_some() && now.is_some() && before != now
        })
    };
    let Some(other) = oracle.steps.iter().filter(same).find(changed) else {
        return untried("a clean build of the edited sources does not have the step read the changed file");
    };
    let made = |steps: &Steps, path: &str| {
        let last = steps.steps.iter().flat_map(|step| &step.outputs).rfind(|output| *output.path == *path);
        last.and_then(|output| output.sha256.clone())
    };
    let stale = other.outputs.iter().map(|output| &*output.path).filter(|path| {
        let (want, have) = (made(oracle, path), made(clean, path));
        !is_book(path) && want.is_some() && have.is_some() && want != have
    });
    Ok(stale.map(str::to_owned).collect())
}

/// The findings with their standing: what the scenario lists under `[[known]]` is tolerated.
pub fn weigh(record: &ScenarioRecord, findings: &mut [Finding]) {
    super::expect::weigh_audit(record, findings);
}

/// The finding of a candidate that counts. `edit` is the name of the edit that showed it.
#[must_use]
pub fn finding(candidate: &Candidate, edit: &str, command: &str) -> Option<Finding> {
    let Outcome::Missing { edited, added, stale } = &candidate.outcome else { return None };
    let build = format!("{edit}/incremental");
    let added = added.trim();
    let how = if added.is_empty() { "with an empty line added".to_owned() } else { format!("with `{added}` added") };
    let by = match candidate.is_made() {
        true => format!("an edit of {edited} ({how}) changed it"),
        false => format!("it was edited ({how})"),
    };
    let mut detail = Vec::new();
    if let Some((file, line)) = &candidate.rule {
        detail.push(format!("rule: {file}:{line}"));
    }
    match stale.as_slice() {
        [] => detail.push("what the step makes is the same after this edit; another may change it".into()),
        stale => detail.push(format!("stale after this edit: {}", stale.join(", "))),
    }
    if !candidate.folded.is_empty() {
        detail.push(format!("through it also: {}", candidate.folded.join(", ")));
    }
    let target = candidate.target.as_deref().unwrap_or(&candidate.step);
    Some(Finding {
        name: FindingName::DepMissing,
        target: super::compare::in_tree(target).to_owned(),
        build: build.clone(),
        against: Some(format!("{edit}/oracle")),
        edit: Some(edit.to_owned()),
        summary: format!("reads {} and does not depend on it", candidate.file),
        parts: None,
        cause: Some(Cause {
            fault: Fault::Skipped,
            step: candidate.step.clone(),
            target: candidate.target.clone(),
            cmd: candidate.cmd.clone(),
            command: kbuild::body(command).to_owned(),
            build,
            why: format!("{by}, and make did not run the step; a clean build has it read the new content"),
            way: Vec::new(),
        }),
        detail,
        still: Vec::new(),
        folded: Vec::new(),
        varied: None,
        cost_ms: None,
        standing: Standing::New,
        confirmed: None,
        says: Vec::new(),
        owners: None,
    })
}

#[cfg(test)]
mod tests;
