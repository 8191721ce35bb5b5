//! Which Kconfig symbols bring a finding: those that differ in two configurations, as few as do it, by delta debugging.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{CliError, Found, Halt, Prober, Session};
use crate::cli::load::Ready;
use crate::report::bisect::Notes;
use crate::tree::kconfig::assignments;
use crate::verdict::bisect::{Outcome, State};
use crate::verdict::fuzz::shrink::minimise;

/// Two configurations.
pub(super) struct Symbols {
    good: Option<PathBuf>,
    bad: PathBuf,
    /// The symbols of the first.
    base: BTreeMap<String, String>,
    /// What the second says otherwise.
    differ: Vec<(String, String)>,
}

impl Symbols {
    pub(super) fn ends(&self) -> [String; 2] {
        let good = self.good.as_ref().map_or("the scenario's own".to_owned(), |path| path.display().to_string());
        [good, self.bad.display().to_string()]
    }

    pub(super) fn values(&self) -> impl Iterator<Item = String> {
        let base = self.base.iter().map(|(name, value)| format!("{name}={value}"));
        base.chain(std::iter::once("..".to_owned())).chain(self.differ.iter().map(shown))
    }
}

fn shown((name, value): &(String, String)) -> String {
    format!("CONFIG_{name}={value}")
}

/// Reads `A..B` or `..B`, files as kconfig writes them or fragments of such.
pub(super) fn parse(text: &str, cwd: &Path) -> Result<Symbols, CliError> {
    let Some((good, bad)) = text.split_once("..").filter(|(_, bad)| !bad.is_empty()) else {
        return Err(CliError::usage(
            format!("`{text}` are no two configurations"),
            "`--config GOOD..BAD`; `--config ..BAD` is all that BAD sets",
        ));
    };
    // `../a..b` begins with the separator.
    let (good, bad) = match text.rsplit_once("..") {
        Some((good, bad)) if !bad.starts_with('/') && cwd.join(bad).is_file() => (good, bad),
        _ => (good, bad),
    };
    let read = |name: &str| -> Result<BTreeMap<String, String>, CliError> {
        let path = cwd.join(name);
        let text = std::fs::read_to_string(&path)
            .map_err(|error| CliError::usage(format!("cannot read `{name}`: {error}"), "`--config GOOD..BAD`"))?;
        Ok(assignments(&text).into_iter().collect())
    };
    let base = if good.is_empty() { BTreeMap::new() } else { read(good)? };
    let bad_symbols = read(bad)?;
    // A symbol that the first alone names stays as it is there: nobody says what it is in the second.
    let differ: Vec<(String, String)> =
        bad_symbols.into_iter().filter(|(name, value)| base.get(name) != Some(value)).collect();
    if differ.is_empty() {
        return Err(CliError::usage(format!("`{bad}` sets nothing otherwise"), "`--config GOOD..BAD`"));
    }
    let path = |name: &str| cwd.join(name);
    Ok(Symbols { good: (!good.is_empty()).then(|| path(good)), bad: path(bad), base, differ })
}

pub(super) fn search(
    prober: &mut Prober<'_>,
    ready: &Ready,
    symbols: &Symbols,
    session: &mut Session<'_>,
) -> Result<Found, Halt> {
    let with = |some: &[(String, String)]| {
        let mut ready = ready.clone();
        let all = &mut ready.loaded.scenario.tree.symbols;
        all.extend(symbols.base.clone());
        all.extend(some.iter().cloned());
        ready.found.by_name = true;
        ready
    };
    let ends = symbols.ends();
    let candidates = symbols.differ.len() as u64;
    let told = |outcome, notes| Found { candidates, outcome, notes };
    let bad = match prober.ends((&ends[0], "", &with(&[])), (&ends[1], "", &with(&symbols.differ)), session)? {
        Ok(state) => state,
        Err(outcome) => return Ok(told(outcome, Notes::default())),
    };
    let mut test = |trials: &[Vec<(String, String)>]| -> Result<Option<usize>, Halt> {
        for (at, trial) in trials.iter().enumerate() {
            let name = trial.iter().map(shown).collect::<Vec<_>>().join(" ");
            // What Kconfig refuses, or does not build, is not what is looked for.
            if prober.probe(&name, "", &with(trial), session)?.state == bad {
                return Ok(Some(at));
            }
        }
        Ok(None)
    };
    let left = minimise(symbols.differ.clone(), &mut test)?;
    let names: Vec<String> = left.iter().map(shown).collect();
    let name = names.join(" ");
    let sides = [with(&[]), with(&left)];
    Ok(match prober.confirm([(&ends[0], &sides[0]), (&name, &sides[1])], bad, None, session)? {
        Ok([before, after]) if bad == State::Present => {
            told(Outcome::Together { names }, Notes { before, after, ..Notes::default() })
        }
        Ok([before, after]) => told(
            Outcome::First { name, subject: String::new(), came: false },
            Notes { before, after, ..Notes::default() },
        ),
        Err(name) => told(Outcome::Doubtful { name }, Notes::default()),
    })
}
