//! Steps: what make ran, each with what it read and what it made.
//!
//! A step is one child of make and all below it: one line of a recipe, which make hands to a shell or starts itself. It
//! is known from the process tree, never from what was printed, so that `make -s`, `-j`, and makefiles that are not kbuild's
//! are all the same. A make below a step is cut out, with the steps that it runs itself.
//!
//! What make reads is its own: makefiles, `.cmd` files, the times of everything. What `$(shell)` runs is told apart
//! ([`Kind::Query`]): it happens while makefiles are read, and make takes its output.
//!
//! Nothing here depends on process ids, on times, or on which of two steps that ran beside each other came first.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{Action, Deed, End, Program, Trace};

mod commands;
mod compare;
pub mod kbuild;

use commands::{Commands, redirected};
pub use compare::{Comparison, Differs, compare};

/// A directory of the build, and how paths in it are told: `/build/obj` as `obj`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// Where it was.
    pub dir: PathBuf,
    /// Its name in reports; if empty, paths in it are told as they are below it.
    pub name: String,
}

impl Root {
    /// A path as it is told: below a root by that root's name, else as it is.
    #[must_use]
    pub fn told(roots: &[Self], path: &Path) -> String {
        Self::inside(roots, path).unwrap_or_else(|| path.to_string_lossy().into_owned())
    }

    fn inside(roots: &[Self], path: &Path) -> Option<String> {
        roots.iter().find_map(|root| {
            let below = below(path, &root.dir)?.to_string_lossy();
            Some(match (root.name.as_str(), below.as_ref()) {
                ("", "") => ".".to_owned(),
                ("", below) => below.to_owned(),
                (name, "") => name.to_owned(),
                (name, below) => format!("{name}/{below}"),
            })
        })
    }
}

/// As [`Path::strip_prefix`] of paths that are absolute and written without `.` and double slashes, as those of a trace are: a
/// kernel's trace names files a million times.
fn below<'p>(path: &'p Path, dir: &Path) -> Option<&'p Path> {
    let (path, dir) = (path.as_os_str().as_bytes(), dir.as_os_str().as_bytes());
    let dir = dir.strip_suffix(b"/").unwrap_or(dir);
    let rest = path.strip_prefix(dir)?;
    let rest = if rest.is_empty() { rest } else { rest.strip_prefix(b"/")? };
    Some(Path::new(OsStr::from_bytes(rest)))
}

/// What a child of make is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A line of a recipe.
    #[default]
    Recipe,
    /// A line of a recipe that runs another make.
    Descent,
    /// What `$(shell)` runs.
    Query,
}

/// The bytes of a file before or after a step.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Content {
    /// Its path, below a root by that root's name. Thousands of steps read the same headers: they share it.
    pub path: Arc<str>,
    /// Which content, in the trace.
    pub number: u32,
    /// SHA-256 in hexadecimal digits, where the trace has it.
    pub sha256: Option<Arc<str>>,
}

/// One program that a step ran, of those that leave files in the roots or change them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// Its arguments, with blanks between.
    pub command: String,
    /// SHA-256 over the paths and contents of all that it read in the roots, in hexadecimal digits; none if a content is not
    /// known. Who got the same has the same.
    pub inputs: Option<String>,
    /// What it made or changed and left there, by path; the step may have removed it later.
    pub outputs: Vec<Content>,
    /// Outputs that it had read before it wrote them, by path.
    pub in_place: Vec<String>,
}

/// What make had read of the command by which a target was made the last time: kbuild includes `.X.cmd` of all that is
/// listed in `targets` and is there (scripts/Makefile.build, `existing-targets`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Saved {
    /// It did not ask for the file.
    #[default]
    Unasked,
    /// It asked, and there was none.
    Missing,
    /// It read this content, by SHA-256 where the trace has it.
    Read(Option<Arc<str>>),
}

/// `cmd_X` of a makefile.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Cmd {
    /// With `cmd_`.
    pub name: String,
    /// The makefile, below a root by that root's name.
    pub file: String,
    /// The line of its assignment, from 1.
    pub line: usize,
}

/// One child of make.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Step {
    /// What it is.
    pub kind: Kind,
    /// The line of the recipe as make gave it to the shell, or the words of the program that make started itself.
    pub command: String,
    /// What kbuild prints of it, e.g. `LD [M] crypto/md5.ko`: from the command, whether it was printed or not.
    pub label: Option<String>,
    /// What kbuild calls the command: see [`kbuild::name`].
    pub cmd: Option<Cmd>,
    /// The file that it is there to make, `$@` of its rule, as far as it shows: whose `.cmd` file it wrote, what its label
    /// names, or the only file that it made.
    pub target: Option<String>,
    /// The working directory.
    pub cwd: String,
    /// Number of the environment, in the trace.
    pub env: u32,
    /// What its make had read of the target's saved command.
    pub saved: Saved,
    /// The step inside which its make ran, by number.
    pub within: Option<usize>,
    /// What it read in the roots and had not made itself, by path.
    pub inputs: Vec<Content>,
    /// What it made or changed in the roots and left behind, by path.
    pub outputs: Vec<Content>,
    /// The programs by which it made them, in the order in which they began; none where it is one program alone.
    pub ran: Vec<Ran>,
    /// What was there before and is gone, by path.
    pub removed: Vec<String>,
    /// Outputs that it had read before it wrote them, by path.
    pub in_place: Vec<String>,
    /// What it looked up or wanted to open in the roots in vain, by path.
    pub missing: Vec<String>,
    /// Files outside of the roots that it read or ran, by path.
    pub tools: Vec<String>,
    /// Files outside of the roots that it made and left behind, or was not allowed to make or change, by path.
    pub strays: Vec<String>,
    /// Files of one machine or user that it looked for or wanted to read in vain, by path: in homes, `/etc/machine-id`.
    pub sought: Vec<String>,
    /// Addresses of the internet that it wanted to reach, with their ports.
    pub network: Vec<String>,
    /// Its processes, by number; the first is the child of make.
    pub processes: Vec<u32>,
    /// When it began, in microseconds since the command was started.
    pub began: u64,
    /// When all of it had ended.
    pub ended: u64,
    /// Microseconds of processor time.
    pub cpu: u64,
    /// How the child of make ended.
    pub end: Option<End>,
}

/// Where temporary files are: what a step leaves there is nothing that a build is made of.
const TEMPORARY: [&str; 4] = ["/tmp", "/dev", "/proc", "/run"];
/// What tells one machine or user from another: to look for it is told, also where a sandbox hides it.
const PERSONAL: [&str; 8] =
    ["/etc/hostname", "/etc/machine-id", "/var/lib/dbus/machine-id", "/home", "/media", "/mnt", "/root", "/srv"];

impl Step {
    /// A name for people: the label, `cmd_X` with its target where kbuild prints nothing (`cmd_link_vmlinux vmlinux`), or the
    /// command.
    #[must_use]
    pub fn name(&self) -> String {
        let silent = || Some(format!("{} {}", self.cmd.as_ref()?.name, self.target.as_ref()?));
        self.label.clone().or_else(silent).unwrap_or_else(|| kbuild::body(&self.command).to_owned())
    }
}

/// The steps of a trace, by kind, label and command; those that are equal in these, in the order in which they began.
#[must_use]
pub fn steps(trace: &Trace, roots: &[Root]) -> Vec<Step> {
    let step_of = tops(trace);
    let mut groups: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for (number, top) in (0..).zip(&step_of) {
        if let Some(top) = top {
            groups.entry(*top).or_default().push(number);
        }
    }
    let mut making = Making { trace, roots, shared: RefCell::default(), saved: HashMap::new() };
    let mut made: Vec<(u32, Step)> =
        groups.iter().map(|(top, processes)| (*top, making.step(*top, processes))).collect();
    // Which step a make ran in: that of the make's own process.
    let outer = |top: u32| {
        let make = trace.processes[top as usize].parent?;
        step_of.get(make as usize).copied().flatten()
    };
    let descents: BTreeSet<u32> = groups.keys().filter_map(|top| outer(*top)).collect();
    for (top, step) in &mut made {
        if step.kind == Kind::Recipe && descents.contains(top) {
            step.kind = Kind::Descent;
        }
    }
    made.sort_by(|(_, a), (_, b)| {
        (a.kind, &a.label, &a.command, &a.cwd, a.began).cmp(&(b.kind, &b.label, &b.command, &b.cwd, b.began))
    });
    let place: HashMap<u32, usize> = made.iter().enumerate().map(|(at, (top, _))| (*top, at)).collect();
    let within: Vec<Option<usize>> = made.iter().map(|(top, _)| place.get(&outer(*top)?).copied()).collect();
    made.into_iter().zip(within).map(|((_, step), within)| Step { within, ..step }).collect()
}

/// Of each process the child of make that it is, or is below; none of the command itself and what is above all makes.
fn tops(trace: &Trace) -> Vec<Option<u32>> {
    let mut tops: Vec<Option<u32>> = Vec::with_capacity(trace.processes.len());
    for (number, process) in (0..).zip(&trace.processes) {
        let top = match process.parent {
            Some(parent) if runs_make(trace, trace.program(parent, process.born)) => Some(number),
            Some(parent) => tops[parent as usize],
            None => None,
        };
        tops.push(top);
    }
    tops
}

/// Whether this program is make.
fn runs_make(trace: &Trace, program: Option<&Program>) -> bool {
    program.is_some_and(|program| is_make(trace.path(program.file), &program.argv))
}

/// Whether a program, by its file and arguments, is make.
pub(super) fn is_make(file: &Path, argv: &[OsString]) -> bool {
    let named = |path: &Path| {
        let name = path.file_name().map(|name| name.as_bytes()).unwrap_or_default();
        let version = name.strip_prefix(b"make-").or(name.strip_prefix(b"gmake-")).unwrap_or_default();
        name == b"make" || name == b"gmake" || version.first().is_some_and(u8::is_ascii_digit)
    };
    if named(file) {
        return true;
    }
    // Started by a dynamic loader of its own (ld.so(8)), as a make that was unpacked beside the system is.
    let loader = file.file_name().is_some_and(|name| name.as_bytes().starts_with(b"ld-") || name == "ld.so");
    let mut words = argv.iter().skip(1);
    loader
        && loop {
            let Some(word) = words.next() else { break false };
            match word.as_bytes() {
                b"--library-path" | b"--inhibit-rpath" | b"--audit" | b"--preload" | b"--argv0" => drop(words.next()),
                option if option.starts_with(b"--") => {}
                _ => break named(Path::new(word)),
            }
        }
}

struct Making<'t> {
    trace: &'t Trace,
    roots: &'t [Root],
    /// Paths and digests that steps have in common.
    shared: RefCell<HashSet<Arc<str>>>,
    /// Of each make the saved commands that it asked for.
    saved: HashMap<u32, HashMap<String, Saved>>,
}

/// Where a path is.
enum Where {
    /// In the build.
    Tree(String),
    /// Elsewhere.
    Host(String),
    /// Where nothing counts.
    Temporary,
}

impl Making<'_> {
    fn step(&mut self, top: u32, processes: &[u32]) -> Step {
        let trace = self.trace;
        let first = &trace.processes[top as usize];
        let all = || processes.iter().map(|number| &trace.processes[*number as usize]);
        let command = first.programs.first().map(|program| command(&program.argv)).unwrap_or_default();
        let program = first.programs.first();
        let mut step = Step {
            kind: if program.is_some_and(|program| program.captured) { Kind::Query } else { Kind::Recipe },
            label: label(&command),
            command,
            cwd: program.map_or_else(String::new, |program| Root::told(self.roots, trace.path(program.cwd))),
            env: program.map_or(0, |program| program.env),
            processes: processes.to_vec(),
            began: first.began,
            ended: all().map(|process| process.ended).max().unwrap_or(first.ended),
            cpu: all().map(|process| process.cpu).sum(),
            end: first.end,
            ..Step::default()
        };
        let of: Vec<(u32, Vec<&Action>)> =
            processes.iter().map(|number| (*number, without_make(trace, *number))).collect();
        let mut actions: Vec<&Action> = of.iter().flat_map(|(_, actions)| actions).copied().collect();
        actions.sort_by_key(|action| action.at);
        let blank = step.clone();
        self.fold(&actions, &mut step);
        // What every command did, with what its shell opened for it.
        let (given, mut commands) = (redirected(trace, processes), Commands::of_step(trace, processes));
        for (number, actions) in of {
            for action in actions {
                let by = given.get(&action.at).unwrap_or(&number);
                if let Some(did) = commands.of_process(*by) {
                    did.push(action);
                }
            }
        }
        let ran = |(number, mut actions): (u32, Vec<&Action>)| {
            actions.sort_by_key(|action| action.at);
            // Most processes only read.
            if !actions.iter().any(|action| action.deed.changes()) {
                return None;
            }
            let program = trace.processes[number as usize].programs.last()?;
            let mut one = blank.clone();
            self.fold(&actions, &mut one);
            let inputs = digest_of(&one.inputs);
            (!one.outputs.is_empty()).then(|| Ran {
                command: program.command(),
                inputs,
                outputs: one.outputs,
                in_place: one.in_place,
            })
        };
        step.ran = commands.did.into_iter().filter_map(ran).collect();
        if step.ran.len() < 2 {
            step.ran.clear();
        }
        step.target = target(&step);
        if let (Some(make), Some(target)) = (first.parent, &step.target) {
            step.saved = self.saved(make).get(target).cloned().unwrap_or_default();
        }
        step
    }

    /// The saved commands that a make asked for, by target.
    fn saved(&mut self, make: u32) -> &HashMap<String, Saved> {
        let (trace, roots) = (self.trace, self.roots);
        let asked = || {
            let actions = trace.processes[make as usize].actions.iter();
            let of = |action: &Action| {
                let saved = match action.deed {
                    Deed::Read => Saved::Read(trace.digest(action.content).map(Arc::from)),
                    Deed::Missing => Saved::Missing,
                    _ => return None,
                };
                let path = trace.path(action.path);
                path.as_os_str().as_bytes().ends_with(b".cmd").then_some(())?;
                Some((saved_for(&Root::told(roots, path))?, saved))
            };
            // The first answer counts: it is the one that make went by.
            let mut all = HashMap::new();
            for (target, saved) in actions.filter_map(of) {
                all.entry(target).or_insert(saved);
            }
            all
        };
        self.saved.entry(make).or_insert_with(asked)
    }

    /// The text, kept once.
    fn shared(&self, text: &str) -> Arc<str> {
        let mut shared = self.shared.borrow_mut();
        if let Some(there) = shared.get(text) {
            return Arc::clone(there);
        }
        let new: Arc<str> = text.into();
        shared.insert(Arc::clone(&new));
        new
    }

    fn fold(&self, actions: &[&Action], step: &mut Step) {
        let path = |number: u32| self.trace.path(number).to_owned();
        // The contents that this step made, and what each path that it touched holds now.
        let mut own: HashSet<u32> = HashSet::new();
        let mut holds: BTreeMap<PathBuf, Option<u32>> = BTreeMap::new();
        // Most of what is done is reading, and what was read was so under the name that it had then.
        let mut read: BTreeMap<u32, u32> = BTreeMap::new();
        let mut missing: BTreeSet<u32> = BTreeSet::new();
        let mut refused: BTreeSet<u32> = BTreeSet::new();
        let mut network: BTreeSet<String> = BTreeSet::new();
        let mut removed: BTreeSet<PathBuf> = BTreeSet::new();
        let mut updated: BTreeSet<PathBuf> = BTreeSet::new();
        for action in actions {
            let mine = |content: Option<u32>| content.is_some_and(|content| own.contains(&content));
            if !action.deed.changes() {
                match (action.deed, action.content) {
                    (Deed::Read, Some(content)) if !mine(action.content) => {
                        _ = read.entry(action.path).or_insert(content)
                    }
                    (Deed::Missing, _) => _ = missing.insert(action.path),
                    (Deed::Refused, _) => _ = refused.insert(action.path),
                    (Deed::Connect, _) => _ = network.insert(path(action.path).to_string_lossy().into_owned()),
                    _ => {}
                }
                continue;
            }
            let at = path(action.path);
            match (action.deed, action.content) {
                (Deed::Create | Deed::Update, Some(content)) => {
                    // What was there, and was nobody's of this step, goes on in what is written now.
                    let held = holds.get(&at).copied().flatten();
                    if action.deed == Deed::Update && !held.is_some_and(|held| own.contains(&held)) {
                        updated.insert(at.clone());
                    }
                    own.insert(content);
                    holds.insert(at, Some(content));
                }
                (Deed::Rename | Deed::Link, content) => {
                    let to = action.other.map_or_else(|| at.clone(), path);
                    if content.is_none() && action.deed == Deed::Rename {
                        // A directory, or what holds nothing: all below it goes along.
                        let below: Vec<PathBuf> = holds.keys().filter(|path| path.starts_with(&at)).cloned().collect();
                        for old in below {
                            let moved = old.strip_prefix(&at).map(|rest| to.join(rest)).unwrap_or_else(|_| to.clone());
                            let held = holds.insert(old, None).flatten();
                            holds.insert(moved, held);
                        }
                        if !holds.keys().any(|path| path.starts_with(&to)) {
                            removed.insert(at);
                        }
                        continue;
                    }
                    let here = holds.get(&at).is_some_and(|held| held.is_some() && *held == content);
                    // What was somebody else's goes on under a name of this step's.
                    if let Some(content) = content.filter(|_| !mine(content) && !here) {
                        read.entry(action.path).or_insert(content);
                    }
                    holds.insert(to, content);
                    if action.deed == Deed::Rename {
                        if !mine(content) && !here {
                            removed.insert(at.clone());
                        }
                        holds.insert(at, None);
                    }
                }
                (Deed::Remove, content) => {
                    let here = holds.get(&at).is_some_and(Option::is_some);
                    if content.is_some() && !mine(content) && !here {
                        removed.insert(at.clone());
                    }
                    holds.insert(at, None);
                }
                _ => {}
            }
        }
        let read: BTreeMap<&Path, u32> =
            read.into_iter().map(|(path, content)| (self.trace.path(path), content)).collect();
        let mut tools = BTreeSet::new();
        let mut strays = BTreeSet::new();
        for (path, number) in &read {
            match self.place(path) {
                Where::Tree(path) => step.inputs.push(self.content(path, *number)),
                Where::Host(path) => _ = tools.insert(path),
                Where::Temporary => {}
            }
        }
        for (path, number) in &holds {
            let Some(number) = number else { continue };
            match self.place(path) {
                Where::Tree(name) => {
                    if updated.contains(path) || read.get(path.as_path()).is_some_and(|before| before != number) {
                        step.in_place.push(name.clone());
                    }
                    step.outputs.push(self.content(name, *number));
                }
                Where::Host(path) => _ = strays.insert(path),
                Where::Temporary => {}
            }
        }
        for path in refused {
            if let Where::Host(path) = self.place(self.trace.path(path)) {
                strays.insert(path);
            }
        }
        let gone = removed.iter().filter(|path| holds.get(*path).is_none_or(Option::is_none));
        step.removed = self.named(gone.map(PathBuf::as_path));
        let missing: Vec<&Path> = missing.into_iter().map(|path| self.trace.path(path)).collect();
        let personal = |path: &&&Path| PERSONAL.iter().any(|known| below(path, Path::new(known)).is_some());
        let sought = missing.iter().filter(personal).map(|path| self.place(path)).filter_map(|place| match place {
            Where::Host(path) => Some(path),
            Where::Tree(_) | Where::Temporary => None,
        });
        step.sought = sought.collect();
        let missing = missing.into_iter();
        step.missing = self.named(missing.filter(|path| !holds.contains_key(*path)));
        step.tools = tools.into_iter().collect();
        step.strays = strays.into_iter().collect();
        step.network = network.into_iter().collect();
        step.inputs.sort();
        step.outputs.sort();
        step.in_place.sort();
    }

    /// Those of the paths that are in the build, sorted.
    fn named<'p>(&self, paths: impl Iterator<Item = &'p Path>) -> Vec<String> {
        let in_tree = |path: &Path| match self.place(path) {
            Where::Tree(path) => Some(path),
            Where::Host(_) | Where::Temporary => None,
        };
        let names: BTreeSet<String> = paths.filter_map(in_tree).collect();
        names.into_iter().collect()
    }

    fn content(&self, path: String, number: u32) -> Content {
        let sha256 = self.trace.digest(Some(number)).map(|sha256| self.shared(sha256));
        Content { path: self.shared(&path), number, sha256 }
    }

    fn place(&self, path: &Path) -> Where {
        match Root::inside(self.roots, path) {
            Some(told) => Where::Tree(told),
            None if TEMPORARY.iter().any(|dir| below(path, Path::new(dir)).is_some()) => Where::Temporary,
            None => Where::Host(path.to_string_lossy().into_owned()),
        }
    }
}

/// What a process did, but for what it did as a make, which keeps to itself what it reads.
fn without_make(trace: &Trace, number: u32) -> Vec<&Action> {
    let same = |a: Option<&Program>, b: Option<&Program>| a.map(std::ptr::from_ref) == b.map(std::ptr::from_ref);
    // A program does much, and is looked at once.
    let mut known: Option<(Option<&Program>, bool)> = None;
    let other = |action: &&Action| {
        let program = trace.program(number, action.at);
        let make = match known {
            Some((last, make)) if same(last, program) => make,
            _ => runs_make(trace, program),
        };
        known = Some((program, make));
        !make
    };
    trace.processes[number as usize].actions.iter().filter(other).collect()
}

/// One digest of paths and contents.
fn digest_of(contents: &[Content]) -> Option<String> {
    let mut hash = Sha256::new();
    for content in contents {
        hash.update(content.path.as_bytes());
        hash.update([0]);
        hash.update(content.sha256.as_deref()?.as_bytes());
        hash.update([0]);
    }
    Some(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Which of its outputs a step is there to make.
fn target(step: &Step) -> Option<String> {
    let outputs = || step.outputs.iter().map(|output| &*output.path);
    let labelled = step.label.as_deref().and_then(|label| label.rsplit(' ').next());
    let by_label = || {
        let word = labelled?;
        outputs().find(|path| *path == word || path.strip_suffix(word).is_some_and(|dir| dir.ends_with('/')))
    };
    let only = || outputs().next().filter(|_| step.outputs.len() == 1);
    outputs().find_map(saved_for).or_else(|| by_label().or_else(only).map(str::to_owned))
}

/// The target whose command a file keeps: `dir/.x.cmd` that of `dir/x` (scripts/Kbuild.include, `dot-target`).
fn saved_for(path: &str) -> Option<String> {
    let (dir, name) = path.rsplit_once('/').map_or(("", path), |(dir, name)| (dir, name));
    let name = name.strip_prefix('.')?.strip_suffix(".cmd")?;
    Some(if dir.is_empty() { name.to_owned() } else { format!("{dir}/{name}") })
}

/// What make gave to the shell (`SHELL -c TEXT`), or the words of what it started itself.
pub(super) fn command(argv: &[OsString]) -> String {
    let words: Vec<String> = argv.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    match words.as_slice() {
        // `.SHELLFLAGS` is `-c` unless a makefile says otherwise, often `-ec` or `-euo pipefail -c`.
        [shell, flags @ .., text]
            if is_shell(shell)
                && flags.iter().all(|flag| flag.starts_with('-') || flag == "pipefail" || flag == "errexit")
                && flags.last().is_some_and(|flag| !flag.starts_with("--") && flag.ends_with('c')) =>
        {
            text.clone()
        }
        words => words.join(" "),
    }
}

/// Whether a program is a shell, by its name.
fn is_shell(program: &str) -> bool {
    let name = program.rsplit('/').next().unwrap_or(program);
    matches!(name, "sh" | "ash" | "bash" | "dash" | "ksh" | "mksh" | "yash" | "zsh" | "busybox")
}

/// What kbuild's `quiet_cmd` prints of a command, which is part of it: `echo '  CC [M]  crypto/md5.o';`
/// (scripts/Kbuild.include, `quiet_log_print`; before 6.8 `echo-cmd`). Not there with `make -s` or `V=1`.
pub(super) fn label(command: &str) -> Option<String> {
    command.match_indices("echo '  ").find_map(|(at, found)| {
        let text = &command[at + found.len()..];
        let text = text.split('\'').next()?;
        let mut words = text.split_whitespace();
        let first = words.next()?;
        let capital = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || "_+.-".contains(c);
        let known = !text.starts_with(' ')
            && first.starts_with(|c: char| c.is_ascii_uppercase())
            && first.chars().all(capital)
            && words.clone().next().is_some();
        known.then(|| std::iter::once(first).chain(words).collect::<Vec<_>>().join(" "))
    })
}

/// Whether a command does nothing but start another make, as far as its text tells: make's own steps are what is told then. One
/// with a label is a step like others.
#[must_use]
pub fn is_descent(command: &str) -> bool {
    let body = kbuild::body(command);
    let sets = |word: &&str| word.split_once('=').is_some_and(|(name, _)| !name.contains(['/', '-', '\'', '"']));
    let words: Vec<OsString> = body.split_whitespace().skip_while(sets).map(OsString::from).collect();
    label(command).is_none()
        && !body.contains([';', '|', '&'])
        && words.first().is_some_and(|program| is_make(Path::new(program), &words))
}

/// What a step is called while it runs, when nothing is known but its command: its label, or what it does.
#[must_use]
pub fn live_name(command: &str) -> String {
    label(command).unwrap_or_else(|| kbuild::body(command).to_owned())
}

#[cfg(test)]
mod tests;
