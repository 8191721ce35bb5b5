use std::io::{self, Write};

use super::cut;
use crate::report::terminal::clean;
use crate::trace::{Differs, Step, compare, kbuild};

/// So many steps of a kind are told in full; the rest is counted.
const STEPS: usize = 20;
/// So many files of a step.
const FILES: usize = 12;
/// Longer commands are cut.
const COMMAND: usize = 300;

pub(super) fn write(first: &[Step], second: &[Step], out: &mut dyn Write) -> io::Result<()> {
    let found = compare(first, second);
    let equal = found.both - found.guilty.len() - found.passed_on.len() - found.unknown;
    writeln!(out, "{} steps in both builds, {equal} with the same inputs and outputs", found.both)?;
    if !found.sources.is_empty() {
        writeln!(out, "\nthe sources differ:")?;
        files("", &found.sources, out)?;
    }
    if !found.guilty.is_empty() {
        writeln!(out, "\ngot the same and made something else ({}):", found.guilty.len())?;
        for differs in found.guilty.iter().take(STEPS) {
            one(differs, &second[differs.second], out)?;
        }
        more(found.guilty.len(), out)?;
    }
    if !found.passed_on.is_empty() {
        writeln!(out, "\ngot something else ({}), the first:", found.passed_on.len())?;
        if let Some(differs) = found.passed_on.first() {
            one(differs, &second[differs.second], out)?;
        }
    }
    for (numbers, steps, which) in [(&found.only_first, first, "first"), (&found.only_second, second, "second")] {
        if !numbers.is_empty() {
            writeln!(out, "\nonly in the {which} build ({}):", numbers.len())?;
            for number in numbers.iter().take(STEPS) {
                writeln!(out, "  {}", clean(&cut(&steps[*number].name(), COMMAND)))?;
            }
            more(numbers.len(), out)?;
        }
    }
    if found.unknown > 0 {
        writeln!(out, "\n{} steps cannot be judged: contents that they read or made are not known", found.unknown)?;
    }
    Ok(())
}

fn one(differs: &Differs, step: &Step, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "  {}", clean(&cut(&step.name(), COMMAND)))?;
    if let Some(cmd) = &step.cmd {
        writeln!(out, "    {}, {}:{}", clean(&cmd.name), clean(&cmd.file), cmd.line)?;
    }
    if step.label.is_some() {
        writeln!(out, "    $ {}", clean(&cut(kbuild::body(&step.command), COMMAND)))?;
    }
    files("reads another ", &differs.inputs, out)?;
    let (in_place, made): (Vec<String>, Vec<String>) =
        differs.outputs.iter().cloned().partition(|path| differs.in_place.contains(path));
    files("makes another ", &made, out)?;
    files("rewrites, after it read it, ", &in_place, out)
}

fn files(what: &str, paths: &[String], out: &mut dyn Write) -> io::Result<()> {
    for path in paths.iter().take(FILES) {
        writeln!(out, "    - {what}{}", clean(path))?;
    }
    match paths.len().saturating_sub(FILES) {
        0 => Ok(()),
        rest => writeln!(out, "    - and {rest} more"),
    }
}

fn more(count: usize, out: &mut dyn Write) -> io::Result<()> {
    match count.saturating_sub(STEPS) {
        0 => Ok(()),
        rest => writeln!(out, "  and {rest} more"),
    }
}
