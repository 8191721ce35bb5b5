//! What is new, still there, gone, or comes and goes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::changes::{Changed, between, same_inputs};
use super::trend::{self, CellTrend};
use super::{History, Identity, PastAlarm, PastCell, PastRun, PastStanding};
use crate::scenario::Class;
use crate::verdict::Verdict;

/// In how many runs, the last ones, it is looked for what comes and goes.
const WINDOW: usize = 10;

/// A cell in a run.
pub(super) type At<'r> = (&'r PastRun, &'r PastCell);

/// A run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct When {
    /// Start, seconds since the epoch.
    pub started: u64,
    /// Its name.
    pub run: String,
}

impl When {
    /// That of a past run.
    #[must_use]
    pub fn of(run: &PastRun) -> Self {
        Self { started: run.started, run: run.run.clone() }
    }
}

/// What a run says over those before it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Since {
    /// The run before, whatever it had; none before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<When>,
    /// How many runs there are before this one.
    pub runs: usize,
    /// The alarms of this run, those of one cause as one.
    pub alarms: Vec<AlarmSince>,
    /// What was there the last time, and is not.
    pub gone: Vec<GoneAlarm>,
    /// The scenarios, or cells of their matrices, each over the runs that had it.
    pub cells: Vec<CellTrend>,
    /// What is to be known of the history itself, such as a file that cannot be read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub told: Vec<String>,
}

/// How something stands to the runs before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It was not there the last time.
    New,
    /// It was there the last time.
    Still,
    /// No earlier run has tested this cell to its end.
    First,
}

/// An alarm of this run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AlarmSince {
    /// What it is known by.
    pub identity: Identity,
    /// It in a few words.
    pub title: String,
    /// Whether it is a cost, which fails nothing.
    pub cost: bool,
    /// Whether its scenarios tolerate it.
    pub known: bool,
    /// How it stands: still there if it is so in one cell, new if it is new wherever it is.
    pub state: State,
    /// The first of the runs in a row that had it, this one included.
    pub first: When,
    /// How many these are.
    pub runs: usize,
    /// Whether it comes and goes though nothing changes.
    pub flaky: bool,
    /// Whether builds of this very run, one like the other, differ in it.
    pub transient: bool,
    /// Where it is.
    pub cells: Vec<CellAlarm>,
    /// What changed since the last run without it, in the first cell where it is new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<Changed>,
}

/// An alarm in one cell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CellAlarm {
    /// The cell.
    pub id: String,
    /// How it stands there.
    pub state: State,
    /// The first of the runs in a row that had it there.
    pub first: When,
    /// How many these are.
    pub runs: usize,
    /// Whether it comes and goes there.
    pub flaky: bool,
}

/// An alarm that is no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GoneAlarm {
    /// What it is known by.
    pub identity: Identity,
    /// It in a few words.
    pub title: String,
    /// Whether it was a cost.
    pub cost: bool,
    /// Whether its scenarios tolerate it.
    pub known: bool,
    /// Whether it comes and goes though nothing changes.
    pub flaky: bool,
    /// The last run that had it.
    pub last: When,
    /// How many runs in a row had it up to then.
    pub runs: usize,
    /// Where it was.
    pub cells: Vec<String>,
    /// What changed since that run, in the first of these.
    pub changed: Changed,
}

/// How many alarms are what, for a sentence.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Counts {
    /// New ones; those of a cell that no earlier run tested are among them.
    pub new: usize,
    /// Those that were there the last time.
    pub still: usize,
    /// How many of these are now in a cell in which they were not.
    pub spread: usize,
    /// Those that are gone.
    pub gone: usize,
    /// Those that come and go.
    pub flaky: usize,
    /// Those that scenarios tolerate.
    pub known: usize,
}

impl Since {
    /// Counts alarms that are a cost, or those that are none. What comes and goes is neither new nor gone.
    #[must_use]
    pub fn counts(&self, cost: bool) -> Counts {
        let mut counts = Counts::default();
        for alarm in self.alarms.iter().filter(|alarm| alarm.cost == cost) {
            let count = match (alarm.known, alarm.flaky, alarm.state) {
                (true, ..) => &mut counts.known,
                (_, true, _) => &mut counts.flaky,
                (.., State::Still) => &mut counts.still,
                (.., State::New | State::First) => &mut counts.new,
            };
            *count += 1;
            let new = alarm.cells.iter().any(|cell| cell.state == State::New);
            if alarm.state == State::Still && new && !alarm.known && !alarm.flaky {
                counts.spread += 1;
            }
        }
        for gone in self.gone.iter().filter(|gone| gone.cost == cost) {
            *(if gone.flaky { &mut counts.flaky } else { &mut counts.gone }) += 1;
        }
        counts
    }

    /// What is said of a finding of a cell: of its alarm, and of that in the cell.
    #[must_use]
    pub fn of(&self, cell: &str, identity: &Identity) -> Option<(&AlarmSince, &CellAlarm)> {
        let alarms = self.alarms.iter().filter(|alarm| alarm.identity.is(identity));
        alarms.filter_map(|alarm| Some((alarm, alarm.cells.iter().find(|it| it.id == cell)?))).next()
    }
}

impl History<'_> {
    /// What its last run says over those before.
    #[must_use]
    pub fn since(&self) -> Since {
        self.since_at(self.runs.len().saturating_sub(1))
    }

    /// What the run of this number, from 0, says over those before.
    #[must_use]
    pub fn since_at(&self, at: usize) -> Since {
        let Some((now, _)) = self.runs.get(at) else { return Since::default() };
        let mut since =
            Since { last: at.checked_sub(1).map(|before| When::of(self.runs[before].0)), runs: at, ..Since::default() };
        for cell in &now.cells {
            let same = self.same_inputs(at, (now, cell));
            for alarm in cell.alarms.iter().filter(|alarm| alarm.counts()) {
                self.there(at, (now, cell), alarm, &same, &mut since.alarms);
            }
            if cell.is_real() {
                self.gone(at, (now, cell), &same, &mut since.gone);
            }
            since.cells.push(trend::of(self, (now, cell), at, &same));
        }
        // What somebody has to look at comes first.
        since.alarms.sort_by_key(|alarm| (alarm.cost, alarm.known, alarm.state == State::Still));
        since.gone.sort_by_key(|gone| gone.cost);
        since
    }

    /// The cells of the last runs that had them, of those that are wanted, each with its course over all runs.
    #[must_use]
    pub fn cells(&self, wanted: &dyn Fn(&str) -> bool) -> Vec<CellTrend> {
        let mut latest: std::collections::BTreeMap<&str, usize> = std::collections::BTreeMap::new();
        for (at, (run, _)) in self.runs.iter().enumerate() {
            latest.extend(run.cells.iter().map(|cell| (cell.id.as_str(), at)));
        }
        let own = latest.into_iter().filter(|(id, _)| wanted(id));
        own.filter_map(|(id, at)| {
            let (run, cells) = &self.runs[at];
            let now = (*run, *cells.get(id)?);
            Some(trend::of(self, now, at, &self.same_inputs(at, now)))
        })
        .collect()
    }

    /// Adds an alarm of a cell to those of the run.
    fn there(&self, at: usize, now: At<'_>, alarm: &PastAlarm, same: &[At<'_>], alarms: &mut Vec<AlarmSince>) {
        let id = &now.1.id;
        let mut own = CellAlarm {
            id: id.clone(),
            state: State::First,
            first: When::of(now.0),
            runs: 1,
            flaky: comes_and_goes(same, &alarm.identity),
        };
        let mut without = None;
        for (run, cell) in self.of_cell(id, at).skip(1) {
            if cell.alarm(&alarm.identity).is_some() {
                own.state = State::Still;
                own.first = When::of(run);
                own.runs += 1;
            } else if cell.is_real() {
                // Of one that was not tested to its end nothing is known.
                if own.state == State::First {
                    own.state = State::New;
                    without = Some((run, cell));
                }
                break;
            }
        }
        let known = alarm.standing == PastStanding::Known;
        let changed = || without.map(|before| between(before, now));
        let same = |have: &&mut AlarmSince| have.known == known && have.identity.is(&alarm.identity);
        let Some(have) = alarms.iter_mut().find(same) else {
            let changed = changed();
            alarms.push(AlarmSince {
                identity: alarm.identity.clone(),
                title: alarm.identity.title(),
                cost: alarm.class == Class::Cost,
                known,
                state: own.state,
                first: own.first.clone(),
                runs: own.runs,
                flaky: own.flaky,
                transient: alarm.transient,
                cells: vec![own],
                changed,
            });
            return;
        };
        have.identity.take(&alarm.identity);
        have.state = match (have.state, own.state) {
            (State::Still, _) | (_, State::Still) => State::Still,
            (State::New, _) | (_, State::New) => State::New,
            _ => State::First,
        };
        have.flaky |= own.flaky;
        have.transient |= alarm.transient;
        if own.first < have.first {
            have.first = own.first.clone();
        }
        have.runs = have.runs.max(own.runs);
        have.changed = have.changed.take().or_else(changed);
        have.cells.push(own);
    }

    /// Adds what a cell had the last time it was tested, and has no more.
    fn gone(&self, at: usize, now: At<'_>, same: &[At<'_>], gone: &mut Vec<GoneAlarm>) {
        let id = &now.1.id;
        let mut seen: Vec<&Identity> = Vec::new();
        for (run, cell) in self.of_cell(id, at).skip(1) {
            for alarm in cell.alarms.iter().filter(|alarm| alarm.counts()) {
                let is = |other: &&Identity| other.is(&alarm.identity);
                if now.1.alarm(&alarm.identity).is_some() || seen.iter().any(is) {
                    continue;
                }
                seen.push(&alarm.identity);
                let flaky = comes_and_goes(same, &alarm.identity);
                let (last, runs) = (When::of(run), self.in_a_row(at, id, &alarm.identity));
                match gone.iter_mut().find(|have| have.identity.is(&alarm.identity)) {
                    Some(have) => {
                        have.identity.take(&alarm.identity);
                        have.flaky |= flaky;
                        have.runs = have.runs.max(runs);
                        have.last = have.last.clone().max(last);
                        have.cells.push(id.clone());
                    }
                    None => gone.push(GoneAlarm {
                        identity: alarm.identity.clone(),
                        title: alarm.identity.title(),
                        cost: alarm.class == Class::Cost,
                        known: alarm.standing == PastStanding::Known,
                        flaky,
                        last,
                        runs,
                        cells: vec![id.clone()],
                        changed: between((run, cell), now),
                    }),
                }
            }
            // What was there before this one was gone then.
            if cell.is_real() {
                break;
            }
        }
    }

    /// In how many runs in a row an alarm was, up to the last that had it.
    fn in_a_row(&self, at: usize, id: &str, identity: &Identity) -> usize {
        let mut count = 0;
        for (_, cell) in self.of_cell(id, at).skip(1) {
            match cell.alarm(identity) {
                Some(_) => count += 1,
                None if cell.is_real() && count > 0 => break,
                None => {}
            }
        }
        count
    }

    /// Of the last runs of a cell those with what this one was made from, the latest first, this one included.
    fn same_inputs<'h>(&'h self, at: usize, now: At<'h>) -> Vec<At<'h>> {
        let last = self.of_cell(&now.1.id, at).take(WINDOW);
        last.filter(|before| std::ptr::eq(before.1, now.1) || same_inputs(*before, now)).collect()
    }
}

/// Whether an alarm changed from there to not there and back, or the other way round.
fn comes_and_goes(same: &[At<'_>], identity: &Identity) -> bool {
    let told = same.iter().map(|(_, cell)| (cell.alarm(identity).is_some(), cell.is_real()));
    let seen: Vec<bool> = told.filter(|(there, real)| *there || *real).map(|(there, _)| there).collect();
    turns(&seen) >= 2
}

/// Whether a verdict did.
pub(super) fn is_flaky(same: &[At<'_>]) -> bool {
    let real = same.iter().filter(|(_, cell)| cell.is_real());
    let verdicts: Vec<Verdict> = real.map(|(_, cell)| cell.verdict).collect();
    turns(&verdicts) >= 2
}

fn turns<T: PartialEq>(row: &[T]) -> usize {
    row.windows(2).filter(|pair| pair[0] != pair[1]).count()
}
