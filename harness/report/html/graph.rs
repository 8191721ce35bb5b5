//! The steps around the one to blame, as a picture: who made what it reads, what it makes, and who reads that.

use std::collections::BTreeSet;

use maud::{Markup, html};

use super::text::{name, short, tail};
use crate::artifact::record::ScenarioRecord;
use crate::scenario::Class;
use crate::trace::{Kind, Step};
use crate::verdict::{Cause, Fault, Finding};

/// How many files and steps a column has.
const ROWS: usize = 9;
/// Measures of a picture.
const WIDTH: usize = 212;
const GAP: usize = 56;
const ROW: usize = 38;
const HEIGHT: usize = 26;
/// Above the nodes: the column's name, and the way back of what a step reads of its own.
const TOP: usize = 44;
/// How many characters a node has room for.
const CHARACTERS: usize = 29;

/// A file or a step.
struct Node<'s> {
    text: &'s str,
    class: &'static str,
}

/// A line between a node and the one that is told by its place in the next column.
struct Edge {
    /// Column and row.
    from: (usize, usize),
    to: (usize, usize),
    class: &'static str,
}

/// The steps around the one that a finding comes from; none where it was not traced.
pub(super) fn figure(record: &ScenarioRecord, finding: &Finding, number: usize) -> Option<Markup> {
    let cause = finding.cause.as_ref().filter(|_| finding.name.class() != Class::Cost)?;
    let (build, steps, at) = place(record, finding, cause)?;
    let names: Vec<String> = steps.iter().map(Step::name).collect();
    let around = Around::of(steps, at, cause);
    Some(around.draw(build, &names, cause, number))
}

/// The build in which the step is found: that in which it went wrong, or, if it was not run there, one in which it ran.
fn place<'r>(record: &'r ScenarioRecord, finding: &Finding, cause: &Cause) -> Option<(&'r str, &'r [Step], usize)> {
    let wanted = [Some(&cause.build), Some(&finding.build), finding.against.as_ref()].into_iter().flatten();
    let order = wanted.chain(record.builds.iter().map(|build| &build.id));
    order.filter_map(|id| record.traces.get_key_value(id)).find_map(|(id, steps)| {
        let own = |step: &Step| step.kind == Kind::Recipe;
        let made = |step: &Step| cause.target.is_some() && step.target == cause.target;
        let exact = steps.steps.iter().position(|step| own(step) && made(step) && step.name() == cause.step);
        let at = exact.or_else(|| steps.steps.iter().position(|step| own(step) && step.name() == cause.step))?;
        Some((id.as_str(), &steps.steps[..], at))
    })
}

/// What lies around a step, at most two edges away.
struct Around<'s> {
    /// Numbers of the steps that made what it reads.
    before: Vec<usize>,
    /// What it reads, with the place in `before` of who made it.
    inputs: Vec<(&'s str, Option<usize>)>,
    at: usize,
    outputs: Vec<&'s str>,
    /// Numbers of the steps that read what it made, and the place in `outputs` of what they read.
    after: Vec<(usize, usize)>,
    /// How many inputs, outputs and readers there are in all.
    all: [usize; 3],
    /// Inputs by which the fault came in.
    guilty: BTreeSet<&'s str>,
}

impl<'s> Around<'s> {
    fn of(steps: &'s [Step], at: usize, cause: &'s Cause) -> Self {
        let step = &steps[at];
        let mut inputs: Vec<&str> = step.inputs.iter().map(|content| &*content.path).collect();
        let mut guilty: BTreeSet<&str> = BTreeSet::new();
        match cause.fault {
            Fault::Skipped => {
                // Of a source that the step reads itself there is no way: the words name it.
                let named = || cause.why.split('`').skip(1).step_by(2).find(|path| inputs.contains(path));
                guilty.extend(cause.way.last().map(String::as_str).or_else(named));
            }
            Fault::OwnOutput => {
                let own = step.in_place.iter().map(String::as_str);
                let target = cause.target.iter().map(String::as_str);
                guilty.extend(target.chain(own.clone()).filter(|path| own.clone().any(|it| it == *path)));
                guilty.extend(cause.target.as_deref());
            }
            Fault::Order => guilty.extend(step.missing.iter().map(String::as_str)),
            _ => guilty.extend(cause.way.last().map(String::as_str).filter(|path| inputs.contains(path))),
        }
        // A way can end with a command, which is no file; what is said of one is in the words beside the picture.
        guilty.retain(|path| inputs.contains(path) || path.starts_with("src/") || path.starts_with("obj/"));
        inputs.extend(guilty.iter().filter(|path| !step.inputs.iter().any(|content| *content.path == ***path)));
        let made = |path: &str| {
            let of = |(other, step): &(usize, &Step)| {
                *other != at && step.kind == Kind::Recipe && step.outputs.iter().any(|content| &*content.path == path)
            };
            steps.iter().enumerate().filter(of).map(|(other, _)| other).next_back()
        };
        let mut inputs: Vec<(&str, Option<usize>)> = inputs.into_iter().map(|path| (path, made(path))).collect();
        inputs.sort_by_key(|(path, by)| (!guilty.contains(path), by.is_none(), *path));
        let mut outputs: Vec<&str> = step.outputs.iter().map(|content| &*content.path).collect();
        outputs.sort_by_key(|path| (Some(*path) != cause.target.as_deref(), *path));
        let mut all = [inputs.len(), outputs.len(), 0];
        inputs.truncate(ROWS);
        outputs.truncate(ROWS);
        // In the order of what they made, so that lines cross little.
        let mut before: Vec<usize> = Vec::new();
        for by in inputs.iter().filter_map(|(_, by)| *by) {
            if !before.contains(&by) {
                before.push(by);
            }
        }
        let mut after = Vec::new();
        for (number, other) in steps.iter().enumerate() {
            let reads = |path: &str| other.inputs.iter().any(|content| &*content.path == path);
            let read = outputs.iter().position(|path| reads(path));
            if let Some(read) = read.filter(|_| number != at && other.kind == Kind::Recipe && other.began >= step.ended)
            {
                all[2] += 1;
                after.push((number, read));
            }
        }
        after.truncate(ROWS);
        Self { before, inputs, at, outputs, after, all, guilty }
    }

    /// The nodes by column, and the lines between them.
    fn lay<'n>(&'n self, names: &'n [String], cause: &Cause) -> ([Vec<Node<'n>>; 5], Vec<Edge>)
    where
        's: 'n,
    {
        let step = |number: &usize| Node { text: &names[*number], class: "step" };
        let guilty = |path: &str| self.guilty.contains(path);
        let file = |path: &'n str| Node { text: path, class: if guilty(path) { "file guilty" } else { "file" } };
        let columns = [
            self.before.iter().map(step).collect(),
            self.inputs.iter().map(|(path, _)| file(path)).collect(),
            vec![Node { text: &names[self.at], class: "step blamed" }],
            self.outputs.iter().map(|path| file(path)).collect(),
            self.after.iter().map(|(number, _)| step(number)).collect(),
        ];
        let mut edges = Vec::new();
        // What make does not know of, or knew too late.
        let missing = matches!(cause.fault, Fault::Skipped | Fault::Order);
        for (row, (path, by)) in self.inputs.iter().enumerate() {
            let class = match guilty(path) {
                true if missing => "guilty missing",
                true => "guilty",
                false => "",
            };
            let from = by.and_then(|by| self.before.iter().position(|number| *number == by));
            edges.extend(from.map(|from| Edge { from: (0, from), to: (1, row), class: "" }));
            edges.push(Edge { from: (1, row), to: (2, 0), class });
        }
        let wrong = matches!(cause.fault, Fault::Irreproducible | Fault::OtherCommand | Fault::Race | Fault::OwnOutput);
        for (row, path) in self.outputs.iter().enumerate() {
            let bad = wrong && (Some(*path) == cause.target.as_deref() || self.outputs.len() == 1);
            edges.push(Edge { from: (2, 0), to: (3, row), class: if bad { "guilty" } else { "" } });
        }
        let after = self.after.iter().enumerate();
        edges.extend(after.map(|(row, (_, read))| Edge { from: (3, *read), to: (4, row), class: "" }));
        (columns, edges)
    }

    fn draw(&self, build: &str, names: &[String], cause: &Cause, number: usize) -> Markup {
        let (columns, mut edges) = self.lay(names, cause);
        // Bold lines lie above the others.
        edges.sort_by_key(|edge| edge.class.len());
        let shown: Vec<usize> = (0..columns.len()).filter(|at| !columns[*at].is_empty()).collect();
        let x = |column: usize| shown.iter().position(|at| *at == column).unwrap_or(0) * (WIDTH + GAP) + 2;
        let rows = columns.iter().map(Vec::len).max().unwrap_or(1);
        let y = |column: usize, row: usize| TOP + row * ROW + (rows - columns[column].len()) * ROW / 2;
        let (wide, high) = (shown.len() * (WIDTH + GAP) - GAP + 4, TOP + rows * ROW);
        let heads = ["made by", "reads", "the step", "makes", "read by"];
        let back = self.outputs.iter().position(|path| self.guilty.contains(path));
        let legend = match cause.fault {
            Fault::Skipped if edges.iter().any(|edge| edge.class.contains("missing")) => {
                "Dashed: it had changed, and make did not run the step."
            }
            Fault::Order => "Dashed: it was not there yet; make knows no order between the two.",
            Fault::OwnOutput => "Bold: the step reads what it had made itself.",
            Fault::Irreproducible | Fault::OtherCommand => "Bold: what came out otherwise.",
            Fault::Race => "Bold: another step makes this as well.",
            _ => "",
        };
        html! {
            figure.graph {
                figcaption { "The step and what is around it, in " code { (name(build)) } ". " (legend)
                    @if self.all[0] > ROWS || self.all[1] > ROWS || self.all[2] > ROWS {
                        " Of " (self.all[0]) " inputs, " (self.all[1]) " outputs and " (self.all[2]) " readers at most " (ROWS) " each are drawn."
                    } }
                div.scroll tabindex="0" role="region" aria-label="Graph of steps" {
                    svg viewBox={ "0 0 " (wide) " " (high) } width=(wide) height=(high) role="img"
                        aria-labelledby={ "g" (number) "t g" (number) "d" } {
                        title #{ "g" (number) "t" } { "Steps around " (short(&cause.step, 120)) }
                        desc #{ "g" (number) "d" } {
                            (short(&cause.step, 120)) " " (cause.fault.words()) ": " (short(&cause.why, 300)) ". It reads "
                            (self.all[0]) " files and makes " (self.all[1]) ". " (legend)
                        }
                        @for column in &shown { text.head x=(x(*column)) y="14" { (heads[*column]) } }
                        @for edge in &edges {
                            (arrow((x(edge.from.0) + WIDTH, y(edge.from.0, edge.from.1) + HEIGHT / 2),
                                (x(edge.to.0), y(edge.to.0, edge.to.1) + HEIGHT / 2), edge.class))
                        }
                        @if let Some(row) = back.filter(|_| cause.fault == Fault::OwnOutput) {
                            (around((x(3) + WIDTH / 2, y(3, row)), (x(2) + WIDTH / 2, y(2, 0))))
                        }
                        @for column in &shown { @for (row, node) in columns[*column].iter().enumerate() { (drawn(node, x(*column), y(*column, row))) } }
                    }
                }
            }
        }
    }
}

fn arrow(from: (usize, usize), to: (usize, usize), class: &str) -> Markup {
    let middle = (from.0 + to.0) / 2;
    html! {
        path class={ "edge " (class) } d=(format!("M{} {} C{middle} {1}, {middle} {3}, {2} {3}", from.0, from.1, to.0 - 6, to.1)) {}
        path class={ "tip " (class) } d=(format!("M{} {} l-7 -4 v8 z", to.0, to.1)) {}
    }
}

/// The way back of what a step reads of its own, above the nodes.
fn around(from: (usize, usize), to: (usize, usize)) -> Markup {
    let over = from.1.min(to.1).saturating_sub(34);
    let way = format!("M{} {} C{0} {over}, {2} {over}, {2} {3}", from.0, from.1, to.0, to.1 - 6);
    html! {
        path.edge.guilty d=(way) {}
        path.tip.guilty d=(format!("M{} {} l-4 -7 h8 z", to.0, to.1)) {}
    }
}

fn drawn(node: &Node<'_>, x: usize, y: usize) -> Markup {
    let is_file = node.class.starts_with("file");
    html! {
        g class={ "node " (node.class) } {
            title { (short(node.text, 300)) }
            rect x=(x) y=(y) width=(WIDTH) height=(HEIGHT) rx=(if is_file { 2 } else { 12 }) {}
            text x=(x + 8) y=(y + 17) { @if is_file { (tail(node.text, CHARACTERS)) } @else { (short(node.text, CHARACTERS)) } }
        }
    }
}
