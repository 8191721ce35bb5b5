//! What changed between two runs of one cell.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{PastCell, PastRun};

/// How many files are named.
const NAMED: usize = 12;
/// What is not known of sources that are a plain directory; what steps read of them is.
const DIRECTORY: &str = "makefiles and all that no step reads in the directory of the sources";

/// What is recorded and is not the same in two runs of a cell.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Changed {
    /// What changed, the likeliest reason first.
    pub what: Vec<Change>,
    /// How many more files of the toolchain changed than are named.
    #[serde(default, skip_serializing_if = "is_none")]
    pub more_files: usize,
    /// What was not recorded on both sides, and may have changed as well.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_recorded: Vec<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it over so")]
fn is_none(number: &usize) -> bool {
    *number == 0
}

/// One thing that changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Change {
    /// Which.
    pub what: What,
    /// The tool's name, or the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it was: a version, a commit, the first digits of a digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// What it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

/// A kind of thing that can change between runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// The kernel's version.
    Kernel,
    /// What identifies the sources: a commit, a package's version, a digest.
    Sources,
    /// The files of the sources that steps of the first clean build read, by their digest.
    Read,
    /// The scenario as it is run, by its digest.
    Scenario,
    /// A program of the toolchain.
    Tool,
    /// A file that builds used, by its digest.
    File,
    /// The version of kbuild-repro.
    Harness,
    /// The host: operating system, kernel and architecture. Not one of a build's inputs, and told all the same.
    Host,
}

impl Changed {
    /// Whether all that goes into a build is the same, as far as it is recorded.
    #[must_use]
    pub fn same_inputs(&self) -> bool {
        let same = self.what.iter().all(|change| change.what == What::Host);
        same && !self.not_recorded.iter().any(|what| what == DIRECTORY)
    }
}

impl fmt::Display for Change {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name.as_deref();
        out.write_str(match self.what {
            What::Kernel => "kernel",
            What::Sources => "sources",
            What::Read => "what steps read of the sources",
            What::Scenario => "the scenario",
            What::Tool | What::File => name.unwrap_or("a tool"),
            What::Harness => "kbuild-repro",
            What::Host => "host",
        })?;
        match (&self.from, &self.to) {
            _ if matches!(self.what, What::Scenario | What::Read) => out.write_str(" was changed"),
            (Some(from), Some(to)) if from != to => {
                write!(out, "{} {from} → {to}", if self.what == What::Tool { ":" } else { "" })
            }
            (Some(_), Some(_)) => out.write_str(" is another file of the same version"),
            (None, Some(to)) => write!(out, " {to} is new"),
            (Some(from), None) => write!(out, " {from} is used no more"),
            (None, None) => out.write_str(" changed"),
        }
    }
}

impl fmt::Display for Changed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, change) in self.what.iter().enumerate() {
            write!(out, "{}{change}", if number > 0 { "; " } else { "" })?;
        }
        if self.more_files > 0 {
            write!(out, "; and {} more files of the toolchain", self.more_files)?;
        }
        if self.what.is_empty() {
            out.write_str("nothing that is recorded")?;
        }
        if !self.not_recorded.is_empty() {
            write!(out, " (not recorded: {})", self.not_recorded.join(", "))?;
        }
        Ok(())
    }
}

/// Whether all that goes into the builds of two runs of a cell is the same, as far as it is recorded.
pub(super) fn same_inputs(before: (&PastRun, &PastCell), after: (&PastRun, &PastCell)) -> bool {
    // Most cells of most nights are plainly the same, and there are thousands.
    !is_directory(after.1) && plainly(before, after) || between(before, after).same_inputs()
}

/// Whether tools and files are the same in the same order, and the rest is.
fn plainly((old_run, old): (&PastRun, &PastCell), (new_run, new): (&PastRun, &PastCell)) -> bool {
    let own = |run: &PastRun, cell: &PastCell| (cell.read, cell.scenario, run.harness == new_run.harness);
    own(old_run, old) == own(new_run, new)
        && (&old.kernel, &old.source) == (&new.kernel, &new.source)
        && old_run.tool_list(old).eq(new_run.tool_list(new))
        && old_run.file_list(old).eq(new_run.file_list(new))
}

/// Whether the sources are known by the name of their directory alone.
fn is_directory(cell: &PastCell) -> bool {
    cell.source == "directory" || cell.source.starts_with('/')
}

/// What changed from one run of a cell to another.
pub(super) fn between(before: (&PastRun, &PastCell), after: (&PastRun, &PastCell)) -> Changed {
    let mut changed = Changed::default();
    let mut add = |what: What, name: Option<&str>, from: Option<&str>, to: Option<&str>| {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        changed.what.push(Change { what, name: owned(name), from: owned(from), to: owned(to) });
    };
    let ((old_run, old), (new_run, new)) = (before, after);
    if old.kernel != new.kernel && (old.kernel.is_some() && new.kernel.is_some()) {
        add(What::Kernel, None, old.kernel.as_deref(), new.kernel.as_deref());
    }
    if old.source != new.source {
        add(What::Sources, None, Some(&old.source), Some(&new.source));
    }
    // Where the commit is another, that is the better word for it.
    if let (Some(a), Some(b)) = (&old.read, &new.read)
        && a != b
        && old.source == new.source
    {
        add(What::Read, None, Some(&a.short()), Some(&b.short()));
    }
    if let (Some(a), Some(b)) = (&old.scenario, &new.scenario)
        && a != b
    {
        add(What::Scenario, None, Some(&a.short()), Some(&b.short()));
    }
    let (a, b) = (old_run.tools(old), new_run.tools(new));
    // A skipped cell has no tools, and some are asked for their version only where they are used.
    for (name, tool) in &b {
        let Some(other) = a.get(name) else { continue };
        let digests = tool.sha256.is_some() && other.sha256.is_some() && tool.sha256 != other.sha256;
        if tool.version != other.version || digests {
            add(What::Tool, Some(name), Some(&other.version), Some(&tool.version));
        }
    }
    if old_run.harness != new_run.harness {
        add(What::Harness, None, Some(&old_run.harness), Some(&new_run.harness));
    }
    let told: Vec<&str> = b.values().map(|tool| tool.path.as_str()).collect();
    let files = old_run.files(old).zip(new_run.files(new));
    match &files {
        // What one alone used is a consequence as often as a cause: a step that is not run reads nothing.
        Some((a, b)) => {
            let differs = |(path, digest): &(&&str, &Option<_>)| {
                a.get(*path).is_some_and(|other| other.is_some() && digest.is_some() && other != *digest)
                    && !told.contains(path)
            };
            let differ: Vec<_> = b.iter().filter(differs).collect();
            for (path, digest) in differ.iter().take(NAMED) {
                let short = |digest: Option<crate::artifact::Digest>| digest.map(|digest| digest.short());
                let (from, to) = (short(a[*path]), short(**digest));
                add(What::File, Some(path), from.as_deref(), to.as_deref());
            }
            changed.more_files = differ.len().saturating_sub(NAMED);
        }
        None => changed.not_recorded.push("files of the toolchain".into()),
    }
    if old_run.host != new_run.host {
        let owned = |text: &str| Some(text.to_owned());
        let change = Change { what: What::Host, name: None, from: owned(&old_run.host), to: owned(&new_run.host) };
        changed.what.push(change);
    }
    if old.scenario.is_none() || new.scenario.is_none() {
        changed.not_recorded.push("the scenario".into());
    }
    // A directory is known by its name.
    if is_directory(new) {
        changed.not_recorded.push(DIRECTORY.into());
    }
    changed
}
