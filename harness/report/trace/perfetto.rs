use std::io::{self, Write};

use serde_json::{Value, json};

use super::super::perfetto::lanes;
use super::command;
use crate::trace::{Process, Trace};

pub(super) fn write(trace: &Trace, out: &mut dyn Write) -> io::Result<()> {
    let mut order: Vec<usize> = (0..trace.processes.len()).collect();
    order.sort_by_key(|number| (trace.processes[*number].began, *number));
    let lanes = lanes(order.iter().map(|number| (trace.processes[*number].began, trace.processes[*number].ended)));
    let event = |(number, lane): (&usize, usize)| (*number, event(trace, &trace.processes[*number], lane));
    let mut events: Vec<(usize, Value)> = order.iter().zip(lanes).map(event).collect();
    events.sort_by_key(|(number, _)| *number);
    let events: Vec<Value> = events.into_iter().map(|(_, event)| event).collect();
    serde_json::to_writer(&mut *out, &json!({ "displayTimeUnit": "ms", "traceEvents": events }))?;
    writeln!(out)
}

fn event(trace: &Trace, process: &Process, lane: usize) -> Value {
    let line = command(trace, process);
    let copy = if line.starts_with("copy of ") { "copy of " } else { "" };
    let program = line[copy.len()..].split(' ').next().unwrap_or_default();
    let name = program.rsplit('/').next().unwrap_or(program);
    json!({
        "name": format!("{copy}{name}"),
        "cat": "process",
        "ph": "X",
        "ts": process.began,
        "dur": process.ended.saturating_sub(process.began),
        "pid": 1,
        "tid": lane,
        "args": { "command": line, "cpu_us": process.cpu, "pid": process.pid },
    })
}
