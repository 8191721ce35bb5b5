//! `report`: what is to be said of a recorded run, once more; and a finding as a mail or a script.

use std::path::PathBuf;

use clap::Args;

use super::history::HistoryArgs;
use super::judge::Judged;
use super::output::{show, write_report};
use super::{CliError, OutputArgs, Session, reproduce};
use crate::artifact::record::ScenarioRecord;
use crate::report::terminal::clean;
use crate::report::{mail, reproducer};
use crate::runner::recipe::{FORMAT, Recipe};
use crate::scenario::nearest;
use crate::verdict::{Finding, Judgement};

const EXAMPLES: &str = "\
A finding is named by its id, the beginning of one that no other has, or its number in --list:
  kbuild-repro report --list
  kbuild-repro report --mail rebuild.stale@edit-1:lib/crc.ko
  kbuild-repro report --reproducer 1 -o reproduce.sh && sh reproduce.sh
Findings of one build that are alike have one mail and one script, whichever of them is named.
The whole run for another program:
  kbuild-repro report --report kcidb=kcidb.json --origin my_lab";

/// What to show.
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ReportArgs {
    /// A run's directory or name; by default the latest
    #[arg(value_name = "RUN")]
    run: Option<PathBuf>,
    /// Print the mail to a maintainer about this finding of class wrong, in place of the report
    #[arg(long, value_name = "FINDING", conflicts_with_all = ["reproducer", "list", "reports"])]
    mail: Option<String>,
    /// Print the shell script that shows this finding with make, the toolchain and sha256sum alone
    #[arg(long, value_name = "FINDING", conflicts_with_all = ["list", "reports"])]
    reproducer: Option<String>,
    /// List the findings that have a mail: number, scenario, id
    #[arg(long)]
    list: bool,
    /// Write to this file in place of standard output
    #[arg(short = 'o', long = "output", value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    history: HistoryArgs,
    #[command(flatten)]
    output: OutputArgs,
}

pub(super) fn report(args: &ReportArgs, session: &mut Session<'_>) -> Result<u8, CliError> {
    let judged = Judged::read(args.run.as_deref(), None)?;
    let named = args.mail.as_ref().or(args.reproducer.as_ref());
    let Some(named) = named else {
        if args.list {
            let text = listed(&findings(&judged.scenarios));
            return print(args, text.as_bytes(), session).map(|()| 0);
        }
        let mut report = judged.report();
        args.history.compare(&mut report)?;
        if args.file.is_none() {
            show(&report, &args.output, session)?;
            return Ok(report.exit_code);
        }
        let mut text = Vec::new();
        show(&report, &args.output, &mut Session { out: &mut text, cancel: session.cancel.clone() })?;
        print(args, &text, session)?;
        return Ok(report.exit_code);
    };
    let all = findings(&judged.scenarios);
    let (record, judgement, finding) = choose(named, &all)?;
    let why_not = |why: String| CliError::usage(format!("`{}` has none: {why}", finding.id()), LIST);
    let dir = judged.dir.join(&record.id);
    let recipe = read_recipe(&dir)?;
    let text = if args.mail.is_some() {
        mail::mail(record, recipe.as_ref(), &judgement.findings, finding).map_err(why_not)?
    } else {
        let recipe = recipe.ok_or_else(|| why_not("the run kept no `recipe.json`; run the scenario again".into()))?;
        let alike: Vec<&Finding> = judgement.findings.iter().collect();
        let groups = reproducer::groups(&alike);
        let group = groups.iter().find(|group| group.iter().any(|other| std::ptr::eq(*other, finding)));
        let group = group.map_or_else(|| vec![finding], Clone::clone);
        reproducer::script(record, &recipe, &group).map_err(why_not)?
    };
    // A record can be somebody else's; what is told in it is no order to a terminal.
    let text = text.split('\n').map(clean).collect::<Vec<_>>().join("\n");
    print(args, text.as_bytes(), session)?;
    Ok(0)
}

/// How to see what there is.
const LIST: &str = "`kbuild-repro report --list` has the findings with a mail";

/// A finding with its scenario.
type At<'a> = (&'a ScenarioRecord, &'a Judgement, &'a Finding);

/// The findings that have a mail, in the order of the report.
fn findings(scenarios: &[(ScenarioRecord, Judgement)]) -> Vec<At<'_>> {
    let mut all = Vec::new();
    for (record, judgement) in scenarios {
        let has = |finding: &&Finding| reproducer::no_mail(finding.name).is_none();
        all.extend(judgement.findings.iter().filter(has).map(|finding| (record, judgement, finding)));
    }
    all
}

fn listed(all: &[At<'_>]) -> String {
    let width = all.len().to_string().len();
    let line = |(number, (record, _, finding)): (usize, &At<'_>)| {
        format!("{number:>width$}  {}  {}\n", record.id, finding.id())
    };
    (1..).zip(all).map(line).collect()
}

/// The finding of this number, id or beginning of one.
fn choose<'a>(named: &str, all: &[At<'a>]) -> Result<At<'a>, CliError> {
    if all.is_empty() {
        return Err(CliError::usage(
            format!("there is no finding `{named}`"),
            "nothing in this run is wrong; a run is named as `kbuild-repro report RUN`",
        ));
    }
    let number = named.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
    if let Some(at) = number.and_then(|number| all.get(number)) {
        return Ok(*at);
    }
    let ids = |(record, _, finding): &At<'_>| [finding.id(), format!("{}:{}", record.id, finding.id())];
    let exact: Vec<&At<'_>> = all.iter().filter(|at| ids(at).iter().any(|id| id == named)).collect();
    let begin: Vec<&At<'_>> = all.iter().filter(|at| ids(at).iter().any(|id| id.starts_with(named))).collect();
    let found = if exact.is_empty() { begin } else { exact };
    let alike = |a: &At<'_>, b: &At<'_>| a.0.id == b.0.id && reproducer::groups(&[a.2, b.2]).len() == 1;
    match found.as_slice() {
        // Those that are alike have one mail.
        [first, rest @ ..] if rest.iter().all(|other| alike(first, other)) => Ok(**first),
        [] => {
            let known: Vec<String> = all.iter().map(|at| at.2.id()).collect();
            let meant = nearest(named, known.iter().map(String::as_str));
            let meant = meant.map_or(String::new(), |id| format!("did you mean `{id}`? "));
            Err(CliError::usage(
                format!("there is no finding `{named}`"),
                format!("{meant}there are:\n{}", listed(all).trim_end()),
            ))
        }
        several => {
            let several: Vec<At<'_>> = several.iter().map(|at| **at).collect();
            let message = format!("`{named}` is the beginning of several findings");
            let ids: Vec<String> =
                several.iter().map(|(record, _, finding)| format!("{}:{}", record.id, finding.id())).collect();
            Err(CliError::usage(message, format!("name one of them:\n{}", ids.join("\n"))))
        }
    }
}

/// How the builds are repeated, if the run kept that.
fn read_recipe(dir: &std::path::Path) -> Result<Option<Recipe>, CliError> {
    let path = dir.join(reproduce::RECIPE);
    let Ok(text) = std::fs::read(&path) else { return Ok(None) };
    let recipe: Result<Recipe, _> = serde_json::from_slice(&text);
    let wrong = |why: String| CliError::usage(format!("`{}` {why}", path.display()), "run the scenario again");
    match recipe {
        Ok(recipe) if recipe.format <= FORMAT => Ok(Some(recipe)),
        Ok(recipe) => Err(wrong(format!("has format {}; this harness reads up to {FORMAT}", recipe.format))),
        Err(error) => Err(wrong(format!("cannot be read: {error}"))),
    }
}

fn print(args: &ReportArgs, text: &[u8], session: &mut Session<'_>) -> Result<(), CliError> {
    match &args.file {
        Some(path) => write_report(path, text)
            .map_err(|error| CliError::usage(format!("cannot write `{}`: {error}", path.display()), "-o FILE")),
        None => {
            session.out.write_all(text)?;
            session.out.flush()?;
            Ok(())
        }
    }
}
