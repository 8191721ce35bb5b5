//! Bisecting versions of a tool, by halving the list of them.

use super::{CliError, Found, Halt, Prober, Session};
use crate::cli::load::Ready;
use crate::report::bisect::Notes;
use crate::scenario::{Matrix, nearest};
use crate::tree::source::tools::OFFERS;
use crate::verdict::bisect::{Line, Next, Outcome, State};

/// A tool that scenarios can choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tool {
    Pahole,
    Make,
}

impl Tool {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Pahole => "pahole",
            Self::Make => "make",
        }
    }

    /// Its list in a matrix.
    pub(super) fn list(self, matrix: &mut Matrix) -> &mut Vec<String> {
        match self {
            Self::Pahole => &mut matrix.pahole,
            Self::Make => &mut matrix.make,
        }
    }
}

/// Reads `pahole=1.24..1.32` (those of the archive from one to the other) or `pahole=1.24,1.30,/opt/pahole`.
pub(super) fn parse(text: &str) -> Result<(Tool, Vec<String>), CliError> {
    let hint = "e.g. `--tool pahole=1.24..1.32`, `--tool make=4.3,/opt/make`";
    let Some((name, range)) = text.split_once('=') else {
        return Err(CliError::usage(format!("`{text}` names no versions of a tool"), hint));
    };
    let all = [Tool::Pahole, Tool::Make];
    let Some(tool) = all.into_iter().find(|tool| tool.name() == name) else {
        let near = nearest(name, all.iter().map(|tool| tool.name()));
        let near = near.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
        return Err(CliError::usage(format!("there is no choice of `{name}`{near}"), hint));
    };
    let versions: Vec<String> = match range.split_once("..") {
        None => range.split(',').filter(|word| !word.is_empty()).map(str::to_owned).collect(),
        Some((from, to)) => {
            let offered: Vec<&str> =
                OFFERS.iter().filter(|offer| offer.name == name).map(|offer| offer.version).collect();
            let at = |version: &str| {
                offered.iter().position(|offer| *offer == version).ok_or_else(|| {
                    let known = offered.join(", ");
                    CliError::usage(format!("there is no {name} `{version}` to be had"), format!("there are {known}; others are listed by their paths: `--tool {name}={from},/path/to/{name}`"))
                })
            };
            let (from, to) = (at(from)?, at(to)?);
            let mut range: Vec<String> = offered[from.min(to)..=from.max(to)].iter().map(ToString::to_string).collect();
            if from > to {
                range.reverse();
            }
            range
        }
    };
    if versions.len() < 2 {
        return Err(CliError::usage(format!("`{range}` is one version: there is nothing to search"), hint));
    }
    Ok((tool, versions))
}

pub(super) fn search(
    prober: &mut Prober<'_>,
    ready: &Ready,
    (tool, versions): (Tool, &[String]),
    session: &mut Session<'_>,
) -> Result<Found, Halt> {
    let with = |version: &str| {
        let mut ready = ready.clone();
        let chosen = &mut ready.loaded.scenario.toolchain;
        match tool {
            Tool::Pahole => chosen.pahole = Some(version.to_owned()),
            Tool::Make => chosen.make = Some(version.to_owned()),
        }
        ready.found.by_name = true;
        ready
    };
    let (first, last) = (&versions[0], &versions[versions.len() - 1]);
    let candidates = versions.len() as u64 - 1;
    let told = |outcome, notes| Found { candidates, outcome, notes };
    let bad = match prober.ends((first, "", &with(first)), (last, "", &with(last)), session)? {
        Ok(state) => state,
        Err(outcome) => return Ok(told(outcome, Notes::default())),
    };
    let mut line = Line::new(versions.len());
    let found = loop {
        match line.next() {
            Next::Test(at) => {
                let test = prober.probe(&versions[at], "", &with(&versions[at]), session)?;
                line.tell(at, (test.state != State::Untestable).then_some(test.state != bad));
            }
            Next::Found(found) => break found,
        }
    };
    let [at] = found.as_slice() else {
        let names = found.into_iter().map(|at| versions[at].clone()).collect();
        return Ok(told(Outcome::Among { names }, Notes::default()));
    };
    let (before, after) = (&versions[at - 1], &versions[*at]);
    let sides = [with(before), with(after)];
    Ok(match prober.confirm([(before, &sides[0]), (after, &sides[1])], bad, None, session)? {
        Ok([before, lines]) => {
            let notes = Notes { before, after: lines, ..Notes::default() };
            told(Outcome::First { name: after.clone(), subject: String::new(), came: bad == State::Present }, notes)
        }
        Err(name) => told(Outcome::Doubtful { name }, Notes::default()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_a_range_of_what_is_offered_or_a_list() {
        let of = |text: &str| parse(text).map(|(tool, versions)| (tool.name(), versions.join(" ")));
        assert_eq!(of("pahole=1.24..1.32").expect("a range"), ("pahole", "1.24 1.30 1.32".into()));
        assert_eq!(of("pahole=1.32..1.30").expect("backwards"), ("pahole", "1.32 1.30".into()));
        assert_eq!(of("make=4.3,/opt/make").expect("a list"), ("make", "4.3 /opt/make".into()));
        for wrong in ["pahole", "phole=1.24..1.32", "pahole=1.24..1.99", "pahole=1.24", "pahole=1.24..1.24"] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
    }
}
