//! One build in the making: what is changed, what is configured, which commands run, and within what limits.
//!
//! File operations and commands are collected and handed to the sandbox together by [`Making::flush`], where
//! their result is needed to go on or at the end.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::blame::blame;
use super::command::{Maker, TOOLS, shown};
use super::execute::{RunError, RunErrorKind, Runner, TICK, lock};
use super::instance::{Instance, directory_size};
use super::jobs::Jobs;
use super::script::script;
use super::traces::Traces;
use super::{Mode, PlannedBuild, Status};
use crate::sandbox::{self, Change, Command, Content, Limits, Mount, Op, Outcome, Running, Spec, Stamp, View};
use crate::trace::What;
use crate::tree::kconfig;
use crate::tree::source::tools::Unpacked;
use crate::tree::{ConfigBase, EditPlan, FileOp, State};

/// How often a running build's disk is looked at.
const DISK_TICK: Duration = Duration::from_secs(1);
/// How many lines at the end of a log are looked at for a full disk.
const FULL_LINES: usize = 20;

/// The tree a build is made in, the state it is to have, and the jobs it may use.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tree<'m> {
    pub(super) maker: &'m Maker<'m>,
    pub(super) instance: &'m Instance,
    pub(super) state: &'m State,
    pub(super) jobs: &'m Jobs,
}

impl Tree<'_> {
    /// What is mounted for its builds.
    pub(super) fn mounts(&self, toolchain: &[Unpacked]) -> Vec<Mount> {
        let bind = |tool: &Unpacked| Mount::Bind { host: tool.dir.clone(), at: tool.place().into(), writable: false };
        self.instance.mounts(self.maker).into_iter().chain(toolchain.iter().map(bind)).collect()
    }
}

/// What a build came to.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) status: Status,
    pub(super) wall: Duration,
    pub(super) cpu: Duration,
    pub(super) commands: Vec<String>,
    /// The same, word by word.
    pub(super) argv: Vec<Vec<String>>,
    /// How many of them this build ran itself.
    pub(super) ran: usize,
    pub(super) script: String,
}

/// One build in the making.
pub(super) struct Making<'m> {
    runner: &'m Runner<'m>,
    tree: Tree<'m>,
    varied: bool,
    log: File,
    log_path: PathBuf,
    started: Instant,
    /// Where the commands are traced.
    traces: Option<&'m Traces<'m>>,
    /// What the next sandbox does.
    ops: Vec<Op>,
    commands: Vec<Vec<String>>,
    /// Whether the build is a clean one.
    clean: bool,
    /// What was run so far, and how it went.
    ran: Vec<Vec<String>>,
    status: Status,
    wall: Duration,
    cpu: Duration,
}

impl<'m> Making<'m> {
    pub(super) fn new(
        runner: &'m Runner<'m>,
        tree: Tree<'m>,
        varied: bool,
        log_path: PathBuf,
    ) -> Result<Self, RunError> {
        let log = File::options().create(true).append(true).open(&log_path);
        Ok(Self {
            runner,
            tree,
            varied,
            log: log.map_err(|error| RunError::harness("open the log", error))?,
            log_path,
            started: Instant::now(),
            traces: None,
            ops: Vec::new(),
            commands: Vec::new(),
            clean: false,
            ran: Vec::new(),
            status: Status::Ok,
            wall: Duration::ZERO,
            cpu: Duration::ZERO,
        })
    }

    /// The same, with its commands traced.
    pub(super) fn traced(self, traces: Option<&'m Traces<'m>>) -> Self {
        Self { traces, ..self }
    }

    /// Makes the build.
    pub(super) fn make(mut self, build: &PlannedBuild) -> Result<Made, RunError> {
        self.clean = build.mode == Mode::Clean;
        let go_on = match (build.mode, build.edit) {
            (Mode::Clean, edit) => self.prepare(edit)?,
            // What is interrupted is the build after the edit, and the next goes on from there.
            (Mode::Incremental, Some(n)) if self.runner.scenario.edit[n].interrupt.is_some() => true,
            (Mode::Incremental | Mode::Interrupted, Some(n)) => self.edit(n)?,
            _ => true,
        };
        if go_on {
            self.goals(&self.tree.state.goals);
            for then in &self.runner.scenario.make.then {
                self.commands.push(self.tree.maker.make_with(self.tree.state, &then.goals, &then.vars));
            }
            self.flush()?;
        }
        Ok(self.made())
    }

    /// Makes the configuration and what a clean build has to have before it compiles, and traces all of it.
    pub(super) fn prepare_only(mut self, edit: Option<usize>, traces: &'m Traces<'m>) -> Result<Made, RunError> {
        self.traces = Some(traces);
        if self.prepare(edit)? {
            self.goals(&super::prepared::GOALS.map(str::to_owned));
            self.flush()?;
        }
        Ok(self.made())
    }

    fn made(self) -> Made {
        let Tree { maker, state, jobs, instance } = self.tree;
        let env = maker.environment(state, self.varied);
        let makeflags = format!("-j{}{}", jobs.most(), self.shuffled());
        // For who repeats it elsewhere, a build has all that it started from.
        let prepared = instance.prepared().filter(|_| self.clean).map(|prepared| prepared.commands.clone());
        let ran = self.ran.len();
        let argv: Vec<Vec<String>> = prepared.into_iter().flatten().chain(self.ran).collect();
        Made {
            script: script(maker, &env, &argv, &makeflags, self.varied),
            commands: argv.iter().map(|argv| shown(argv)).collect(),
            argv,
            ran,
            status: self.status,
            wall: self.wall,
            cpu: self.cpu,
        }
    }

    /// Adds a make with these goals.
    fn goals(&mut self, goals: &[String]) {
        self.commands.push(self.tree.maker.make(self.tree.state, goals));
    }

    fn goal(&mut self, goal: &str) {
        self.goals(&[goal.to_owned()]);
    }

    /// A fresh tree: its sources, what the scenario prepares, its configuration. Says whether it can be built.
    fn prepare(&mut self, edit: Option<usize>) -> Result<bool, RunError> {
        let scenario = self.runner.scenario;
        self.ops = self.tree.instance.initial_ops(self.tree.maker, self.tree.state);
        if !scenario.make.clean_first.is_empty() {
            self.goals(&scenario.make.clean_first);
        }
        self.commands.extend(scenario.tree.prepare.iter().cloned());
        if self.tree.instance.prepared().is_some() { Ok(true) } else { self.configure(edit) }
    }

    fn config_op(&self, change: Change, stamp: Option<Stamp>) -> Op {
        Op { root: self.tree.maker.obj.clone().into(), path: ".config".into(), change, stamp }
    }

    /// Base, fragments and symbols, or for an oracle the control's `.config` after `edit`; says whether the
    /// build can go on.
    fn configure(&mut self, edit: Option<usize>) -> Result<bool, RunError> {
        let Some(config) = &self.runner.plan.config else { return Ok(true) };
        if let Some(config) = edit.and_then(|n| lock(&self.runner.configured).get(&n).cloned()) {
            let content = Content::Bytes(config.into_bytes());
            self.ops.push(self.config_op(Change::Write { content, mode: None }, None));
            return Ok(true);
        }
        let mut asked: Vec<(String, String)> = Vec::new();
        let mut text = String::new();
        for (_, fragment) in &config.fragments {
            asked.extend(kconfig::assignments(fragment));
            text.push_str(fragment);
            text.push('\n');
        }
        for (name, value) in &self.tree.state.symbols {
            asked.push((name.clone(), value.clone()));
            text.push_str(&kconfig::line(name, value));
        }
        match &config.base {
            ConfigBase::File(base) => {
                let content = Content::Bytes(format!("{base}\n{text}").into_bytes());
                self.ops.push(self.config_op(Change::Write { content, mode: None }, None));
            }
            ConfigBase::Goal(name) => {
                self.goal(name);
                if asked.is_empty() {
                    return Ok(true);
                }
                if !self.flush()? {
                    return Ok(false);
                }
                let content = Content::Bytes(text.into_bytes());
                self.ops.push(self.config_op(Change::Append { content }, None));
            }
        }
        self.goal("olddefconfig");
        if !self.flush()? {
            return Ok(false);
        }
        self.check_config(&asked)?;
        Ok(true)
    }

    fn config_text(&self) -> Result<String, RunError> {
        let path = self.tree.instance.object(".config");
        let read = path.ok_or_else(|| std::io::Error::from(std::io::ErrorKind::NotFound)).and_then(fs::read);
        let bytes = read.map_err(|error| {
            RunError::new(RunErrorKind::Scenario, format!("the build made no `.config`: {error}"))
                .hint("is this a kbuild tree? `tree.kind = \"make\"` is for others")
        })?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn check_config(&self, asked: &[(String, String)]) -> Result<(), RunError> {
        let unmet = kconfig::unmet(&self.config_text()?, asked);
        if unmet.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = unmet.iter().map(|unmet| unmet.name.as_str()).collect();
        let message = format!("the configuration is not as asked: {}", names.join(", "));
        Err(RunError { unmet, ..RunError::new(RunErrorKind::Scenario, message) })
    }

    /// Makes the changes of edit `n`; says whether the build can go on.
    fn edit(&mut self, n: usize) -> Result<bool, RunError> {
        let (edit, instance) = (&self.runner.plan.edits[n], self.tree.instance);
        let stamp = sandbox::stamp_after(&instance.stamped(), &instance.dir)
            .map_err(|error| RunError::harness("find a time stamp for the edit", error))?;
        instance.install_tools(self.tree.state).map_err(|error| RunError::harness("put a tool in place", error))?;
        for op in &edit.ops {
            let op = self.op(edit, op, stamp)?;
            self.ops.push(op);
        }
        if let Some(clean) = &edit.clean {
            self.goal(clean);
        }
        if self.runner.plan.config.is_none() {
            return Ok(true);
        }
        lock(&self.runner.configs).insert(n, self.config_text().unwrap_or_default());
        if !self.set_symbols(n, edit, stamp)? {
            return Ok(false);
        }
        if let Ok(config) = self.config_text() {
            lock(&self.runner.configured).insert(n, config);
        }
        Ok(true)
    }

    /// The part of an edit that is about the configuration.
    fn set_symbols(&mut self, n: usize, edit: &EditPlan, stamp: Stamp) -> Result<bool, RunError> {
        if edit.clean.is_some() {
            if !self.flush()? {
                return Ok(false);
            }
            if self.tree.instance.object(".config").is_none() {
                // `mrproper` took the configuration away; nobody builds without making it again.
                return self.configure(None);
            }
        }
        if !edit.config_changed {
            return Ok(true);
        }
        if let Some(config) = self.config_taken_back(n) {
            let content = Content::Bytes(config.into_bytes());
            self.ops.push(self.config_op(Change::Write { content, mode: None }, Some(stamp)));
            self.goal("olddefconfig");
            return self.flush();
        }
        let asked = self.symbols_of(n);
        if kconfig::unmet(&self.config_text()?, &asked).is_empty() {
            let message = format!("edit `{}` changes nothing: the configuration already is as it asks", edit.name);
            return Err(RunError::new(RunErrorKind::Scenario, message).hint("set another value"));
        }
        let text: String = asked.iter().map(|(name, value)| kconfig::line(name, value)).collect();
        let content = Content::Bytes(text.into_bytes());
        self.ops.push(self.config_op(Change::Append { content }, Some(stamp)));
        self.goal("olddefconfig");
        if !self.flush()? {
            return Ok(false);
        }
        self.check_config(&asked)?;
        Ok(true)
    }

    /// The control's `.config` from when the symbols last were as edit `n` takes them back to. Setting the
    /// symbols one by one would not do: what Kconfig changed along with them would stay changed.
    fn config_taken_back(&self, n: usize) -> Option<String> {
        let Runner { plan, scenario, configs, .. } = self.runner;
        scenario.edit[n].changes_of().find(|change| change.undo.is_some())?;
        let symbols = |state: usize| match state.checked_sub(1) {
            None => &plan.base.symbols,
            Some(edit) => &plan.edits[edit].state.symbols,
        };
        let state = (0..=n).rev().find(|&state| symbols(state) == symbols(n + 1))?;
        lock(configs).get(&state).cloned()
    }

    /// The symbols that edit `n` sets, and those that it gives back their value from before.
    fn symbols_of(&self, n: usize) -> Vec<(String, String)> {
        let plan = self.runner.plan;
        let now = &plan.edits[n].state.symbols;
        let then = n.checked_sub(1).map_or(&plan.base.symbols, |m| &plan.edits[m].state.symbols);
        let changed = now.iter().filter(|(name, value)| then.get(*name) != Some(value));
        let mut asked: Vec<(String, String)> = changed.map(|(a, b)| (a.clone(), b.clone())).collect();
        let configs = lock(&self.runner.configs);
        for name in then.keys().filter(|name| !now.contains_key(*name)) {
            // It was not the scenario that set it before: what the configuration had then counts.
            let setter = (0..n).find(|&m| plan.edits[m].state.symbols.contains_key(name));
            let config = setter.and_then(|m| configs.get(&m)).map_or("", String::as_str);
            let value = kconfig::assignments(config).into_iter().rfind(|(have, _)| have == name);
            asked.push((name.clone(), value.map_or("n".to_owned(), |(_, value)| value)));
        }
        asked
    }

    fn op(&self, edit: &EditPlan, op: &FileOp, stamp: Stamp) -> Result<Op, RunError> {
        let (path, change, stamp) = match op {
            FileOp::Write { path, bytes, mode } => {
                (path, Change::Write { content: Content::Bytes(bytes.to_vec()), mode: Some(*mode) }, Some(stamp))
            }
            FileOp::Delete { path } => (path, Change::Delete { tree: false }, None),
            FileOp::Rename { from, to } => (from, Change::Rename { to: to.into() }, None),
            FileOp::Chmod { path, mode } => (path, Change::Chmod { mode: *mode }, None),
            FileOp::Touch { path } => (path, Change::SetTimes, Some(stamp)),
            FileOp::Object(change) => return self.object_op(edit, change, stamp),
        };
        Ok(Op { root: self.tree.maker.src.clone().into(), path: path.into(), change, stamp })
    }

    /// A change in the object tree, against what the last build left there.
    fn object_op(&self, edit: &EditPlan, change: &crate::scenario::Change, stamp: Stamp) -> Result<Op, RunError> {
        let path = change.file.clone().unwrap_or_default();
        let scenario =
            |message: String| RunError::new(RunErrorKind::Scenario, format!("edit `{}`: {message}", edit.name));
        let on_disk = self.tree.instance.object(&path);
        if on_disk.is_none() && change.write.is_none() {
            return Err(scenario(format!("`{path}` is not in the object tree"))
                .hint("the build has not made it; look at `run --keep`"));
        }
        let on_disk = on_disk.unwrap_or_default();
        let read = || fs::read(&on_disk).map_err(|error| scenario(format!("cannot read `{path}`: {error}")));
        let written = |bytes: Vec<u8>| Change::Write { content: Content::Bytes(bytes), mode: None };
        let replaced = |old: &str, new: &str, wanted: usize| {
            crate::tree::replace(&read()?, old, new, wanted)
                .map(written)
                .map_err(|(count, _)| scenario(format!("`{path}` holds the text {count} time(s), not {wanted}")))
        };
        let (change, stamp) = if let Some(text) = &change.write {
            (written(text.clone().into_bytes()), Some(stamp))
        } else if let Some(text) = &change.append {
            (Change::Append { content: Content::Bytes(text.clone().into_bytes()) }, Some(stamp))
        } else if let (Some(old), Some(new)) = (&change.replace, &change.with) {
            (replaced(old, new, change.count.unwrap_or(1) as usize)?, Some(stamp))
        } else if let (Some(text), Some(anchor)) = (&change.insert, &change.before) {
            (replaced(anchor, &format!("{text}{anchor}"), 1)?, Some(stamp))
        } else if let (Some(text), Some(anchor)) = (&change.insert, &change.after) {
            (replaced(anchor, &format!("{anchor}{text}"), 1)?, Some(stamp))
        } else if change.delete.is_some() {
            (Change::Delete { tree: true }, None)
        } else if let Some(to) = &change.rename {
            (Change::Rename { to: to.into() }, None)
        } else if let Some(mode) = change.chmod.as_deref().and_then(crate::scenario::parse_mode) {
            (Change::Chmod { mode }, None)
        } else {
            (Change::SetTimes, Some(stamp))
        };
        Ok(Op { root: self.tree.maker.obj.clone().into(), path: path.into(), change, stamp })
    }

    /// Hands what was collected to the sandbox and waits for it, within the limits of the build; says whether
    /// all of it worked.
    fn flush(&mut self) -> Result<bool, RunError> {
        let commands = std::mem::take(&mut self.commands);
        let mut spec = self.spec(&commands);
        let first = self.ran.len();
        self.ran.extend(commands);
        if self.runner.context.keep {
            let text = serde_json::to_vec(&spec).map_err(|error| RunError::harness("write spec.json", error))?;
            fs::write(self.log_path.with_file_name("spec.json"), text)
                .map_err(|error| RunError::harness("write spec.json", error))?;
        }
        if let Some(traces) = self.traces {
            spec.mounts.extend(traces.mounts());
            spec.listen = traces.listen();
            spec.inherit_fds.extend(traces.fds());
            for (number, command) in (first..).zip(&mut spec.commands) {
                command.argv = traces.command(number, &command.argv);
            }
        }
        let running = self.runner.context.sandbox.spawn(&spec, &self.log)?;
        let Some(outcome) = self.wait(running)? else { return Ok(false) };
        let losses = outcome.losses.iter().map(|loss| (loss.guarantee, loss.clone()));
        lock(&self.runner.losses).extend(losses);
        for (number, command) in (first..).zip(&outcome.commands) {
            self.wall += command.wall;
            self.cpu += command.user + command.system;
            self.status = match command.status {
                sandbox::Status::Exited(0) => Status::Ok,
                // A tracer passes on how its command ended by its own exit code.
                sandbox::Status::Exited(code @ 129..) => {
                    let signal = self.traces.and_then(|traces| traces.signal(number));
                    match signal {
                        Some(libc::SIGXFSZ) => Status::DiskFull(self.file_too_large()),
                        Some(signal) => Status::Signal(signal),
                        None => Status::Exit(code),
                    }
                }
                sandbox::Status::Exited(code) => Status::Exit(code),
                sandbox::Status::Signaled(libc::SIGXFSZ) => Status::DiskFull(self.file_too_large()),
                sandbox::Status::Signaled(signal) => Status::Signal(signal),
            };
        }
        if outcome.killed {
            // not by us: a build that is root can shut its keeper's lifeline, and has killed itself by that
            self.status = Status::Signal(libc::SIGKILL);
        }
        // A disk that the scenario has full is no reason to stop.
        let planned = self.traces.is_some_and(|traces| traces.disturb.fails_writes());
        if let Status::Exit(_) = self.status
            && !planned
            && let Some(full) = self.full_as_told()
        {
            self.status = Status::DiskFull(full);
        }
        match outcome.error {
            None => Ok(self.status.ok()),
            Some(error) => Err(blame(&error, self.runner.scenario, self.tree.state.tools.values())),
        }
    }

    /// Waits for the sandbox; `None` if it was stopped for a limit, which is then the status.
    fn wait(&mut self, mut running: Running) -> Result<Option<Outcome>, RunError> {
        let limit = super::timeout(self.runner.scenario);
        let mut looked = Instant::now();
        loop {
            let waited = running.wait_timeout(TICK);
            // Who stops the harness may have stopped its helpers, too (`pkill`): that is no fault of theirs.
            if let (Err(_), true) = (&waited, self.runner.stopped()) {
                return Err(self.runner.interrupted());
            }
            if let Some(outcome) = waited? {
                return Ok(Some(outcome));
            }
            if self.runner.stopped() {
                running.kill();
                return Err(self.runner.interrupted());
            }
            let over = if self.started.elapsed() >= limit {
                Some((Status::Timeout(limit.as_secs()), format!("not through after {} s", limit.as_secs())))
            } else if looked.elapsed() >= DISK_TICK {
                looked = Instant::now();
                self.disk_full().map(|full| (Status::DiskFull(full.clone()), full))
            } else {
                None
            };
            if let Some((status, why)) = over {
                running.kill();
                // The log is for people; that it was stopped is in the record whether this line is written or not.
                let _ = writeln!(self.log, "*** stopped: {why}");
                self.status = status;
                self.wall = self.started.elapsed();
                return Ok(None);
            }
        }
    }

    fn disk_limit(&self) -> Option<u64> {
        [self.runner.context.disk_limit, super::disk_limit(self.runner.scenario)].into_iter().flatten().min()
    }

    /// Why the build cannot go on writing, if so.
    fn disk_full(&self) -> Option<String> {
        let context = self.runner.context;
        let free = rustix::fs::statvfs(context.scratch).map_or(u64::MAX, |stat| stat.f_bavail * stat.f_frsize);
        if free < context.reserve {
            return Some(format!("only {} MiB are free on the scratch file system", free >> 20));
        }
        let limit = self.disk_limit()?;
        let used = directory_size(context.scratch);
        (used > limit).then(|| format!("the trees take {} MiB, the limit is {} MiB", used >> 20, limit >> 20))
    }

    fn file_too_large(&self) -> String {
        let limit = self.disk_limit().map_or(String::new(), |limit| format!(" of {} MiB", limit >> 20));
        format!("a file grew over the limit{limit}")
    }

    /// Why a program that failed could not write, if it or its shell says so: make gives only its own exit code.
    /// The words are those of strsignal(3) and strerror(3) in the C locale, which builds get.
    fn full_as_told(&self) -> Option<String> {
        let last = super::labels::tail(&self.log_path, FULL_LINES).ok()?;
        let said = |words: &str| last.iter().any(|line| line.contains(words));
        if said("File size limit exceeded") || (self.disk_limit().is_some() && said("File too large")) {
            return Some(self.file_too_large());
        }
        said("No space left on device").then(|| "no space left on a file system it writes to".to_owned())
    }

    /// Whether what is made is the state that clean builds start from.
    fn is_preparation(&self) -> bool {
        self.traces.is_some_and(|traces| traces.what == What::Looks)
    }

    /// What a make that can change the order of goals is told besides, to vary it; make has it since 4.4.
    fn shuffled(&self) -> String {
        let can = self.runner.scenario.toolchain.make.as_deref().is_some_and(|version| {
            let mut numbers = version.split('.').map_while(|number| number.parse::<u32>().ok());
            (numbers.next(), numbers.next()) >= (Some(4), Some(4))
        });
        let wanted = self.runner.shuffle(self.varied).filter(|_| can && !self.is_preparation());
        wanted.map_or(String::new(), |seed| format!(" --shuffle={seed}"))
    }

    /// The sandbox of a build without commands.
    pub(super) fn base(mut self) -> Spec {
        self.spec(&[])
    }

    fn spec(&mut self, commands: &[Vec<String>]) -> Spec {
        let Tree { maker, state, jobs, .. } = self.tree;
        let context = self.runner.context;
        let mut spec = Spec {
            isolation: context.isolation(),
            view: if maker.sees_all() { View::Host } else { View::Toolchain },
            extra_read_only: maker.shown(state),
            mounts: self.tree.mounts(context.toolchain),
            ops: std::mem::take(&mut self.ops),
            hostname: self.runner.hostname(self.varied),
            umask: self.runner.umask(self.varied),
            randomize_addresses: self.runner.randomizes(self.varied),
            // What is prepared is prepared for builds that see all of them.
            processors: self.runner.processors(self.varied && !self.is_preparation()),
            group: self.runner.group(self.varied),
            limits: Limits { file_size: self.disk_limit(), temporary: self.disk_limit(), ..Limits::default() },
            inherit_fds: jobs.fds(),
            ..Spec::default()
        };
        let mut env = maker.environment(state, self.varied);
        env.insert("MAKEFLAGS".to_owned(), format!("{}{}", jobs.makeflags(), self.shuffled()));
        let mut argv: Vec<Vec<String>> = commands.to_vec();
        if context.direct {
            // Without mount namespaces command line and environment must name the places on the host; working
            // directories and the roots of file operations are mapped by the sandbox.
            let place = |inside: &str| sandbox::direct_path(&spec, Path::new(inside)).display().to_string();
            let (inside, here) = (format!("O={}", maker.obj), format!("O={}", place(&maker.obj)));
            for word in argv.iter_mut().flatten().filter(|word| **word == inside) {
                word.clone_from(&here);
            }
            if let Some(path) = env.get_mut("PATH") {
                *path = path.replacen(TOOLS, &place(TOOLS), 1);
            }
            if env.get("HOME").is_some_and(|home| home == sandbox::HOME) {
                env.insert("HOME".into(), place(TOOLS));
            }
        }
        let command = |(argv, shown_as): (&Vec<String>, &Vec<String>)| Command {
            argv: argv.iter().map(Into::into).collect(),
            cwd: maker.cwd().into(),
            env: Vec::new(),
            label: shown(shown_as),
        };
        spec.commands = argv.iter().zip(commands).map(command).collect();
        spec.env = env.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        spec
    }
}
