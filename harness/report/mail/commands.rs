//! The steps of a mail: plain make lines, with what is done between them.

use super::super::reproducer::{Places, appended, no_script, replaced_line};
use crate::artifact::record::{BuildRecord, Mode};
use crate::runner::recipe::{Build, Edit, FileChange, Recipe};
use crate::scenario::FindingName;
use crate::verdict::Finding;

/// A line of the steps.
pub(super) enum Line {
    Command(String),
    Words(String),
    Quoted(String),
}

/// Makes the lines.
pub(super) struct Commands<'a> {
    pub(super) recipe: &'a Recipe,
    pub(super) places: Places,
    pub(super) obj: &'static str,
}

impl Commands<'_> {
    fn make(&self, words: &[String]) -> String {
        let (program, rest) = words.split_at(words.len().min(1));
        let place = if self.recipe.kbuild && !self.recipe.in_tree { " O=obj" } else { "" };
        let word = |word: &String| self.places.word(word);
        let rest: Vec<String> = rest.iter().map(word).collect();
        let program: Vec<String> = program.iter().map(word).collect();
        format!("{}{place} {}", program.join(" "), rest.join(" ")).trim_end().to_owned()
    }

    fn makes(&self, build: &Build, lines: &mut Vec<Line>) {
        lines.extend(build.makes.iter().map(|words| Line::Command(self.make(words))));
    }

    fn plain(&self, build: &Build, goal: &str) -> Line {
        let words: Vec<String> = build.plain.iter().cloned().chain([goal.to_owned()]).collect();
        Line::Command(self.make(&words))
    }

    pub(super) fn all(&self, build: Option<&BuildRecord>, finding: &Finding) -> Vec<Line> {
        let recipe = self.recipe;
        let mut lines = Vec::new();
        for command in &recipe.prepare {
            lines.push(Line::Command(crate::runner::shown(command)));
        }
        if let Some(config) = &recipe.config {
            match &config.goal {
                Some(goal) => lines.push(self.plain(&recipe.first, goal)),
                None => lines.push(Line::Command(format!("cp /path/to/.config {}/.config", self.obj))),
            }
            if !config.lines.is_empty() {
                let many = config.lines.lines().count();
                if many <= 6 {
                    for line in config.lines.lines() {
                        lines.push(Line::Command(format!("echo '{}' >>{}/.config", line, self.obj)));
                    }
                } else {
                    lines.push(Line::Words(format!("add the {many} lines of configuration that the script has")));
                }
                lines.push(self.plain(&recipe.first, "olddefconfig"));
            }
        }
        self.makes(&recipe.first, &mut lines);
        let Some(build) = build else { return lines };
        let mut now = &recipe.first;
        for edit in recipe.edits.iter().take(build.edit.map_or(0, |n| n + 1)) {
            self.edit(edit, now, &mut lines);
            if let Some(words) = &edit.interrupt {
                self.makes(&edit.build, &mut lines);
                lines.push(Line::Words(format!("interrupt it: {words}")));
            }
            self.makes(&edit.build, &mut lines);
            now = &edit.build;
        }
        let target = self.places.word(&finding.target);
        if no_script(finding).is_some() {
            let again = finding.name == FindingName::StepNotIdempotent;
            if let Some(command) = finding.cause.as_ref().map(|cause| cause.command.clone()).filter(|_| again) {
                lines.push(Line::Command(format!("cd {}", self.obj)));
                lines.push(Line::Command(format!("sha256sum {target}")));
                lines.push(Line::Command(command));
                lines.push(Line::Command(format!("sha256sum {target}")));
            }
            return lines;
        }
        match build.mode {
            Mode::Noop => {
                lines.push(Line::Command(format!("sha256sum {}/{target}", self.obj)));
                self.makes(now, &mut lines);
                lines.push(Line::Command(format!("sha256sum {}/{target}", self.obj)));
            }
            Mode::Incremental if finding.name == FindingName::BtfLost => {
                lines.push(Line::Command(format!("readelf -S {}/{target} | grep BTF", self.obj)));
                lines.push(Line::Words("nothing; a clean build of the same sources has .BTF".into()));
            }
            Mode::Incremental if finding.name.is_of_the_end() => {
                lines.push(Line::Words("and the same from clean".into()));
            }
            Mode::Clean if finding.name == FindingName::BtfDuplicate => {
                lines.push(Line::Command(format!("readelf -S {}/{target} | grep BTF", self.obj)));
            }
            _ => {
                lines.push(Line::Command(format!("sha256sum {}/{target}", self.obj)));
                lines.push(Line::Words("and the same from clean, in an object tree at the same place".into()));
            }
        }
        lines
    }

    fn edit(&self, edit: &Edit, before: &Build, lines: &mut Vec<Line>) {
        for change in &edit.changes {
            match change {
                FileChange::Write { path, before: Some(old), after, .. } => {
                    if let Some(added) = appended(old, after).filter(|added| added.lines().count() == 1) {
                        let added = added.trim_end().replace('\'', "'\\''");
                        lines.push(Line::Command(format!("echo '{added}' >>{path}")));
                    } else if let Some((a, b)) = replaced_line(old, after) {
                        lines.push(Line::Words(format!("in {path} change this line")));
                        lines.push(Line::Quoted(format!("-{a}\n+{b}")));
                    } else {
                        lines.push(Line::Words(format!("change {path} as the script does")));
                    }
                }
                FileChange::Write { path, before: None, .. } => {
                    lines.push(Line::Words(format!("write {path} as the script does")));
                }
                FileChange::Delete { path } => lines.push(Line::Command(format!("rm {path}"))),
                FileChange::Rename { from, to } => lines.push(Line::Command(format!("mv {from} {to}"))),
                FileChange::Chmod { path, mode } => lines.push(Line::Command(format!("chmod {mode:o} {path}"))),
                FileChange::Touch { path } => lines.push(Line::Command(format!("touch {path}"))),
                FileChange::Object { change } => {
                    let file = format!("{}/{}", self.obj, change.file.as_deref().unwrap_or_default());
                    lines.push(match (change.delete.is_some(), change.touch.is_some()) {
                        (true, _) => Line::Command(format!("rm -r {file}")),
                        (_, true) => Line::Command(format!("touch {file}")),
                        _ => Line::Words(format!("change {file} as the script does")),
                    });
                }
            }
        }
        for name in before.env.keys().filter(|name| !edit.build.env.contains_key(*name)) {
            lines.push(Line::Command(format!("unset {name}")));
        }
        for (name, value) in edit.build.env.iter().filter(|(name, value)| before.env.get(*name) != Some(value)) {
            lines.push(Line::Command(format!("export {name}={}", self.places.word(value))));
        }
        if before.tools != edit.build.tools {
            lines.push(Line::Words("put the programs that the script has first on PATH".into()));
        }
        lines.extend(edit.clean.iter().map(|clean| self.plain(&edit.build, clean)));
        for line in edit.config.lines() {
            lines.push(Line::Command(format!("echo '{line}' >>{}/.config", self.obj)));
        }
        if !edit.config.is_empty() {
            lines.push(self.plain(&edit.build, "olddefconfig"));
        }
    }
}
