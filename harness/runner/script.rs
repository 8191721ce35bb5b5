//! A build as a script that needs nothing of the harness. It is written so that a plain diff of two shows what was varied,
//! each thing on a line of its own.

use std::collections::BTreeMap;

use super::command::{Maker, quote, shown, single};
use crate::scenario::{Experiment, parse_mode};

/// The build as a script: in its sandbox as it is, elsewhere with the places of the trees as arguments.
pub(super) fn script(
    maker: &Maker<'_>,
    env: &BTreeMap<String, String>,
    commands: &[Vec<String>],
    makeflags: &str,
    varied: bool,
) -> String {
    let (src, obj) = (&maker.src, &maker.obj);
    let usage = if src == obj { "SRCTREE" } else { "SRCTREE OBJTREE" };
    let mut text = String::from("#!/bin/sh\n# One build, as the harness ran it inside its sandbox.\n");
    text.push_str(&format!("# In trees elsewhere: sh build.sh {usage}, both absolute.\nset -e\n"));
    text.push_str(&format!("src={}\n", quote(src)));
    let mut places = String::from("-e \"s|$src|$1|g\"");
    if src != obj {
        text.push_str(&format!("obj={}\n", quote(obj)));
        places.push_str(" -e \"s|$obj|$2|g\"");
    }
    text.push_str(&format!("if [ $# -gt 0 ]; then\n\texec sh -c \"$(sed {places} \"$0\")\"\nfi\n"));
    text.push_str(&format!("[ -d \"$src\" ] || {{ echo 'usage: sh build.sh {usage}' >&2; exit 2; }}\n"));
    for tool in maker.toolchain {
        let (place, version) = (tool.place(), &tool.marker.version);
        text.push_str(&format!("[ -d {place} ] || {{ echo '{} {version} was at {place}: ", tool.offer.name));
        text.push_str(&format!("{}' >&2; exit 2; }}\n", tool.how()));
    }
    let cwd = maker.cwd();
    match cwd.strip_prefix(src.as_str()) {
        Some("") => text.push_str("cd \"$src\"\n"),
        Some(below) if below.starts_with('/') => text.push_str(&format!("cd \"$src\"{}\n", quote(below))),
        _ => text.push_str(&format!("cd {}\n", quote(&cwd))),
    }
    let experiment = maker.scenario.experiment.as_ref();
    for line in experiment.map_or_else(Vec::new, |experiment| around(experiment, varied)) {
        text.push_str(&format!("{line}\n"));
    }
    let umask = experiment.filter(|_| varied).and_then(|experiment| parse_mode(experiment.umask.as_deref()?));
    text.push_str(&format!("umask {:03o}\nrun() {{\n", umask.unwrap_or(crate::scenario::UMASK)));
    text.push_str(if experiment.is_some_and(is_run_by) { "\t$with env -i \\\n" } else { "\tenv -i \\\n" });
    for (name, value) in env {
        text.push_str(&format!("\t\t{name}={} \\\n", single(value)));
    }
    text.push_str(&format!("\t\tMAKEFLAGS={} \\\n", quote(makeflags)));
    text.push_str("\t\t\"$@\"\n}\n");
    for command in commands {
        text.push_str(&format!("run {}\n", shown(command)));
    }
    text
}

/// Whether commands are run by others that set something for them.
fn is_run_by(experiment: &Experiment) -> bool {
    experiment.random_addresses.is_some() || experiment.processors.is_some() || experiment.group.is_some()
}

/// What is set around the commands of a build, as far as a script can: by programs of util-linux and coreutils, or in words.
fn around(experiment: &Experiment, varied: bool) -> Vec<String> {
    let mut lines = Vec::new();
    let Experiment { hostname, shuffle, processors, random_addresses, directories, file_times, start, group, .. } =
        experiment;
    if is_run_by(experiment) {
        lines.push("with=".to_owned());
    }
    let mut by = |program: String| lines.push(format!("with=\"$with {program}\""));
    if random_addresses.is_some_and(|random| !(random && varied)) {
        by("setarch -R".to_owned());
    }
    if !varied {
        return lines;
    }
    match processors {
        Some(1) => by("taskset -c 0".to_owned()),
        Some(some) => by(format!("taskset -c 0-{}", some.saturating_sub(1))),
        None => {}
    }
    if let Some(group) = group {
        by(format!("setpriv --regid={group} --groups={group}"));
    }
    if let Some(name) = hostname {
        let name = quote(name);
        lines.push(format!("# The host name was {name}: unshare --uts sh -c 'hostname {name}; sh build.sh ...'"));
    }
    if let Some(older) = file_times {
        lines.push(format!(
            "find \"$src\" -exec sh -c 'for file; do touch -h -d \"@$(($(stat -c %Y \"$file\") - {older}))\" \"$file\"; done' - {{}} +"
        ));
    }
    if let Some(seed) = shuffle {
        lines.push(format!("# A tracer had each step begin up to 50 ms late, by chance from seed {seed}."));
    }
    if directories.is_some() {
        lines.push("# A tracer had directories list their names the other way round.".to_owned());
    }
    if start.is_some() {
        lines.push("# It began a minute later than the first build, or more.".to_owned());
    }
    lines
}
