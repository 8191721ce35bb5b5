//! `explain`: what a finding means, how builds come to it, what to do, and a scenario that shows it.

use clap::Args;

use super::{CliError, Session};
use crate::report::explain::text;
use crate::scenario::{FindingName, nearest};

#[derive(Debug, Clone, Args)]
pub(super) struct ExplainArgs {
    /// A finding, as reports name it: `rebuild.stale`, or with its place: `rebuild.stale@edit-1:lib/crc.ko`. Without one: a list
    #[arg(value_name = "FINDING")]
    finding: Option<String>,
}

pub(super) fn explain(args: &ExplainArgs, session: &mut Session<'_>) -> Result<u8, CliError> {
    let Some(finding) = &args.finding else {
        for name in FindingName::ALL {
            writeln!(session.out, "{:21} {}", name.name(), name.meaning().trim())?;
        }
        return Ok(0);
    };
    let asked = finding.split('@').next().unwrap_or_default();
    let Some(name) = FindingName::ALL.iter().find(|name| name.name() == asked) else {
        let near = nearest(asked, FindingName::ALL.iter().map(|name| name.name()));
        let hint =
            near.map_or("`kbuild-repro explain` lists them".to_owned(), |near| format!("did you mean `{near}`?"));
        return Err(CliError::usage(format!("no finding is called `{asked}`"), hint));
    };
    write!(session.out, "{}", text(*name))?;
    Ok(0)
}
