//! The report for a step of GitHub Actions: annotations by workflow commands, and the step's summary in Markdown.
//! <https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands>

use std::io::{self, Write};

use super::machine::{besides, fails, file, headline, line, story, whole_story};
use super::terminal::{clean, counts, left_out};
use super::{Report, ScenarioReport, matrix};
use crate::verdict::Verdict;

/// How many annotations of a kind GitHub shows of a step.
const SHOWN: usize = 10;
/// The most characters of an annotation's text; the summary has all.
const TEXT: usize = 2000;
/// The most bytes of the summaries of a step; GitHub refuses a larger one whole.
pub const SUMMARY: usize = 1 << 20;
/// What is kept free for the line that says that something is left out.
const LAST: usize = 200;

/// Writes the annotations: what the run came to first, then the scenarios that did not pass, as many as are shown.
///
/// # Errors
/// What the writer answers.
pub fn annotations(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let open: Vec<&ScenarioReport> = open(report).collect();
    let first = open.first().map(|scenario| format!("{}: {}", scenario.id, headline(scenario)));
    let first = first.or_else(|| report.findings.iter().find(|finding| fails(finding)).map(line));
    let level = if report.exit_code == 0 { "notice" } else { level(report.verdict) };
    let title = format!("kbuild-repro: {}", counts(report));
    writeln!(
        out,
        "::{level} title={}::{}",
        property(&title),
        text(&first.unwrap_or_else(|| "nothing is wrong".into()))
    )?;
    for kind in ["error", "warning"] {
        let own: Vec<&&ScenarioReport> = open.iter().filter(|scenario| self::level(scenario.verdict) == kind).collect();
        let free = if kind == level { SHOWN - 1 } else { SHOWN };
        let told = if own.len() > free { free - 1 } else { own.len() };
        for scenario in &own[..told] {
            let title = format!("{}: {}", scenario.id, scenario.verdict.name());
            // A path in the repository, if the run was started there.
            let path = file(scenario).filter(|file| !file.starts_with('/'));
            let file = path.map_or(String::new(), |file| format!("file={},", property(file)));
            writeln!(out, "::{kind} {file}title={}::{}", property(&title), text(&story(scenario)))?;
        }
        if own.len() > told {
            let more = format!("and {} more scenarios: the summary of the step names them", own.len() - told);
            writeln!(out, "::{kind} title=kbuild-repro::{}", text(&more))?;
        }
    }
    Ok(())
}

/// The summary of a step, in Markdown, of at most `most` bytes: where that is not enough, stories are left out from the end.
#[must_use]
pub fn summary(report: &Report, most: usize) -> String {
    let mut summary = Markdown { text: String::new(), most: most.saturating_sub(LAST), left: 0 };
    summary.add(&format!("## kbuild-repro: {}\n\n{}\n", report.verdict.name(), counts(report)));
    for (why, ids) in left_out(report) {
        let ids: Vec<String> = ids.iter().map(|id| code(id)).collect();
        summary.add(&format!("\n{}: {}\n", cell(&why), ids.join(", ")));
    }
    let rows = open(report).map(|scenario| {
        let cells = [code(&scenario.id), scenario.verdict.name().into(), format!("{:.1} s", scenario.seconds)];
        format!("| {} | {} |\n", cells.join(" | "), cell(&headline(scenario)))
    });
    let rows: String = rows.collect();
    if !rows.is_empty() {
        summary.add(&format!("\n| scenario | verdict | time | |\n| --- | --- | --- | --- |\n{rows}"));
    }
    for finding in &report.findings {
        summary.add(&format!("\n- {}\n", cell(&line(finding))));
    }
    let table: String = matrix::tables(report)
        .iter()
        .map(|line| {
            line.iter().map(|(text, _)| clean(text).into_owned()).collect::<String>().trim_end().to_owned() + "\n"
        })
        .collect();
    if !table.trim().is_empty() {
        summary.add(&format!("\n{}", block(table.trim_start_matches('\n'))));
    }
    for scenario in report.scenarios.iter().filter(|scenario| scenario.verdict != Verdict::Skipped) {
        let passed = scenario.verdict == Verdict::Passed;
        let story = if passed { besides(scenario, &|_| true) } else { whole_story(scenario) };
        if !story.is_empty() {
            let head = format!("{}: {} — {}", scenario.id, scenario.verdict.name(), scenario.title);
            let open = if passed { "" } else { " open" };
            let head = html(&clean(&head));
            summary.add(&format!("\n<details{open}><summary>{head}</summary>\n\n{}\n</details>\n", block(&story)));
        }
    }
    summary.end()
}

/// The scenarios that are neither passed nor skipped, in the order of the report.
fn open(report: &Report) -> impl Iterator<Item = &ScenarioReport> {
    report.scenarios.iter().filter(|scenario| !matches!(scenario.verdict, Verdict::Passed | Verdict::Skipped))
}

fn level(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Passed => "notice",
        Verdict::Inconclusive | Verdict::Skipped => "warning",
        _ => "error",
    }
}

/// Text of a workflow command, not too long.
fn text(text: &str) -> String {
    let mut short: String = text.trim_end().chars().take(TEXT).collect();
    if short.len() < text.trim_end().len() {
        short.push('…');
    }
    short.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// The value of a property of a workflow command.
fn property(value: &str) -> String {
    text(&clean(value)).replace(':', "%3A").replace(',', "%2C")
}

struct Markdown {
    text: String,
    most: usize,
    /// How many parts had no room.
    left: usize,
}

impl Markdown {
    /// Adds a part whole or not at all.
    fn add(&mut self, part: &str) {
        // What comes after a part that was left out is left out as well, or the reader would not see the gap.
        if self.left > 0 || self.text.len() + part.len() > self.most {
            self.left += 1;
        } else {
            self.text.push_str(part);
        }
    }

    fn end(mut self) -> String {
        if self.left > 0 {
            self.text.push_str(&format!(
                "\n{} more parts have no room here: `kbuild-repro report` shows them.\n",
                self.left
            ));
        }
        self.text
    }
}

/// Text that Markdown and HTML take for nothing else.
fn html(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Text of a cell of a table, and of a list.
fn cell(text: &str) -> String {
    let marks = |c: char| r"\`*_[]~#|@!".contains(c);
    html(&clean(text)).chars().flat_map(|c| marks(c).then_some('\\').into_iter().chain([c])).collect()
}

/// A name as code; in a table `|` would end the cell even there.
fn code(text: &str) -> String {
    format!("<code>{}</code>", cell(text))
}

/// Lines as they are, in a fence that nothing in them ends (<https://spec.commonmark.org/0.31.2/#fenced-code-blocks>).
fn block(lines: &str) -> String {
    let longest = lines.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    format!("{fence}text\n{}\n{fence}\n", lines.trim_end())
}
