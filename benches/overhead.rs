//! What the harness costs: a mini scenario of three edits against the very same makes run bare.
//!
//! Harness: `kbuild-repro run FILE --quiet`, from start to end of the process, start-up and report included: 2 clean
//! builds, 2 no-ops, 3 incremental builds and 3 oracles, each of these six with its no-op.
//!
//! Bare: the same commands in the same chains on the same file system, without sandbox, hashing, records and job slots,
//! in trees that were laid down before the clock starts. Two ways, and the faster one counts: one build after the other with
//! `-jN`; and all chains side by side under one job server of GNU make with N jobs, as the harness runs them.
//!
//! They take turns, so that a busy neighbour meets all; medians are compared. Prints, and fails only when a build
//! does: a busy machine is no fault of the code. Goals: ratio at most 1.15, and the harness at most 10 s on 2 processors.

#![expect(clippy::print_stdout, reason = "a bench reports on the terminal")]

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use kbuild_repro::artifact::record::{ScenarioRecord, read};
use kbuild_repro::runner::{Chain, Mode, Parts, pinned_environment, plan};
use kbuild_repro::scenario::parse;
use kbuild_repro::tree::lower::{DirBeside, MiniLower};
use kbuild_repro::tree::{FileOp, TreePlan, materialise};

const ROUNDS: usize = 5;

const SCENARIO: &str = r##"
title = "three edits"
[tree]
srctree = "mini"
[[edit]]
file = "init/version.c"
append = "int repro_probe;\n"
[[edit]]
file = "include/linux/hash.h"
replace = "HASH_ROUNDS 16"
with = "HASH_ROUNDS 8"
[[edit]]
file = "lib/crc.c"
append = "int repro_probe_crc;\n"
"##;

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let dir = tempfile::tempdir()?;
    let loaded = parse("overhead.toml", SCENARIO, &()).map_err(|errors| format!("{:?}", errors.0))?;
    let sources = kbuild_repro::tree::plan(&loaded.scenario, &loaded.document, &MiniLower, &DirBeside(Vec::new()));
    let sources = sources.map_err(|errors| format!("{:?}", errors.0))?;
    fs::write(dir.path().join("overhead.toml"), SCENARIO)?;
    let jobs = thread::available_parallelism()?.get();
    let mut bare = Bare {
        chains: plan(&loaded.scenario, Parts::ALL),
        sources,
        commands: BTreeMap::new(),
        dir: dir.path().join("bare"),
        jobs,
    };
    // The first run gives the commands, and warms what can be warm.
    harness(dir.path(), jobs)?;
    let record: ScenarioRecord = read(&dir.path().join("out/overhead/record.json"))?;
    bare.commands = record.builds.iter().map(|build| (build.id.clone(), build.commands.clone())).collect();
    println!("{} builds in {} chains, {jobs} jobs, {ROUNDS} rounds", record.builds.len(), bare.chains.len());

    let (mut ours, mut inside, mut serial, mut shared, mut start) = (vec![], vec![], vec![], vec![], vec![]);
    for _ in 0..ROUNDS {
        serial.push(bare.run(false)?);
        ours.push(harness(dir.path(), jobs)?);
        shared.push(bare.run(true)?);
        start.push(command(dir.path(), &["schema"])?);
        let record: ScenarioRecord = read(&dir.path().join("out/overhead/record.json"))?;
        inside.push(Duration::from_millis(record.wall_ms));
    }
    let [ours, inside, serial, shared, start] = [ours, inside, serial, shared, start].map(median);
    let bare = serial.min(shared);
    println!("bare, one after the other with -j{jobs}        {}", seconds(serial));
    println!("bare, side by side under one job server    {}", seconds(shared));
    println!("harness                                    {}", seconds(ours));
    println!("  of which the scenario                    {}", seconds(inside));
    println!("  of which before and after                {}", seconds(ours.saturating_sub(inside)));
    println!("  (a command that does nothing             {})", seconds(start));
    println!("ratio {:.2} (goal 1.15), absolute {} (goal 10 s on 2)", ratio(ours, bare), seconds(ours).trim_start());
    Ok(())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn seconds(time: Duration) -> String {
    format!("{:7.3} s", time.as_secs_f64())
}

fn ratio(ours: Duration, bare: Duration) -> f64 {
    ours.as_secs_f64() / bare.as_secs_f64()
}

/// One run of the harness.
fn harness(dir: &Path, jobs: usize) -> Result<Duration, Failure> {
    let jobs = jobs.to_string();
    command(dir, &["run", "overhead.toml", "--quiet", "--out", "out", "--scratch", ".", "--jobs", &jobs])
}

/// One run of the binary, with nothing of the user's own but the search path.
fn command(dir: &Path, arguments: &[&str]) -> Result<Duration, Failure> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kbuild-repro"));
    command.args(arguments).current_dir(dir).stdin(Stdio::null());
    command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
    command.env("XDG_STATE_HOME", dir.join("state")).env("XDG_CACHE_HOME", dir.join("cache")).env("HOME", dir);
    let started = Instant::now();
    let output = command.output()?;
    let time = started.elapsed();
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        return Err(format!("{arguments:?}: {}\n{}", output.status, String::from_utf8_lossy(&said)).into());
    }
    Ok(time)
}

/// The same makes without a harness.
struct Bare {
    chains: Vec<Chain>,
    sources: TreePlan,
    commands: BTreeMap<String, Vec<String>>,
    dir: PathBuf,
    jobs: usize,
}

impl Bare {
    /// Lays the trees down, then makes every build; the time of the makes.
    fn run(&self, side_by_side: bool) -> Result<Duration, Failure> {
        if self.dir.exists() {
            fs::remove_dir_all(&self.dir)?;
        }
        for chain in &self.chains {
            let edit = chain.builds.first().and_then(|build| build.edit);
            let state = edit.map_or(&self.sources.base, |edit| &self.sources.edits[edit].state);
            let tree = self.dir.join(&chain.instance);
            fs::create_dir_all(tree.join("src"))?;
            fs::create_dir_all(tree.join("obj"))?;
            materialise::mini(&tree.join("src"), state)?;
        }
        // Who makes a build holds one token for make's own job, which needs none: N jobs in all.
        let server = jobserver::Client::new(self.jobs)?;
        let started = Instant::now();
        if side_by_side {
            thread::scope(|scope| {
                let threads: Vec<_> =
                    self.chains.iter().map(|chain| scope.spawn(|| self.chain(chain, Some(&server)))).collect();
                threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| Failure::from("a panic"))?)
            })?;
        } else {
            self.chains.iter().try_for_each(|chain| self.chain(chain, None))?;
        }
        Ok(started.elapsed())
    }

    fn chain(&self, chain: &Chain, server: Option<&jobserver::Client>) -> Result<(), Failure> {
        let tree = self.dir.join(&chain.instance);
        for build in &chain.builds {
            if let (Mode::Incremental, Some(edit)) = (build.mode, build.edit) {
                for op in &self.sources.edits[edit].ops {
                    let FileOp::Write { path, bytes, .. } = op else { return Err("an edit that is no write".into()) };
                    fs::write(tree.join("src").join(path), bytes)?;
                }
            }
            let _token = server.map(jobserver::Client::acquire).transpose()?;
            for line in &self.commands[&build.id] {
                let line = line.replace("/build/obj", &tree.join("obj").display().to_string());
                let mut words = line.split(' ');
                let mut make = Command::new(words.next().unwrap_or_default());
                make.args(words).current_dir(tree.join("src")).env_clear().envs(pinned_environment());
                match server {
                    Some(server) => server.configure_make(&mut make),
                    None => drop(make.env("MAKEFLAGS", format!("-j{}", self.jobs))),
                }
                let log = fs::File::options().create(true).append(true).open(tree.join("log"))?;
                make.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
                let status = make.status()?;
                if !status.success() {
                    return Err(format!("{line}: {status}: {}", fs::read_to_string(tree.join("log"))?).into());
                }
            }
        }
        Ok(())
    }
}
