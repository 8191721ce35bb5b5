//! A finding as a POSIX shell script that needs make, the toolchain and sha256sum, and nothing of the harness.
//!
//! What happens stands at its top, in order; the files that it writes are at its end. Pure: a record, the recipe kept
//! beside it and findings of one build give the text, or the reason why there is none.

use std::collections::BTreeMap;

use super::subject;
use crate::artifact::record::{Mode, Role, ScenarioRecord};
use crate::runner::recipe::{Build, Configuration, Edit, Recipe, Varied};
use crate::scenario::{Class, FindingName};
use crate::verdict::{Fault, Finding};

mod files;
mod shell;

use files::Files;
use shell::{Script, single};

pub(super) use files::{appended, replaced_line, unified};
pub(super) use shell::Places;

/// How a line of the script's output begins that names an artifact which shows the fault.
pub const SEEN: &str = "SEEN ";
/// The script's exit status where the fault is seen.
pub const STATUS_SEEN: i32 = 1;
/// Its exit status where it is not.
pub const STATUS_NOT_SEEN: i32 = 0;

/// Why there is no mail about findings of a name, if there is none.
#[must_use]
pub fn no_mail(name: FindingName) -> Option<&'static str> {
    match name {
        FindingName::ExpectUnmet | FindingName::KnownStale => Some("it is about what the scenario says"),
        FindingName::SnapshotChanged | FindingName::SnapshotMissing | FindingName::SnapshotUnreferenced => {
            Some("it is about an accepted snapshot")
        }
        name if name.class() == Class::Cost => Some("it is a cost, and nothing is wrong"),
        name if name.class() == Class::Inconclusive => Some("nothing can be said of that build"),
        _ => None,
    }
}

/// Why no script of make lines and sha256sum shows a finding, if none does.
#[must_use]
pub fn no_script(finding: &Finding) -> Option<&'static str> {
    match finding.name {
        FindingName::EscapeRead | FindingName::EscapeWrite | FindingName::EscapeNetwork => {
            Some("only a trace shows what a step reaches for")
        }
        FindingName::HazardOrder | FindingName::HazardWriteWrite => Some("it shows only where jobs meet"),
        FindingName::StepNotIdempotent => Some("it is about one step, run again by itself"),
        FindingName::BtfInvalid | FindingName::BtfBaseMismatch if finding.against.is_none() => {
            Some("every clean build has it, and make and sha256sum do not show it; `btf check` and `boot` do")
        }
        name => no_mail(name),
    }
}

/// Findings that one script shows, in order: of one name, after one edit, in one build, by one variation.
#[must_use]
pub fn groups<'f>(findings: &[&'f Finding]) -> Vec<Vec<&'f Finding>> {
    let mut groups: Vec<Vec<&Finding>> = Vec::new();
    for finding in findings {
        let same = |group: &&mut Vec<&Finding>| together(group[0], finding);
        match groups.iter_mut().find(same) {
            Some(group) => group.push(finding),
            None => groups.push(vec![finding]),
        }
    }
    groups
}

/// Whether one script shows both.
pub(super) fn together(a: &Finding, b: &Finding) -> bool {
    (a.name, &a.edit, &a.build, &a.varied) == (b.name, &b.edit, &b.build, &b.varied)
}

/// What is done, and what is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Edits up to this one with a build after each, then a clean build of the same sources.
    Incremental(usize),
    /// A build, then so many more with nothing changed; after the edits up to one, built one by one or all from clean.
    Again { edit: Option<usize>, clean: bool, times: usize },
    /// Two clean builds.
    Twice,
    /// One clean build.
    Once,
}

/// What shows the fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    /// Other bytes.
    Bytes,
    /// `.BTF` is not there, and is in a clean build.
    LostBtf,
    /// `.BTF` is there twice.
    TwoBtf,
    /// How the builds end.
    Status,
}

/// The script that shows these findings of one build.
///
/// # Errors
/// Why there is none, in a clause.
pub fn script(record: &ScenarioRecord, recipe: &Recipe, findings: &[&Finding]) -> Result<String, String> {
    let Some(first) = findings.first() else { return Err("there is no finding".into()) };
    if let Some(why) = no_script(first) {
        return Err(why.into());
    }
    if let Some(why) = &recipe.cannot {
        return Err(why.clone());
    }
    let way = way(record, first)?;
    let look = match first.name {
        FindingName::BtfLost if first.summary.starts_with("no .BTF") => Look::LostBtf,
        FindingName::BtfDuplicate => Look::TwoBtf,
        name if name.is_of_the_end() => Look::Status,
        _ => Look::Bytes,
    };
    let mut writer =
        Writer { record, recipe, findings, way, look, script: Script::new(recipe), files: Files::new(recipe) };
    writer.head();
    writer.main()?;
    writer.helpers();
    writer.sources()?;
    writer.script.line("main");
    Ok(writer.script.text())
}

/// What has to be done to see the finding.
fn way(record: &ScenarioRecord, finding: &Finding) -> Result<Way, String> {
    let build = record.builds.iter().find(|build| build.id == finding.build);
    let build = build.ok_or_else(|| format!("there is no build `{}` in the record", finding.build))?;
    let before = build.edit.filter(|_| build.role == Role::Control).map_or(0, |n| n + 1);
    if record.scenario.edit[..before].iter().any(|edit| edit.interrupt.is_some()) {
        return Err("a build before it is interrupted at one step, which takes a tracer: `run` does it again".into());
    }
    Ok(match (build.mode, build.edit) {
        (Mode::Incremental, Some(edit)) => Way::Incremental(edit),
        (Mode::Noop, edit) => {
            let number = build.id.rsplit('-').next().and_then(|n| n.parse().ok());
            Way::Again { edit, clean: build.role == Role::Oracle, times: number.unwrap_or(1) }
        }
        (Mode::Clean, _) if finding.name == FindingName::ReproMismatch => Way::Twice,
        (Mode::Clean, None) => Way::Once,
        (Mode::Clean, Some(_)) => return Err("it shows in a clean build after an edit".into()),
        (Mode::Interrupted, _) => return Err("it shows in a build that was interrupted".into()),
        (Mode::Incremental, None) => return Err(format!("`{}` follows no edit", build.id)),
    })
}

struct Writer<'a> {
    record: &'a ScenarioRecord,
    recipe: &'a Recipe,
    findings: &'a [&'a Finding],
    way: Way,
    look: Look,
    script: Script,
    files: Files<'a>,
}

impl<'a> Writer<'a> {
    fn head(&mut self) {
        let title = subject::subject(self.record, self.findings);
        let argument = self.argument();
        let out = &mut self.script;
        out.line("#!/bin/sh");
        out.comment(&title);
        if let Some(fixes) = &self.record.fixes {
            out.line(&format!("# {fixes}"));
        }
        out.line("#");
        match &argument {
            Some((name, what)) => {
                out.comment(&format!("usage: sh reproduce.sh {name}"));
                out.comment(&format!("{name} is {what} Nothing is written there."));
            }
            None => out.comment("usage: sh reproduce.sh"),
        }
        out.line("#");
        let chosen = &self.recipe.chosen;
        let chosen = if chosen.is_empty() { String::new() } else { format!(" ({} first on PATH)", chosen.join(", ")) };
        out.comment(&format!("It needs make, the toolchain of the tree{chosen} and sha256sum."));
        out.comment(
            "Trees are made below ${TMPDIR:-/tmp} and removed at the end; with KEEP=1 in the environment they stay.",
        );
        out.comment("Exit status: 1 the fault is seen, 0 it is not, 2 usage, or a build fails that has to work.");
        out.line("");
        out.line("set -u");
        if argument.is_some() {
            out.line("given=${1:-}");
        }
        out.line("jobs=${JOBS--j$(nproc 2>/dev/null || echo 1)}");
        for (name, value) in &self.recipe.first.env {
            out.line(&format!("export {name}={}", out.word(value)));
        }
        out.line("");
    }

    /// The script's argument: its name, and what it is.
    fn argument(&self) -> Option<(&'static str, String)> {
        if !self.recipe.given {
            return None;
        }
        let configured = "not configured or built in place.";
        Some(match &self.record.kernel {
            Some(kernel) => ("KERNEL", format!("the source tree of Linux {kernel}, {configured}")),
            None if self.recipe.in_tree => ("SRCTREE", "the source tree; it is copied.".into()),
            None => ("SRCTREE", format!("the source tree, {configured}")),
        })
    }

    fn main(&mut self) -> Result<(), String> {
        self.script.line("main() {");
        self.script.indented(1);
        self.script.line("sources");
        let steps = match self.way {
            Way::Incremental(edit) => self.incremental(edit),
            Way::Again { edit, clean, times } => self.again(edit, clean, times),
            Way::Twice => self.twice(),
            Way::Once => {
                self.say("a clean build");
                self.configure();
                self.build(&self.recipe.first, " || broken");
                self.look_at("clean", "$obj", "", "");
                self.end();
                Ok(())
            }
        };
        steps?;
        self.script.indented(0);
        self.script.line("}");
        self.script.line("");
        Ok(())
    }

    fn say(&mut self, what: &str) {
        self.script.line(&format!("echo {}", single(&format!("== {what}"))));
    }

    fn configure(&mut self) {
        if self.recipe.config.is_some() || !self.recipe.prepare.is_empty() {
            self.script.line("configure");
        }
    }

    /// The makes of a build, in order; `or` follows each.
    fn build(&mut self, build: &Build, or: &str) {
        for words in &build.makes {
            let jobs = build.jobs.map_or("$jobs".to_owned(), |jobs| format!("-j{jobs}"));
            let make = self.make(words, &jobs);
            self.script.command(&format!("run {make}"), or);
        }
    }

    /// A make, with the place of the object tree and the jobs after its program.
    fn make(&self, words: &[String], jobs: &str) -> String {
        let place = if self.recipe.kbuild && !self.recipe.in_tree { " O=\"$obj\"" } else { "" };
        let jobs = if jobs.is_empty() { String::new() } else { format!(" {jobs}") };
        let (program, rest) = words.split_at(words.len().min(1));
        format!("{}{place}{jobs} {}", self.script.words(program), self.script.words(rest))
    }

    /// Changes environment and programs from those of one build to those of another.
    fn change_over(&mut self, from: &Build, to: &Build) {
        for name in from.env.keys().filter(|name| !to.env.contains_key(*name)) {
            self.script.line(&format!("unset {name}"));
        }
        for (name, value) in to.env.iter().filter(|(name, value)| from.env.get(*name) != Some(value)) {
            let value = self.script.word(value);
            self.script.line(&format!("export {name}={value}"));
        }
    }

    /// What an edit does, before its build.
    fn edit(&mut self, n: usize) -> Result<(), String> {
        let recipe = self.recipe;
        let edit = self.edit_of(n)?;
        let before = n.checked_sub(1).map_or(&recipe.first, |n| &recipe.edits[n].build);
        self.say(&heading(edit));
        if !edit.changes.is_empty() || !edit.config.is_empty() || before.tools != edit.build.tools {
            self.script.line("sleep 1 # what is changed now is later than all that was built");
        }
        if !edit.changes.is_empty() {
            self.script.line(&format!("edit_{}", n + 1));
        }
        if before.tools != edit.build.tools {
            self.script.line(&format!("tools_{}", n + 1));
        }
        self.change_over(before, &edit.build);
        if let Some(clean) = &edit.clean {
            self.plain(&edit.build, clean);
            if recipe.config.is_some() {
                self.script.line("[ -e \"$obj/.config\" ] || configure");
            }
        }
        if !edit.config.is_empty() {
            let lines = single(edit.config.trim_end());
            self.script.line(&format!("echo {lines} >>\"$obj/.config\""));
            self.plain(&edit.build, "olddefconfig");
        }
        Ok(())
    }

    fn edit_of(&self, n: usize) -> Result<&'a Edit, String> {
        self.recipe.edits.get(n).ok_or_else(|| format!("there is no edit {} in the recipe", n + 1))
    }

    fn plain(&mut self, build: &Build, goal: &str) {
        let words: Vec<String> = build.plain.iter().cloned().chain([goal.to_owned()]).collect();
        let make = self.make(&words, "");
        self.script.command(&format!("run {make}"), " || broken");
    }

    fn incremental(&mut self, last: usize) -> Result<(), String> {
        let recipe = self.recipe;
        self.say("a clean build");
        self.configure();
        self.build(&recipe.first, " || broken");
        for n in 0..=last {
            self.edit(n)?;
            if n == last {
                self.save_config();
            }
            let or = if n == last && self.look == Look::Status { "; incremental=$?" } else { " || broken" };
            self.build(&self.edit_of(n)?.build, or);
        }
        self.say("a clean build of the same sources, at the same place");
        self.anew(last);
        let or = if self.look == Look::Status { "; clean=$?" } else { " || broken" };
        self.build(&self.edit_of(last)?.build, or);
        self.look_at("incremental", "$obj.incremental", "$obj", "clean");
        self.end();
        Ok(())
    }

    fn save_config(&mut self) {
        if self.recipe.config.is_some() {
            self.script.line("cp \"$obj/.config\" config");
        }
    }

    /// An empty tree in place of the one that was built, with the sources as after an edit.
    fn anew(&mut self, edit: usize) {
        self.script.line("mv \"$obj\" \"$obj.incremental\"");
        if self.recipe.in_tree {
            self.script.line("sources");
            for n in 0..=edit {
                if self.recipe.edits.get(n).is_some_and(|edit| edit.changes.iter().any(files::is_of_sources)) {
                    self.script.line(&format!("edit_{}", n + 1));
                }
            }
            if !self.recipe.prepare.is_empty() && self.recipe.config.is_none() {
                self.script.line("configure");
            }
        }
        if self.recipe.config.is_some() {
            self.script.line("mkdir -p \"$obj\"");
            self.script.line("cp config \"$obj/.config\"");
        }
    }

    fn again(&mut self, edit: Option<usize>, clean: bool, times: usize) -> Result<(), String> {
        let recipe = self.recipe;
        self.say("a clean build");
        self.configure();
        self.build(&recipe.first, " || broken");
        let mut now = &recipe.first;
        for n in 0..edit.map_or(0, |n| n + 1) {
            self.edit(n)?;
            now = &self.edit_of(n)?.build;
            if Some(n) == edit && clean {
                self.save_config();
                self.say("a clean build of the sources as they are now");
                self.anew(n);
            }
            self.build(now, " || broken");
        }
        let status = self.look == Look::Status;
        for _ in 0..times {
            self.script.line("rm -rf before && mkdir before && keep before");
            self.say("the same again, with nothing changed");
            self.build(now, if status { "; incremental=$?" } else { " || broken" });
            if status {
                self.script.line("clean=0");
            }
        }
        self.look_at("before", "$work/before", "$obj", "after");
        self.end();
        Ok(())
    }

    fn twice(&mut self) -> Result<(), String> {
        let recipe = self.recipe;
        let varied = self.varied();
        if let Some(why) = varied.and_then(|varied| varied.cannot.as_ref()) {
            return Err(why.clone());
        }
        let umask = varied.and_then(|varied| varied.umask.as_ref());
        if umask.is_some() {
            self.script.line("umask 022");
        }
        self.say("a clean build");
        self.configure();
        self.build(&recipe.first, " || broken");
        let second = varied.map_or(&recipe.first, |varied| &varied.build);
        let later = varied.is_some_and(|varied| varied.later);
        let what = match varied {
            Some(_) if later => "another, in a later minute",
            Some(_) => "another, varied",
            None => "another, in a later second",
        };
        // What comes out otherwise now and then need not do so at once.
        let again = varied.is_none() && self.is_irreproducible();
        if again {
            self.script.line("for try in 1 2 3; do");
            self.script.indented(2);
        }
        self.say(&format!("{what}, at the same place"));
        if again {
            self.script.line("rm -rf \"$obj.first\"");
        }
        self.script.line("mv \"$obj\" \"$obj.first\"");
        self.script.line(if later { "sleep 60" } else { "sleep 2" });
        if recipe.in_tree {
            self.script.line("sources");
        }
        if let Some(umask) = umask {
            self.script.line(&format!("umask {umask}"));
        }
        self.change_over(&recipe.first, second);
        self.configure();
        self.build(second, " || broken");
        self.look_at("first", "$obj.first", "$obj", "second");
        if again {
            self.script.line("[ $seen = 0 ] || break");
            self.script.indented(1);
            self.script.line("done");
        }
        self.end();
        Ok(())
    }

    /// How the second clean build is varied: by the one thing that makes the difference, where that is known. Of several that each
    /// do, one that a script can vary.
    fn varied(&self) -> Option<&'a Varied> {
        let recipe = self.recipe;
        let Some(with) = &self.findings[0].varied else { return recipe.varied.as_ref() };
        let known = || with.iter().filter_map(|name| recipe.variations.get(name));
        let one = known().find(|varied| varied.cannot.is_none()).or_else(|| known().next());
        // A record of before has none; what comes by itself comes without any.
        one.or(recipe.varied.as_ref().filter(|_| !with.is_empty()))
    }

    /// Whether a step to blame gives something else for the same.
    fn is_irreproducible(&self) -> bool {
        let mut causes = self.findings.iter().filter_map(|finding| finding.cause.as_ref());
        causes.any(|cause| cause.fault == Fault::Irreproducible)
    }

    /// Compares, and says what was seen.
    fn look_at(&mut self, one: &str, dir: &str, other_dir: &str, other: &str) {
        let width = one.len().max(other.len());
        let masked = self.findings[0].name == FindingName::RebuildMasked;
        let out = &mut self.script;
        out.line("seen=0");
        if self.look == Look::Status {
            let name = if matches!(self.way, Way::Again { .. }) { "again" } else { "incremental" };
            out.line(&format!("echo \"status: {name} $incremental, clean $clean\""));
            let test = match masked {
                true => "[ \"$incremental\" = 0 ] && [ \"$clean\" != 0 ]",
                false => "[ \"$incremental\" != 0 ] && [ \"$clean\" = 0 ]",
            };
            out.line(&format!("if {test}; then"));
            out.line(&format!("\techo '{}{name}'", SEEN));
            out.line("\tseen=1");
            out.line("fi");
        } else {
            let targets: Vec<&str> = self.findings.iter().map(|finding| finding.target.as_str()).collect();
            out.list("for file in", &targets, "; do");
            out.line("\techo \"$file\"");
            if self.look == Look::TwoBtf {
                out.line(&format!("\tbtf \"{dir}/$file\""));
                out.line(&format!("\tif [ \"$(btf \"{dir}/$file\" | wc -l)\" -gt 1 ]; then"));
            } else {
                out.line(&format!("\ta=$(sum \"{dir}/$file\") b=$(sum \"{other_dir}/$file\")"));
                out.line(&format!("\techo \"  {one:width$} $a\""));
                out.line(&format!("\techo \"  {other:width$} $b\""));
                if self.look == Look::LostBtf {
                    out.line(&format!("\techo '  {one}:'; btf \"{dir}/$file\""));
                    out.line(&format!("\techo '  {other}:'; btf \"{other_dir}/$file\""));
                    out.line(&format!(
                        "\tif [ -z \"$(btf \"{dir}/$file\")\" ] && [ -n \"$(btf \"{other_dir}/$file\")\" ]; then"
                    ));
                } else {
                    out.line("\tif [ \"$a\" != \"$b\" ]; then");
                }
            }
            out.line(&format!("\t\techo \"{SEEN}$file\""));
            out.line("\t\tseen=1");
            out.line("\tfi");
            out.line("done");
        }
    }

    /// Ends with the status.
    fn end(&mut self) {
        self.script.line("[ $seen = 1 ] || echo 'not seen'");
        self.script.line("exit $seen");
    }

    fn helpers(&mut self) {
        let recipe = self.recipe;
        let kept = matches!(self.way, Way::Again { .. });
        let out = &mut self.script;
        out.line("# Runs a make in the source tree; what it prints is in the log.");
        out.line("run() {");
        out.line("\techo \"\\$ $*\"");
        let dir = recipe.dir.as_ref().map_or("\"$src\"".to_owned(), |dir| out.word(&format!("{}/{dir}", recipe.src)));
        out.line(&format!("\t(cd {dir} && \"$@\") </dev/null >>\"$work/log\" 2>&1"));
        out.line("}");
        out.line("");
        out.line("broken() {");
        out.line("\ttail -n 20 \"$work/log\" >&2");
        out.line("\tdie 'this build has to work, and fails'");
        out.line("}");
        out.line("");
        out.line("die() {");
        out.line("\techo \"reproduce.sh: $*\" >&2");
        out.line("\texit 2");
        out.line("}");
        out.line("");
        if self.look != Look::Status && self.look != Look::TwoBtf {
            out.line("sum() {");
            out.line("\tif [ -e \"$1\" ]; then sha256sum <\"$1\" | cut -d ' ' -f 1; else echo 'not there'; fi");
            out.line("}");
            out.line("");
        }
        if matches!(self.look, Look::LostBtf | Look::TwoBtf) {
            out.line("btf() {");
            out.line("\t${READELF:-readelf} -SW \"$1\" | grep '\\.BTF '");
            out.line("}");
            out.line("");
        }
        if kept {
            let targets: Vec<&str> = self
                .findings
                .iter()
                .map(|finding| finding.target.as_str())
                .filter(|target| !target.is_empty())
                .collect();
            out.line("# Copies what is compared to the directory $1.");
            out.line("keep() {");
            if targets.is_empty() {
                out.line("\t:");
            } else {
                out.indented(1);
                out.list("for file in", &targets, "; do");
                out.line("\tmkdir -p \"$work/$1/$(dirname \"$file\")\"");
                out.line("\t[ ! -e \"$obj/$file\" ] || cp -p \"$obj/$file\" \"$work/$1/$file\"");
                out.line("done");
                out.indented(0);
            }
            out.line("}");
            out.line("");
        }
        if recipe.config.is_some() || !recipe.prepare.is_empty() {
            self.configuring();
        }
    }

    fn configuring(&mut self) {
        let recipe = self.recipe;
        self.script.line("configure() {");
        self.script.indented(1);
        for command in &recipe.prepare {
            let make = command.first().is_some_and(|program| program.ends_with("make"));
            let words = if make { self.make(command, "") } else { self.script.words(command) };
            self.script.command(&format!("run {words}"), " || broken");
        }
        if let Some(Configuration { goal, file, lines, .. }) = &recipe.config {
            self.script.line("mkdir -p \"$obj\"");
            match (goal, file) {
                (Some(goal), _) => self.plain(&recipe.first, goal),
                (None, Some(file)) => self.script.here("cat >\"$obj/.config\"", file),
                (None, None) => {}
            }
            if !lines.is_empty() {
                self.script.here("cat >>\"$obj/.config\"", lines);
            }
            if file.is_some() || !lines.is_empty() {
                self.plain(&recipe.first, "olddefconfig");
            }
        }
        self.script.indented(0);
        self.script.line("}");
        self.script.line("");
    }

    /// The functions that write files, and the preparation of the directory they go to.
    fn sources(&mut self) -> Result<(), String> {
        let recipe = self.recipe;
        let last = match self.way {
            Way::Incremental(edit) => Some(edit),
            Way::Again { edit, .. } => edit,
            Way::Twice | Way::Once => None,
        };
        let edits = last.map_or(0, |n| n + 1);
        let mut before: &BTreeMap<String, String> = &recipe.first.tools;
        for (n, edit) in recipe.edits.iter().enumerate().take(edits) {
            if !edit.changes.is_empty() {
                self.script.line(&format!("edit_{}() {{", n + 1));
                // A copy of the object tree's own changes would be no clean build.
                self.files.changes(&mut self.script, &edit.changes)?;
                self.script.line("}");
                self.script.line("");
            }
            if *before != edit.build.tools {
                self.script.line(&format!("tools_{}() {{", n + 1));
                files::tools(&mut self.script, &edit.build.tools);
                self.script.line("}");
                self.script.line("");
            }
            before = &edit.build.tools;
        }
        self.files.helpers(&mut self.script);
        self.script.line("# Makes the source tree.");
        self.script.line("sources() {");
        self.files.begin(&mut self.script);
        if !recipe.first.tools.is_empty() {
            files::tools(&mut self.script, &recipe.first.tools);
        }
        self.files.changes(&mut self.script, &recipe.base)?;
        self.script.line("}");
        self.script.line("");
        let tools = recipe.edits.iter().any(|edit| !edit.build.tools.is_empty()) || !recipe.first.tools.is_empty();
        let out = &mut self.script;
        if recipe.given {
            let file = if recipe.kbuild { "Kconfig" } else { "" };
            let usage = self.record.kernel.as_ref().map_or("SRCTREE", |_| "KERNEL");
            out.line(&format!("[ -n \"$given\" ] && [ -e \"$given/{file}\" ] || die 'usage: sh reproduce.sh {usage}'"));
            out.line("given=$(cd \"$given\" && pwd) || exit 2");
            if recipe.kbuild {
                out.line("[ ! -e \"$given/.config\" ] && [ ! -e \"$given/include/config\" ] ||");
                out.line("\tdie \"$given is configured in place: make mrproper, or a fresh git worktree\"");
            }
        }
        out.line("work=$(mktemp -d \"${TMPDIR:-/tmp}/reproduce.XXXXXX\") || exit 2");
        out.line("[ -n \"${KEEP:-}\" ] || trap 'rm -rf \"$work\"' EXIT");
        out.line("trap 'exit 2' HUP INT TERM");
        out.line("cd \"$work\" || exit 2");
        out.line(if recipe.in_tree { "src=$work/src obj=$work/src" } else { "src=$work/src obj=$work/obj" });
        if tools {
            out.line("export PATH=\"$work/tools:$PATH\"");
        }
        Ok(())
    }
}

/// What an edit is, in a line.
fn heading(edit: &Edit) -> String {
    edit.title.as_ref().map_or_else(|| edit.name.clone(), |title| format!("{}: {title}", edit.name))
}
