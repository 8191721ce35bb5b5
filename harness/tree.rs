//! Stage `tree`: a scenario and its source tree → the states the tree goes through.
//!
//! [`plan`] is pure over three readers (the source tree, the files beside the scenario, Kconfig): it
//! folds the edits into [`State`]s, so that the sources of a clean build after edit *k* are known
//! without any build, and finds every edit that does not apply before anything is built.
//! [`materialise`] is the thin edge that lays a tree down.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::scenario::{
    Change, Document, Errors, GraftArch, Key, ObjTree, Problem, Scenario, Tool, TreeKind, WhichTree, parse_mode,
};

mod change;
pub mod graft;
pub mod kconfig;
pub mod lower;
pub mod maintainers;
pub mod materialise;
pub mod series;
pub mod source;
pub mod view;

pub(crate) use change::{patch_fault, replace};

pub use lower::{Beside, Lower, LowerFile};

pub(crate) use crate::scenario::{OBJ, SRC};

/// The mode of a file that a scenario writes without naming one.
const DEFAULT_MODE: u32 = 0o644;

/// What a source tree, its configuration and its make command line are at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct State {
    /// Files that differ from the lower tree, by path.
    pub files: BTreeMap<String, FileState>,
    /// Kconfig symbols set by the scenario, over base and fragments.
    pub symbols: BTreeMap<String, String>,
    /// Variables on make's command line.
    pub vars: BTreeMap<String, String>,
    /// The environment over the pinned one; `None` takes a variable out.
    pub env: BTreeMap<String, Option<String>>,
    /// Goals.
    pub goals: Vec<String>,
    /// `-jN`, if fixed.
    pub jobs: Option<u32>,
    /// Programs first on `PATH`, by name.
    pub tools: BTreeMap<String, Tool>,
}

/// A file that differs from the lower tree's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileState {
    /// It has this content and mode.
    Present {
        /// Content.
        bytes: Arc<[u8]>,
        /// Permission bits.
        mode: u32,
    },
    /// It is not there.
    Deleted,
}

/// What an edit does to the files of the incremental tree, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum FileOp {
    /// Writes the whole file and stamps it.
    Write {
        /// Path in the source tree.
        path: String,
        /// Content.
        bytes: Arc<[u8]>,
        /// Permission bits.
        mode: u32,
    },
    /// Removes the file.
    Delete {
        /// Path in the source tree.
        path: String,
    },
    /// Moves the file; its time stamp goes with it.
    Rename {
        /// Old path.
        from: String,
        /// New path.
        to: String,
    },
    /// Sets the mode; the time stamp stays.
    Chmod {
        /// Path in the source tree.
        path: String,
        /// Permission bits.
        mode: u32,
    },
    /// Gives a new time stamp.
    Touch {
        /// Path in the source tree.
        path: String,
    },
    /// A change in the object tree, which only a build can show: resolved when its turn comes.
    Object(Box<Change>),
}

/// The tree before the first build, and after each edit.
#[derive(Debug, Clone)]
pub struct TreePlan {
    /// How it is built.
    pub kind: TreeKind,
    /// The configuration before symbols; `None` where the tree has none.
    pub config: Option<Config>,
    /// The state of the first build.
    pub base: State,
    /// Each edit.
    pub edits: Vec<EditPlan>,
}

/// Base and fragments of a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where it starts.
    pub base: ConfigBase,
    /// Fragments, name and text, in order.
    pub fragments: Vec<(String, String)>,
}

/// What a configuration starts from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigBase {
    /// A goal of make: `tinyconfig`.
    Goal(String),
    /// A complete `.config`.
    File(String),
}

/// One edit, resolved.
#[derive(Debug, Clone)]
pub struct EditPlan {
    /// Its name.
    pub name: String,
    /// The state after it.
    pub state: State,
    /// What it does to the incremental tree's files.
    pub ops: Vec<FileOp>,
    /// A cleaning goal run first.
    pub clean: Option<String>,
    /// Whether symbols changed.
    pub config_changed: bool,
}

/// Resolves a scenario against its source tree.
///
/// # Errors
/// Every edit that does not apply, every file, symbol or fragment that is not there, each with its
/// place in the scenario and a hint.
pub fn plan(
    scenario: &Scenario,
    document: &Document,
    lower: &dyn Lower,
    beside: &dyn Beside,
) -> Result<TreePlan, Errors> {
    let mut planner = Planner { scenario, document, lower, beside, errors: Errors::default(), symbols: None };
    let plan = planner.run();
    planner.errors.into_result()?;
    Ok(plan)
}

pub(crate) struct Planner<'a> {
    pub(crate) scenario: &'a Scenario,
    pub(crate) document: &'a Document,
    pub(crate) lower: &'a dyn Lower,
    pub(crate) beside: &'a dyn Beside,
    pub(crate) errors: Errors,
    /// The Kconfig index, and what only other architectures have, made when the first symbol is asked for: a kernel has
    /// 1,700 Kconfig files.
    symbols: Option<(kconfig::Index, kconfig::Index)>,
}

impl Planner<'_> {
    fn fault(&mut self, at: &[Key], message: impl Into<String>, hint: impl Into<String>) {
        self.tell(at, Problem::at_key(self.document, at, message).hint(hint));
    }

    fn tell(&mut self, at: &[Key], problem: Problem) {
        // What is wrong here was said; the rest would be its consequence.
        if !self.document.is_damaged(at) {
            self.errors.0.push(problem);
        }
    }

    fn run(&mut self) -> TreePlan {
        let tree = &self.scenario.tree;
        let has_kconfig = matches!(self.lower.read("Kconfig"), Ok(Some(_)));
        let kind = tree.kind.unwrap_or(if has_kconfig { TreeKind::Kernel } else { TreeKind::Make });
        self.places(kind);
        let base = self.base();
        let config = self.config(kind, &base);
        let edits = self.edits(&base);
        TreePlan { kind, config, base, edits }
    }

    /// Source and object tree are mounted beside each other: one within the other would hide part of it.
    fn places(&mut self, kind: TreeKind) {
        let scenario = self.scenario;
        if scenario.make.objtree.map_or(kind == TreeKind::Make, |objtree| objtree == ObjTree::InTree) {
            return;
        }
        let nested = |src: &str, obj: &str| Path::new(src).starts_with(obj) || Path::new(obj).starts_with(src);
        let hint = format!("the source tree is at `{SRC}` and the object tree at `{OBJ}`, where nothing else is said");
        let src = scenario.tree.at.as_deref().unwrap_or(SRC);
        if nested(src, OBJ) {
            let message = format!("the source tree `{src}` and the object tree `{OBJ}` lie one within the other");
            return self.fault(&crate::key_path!["tree", "at"], message, hint);
        }
        let Some(experiment) = &scenario.experiment else { return };
        let (src, obj) = (experiment.srctree.as_deref().unwrap_or(src), experiment.objtree.as_deref().unwrap_or(OBJ));
        if nested(src, obj) {
            let key = if experiment.srctree.is_some() { "srctree" } else { "objtree" };
            let message = format!("the source tree `{src}` and the object tree `{obj}` lie one within the other");
            self.fault(&crate::key_path!["experiment", key], message, hint);
        }
    }

    fn config(&mut self, kind: TreeKind, base_state: &State) -> Option<Config> {
        let written = &self.scenario.tree.config;
        let symbols = !self.scenario.tree.symbols.is_empty();
        if kind == TreeKind::Make {
            if !written.is_empty() || symbols {
                self.fault(
                    &crate::key_path!["tree", "config"],
                    "a tree of kind `make` has no configuration",
                    "configure it by `tree.prepare`, e.g. `prepare = [[\"./configure\"]]`",
                );
            }
            return None;
        }
        let base = match written.first() {
            None if self.scenario.is_graft() => ConfigBase::Goal("graft_defconfig".into()),
            None => ConfigBase::Goal("defconfig".into()),
            Some(name) => match self.config_text(name) {
                Some(text) => ConfigBase::File(text),
                None if name.ends_with("config") && !name.contains(['/', '.']) => ConfigBase::Goal(name.clone()),
                None => {
                    self.fault(
                        &crate::key_path!["tree", "config", 0usize],
                        format!("`{name}` is neither a configuration target nor a file that is there"),
                        "e.g. `tinyconfig`, `defconfig`, or a `.config` beside the scenario",
                    );
                    return None;
                }
            },
        };
        let mut fragments = Vec::new();
        for (n, name) in written.iter().enumerate().skip(1) {
            match self.config_text(name) {
                Some(text) => {
                    for (symbol, value) in kconfig::assignments(&text) {
                        self.symbol(&crate::key_path!["tree", "config", n], &symbol, &value, Some(name), base_state);
                    }
                    fragments.push((name.clone(), text));
                }
                None => self.fault(
                    &crate::key_path!["tree", "config", n],
                    format!("the fragment `{name}` is not there"),
                    "it is looked for beside the scenario, in `scenarios/configs`, and in the tree's `kernel/configs` or `configs`",
                ),
            }
        }
        Some(Config { base, fragments })
    }

    fn config_text(&self, name: &str) -> Option<String> {
        if let Ok(bytes) = self.beside.read(name) {
            return String::from_utf8(bytes).ok();
        }
        if !name.ends_with(".config") {
            return None;
        }
        // A kernel keeps its fragments in `kernel/configs`, the mini tree in `configs`.
        let own = |dir: &str| self.lower.read(&format!("{dir}/{name}")).ok().flatten();
        own("kernel/configs").or_else(|| own("configs")).and_then(|file| String::from_utf8(file.bytes).ok())
    }

    /// A symbol must exist in the tree's Kconfig files, as the scenario has changed them so far.
    fn symbol(&mut self, at: &[Key], symbol: &str, value: &str, fragment: Option<&str>, state: &State) {
        let (lower, arch) = (self.lower, self.scenario.graft_arch());
        let (index, others) = self.symbols.get_or_insert_with(|| {
            let mut index = kconfig::Index::read(lower);
            let others = arch.map(|arch| index.split_other_architectures(arch)).unwrap_or_default();
            (index, others)
        });
        let of = fragment.map(|name| format!(" (in `{name}`)")).unwrap_or_default();
        let own = kconfig::Index::of(state);
        if index.is_empty() || index.get(symbol).is_some() || own.get(symbol).is_some() {
            let refused = own.refuses(symbol, value).or_else(|| index.refuses(symbol, value));
            if let Some(kind) = refused.filter(|_| own.get(symbol).is_none() || index.get(symbol).is_none()) {
                let problem = Problem::at_key(self.document, at, format!("symbol `{symbol}`{of} cannot be `{value}`"));
                self.tell(at, problem.hint(format!("it is {}", kind.values())).of_sources());
            }
            return;
        }
        if let (Some([definition, ..]), Some(arch)) = (others.get(symbol), arch) {
            let other = definition.arch().unwrap_or_default();
            let hint = if other == GraftArch::X86.name() {
                "`arch = \"x86\"` under `[tree]` builds the graft on the kernel's arch/x86".to_owned()
            } else {
                "a graft has the architecture `graft`, or `x86`".to_owned()
            };
            let message =
                format!("symbol `{symbol}`{of} is one of arch/{other}, and this graft is built with ARCH={arch}");
            return self.tell(at, Problem::at_name(self.document, at, message).hint(hint));
        }
        let hint = match index.nearest(&own, symbol) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "no Kconfig file of the tree has it".into(),
        };
        let problem = Problem::at_name(self.document, at, format!("no symbol `{symbol}`{of} in this tree"));
        self.tell(at, problem.hint(hint).of_sources());
    }

    /// Lays the graft's own files over the kernel's.
    fn graft(&mut self, state: &mut State) {
        let arch = self.scenario.tree.arch.unwrap_or_default();
        let own = graft::of(self.lower, arch);
        let files = own.files.into_iter();
        state
            .files
            .extend(files.map(|(path, file)| (path, FileState::Present { bytes: file.bytes.into(), mode: file.mode })));
        for (path, more) in own.appended {
            // A kernel without it was found to be none that can be built.
            if let Ok(Some(mut file)) = self.lower.read(&path) {
                file.bytes.extend(more);
                state.files.insert(path, FileState::Present { bytes: file.bytes.into(), mode: file.mode });
            }
        }
        state.tools = own.tools;
        state.vars.entry("ARCH".into()).or_insert_with(|| arch.name().into());
    }

    fn base(&mut self) -> State {
        let scenario = self.scenario;
        let mut state = State {
            symbols: scenario.tree.symbols.clone(),
            vars: scenario.make.vars.clone(),
            goals: scenario.make.goals.clone(),
            jobs: scenario.make.jobs,
            ..State::default()
        };
        state.env = scenario.make.env.iter().map(|(name, value)| (name.clone(), Some(value.clone()))).collect();
        state.env.extend(scenario.make.unset.iter().map(|name| (name.clone(), None)));
        if scenario.is_graft() {
            self.graft(&mut state);
        }
        if let Some(dir) = &scenario.tree.overlay {
            match self.beside.list(dir) {
                Ok(files) if files.is_empty() => {
                    self.fault(&crate::key_path!["tree", "overlay"], format!("`{dir}` holds no file"), "a directory");
                }
                Ok(files) => {
                    for (path, file) in files {
                        if let Some(what) = self.no_place(&path, &state) {
                            let hint = "its files lie in the tree at the same paths";
                            self.fault(&crate::key_path!["tree", "overlay"], format!("in `{dir}`: {what}"), hint);
                            continue;
                        }
                        state
                            .files
                            .insert(path, FileState::Present { bytes: file.bytes.into(), mode: file.mode & 0o7777 });
                    }
                }
                Err(why) => self.fault(
                    &crate::key_path!["tree", "overlay"],
                    format!("cannot read the overlay `{dir}`: {why}"),
                    "a directory, relative to the scenario file",
                ),
            }
        }
        for (n, patch) in scenario.tree.patches.iter().enumerate() {
            let at = crate::key_path!["tree", "patches", n];
            self.patch(&at, patch, &mut state, &mut Vec::new());
        }
        for (n, file) in scenario.tree.file.iter().enumerate() {
            if self.document.is_damaged(&crate::key_path!["tree", "file", n]) {
                continue;
            }
            let bytes = match (&file.text, &file.from) {
                (Some(text), _) => text.clone().into_bytes(),
                (None, Some(from)) => match self.beside.read(from) {
                    Ok(bytes) => bytes,
                    Err(why) => {
                        self.fault(
                            &crate::key_path!["tree", "file", n, "from"],
                            format!("cannot read `{from}`: {why}"),
                            "the path is relative to the scenario file",
                        );
                        continue;
                    }
                },
                (None, None) => continue,
            };
            if let Some(what) = self.no_place(&file.path, &state) {
                let at = crate::key_path!["tree", "file", n, "path"];
                let problem = Problem::at_key(self.document, &at, what);
                self.tell(&at, problem.hint("name a file, with the directory it is to be in").of_sources());
                continue;
            }
            let mode = file.mode.as_deref().and_then(parse_mode).unwrap_or(DEFAULT_MODE);
            state.files.insert(file.path.clone(), FileState::Present { bytes: bytes.into(), mode });
        }
        for (n, change) in scenario.tree.edit.iter().enumerate() {
            let at = crate::key_path!["tree", "edit", n];
            self.change(&at, change, &mut state, &mut Vec::new());
        }
        for (name, value) in &scenario.tree.symbols {
            self.symbol(&crate::key_path!["tree", "symbols", name.as_str()], name, value, None, &state);
        }
        state
    }

    fn edits(&mut self, base: &State) -> Vec<EditPlan> {
        let mut active: Vec<bool> = Vec::new();
        let mut undoes: Vec<Vec<usize>> = Vec::new();
        // Edits that do not apply; they are left out of what follows, or each would be told again there.
        let mut wrong: Vec<bool> = Vec::new();
        let mut before = base.clone();
        let mut plans = Vec::new();
        for (n, edit) in self.scenario.edit.iter().enumerate() {
            let at = crate::key_path!["edit", n];
            active.push(true);
            let undone: Vec<usize> = edit
                .changes_of()
                .filter_map(|change| change.undo.as_deref())
                .filter_map(|name| (0..n).find(|&m| self.scenario.edit_name(m) == name))
                .collect();
            undoes.push(undone.clone());
            let errors = self.errors.0.len();
            let (mut state, mut ops) = if undone.is_empty() {
                let (mut state, mut ops) = (before.clone(), Vec::new());
                self.edit(&at, n, &mut state, &mut ops);
                (state, ops)
            } else {
                for &target in &undone {
                    if !active[target] {
                        let name = self.scenario.edit_name(target);
                        let at = [&at[..], &crate::key_path!["undo"]].concat();
                        self.fault(&at, format!("`{name}` is taken back already"), "undo the undo to bring it back");
                        continue;
                    }
                    toggle(target, &mut active, &undoes);
                }
                let applied = self.errors.0.len();
                let mut state = base.clone();
                for m in (0..=n).filter(|&m| active[m] && !wrong.get(m).copied().unwrap_or(false)) {
                    let errors = self.errors.0.len();
                    self.edit(&crate::key_path!["edit", m], m, &mut state, &mut Vec::new());
                    if m < n && self.errors.0.len() > errors {
                        let first = self.errors.0[errors].message.clone();
                        self.errors.0.truncate(applied);
                        self.fault(
                            &at,
                            format!(
                                "the edit cannot be taken back: without it `{}` does not apply ({first})",
                                self.scenario.edit_name(m)
                            ),
                            "undo the later edit first",
                        );
                        break;
                    }
                }
                let ops = self.difference(&before, &state);
                (state, ops)
            };
            let clean = edit.changes_of().filter_map(|change| change.clean.clone()).last();
            let doubtful =
                undone.iter().any(|&m| wrong[m]) || edit.changes_of().any(|c| c.undo.is_some() && undone.is_empty());
            if state == before && ops.is_empty() && clean.is_none() && !doubtful && self.errors.0.len() == errors {
                self.fault(&at, "the edit changes nothing", "the tree, the command line and the goals are as before");
            }
            wrong.push(self.errors.0.len() > errors || self.document.is_damaged(&at));
            if self.errors.0.len() > errors {
                // Later edits are checked against the last state that made sense.
                (state, ops) = (before.clone(), Vec::new());
            }
            plans.push(EditPlan {
                name: self.scenario.edit_name(n),
                config_changed: state.symbols != before.symbols,
                state: state.clone(),
                ops,
                clean,
            });
            before = state;
        }
        plans
    }

    fn edit(&mut self, at: &[Key], n: usize, state: &mut State, ops: &mut Vec<FileOp>) {
        let edit = &self.scenario.edit[n];
        if edit.change != Change::default() {
            self.change(at, &edit.change, state, ops);
        }
        for (m, change) in edit.also.iter().enumerate() {
            self.change(&[at, &crate::key_path!["also", m]].concat(), change, state, ops);
        }
    }

    /// The operations that lead the incremental tree from one state to another.
    fn difference(&mut self, from: &State, to: &State) -> Vec<FileOp> {
        let mut paths: Vec<&String> = from.files.keys().chain(to.files.keys()).collect();
        paths.sort();
        paths.dedup();
        let mut ops = Vec::new();
        for path in paths {
            let (old, new) = (self.present(from, path), self.present(to, path));
            match (old, new) {
                (old, Some((bytes, mode))) if old.as_ref().is_none_or(|(have, _)| **have != *bytes) => {
                    ops.push(FileOp::Write { path: path.clone(), bytes, mode });
                }
                (Some((_, have)), Some((_, mode))) if have != mode => {
                    ops.push(FileOp::Chmod { path: path.clone(), mode });
                }
                (Some(_), None) => ops.push(FileOp::Delete { path: path.clone() }),
                _ => {}
            }
        }
        ops
    }

    /// Content and mode of a file in a state of the tree.
    pub(crate) fn present(&mut self, state: &State, path: &str) -> Option<(Arc<[u8]>, u32)> {
        match state.files.get(path) {
            Some(FileState::Present { bytes, mode }) => Some((bytes.clone(), *mode)),
            Some(FileState::Deleted) => None,
            None => self.lower.read(path).ok().flatten().map(|file| (Arc::from(file.bytes), file.mode & 0o7777)),
        }
    }
}

/// Takes an edit back; an undo that is taken back brings its own targets back.
fn toggle(target: usize, active: &mut [bool], undoes: &[Vec<usize>]) {
    active[target] = !active[target];
    for &other in &undoes[target] {
        toggle(other, active, undoes);
    }
}

impl Change {
    /// Whether the change is to the object tree.
    #[must_use]
    pub fn is_object(&self) -> bool {
        self.tree == Some(WhichTree::Obj)
    }
}

#[cfg(test)]
mod tests;
