//! Execution of a run plan: one thread a chain, gated by job slots.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::command::{Maker, script, shown};
use super::instance::{Instance, Source, directory_size};
use super::jobs::Jobs;
use super::slots::{Pool, SlotError};
use super::{Built, Chain, Event, MAX_NOOPS, Mode, Observer, Parts, PlannedBuild, Role, Status};
use crate::sandbox::{
    self, Change, Command, Content, HelperErrorKind, Isolation, Limits, Op, Sandbox, SandboxError, Spec, Stamp, View,
};
use crate::scenario::{OracleWhen, Scenario, Tier};
use crate::tree::kconfig::{self, Unmet};
use crate::tree::{ConfigBase, EditPlan, FileOp, State, TreePlan};

/// How often a running build is looked at.
const TICK: Duration = Duration::from_millis(25);

/// After how long it is said that a tree waits for a job slot.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a scenario is run with.
#[derive(Debug)]
pub struct Context<'a> {
    /// Starts builds.
    pub sandbox: &'a Sandbox,
    /// The machine's job slots.
    pub pool: &'a Pool,
    /// A directory of the scenario's own for its trees.
    pub scratch: &'a Path,
    /// Where the sources come from.
    pub source: &'a Source,
    /// How much isolation.
    pub isolation: Isolation,
    /// Whether the host has no mount namespaces: trees are then moved to one fixed place to be built.
    pub direct: bool,
    /// The most jobs one build may have.
    pub max_jobs: usize,
    /// Bytes that must stay free on the scratch file system.
    pub reserve: u64,
    /// Bytes that the trees may take; over the scenario's own bound.
    pub disk_limit: Option<u64>,
    /// Set when everything is to stop.
    pub cancel: &'a AtomicBool,
    /// Whether trees stay.
    pub keep: bool,
    /// Which parts of the main job.
    pub parts: Parts,
}

/// Whose fault it is that a scenario could not be run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunErrorKind {
    /// The scenario does not fit its tree.
    Scenario,
    /// The host refuses something.
    HostCannot,
    /// The harness or the host is at fault.
    Harness,
    /// Stopped from outside.
    Interrupted,
}

/// Why a scenario could not be run to its end.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct RunError {
    /// Whose fault it is.
    pub kind: RunErrorKind,
    /// What happened.
    pub message: String,
    /// What would help.
    pub hint: Option<String>,
    /// Symbols that are not as asked; the caller says what they depend on.
    pub unmet: Vec<Unmet>,
}

impl RunError {
    fn new(kind: RunErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None, unmet: Vec::new() }
    }
    fn harness(what: &str, error: impl std::fmt::Display) -> Self {
        Self::new(RunErrorKind::Harness, format!("cannot {what}: {error}"))
    }
    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl From<SandboxError> for RunError {
    fn from(error: SandboxError) -> Self {
        let hint = error.hint().map(str::to_owned);
        let source = std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
        Self { hint, ..Self::new(RunErrorKind::Harness, format!("{error}{source}")) }
    }
}

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
    let runner = Runner {
        context,
        scenario,
        plan,
        observer,
        stop: &stop,
        stage: Mutex::new(()),
        losses: Mutex::default(),
        configs: Mutex::default(),
        configured: Mutex::default(),
        control_done: AtomicBool::new(false),
    };
    runner.chains(&chains)?;
    if scenario.compare.oracle == Some(OracleWhen::Last) {
        runner.trace_back()?;
    }
    let losses = runner.losses.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(losses.into_values().collect())
}

/// A panic of another thread leaves these maps whole: each is changed in one step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Runner<'a> {
    context: &'a Context<'a>,
    scenario: &'a Scenario,
    plan: &'a TreePlan,
    observer: &'a dyn Observer,
    /// Set when one chain cannot go on: then the others need not either.
    stop: &'a AtomicBool,
    /// Without mount namespaces only one tree at a time can be in the fixed place.
    stage: Mutex<()>,
    losses: Mutex<BTreeMap<sandbox::Guarantee, sandbox::Loss>>,
    /// The control's `.config` before each edit, for edits that are taken back.
    configs: Mutex<BTreeMap<usize, String>>,
    /// The control's `.config` after each edit: an oracle is a clean build of that very configuration.
    configured: Mutex<BTreeMap<usize, String>>,
    /// Whether the control is through, and no further configuration will come.
    control_done: AtomicBool,
}

/// What one series of commands in the sandbox came to.
struct Ran {
    status: Status,
    wall: Duration,
    cpu: Duration,
}

/// A build in the making: its log and what it has done so far.
struct Making<'m> {
    log: File,
    log_path: PathBuf,
    started: Instant,
    deadline: Instant,
    slot: &'m Jobs,
    commands: Vec<Vec<String>>,
    ran: Ran,
}

impl Runner<'_> {
    fn chains(&self, chains: &[Chain]) -> Result<(), RunError> {
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
        let differs = |n: usize| {
            let name = self.scenario.edit_name(n);
            self.observer.differ(&format!("{name}/incremental"), &format!("{name}/oracle"))
        };
        if !differs(last) {
            return Ok(());
        }
        let (mut first, mut bad) = (0, last);
        while first < bad {
            let middle = first + (bad - first) / 2;
            let chain = super::oracle(self.scenario, middle, self.context.parts);
            self.observer.event(Event::Planned(chain.builds.len()));
            self.chains(&[chain])?;
            if differs(middle) {
                bad = middle;
            } else {
                first = middle + 1;
            }
        }
        Ok(())
    }

    fn chain(&self, chain: &Chain) -> Result<(), RunError> {
        let varied = chain.role == Role::Experiment;
        let maker = Maker::new(self.scenario, self.plan, varied);
        let Some(first) = chain.builds.first() else { return Ok(()) };
        let state = first.edit.map_or(&self.plan.base, |n| &self.plan.edits[n].state);
        if let (Role::Oracle, Some(n)) = (chain.role, first.edit) {
            self.await_config(n);
        }
        // Trees are laid down when their turn comes, so that waiting chains take no disk.
        let mut jobs = self.jobs(state, varied);
        let mut server = self.job_server(chain, state, varied)?;
        let instance =
            Instance::create(&self.context.scratch.join(&chain.instance), self.context.source, maker.in_tree, state)
                .map_err(|error| RunError::harness("lay the source tree down", error))?;
        let mut noops = 0;
        let mut extra = Vec::new();
        for build in &chain.builds {
            let state = build.edit.map_or(&self.plan.base, |n| &self.plan.edits[n].state);
            if self.jobs(state, varied) != jobs {
                drop(server);
                jobs = self.jobs(state, varied);
                server = self.job_server(chain, state, varied)?;
            }
            let (ok, changed) = self.build(chain, build, &maker, &instance, state, &server)?;
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
                    if !self.build(chain, &build, &maker, &instance, state, &server)?.1 {
                        break;
                    }
                }
            }
        }
        drop(server);
        if !self.context.keep {
            instance.remove().map_err(|error| RunError::harness("remove a tree", error))?;
        }
        Ok(())
    }

    /// Waits until the control has its configuration after edit `n`, or never will.
    fn await_config(&self, n: usize) {
        let there = || lock(&self.configured).contains_key(&n) || self.control_done.load(Ordering::Relaxed);
        while self.plan.config.is_some() && !there() && !self.stopped() {
            thread::sleep(TICK);
        }
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || self.context.cancel.load(Ordering::Relaxed)
    }

    fn interrupted(&self) -> RunError {
        RunError::new(RunErrorKind::Interrupted, "stopped")
    }

    fn jobs(&self, state: &State, varied: bool) -> Option<u32> {
        let experiment = self.scenario.experiment.as_ref().filter(|_| varied);
        experiment.and_then(|experiment| experiment.jobs).or(state.jobs)
    }

    /// Waits for a job slot, and for as many as the scenario fixes.
    fn job_server(&self, chain: &Chain, state: &State, varied: bool) -> Result<Jobs, RunError> {
        let began = Instant::now();
        let told = std::cell::Cell::new(false);
        let stopped = || {
            if !told.get() && began.elapsed() > PATIENCE {
                told.set(true);
                self.observer.event(Event::Waiting(chain.instance.clone()));
            }
            self.stopped()
        };
        let jobs = self.jobs(state, varied);
        let jobs = Jobs::wait(self.context.pool, jobs, self.context.max_jobs, &stopped);
        let hinted = |error: SlotError| RunError::harness("get a job slot", &error).hint(error.hint());
        jobs.map_err(hinted)?.ok_or_else(|| self.interrupted())
    }

    /// Makes one build; says whether it worked and whether its artifacts changed.
    fn build(
        &self,
        chain: &Chain,
        build: &PlannedBuild,
        maker: &Maker<'_>,
        instance: &Instance,
        state: &State,
        slot: &Jobs,
    ) -> Result<(bool, bool), RunError> {
        if self.stopped() {
            return Err(self.interrupted());
        }
        self.observer.event(Event::Started(build.id.clone()));
        let log_path = self.observer.log(&build.id);
        let log = File::options().create(true).append(true).open(&log_path);
        let started = Instant::now();
        let mut making = Making {
            log: log.map_err(|error| RunError::harness("open the log", error))?,
            log_path,
            started,
            deadline: started + super::timeout(self.scenario),
            slot,
            commands: Vec::new(),
            ran: Ran { status: Status::Ok, wall: Duration::ZERO, cpu: Duration::ZERO },
        };
        let varied = chain.role == Role::Experiment;
        let guard = self.context.direct.then(|| lock(&self.stage));
        let home = instance;
        let staged = if guard.is_some() { Some(self.enter_stage(home)?) } else { None };
        let instance = staged.as_ref().unwrap_or(home);
        let made = self.make(build, maker, instance, state, varied, &mut making);
        let observed = made.and_then(|()| {
            let env = maker.environment(state, varied);
            let text = script(&env, Path::new(&maker.cwd()), &making.commands, making.slot.most());
            fs::write(super::script_path(&making.log_path), text)
                .map_err(|error| RunError::harness("write build.sh", error))?;
            let built = Built {
                build,
                role: chain.role,
                instance: &chain.instance,
                commands: making.commands.iter().map(|argv| shown(argv)).collect(),
                status: making.ran.status.clone(),
                wall: making.ran.wall,
                cpu: making.ran.cpu,
                objtree: instance.objtree(),
                log: making.log_path.clone(),
            };
            self.observer.built(&built).map_err(|message| RunError::new(RunErrorKind::Harness, message))
        });
        if staged.is_some() {
            fs::rename(&instance.dir, &home.dir).map_err(|error| RunError::harness("move a tree back", error))?;
        }
        drop(guard);
        let changed = observed?;
        self.observer.event(Event::Ended(build.id.clone(), making.ran.status.clone(), making.started.elapsed()));
        Ok((making.ran.status.ok(), changed))
    }

    /// Without mount namespaces a path is only fixed if the tree is really there.
    fn enter_stage(&self, instance: &Instance) -> Result<Instance, RunError> {
        let stage = self.context.scratch.join("build");
        fs::rename(&instance.dir, &stage).map_err(|error| RunError::harness("move a tree to its place", error))?;
        Ok(instance.at(&stage))
    }

    fn make(
        &self,
        build: &PlannedBuild,
        maker: &Maker<'_>,
        instance: &Instance,
        state: &State,
        varied: bool,
        making: &mut Making<'_>,
    ) -> Result<(), RunError> {
        let goal = |goals: &[String]| maker.make(state, goals);
        let mut ops = Vec::new();
        let mut before: Vec<Vec<String>> = Vec::new();
        match build.mode {
            Mode::Clean => {
                ops = instance.initial_ops(maker, state);
                if !self.scenario.make.clean_first.is_empty() {
                    before.push(goal(&self.scenario.make.clean_first));
                }
                before.extend(self.scenario.tree.prepare.iter().cloned());
                if !self.configure(build.edit, maker, instance, state, varied, making, &mut ops, &mut before)? {
                    return Ok(());
                }
            }
            Mode::Noop => {}
            Mode::Incremental => {
                let edit = build.edit.map(|n| (n, &self.plan.edits[n]));
                if let Some((n, edit)) = edit
                    && !self.edit(n, edit, maker, instance, state, varied, making, &mut ops, &mut before)?
                {
                    return Ok(());
                }
                if let (Some(n), Some(_), Ok(config)) = (build.edit, &self.plan.config, self.config_text(instance)) {
                    lock(&self.configured).insert(n, config);
                }
            }
        }
        before.push(goal(&state.goals));
        self.spawn(maker, instance, state, varied, making, ops, before)
    }

    /// Base, fragments and symbols, or for an oracle the control's `.config` after `edit`; says whether the
    /// build can go on.
    #[expect(clippy::too_many_arguments, reason = "the parts of one build, all borrowed, all needed")]
    fn configure(
        &self,
        edit: Option<usize>,
        maker: &Maker<'_>,
        instance: &Instance,
        state: &State,
        varied: bool,
        making: &mut Making<'_>,
        ops: &mut Vec<Op>,
        before: &mut Vec<Vec<String>>,
    ) -> Result<bool, RunError> {
        let Some(config) = &self.plan.config else { return Ok(true) };
        let op = |change| Op { root: maker.obj.clone().into(), path: ".config".into(), change, stamp: None };
        if let Some(config) = edit.and_then(|n| lock(&self.configured).get(&n).cloned()) {
            ops.push(op(Change::Write { content: Content::Bytes(config.into_bytes()), mode: None }));
            return Ok(true);
        }
        let goal = |name: &str| maker.make(state, &[name.to_owned()]);
        let mut asked: Vec<(String, String)> = Vec::new();
        let mut text = String::new();
        for (_, fragment) in &config.fragments {
            asked.extend(kconfig::assignments(fragment));
            text.push_str(fragment);
            text.push('\n');
        }
        for (name, value) in &state.symbols {
            asked.push((name.clone(), value.clone()));
            text.push_str(&kconfig::line(name, value));
        }
        let whole = match &config.base {
            ConfigBase::File(base) => {
                let content = Content::Bytes(format!("{base}\n{text}").into_bytes());
                ops.push(op(Change::Write { content, mode: None }));
                true
            }
            ConfigBase::Goal(name) => {
                before.push(goal(name));
                asked.is_empty()
            }
        };
        if !whole {
            self.spawn(maker, instance, state, varied, making, std::mem::take(ops), std::mem::take(before))?;
            if !making.ran.status.ok() {
                return Ok(false);
            }
            ops.push(op(Change::Append { content: Content::Bytes(text.into_bytes()) }));
        }
        if asked.is_empty() {
            return Ok(true);
        }
        before.push(goal("olddefconfig"));
        self.spawn(maker, instance, state, varied, making, std::mem::take(ops), std::mem::take(before))?;
        if !making.ran.status.ok() {
            return Ok(false);
        }
        self.check_config(instance, &asked)?;
        Ok(true)
    }

    fn config_text(&self, instance: &Instance) -> Result<String, RunError> {
        let path = instance.objtree().join(".config");
        let bytes = fs::read(&path).map_err(|error| {
            RunError::new(RunErrorKind::Scenario, format!("the build made no `.config`: {error}"))
                .hint("is this a kbuild tree? `tree.kind = \"make\"` is for others")
        })?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn check_config(&self, instance: &Instance, asked: &[(String, String)]) -> Result<(), RunError> {
        let unmet = kconfig::unmet(&self.config_text(instance)?, asked);
        if unmet.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = unmet.iter().map(|unmet| unmet.name.as_str()).collect();
        let message = format!("the configuration is not as asked: {}", names.join(", "));
        Err(RunError { unmet, ..RunError::new(RunErrorKind::Scenario, message) })
    }

    /// Prepares the build after an edit; says whether it can go on.
    #[expect(clippy::too_many_arguments, reason = "the parts of one build, all borrowed, all needed")]
    fn edit(
        &self,
        n: usize,
        edit: &EditPlan,
        maker: &Maker<'_>,
        instance: &Instance,
        state: &State,
        varied: bool,
        making: &mut Making<'_>,
        ops: &mut Vec<Op>,
        before: &mut Vec<Vec<String>>,
    ) -> Result<bool, RunError> {
        let stamp = sandbox::stamp_after(&instance.stamped(), &instance.dir)
            .map_err(|error| RunError::harness("find a time stamp for the edit", error))?;
        instance.install_tools(state).map_err(|error| RunError::harness("put a tool in place", error))?;
        for op in &edit.ops {
            ops.push(self.op(edit, op, maker, instance, stamp)?);
        }
        if let Some(clean) = &edit.clean {
            before.push(maker.make(state, std::slice::from_ref(clean)));
        }
        if self.plan.config.is_some() {
            let config = self.config_text(instance).unwrap_or_default();
            lock(&self.configs).insert(n, config);
        }
        if self.plan.config.is_some() && !before.is_empty() {
            self.spawn(maker, instance, state, varied, making, std::mem::take(ops), std::mem::take(before))?;
            if !making.ran.status.ok() {
                return Ok(false);
            }
            if !instance.objtree().join(".config").exists() {
                // `mrproper` took the configuration away; nobody builds without making it again.
                return self.configure(None, maker, instance, state, varied, making, ops, before);
            }
        }
        if !edit.config_changed {
            return Ok(true);
        }
        let asked = self.symbols_of(n);
        let have = self.config_text(instance)?;
        if kconfig::unmet(&have, &asked).is_empty() {
            return Err(RunError::new(
                RunErrorKind::Scenario,
                format!("edit `{}` changes nothing: the configuration already is as it asks", edit.name),
            )
            .hint("set another value"));
        }
        let text: String = asked.iter().map(|(name, value)| kconfig::line(name, value)).collect();
        ops.push(Op {
            root: maker.obj.clone().into(),
            path: ".config".into(),
            change: Change::Append { content: Content::Bytes(text.into_bytes()) },
            stamp: Some(stamp),
        });
        let command = maker.make(state, &["olddefconfig".to_owned()]);
        self.spawn(maker, instance, state, varied, making, std::mem::take(ops), vec![command])?;
        if !making.ran.status.ok() {
            return Ok(false);
        }
        self.check_config(instance, &asked)?;
        Ok(true)
    }

    /// The symbols that edit `n` sets, and those that it gives back their value from before.
    fn symbols_of(&self, n: usize) -> Vec<(String, String)> {
        let now = &self.plan.edits[n].state.symbols;
        let then = n.checked_sub(1).map_or(&self.plan.base.symbols, |m| &self.plan.edits[m].state.symbols);
        let mut asked: Vec<(String, String)> = now
            .iter()
            .filter(|(name, value)| then.get(*name) != Some(value))
            .map(|(a, b)| (a.clone(), b.clone()))
            .collect();
        let configs = lock(&self.configs);
        for name in then.keys().filter(|name| !now.contains_key(*name)) {
            // It was not the scenario that set it before: what the configuration had then counts.
            let setter = (0..n).find(|&m| self.plan.edits[m].state.symbols.contains_key(name));
            let config = setter.and_then(|m| configs.get(&m)).map_or("", String::as_str);
            let value = kconfig::assignments(config).into_iter().rfind(|(have, _)| have == name);
            asked.push((name.clone(), value.map_or("n".to_owned(), |(_, value)| value)));
        }
        asked
    }

    fn op(
        &self,
        edit: &EditPlan,
        op: &FileOp,
        maker: &Maker<'_>,
        instance: &Instance,
        stamp: Stamp,
    ) -> Result<Op, RunError> {
        let (path, change, stamp) = match op {
            FileOp::Write { path, bytes, mode } => {
                (path, Change::Write { content: Content::Bytes(bytes.to_vec()), mode: Some(*mode) }, Some(stamp))
            }
            FileOp::Delete { path } => (path, Change::Delete { tree: false }, None),
            FileOp::Rename { from, to } => (from, Change::Rename { to: to.into() }, None),
            FileOp::Chmod { path, mode } => (path, Change::Chmod { mode: *mode }, None),
            FileOp::Touch { path } => (path, Change::SetTimes, Some(stamp)),
            FileOp::Object(change) => return self.object_op(edit, change, maker, instance, stamp),
        };
        Ok(Op { root: maker.src.clone().into(), path: path.into(), change, stamp })
    }

    /// A change in the object tree, against what the last build left there.
    fn object_op(
        &self,
        edit: &EditPlan,
        change: &crate::scenario::Change,
        maker: &Maker<'_>,
        instance: &Instance,
        stamp: Stamp,
    ) -> Result<Op, RunError> {
        let path = change.file.clone().unwrap_or_default();
        let scenario =
            |message: String| RunError::new(RunErrorKind::Scenario, format!("edit `{}`: {message}", edit.name));
        let on_disk = instance.objtree().join(&path);
        let there = fs::symlink_metadata(&on_disk).is_ok();
        if !there && change.write.is_none() {
            return Err(scenario(format!("`{path}` is not in the object tree"))
                .hint("the build has not made it; look at `run --keep`"));
        }
        let read = || fs::read(&on_disk).map_err(|error| scenario(format!("cannot read `{path}`: {error}")));
        let written = |bytes: Vec<u8>| Change::Write { content: Content::Bytes(bytes), mode: None };
        let (change, stamp) = if let Some(text) = &change.write {
            (written(text.clone().into_bytes()), Some(stamp))
        } else if let Some(text) = &change.append {
            (Change::Append { content: Content::Bytes(text.clone().into_bytes()) }, Some(stamp))
        } else if let (Some(old), Some(new)) = (&change.replace, &change.with) {
            let wanted = change.count.unwrap_or(1) as usize;
            let new = crate::tree::replace(&read()?, old, new, wanted)
                .map_err(|(count, _)| scenario(format!("`{path}` holds the text {count} time(s), not {wanted}")))?;
            (written(new), Some(stamp))
        } else if let Some(text) = &change.insert {
            let (anchor, new) = match (&change.before, &change.after) {
                (Some(anchor), _) => (anchor, format!("{text}{anchor}")),
                (None, Some(anchor)) => (anchor, format!("{anchor}{text}")),
                (None, None) => return Err(scenario("`insert` needs `before` or `after`".into())),
            };
            let new = crate::tree::replace(&read()?, anchor, &new, 1)
                .map_err(|(count, _)| scenario(format!("`{path}` holds the anchor {count} time(s), not once")))?;
            (written(new), Some(stamp))
        } else if change.delete.is_some() {
            (Change::Delete { tree: true }, None)
        } else if let Some(to) = &change.rename {
            (Change::Rename { to: to.into() }, None)
        } else if let Some(mode) = change.chmod.as_deref().and_then(crate::scenario::parse_mode) {
            (Change::Chmod { mode }, None)
        } else {
            (Change::SetTimes, Some(stamp))
        };
        Ok(Op { root: maker.obj.clone().into(), path: path.into(), change, stamp })
    }

    /// Runs commands in the sandbox and waits for them, within the limits of the build.
    #[expect(clippy::too_many_arguments, reason = "the parts of one build, all borrowed, all needed")]
    fn spawn(
        &self,
        maker: &Maker<'_>,
        instance: &Instance,
        state: &State,
        varied: bool,
        making: &mut Making<'_>,
        ops: Vec<Op>,
        commands: Vec<Vec<String>>,
    ) -> Result<(), RunError> {
        let spec = self.spec(maker, instance, state, varied, making.slot, ops, &commands);
        making.commands.extend(commands);
        if self.context.keep {
            let text = serde_json::to_vec(&spec).map_err(|error| RunError::harness("write spec.json", error))?;
            fs::write(making.log_path.with_file_name("spec.json"), text)
                .map_err(|error| RunError::harness("write spec.json", error))?;
        }
        let mut running = self.context.sandbox.spawn(&spec, &making.log)?;
        let mut checked = Instant::now();
        let outcome = loop {
            if let Some(outcome) = running.wait_timeout(TICK)? {
                break outcome;
            }
            if self.stopped() {
                running.kill();
                return Err(self.interrupted());
            }
            if Instant::now() >= making.deadline {
                running.kill();
                let seconds = super::timeout(self.scenario).as_secs();
                let _ = writeln!(making.log, "*** stopped: not through after {seconds} s");
                making.ran.status = Status::Timeout(seconds);
                making.ran.wall = making.started.elapsed();
                return Ok(());
            }
            if checked.elapsed() >= Duration::from_secs(1) {
                if let Some(full) = self.disk_full() {
                    running.kill();
                    let _ = writeln!(making.log, "*** stopped: {full}");
                    making.ran.status = Status::DiskFull(full);
                    making.ran.wall = making.started.elapsed();
                    return Ok(());
                }
                checked = Instant::now();
            }
        };
        lock(&self.losses).extend(outcome.losses.iter().map(|loss| (loss.guarantee, loss.clone())));
        for command in &outcome.commands {
            making.ran.wall += command.wall;
            making.ran.cpu += command.user + command.system;
            making.ran.status = match command.status {
                sandbox::Status::Exited(0) => Status::Ok,
                sandbox::Status::Exited(code) => Status::Exit(code),
                // SIGXFSZ: the limit on the size of one file.
                sandbox::Status::Signaled(25) => Status::DiskFull("a file grew over the limit".into()),
                sandbox::Status::Signaled(signal) => Status::Signal(signal),
            };
        }
        match outcome.error {
            None => Ok(()),
            Some(error) => {
                let kind = match error.kind {
                    HelperErrorKind::HostCannot => RunErrorKind::HostCannot,
                    HelperErrorKind::Op { .. } | HelperErrorKind::Exec { .. } => RunErrorKind::Scenario,
                    HelperErrorKind::BadSpec | HelperErrorKind::Internal => RunErrorKind::Harness,
                };
                Err(RunError { hint: error.hint.clone(), ..RunError::new(kind, error.to_string()) })
            }
        }
    }

    fn limit(&self) -> Option<u64> {
        [self.context.disk_limit, super::disk_limit(self.scenario)].into_iter().flatten().min()
    }

    /// Why the build cannot go on writing, if so.
    fn disk_full(&self) -> Option<String> {
        let free =
            rustix::fs::statvfs(self.context.scratch).map(|stat| stat.f_bavail * stat.f_frsize).unwrap_or(u64::MAX);
        if free < self.context.reserve {
            return Some(format!("only {} MiB are free on the scratch file system", free >> 20));
        }
        let limit = self.limit()?;
        let used = directory_size(self.context.scratch);
        (used > limit).then(|| format!("the trees take {} MiB, the limit is {} MiB", used >> 20, limit >> 20))
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one build, all borrowed, all needed")]
    fn spec(
        &self,
        maker: &Maker<'_>,
        instance: &Instance,
        state: &State,
        varied: bool,
        slot: &Jobs,
        ops: Vec<Op>,
        commands: &[Vec<String>],
    ) -> Spec {
        let mut env = maker.environment(state, varied);
        env.insert("MAKEFLAGS".to_owned(), slot.makeflags());
        let experiment = self.scenario.experiment.as_ref().filter(|_| varied);
        let mut spec = Spec {
            isolation: if self.context.direct { Isolation::Direct } else { self.context.isolation },
            view: if self.scenario.tree.at.is_some() { View::Host } else { View::Toolchain },
            extra_read_only: self.scenario.tree.host.iter().map(PathBuf::from).collect(),
            mounts: instance.mounts(maker),
            ops,
            hostname: experiment.and_then(|e| e.hostname.clone()).unwrap_or("repro".into()),
            limits: Limits { file_size: self.limit(), ..Limits::default() },
            inherit_fds: slot.fds(),
            ..Spec::default()
        };
        for tool in state.tools.values() {
            if let Some(dir) = tool.path.as_deref().and_then(|path| Path::new(path).parent()) {
                spec.extra_read_only.push(dir.to_owned());
            }
        }
        // Without mount namespaces the command line must name the places on the host.
        let place = |inside: &str| {
            if self.context.direct { sandbox::direct_path(&spec, Path::new(inside)) } else { PathBuf::from(inside) }
        };
        let cwd = place(&maker.cwd());
        let object = format!("O={}", maker.obj);
        let object_here = format!("O={}", place(&maker.obj).display());
        if self.context.direct {
            let tools = place(super::command::TOOLS).display().to_string();
            if let Some(path) = env.get_mut("PATH") {
                *path = path.replacen(super::command::TOOLS, &tools, 1);
            }
            env.insert("HOME".into(), instance.dir.join("tools").display().to_string());
        }
        let root_here = |root: &Path| place(&root.display().to_string());
        let roots: Vec<PathBuf> = spec.ops.iter().map(|op| root_here(&op.root)).collect();
        spec.commands = commands
            .iter()
            .map(|argv| Command {
                argv: argv
                    .iter()
                    .map(|word| if *word == object { object_here.clone().into() } else { word.clone().into() })
                    .collect(),
                cwd: cwd.clone(),
                env: Vec::new(),
                label: shown(argv),
            })
            .collect();
        for (op, root) in spec.ops.iter_mut().zip(roots) {
            op.root = root;
        }
        spec.env = env.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        spec
    }
}
