//! What a person needs to repeat a scenario's builds without the harness, as a value: sources, configuration, makes and
//! edits in order. It is kept beside the record; the stand-alone reproducer and the mail are functions of the two.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::command::{Maker, pinned_environment};
use crate::scenario::{Change, Experiment, Scenario, TreeKind};
use crate::tree::source::tools::Unpacked;
use crate::tree::{ConfigBase, EditPlan, FileOp, FileState, Lower, State, TreePlan, kconfig};

/// Version of the file. A reader takes no newer one.
pub const FORMAT: u32 = 1;
/// A tree of at most so many files and bytes is carried by the script; a larger one is an argument of it.
const CARRIED_FILES: usize = 100;
const CARRIED_BYTES: usize = 160 << 10;
/// What the user's own environment gives, as it gives it to any make.
const PERSONAL: &[&str] = &["PATH", "HOME", "TERM", "SHELL", "USER", "LOGNAME"];
/// What no build reads of the built-in tree.
const FOR_READERS: &[&str] = &["README.md", "selftest.sh"];

/// How a scenario's builds are repeated by hand.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// [`FORMAT`].
    pub format: u32,
    /// Whether the sources are to be given; if not, `base` holds them all.
    pub given: bool,
    /// Whether the tree is built by kbuild: `O=`, and a `.config`.
    pub kbuild: bool,
    /// Whether output goes beside the sources.
    pub in_tree: bool,
    /// Where the trees were: what words of command lines call them by.
    pub src: String,
    /// The same of the object tree.
    pub obj: String,
    /// The directory below the sources in which make is started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dir: Option<String>,
    /// Commands before the first build.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prepare: Vec<Vec<String>>,
    /// The configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<Configuration>,
    /// What lies over the sources before the first build.
    pub base: Vec<FileChange>,
    /// The first build.
    pub first: Build,
    /// The edits.
    pub edits: Vec<Edit>,
    /// The second clean build, where something is varied in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub varied: Option<Varied>,
    /// The same with each thing that is varied alone, by what that is called.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub variations: BTreeMap<String, Varied>,
    /// Tools of a version of their own: name and version.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chosen: Vec<String>,
    /// Where the kernel assigns the `cmd_X` that the scenario names: file and line.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub assigned: BTreeMap<String, String>,
    /// What of it cannot be written down, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cannot: Option<String>,
}

/// A configuration: where it starts, and what is added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configuration {
    /// A goal of make, such as `tinyconfig`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goal: Option<String>,
    /// A whole `.config`, where there is no goal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Names of fragments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fragments: Vec<String>,
    /// Lines that are added.
    pub lines: String,
}

/// What a build is made with.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Build {
    /// Its makes, in order, word by word, without `O=`.
    pub makes: Vec<Vec<String>>,
    /// The words of a make that only has goals of kbuild's own added (`olddefconfig`).
    pub plain: Vec<String>,
    /// The environment, but for what a person has of his own.
    pub env: BTreeMap<String, String>,
    /// A fixed `-jN`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jobs: Option<u32>,
    /// Scripts that come first on `PATH`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tools: BTreeMap<String, String>,
}

/// A second clean build that is varied.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Varied {
    /// What it is made with.
    #[serde(flatten)]
    pub build: Build,
    /// Another umask, in octal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub umask: Option<String>,
    /// Whether it begins in another minute.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub later: bool,
    /// What of it cannot be written down, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cannot: Option<String>,
}

/// One edit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Edit {
    /// Its name.
    pub name: String,
    /// What a developer does here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Changes of files.
    pub changes: Vec<FileChange>,
    /// A cleaning goal that is run before the build.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clean: Option<String>,
    /// Lines that are added to `.config`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub config: String,
    /// The build after it, which is made twice where the first is interrupted.
    pub build: Build,
    /// How the first is interrupted, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interrupt: Option<String>,
}

/// One change of a file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "do")]
pub enum FileChange {
    /// It gets this content.
    Write {
        /// Path in the source tree.
        path: String,
        /// What it held; nothing if it was not there.
        before: Option<String>,
        /// What it holds.
        after: String,
        /// Whether it can be run.
        program: bool,
    },
    /// It goes.
    Delete {
        /// Path in the source tree.
        path: String,
    },
    /// It moves, with its time stamp.
    Rename {
        /// Old path.
        from: String,
        /// New path.
        to: String,
    },
    /// It gets another mode.
    Chmod {
        /// Path in the source tree.
        path: String,
        /// Permission bits.
        mode: u32,
    },
    /// It gets a new time stamp.
    Touch {
        /// Path in the source tree.
        path: String,
    },
    /// A change in the object tree, as the scenario says it.
    Object {
        /// The change.
        change: Box<Change>,
    },
}

/// Writes down how the scenario's builds are repeated over the source tree `lower`.
#[must_use]
pub fn recipe(scenario: &Scenario, plan: &TreePlan, lower: &dyn Lower, toolchain: &[Unpacked]) -> Recipe {
    let maker = Maker::new(scenario, plan, toolchain, false);
    let mut writer = Writer { scenario, plan, lower, maker: &maker, cannot: None };
    let carried = writer.carried();
    let mut base = carried.clone().unwrap_or_default();
    writer.lay(&State::default(), &plan.base, &mut base, carried.is_some());
    let mut before = &plan.base;
    let mut edits = Vec::new();
    for (n, edit) in plan.edits.iter().enumerate() {
        edits.push(writer.edit(n, edit, before));
        before = &edit.state;
    }
    let experiment = scenario.experiment.as_ref().filter(|experiment| !experiment.variations().is_empty());
    let varied = experiment.map(|experiment| writer.varied(experiment));
    let parts = experiment.map(Experiment::variations).into_iter().flatten();
    let variations = parts.map(|(name, part)| (name, writer.varied(&part))).collect();
    let cwd = maker.cwd();
    let dir = cwd.strip_prefix(&maker.src).map(|dir| dir.trim_matches('/').to_owned());
    if dir.is_none() {
        writer.cannot(format!("make is started in `{cwd}`, which is in no tree"));
    }
    Recipe {
        format: FORMAT,
        given: carried.is_none(),
        kbuild: plan.kind == TreeKind::Kernel,
        in_tree: maker.in_tree,
        src: maker.src.clone(),
        obj: maker.obj.clone(),
        dir: dir.filter(|dir| !dir.is_empty()),
        prepare: writer.prepare(),
        config: writer.config(),
        base,
        first: writer.build(&plan.base),
        edits,
        varied,
        variations,
        chosen: toolchain.iter().map(|tool| format!("{} {}", tool.offer.name, tool.key())).collect(),
        assigned: writer.assigned(),
        cannot: writer.cannot,
    }
}

struct Writer<'a> {
    scenario: &'a Scenario,
    plan: &'a TreePlan,
    lower: &'a dyn Lower,
    maker: &'a Maker<'a>,
    cannot: Option<String>,
}

impl Writer<'_> {
    /// The first reason is the one that is told.
    fn cannot(&mut self, why: String) {
        self.cannot.get_or_insert(why);
    }

    fn text(&mut self, path: &str, bytes: &[u8]) -> String {
        match std::str::from_utf8(bytes) {
            Ok(text) if !text.contains('\0') => text.to_owned(),
            _ => {
                self.cannot(format!("`{path}` is no text, which a script could carry"));
                String::new()
            }
        }
    }

    /// All sources, where they are few.
    fn carried(&mut self) -> Option<Vec<FileChange>> {
        let mini = self.scenario.tree.srctree == "mini";
        // A kernel has ninety thousand; they need not be listed to know that.
        if self.scenario.is_graft() || (self.plan.kind == TreeKind::Kernel && !mini) {
            return None;
        }
        let paths = self.lower.below("").ok()?;
        let read = |path: &&String| !(mini && FOR_READERS.contains(&path.as_str()) || path.starts_with(".git/"));
        let paths: Vec<&String> = paths.iter().filter(read).take(CARRIED_FILES + 1).collect();
        if paths.len() > CARRIED_FILES {
            return None;
        }
        let mut files = Vec::new();
        let mut bytes = 0;
        for path in paths {
            let file = self.lower.read(path).ok()??;
            bytes += file.bytes.len();
            let after = String::from_utf8(file.bytes).ok().filter(|text| !text.contains('\0'))?;
            let program = file.mode & 0o111 != 0;
            files.push(FileChange::Write { path: path.clone(), before: None, after, program });
        }
        (bytes <= CARRIED_BYTES).then_some(files)
    }

    /// What leads from one state's files to another's; into a tree that is carried, as its files themselves.
    fn lay(&mut self, from: &State, to: &State, out: &mut Vec<FileChange>, carried: bool) {
        for (path, file) in &to.files {
            let change = match file {
                FileState::Present { bytes, mode } => {
                    let before = if carried { None } else { self.present(from, path) };
                    let before = before.map(|bytes| self.text(path, &bytes));
                    let after = self.text(path, bytes);
                    Some(FileChange::Write { path: path.clone(), before, after, program: mode & 0o111 != 0 })
                }
                FileState::Deleted if carried => None,
                FileState::Deleted => self.present(from, path).map(|_| FileChange::Delete { path: path.clone() }),
            };
            if carried {
                let own = |have: &FileChange| matches!(have, FileChange::Write { path: p, .. } if p == path);
                out.retain(|have| !own(have));
            }
            out.extend(change);
        }
    }

    fn present(&self, state: &State, path: &str) -> Option<Arc<[u8]>> {
        match state.files.get(path) {
            Some(FileState::Present { bytes, .. }) => Some(bytes.clone()),
            Some(FileState::Deleted) => None,
            None => self.lower.read(path).ok().flatten().map(|file| Arc::from(file.bytes)),
        }
    }

    fn edit(&mut self, n: usize, edit: &EditPlan, before: &State) -> Edit {
        let mut changes = Vec::new();
        // One edit can write a file twice.
        let mut now: BTreeMap<&str, Option<Arc<[u8]>>> = BTreeMap::new();
        for op in &edit.ops {
            changes.push(match op {
                FileOp::Write { path, bytes, mode } => {
                    let old = now.get(path.as_str()).cloned().unwrap_or_else(|| self.present(before, path));
                    let before = old.map(|bytes| self.text(path, &bytes));
                    now.insert(path, Some(bytes.clone()));
                    let after = self.text(path, bytes);
                    FileChange::Write { path: path.clone(), before, after, program: mode & 0o111 != 0 }
                }
                FileOp::Delete { path } => {
                    now.insert(path, None);
                    FileChange::Delete { path: path.clone() }
                }
                FileOp::Rename { from, to } => {
                    let moved = now.get(from.as_str()).cloned().unwrap_or_else(|| self.present(before, from));
                    now.insert(to, moved);
                    now.insert(from, None);
                    FileChange::Rename { from: from.clone(), to: to.clone() }
                }
                FileOp::Chmod { path, mode } => FileChange::Chmod { path: path.clone(), mode: *mode },
                FileOp::Touch { path } => FileChange::Touch { path: path.clone() },
                FileOp::Object(change) => FileChange::Object { change: change.clone() },
            });
        }
        if before.symbols.keys().any(|name| !edit.state.symbols.contains_key(name)) {
            self.cannot(format!("`{}` takes back a configuration, which only the first builds know", edit.name));
        }
        let symbols = edit.state.symbols.iter().filter(|(name, value)| before.symbols.get(*name) != Some(value));
        Edit {
            name: edit.name.clone(),
            title: self.scenario.edit.get(n).and_then(|edit| edit.title.clone()),
            changes,
            clean: edit.clean.clone(),
            config: symbols.map(|(name, value)| kconfig::line(name, value)).collect(),
            build: self.build(&edit.state),
            interrupt: self.scenario.edit.get(n).and_then(|edit| edit.interrupt.as_ref()).map(|it| it.words(&it.step)),
        }
    }

    fn build(&mut self, state: &State) -> Build {
        let mut makes = vec![self.words(self.maker, state, &state.goals)];
        for then in &self.scenario.make.then {
            let argv = self.maker.make_with(state, &then.goals, &then.vars);
            makes.push(self.without_place(self.maker, argv));
        }
        let mut tools = BTreeMap::new();
        for (name, tool) in &state.tools {
            match (&tool.script, &tool.path) {
                (Some(script), _) => _ = tools.insert(name.clone(), script.clone()),
                (None, Some(path)) => _ = tools.insert(name.clone(), format!("#!/bin/sh\nexec {path} \"$@\"\n")),
                (None, None) => {}
            }
        }
        Build {
            makes,
            plain: self.words(self.maker, state, &[]),
            env: self.environment(state, false),
            jobs: state.jobs,
            tools,
        }
    }

    fn words(&self, maker: &Maker<'_>, state: &State, goals: &[String]) -> Vec<String> {
        self.without_place(maker, maker.make(state, goals))
    }

    fn without_place(&self, maker: &Maker<'_>, argv: Vec<String>) -> Vec<String> {
        let place = format!("O={}", maker.obj);
        argv.into_iter().filter(|word| *word != place).collect()
    }

    /// The environment, without what every person has of his own, unless the scenario sets that.
    fn environment(&self, state: &State, varied: bool) -> BTreeMap<String, String> {
        let mut env = self.maker.environment(state, varied);
        let own = |name: &str| {
            let experiment = self.scenario.experiment.as_ref().filter(|_| varied);
            state.env.contains_key(name) || experiment.is_some_and(|experiment| experiment.env.contains_key(name))
        };
        env.retain(|name, _| !PERSONAL.contains(&name.as_str()) || own(name));
        env
    }

    /// The second clean build, if it varies this.
    fn varied(&self, experiment: &Experiment) -> Varied {
        let scenario = Scenario { experiment: Some(experiment.clone()), ..self.scenario.clone() };
        let maker = Maker::new(&scenario, self.plan, self.maker.toolchain, true);
        let mut plain = Writer { cannot: None, ..*self };
        let writer = Writer { scenario: &scenario, maker: &maker, cannot: None, ..*self };
        let state = &self.plan.base;
        let environment = writer.environment(state, true);
        let place = maker.src != self.maker.src || maker.obj != self.maker.obj;
        let fixed = [
            (experiment.hostname.is_some(), "a host name is varied, which takes a name space of its own"),
            (experiment.shuffle.is_some(), "the order of jobs is varied, which takes a tracer"),
            (experiment.directories.is_some(), "the order of directories is varied, which takes a tracer"),
            (experiment.processors.is_some(), "the number of processors is varied, which the script leaves as it is"),
            (
                experiment.random_addresses == Some(true),
                "address spaces are varied, which the script leaves as they are",
            ),
            (experiment.group.is_some(), "the group is varied, which takes root"),
            (experiment.file_times.is_some(), "the times of sources are varied, which the script leaves as they are"),
            (place, "the place of a tree is varied, which takes a mount of its own"),
        ];
        Varied {
            build: Build { env: environment, jobs: experiment.jobs.or(state.jobs), ..plain.build(state) },
            umask: experiment.umask.clone(),
            later: experiment.start.is_some(),
            cannot: fixed.into_iter().find_map(|(varied, why)| varied.then(|| why.to_owned())),
        }
    }

    fn prepare(&self) -> Vec<Vec<String>> {
        let clean = &self.scenario.make.clean_first;
        let first = (!clean.is_empty()).then(|| self.words(self.maker, &self.plan.base, clean));
        first.into_iter().chain(self.scenario.tree.prepare.iter().cloned()).collect()
    }

    fn config(&self) -> Option<Configuration> {
        let config = self.plan.config.as_ref()?;
        let fragments = config.fragments.iter().map(|(_, text)| format!("{}\n", text.trim_end()));
        let symbols = self.plan.base.symbols.iter().map(|(name, value)| kconfig::line(name, value));
        let (goal, file) = match &config.base {
            ConfigBase::Goal(goal) => (Some(goal.clone()), None),
            ConfigBase::File(text) => (None, Some(text.clone())),
        };
        Some(Configuration {
            goal,
            file,
            fragments: config.fragments.iter().map(|(name, _)| name.clone()).collect(),
            lines: fragments.chain(symbols).collect(),
        })
    }

    /// Where the kernel assigns the commands that the scenario names.
    fn assigned(&self) -> BTreeMap<String, String> {
        let named: BTreeSet<&String> = self.scenario.known.iter().filter_map(|known| known.cmd.as_ref()).collect();
        if named.is_empty() || self.plan.kind != TreeKind::Kernel {
            return BTreeMap::new();
        }
        let names = self.lower.names("scripts").unwrap_or_default();
        let mut found = BTreeMap::new();
        for file in names.iter().filter(|name| name.starts_with("Makefile")).map(|name| format!("scripts/{name}")) {
            let Some(bytes) = self.present(&self.plan.base, &file) else { continue };
            for (line, text) in (1..).zip(String::from_utf8_lossy(&bytes).lines()) {
                // `cmd_X = `, `cmd_X := `; `quiet_cmd_X` is its label.
                let Some((name, rest)) = text
                    .strip_prefix("cmd_")
                    .or_else(|| text.trim_start().strip_prefix("cmd_"))
                    .and_then(|text| text.split_once(|c: char| c.is_whitespace() || c == ':' || c == '='))
                else {
                    continue;
                };
                if named.iter().any(|cmd| *cmd == name) && (text.contains(":=") || rest.contains('=')) {
                    found.entry(name.to_owned()).or_insert_with(|| format!("{file}:{line}"));
                }
            }
        }
        found
    }
}

/// What the environment of a build has over the pinned one that every build has.
#[must_use]
pub fn pinned(name: &str, value: &str) -> bool {
    pinned_environment().get(name).is_some_and(|pinned| pinned == value)
}
