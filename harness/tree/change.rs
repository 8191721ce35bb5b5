//! One change folded into a state.

use std::sync::Arc;

use diffy::patch_set::{FileMode, FileOperation, ParseOptions, PatchKind, PatchSet};

use super::{DEFAULT_MODE, FileOp, FileState, Planner, State};
use crate::key_path;
use crate::scenario::{Change, Key, Problem, parse_mode, path_fault};

impl Planner<'_> {
    fn problem(&mut self, at: &[Key], key: &str, message: String, hint: impl Into<String>) {
        let at = [at, &key_path![key]].concat();
        let mut problem = Problem::at_key(self.document, &at, message).hint(hint);
        problem.of_sources = !matches!(key, "config" | "vars" | "env" | "unset" | "tool");
        self.errors.0.push(problem);
    }

    /// Folds `change` into `state` and says in `ops` what it does to the incremental tree.
    pub(super) fn change(&mut self, at: &[Key], change: &Change, state: &mut State, ops: &mut Vec<FileOp>) {
        if self.document.is_damaged(at) {
            return self.names(at, change, state);
        }
        if change.file.is_some() && change.is_object() {
            ops.push(FileOp::Object(Box::new(change.clone())));
        } else if let Some(file) = &change.file {
            self.file(at, file, change, state, ops);
        }
        if let Some(patch) = &change.patch {
            let at = [at, &key_path!["patch"]].concat();
            self.patch(&at, patch, state, ops);
        }
        self.settings(at, change, state);
    }

    /// Of a change that is wrong in itself: whether what it names is there.
    fn names(&mut self, at: &[Key], change: &Change, state: &State) {
        let is_right = |key: &str| !self.document.is_damaged(&[at, &key_path![key]].concat());
        let named = change.file.as_deref().filter(|path| {
            is_right("file") && path_fault(path).is_none() && !change.is_object() && change.write.is_none()
        });
        let config = is_right("config");
        if let Some(path) = named
            && self.present(state, path).is_none()
            && self.lower.below(path).is_ok_and(|below| below.is_empty())
        {
            self.no_file(at, path, state);
        }
        for (name, value) in change.config.iter().filter(|_| config) {
            self.symbol(&[at, &key_path!["config", name.as_str()]].concat(), name, value, None, state);
        }
    }

    fn settings(&mut self, at: &[Key], change: &Change, state: &mut State) {
        let same = "the edit changes nothing here";
        for (name, value) in &change.config {
            let key = [at, &key_path!["config", name.as_str()]].concat();
            self.symbol(&key, name, value, None, state);
            // Whether the configuration already has the value shows when it is made.
            if state.symbols.insert(name.clone(), value.clone()).as_ref() == Some(value) {
                self.problem(at, "config", format!("`{name}` is already `{value}`"), same);
            }
        }
        for (name, value) in &change.vars {
            if state.vars.insert(name.clone(), value.clone()).as_ref() == Some(value) {
                self.problem(at, "vars", format!("`{name}` is already `{value}`"), same);
            }
        }
        for (name, value) in &change.env {
            let value = Some(value.clone());
            if state.env.insert(name.clone(), value.clone()) == Some(value) {
                self.problem(at, "env", format!("`{name}` already has this value"), same);
            }
        }
        for name in &change.unset {
            let was_var = state.vars.remove(name).is_some();
            let was_env = state.env.insert(name.clone(), None);
            if !was_var && was_env == Some(None) {
                self.problem(at, "unset", format!("`{name}` is not set"), same);
            }
        }
        if let Some(tool) = &change.tool
            && state.tools.insert(tool.name.clone(), tool.clone()).as_ref() == Some(tool)
        {
            self.problem(at, "tool", format!("`{}` is already this program", tool.name), same);
        }
        if let Some(goals) = &change.goals {
            state.goals.clone_from(goals);
        }
        if change.jobs.is_some() {
            state.jobs = change.jobs;
        }
    }

    fn file(&mut self, at: &[Key], path: &str, change: &Change, state: &mut State, ops: &mut Vec<FileOp>) {
        let nothing = "an edit must change something";
        if let Some((what, hint)) = self.in_the_way(path, change, state) {
            return self.problem(at, "file", what, hint);
        }
        let have = self.present(state, path);
        if let Some(text) = &change.write {
            let mode = have.as_ref().map_or(DEFAULT_MODE, |(_, mode)| *mode);
            if have.is_some_and(|(bytes, _)| *bytes == *text.as_bytes()) {
                return self.problem(at, "write", format!("`{path}` already has this text"), nothing);
            }
            return write(state, ops, path, text.clone().into_bytes(), mode);
        }
        if change.delete.is_some() && have.is_none() {
            return self.delete_directory(at, path, state, ops);
        }
        let Some((bytes, mode)) = have else {
            return self.no_file(at, path, state);
        };
        if let Some(text) = &change.append {
            let mut new = bytes.to_vec();
            new.extend_from_slice(text.as_bytes());
            write(state, ops, path, new, mode);
        } else if let Some(text) = &change.insert {
            self.insert(at, path, change, text, &bytes, |new| write(state, ops, path, new, mode));
        } else if let (Some(old), Some(new)) = (&change.replace, &change.with) {
            match replace(&bytes, old, new, change.count.unwrap_or(1) as usize) {
                Ok(new) => write(state, ops, path, new, mode),
                Err((count, wanted)) => self.problem(
                    at,
                    "replace",
                    match count {
                        0 => format!("`{path}` does not hold the text"),
                        count => format!("`{path}` holds the text {}, not {}", times(count), times(wanted)),
                    },
                    if count == 0 {
                        "quote it exactly, tabs and line ends too".to_owned()
                    } else {
                        format!("quote more of it, or say `count = {count}`")
                    },
                ),
            }
        } else if change.delete.is_some() {
            state.files.insert(path.into(), FileState::Deleted);
            ops.push(FileOp::Delete { path: path.into() });
        } else if let Some(to) = &change.rename {
            if self.present(state, to).is_some() {
                return self.problem(
                    at,
                    "rename",
                    format!("`{to}` is there already"),
                    "delete it in the same edit first",
                );
            }
            if let Some(what) = self.no_place(to, state) {
                return self.problem(at, "rename", what, "name the file that it becomes, with its directory");
            }
            state.files.insert(path.into(), FileState::Deleted);
            state.files.insert(to.clone(), FileState::Present { bytes, mode });
            ops.push(FileOp::Rename { from: path.into(), to: to.clone() });
        } else if let Some(new) = change.chmod.as_deref().and_then(parse_mode) {
            if new == mode {
                return self.problem(at, "chmod", format!("`{path}` already has mode {new:o}"), nothing);
            }
            state.files.insert(path.into(), FileState::Present { bytes, mode: new });
            ops.push(FileOp::Chmod { path: path.into(), mode: new });
        } else if change.touch.is_some() {
            ops.push(FileOp::Touch { path: path.into() });
        }
    }

    /// Why nothing can be done to the path as to a file, if so: it is a directory, or below a file.
    fn in_the_way(&mut self, path: &str, change: &Change, state: &State) -> Option<(String, &'static str)> {
        if let Some(what) = self.below_a_file(path, state) {
            return Some((what, "name a file of the tree"));
        }
        if change.delete.is_some() || !self.is_directory(path, state) {
            return None;
        }
        Some((format!("`{path}` is a directory"), "an edit is of a file; `delete` takes a directory too"))
    }

    /// Why no file can be put at the path, if so.
    pub(super) fn no_place(&mut self, path: &str, state: &State) -> Option<String> {
        let directory = |planner: &mut Self| {
            planner.is_directory(path, state).then(|| format!("`{path}` is a directory of the tree"))
        };
        self.below_a_file(path, state).or_else(|| directory(self))
    }

    fn below_a_file(&mut self, path: &str, state: &State) -> Option<String> {
        let mut above = path.match_indices('/').map(|(at, _)| &path[..at]);
        let file = above.find(|dir| self.present(state, dir).is_some())?;
        Some(format!("`{path}` lies below `{file}`, which is a file"))
    }

    fn is_directory(&mut self, path: &str, state: &State) -> bool {
        if self.present(state, path).is_some() {
            return false;
        }
        let prefix = format!("{path}/");
        let mut below = self.lower.below(path).unwrap_or_default();
        below.extend(state.files.keys().filter(|file| file.starts_with(&prefix)).cloned());
        below.iter().any(|file| self.present(state, file).is_some())
    }

    fn insert(
        &mut self,
        at: &[Key],
        path: &str,
        change: &Change,
        text: &str,
        bytes: &[u8],
        done: impl FnOnce(Vec<u8>),
    ) {
        let (key, anchor, after) = match (&change.before, &change.after) {
            (Some(anchor), _) => ("before", anchor, false),
            (None, Some(anchor)) => ("after", anchor, true),
            (None, None) => return,
        };
        let new = if after { format!("{anchor}{text}") } else { format!("{text}{anchor}") };
        match replace(bytes, anchor, &new, 1) {
            Ok(new) => done(new),
            Err((count, _)) => self.problem(
                at,
                key,
                match count {
                    0 => format!("`{path}` does not hold this text"),
                    count => format!("`{path}` holds this text {}, not once", times(count)),
                },
                "quote text that stands there exactly once",
            ),
        }
    }

    fn delete_directory(&mut self, at: &[Key], path: &str, state: &mut State, ops: &mut Vec<FileOp>) {
        let prefix = format!("{path}/");
        let mut below: Vec<String> = self.lower.below(path).unwrap_or_default();
        below.extend(state.files.keys().filter(|file| file.starts_with(&prefix)).cloned());
        below.sort();
        below.dedup();
        below.retain(|file| self.present(state, file).is_some());
        if below.is_empty() {
            return self.no_file(at, path, state);
        }
        for file in below {
            state.files.insert(file.clone(), FileState::Deleted);
            ops.push(FileOp::Delete { path: file });
        }
    }

    fn no_file(&mut self, at: &[Key], path: &str, state: &State) {
        if state.files.get(path) == Some(&FileState::Deleted) {
            let message = format!("`{path}` is not in the tree any more");
            return self.problem(at, "file", message, "an earlier edit deletes or renames it");
        }
        let hint = self.near_file(path);
        self.problem(at, "file", format!("`{path}` is not in the tree"), hint);
    }

    fn near_file(&self, path: &str) -> String {
        let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
        let siblings = self.lower.names(dir).unwrap_or_default();
        match crate::scenario::nearest(name, siblings.iter().map(String::as_str)) {
            Some(near) if dir.is_empty() => format!("did you mean `{near}`?"),
            Some(near) => format!("did you mean `{dir}/{near}`?"),
            None if siblings.is_empty() => format!("there is no directory `{dir}` either"),
            None => "`write` makes a new file".into(),
        }
    }

    /// Applies a patch: its text, or the name of a file beside the scenario.
    pub(super) fn patch(&mut self, at: &[Key], patch: &str, state: &mut State, ops: &mut Vec<FileOp>) {
        let inline = patch.contains('\n');
        let text = if inline {
            patch.to_owned()
        } else {
            match self.beside.read(patch).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()) {
                Ok(text) => text,
                Err(why) => {
                    let message = format!("cannot read the patch `{patch}`: {why}");
                    let problem = Problem::at_key(self.document, at, message);
                    return self.errors.0.push(problem.hint("the path is relative to the scenario file"));
                }
            }
        };
        let name = if inline { "the patch".to_owned() } else { format!("`{patch}`") };
        let (mut files, errors) = (0, self.errors.0.len());
        for file in parsed(&text) {
            files += 1;
            let applied = match &file {
                Ok(file) => self.apply(file, state, ops),
                Err(error) => Err(no_diff(error)),
            };
            if let Err(why) = applied {
                let mut problem = Problem::at_key(self.document, at, format!("{name} {why}"));
                problem.of_sources = file.is_ok();
                self.errors.0.push(problem.hint("it is applied as by `patch -p1`, with no fuzz"));
                break;
            }
        }
        if files == 0 && self.errors.0.len() == errors {
            let problem = Problem::at_key(self.document, at, format!("{name} changes no file"));
            self.errors.0.push(problem.hint("a unified diff, as `git diff` or `diff -u` write it"));
        }
    }

    fn apply(
        &mut self,
        file: &diffy::patch_set::FilePatch<'_, str>,
        state: &mut State,
        ops: &mut Vec<FileOp>,
    ) -> Result<(), String> {
        let operation = file.operation();
        // Git writes renames and copies without the `a/` and `b/` that `-p1` takes off.
        let stripped = operation.strip_prefix(1);
        let (from, to): (Option<&str>, Option<&str>) = match (&stripped, operation) {
            (_, FileOperation::Rename { from, to } | FileOperation::Copy { from, to }) => (Some(from), Some(to)),
            (FileOperation::Delete(path), _) => (Some(path), None),
            (FileOperation::Create(path), _) => (None, Some(path)),
            (FileOperation::Modify { original, modified }, _) => (Some(original), Some(modified)),
            _ => return Err("has a part that is not understood".into()),
        };
        for path in from.iter().chain(&to) {
            if let Some(fault) = path_fault(path) {
                return Err(format!("names the path `{path}`, which {fault}"));
            }
        }
        let PatchKind::Text(patch) = file.patch() else { return Err("is binary".into()) };
        let old = match from {
            None => None,
            Some(path) => {
                Some(self.present(state, path).ok_or_else(|| format!("changes `{path}`, which is not there"))?)
            }
        };
        let Some(to) = to else {
            let path = from.unwrap_or_default().to_owned();
            state.files.insert(path.clone(), FileState::Deleted);
            ops.push(FileOp::Delete { path });
            return Ok(());
        };
        if from.is_none() && self.present(state, to).is_some() {
            return Err(format!("creates `{to}`, which is there already"));
        }
        if let Some(what) = self.no_place(to, state) {
            return Err(format!("creates what cannot be a file: {what}"));
        }
        let (bytes, mut mode) = old.unwrap_or_else(|| (Arc::from([]), DEFAULT_MODE));
        let text = std::str::from_utf8(&bytes).map_err(|_| format!("changes `{to}`, which is not text"))?;
        let new = diffy::apply(text, patch).map_err(|error| format!("does not apply to `{to}`: {error}"))?;
        match file.new_mode() {
            Some(FileMode::Executable) => mode = 0o755,
            Some(FileMode::Regular) => mode = 0o644,
            _ => {}
        }
        if let FileOperation::Rename { from, .. } = operation {
            state.files.insert(from.clone().into_owned(), FileState::Deleted);
            ops.push(FileOp::Delete { path: from.clone().into_owned() });
        }
        write(state, ops, to, new.into_bytes(), mode);
        Ok(())
    }
}

fn write(state: &mut State, ops: &mut Vec<FileOp>, path: &str, bytes: Vec<u8>, mode: u32) {
    let bytes: Arc<[u8]> = bytes.into();
    state.files.insert(path.into(), FileState::Present { bytes: bytes.clone(), mode });
    ops.push(FileOp::Write { path: path.into(), bytes, mode });
}

/// Replaces `old`, which must be there `count` times; else how often it is and should be there.
pub(crate) fn replace(bytes: &[u8], old: &str, new: &str, count: usize) -> Result<Vec<u8>, (usize, usize)> {
    let old = old.as_bytes();
    let mut at = Vec::new();
    let mut from = 0;
    while let Some(found) = bytes[from..].windows(old.len()).position(|window| window == old) {
        at.push(from + found);
        from += found + old.len();
    }
    if at.len() != count || old.is_empty() {
        return Err((at.len(), count));
    }
    let mut out = Vec::with_capacity(bytes.len());
    let mut from = 0;
    for found in at {
        out.extend_from_slice(&bytes[from..found]);
        out.extend_from_slice(new.as_bytes());
        from = found + old.len();
    }
    out.extend_from_slice(&bytes[from..]);
    Ok(out)
}

/// Why a text can be no patch of any tree, as far as it says so itself.
pub(crate) fn patch_fault(text: &str) -> Option<String> {
    parsed(text).find_map(Result::err).map(|error| no_diff(&error))
}

/// The files of a patch.
fn parsed(text: &str) -> PatchSet<'_, str> {
    let git = text.lines().any(|line| line.starts_with("diff --git "));
    PatchSet::parse(text, if git { ParseOptions::gitdiff() } else { ParseOptions::unidiff() })
}

fn no_diff(error: &dyn std::error::Error) -> String {
    format!("is no unified diff: {}", said_once(&error.to_string()))
}

/// What is wrong with a patch, without the parser's own words before it, of which each of its layers adds some.
fn said_once(error: &str) -> &str {
    match error.split_once(": ") {
        Some((layer, rest)) if layer.starts_with("error parsing patch") => said_once(rest),
        _ => error,
    }
}

fn times(count: usize) -> String {
    match count {
        1 => "once".into(),
        2 => "twice".into(),
        n => format!("{n} times"),
    }
}
