//! Before anything is built: sources and tools at hand, edits tried on paper, and in which order.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{CliError, RESERVE, Run, Work, note};
use crate::artifact::record::Ended;
use crate::cli::bootstrap;
use crate::cli::host::{Need, Weight};
use crate::cli::load::{self, Absent, AtHand, Ready};
use crate::cli::toolchain::{Shelf, brings};
use crate::runner::disk_needed;
use crate::sandbox::{Refusal, memory};
use crate::scenario::{Cell, Errors, Interrupt, Scenario};
use crate::tree::TreePlan;
use crate::tree::source::{SourceSpec, Sources};
use crate::{Job, plan_scenario};

/// How many scenarios a message names.
const NAMED: usize = 12;

impl Run<'_> {
    /// Sources at hand, edits tried on paper, missing tools found; nothing is built if a scenario is wrong.
    pub(super) fn get_ready(&self, ready: Vec<Ready>, asked: bool) -> Result<Vec<Work>, CliError> {
        let sources = load::sources(&self.host, self.how.cache.as_deref());
        // What a killed fetch left; if it cannot be removed, the next fetch says why.
        let _ = sources.sweep();
        let mut shelf = Shelf::new(&self.host, self.how.cache.as_deref());
        let mut errors = Errors::default();
        let mut work = Vec::new();
        // Scenarios by what they lack: they are not part of a run that nobody asked for them.
        let mut left_out: BTreeMap<String, usize> = BTreeMap::new();
        for ready in ready {
            if let Some((tools, help)) = self.lacks(&ready) {
                let reason = format!("missing: {}; install: {help}", tools.join(", "));
                work.push(Work { ready, state: Err(Ended::Skipped { reason }) });
                continue;
            }
            let wished = asked || ready.found.by_name;
            let fetch = (wished || self.how.bootstrap) && !self.how.no_fetch;
            let mut hand = load::at_hand(&ready, &sources);
            // A kernel that the command line lists is asked for, whatever scenario it is for.
            let listed = fetch && ready.cell.has_own_kernel();
            let absent = || format!("`{}` is not in the cache", ready.source);
            if let (Err(Absent::Fetch(how)), false) = (&hand, wished || listed) {
                // No tool is unpacked for what is not built.
                *left_out.entry(format!("{}; get it by `{how}`", absent())).or_default() += 1;
                continue;
            }
            let chosen = match shelf.choose(&self.host, &ready.loaded.scenario, fetch) {
                Ok(chosen) => chosen,
                Err(error) => {
                    let state = Err(alone(&ready, error)?);
                    work.push(Work { ready, state });
                    continue;
                }
            };
            let chosen = match chosen {
                Ok(chosen) => chosen,
                Err(reason) if wished => {
                    work.push(Work { ready, state: Err(Ended::Skipped { reason }) });
                    continue;
                }
                Err(reason) => {
                    *left_out.entry(reason).or_default() += 1;
                    continue;
                }
            };
            if let Err(Absent::Fetch(how)) = &hand {
                if self.how.no_fetch {
                    let reason = format!("{}; get it by `{how}`", absent());
                    work.push(Work { ready, state: Err(Ended::Skipped { reason }) });
                    continue;
                }
                let part = sources.part(load::part(&ready));
                if let Err(error) = self.get(&part, &ready.source) {
                    let state = Err(alone(&ready, error)?);
                    work.push(Work { ready, state });
                    continue;
                }
                hand = load::at_hand(&ready, &sources);
            }
            match hand {
                Ok(hand) => match load::cannot_build(&ready, &hand) {
                    Some(reason) => work.push(Work { ready, state: Err(Ended::CannotBuild { reason }) }),
                    None => match self.plan(&ready, &hand) {
                        Ok(plan) => work.push(Work { ready, state: Ok((hand, plan, chosen)) }),
                        Err(more) => match load::does_not_fit(&ready, more) {
                            Ok(reason) => work.push(Work { ready, state: Err(Ended::CannotBuild { reason }) }),
                            Err(more) => errors.0.extend(more.0),
                        },
                    },
                },
                Err(Absent::Wrong(problem)) => errors.0.push(*problem),
                Err(Absent::Fetch(how)) => {
                    return Err(CliError::harness(format!("`{}` is still not there after `{how}`", ready.source)));
                }
            }
        }
        errors.into_result().map_err(CliError::Scenario)?;
        self.tell_missing(&work);
        if !self.how.output.quiet {
            tell_left_out(left_out);
        }
        // A shard can have nothing to do; it is a part of the whole all the same.
        if work.is_empty() && self.shard.is_none() {
            return Err(CliError::Nothing {
                message: "what the selected scenarios need is not there".into(),
                hint: Some("name a scenario, or `--tier graft`, and what can be fetched is".into()),
            });
        }
        Ok(work)
    }

    /// Gets a source into the cache; of one of very many nobody wants to see how.
    fn get(&self, sources: &Sources, source: &SourceSpec) -> Result<(), CliError> {
        if self.how.output.quiet {
            let got = sources.fetch(source, &mut |_| {});
            return got.map(drop).map_err(CliError::not_had);
        }
        load::get(sources, source, self.host.terminal.is_terminal).map(drop)
    }

    fn plan(&self, ready: &Ready, hand: &AtHand) -> Result<TreePlan, Errors> {
        plan_scenario(&Job {
            id: &ready.found.id,
            file: &ready.found.name,
            matrix: ready.cell.labels(),
            again: &ready.found.again,
            loaded: &ready.loaded,
            lower: hand.lower.as_ref(),
            beside: &load::beside(&ready.found),
            kernel: None,
            source: String::new(),
            toolchain: Vec::new(),
            dir: PathBuf::new(),
        })
    }

    /// Tools that the scenario needs and that are not there, and the command that installs them.
    fn lacks(&self, ready: &Ready) -> Option<(Vec<String>, String)> {
        let plan = bootstrap::plan(&self.host, &load::needs(ready));
        let required = plan.missing.iter().filter(|missing| missing.weight == Weight::Required);
        let required = required.filter(|missing| !brings(&ready.loaded.scenario, missing.tool));
        let mut tools: Vec<String> = required.map(|missing| missing.tool.to_owned()).collect();
        tools.extend(load::missing_own(ready, &self.host));
        tools.sort();
        tools.dedup();
        let command = Some(plan.shown()).filter(|command| !command.is_empty());
        (!tools.is_empty()).then(|| (tools.clone(), command.unwrap_or_else(|| format!("install {}", tools.join(", ")))))
    }

    /// What is missing, the one command that installs it, and what it costs.
    fn tell_missing(&self, work: &[Work]) {
        let lacking: Vec<&Ready> =
            work.iter().map(|work| &work.ready).filter(|ready| self.lacks(ready).is_some()).collect();
        if lacking.is_empty() || self.how.output.quiet {
            return;
        }
        let mut needs: Vec<Need> = lacking.iter().flat_map(|ready| load::needs(ready)).collect();
        needs.sort_unstable();
        needs.dedup();
        let plan = bootstrap::plan(&self.host, &needs);
        for missing in plan.missing.iter().filter(|missing| missing.weight == Weight::Required) {
            note(&format!("missing: {} (package {}) — {}", missing.tool, missing.package, missing.why));
        }
        for tool in lacking.iter().flat_map(|ready| load::missing_own(ready, &self.host)) {
            if plan.missing.iter().all(|missing| missing.tool != tool) {
                note(&format!("missing: {tool} — a scenario needs it"));
            }
        }
        if !plan.shown().is_empty() {
            note(&format!("install: {} (or let `kbuild-repro run --bootstrap` do it)", plan.shown()));
        }
        let named: Vec<&str> = lacking.iter().take(NAMED).map(|ready| ready.found.id.as_str()).collect();
        let more = lacking.len().saturating_sub(NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        note(&format!("skipped for it: {}{more}", named.join(", ")));
    }

    pub(super) fn tell_disk(&self, work: &[Work], scratch: &Path) -> Result<(), CliError> {
        let mut sizes: Vec<u64> = work
            .iter()
            .filter(|work| work.state.is_ok())
            .map(|work| disk_needed(&work.ready.loaded.scenario))
            .collect();
        sizes.sort_unstable();
        // As many scenarios as run at once, the largest.
        let needed: u64 = sizes.iter().rev().take(self.host.cpus + 1).sum();
        let free = rustix::fs::statvfs(scratch).map_or(u64::MAX, |stat| stat.f_bavail.saturating_mul(stat.f_frsize));
        let mib = |bytes: u64| bytes >> 20;
        if let Some(budget) = self.how.disk_budget
            && needed > budget
        {
            return Err(CliError::host(
                format!("about {} MiB of disk are needed, the budget is {} MiB", mib(needed), mib(budget)),
                "raise --disk-budget, or run fewer scenarios",
            ));
        }
        if needed.saturating_add(RESERVE) > free {
            return Err(CliError::host(
                format!(
                    "about {} MiB are needed in `{}`, and {} MiB that stay free; {} MiB are free",
                    mib(needed),
                    scratch.display(),
                    mib(RESERVE),
                    mib(free)
                ),
                "free some space, or choose another place by --scratch DIR",
            ));
        }
        if !self.how.output.quiet && mib(needed) >= 1024 {
            note(&format!("disk: up to about {} MiB of {} MiB free in {}", mib(needed), mib(free), scratch.display()));
        }
        Ok(())
    }

    /// The order of the run: cheap tiers first. With a time budget what failed the last time comes before all, then what is new;
    /// then one cell of each scenario before the second of any, so that much is covered, each time the shortest first.
    pub(super) fn order(&self, work: &[Work]) -> Vec<usize> {
        let mut order: Vec<usize> = (0..work.len()).collect();
        let id = |at: usize| work[at].ready.found.id.as_str();
        if self.how.time_budget.is_none() {
            order.sort_by_key(|&at| (work[at].ready.loaded.scenario.tier(), at));
            return order;
        }
        let cost = |at: usize| (self.past.expected(id(at)), work[at].ready.loaded.scenario.tier(), at);
        order.sort_by_key(|&at| cost(at));
        let mut seen: BTreeMap<&Path, usize> = BTreeMap::new();
        let mut nth = vec![0; work.len()];
        for &at in &order {
            let cells = seen.entry(&work[at].ready.found.file).or_default();
            nth[at] = *cells;
            *cells += 1;
        }
        order.sort_by_key(|&at| (self.past.rank(id(at)), nth[at], cost(at)));
        order
    }
}

/// Says how many scenarios are no part of a run, by the reason.
pub(super) fn tell_left_out(reasons: BTreeMap<String, usize>) {
    for (reason, count) in reasons {
        let plural = if count == 1 { "" } else { "s" };
        note(&format!("left out: {count} scenario{plural}: {reason}"));
    }
}

/// What cannot be had for one cell of a matrix is no reason to leave the others; without a matrix it ends the run.
fn alone(ready: &Ready, error: CliError) -> Result<Ended, CliError> {
    match error {
        CliError::Host { message, hint } if ready.cell != Cell::default() => Ok(Ended::HostCannot { message, hint }),
        error => Err(error),
    }
}

/// Why this host does not permit a memory limit that the scenario sets, if so.
pub(super) fn memory_refused(scenario: &Scenario) -> Option<Refusal> {
    let interrupts = scenario.edit.iter().filter_map(|edit| edit.interrupt.as_ref());
    let bytes = interrupts.filter_map(Interrupt::memory_bytes).min()?;
    memory::Group::create(bytes).and_then(|group| group.admits()).err()
}

/// Whether the build's words name the tree by its own path (`M=$PWD`): they would lead out of a copy of it.
pub(super) fn names_its_place(ready: &Ready) -> bool {
    let scenario = &ready.loaded.scenario;
    let Some(place) = &scenario.tree.at else { return false };
    let words = scenario.make.goals.iter().chain(scenario.make.vars.values()).chain(scenario.make.env.values());
    words.chain(&scenario.make.dir).any(|word| word.contains(place.as_str()))
}
