//! A finding as the mail that a maintainer of kbuild expects: what was done, expected, seen, and how to see it again
//! with plain make lines. Pure: a record, the recipe kept beside it and the findings of one build give the text.
//!
//! It has no trailer that says what a person did (`Reported-by:`, `Tested-by:`): a program cannot (Documentation/process/
//! submitting-patches.rst).

use super::machine::TOOLS;
use super::reproducer::{Places, no_mail, no_script, together, unified};
use super::subject::{WIDTH, subject};
use super::text::{continued, wrapped};
use crate::artifact::record::{BuildRecord, Confirmation, Mode, Outcome, ScenarioRecord};
use crate::runner::recipe::{Build, Edit, FileChange, Recipe, pinned};
use crate::scenario::FindingName;
use crate::verdict::{Cause, Fault, Finding};
use commands::{Commands, Line};

mod commands;

/// How many artifacts with the same finding are named.
const NAMED: usize = 8;
/// How many sections are listed.
const SECTIONS: usize = 8;
/// A change of more lines is told by its size.
const DIFF: usize = 30;

/// The mail about a finding, and all that one reproducer shows with it.
///
/// # Errors
/// Why there is none, in a clause.
pub fn mail(
    record: &ScenarioRecord,
    recipe: Option<&Recipe>,
    findings: &[Finding],
    finding: &Finding,
) -> Result<String, String> {
    if let Some(why) = no_mail(finding.name) {
        return Err(why.into());
    }
    let alike = |other: &Finding| match (&other.cause, &finding.cause) {
        (Some(a), Some(b)) => a.is_like(b),
        _ => true,
    };
    let others =
        findings.iter().filter(|other| together(other, finding) && other.target != finding.target && alike(other));
    let group: Vec<&Finding> = std::iter::once(finding).chain(others).collect();
    let mut mail = Mail { record, recipe, finding, group, text: String::new() };
    mail.write();
    Ok(mail.text)
}

struct Mail<'a> {
    record: &'a ScenarioRecord,
    recipe: Option<&'a Recipe>,
    finding: &'a Finding,
    /// The finding, then those that the same builds show.
    group: Vec<&'a Finding>,
    text: String,
}

impl Mail<'_> {
    fn write(&mut self) {
        let subject = subject(self.record, &self.group);
        // A long header goes on after a blank (RFC 5322, 2.2.3).
        for (at, line) in wrapped(&format!("Subject: {subject}"), WIDTH - 1).iter().enumerate() {
            self.line(&format!("{}{line}", if at > 0 { " " } else { "" }));
        }
        self.recipients();
        self.line("");
        self.done();
        self.expected_and_seen();
        if self.finding.standing == crate::verdict::Standing::Latent {
            self.paragraph(
                "No build that was made comes to it: the step was run again by itself. It shows where a rule runs it on its own output.",
            );
        }
        self.others();
        self.cause();
        self.steps();
        self.script();
        self.versions();
        if let Some(fixes) = &self.record.fixes {
            // Never wrapped: it is one line, however long (Documentation/process/submitting-patches.rst).
            self.text.push_str(&format!("{fixes}\n"));
        }
        for link in &self.record.scenario.link {
            self.text.push_str(&format!("Link: {link}\n"));
        }
        let trimmed = self.text.trim_end().len();
        self.text.truncate(trimmed);
        self.text.push('\n');
    }

    /// Whose the step is, as MAINTAINERS of those sources says.
    fn recipients(&mut self) {
        let Some(owners) = self.group.iter().find_map(|finding| finding.owners.clone()) else { return };
        let (to, cc) = match owners.maintainers.as_slice() {
            [] => (owners.lists, owners.reviewers),
            _ => (owners.maintainers, owners.lists.into_iter().chain(owners.reviewers).collect()),
        };
        for (name, addresses) in [("To", to), ("Cc", cc)] {
            for (at, address) in addresses.iter().enumerate() {
                let begin = if at == 0 { format!("{name}:") } else { String::new() };
                let end = if at + 1 < addresses.len() { "," } else { "" };
                self.line(&format!("{begin} {address}{end}"));
            }
        }
    }

    /// A line as it is.
    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn paragraph(&mut self, text: &str) {
        for line in wrapped(text, WIDTH) {
            self.line(&line);
        }
        self.line("");
    }

    /// A point of a list, or something under a heading.
    fn item(&mut self, text: &str) {
        for line in wrapped(text, WIDTH - 2) {
            self.line(&format!("  {line}"));
        }
    }

    /// Lines that are quoted as they are; longer ones would be broken on the way.
    fn quoted(&mut self, text: &str) {
        for line in text.lines() {
            let line = line.replace('\t', "        ");
            let short: String = line.chars().take(WIDTH - 4).collect();
            self.line(format!("    {short}").trim_end());
        }
    }

    fn command(&mut self, command: &str) {
        for line in continued(command, WIDTH - 2, "    ") {
            self.line(&format!("  {line}"));
        }
    }

    fn build(&self) -> Option<&BuildRecord> {
        self.record.builds.iter().find(|build| build.id == self.finding.build)
    }

    /// The edit that the build follows.
    fn edit(&self) -> Option<&Edit> {
        self.recipe?.edits.get(self.build()?.edit?)
    }

    /// The build before the edit.
    fn before(&self) -> Option<&Build> {
        let recipe = self.recipe?;
        match self.build()?.edit?.checked_sub(1) {
            Some(n) => recipe.edits.get(n).map(|edit| &edit.build),
            None => Some(&recipe.first),
        }
    }

    fn done(&mut self) {
        let mode = self.build().map(|build| build.mode);
        let first = self.recipe.map(|recipe| format!(" by `{}`", makes(&recipe.first))).unwrap_or_default();
        let number = self.build().and_then(|build| build.edit).unwrap_or(0);
        let earlier = match number {
            0 => String::new(),
            1 => " An edit was made and built.".to_owned(),
            n => format!(" {n} edits were made, with a build after each."),
        };
        let text = match (mode, self.finding.name) {
            (Some(Mode::Clean), FindingName::ReproMismatch) => {
                let (build, against) = (&self.finding.build, self.finding.against.as_ref());
                let two = self.record.builds.iter().filter(|it| it.id == *build || Some(&it.id) == against);
                let all: Vec<String> = two.flat_map(|build| build.varied.clone()).collect();
                let with = self.finding.varied.as_ref().map_or(all, |with| with.iter().take(1).cloned().collect());
                let varied = match with.as_slice() {
                    [] => "the second some seconds later".to_owned(),
                    varied => format!("the second with other: {}", varied.join(", ")),
                };
                format!("The same sources were built twice from clean{first}, {varied}.")
            }
            (Some(Mode::Clean), FindingName::StepNotIdempotent) => format!(
                "The sources were built from clean{first}. Then one step of that was run again by itself, on what it had made."
            ),
            (Some(Mode::Clean), _) => format!("The sources were built from clean{first}."),
            (Some(Mode::Noop), _) => {
                format!("The sources were built{first}. Then, with nothing changed, the same make was run again.")
            }
            _ => {
                let what = self.edit().map_or_else(|| "an edit was made".to_owned(), |edit| told(edit, self.before()));
                format!(
                    "The sources were built from clean{first}.{earlier} Then {what}, and the tree was built again. The \
                     result is compared with a clean build of the same sources at the same place."
                )
            }
        };
        self.paragraph(&text);
        let diff = self.edit().map(diff).unwrap_or_default();
        if self.build().is_some_and(|build| build.mode == Mode::Incremental) && !diff.is_empty() {
            self.quoted(&diff);
            self.line("");
        }
        if self.record.scenario.is_graft() {
            let arch = self.record.scenario.graft_arch().unwrap_or("graft");
            self.paragraph(&format!(
                "What built it is the kernel's own Makefile, scripts/, Kconfig and tools/; the sources are a few small files \
                 (ARCH={arch}) in place of the kernel's, which make each build a matter of seconds."
            ));
        }
    }

    fn expected_and_seen(&mut self) {
        let name = self.finding.target.clone();
        let expected = match self.finding.name {
            FindingName::BtfLost => format!("{name} has the .BTF that a clean build gives it."),
            FindingName::BtfDuplicate => format!("{name} has one .BTF section."),
            FindingName::BtfInvalid => format!("{name} has BTF that the kernel it was built with takes."),
            FindingName::BtfBaseMismatch => format!("the BTF of {name} fits that of the vmlinux beside it."),
            FindingName::RebuildStale | FindingName::RebuildDiverged => {
                format!("{name} is, byte for byte, what a clean build makes of these sources.")
            }
            FindingName::ResumeDiverged => {
                format!("after the interruption too {name} is, byte for byte, what a clean build makes.")
            }
            FindingName::ResumeStuck => "The make after the interruption works, as a clean one does.".to_owned(),
            FindingName::NoopChanged => format!("{name} stays as it is."),
            FindingName::ReproMismatch => format!("{name} is the same in both."),
            FindingName::RebuildFailed if self.build().is_some_and(|build| build.mode == Mode::Noop) => {
                "A make with nothing to do works.".to_owned()
            }
            FindingName::RebuildFailed => "The incremental build works, as a clean one does.".to_owned(),
            FindingName::StepNotIdempotent => format!("{name} stays as it is."),
            FindingName::HazardWriteWrite => format!("One step makes {name}."),
            FindingName::HazardOrder => "Make knows in which order the steps have to run.".to_owned(),
            FindingName::EscapeRead | FindingName::EscapeWrite | FindingName::EscapeNetwork => {
                "The step reads and writes the trees, and reads the toolchain, and nothing else.".to_owned()
            }
            _ => "The incremental build fails, as a clean one does.".to_owned(),
        };
        self.line("Expected:");
        self.item(&expected);
        self.line("");
        self.line("Seen:");
        let summary = self.finding.summary.clone();
        let seen = if name.is_empty() { summary } else { format!("{name}: {summary}") };
        self.item(&seen);
        self.sections();
        for line in self.finding.says.clone() {
            self.item(&line);
        }
        let tail: Vec<String> =
            self.finding.detail.iter().filter_map(|line| line.strip_prefix("| ")).map(str::to_owned).collect();
        if !tail.is_empty() {
            self.line("");
            self.quoted(&tail.join("\n"));
        }
        if !self.finding.still.is_empty() {
            let still = self.finding.still.join(", ");
            self.item(&format!("It is still so after {still}."));
        }
        self.line("");
    }

    /// Sections that differ, with their sizes in both builds.
    fn sections(&mut self) {
        let (Some(diff), Some(against)) = (self.finding.parts.clone(), self.finding.against.clone()) else { return };
        let artifact = |id: &str| {
            let build = self.record.builds.iter().find(|build| build.id == id)?;
            build.artifact(&self.finding.target)
        };
        let (mine, other) = (artifact(&self.finding.build), artifact(&against));
        // `diff_parts` was not always asked in the same order; names and sizes are taken from the artifacts themselves.
        let names = diff.changed.iter().map(|part| &part.name).chain(&diff.added).chain(&diff.removed);
        let names: Vec<&String> = names.filter(|name| name.starts_with('.')).collect();
        let size = |artifact: Option<&crate::artifact::Artifact>, name: &str| {
            let part = artifact?.parts.iter().find(|part| part.name == name)?;
            Some(part.size)
        };
        let shown = |size: Option<u64>| size.map_or("-".to_owned(), |size| size.to_string());
        let (Some(mine), Some(other)) = (mine, other) else { return };
        let (here, there) = self.sides();
        let width = names.iter().take(SECTIONS).map(|name| name.len()).max().unwrap_or(0).clamp(9, 30);
        let head = format!("    {:width$}  {here:>12}  {there:>12}", "bytes");
        let whole = format!("    {:width$}  {:>12}  {:>12}", "the file", mine.size, other.size);
        let mut lines = vec![String::new(), head, whole];
        for name in names.iter().take(SECTIONS) {
            let (a, b) = (shown(size(Some(mine), name)), shown(size(Some(other), name)));
            lines.push(format!("    {name:width$}  {a:>12}  {b:>12}"));
        }
        if let Some(more) = names.len().checked_sub(SECTIONS).filter(|more| *more > 0) {
            lines.push(format!("    and {more} sections more"));
        }
        for line in lines {
            self.line(&line);
        }
        if let (Some(btf), None) = (&other.btf, &mine.btf) {
            let (types, functions) = (btf.types, btf.functions);
            if !self.finding.summary.contains("types") {
                self.item(&format!("The other has .BTF of {types} types and {functions} functions."));
            }
        }
    }

    /// What the two builds that are compared are called.
    fn sides(&self) -> (&'static str, &'static str) {
        match self.build().map(|build| build.mode) {
            Some(Mode::Noop) => ("after", "before"),
            Some(Mode::Clean) => ("second", "first"),
            _ => ("incremental", "clean"),
        }
    }

    fn others(&mut self) {
        let others: Vec<String> = self.group.iter().skip(1).take(NAMED).map(|finding| finding.target.clone()).collect();
        let count = self.group.len() - 1;
        if count > 0 {
            let more = count - others.len();
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let files = if count == 1 { "another file" } else { &format!("{count} other files") };
            self.paragraph(&format!("The same shows in {files}: {}{more}.", others.join(", ")));
        }
        let folded: usize = self.group.iter().map(|finding| finding.folded.len()).sum();
        if folded > 0 {
            self.paragraph(&format!("{folded} further differences follow from it."));
        }
    }

    fn cause(&mut self) {
        match self.group.iter().find_map(|finding| finding.cause.as_ref()) {
            Some(cause) => self.traced(cause),
            None => self.named(),
        }
    }

    /// The step that the traces show.
    fn traced(&mut self, cause: &Cause) {
        let fault = match cause.fault {
            Fault::Skipped => "is not run, though it has to be",
            Fault::OwnOutput => "reads what it made itself the time before",
            Fault::Irreproducible => "gets the same and gives something else",
            Fault::OtherCommand => "is run with another command, environment or tool",
            Fault::Extra => "is run, and a clean build does not run it",
            Fault::Order => "depends on the order of jobs",
            Fault::Race => "makes a file that another step makes as well",
            Fault::Failed => "fails",
            Fault::Needless => "runs for nothing",
            Fault::Escapes => "reaches outside of the trees",
        };
        self.line("Cause:");
        let cmd = cause.cmd.as_ref().map(|cmd| {
            // The file is told from the top of the sources, as in any mail.
            let file = cmd.file.strip_prefix("src/").unwrap_or(&cmd.file);
            format!("`{}` ({file}:{})", cmd.name, cmd.line)
        });
        let step = cmd.map_or_else(|| format!("`{}`", cause.step), |cmd| format!("{cmd}, here `{}`,", cause.step));
        self.item(&format!("{step} {fault}: {}.", cause.why.trim_end_matches('.')));
        // Of one file it would say no more than the line above.
        if cause.way.len() > 1 {
            self.item(&format!("The change comes to it by {}.", cause.way.join(" -> ")));
        }
        if !cause.command.is_empty() {
            self.line("  Its command:");
            let command = cause.command.split_whitespace().collect::<Vec<_>>().join(" ");
            for line in continued(&command, WIDTH - 4, "    ") {
                self.line(&format!("    {line}"));
            }
        }
        self.line("");
    }

    /// The command that the scenario names for what it knows; no trace has shown it.
    fn named(&mut self) {
        let crate::verdict::Standing::Known { why } = &self.finding.standing else { return };
        let known =
            self.record.scenario.known.iter().find(|known| known.finding == self.finding.name && known.why == *why);
        let Some(cmd) = known.and_then(|known| known.cmd.as_ref()) else { return };
        let at = self.recipe.and_then(|recipe| recipe.assigned.get(cmd)).map(|at| format!(" ({at})"));
        self.line("Cause, as far as it is known:");
        self.item(&format!("`cmd_{cmd}`{}: {}.", at.unwrap_or_default(), why.trim_end_matches('.')));
        self.line("");
    }

    /// Plain make lines.
    fn steps(&mut self) {
        let Some(recipe) = self.recipe else { return };
        self.line("[Steps to reproduce]");
        self.line("");
        let places = Places::new(recipe, ".", "obj");
        let obj = if recipe.in_tree { "." } else { "obj" };
        let laid = match (self.record.scenario.is_graft(), recipe.given) {
            _ if no_script(self.finding).is_some() => None,
            (true, _) => Some("in the source tree that reproduce.sh lays down; KEEP=1 keeps it"),
            (false, false) => Some("in the source tree that reproduce.sh writes; KEEP=1 keeps it"),
            (false, true) => None,
        };
        if let Some(laid) = laid {
            self.item(&format!("({laid})"));
        }
        let commands = Commands { recipe, places, obj };
        for line in commands.all(self.build(), self.finding) {
            match line {
                Line::Command(command) => self.command(&command),
                Line::Words(words) => self.item(&format!("({words})")),
                Line::Quoted(text) => self.quoted(&text),
            }
        }
        self.line("");
    }

    fn script(&mut self) {
        let none = self.finding.confirmed.as_ref().is_some_and(|c| c.outcome == Outcome::NoScript);
        if none && no_script(self.finding).is_none() || self.recipe.is_none() {
            return;
        }
        let given = self.recipe.is_some_and(|recipe| recipe.given);
        let argument = match (given, &self.record.kernel) {
            (false, _) => "",
            (true, Some(_)) => " KERNEL",
            (true, None) => " SRCTREE",
        };
        let lays = match (self.record.scenario.is_graft(), given) {
            (true, _) => ", lays the small sources over links to the kernel's,",
            (false, true) => ", takes the sources as they are",
            (false, false) => ", writes the sources",
        };
        if let Some(why) = no_script(self.finding) {
            return self.paragraph(&format!("No script goes with this: {why}."));
        }
        let said = match &self.finding.confirmed {
            None => "It has not been run.".to_owned(),
            Some(confirmation) => confirmed(confirmation),
        };
        self.paragraph(&format!(
            "reproduce.sh, beside this mail, does all of that{lays} and exits with 1 if the fault is there: `sh \
             reproduce.sh{argument}`. It needs make, the toolchain and sha256sum. {said}"
        ));
    }

    fn versions(&mut self) {
        self.line("Versions:");
        if let Some(kernel) = &self.record.kernel {
            self.item(&format!("kernel {kernel} ({})", self.record.source));
        } else {
            self.item(&format!("sources: {}", self.record.source));
        }
        let tool = |name: &&str| {
            let tool = self.record.toolchain.iter().find(|tool| tool.name == **name)?;
            Some(format!("{name} {}", tool.version))
        };
        let tools: Vec<String> = TOOLS.iter().filter_map(tool).collect();
        if !tools.is_empty() {
            self.item(&tools.join(", "));
        }
        self.line("");
        let Some(recipe) = self.recipe else { return };
        if let Some(config) = &recipe.config {
            let base = config.goal.clone().unwrap_or_else(|| "a .config of the scenario".to_owned());
            let symbols: Vec<&str> = config.lines.lines().filter(|line| !line.trim().is_empty()).collect();
            let own = symbols.len();
            let own = match own {
                0 => String::new(),
                n if n <= 6 && config.fragments.is_empty() => format!(" with {}", symbols.join(" ")),
                n => format!(" with {n} lines of {}", named(&config.fragments)),
            };
            self.paragraph(&format!("Configuration: {base}{own}."));
        }
        // What a person has set otherwise is not what every build of the harness has.
        let own: Vec<String> = recipe
            .first
            .env
            .iter()
            .filter(|(name, value)| !pinned(name, value))
            .map(|(n, v)| format!("{n}={v}"))
            .collect();
        let also = if own.is_empty() { String::new() } else { format!(", and {}", own.join(" ")) };
        let pinned = if recipe.kbuild { "LC_ALL=C, TZ=UTC and KBUILD_BUILD_*" } else { "LC_ALL=C and TZ=UTC" };
        self.paragraph(&format!("Environment: {pinned} set{also}, as in the script."));
    }
}

/// What was seen of the script, in a sentence.
fn confirmed(confirmation: &Confirmation) -> String {
    match (confirmation.outcome, confirmation.why.as_deref()) {
        (Outcome::Confirmed, _) => "It was run and shows it.".to_owned(),
        (Outcome::NotSeen, _) => "It was run and does NOT show it.".to_owned(),
        (_, Some(why)) => format!("It has not been run: {why}."),
        (_, None) => "It has not been run.".to_owned(),
    }
}

fn named(fragments: &[String]) -> String {
    if fragments.is_empty() { "its own".to_owned() } else { fragments.join(", ") }
}

/// The makes of a build.
fn makes(build: &Build) -> String {
    build.makes.iter().map(|words| crate::runner::shown(words)).collect::<Vec<_>>().join("` and `")
}

/// What an edit does, as a clause.
fn told(edit: &Edit, before: Option<&Build>) -> String {
    let mut clauses: Vec<String> = Vec::new();
    for change in &edit.changes {
        clauses.push(match change {
            FileChange::Write { path, before: Some(_), .. } => format!("{path} was changed"),
            FileChange::Write { path, before: None, .. } => format!("{path} was added"),
            FileChange::Delete { path } => format!("{path} was removed"),
            FileChange::Rename { from, to } => format!("{from} was renamed to {to}"),
            FileChange::Chmod { path, mode } => format!("{path} got the mode {mode:o}"),
            FileChange::Touch { path } => format!("{path} was touched"),
            FileChange::Object { change } => {
                let what = if change.delete.is_some() { "removed from" } else { "changed in" };
                format!("{} was {what} the object tree", change.file.as_deref().unwrap_or("a file"))
            }
        });
    }
    clauses.extend(edit.config.lines().map(|line| format!("{line} was set")));
    clauses.extend(edit.clean.iter().map(|clean| format!("`make {clean}` was run")));
    if let Some(before) = before {
        clauses.extend(command_line(before, &edit.build));
        let env = |(name, value): (&String, &String)| {
            (before.env.get(name) != Some(value)).then(|| format!("{name}={value} was set in the environment"))
        };
        clauses.extend(edit.build.env.iter().filter_map(env));
        clauses.extend(
            before
                .env
                .keys()
                .filter(|name| !edit.build.env.contains_key(*name))
                .map(|name| format!("{name} was taken out of the environment")),
        );
        clauses.extend(
            edit.build
                .tools
                .keys()
                .filter(|name| before.tools.get(*name) != edit.build.tools.get(*name))
                .map(|name| format!("another {name} came first on PATH")),
        );
    }
    if clauses.is_empty() {
        clauses.push(format!("the edit `{}` was made", edit.name));
    }
    let last = clauses.pop().unwrap_or_default();
    if clauses.is_empty() { last } else { format!("{} and {last}", clauses.join(", ")) }
}

/// How make's command line changed, if it did.
fn command_line(before: &Build, after: &Build) -> Option<String> {
    let words = |build: &Build| build.makes.first().cloned().unwrap_or_default();
    let (old, new) = (words(before), words(after));
    let quoted = |words: Vec<&String>| {
        let words: Vec<String> =
            words.into_iter().map(|word| format!("`{}`", crate::runner::shown(std::slice::from_ref(word)))).collect();
        words.join(", ")
    };
    let added = quoted(new.iter().filter(|word| !old.contains(word)).collect());
    let gone = quoted(old.iter().filter(|word| !new.contains(word)).collect());
    match (added.is_empty(), gone.is_empty()) {
        (true, true) => None,
        (false, true) => Some(format!("{added} was added to make's command line")),
        (true, false) => Some(format!("{gone} was taken from make's command line")),
        (false, false) => Some(format!("{gone} became {added} on make's command line")),
    }
}

/// Short edits of files as a unified diff.
fn diff(edit: &Edit) -> String {
    let diffs = edit.changes.iter().filter_map(|change| match change {
        FileChange::Write { path, before: Some(before), after, .. } => Some(unified(path, before, after)),
        _ => None,
    });
    let text: String = diffs.collect();
    if text.lines().count() > DIFF { String::new() } else { text }
}
