use std::io::{self, Write};
use std::path::Path;

use super::{Show, command, cut, ended, here, seen_from, time};
use crate::trace::Trace;

/// Longer command lines are cut: the whole is in the JSON.
const COMMAND: usize = 400;

pub(super) fn write(trace: &Trace, show: Show<'_>, out: &mut dyn Write) -> io::Result<()> {
    let mut children: Vec<Vec<usize>> = vec![Vec::new(); trace.processes.len()];
    let mut tops = Vec::new();
    for (number, process) in trace.processes.iter().enumerate() {
        match process.parent {
            Some(parent) => children[parent as usize].push(number),
            None => tops.push(number),
        }
    }
    let here = here(trace);
    let mut open: Vec<(usize, usize)> = tops.into_iter().rev().map(|number| (number, 0)).collect();
    while let Some((number, depth)) = open.pop() {
        one(trace, show, here, number, depth, out)?;
        open.extend(children[number].iter().rev().map(|child| (*child, depth + 1)));
    }
    for gap in &trace.gaps {
        writeln!(out, "not whole: {gap}")?;
    }
    Ok(())
}

fn one(trace: &Trace, show: Show<'_>, here: &Path, number: usize, depth: usize, out: &mut dyn Write) -> io::Result<()> {
    let process = &trace.processes[number];
    let indent = "  ".repeat(depth);
    let end = ended(process.end);
    let wall = process.ended.saturating_sub(process.began);
    let read = if process.programs.last().is_some_and(|program| program.captured) { ", output read" } else { "" };
    writeln!(
        out,
        "{indent}{}  [{}, cpu {}{end}{read}]",
        cut(&command(trace, process), COMMAND),
        time(wall),
        time(process.cpu)
    )?;
    let cwd = process.programs.last().map(|program| trace.path(program.cwd)).filter(|cwd| *cwd != here);
    if let Some(cwd) = cwd {
        writeln!(out, "{indent}  - in {}", seen_from(here, cwd))?;
    }
    for action in process.actions.iter().filter(|action| show.wants(trace, action)) {
        write!(out, "{indent}  - {} {}", action.deed.name(), seen_from(here, trace.path(action.path)))?;
        if let Some(other) = action.other {
            write!(out, " → {}", seen_from(here, trace.path(other)))?;
        }
        writeln!(out)?;
    }
    Ok(())
}
