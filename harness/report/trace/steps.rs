use std::io::{self, Write};

use super::{Show, cut, ended, time};
use crate::report::terminal::clean;
use crate::trace::{Kind, Step, Trace, kbuild};

/// Longer commands are cut: the whole is in the JSON.
const COMMAND: usize = 400;

pub(super) fn write(trace: &Trace, steps: &[Step], show: Show<'_>, out: &mut dyn Write) -> io::Result<()> {
    for step in steps {
        one(step, show, out)?;
    }
    let of = |kind: Kind| steps.iter().filter(|step| step.kind == kind).count();
    let (recipes, descents, queries) = (of(Kind::Recipe), of(Kind::Descent), of(Kind::Query));
    writeln!(out, "{recipes} steps, {descents} makes below, {queries} questions of makefiles")?;
    for gap in &trace.gaps {
        writeln!(out, "not whole: {gap}")?;
    }
    Ok(())
}

fn one(step: &Step, show: Show<'_>, out: &mut dyn Write) -> io::Result<()> {
    let kind = match step.kind {
        Kind::Recipe => "",
        Kind::Descent => ", runs a make",
        Kind::Query => ", asked by a makefile",
    };
    let end = ended(step.end);
    let wall = time(step.ended.saturating_sub(step.began));
    let cpu = time(step.cpu);
    writeln!(out, "{}  [{wall}, cpu {cpu}{end}{kind}]", clean(&cut(&step.name(), COMMAND)))?;
    if let Some(cmd) = &step.cmd {
        writeln!(out, "  {}, {}:{}", clean(&cmd.name), clean(&cmd.file), cmd.line)?;
    }
    if step.label.is_some() {
        writeln!(out, "  $ {}", clean(&cut(kbuild::body(&step.command), COMMAND)))?;
    }
    let mut list = |what: &str, paths: &mut dyn Iterator<Item = &str>| -> io::Result<()> {
        for path in paths {
            writeln!(out, "  - {what} {}", clean(path))?;
        }
        Ok(())
    };
    list("reads", &mut step.inputs.iter().map(|content| &*content.path))?;
    if show.looks {
        list("misses", &mut step.missing.iter().map(String::as_str))?;
    }
    if show.system {
        list("uses", &mut step.tools.iter().map(String::as_str))?;
    }
    let in_place = |path: &&str| step.in_place.iter().any(|other| other == path);
    list("makes", &mut step.outputs.iter().map(|content| &*content.path).filter(|path| !in_place(path)))?;
    list("rewrites", &mut step.in_place.iter().map(String::as_str))?;
    list("removes", &mut step.removed.iter().map(String::as_str))?;
    list("wants to reach", &mut step.network.iter().map(String::as_str))?;
    list("writes outside", &mut step.strays.iter().map(String::as_str))
}
