//! The steps of a run's builds as a time line, in the Trace Event Format that Perfetto and Chrome read
//! (<https://perfetto.dev/docs/faq#is-there-a-file-format-to-describe-traces-in-json>). A build is a process, whose time
//! begins at 0, so that builds lie side by side; what runs beside something else is in a lane of its own.

use std::io::{self, Write};

use serde_json::{Map, Value, json};

use crate::artifact::steps::Steps;
use crate::trace::{Kind, Step};

/// The most characters of a step's name.
const NAME: usize = 80;

/// A time line that is being written.
pub struct TimeLine<'w> {
    out: &'w mut dyn Write,
    /// How many builds it has.
    builds: usize,
}

impl<'w> TimeLine<'w> {
    /// Begins one.
    ///
    /// # Errors
    /// What the writer answers.
    pub fn new(out: &'w mut dyn Write) -> io::Result<Self> {
        out.write_all(b"{\"displayTimeUnit\":\"ms\",\"traceEvents\":[")?;
        Ok(Self { out, builds: 0 })
    }

    /// Adds a build.
    ///
    /// # Errors
    /// What the writer answers.
    pub fn build(&mut self, scenario: &str, build: &str, steps: &Steps) -> io::Result<()> {
        self.builds += 1;
        let pid = self.builds;
        // What runs another make is as long as that; its steps tell more.
        let mut own: Vec<&Step> = steps.steps.iter().filter(|step| step.kind == Kind::Recipe).collect();
        own.sort_by_key(|step| (step.began, step.ended));
        let lanes = lanes(own.iter().map(|step| (step.began, step.ended)));
        let named = |what: &str, tid: usize, name: Value| json!({ "name": what, "ph": "M", "pid": pid, "tid": tid, "args": name });
        self.event(&named("process_name", 0, json!({ "name": format!("{scenario} {build}") })))?;
        self.event(&named("process_sort_index", 0, json!({ "sort_index": pid })))?;
        for lane in 0..lanes.iter().max().map_or(0, |most| most + 1) {
            self.event(&named("thread_name", lane, json!({ "name": format!("lane {}", lane + 1) })))?;
        }
        for (step, lane) in own.iter().zip(lanes) {
            self.event(&slice(step, pid, lane))?;
        }
        Ok(())
    }

    /// Ends it. Returns how many builds it has.
    ///
    /// # Errors
    /// What the writer answers.
    pub fn end(self) -> io::Result<usize> {
        self.out.write_all(b"\n]}\n")?;
        Ok(self.builds)
    }

    fn event(&mut self, event: &Value) -> io::Result<()> {
        // The first event of all names the first build.
        let first = self.builds == 1 && event["name"] == "process_name";
        self.out.write_all(if first { b"\n" } else { b",\n" })?;
        Ok(serde_json::to_writer(&mut *self.out, event)?)
    }
}

/// A name, as much of it as there is room for; the command is in the arguments.
fn shortened(name: &str) -> String {
    let short: String = name.chars().take(NAME).collect();
    if short.len() < name.len() { short + "…" } else { short }
}

fn slice(step: &Step, pid: usize, lane: usize) -> Value {
    let mut args =
        Map::from_iter([("command".to_owned(), json!(step.command)), ("cpu_us".to_owned(), json!(step.cpu))]);
    if let Some(cmd) = &step.cmd {
        args.insert("cmd".to_owned(), json!(cmd.name));
        args.insert("makefile".to_owned(), json!(format!("{}:{}", cmd.file, cmd.line)));
    }
    args.extend(step.target.as_ref().map(|target| ("target".to_owned(), json!(target))));
    json!({
        "name": shortened(&step.name()), "cat": "step", "ph": "X", "ts": step.began, "dur": step.ended.saturating_sub(step.began),
        "pid": pid, "tid": lane, "args": args,
    })
}

/// Lanes for what begins and ends, given in the order of beginnings: each has the first that is free.
pub(super) fn lanes(spans: impl Iterator<Item = (u64, u64)>) -> Vec<usize> {
    let mut ends: Vec<u64> = Vec::new();
    let free = |(began, ended): (u64, u64)| {
        let lane = ends.iter().position(|end| *end <= began).unwrap_or(ends.len());
        if lane == ends.len() {
            ends.push(0);
        }
        ends[lane] = ended;
        lane
    };
    spans.map(free).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(label: &str, began: u64, ended: u64, kind: Kind) -> Step {
        Step { kind, label: Some(label.into()), command: "cc".into(), began, ended, ..Step::default() }
    }

    #[test]
    fn builds_are_processes_and_what_runs_at_once_has_lanes() {
        let steps = |all: Vec<Step>| Steps { steps: all, ..Steps::default() };
        let mut text = Vec::new();
        let mut line = TimeLine::new(&mut text).expect("written");
        let all = vec![
            step("CC a.o", 10, 50, Kind::Recipe),
            step("make", 0, 90, Kind::Descent),
            step("CC b.o", 20, 30, Kind::Recipe),
            step("CC \"c\"\n.o", 30, 60, Kind::Recipe),
        ];
        line.build("t/a", "control/clean", &steps(all)).expect("written");
        line.build("t/a", "edit-1/oracle", &steps(vec![step("LD x", 0, 1, Kind::Recipe)])).expect("written");
        assert_eq!(line.end().expect("written"), 2);
        insta::assert_snapshot!(String::from_utf8(text).expect("UTF-8"), @r##"
        {"displayTimeUnit":"ms","traceEvents":[
        {"args":{"name":"t/a control/clean"},"name":"process_name","ph":"M","pid":1,"tid":0},
        {"args":{"sort_index":1},"name":"process_sort_index","ph":"M","pid":1,"tid":0},
        {"args":{"name":"lane 1"},"name":"thread_name","ph":"M","pid":1,"tid":0},
        {"args":{"name":"lane 2"},"name":"thread_name","ph":"M","pid":1,"tid":1},
        {"args":{"command":"cc","cpu_us":0},"cat":"step","dur":40,"name":"CC a.o","ph":"X","pid":1,"tid":0,"ts":10},
        {"args":{"command":"cc","cpu_us":0},"cat":"step","dur":10,"name":"CC b.o","ph":"X","pid":1,"tid":1,"ts":20},
        {"args":{"command":"cc","cpu_us":0},"cat":"step","dur":30,"name":"CC \"c\"\n.o","ph":"X","pid":1,"tid":1,"ts":30},
        {"args":{"name":"t/a edit-1/oracle"},"name":"process_name","ph":"M","pid":2,"tid":0},
        {"args":{"sort_index":2},"name":"process_sort_index","ph":"M","pid":2,"tid":0},
        {"args":{"name":"lane 1"},"name":"thread_name","ph":"M","pid":2,"tid":0},
        {"args":{"command":"cc","cpu_us":0},"cat":"step","dur":1,"name":"LD x","ph":"X","pid":2,"tid":0,"ts":0}
        ]}
        "##);
    }

    #[test]
    fn a_time_line_without_builds_is_one() {
        let mut text = Vec::new();
        assert_eq!(TimeLine::new(&mut text).and_then(TimeLine::end).expect("written"), 0);
        assert_eq!(serde_json::from_slice::<Value>(&text).expect("JSON")["traceEvents"], json!([]));
    }
}
