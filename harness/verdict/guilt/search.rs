//! The search for the first step to blame.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};

use super::timeline::{At, Timeline};
use super::{Cause, Fault};
use crate::artifact::record::Mode;
use crate::trace::{Content, End, Kind, Step, kbuild};

/// How many steps a way may have: each is told on a line.
const WAY: usize = 24;
/// How many words that differ between two commands are told.
const WORDS: usize = 6;
/// How many causes of one difference are looked for.
const CAUSES: usize = 5;
/// How long a command is told.
const COMMAND: usize = 400;

/// A file before a step of each tree, or at the end.
type Place = (String, Option<At>, Option<At>);

/// Two trees side by side: that in which a file is wrong, and that in which it is right.
pub(super) struct Search<'t, 'r> {
    have: &'t Timeline<'r>,
    want: &'t Timeline<'r>,
    /// Where the search has been.
    seen: RefCell<BTreeSet<Place>>,
    /// Steps that are blamed already, each for a fault: others are looked for.
    blamed: Vec<Cause>,
    /// Whether one of them was met on the way.
    met: Cell<bool>,
}

impl<'t, 'r> Search<'t, 'r> {
    pub(super) fn new(have: &'t Timeline<'r>, want: &'t Timeline<'r>) -> Self {
        Self { have, want, seen: RefCell::default(), blamed: Vec::new(), met: Cell::new(false) }
    }

    /// The steps to blame for an artifact, the most telling first: what comes out otherwise at each run has nothing to do with
    /// what was changed, and comes last.
    pub(super) fn causes(&self, artifact: &str) -> Vec<Cause> {
        let Some((_, steps)) = self.have.builds.first() else { return Vec::new() };
        let path = format!("{}/{artifact}", steps.objtree);
        let mut search = Search::new(self.have, self.want);
        while search.blamed.len() < CAUSES {
            search.seen.borrow_mut().clear();
            let Some(cause) = search.file(&path, None, None) else { break };
            // After the first, what is left may be nothing but what followed from it.
            if !search.blamed.is_empty() && cause.fault == Fault::OtherCommand {
                break;
            }
            search.blamed.push(cause);
        }
        let mut causes = search.blamed;
        causes.sort_by_key(|cause| cause.fault == Fault::Irreproducible);
        causes
    }

    /// The cause, unless it is blamed already.
    fn other(&self, cause: Option<Cause>) -> Option<Cause> {
        let known = |cause: &Cause| {
            self.blamed.iter().any(|it| (it.fault, &it.step, &it.target) == (cause.fault, &cause.step, &cause.target))
        };
        match cause {
            Some(cause) if known(&cause) => {
                self.met.set(true);
                None
            }
            cause => cause,
        }
    }

    /// The step that failed in the last build, and why, as far as the other tree tells.
    pub(super) fn failed(&self) -> Option<Cause> {
        let last = self.have.last();
        let (_, steps) = self.have.builds.last()?;
        let failed = |step: &Step| !matches!(step.end, None | Some(End::Exit(0)));
        let at = steps.steps.iter().position(|step| step.kind == Kind::Recipe && failed(step))?;
        let at = (last, at);
        let step = self.have.step(at);
        let ended = match step.end {
            Some(End::Exit(code)) => format!("it ended with status {code}"),
            Some(End::Signal(signal)) => format!("signal {signal} ended it"),
            None => "it did not end".into(),
        };
        let key = self.have.key(at);
        let right = self.want.runs(&key).last().copied();
        let own = |input: &&Content| step.in_place.iter().any(|path| **path == *input.path);
        let differs = right.map(|right| self.differing(at, right)).unwrap_or_default();
        let cause = if let Some(path) = differs.iter().find(|path| self.had_made(path, at)) {
            let fault = Fault::OwnOutput;
            return Some(Cause {
                why: format!("{ended}; it read `{path}` as it had left it before"),
                ..self.told(fault, self.have, at, String::new())
            });
        } else if let Some(path) = differs.first() {
            let found = self.file(path, Some(at), right);
            match found {
                Some(cause) => return Some(Cause { why: format!("{}; then {ended}", cause.why), ..cause }),
                None => format!("{ended}; `{path}` is not what it is in a clean build"),
            }
        } else if let Some(input) = step.inputs.iter().find(own) {
            format!("{ended}; it rewrites `{}`", input.path)
        } else {
            ended
        };
        Some(self.told(Fault::Failed, self.have, at, cause))
    }

    /// Whether what a step reads was left by itself, or by another step of its rule, in an earlier build.
    fn had_made(&self, path: &str, at: At) -> bool {
        self.have.writer(path, Some(at)).is_some_and(|before| {
            let target = self.have.step(at).target.as_ref();
            let rule = target.is_some() && self.have.step(before).target.as_ref() == target;
            before.0 < at.0 && (rule || self.have.key(before) == self.have.key(at))
        })
    }

    /// Why a file differs, as it was before these steps or at the end.
    fn file(&self, path: &str, have_before: Option<At>, want_before: Option<At>) -> Option<Cause> {
        let new = self.seen.borrow_mut().insert((path.to_owned(), have_before, want_before));
        if !new {
            return None;
        }
        let have = self.have.writer(path, have_before);
        let want = self.want.writer(path, want_before);
        let rivals = |timeline: &Timeline<'r>, at: Option<At>| {
            let at = at?;
            let other = rival(timeline, path, at)?;
            let why = format!("in {} `{}` makes `{path}` as well", timeline.build(at).id, timeline.step(other).name());
            Some(self.told(Fault::Race, timeline, at, why))
        };
        if let Some(cause) = self.other(rivals(self.have, have).or_else(|| rivals(self.want, want))) {
            return Some(cause);
        }
        let cause = match (have, want) {
            (None, None) => None,
            (Some(have), None) => {
                let why = format!("it made `{path}`; {} has no such step", self.other_build());
                Some(self.told(Fault::Extra, self.have, have, why))
            }
            (None, Some(want)) => Some(self.never(path, want, have_before)),
            (Some(have), Some(want)) if self.have.key(have) != self.want.key(want) => {
                self.not_followed(path, have, want, have_before)
            }
            (Some(have), Some(want)) => self.step(have, want, have_before),
        };
        self.other(cause)
    }

    /// Nobody made the file that the other tree makes.
    fn never(&self, path: &str, want: At, before: Option<At>) -> Cause {
        let earlier = self.have.runs(&self.want.key(want)).last().copied();
        let why = match earlier {
            Some(at) => format!("it ran in {} and did not make `{path}`", self.have.build(at).id),
            None => format!("`{path}` is made by it in {}; it was never run", self.other_build()),
        };
        let at = earlier.filter(|at| before.is_none_or(|before| *at < before));
        match at {
            Some(at) => self.told(Fault::Irreproducible, self.have, at, why),
            None => Cause { build: self.build(), ..self.told(Fault::Skipped, self.want, want, why) },
        }
    }

    /// Two steps make the file, and the last of them is another here than there.
    fn not_followed(&self, path: &str, have: At, want: At, before: Option<At>) -> Option<Cause> {
        if self.want.runs(&self.have.key(have)).is_empty() {
            let why = format!("it made `{path}`; in {} `{}` does", self.other_build(), self.want.step(want).name());
            return Some(self.told(Fault::Extra, self.have, have, why));
        }
        let runs = self.have.runs(&self.want.key(want)).iter().rev();
        let Some(run) = runs.copied().find(|at| before.is_none_or(|before| *at < before)) else {
            return Some(self.never(path, want, before));
        };
        if run > have {
            // It ran, and left the file alone.
            let why = format!("it ran after `{}` and did not make `{path}`", self.have.step(have).name());
            return Some(self.told(Fault::Irreproducible, self.have, run, why));
        }
        let step = self.want.step(want);
        let saves = step.outputs.iter().any(|output| output.path.ends_with(".cmd"));
        let saved = if saves { "" } else { "its own command is not saved, and " };
        let why = format!(
            "`{}` made `{path}` anew in {}, and it was not run again after that: {saved}no prerequisite of it was newer",
            self.have.step(have).name(),
            self.have.build(have).id,
        );
        let cause = self.told(Fault::Skipped, self.want, want, why);
        Some(Cause { build: self.have.build(have).id.clone(), way: self.way(path), ..cause })
    }

    /// The same step made the file in both.
    fn step(&self, have: At, want: At, before: Option<At>) -> Option<Cause> {
        let (mine, right) = (self.have.step(have), self.want.step(want));
        let differs = self.differing(have, want);
        let met = self.met.replace(false);
        for input in differs.iter().filter(|input| !self.had_made(input, have)) {
            let stale = || self.is_as_wanted(input, have, right, before).then(|| self.stale(input, have));
            let made = self.order(input, have, want).or_else(stale);
            let cause = match made {
                Some(cause) => self.other(Some(cause)),
                None => self.file(input, Some(have), Some(want)),
            };
            if cause.is_some() {
                return cause;
            }
        }
        // What it gets is other for a reason that is known.
        let explained = self.met.get();
        self.met.set(met || explained);
        // What it changes without looking at it first counts as read, unless it holds the same after that.
        let left = |timeline: &Timeline<'_>, path: &str, at: At| {
            let by = timeline.writer(path, Some(at))?;
            timeline.step(by).outputs.iter().find(|output| *output.path == *path)?.sha256.clone()
        };
        let now = |path: &str| mine.outputs.iter().find(|output| *output.path == *path)?.sha256.clone();
        let updated: Vec<&String> = mine
            .in_place
            .iter()
            .filter(|path| !mine.inputs.iter().any(|input| *input.path == ***path))
            .filter(|path| left(self.have, path, have).is_none_or(|before| Some(before) != now(path)))
            .collect();
        let in_this = |path: &str| self.have.writer(path, Some(have)).is_some_and(|by| by.0 == have.0);
        for path in updated.iter().filter(|path| in_this(path)) {
            let (mine, right) = (left(self.have, path, have), left(self.want, path, want));
            if let (true, Some(cause)) = (mine.is_some() && mine != right, self.file(path, Some(have), Some(want))) {
                return Some(cause);
            }
        }
        // What another step of an earlier build had left is old output as well.
        let old = |path: &&String| {
            self.had_made(path, have)
                || !in_this(path)
                    && self.have.writer(path, Some(have)).is_some()
                    && self.want.writer(path, Some(want)).is_none()
        };
        let own = differs.iter().find(|input| self.had_made(input, have));
        if let Some(own) = own.or_else(|| updated.into_iter().find(old)) {
            let there = self.want.writer(own, Some(want)).map(|at| self.want.step(at).name());
            let there = there.map_or("nothing".to_owned(), |name| format!("what `{name}` makes"));
            let earlier =
                self.have.writer(own, Some(have)).map(|at| self.have.build(at).id.clone()).unwrap_or_default();
            let left = if self.had_made(own, have) { "it had left it itself in" } else { "it was left by" };
            let why = format!("it read `{own}` as {left} {earlier}; in {} it gets {there}", self.other_build());
            let cause = self.told(Fault::OwnOutput, self.have, have, why);
            let guilty = mine.ran.iter().find(|ran| ran.in_place.contains(own));
            return Some(with_command(cause, guilty.map(|ran| ran.command.as_str())));
        }
        if explained {
            return None;
        }
        if let Some(input) = differs.first() {
            // It differs, and why cannot be found: its maker was not seen.
            let why = format!("it read another `{input}` than in {}, which no traced step made", self.other_build());
            return Some(self.told(Fault::OtherCommand, self.have, have, why));
        }
        if let Some((what, of_trace)) = self.other_command(have, want) {
            if have.0 < self.have.last() && of_trace {
                let why = format!("its {what}, and it was not run again");
                return Some(Cause { build: self.build(), ..self.told(Fault::Skipped, self.have, have, why) });
            }
            return Some(self.told(Fault::OtherCommand, self.have, have, format!("its {what}")));
        }
        let why = match self.repeated(have, want) {
            true => "it got the same as in {}, and gave something else".replace("{}", &self.other_build()),
            false => return None,
        };
        let first =
            mine.ran.iter().zip(&right.ran).find(|(a, b)| {
                a.inputs.is_some() && a.inputs == b.inputs && digests(&a.outputs) != digests(&b.outputs)
            });
        let cause = self.told(Fault::Irreproducible, self.have, have, why);
        Some(with_command(cause, first.map(|(ran, _)| ran.command.as_str())))
    }

    /// What a step got otherwise than in the other tree: what holds something else, then what one of them alone read. What was
    /// there for it as the other got it, and was not read, is not among it: it ended before it came to that.
    fn differing(&self, have: At, want: At) -> Vec<String> {
        let (mine, right) = (digests(&self.have.step(have).inputs), digests(&self.want.step(want).inputs));
        let unread = |path: &String| {
            let there = || match self.have.writer(path, None) {
                Some(_) => self.have.made(path, Some(have)).as_deref() == right.get(path.as_str()).copied().flatten(),
                None => have.0 >= self.edited(),
            };
            !mine.contains_key(path.as_str()) && there()
        };
        let mut differs = differing(&mine, &right);
        differs.retain(|path| !unread(path));
        differs.sort_by_key(|path| !(mine.contains_key(path.as_str()) && right.contains_key(path.as_str())));
        differs
    }

    /// The first build after the last edit of the sources.
    fn edited(&self) -> usize {
        let last = self.have.builds.last().and_then(|(build, _)| build.edit);
        let first = self.have.builds.iter().position(|(build, _)| build.edit == last);
        last.and(first).unwrap_or_else(|| self.have.last())
    }

    /// Whether the outputs of two runs differ, as far as the traces have them.
    fn repeated(&self, have: At, want: At) -> bool {
        digests(&self.have.step(have).outputs) != digests(&self.want.step(want).outputs)
    }

    /// Whether a file became what the step of the other tree read, but only after this one had run.
    fn is_as_wanted(&self, path: &str, have: At, right: &Step, before: Option<At>) -> bool {
        let wanted = right.inputs.iter().find(|input| &*input.path == path).and_then(|input| input.sha256.as_deref());
        let now = self.have.content(path);
        let then = before.and_then(|before| self.have.made(path, Some(before)));
        match (now, wanted) {
            (Some(now), Some(wanted)) => now == wanted || then.is_some_and(|then| then == wanted),
            // No build made it: it is of the sources, which were edited before the last build.
            (None, _) => have.0 < self.edited() && self.have.writer(path, None).is_none(),
            (Some(_), None) => false,
        }
    }

    /// A step that was last run before one of its inputs became what it is.
    fn stale(&self, input: &str, have: At) -> Cause {
        let step = self.have.step(have);
        let steps = self.have.steps(have);
        let unlisted = steps.unlisted.get(have.1).is_some_and(|paths| paths.iter().any(|path| &**path == input));
        let way = self.way(input);
        let listed = match (unlisted, step.target.as_deref().and_then(|target| target.rsplit('/').next())) {
            (true, Some(name)) => format!("; `.{name}.cmd` does not list it"),
            _ => String::new(),
        };
        let reads = if step.inputs.iter().any(|it| &*it.path == input) { "reads" } else { "would read" };
        let why = format!("it {reads} `{input}`, which changed, and was not run again{listed}");
        Cause { build: self.build(), way, ..self.told(Fault::Skipped, self.have, have, why) }
    }

    /// What of a step's command, environment or tools differs; and whether make could know.
    fn other_command(&self, have: At, want: At) -> Option<(String, bool)> {
        let (mine, right) = (self.have.command(have), self.want.command(want));
        if mine != right {
            return Some((format!("command is another: {}", words(&right, &mine)), true));
        }
        if kbuild::body(&self.have.step(have).command) != kbuild::body(&self.want.step(want).command) {
            return Some(("command names the places of the trees, which are others".into(), false));
        }
        let (mine, right) = (self.have.environment(have), self.want.environment(want));
        if mine != right {
            let other: Vec<&str> = mine
                .iter()
                .filter(|variable| !right.contains(variable))
                .chain(right.iter().filter(|variable| !mine.contains(variable)))
                .filter_map(|variable| variable.split('=').next())
                .collect();
            let names: BTreeSet<&str> = other.into_iter().collect();
            let names: Vec<&str> = names.into_iter().collect();
            return Some((format!("environment is another: {}", names.join(", ")), true));
        }
        let (mine, right) = (self.have.toolchain(have), self.want.toolchain(want));
        let tool = mine.iter().find(|(tool, digest)| right.get(*tool).is_some_and(|other| other != *digest))?.0;
        Some((format!("tool `{tool}` is another"), true))
    }

    /// A file that one of the two read and the other did not find, since another step made it later there.
    fn order(&self, path: &str, have: At, want: At) -> Option<Cause> {
        let late = |timeline: &Timeline<'r>, at: At| {
            let step = timeline.step(at);
            let missed = step.missing.iter().any(|missing| missing == path)
                || !step.inputs.iter().any(|input| &*input.path == path);
            let maker = timeline.writers_in(path, at.0).find(|maker| timeline.step(*maker).ended > step.began)?;
            (missed && maker.1 != at.1).then_some(maker)
        };
        let (maker, timeline, other) = match (late(self.have, have), late(self.want, want)) {
            (Some(maker), None) => (maker, self.have, self.want),
            (None, Some(maker)) => (maker, self.want, self.have),
            _ => return None,
        };
        let (late, early) = (&timeline.build(maker).id, &other.builds.last()?.0.id);
        let why = format!(
            "in {late} `{}` had not made `{path}` yet, in {early} it had: nothing orders the two",
            timeline.step(maker).name()
        );
        Some(self.told(Fault::Order, self.have, have, why))
    }

    /// How a change came to a file in the last build: from a file of the sources through the steps that ran.
    fn way(&self, path: &str) -> Vec<String> {
        let last = self.have.last();
        let mut way = vec![path.to_owned()];
        let mut at = path.to_owned();
        let mut before: Option<At> = None;
        while way.len() < 2 * WAY {
            let Some(maker) = self.have.writer(&at, before).filter(|maker| maker.0 == last) else { break };
            let step = self.have.step(maker);
            way.push(step.name());
            let runs = self.have.runs(&self.have.key(maker));
            let earlier = runs.iter().rev().find(|run| run.0 < last).map(|run| self.have.step(*run));
            let changed = |input: &&Content| match earlier {
                Some(earlier) => earlier.inputs.iter().all(|old| old.path != input.path || old.sha256 != input.sha256),
                None => self.have.writer(&input.path, Some(maker)).is_some_and(|at| at.0 == last),
            };
            let own = |input: &&Content| *input.path == *at;
            let of_command = |input: &&Content| input.path.ends_with(".cmd");
            let mut inputs: Vec<&Content> =
                step.inputs.iter().filter(changed).filter(|it| !own(it) && !of_command(it)).collect();
            // What was edited says more than what was made of it.
            inputs.sort_by_key(|input| self.have.writer(&input.path, Some(maker)).is_some());
            let Some(input) = inputs.first() else {
                if let (Some(earlier), false) = (earlier, inputs.len() > 1)
                    && kbuild::body(&earlier.command) != kbuild::body(&step.command)
                {
                    way.push(format!("its command: {}", words(&earlier.command, &step.command)));
                }
                break;
            };
            at = input.path.to_string();
            way.push(at.clone());
            before = Some(maker);
        }
        way.reverse();
        if way.len() == 1 { Vec::new() } else { way }
    }

    /// The build that is looked at, for what did not run in it.
    fn build(&self) -> String {
        self.have.builds.last().map(|(build, _)| build.id.clone()).unwrap_or_default()
    }

    /// The other tree, in words.
    fn other_build(&self) -> String {
        match self.want.builds.last() {
            Some((build, _)) if build.mode == Mode::Clean && build.edit.is_some() => "a clean build".into(),
            Some((build, _)) => build.id.clone(),
            None => "the other build".into(),
        }
    }

    fn told(&self, fault: Fault, timeline: &Timeline<'r>, at: At, why: String) -> Cause {
        timeline.cause(fault, at, why)
    }
}

/// Whether a step makes something that another does not.
fn makes_more(step: &Step, than: &Step) -> bool {
    step.outputs.iter().any(|output| !than.outputs.iter().any(|other| other.path == output.path))
}

/// The target of a step's rule, if a label or a saved command says so: the only file that it makes can be any.
fn target(step: &Step) -> Option<&str> {
    let target = step.target.as_deref()?;
    let labelled =
        step.label.as_deref().is_some_and(|label| label.rsplit(' ').next().is_some_and(|it| target.ends_with(it)));
    (labelled || step.outputs.len() > 1).then_some(target)
}

/// Whether two steps of one make are of two recipes: when a line has ended, the next one of its recipe is the first that make
/// starts (GNU make, `job.c`, `reap_children`), so that with another one between them they are.
fn apart(timeline: &Timeline<'_>, one: At, other: At) -> bool {
    let (a, b) = (timeline.step(one), timeline.step(other));
    let (first, second) = if a.began < b.began { (a, b) } else { (b, a) };
    let between = |step: &&Step| step.within == a.within && step.began >= first.ended && step.began < second.began;
    a.command != b.command && a.within == b.within && timeline.builds[one.0].1.steps.iter().any(|step| between(&step))
}

/// Another step of the same build that makes the file: at the same time, or in a clean build for another target without
/// reading it first.
pub(in crate::verdict) fn rival(timeline: &Timeline<'_>, path: &str, at: At) -> Option<At> {
    let step = timeline.step(at);
    let clean = timeline.build(at).mode == Mode::Clean;
    let anew = |step: &Step| !step.in_place.iter().any(|own| own == path);
    let beside = |other: &At| {
        let it = timeline.step(*other);
        let at_once = it.began < step.ended && step.began < it.ended;
        let other_rule = match (target(it), target(step)) {
            (Some(a), Some(b)) => a != b,
            // Makes of their own, one after the other, know of each other by whoever starts them: `make defconfig`, then `make`.
            _ if it.within != step.within => false,
            _ => makes_more(it, step) && makes_more(step, it) || apart(timeline, *other, at),
        };
        let twice = clean && other_rule && anew(it) && anew(step);
        *other != at && it.kind == Kind::Recipe && step.kind == Kind::Recipe && (at_once || twice)
    };
    timeline.writers_in(path, at.0).find(beside)
}

/// The cause with the program in the step that is to blame.
fn with_command(cause: Cause, command: Option<&str>) -> Cause {
    match command {
        Some(command) => Cause { command: cut(command), ..cause },
        None => cause,
    }
}

/// Paths whose contents are not the same in both; one whose content is not known counts as the same.
fn differing(mine: &BTreeMap<&str, Option<&str>>, right: &BTreeMap<&str, Option<&str>>) -> Vec<String> {
    let all: BTreeSet<&&str> = mine.keys().chain(right.keys()).collect();
    let differs = |path: &&&&str| match (mine.get(**path), right.get(**path)) {
        (Some(Some(a)), Some(Some(b))) => a != b,
        (Some(_), Some(_)) => false,
        _ => true,
    };
    // `.cmd` files hold commands, which are compared as such.
    all.iter().filter(differs).filter(|path| !path.ends_with(".cmd")).map(|path| (**path).to_string()).collect()
}

fn digests(contents: &[Content]) -> BTreeMap<&str, Option<&str>> {
    contents.iter().map(|content| (&*content.path, content.sha256.as_deref())).collect()
}

/// The words in which two commands differ.
pub(in crate::verdict) fn words(before: &str, after: &str) -> String {
    let (before, after): (Vec<&str>, Vec<&str>) =
        (before.split_whitespace().collect(), after.split_whitespace().collect());
    let diff = similar::capture_diff_slices(similar::Algorithm::Myers, &before, &after);
    let mut told = Vec::new();
    for op in diff {
        let (tag, old, new) = op.as_tag_tuple();
        if tag != similar::DiffTag::Equal {
            told.extend(before[old].iter().map(|word| format!("-{word}")));
            told.extend(after[new].iter().map(|word| format!("+{word}")));
        }
    }
    let mut known = BTreeSet::new();
    // What kbuild saves stands in the command again.
    told.retain(|word| known.insert(word.clone()));
    let more = told.len().saturating_sub(WORDS);
    told.truncate(WORDS);
    let mut text: String = told.iter().map(|word| cut(word)).collect::<Vec<_>>().join(" ");
    if more > 0 {
        text.push_str(&format!(" and {more} more words"));
    }
    text
}

/// Not all of a text that is too long.
pub(in crate::verdict) fn cut(text: &str) -> String {
    let one: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match one.char_indices().nth(COMMAND) {
        Some((at, _)) => format!("{}…", &one[..at]),
        None => one,
    }
}
