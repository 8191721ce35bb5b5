//! `run`: select, get ready, run side by side, judge, report.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use super::bootstrap;
use super::history::Keeper;
use super::host::{Host, Need};
use super::load::{self, AtHand, Ready};
use super::output::show;
use super::past::Past;
use super::progress::{How, Progress, note};
use super::reproduce;
use super::snapshots;
use super::state::RunDir;
use super::toolchain::{Chosen, records};
use super::variations::{VariationArg, vary};
use super::{CliError, HowArgs, IsolationArg, RunArgs, Session};
use crate::artifact::record::{Ended, FORMAT, LossRecord, RunRecord, ScenarioRecord, ShardRecord, write_atomically};
use crate::report::{self, Report, ScenarioReport};
use crate::runner::boot;
use crate::runner::prepared::Store;
use crate::runner::recipe::recipe;
use crate::runner::results::Results;
use crate::runner::slots::Pool;
use crate::runner::{Context, Event, Parts, Source, Variable, not_varied};
use crate::sandbox::scratch::{Scratch, sweep};
use crate::sandbox::{Capabilities, Isolation, Refusal, Sandbox, memory};
use crate::scenario::{Scenario, Tier};
use crate::tree::TreePlan;
use crate::verdict::wanted::{Answer, BROKEN, Wanted};
use crate::verdict::{self, Judgement};
use crate::{Job, run_scenario};

mod evidence;
mod ready;
mod resumed;

/// Bytes that stay free on the scratch file system whatever a build writes.
const RESERVE: u64 = 256 << 20;

/// Where a run keeps its trees, in its record.
pub(crate) const KEPT: &str = "trees";

/// The command `run`.
pub(crate) fn run(args: &RunArgs, session: &mut Session<'_>) -> Result<u8, CliError> {
    Ok(reported(args, &|scenario| scenario, session)?.exit_code)
}

/// `run --bisect`: the scenarios are run as they are, without what they list, and the exit code is for `git bisect run`, which
/// goes on at whatever an error would end with.
pub(crate) fn bisected(args: &RunArgs, session: &mut Session<'_>) -> Result<u8, CliError> {
    let wanted = Wanted::parse(&args.finding)
        .map_err(|error| CliError::usage(error, "`kbuild-repro explain` lists the findings"));
    let told = wanted.and_then(|wanted| {
        let report = reported(args, &|scenario| Wanted::raw(&scenario), session)?;
        let of =
            |scenario: &ScenarioReport| wanted.answer(scenario.verdict, scenario.reason.as_deref(), &scenario.findings);
        Ok(Answer::of_all(report.scenarios.iter().map(of)))
    });
    match told {
        _ if session.cancel.load(Ordering::Relaxed) => Ok(130),
        Ok(answer) => Ok(answer.map_or(BROKEN, |answer| answer.exit_code())),
        Err(CliError::Nothing { message, hint }) => {
            CliError::Nothing { message, hint }.print();
            Ok(Answer::Untestable(String::new()).exit_code())
        }
        Err(error) => {
            error.print();
            Ok(BROKEN)
        }
    }
}

/// Runs what is selected, each scenario as `change` makes it, and shows the report.
fn reported(
    args: &RunArgs,
    change: &dyn Fn(Scenario) -> Scenario,
    session: &mut Session<'_>,
) -> Result<Report, CliError> {
    let host = capture()?;
    let found = load::select(&args.select, &host.cwd)?;
    let tiers = &args.select.tier;
    let over = args.matrix.matrix(&host)?;
    let (mut ready, unfit) = load::read_over(found, &over, &load::sources(&host, args.how.cache.as_deref()))?;
    if !args.how.output.quiet {
        ready::tell_left_out(unfit);
    }
    // Without a selection every file was read, also those that the tiers leave out.
    let everything = args.select.what.is_empty() && tiers.is_empty() && over.is_empty();
    let declared = everything
        .then(|| ready.iter().flat_map(|ready| snapshots::declared(&ready.found.id, &ready.loaded.scenario)).collect());
    ready.retain(|ready| {
        let tier = ready.loaded.scenario.tier();
        if tiers.is_empty() {
            load::default_tier(tier, ready.found.by_name)
        } else {
            tiers.iter().any(|asked| asked.takes(tier))
        }
    });
    if ready.is_empty() {
        return Err(CliError::Nothing {
            message: "no scenario is selected".into(),
            hint: Some("`--tier kernel` or `--tier all` takes more; `kbuild-repro list` shows them".into()),
        });
    }
    let asked = !tiers.is_empty();
    // What a bisection runs is no night of its own.
    let history = if args.bisect { None } else { args.history.keeper(&host)? };
    let past = match &args.scale.durations {
        Some(path) => Past::read(&host.cwd.join(path))?,
        None if args.how.time_budget.is_some() => Past::latest(&host),
        None => Past::default(),
    };
    let shard = args.scale.take(&mut ready, &past, &args.how)?;
    let mut run = Run::new(host, &args.how, args.select.scenarios.as_deref(), Parts::ALL, None)?;
    run.args = std::env::args().skip(1).collect();
    // What is about no scenario is looked at once.
    run.declared = declared.filter(|_| shard.as_ref().is_none_or(|shard| shard.index == 1));
    (run.past, run.shard, run.history) = (past, shard, history);
    for ready in &mut ready {
        ready.loaded.scenario = change(ready.loaded.scenario.clone());
    }
    let report = run.all(ready, asked, session)?;
    run.show(&report, session)?;
    Ok(report)
}

pub(crate) fn capture() -> Result<Host, CliError> {
    Host::capture().map_err(|error| CliError::host(error.to_string(), error.hint()))
}

/// For commands that need no tool.
pub(crate) fn capture_without_tools() -> Result<Host, CliError> {
    Host::capture_without_tools().map_err(|error| CliError::host(error.to_string(), error.hint()))
}

/// Everything that scenarios are run with.
pub(crate) struct Run<'a> {
    pub(crate) host: Host,
    pub(crate) how: &'a HowArgs,
    pub(crate) args: Vec<String>,
    /// What this run is a part of, which judges for itself: then what its builds show is not told as a verdict.
    pub(crate) stage: Option<&'static str>,
    parts: Parts,
    sandbox: Sandbox,
    snapshots: Option<PathBuf>,
    /// The snapshots that the scenarios declare, if all scenarios are known.
    declared: Option<BTreeSet<PathBuf>>,
    in_place: Option<PathBuf>,
    /// What a time budget goes by.
    past: Past,
    /// Which part of a run it is.
    shard: Option<ShardRecord>,
    /// The `Fixes:` trailer of whoever mends what is found, where a bisection has told the commit.
    pub(crate) fixes: Option<String>,
    /// The runs before this one, which it will be one of.
    history: Option<Keeper>,
}

/// A scenario and what it will be run on.
struct Work {
    ready: Ready,
    /// Its tree, its plan and its tools, or why it is not run.
    state: Result<(AtHand, TreePlan, Chosen), Ended>,
}

impl<'a> Run<'a> {
    pub(crate) fn new(
        host: Host,
        how: &'a HowArgs,
        scenarios: Option<&Path>,
        parts: Parts,
        in_place: Option<PathBuf>,
    ) -> Result<Self, CliError> {
        // What cannot be written is said before anything is built.
        how.output.check()?;
        let sandbox = Sandbox::new(host.exe.clone());
        let dir = load::scenario_dir(scenarios, &host.cwd)?;
        let beside = dir.as_ref().and_then(|dir| dir.parent()).map(|dir| dir.join("snapshots"));
        let snapshots = how.snapshots.as_ref().map(|dir| host.cwd.join(dir)).or(beside);
        let (past, shard) = (Past::default(), None);
        Ok(Self {
            host,
            how,
            args: Vec::new(),
            stage: None,
            parts,
            sandbox,
            snapshots,
            declared: None,
            in_place,
            past,
            shard,
            fixes: None,
            history: None,
        })
    }

    /// Where trees are built. What TMPDIR names is there, or it is a file system that is not mounted.
    fn scratch_base(&self) -> Result<PathBuf, CliError> {
        let dir = self.how.scratch.as_ref().map_or(self.host.paths.scratch.clone(), |dir| self.host.cwd.join(dir));
        let made = match &self.how.scratch {
            Some(_) => fs::create_dir_all(&dir),
            None => fs::metadata(&dir).map(drop),
        };
        let hint = "--scratch DIR (or TMPDIR) names a directory that can be written to";
        made.map_err(|error| CliError::host(format!("cannot use `{}` as scratch: {error}", dir.display()), hint))?;
        Ok(dir)
    }

    /// Runs the scenarios and makes the report.
    pub(crate) fn all(
        &mut self,
        ready: Vec<Ready>,
        asked: bool,
        session: &mut Session<'_>,
    ) -> Result<Report, CliError> {
        let groups = self.may_change_group();
        if self.how.variations.contains(&VariationArg::All) && !groups {
            super::progress::note("not varied: the group, which takes root");
        }
        let ready: Vec<Ready> = ready.into_iter().map(|ready| vary(ready, &self.how.variations, groups)).collect();
        let mut needs: Vec<Need> = ready.iter().flat_map(load::needs).collect();
        needs.sort_unstable();
        needs.dedup();
        if self.how.bootstrap {
            self.bootstrap(&needs)?;
        }
        let scratch_base = self.scratch_base()?;
        if let Some(tree) = ready.iter().find_map(|ready| holds(ready, &scratch_base)) {
            return Err(CliError::usage(
                format!(
                    "`{}` is inside the tree `{tree}`: builds would find each other's files there",
                    scratch_base.display()
                ),
                "--scratch (or TMPDIR) names a directory outside of it",
            ));
        }
        // What an earlier run left when it was killed.
        let _ = sweep(&scratch_base);
        let _ = memory::sweep();
        let scratch =
            Scratch::create(&scratch_base).map_err(|error| CliError::host(error.to_string(), error.hint()))?;
        let capabilities = self.sandbox.probe(scratch.path()).map_err(CliError::sandbox)?;
        let losses = self.losses(&capabilities);
        if self.how.require_hermetic
            && let Some(loss) = losses.first()
        {
            return Err(CliError::host(
                format!("this host cannot give a guarantee: {}: {}", loss.guarantee, loss.reason),
                loss.hint.clone().unwrap_or_else(|| "kbuild-repro doctor".into()),
            ));
        }
        // Minutes of building come before the first machine.
        if let Some(program) = boot::missing().filter(|_| self.how.boot) {
            return Err(CliError::host(format!("--boot needs `{program}`"), boot::HINT));
        }
        let work = self.get_ready(ready, asked)?;
        self.tell_disk(&work, &scratch_base)?;
        let dir = RunDir::create(&self.host, self.how.out.as_deref(), self.shard.as_ref())?;
        // Kept trees live and go with the run's record, not with what the next run sweeps away.
        let trees = if self.how.keep { dir.path.join(KEPT) } else { scratch.path().to_owned() };
        let pool = Pool::open(&slot_dir(&self.host, &scratch_base), self.how.jobs.unwrap_or(self.host.cpus))
            .map_err(|error| CliError::host(format!("cannot share job slots: {error}"), "--scratch DIR"))?;
        let system = load::toolchain(&self.host);
        let prepared = Store::new(&load::cache(&self.host, self.how.cache.as_deref()), self.how.fresh);
        let results = (!self.how.no_reuse && !self.how.fresh)
            .then(|| Results::new(&load::cache(&self.host, self.how.cache.as_deref())));
        let order = self.order(&work);
        let quiet = self.how.output.quiet;
        let how = match (quiet, self.host.terminal.is_terminal && !self.how.output.verbose) {
            (true, _) => How::Silent,
            (false, true) => How::Bars,
            (false, false) => How::Lines { verbose: self.how.output.verbose },
        };
        let progress = Progress::new(how, order.len());
        let accepted = self.snapshots.as_deref().map(snapshots::accepted).unwrap_or_default();
        let judged: Mutex<Vec<(usize, ScenarioRecord, Judgement)>> = Mutex::default();
        let late: Mutex<Vec<String>> = Mutex::default();
        let next = AtomicUsize::new(0);
        let started = Instant::now();
        let limit = self.how.disk_budget;
        let one = |at: usize| {
            let work = &work[at];
            let record_dir = dir.path.join(&work.ready.found.id);
            let store = trees.join(format!("s{at}/store"));
            let mut judged_already = None;
            let mut record = match &work.state {
                Err(ended) => self.not_run(&work.ready, &system, ended.clone()),
                Ok((hand, plan, chosen)) => {
                    let toolchain = records(&system, &work.ready.loaded.scenario, chosen);
                    let own_scratch = trees.join(format!("s{at}"));
                    let source = self.source(work, hand, chosen, &capabilities);
                    let context = Context {
                        sandbox: &self.sandbox,
                        pool: &pool,
                        scratch: &own_scratch,
                        source: match &source {
                            Ok(source) => source,
                            Err(_) => &Source::Mini,
                        },
                        prepared: Some(&prepared),
                        results: results.as_ref(),
                        isolation: self.isolation(),
                        direct: self.direct(&capabilities),
                        max_jobs: self.how.jobs.unwrap_or(self.host.cpus),
                        reserve: RESERVE,
                        disk_limit: limit,
                        toolchain: &chosen.unpacked,
                        cancel: &session.cancel,
                        trace: !self.how.no_trace,
                        keep: self.how.keep,
                        boot: self.how.boot,
                        parts: self.parts,
                    };
                    let beside = load::beside(&work.ready.found);
                    let job = Job {
                        id: &work.ready.found.id,
                        file: &work.ready.found.name,
                        matrix: work.ready.cell.labels(),
                        again: &work.ready.found.again,
                        loaded: &work.ready.loaded,
                        lower: hand.lower.as_ref(),
                        beside: &beside,
                        kernel: hand.kernel.clone(),
                        source: hand.identity.clone(),
                        toolchain: toolchain.clone(),
                        dir: record_dir.clone(),
                    };
                    let made = fs::create_dir_all(&own_scratch).and_then(|()| fs::create_dir_all(&record_dir));
                    match (made, &source) {
                        (Err(error), _) => self.not_run(
                            &work.ready,
                            &toolchain,
                            Ended::HarnessError { message: format!("cannot make a directory: {error}"), hint: None },
                        ),
                        (_, Err(ended)) => self.not_run(&work.ready, &toolchain, ended.clone()),
                        (Ok(()), Ok(_)) => {
                            let follow = |event| progress.event(&work.ready.found.id, &event);
                            let mut record = run_scenario(&job, plan, &context, &follow);
                            let judgement =
                                self.beside_findings(&mut record, &accepted, (&job, plan, &store), &context, &follow);
                            judged_already = Some(judgement);
                            record
                        }
                    }
                }
            };
            let mut judgement = judged_already.unwrap_or_else(|| verdict::judge(&record, &accepted));
            if self.how.require_all && judgement.verdict == verdict::Verdict::Skipped {
                judgement.verdict = verdict::Verdict::HostCannot;
                judgement.hint = Some("skips are errors here: KBUILD_REPRO_REQUIRE_ALL is set".into());
            }
            let kept = evidence::keep(&record, &judgement, &store, &record_dir);
            if let Err(error) = kept.and_then(|()| write_record(&record_dir, &record)) {
                judgement.verdict = verdict::Verdict::HarnessError;
                judgement.reason = Some(format!("cannot write the record: {error}"));
            }
            // They are in their files; those of many scenarios would fill the memory.
            record.traces.clear();
            if !self.how.keep {
                let _ = crate::sandbox::remove_tree(&trees.join(format!("s{at}")));
            }
            #[expect(clippy::cast_precision_loss, reason = "milliseconds of a run fit a double many times over")]
            let seconds = record.wall_ms as f64 / 1000.0;
            match self.stage {
                Some(stage) => progress.staged(&work.ready.found.id, stage, seconds),
                None => progress.finished(&work.ready.found.id, &judgement, seconds),
            }
            judged.lock().unwrap_or_else(PoisonError::into_inner).push((at, record, judgement));
        };
        thread::scope(|scope| {
            // A scenario holds threads that wait for job slots; a few at once keep the machine full.
            for _ in 0..order.len().min(self.host.cpus.max(1) + 1) {
                scope.spawn(|| {
                    while let Some(&at) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
                        if session.cancel.load(Ordering::Relaxed) {
                            break;
                        }
                        let id = work[at].ready.found.id.clone();
                        if let Some((record, judgement)) = self.finished(&work[at], &dir, &system, &accepted) {
                            progress.kept(&id, &judgement);
                            judged.lock().unwrap_or_else(PoisonError::into_inner).push((at, record, judgement));
                            continue;
                        }
                        // What took longer the last time than is left now would only be cut off.
                        let last = self.past.expected(&id);
                        if self.how.time_budget.is_some_and(|budget| started.elapsed() + last >= budget) {
                            late.lock().unwrap_or_else(PoisonError::into_inner).push(id);
                            continue;
                        }
                        one(at);
                    }
                });
            }
        });
        let mut judged = judged.into_inner().unwrap_or_else(PoisonError::into_inner);
        judged.sort_by_key(|(at, ..)| *at);
        let judged: Vec<_> = judged.into_iter().map(|(_, record, judgement)| (record, judgement)).collect();
        let mut left_out = late.into_inner().unwrap_or_else(PoisonError::into_inner);
        if session.cancel.load(Ordering::Relaxed) {
            let never = |id: &&String| judged.iter().all(|(record, _)| record.id != **id) && !left_out.contains(id);
            let never: Vec<String> = work.iter().map(|work| &work.ready.found.id).filter(never).cloned().collect();
            left_out.extend(never);
        }
        left_out.sort();
        let record = RunRecord {
            format: FORMAT,
            id: dir.id.clone(),
            harness: env!("CARGO_PKG_VERSION").to_owned(),
            started: dir.started,
            args: self.args.clone(),
            host: format!("{}, Linux {}, {}", self.host.os_release.pretty, self.host.kernel, self.host.arch),
            losses: losses.clone(),
            scenarios: judged.iter().map(|(record, _)| record.id.clone()).collect(),
            snapshots: self.snapshots.as_ref().map(|dir| dir.display().to_string()),
            interrupted: session.cancel.load(Ordering::Relaxed),
            left_out,
            unreferenced: self.unreferenced(),
            why_left_out: Default::default(),
            shard: self.shard.clone(),
        };
        if !ci() {
            self.write_pending(&judged, &accepted)?;
        }
        let findings = verdict::unreferenced(&record.unreferenced);
        let mut report = report::report(&record, Some(dir.path.display().to_string()), &judged, findings);
        if let Some(history) = &self.history {
            history.keep(&mut report);
        }
        dir.finish(&record, &report).map_err(CliError::internal)?;
        if self.how.keep && !quiet {
            note(&format!("trees kept in {}", trees.display()));
        }
        Ok(report)
    }

    fn bootstrap(&mut self, needs: &[Need]) -> Result<(), CliError> {
        let plan = bootstrap::plan(&self.host, needs);
        if plan.is_empty() {
            if !self.how.output.quiet {
                note("bootstrap: nothing is missing");
            }
            return Ok(());
        }
        let verbose = self.how.output.verbose;
        let lock = self.host.paths.state.join("bootstrap.lock");
        let outcome = bootstrap::run(&self.host, needs, &lock, verbose, &mut |line: &str| note(line));
        match outcome {
            Ok(bootstrap::Outcome::Nothing) => Ok(()),
            Ok(bootstrap::Outcome::Installed(host) | bootstrap::Outcome::Meanwhile(host)) => {
                self.host = *host;
                Ok(())
            }
            Err(error) => Err(CliError::Host { message: error.to_string(), hint: Some(error.hint()) }),
        }
    }

    fn isolation(&self) -> Isolation {
        match self.how.isolation {
            IsolationArg::Auto => Isolation::Auto,
            IsolationArg::UserNs => Isolation::UserNs,
            IsolationArg::Direct => Isolation::Direct,
        }
    }

    fn direct(&self, capabilities: &Capabilities) -> bool {
        self.how.isolation == IsolationArg::Direct || capabilities.mount_ns.is_err()
    }

    fn losses(&self, capabilities: &Capabilities) -> Vec<LossRecord> {
        if self.how.isolation == IsolationArg::Direct {
            return vec![LossRecord {
                guarantee: "isolation from the host".into(),
                reason: "switched off by --isolation direct".into(),
                hint: None,
            }];
        }
        let lost = [
            ("only declared files are visible, and only the build's own are writable", &capabilities.mount_ns),
            ("the build sees no other process and is killed as a whole", &capabilities.pid_ns),
            ("no network", &capabilities.net_ns),
            ("a fixed host name", &capabilities.uts_ns),
            ("no message queues or semaphores shared with the host", &capabilities.ipc_ns),
        ];
        lost.into_iter()
            .filter_map(|(guarantee, result)| {
                let refusal = result.as_ref().err()?;
                Some(LossRecord {
                    guarantee: guarantee.into(),
                    reason: refusal.reason.clone(),
                    hint: Some(refusal.hint.clone()).filter(|hint| !hint.is_empty()),
                })
            })
            .collect()
    }

    /// Whether builds can be of another group: a user namespace of an ordinary user's has one group (user_namespaces(7)).
    fn may_change_group(&self) -> bool {
        self.host.is_root && self.how.isolation != IsolationArg::UserNs
    }

    fn source(
        &self,
        work: &Work,
        hand: &AtHand,
        chosen: &Chosen,
        capabilities: &Capabilities,
    ) -> Result<Source, Ended> {
        // A variation that was not made proves nothing, whether the builds are equal or not.
        let direct = self.direct(capabilities);
        let scenario = &work.ready.loaded.scenario;
        let interrupts = scenario.edit.iter().any(|edit| edit.interrupt.is_some());
        let cannot = match () {
            () if self.how.no_trace => Some("builds are not traced (`--no-trace`)".to_owned()),
            () if direct => Some("there are no mount namespaces".to_owned()),
            () => capabilities.ptrace.as_ref().err().map(|refusal| refusal.reason.clone()),
        };
        let variable = Variable {
            places: !direct,
            host_name: !direct && capabilities.uts_ns.is_ok(),
            traced: cannot.is_none(),
            addresses: capabilities.fixed_addresses.is_ok(),
            groups: self.may_change_group() && capabilities.other_group.is_ok(),
            processors: self.host.cpus,
        };
        let fixed = not_varied(scenario, variable);
        if !fixed.is_empty() {
            return Err(Ended::Skipped { reason: format!("this host cannot vary {}", fixed.join(", ")) });
        }
        if let (true, Some(why)) = (interrupts, cannot) {
            return Err(Ended::Skipped { reason: format!("a build is interrupted by its tracer, and {why}") });
        }
        if let Some(refusal) = ready::memory_refused(scenario) {
            let Refusal { reason, hint } = refusal;
            let reason = format!("not tested: an out-of-memory kill takes a memory cgroup: {reason}; hint: {hint}");
            return Err(Ended::Skipped { reason });
        }
        if direct && !chosen.unpacked.is_empty() {
            let reason = "unpacked tools have a fixed place, which takes mount namespaces";
            return Err(Ended::Skipped { reason: reason.into() });
        }
        if let Some(dir) = &self.in_place {
            return Ok(Source::InPlace(dir.clone()));
        }
        if self.direct(capabilities) && ready::names_its_place(&work.ready) {
            return Err(Ended::HostCannot {
                message:
                    "the command line names the tree by its path, and without mount namespaces a copy cannot be there"
                        .into(),
                hint: Some("build in the tree itself by --in-place, or see `kbuild-repro doctor`".into()),
            });
        }
        let Some(dir) = &hand.dir else { return Ok(Source::Mini) };
        let as_user = !self.host.is_root || self.how.isolation == IsolationArg::UserNs;
        let overlay = if as_user { &capabilities.overlay_userxattr } else { &capabilities.overlay };
        let refusal = match overlay {
            Ok(()) if !self.direct(capabilities) => return Ok(Source::Overlay(dir.clone())),
            Ok(()) => "there are no mount namespaces".to_owned(),
            Err(refusal) => refusal.reason.clone(),
        };
        if work.ready.loaded.scenario.tier() >= Tier::Kernel && crate::runner::directory_size(dir) > 512 << 20 {
            return Err(Ended::HostCannot {
                message: format!("a whole kernel tree needs an overlay file system: {refusal}"),
                hint: Some(
                    "see `kbuild-repro doctor`; as root, or with user namespaces on Linux 5.11 and later".into(),
                ),
            });
        }
        Ok(Source::Copy(dir.clone(), load::part(&work.ready)))
    }

    /// Judges a record, with mail and reproducer of each finding of class wrong, the reproducer run where that is asked for.
    fn beside_findings(
        &self,
        record: &mut ScenarioRecord,
        accepted: &verdict::Accepted,
        (job, plan, store): (&Job<'_>, &TreePlan, &Path),
        context: &Context<'_>,
        events: &dyn Fn(Event),
    ) -> Judgement {
        record.fixes.clone_from(&self.fixes);
        let mut judgement = verdict::judge(record, accepted);
        record.owners = verdict::owners(&judgement.findings, &|path| Some(job.lower.read(path).ok()??.bytes));
        for finding in &mut judgement.findings {
            verdict::owned(finding, &record.owners);
        }
        record.says = evidence::says(record, &judgement, store);
        // It changes no verdict: nothing is judged again for it.
        for finding in &mut judgement.findings {
            finding.says = record.says.get(&finding.id()).cloned().unwrap_or_default();
        }
        if self.in_place.is_some() || self.stage.is_some() || !reproduce::wanted(&judgement) {
            return judgement;
        }
        let recipe = recipe(&record.scenario, plan, job.lower, context.toolchain);
        let written = reproduce::findings(record, &judgement, &recipe, &job.dir, self.how, context, events);
        if let Err(error) = written {
            let message = format!("cannot write what goes beside the findings: {error}");
            record.ended = Ended::HarnessError { message, hint: None };
        }
        // What came of the scripts is part of the record now.
        verdict::judge(record, accepted)
    }

    fn not_run(
        &self,
        ready: &Ready,
        toolchain: &[crate::artifact::record::ToolRecord],
        ended: Ended,
    ) -> ScenarioRecord {
        ScenarioRecord {
            format: FORMAT,
            id: ready.found.id.clone(),
            file: ready.found.name.clone(),
            matrix: ready.cell.labels(),
            again: ready.found.again.clone(),
            scenario: ready.loaded.scenario.clone(),
            kernel: None,
            source: ready.source.to_string(),
            toolchain: toolchain.to_vec(),
            losses: Vec::new(),
            ended,
            wall_ms: 0,
            builds: Vec::new(),
            snapshots: Vec::new(),
            replays: Vec::new(),
            traces: std::collections::BTreeMap::new(),
            says: Default::default(),
            owners: Default::default(),
            fixes: None,
            confirmations: Default::default(),
        }
    }

    fn write_pending(
        &self,
        judged: &[(ScenarioRecord, Judgement)],
        accepted: &verdict::Accepted,
    ) -> Result<(), CliError> {
        let Some(dir) = &self.snapshots else { return Ok(()) };
        for (record, judgement) in judged {
            let pending = snapshots::write_pending(dir, record, &judgement.findings, accepted);
            for pending in pending.map_err(CliError::internal)? {
                if !self.how.output.quiet {
                    note(&format!("pending snapshot: {} (cargo insta review)", pending.display()));
                }
            }
        }
        Ok(())
    }

    /// Snapshots that no declared scenario and variant owns: computed from what is declared, never from what
    /// happened to run.
    fn unreferenced(&self) -> Vec<String> {
        let (Some(dir), Some(declared)) = (&self.snapshots, &self.declared) else { return Vec::new() };
        snapshots::unreferenced(dir, declared)
    }

    /// Writes the report as the command line asks.
    pub(crate) fn show(&self, report: &Report, session: &mut Session<'_>) -> Result<(), CliError> {
        show(report, &self.how.output, session)
    }
}

/// The scenario's own tree, if this directory is in it.
fn holds<'r>(ready: &'r Ready, dir: &Path) -> Option<&'r str> {
    let tree = ready.loaded.scenario.tree.at.as_deref()?;
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    real(dir).starts_with(real(Path::new(tree))).then_some(tree)
}

fn slot_dir(host: &Host, scratch: &Path) -> PathBuf {
    // Beside the scratch directories: every harness of this user that builds there shares them.
    scratch.join(format!("kbuild-repro-{}", host.uid)).join("slots")
}

/// Whether this is a continuous-integration job, which never writes snapshots.
fn ci() -> bool {
    std::env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false" && value != "0")
}

fn write_record(dir: &Path, record: &ScenarioRecord) -> std::io::Result<()> {
    let text = serde_json::to_vec(record)?;
    write_atomically(&dir.join("record.json"), &text).map_err(std::io::Error::other)
}
