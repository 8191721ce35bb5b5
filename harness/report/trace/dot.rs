use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use super::{Show, command, cut, here, seen_from};
use crate::trace::{Deed, Trace};

/// A box is as wide as its text.
const COMMAND: usize = 60;

/// Processes that touched no file that is shown are left out: they only start others.
pub(super) fn write(trace: &Trace, show: Show<'_>, out: &mut dyn Write) -> io::Result<()> {
    let here = here(trace);
    let mut files: BTreeMap<u32, String> = BTreeMap::new();
    let mut edges: BTreeSet<(bool, usize, u32)> = BTreeSet::new();
    for (number, process) in trace.processes.iter().enumerate() {
        for action in process.actions.iter().filter(|action| show.wants(trace, action)) {
            let (reads, path) = match action.deed {
                Deed::Read => (true, action.path),
                Deed::Create | Deed::Update => (false, action.path),
                Deed::Rename | Deed::Link => (false, action.other.unwrap_or(action.path)),
                _ => continue,
            };
            files.entry(path).or_insert_with(|| seen_from(here, trace.path(path)));
            edges.insert((reads, number, path));
        }
    }
    writeln!(out, "digraph build {{\n  rankdir=LR;\n  node [fontname=\"monospace\"];")?;
    let shown: BTreeSet<usize> = edges.iter().map(|(_, process, _)| *process).collect();
    for process in shown {
        let label = quoted(&cut(&command(trace, &trace.processes[process]), COMMAND));
        writeln!(out, "  p{process} [shape=box, label={label}];")?;
    }
    for (file, name) in &files {
        writeln!(out, "  f{file} [shape=ellipse, label={}];", quoted(name))?;
    }
    for (reads, process, file) in edges {
        match reads {
            true => writeln!(out, "  f{file} -> p{process};")?,
            false => writeln!(out, "  p{process} -> f{file};")?,
        }
    }
    writeln!(out, "}}")
}

/// In its quoted strings only the quote is special, and what `\` makes of the letter after it.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
