//! A [`Trace`] for people and for other programs. Pure: text goes to a [`Write`].

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::terminal::clean;
use crate::runner::shown;
use crate::trace::{Action, Deed, End, Process, Step, Trace};

mod against;
mod dot;
mod perfetto;
mod steps;
mod text;

/// Where nothing that belongs to a build is made or changed.
const SYSTEM: [&str; 10] = ["/usr", "/lib", "/lib64", "/bin", "/sbin", "/etc", "/opt", "/dev", "/proc", "/sys"];

/// What of a trace is shown to people; a program that reads JSON is given everything.
#[derive(Debug, Clone, Copy, Default)]
pub struct Show<'d> {
    /// The directories of the build, wherever they are.
    pub dirs: &'d [PathBuf],
    /// Files of the system: programs, libraries, system headers, devices.
    pub system: bool,
    /// What was looked up, found or not.
    pub looks: bool,
}

impl Show<'_> {
    fn wants(self, trace: &Trace, action: &Action) -> bool {
        let path = trace.path(action.path);
        let system = || SYSTEM.iter().any(|dir| path.starts_with(dir));
        (self.system || self.dirs.iter().any(|dir| path.starts_with(dir)) || !system())
            && (self.looks || !matches!(action.deed, Deed::Found | Deed::Missing))
    }
}

/// As a tree of processes with what each did, for people.
///
/// # Errors
/// As writing does.
pub fn text(trace: &Trace, show: Show<'_>, out: &mut dyn Write) -> io::Result<()> {
    text::write(trace, show, out)
}

/// As the steps of a build with what each read and made, for people.
///
/// # Errors
/// As writing does.
pub fn steps(trace: &Trace, steps: &[Step], show: Show<'_>, out: &mut dyn Write) -> io::Result<()> {
    steps::write(trace, steps, show, out)
}

/// Where two builds part, of which these are the steps, for people.
///
/// # Errors
/// As writing does.
pub fn against(first: &[Step], second: &[Step], out: &mut dyn Write) -> io::Result<()> {
    against::write(first, second, out)
}

/// As a graph of processes and the files between them, in the language of Graphviz (<https://graphviz.org/doc/info/lang.html>).
///
/// # Errors
/// As writing does.
pub fn dot(trace: &Trace, show: Show<'_>, out: &mut dyn Write) -> io::Result<()> {
    dot::write(trace, show, out)
}

/// As a time line, in the Trace Event Format that Perfetto and Chrome read: complete events, in microseconds, one lane
/// for each process that runs beside others.
///
/// # Errors
/// As writing does.
pub fn perfetto(trace: &Trace, out: &mut dyn Write) -> io::Result<()> {
    perfetto::write(trace, out)
}

/// The command line of the last program of a process, or of the process it is a copy of.
fn command(trace: &Trace, process: &Process) -> String {
    let mut own = process;
    let mut copy = "";
    while own.programs.is_empty() {
        let Some(parent) = own.parent else { return "(nothing ran)".to_owned() };
        own = &trace.processes[parent as usize];
        copy = "copy of ";
    }
    let last = own.programs.last().map(|program| program.argv.as_slice()).unwrap_or_default();
    let words: Vec<String> = last.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    format!("{copy}{}", clean(&shown(&words)))
}

/// The working directory of the command, from which paths are told.
fn here(trace: &Trace) -> &Path {
    let first = trace.processes.first().and_then(|process| process.programs.first());
    first.map_or(Path::new("/"), |program| trace.path(program.cwd))
}

/// How something ended, if there is anything to say of that.
fn ended(end: Option<End>) -> String {
    match end {
        Some(End::Exit(0)) => String::new(),
        Some(End::Exit(code)) => format!(", exit {code}"),
        Some(End::Signal(signal)) => format!(", killed by signal {signal}"),
        None => ", did not end".to_owned(),
    }
}

/// Microseconds, for people.
fn time(micros: u64) -> String {
    match micros {
        0..1_000_000 => format!("{:.1} ms", micros as f64 / 1e3),
        _ => format!("{:.2} s", micros as f64 / 1e6),
    }
}

/// A path as seen from a directory.
fn seen_from(dir: &Path, path: &Path) -> String {
    let short = match path.strip_prefix(dir) {
        Ok(rest) if rest.as_os_str().is_empty() => Path::new("."),
        Ok(rest) => rest,
        Err(_) => path,
    };
    clean(&short.to_string_lossy()).into_owned()
}

/// The first `most` characters.
fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::Program;

    fn sample() -> Trace {
        let program = |at, argv: &[&str], captured| Program {
            at,
            file: 0,
            argv: argv.iter().map(Into::into).collect(),
            cwd: 1,
            env: 0,
            captured,
        };
        let act = |at, deed, path, other| Action { at, deed, path, other, content: None };
        let process = |parent, began, ended, programs, actions| Process {
            parent,
            born: 0,
            pid: 10,
            began,
            ended,
            cpu: 1500,
            end: Some(End::Exit(0)),
            programs,
            actions,
        };
        let make = process(
            None,
            0,
            90_000,
            vec![program(0, &["make", "-j2"], false)],
            vec![act(1, Deed::Read, 2, None), act(2, Deed::Read, 0, None)],
        );
        let shell = process(Some(0), 1000, 3000, vec![program(3, &["sh", "-c", "pwd; ls"], true)], vec![]);
        let copy = process(Some(1), 1500, 2000, vec![], vec![act(4, Deed::List, 1, None)]);
        let cc = process(
            Some(0),
            2500,
            80_000,
            vec![program(5, &["cc", "-o", "a b", "\"a\x1b.c"], false)],
            vec![
                act(6, Deed::Missing, 5, None),
                act(7, Deed::Create, 3, None),
                act(8, Deed::Rename, 3, Some(4)),
                act(9, Deed::Read, 4, None),
            ],
        );
        let paths = ["/usr/bin/make", "/w", "/w/Makefile", "/w/a.tmp", "/w/a \"b\"", "/w/x.h"];
        Trace {
            processes: vec![make, shell, copy, cc],
            paths: paths.iter().map(Into::into).collect(),
            ..Trace::default()
        }
    }

    fn of(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> String {
        let mut out = Vec::new();
        write(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn text_is_a_tree_of_processes() {
        let shown = of(|out| text(&sample(), Show::default(), out));
        insta::assert_snapshot!(shown, @r#"
        make -j2  [90.0 ms, cpu 1.5 ms]
          - read Makefile
          sh -c 'pwd; ls'  [2.0 ms, cpu 1.5 ms, output read]
            copy of sh -c 'pwd; ls'  [0.5 ms, cpu 1.5 ms]
              - list .
          cc -o 'a b' '"a\u{1b}.c'  [77.5 ms, cpu 1.5 ms]
            - create a.tmp
            - rename a.tmp → a "b"
            - read a "b"
        "#);
        let all = of(|out| text(&sample(), Show { system: true, looks: true, dirs: &[] }, out));
        assert!(all.contains("read /usr/bin/make") && all.contains("missing x.h"), "{all}");
    }

    #[test]
    fn a_graph_has_what_goes_from_one_process_to_another() {
        insta::assert_snapshot!(of(|out| dot(&sample(), Show::default(), out)), @r#"
        digraph build {
          rankdir=LR;
          node [fontname="monospace"];
          p0 [shape=box, label="make -j2"];
          p3 [shape=box, label="cc -o 'a b' '\"a\\u{1b}.c'"];
          f2 [shape=ellipse, label="Makefile"];
          f3 [shape=ellipse, label="a.tmp"];
          f4 [shape=ellipse, label="a \"b\""];
          p3 -> f3;
          p3 -> f4;
          f2 -> p0;
          f4 -> p3;
        }
        "#);
    }

    #[test]
    fn a_time_line_has_a_lane_for_each_of_those_at_work() {
        let line: serde_json::Value = serde_json::from_str(&of(|out| perfetto(&sample(), out))).unwrap();
        let events = line["traceEvents"].as_array().unwrap();
        let lanes: Vec<(&str, u64)> =
            events.iter().map(|e| (e["name"].as_str().unwrap(), e["tid"].as_u64().unwrap())).collect();
        assert_eq!(lanes, [("make", 0), ("sh", 1), ("copy of sh", 2), ("cc", 2)]);
        assert_eq!(
            (&events[3]["ts"], &events[3]["dur"], &events[3]["ph"]),
            (&2500.into(), &77_500.into(), &"X".into())
        );
    }

    #[test]
    fn what_no_terminal_should_obey_is_told_in_words() {
        let shown = of(|out| text(&sample(), Show::default(), out));
        assert!(!shown.contains('\x1b') && shown.contains("\\u{1b}"));
    }
}
