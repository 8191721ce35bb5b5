//! Execution of a run plan: one thread a chain, gated by job slots.

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::command::Maker;
pub(super) use super::context::{Context, RunError, RunErrorKind};
use super::instance::{Instance, Source};
use super::jobs::Jobs;
use super::making::{Made, Making, Tree};
use super::prepared::{Manifest, Prepared};
use super::preparing::{Prepares, Start};
use super::reusing::Reuse;
use super::slots::SlotError;
use super::traces::Traces;
use super::{Built, Chain, Event, MAX_NOOPS, Mode, Observer, PlannedBuild, Preparation, Role, Seen, Status};
use crate::sandbox;
use crate::sandbox::memory::Group;
use crate::scenario::{Experiment, HOST_NAME, Interrupt, OracleWhen, Scenario, Tier, UMASK};
use crate::trace::{Disturb, What};
use crate::tree::source::Part;
use crate::tree::{State, TreePlan};

/// How often a running build is looked at.
pub(super) const TICK: Duration = Duration::from_millis(25);

/// After how long it is said that a tree waits for a job slot.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// How much later than the control the experiment starts, so that no second is the same for both: what a build
/// takes from the clock by `date` then differs, however fast it is. What is over a second is for the starting of the
/// two, which does not always take as long.
const APART: Duration = Duration::from_millis(1200);
/// How much later it starts where the minute is varied: then no step of it is in the minute of the same step of the
/// control, as long as both take as long.
const MINUTE: Duration = Duration::from_secs(60);
/// And by which second of a minute the control begins then.
const EARLY: u64 = 30;
/// How far the clock of files can be behind (up to a tick, 10 ms).
pub(super) const CLOCK: Duration = Duration::from_millis(20);

/// Runs a scenario's plan. What the builds did is the observer's to record; guarantees the host could not
/// give are returned.
///
/// # Errors
/// Why the plan could not be carried out. Builds that fail are no error.
pub fn run(
    context: &Context<'_>,
    scenario: &Scenario,
    plan: &TreePlan,
    observer: &dyn Observer,
) -> Result<Vec<sandbox::Loss>, RunError> {
    let chains = super::plan(scenario, context.parts);
    observer.event(Event::Planned(chains.iter().map(|chain| chain.builds.len()).sum()));
    let stop = AtomicBool::new(false);
    let (stage, clean_started) = (Mutex::new(()), Mutex::default());
    let runner = Runner {
        context,
        scenario,
        plan,
        observer,
        stop: &stop,
        stage: &stage,
        losses: Mutex::default(),
        configs: Mutex::default(),
        configured: Mutex::default(),
        control_done: AtomicBool::new(false),
        control_started: Mutex::default(),
        control_began: Mutex::default(),
        clean_started: &clean_started,
        experiment_begun: AtomicBool::new(!context.parts.experiment),
        from_nothing: Mutex::default(),
        taken: Mutex::default(),
        afresh: AtomicBool::new(false),
        copies: scenario.experiment.as_ref().is_some_and(|experiment| experiment.file_times.is_some()),
    };
    runner.all_chains(&chains)?;
    runner.doubt()?;
    if context.parts.oracles && scenario.compare.oracle == Some(OracleWhen::Last) {
        runner.trace_back()?;
        runner.doubt()?;
    }
    if context.parts.experiment {
        runner.find_variation()?;
    }
    runner.prove_ways();
    let losses = runner.losses.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(losses.into_values().collect())
}

/// A panic of another thread leaves these maps whole: each is changed in one step.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) struct Runner<'a> {
    pub(super) context: &'a Context<'a>,
    pub(super) scenario: &'a Scenario,
    pub(super) plan: &'a TreePlan,
    pub(super) observer: &'a dyn Observer,
    /// Set when one chain cannot go on: then the others need not either.
    pub(super) stop: &'a AtomicBool,
    /// Without mount namespaces only one tree at a time can be in the fixed place.
    pub(super) stage: &'a Mutex<()>,
    pub(super) losses: Mutex<BTreeMap<sandbox::Guarantee, sandbox::Loss>>,
    /// The control's `.config` before each edit, for edits that are taken back.
    pub(super) configs: Mutex<BTreeMap<usize, String>>,
    /// The control's `.config` after each edit: an oracle is a clean build of that very configuration.
    pub(super) configured: Mutex<BTreeMap<usize, String>>,
    /// Whether the control is through, and no further configuration will come.
    pub(super) control_done: AtomicBool,
    /// When the control's first build was started.
    pub(super) control_started: Mutex<Option<Instant>>,
    /// When its clean build was started from its prepared state.
    pub(super) control_began: Mutex<Option<Instant>>,
    /// When the last clean build that is no oracle was started from its prepared state.
    pub(super) clean_started: &'a Mutex<Option<Instant>>,
    /// Whether the experiment has what it starts from; oracles start from the same.
    pub(super) experiment_begun: AtomicBool,
    /// Clean builds that were made from nothing to see whether their goals come to what is prepared for them: the way, the
    /// build, and the one that it has to agree with.
    pub(super) from_nothing: Mutex<Vec<(String, String, String)>>,
    /// Oracles that were taken from earlier builds.
    pub(super) taken: Mutex<Vec<Chain>>,
    /// Whether no more are: there is something to tell.
    pub(super) afresh: AtomicBool,
    /// Whether sources are copied. Files of others are never touched, so older ones are copies; and then all are, lest a copy
    /// be another thing that is varied: the order of names in its directories, for one.
    pub(super) copies: bool,
}

/// How a chain's first build came to what it starts from.
#[derive(Debug, Default)]
struct Begun {
    /// What is told of it.
    preparation: Option<Preparation>,
    /// The build ended there already.
    failed: Option<Made>,
    /// Whether it is told what the build looked at: its result is to be kept.
    looked: bool,
}

/// What came of a build.
struct Done {
    ok: bool,
    /// Whether its artifacts are others than those before.
    changed: bool,
    /// What it looked at, if that was to be told and is known.
    manifest: Option<Manifest>,
}

impl Runner<'_> {
    /// The chains of the plan. Where the minute is varied, a build without any variation is made at the time of the control:
    /// later there is none that is not later.
    fn all_chains(&self, chains: &[Chain]) -> Result<(), RunError> {
        if !self.context.parts.experiment || !self.starts_later() {
            return self.chains(chains);
        }
        // Both are to be in one minute, as far as that is for us to say.
        let second =
            || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() % MINUTE.as_secs());
        if second() >= EARLY {
            self.observer.event(Event::Later("control".to_owned()));
        }
        while second() >= EARLY && !self.stopped() {
            thread::sleep(TICK);
        }
        thread::scope(|scope| {
            let plain = scope.spawn(|| {
                self.await_control(&self.control_began, APART);
                self.plain_variation()
            });
            let made = self.chains(chains);
            let panicked = |_| Err(RunError::new(RunErrorKind::Harness, "a thread of the harness panicked"));
            made.and(plain.join().unwrap_or_else(panicked))
        })
    }

    pub(super) fn chains(&self, chains: &[Chain]) -> Result<(), RunError> {
        let next = &AtomicUsize::new(0);
        let results: Vec<Result<(), RunError>> = thread::scope(|scope| {
            let work = move || {
                while let Some(chain) = chains.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let result = self.chain(chain);
                    if chain.role == Role::Control {
                        self.control_done.store(true, Ordering::Relaxed);
                    }
                    result.inspect_err(|_| self.stop.store(true, Ordering::Relaxed))?;
                }
                Ok(())
            };
            let threads: Vec<_> = (0..self.width(chains.len())).map(|_| scope.spawn(work)).collect();
            let panicked = || Err(RunError::new(RunErrorKind::Harness, "a thread of the harness panicked"));
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| panicked())).collect()
        });
        // One chain's error stops the others; theirs says only that they were stopped.
        let mut errors: Vec<RunError> = results.into_iter().filter_map(Result::err).collect();
        errors.sort_by_key(|error| error.kind == RunErrorKind::Interrupted);
        // A control that does not build stops the others, too; that is a result, not an interruption.
        let cancelled = self.context.cancel.load(Ordering::Relaxed);
        errors.retain(|error| error.kind != RunErrorKind::Interrupted || cancelled);
        errors.into_iter().next().map_or(Ok(()), Err)
    }

    /// How many chains run side by side. Each holds a job slot from its first build to its last; one whose
    /// builds take minutes would keep everyone else on the machine waiting, so such a scenario leaves one
    /// slot to others. Its builds are wide enough to fill the machine by borrowed slots.
    fn width(&self, chains: usize) -> usize {
        match self.scenario.tier() {
            Tier::Quick | Tier::Graft => chains,
            Tier::Kernel | Tier::Long => chains.min(self.context.pool.slots().saturating_sub(1).max(1)),
        }
    }

    /// The last oracle differs: which is the first edit whose oracle does? An artifact that is wrong after
    /// some edit stays wrong as far as later edits do not make it again, so halving finds an edit at which
    /// the difference begins.
    fn trace_back(&self) -> Result<(), RunError> {
        let Some(last) = self.scenario.edit.len().checked_sub(1) else { return Ok(()) };
        // Whether a build that fails is wrong shows only when a clean one is made.
        let failed = |n: &usize| self.observer.failed(&format!("{}/incremental", self.scenario.edit_name(*n)));
        for n in (0..last).filter(failed) {
            self.oracle(n)?;
        }
        let differs = |n: usize| {
            let name = self.scenario.edit_name(n);
            let differing = self.observer.differing(&format!("{name}/incremental"), &format!("{name}/oracle"));
            differing.is_some_and(|differing| !differing.is_empty())
        };
        if !differs(last) {
            return Ok(());
        }
        let (mut first, mut bad) = (0, last);
        while first < bad {
            let middle = first + (bad - first) / 2;
            self.oracle(middle)?;
            if differs(middle) {
                bad = middle;
            } else {
                first = middle + 1;
            }
        }
        Ok(())
    }

    /// Makes the clean build after edit `n`, which was not planned.
    fn oracle(&self, n: usize) -> Result<(), RunError> {
        let chain = super::oracle(self.scenario, n, self.context.parts);
        self.observer.event(Event::Planned(chain.builds.len()));
        self.chains(&[chain])
    }

    fn chain(&self, chain: &Chain) -> Result<(), RunError> {
        let varied = chain.role.is_varied();
        let maker = Maker::new(self.scenario, self.plan, self.context.toolchain, varied);
        let Some(first) = chain.builds.first() else { return Ok(()) };
        let state = first.edit.map_or(&self.plan.base, |n| &self.plan.edits[n].state);
        match (chain.role, first.edit) {
            (Role::Oracle, Some(n)) => self.await_config(n),
            (Role::Experiment, _) if self.starts_later() => {
                self.observer.event(Event::Later(chain.instance.clone()));
                self.await_control(&self.control_began, MINUTE);
            }
            (Role::Experiment, _) => self.await_control(&self.control_started, APART),
            _ => {}
        }
        // Before there is a job slot: whoever makes the state needs all of them.
        let start = self.start(chain, &maker, state)?;
        let keeping = match self.reuse(chain, &maker, state, &start)? {
            Reuse::Taken => return Ok(()),
            Reuse::Keep(keeping) => Some(keeping),
            Reuse::No => None,
        };
        let (mut manifest, mut all_ok) = (None, true);
        let mut prepared = None;
        // Trees are laid down when their turn comes, so that waiting chains take no disk.
        let mut jobs = self.jobs(state, varied);
        let mut server = self.job_server(chain, state, varied)?;
        let (dir, older) = (self.context.scratch.join(&chain.instance), self.older(varied));
        let mut instance = Instance::create(&dir, &self.source(), maker.in_tree, state, maker.hidden(), older)
            .map_err(|error| RunError::harness("lay the source tree down", error))?;
        if chain.role == Role::Control {
            lock(&self.control_started).get_or_insert_with(Instant::now);
        }
        let tree = Tree { maker: &maker, instance: &instance, state, jobs: &server };
        let begun = self.begin(chain, tree, start, &mut prepared)?;
        let mut begun = Some(Begun { looked: keeping.is_some(), ..begun });
        if chain.role == Role::Experiment {
            self.experiment_begun.store(true, Ordering::Relaxed);
        }
        if let Some(prepared) = prepared {
            // A tree that is kept must not go when the cache is pruned.
            let prepared = prepared.or_copy(&self.private(chain), self.context.keep);
            prepared
                .and_then(|prepared| instance.start_from(prepared))
                .map_err(|error| RunError::harness("lay the prepared tree down", error))?;
        }
        self.keep_apart(chain.role);
        let mut noops = 0;
        let mut extra = Vec::new();
        for build in &chain.builds {
            let state = build.edit.map_or(&self.plan.base, |n| &self.plan.edits[n].state);
            if self.jobs(state, varied) != jobs {
                drop(server);
                jobs = self.jobs(state, varied);
                server = self.job_server(chain, state, varied)?;
            }
            let tree = Tree { maker: &maker, instance: &instance, state, jobs: &server };
            let Done { ok, changed, manifest: saw } =
                self.build(chain, build, tree, begun.take().unwrap_or_default())?;
            manifest = manifest.or(saw);
            all_ok &= ok;
            if build.mode == Mode::Clean && !ok {
                if chain.role == Role::Control {
                    // Nothing can be said about anything; do not spend the time of the other trees.
                    self.stop.store(true, Ordering::Relaxed);
                }
                break;
            }
            if build.mode == Mode::Noop && build.edit.is_none() {
                noops += 1;
                // Until nothing changes: a fault can show at a later make only, or flip for ever.
                if changed && noops == super::MIN_NOOPS {
                    extra = (noops + 1..=MAX_NOOPS).collect();
                }
                for n in std::mem::take(&mut extra) {
                    let build = PlannedBuild { id: format!("control/noop-{n}"), mode: Mode::Noop, edit: None };
                    self.observer.event(Event::Planned(1));
                    if !self.build(chain, &build, tree, Begun::default())?.changed {
                        break;
                    }
                }
            }
        }
        drop(server);
        if let Some(keeping) = keeping.filter(|_| all_ok) {
            self.keep_result(chain, &keeping, manifest, &instance, state);
        }
        if !self.context.keep {
            instance
                .remove()
                .and_then(|()| sandbox::remove_tree(&self.private(chain)))
                .map_err(|error| RunError::harness("remove a tree", error))?;
        }
        Ok(())
    }

    /// Makes the state that the chain's clean build starts from, if it is to be made, and says what it is.
    fn begin(
        &self,
        chain: &Chain,
        tree: Tree<'_>,
        start: Start,
        prepared: &mut Option<Prepared>,
    ) -> Result<Begun, RunError> {
        let Some(first) = chain.builds.first() else { return Ok(Begun::default()) };
        match start {
            Start::Nothing => Ok(Begun::default()),
            Start::Ready(there) => {
                *prepared = Some(there);
                let preparation = Preparation { reused: true, wall_ms: 0, cpu_ms: 0, why: None };
                Ok(Begun { preparation: Some(preparation), ..Begun::default() })
            }
            Start::Make { key, claim, why } => {
                let log = self.observer.log(&first.id);
                Ok(match self.prepare(chain, tree, &log, (key, claim, why))? {
                    Prepares::Itself => Begun::default(),
                    Prepares::Failed(made) => Begun { failed: Some(made), ..Begun::default() },
                    Prepares::Ready(made, preparation) => {
                        *prepared = Some(made);
                        Begun { preparation: Some(preparation), ..Begun::default() }
                    }
                })
            }
        }
    }

    /// Has no second be the same for the clean builds of control and experiment, whichever is ready first.
    fn keep_apart(&self, role: Role) {
        if role == Role::Oracle {
            return;
        }
        // The lock is held while waiting: nobody else has to start either.
        let mut last = lock(self.clean_started);
        while last.is_some_and(|last| last.elapsed() < APART) && !self.stopped() {
            thread::sleep(TICK);
        }
        *last = Some(Instant::now());
        if role == Role::Control {
            lock(&self.control_began).get_or_insert_with(Instant::now);
        }
    }

    /// Waits, without a job slot, until so much time has passed since the control did something, or the control is through
    /// and never will.
    fn await_control(&self, did: &Mutex<Option<Instant>>, apart: Duration) {
        let over = || match *lock(did) {
            Some(started) => started.elapsed() >= apart,
            None => self.control_done.load(Ordering::Relaxed),
        };
        while !over() && !self.stopped() {
            thread::sleep(TICK);
        }
    }

    /// Waits until the control has its configuration after edit `n`, or never will, and the experiment its prepared state.
    fn await_config(&self, n: usize) {
        let there = || lock(&self.configured).contains_key(&n) || self.control_done.load(Ordering::Relaxed);
        let begun = || self.experiment_begun.load(Ordering::Relaxed) || !self.scenario.is_graft();
        while self.plan.config.is_some() && !(there() && begun()) && !self.stopped() {
            thread::sleep(TICK);
        }
    }

    pub(super) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || self.context.cancel.load(Ordering::Relaxed)
    }

    pub(super) fn interrupted(&self) -> RunError {
        RunError::new(RunErrorKind::Interrupted, "stopped")
    }

    /// What a build does otherwise, if it is varied.
    fn experiment(&self, varied: bool) -> Option<&Experiment> {
        self.scenario.experiment.as_ref().filter(|_| varied)
    }

    /// The host's name, as the build sees it.
    pub(super) fn hostname(&self, varied: bool) -> String {
        self.experiment(varied).and_then(|experiment| experiment.hostname.clone()).unwrap_or_else(|| HOST_NAME.into())
    }

    /// The umask of a build's commands.
    pub(super) fn umask(&self, varied: bool) -> u32 {
        let umask = self.experiment(varied).and_then(|experiment| experiment.umask.as_deref());
        umask.and_then(crate::scenario::parse_mode).unwrap_or(UMASK)
    }

    /// Whether address spaces of a build are random: where that is varied, only in builds that vary it.
    pub(super) fn randomizes(&self, varied: bool) -> bool {
        let random = self.scenario.experiment.as_ref().and_then(|experiment| experiment.random_addresses);
        random.is_none_or(|random| random && varied)
    }

    /// How many processors a build sees, if not all.
    pub(super) fn processors(&self, varied: bool) -> Option<u32> {
        self.experiment(varied)?.processors
    }

    /// Whether the experiment begins in another minute than the control.
    pub(super) fn starts_later(&self) -> bool {
        self.experiment(true).is_some_and(|experiment| experiment.start.is_some())
    }

    /// By how many seconds the sources of a build are older.
    pub(super) fn older(&self, varied: bool) -> u32 {
        self.experiment(varied).and_then(|experiment| experiment.file_times).unwrap_or(0)
    }

    /// What a tree is laid down from.
    fn source(&self) -> Source {
        match self.context.source {
            Source::Overlay(dir) if self.copies => {
                Source::Copy(dir.clone(), if self.scenario.is_graft() { Part::Graft } else { Part::Whole })
            }
            source => source.clone(),
        }
    }

    /// The group of a build's commands, if it is another than the harness's.
    pub(super) fn group(&self, varied: bool) -> Option<u32> {
        self.experiment(varied)?.group
    }

    /// By which seed the order of jobs is another one, if it is.
    pub(super) fn shuffle(&self, varied: bool) -> Option<u32> {
        self.experiment(varied)?.shuffle
    }

    /// What a build's tracer does to it, beside telling of it.
    fn disturbs(&self, build: &PlannedBuild, varied: bool) -> Disturb {
        let edit = build.edit.filter(|_| build.mode == Mode::Interrupted);
        let directories = self.experiment(varied).and_then(|experiment| experiment.directories);
        Disturb {
            interrupt: edit.and_then(|n| self.scenario.edit[n].interrupt.clone()),
            delays: self.shuffle(varied),
            reversed: directories.is_some(),
            group: None,
        }
    }

    pub(super) fn jobs(&self, state: &State, varied: bool) -> Option<u32> {
        self.experiment(varied).and_then(|experiment| experiment.jobs).or(state.jobs)
    }

    /// Waits for a job slot, and for as many as the scenario fixes.
    fn job_server(&self, chain: &Chain, state: &State, varied: bool) -> Result<Jobs, RunError> {
        let since = std::cell::Cell::new(Instant::now());
        let told = std::cell::Cell::new(false);
        let stopped = || {
            if !self.context.pool.is_idle() {
                // To wait for one's own builds is the common case, and nobody's concern.
                since.set(Instant::now());
            } else if !told.get() && since.get().elapsed() > PATIENCE {
                told.set(true);
                self.observer.event(Event::Waiting(chain.instance.clone()));
            }
            self.stopped()
        };
        let jobs = self.jobs(state, varied);
        let jobs = Jobs::wait(self.context.pool, jobs, self.context.max_jobs, &stopped);
        let hinted = |error: SlotError| {
            let hint = error.hint();
            let error = RunError::harness("get a job slot", error);
            if error.hint.is_some() { error } else { error.hint(hint) }
        };
        jobs.map_err(hinted)?.ok_or_else(|| self.interrupted())
    }

    /// Makes one build.
    fn build(&self, chain: &Chain, build: &PlannedBuild, tree: Tree<'_>, begun: Begun) -> Result<Done, RunError> {
        if self.stopped() {
            return Err(self.interrupted());
        }
        self.observer.event(Event::Started(build.id.clone()));
        let started = Instant::now();
        let guard = self.context.direct.then(|| lock(self.stage));
        let home = tree.instance;
        let staged = if guard.is_some() { Some(self.enter_stage(home)?) } else { None };
        let instance = staged.as_ref().unwrap_or(home);
        let observed = self.make_and_observe(chain, build, Tree { instance, ..tree }, begun);
        if staged.is_some() {
            fs::rename(&instance.dir, &home.dir).map_err(|error| RunError::harness("move a tree back", error))?;
        }
        drop(guard);
        let (status, done) = observed?;
        self.observer.event(Event::Ended(build.id.clone(), status, started.elapsed()));
        Ok(done)
    }

    fn make_and_observe(
        &self,
        chain: &Chain,
        build: &PlannedBuild,
        tree: Tree<'_>,
        begun: Begun,
    ) -> Result<(Status, Done), RunError> {
        let log = self.observer.log(&build.id);
        let varied = chain.role.is_varied();
        let objtree = tree.instance.objtree();
        let traces = match self.context.trace && !self.context.direct && begun.failed.is_none() {
            true => {
                let dir =
                    self.context.scratch.join(format!("{}-traces", chain.instance)).join(build.id.replace('/', "-"));
                let what = match (begun.looked, chain.role, build.mode) {
                    (true, ..) => What::BuildLooked,
                    (_, Role::Control, Mode::Clean) => What::Build,
                    _ => What::BuildContents,
                };
                let made = Traces::all(dir, self.context.sandbox.program(), tree.maker, what)
                    .map_err(|error| RunError::harness("make a directory for traces", error))?;
                let disturb = self.disturbs(build, varied);
                let group = disturb.interrupt.as_ref().and_then(Interrupt::memory_bytes).map(Group::create);
                let group = group.transpose().map_err(|refusal| {
                    RunError::new(RunErrorKind::HostCannot, format!("cannot limit memory: {}", refusal.reason))
                        .hint(refusal.hint)
                })?;
                Some(made.disturbing(disturb, group))
            }
            false => None,
        };
        // The kernel stamps files by a clock that may be a tick behind.
        let began = SystemTime::now() - CLOCK;
        let made = match begun.failed {
            Some(made) => made,
            None => Making::new(self, tree, varied, log.clone())?.traced(traces.as_ref()).make(build)?,
        };
        let looked = traces.as_ref().filter(|_| begun.looked && made.status.ok());
        let manifest = looked.and_then(|it| self.looked_at(it, made.ran, tree.maker, tree.state, began));
        let traced = traces.as_ref().map(|it| it.traced(made.ran, tree.maker, tree.mounts(self.context.toolchain)));
        fs::write(super::script_path(&log), &made.script)
            .map_err(|error| RunError::harness("write build.sh", error))?;
        let variations = self.experiment(varied).map(Experiment::variations).unwrap_or_default();
        let built = Built {
            build,
            varied: variations.into_iter().map(|(name, _)| name).collect(),
            role: chain.role,
            instance: &chain.instance,
            commands: made.commands,
            status: made.status.clone(),
            wall: made.wall,
            cpu: made.cpu,
            objtree,
            lower: tree.instance.lower(),
            prepared: tree.instance.prepared().cloned(),
            preparation: begun.preparation,
            log,
            traced,
        };
        let seen = self.observer.built(&built)?;
        if let (Some(traced), Role::Experiment, Seen::Changed | Seen::Same, true) =
            (&built.traced, chain.role, &seen, made.status.ok())
        {
            self.replay_in_place(build, tree, &built.log, traced)?;
        }
        if let Some(traces) = &traces
            && !self.context.keep
        {
            sandbox::remove_tree(&traces.dir).map_err(|error| RunError::harness("remove traces", error))?;
        }
        let done = |status: Status, changed| (status.clone(), Done { ok: status.ok(), changed, manifest });
        match seen {
            Seen::Same => Ok(done(made.status, false)),
            Seen::Changed => Ok(done(made.status, true)),
            Seen::Nothing(status) => Ok(done(status, false)),
            Seen::Stopped => Err(self.interrupted()),
        }
    }

    /// Without mount namespaces a path is only fixed if the tree is really there.
    fn enter_stage(&self, instance: &Instance) -> Result<Instance, RunError> {
        let stage = self.context.scratch.join("build");
        fs::rename(&instance.dir, &stage).map_err(|error| RunError::harness("move a tree to its place", error))?;
        Ok(instance.at(&stage))
    }
}
