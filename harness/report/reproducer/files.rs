//! Sources and edits as commands of a shell script.

use std::collections::BTreeMap;

use similar::TextDiff;

use super::shell::{Script, single};
use crate::runner::recipe::{FileChange, Recipe};

/// Longer lines are no `sed` command that anybody reads.
const SED: usize = 60;

/// Where the files of a script go, and how.
pub(super) struct Files<'a> {
    recipe: &'a Recipe,
}

/// Whether the change is in the source tree.
pub(super) fn is_of_sources(change: &FileChange) -> bool {
    !matches!(change, FileChange::Object { .. })
}

/// What is added at the end of the file, if that is all.
pub(in crate::report) fn appended<'a>(before: &str, after: &'a str) -> Option<&'a str> {
    let added = after.strip_prefix(before)?;
    (before.ends_with('\n') && !added.is_empty()).then_some(added)
}

/// The one line that is replaced, and what by, if that is all.
pub(in crate::report) fn replaced_line<'a>(before: &'a str, after: &'a str) -> Option<(&'a str, &'a str)> {
    let (old, new): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    if old.len() != new.len() || before.ends_with('\n') != after.ends_with('\n') {
        return None;
    }
    let mut differ = old.iter().zip(&new).filter(|(a, b)| a != b);
    let (a, b) = differ.next()?;
    (differ.next().is_none() && old.iter().filter(|line| *line == a).count() == 1).then_some((*a, *b))
}

impl<'a> Files<'a> {
    pub(super) fn new(recipe: &'a Recipe) -> Self {
        Self { recipe }
    }

    /// Whether the sources are links to those that were given: a kernel has ninety thousand.
    fn linked(&self) -> bool {
        self.recipe.given && self.recipe.kbuild && !self.recipe.in_tree
    }

    /// The functions that the others use.
    pub(super) fn helpers(&self, out: &mut Script) {
        if self.linked() {
            out.line("# Makes the file $1 our own: on the way to it, a link to a directory becomes a");
            out.line("# directory of links, and a link to the file a copy of it.");
            out.line("mine() {");
            out.line("\tat=");
            out.line("\tfor name in $(dirname \"$1\" | tr / ' '); do");
            out.line("\t\tat=$at/$name");
            out.line("\t\tif [ \"$name\" != . ] && { [ -L \"$src$at\" ] || [ ! -d \"$src$at\" ]; }; then");
            out.line("\t\t\trm -f \"$src$at\"");
            out.line("\t\t\tmkdir \"$src$at\"");
            out.line("\t\t\t[ ! -d \"$given$at\" ] || ln -s \"$given$at\"/* \"$src$at\"");
            out.line("\t\tfi");
            out.line("\tdone");
            out.line("\tif [ -L \"$src/$1\" ]; then");
            out.line("\t\trm \"$src/$1\"");
            out.line("\t\tcp -p \"$given/$1\" \"$src/$1\"");
            out.line("\tfi");
            out.line("}");
            out.line("");
        }
        out.line("# Writes the file $1 from what is read.");
        out.line("put() {");
        if self.linked() {
            out.line("\tmine \"$1\"");
        } else {
            out.line("\tmkdir -p \"$(dirname \"$src/$1\")\"");
        }
        out.line("\tcat >\"$src/$1\"");
        out.line("}");
        out.line("");
    }

    /// An empty source tree, or one of links or copies.
    pub(super) fn begin(&self, out: &mut Script) {
        match (self.linked(), self.recipe.given) {
            (true, _) => {
                out.line("\tmkdir \"$src\"");
                out.line("\tln -s \"$given\"/* \"$src\"");
            }
            (false, true) => out.line("\tcp -a \"$given\" \"$src\""),
            (false, false) => out.line("\tmkdir \"$src\""),
        }
    }

    pub(super) fn changes(&self, out: &mut Script, changes: &[FileChange]) -> Result<(), String> {
        for change in changes {
            self.change(out, change)?;
        }
        Ok(())
    }

    fn mine(&self, out: &mut Script, path: &str) {
        if self.linked() {
            let path = out.word(path);
            out.line(&format!("\tmine {path}"));
        }
    }

    fn change(&self, out: &mut Script, change: &FileChange) -> Result<(), String> {
        let at = |path: &str| format!("\"$src\"/{}", if plain(path) { path.to_owned() } else { single(path) });
        match change {
            FileChange::Write { path, before, after, program } => {
                self.write(out, path, before.as_deref(), after);
                if *program && before.is_none() {
                    out.line(&format!("\tchmod +x {}", at(path)));
                }
            }
            FileChange::Delete { path } => {
                self.mine(out, path);
                out.line(&format!("\trm -f {}", at(path)));
            }
            FileChange::Rename { from, to } => {
                self.mine(out, from);
                self.mine(out, to);
                if let (false, Some((dir, _))) = (self.linked(), to.rsplit_once('/')) {
                    out.line(&format!("\tmkdir -p {}", at(dir)));
                }
                out.line(&format!("\tmv {} {}", at(from), at(to)));
            }
            FileChange::Chmod { path, mode } => {
                self.mine(out, path);
                out.line(&format!("\tchmod {mode:o} {}", at(path)));
            }
            FileChange::Touch { path } => {
                self.mine(out, path);
                out.line(&format!("\ttouch {}", at(path)));
            }
            FileChange::Object { change } => self.object(out, change)?,
        }
        Ok(())
    }

    fn write(&self, out: &mut Script, path: &str, before: Option<&str>, after: &str) {
        let word = out.word(path);
        let Some(before) = before else {
            return self.whole(out, &word, after);
        };
        self.mine(out, path);
        if let Some(added) = appended(before, after).filter(|added| ends(added)) {
            return out.here(&format!("\tcat >>\"$src\"/{word}"), added);
        }
        let short = |line: &str| line.len() <= SED && line.chars().all(|c| c == ' ' || c.is_ascii_graphic());
        if let Some((old, new)) = replaced_line(before, after).filter(|(old, new)| short(old) && short(new)) {
            let (old, new) = (escaped(old, "\\.*[]^$/"), escaped(new, "\\&/"));
            return out.line(&format!("\tsed -i {} \"$src\"/{word}", single(&format!("s/^{old}$/{new}/"))));
        }
        let diff = unified(path, before, after);
        if diff.len() < after.len() && ends(before) && ends(after) {
            out.here_then("\tpatch -s -p1 -d \"$src\"", &diff, " || exit 2");
        } else {
            self.whole(out, &word, after);
        }
    }

    /// A file with all its text.
    fn whole(&self, out: &mut Script, word: &str, text: &str) {
        if text.is_empty() {
            return out.line(&format!("\tput {word} </dev/null"));
        }
        out.here(&format!("\tput {word}"), text);
        if !ends(text) {
            out.line(&format!("\ttruncate -s -1 \"$src\"/{word}"));
        }
    }

    /// A change in the object tree; in a clean tree there is nothing of it.
    fn object(&self, out: &mut Script, change: &crate::scenario::Change) -> Result<(), String> {
        let path = change.file.clone().unwrap_or_default();
        let word = if plain(&path) { path.clone() } else { single(&path) };
        let file = format!("\"$obj\"/{word}");
        if self.recipe.in_tree {
            out.line("\tif [ ! -e \"$obj.incremental\" ]; then");
        }
        if change.delete.is_some() {
            out.line(&format!("\trm -r {file}"));
        } else if change.touch.is_some() {
            out.line(&format!("\ttouch {file}"));
        } else if let Some(text) = &change.append {
            out.here(&format!("\tcat >>{file}"), text);
        } else if let Some(text) = &change.write {
            out.here(&format!("\tcat >{file}"), text);
        } else if let Some(to) = &change.rename {
            out.line(&format!("\tmv {file} \"$obj\"/{}", single(to)));
        } else if let Some(mode) = &change.chmod {
            out.line(&format!("\tchmod {mode} {file}"));
        } else if let (Some(old), Some(new)) = (&change.replace, &change.with)
            && !old.contains('\n')
            && !new.contains('\n')
        {
            let command = format!("s/{}/{}/g", escaped(old, "\\.*[]^$/"), escaped(new, "\\&/"));
            out.line(&format!("\tsed -i {} {file}", single(&command)));
        } else {
            return Err(format!("an edit changes `{path}`, which a build makes, in a way that no short command does"));
        }
        if self.recipe.in_tree {
            out.line("\tfi");
        }
        Ok(())
    }
}

/// A unified diff of one file.
pub(in crate::report) fn unified(path: &str, before: &str, after: &str) -> String {
    let diff = TextDiff::from_lines(before, after);
    diff.unified_diff().context_radius(3).header(&format!("a/{path}"), &format!("b/{path}")).to_string()
}

/// Programs that come first on `PATH`.
pub(super) fn tools(out: &mut Script, tools: &BTreeMap<String, String>) {
    out.line("\trm -rf tools");
    out.line("\tmkdir tools");
    for (name, script) in tools {
        let name = single(name);
        out.here(&format!("\tcat >tools/{name}"), script);
        out.line(&format!("\tchmod +x tools/{name}"));
    }
}

/// Whether a here-document can hold the text as it is.
fn ends(text: &str) -> bool {
    text.ends_with('\n')
}

fn plain(path: &str) -> bool {
    path.chars().all(|c| c.is_ascii_alphanumeric() || "-_./+,".contains(c))
}

fn escaped(text: &str, special: &str) -> String {
    text.chars().flat_map(|c| special.contains(c).then_some('\\').into_iter().chain([c])).collect()
}
