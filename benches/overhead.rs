//! What the harness costs: a mini scenario of three edits against the very same makes run bare.
//!
//! Harness: `kbuild-repro run FILE --quiet`, from start to end of the process, start-up and report included: 2 clean
//! builds, 2 no-ops, 3 incremental builds and 3 oracles, each of these six with its no-op.
//!
//! Bare: the same commands in the same chains on the same file system, without sandbox, hashing, records and job slots,
//! in trees that were laid down before the clock starts. Two ways, and the faster one counts: one build after the other with
//! `-jN`; and all chains side by side under one job server of GNU make with N jobs, as the harness runs them.
//!
//! As in the sandbox, temporary files of the compiler are on a tmpfs if there is one, and each build has a session of its
//! own: Linux gives sessions equal shares of a busy processor (sched(7), autogroup).
//!
//! They take turns, so that a busy neighbour meets all; medians are compared. Processor time is shown as well: it
//! says more on a busy machine, where wall time depends on who else gets a turn. Prints, and fails only when a build
//! does: a busy machine is no fault of the code. Goals: ratio at most 1.15, and the harness at most 10 s on 2 processors.

#![expect(clippy::print_stdout, reason = "a bench reports on the terminal")]

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use kbuild_repro::artifact::record::{ScenarioRecord, read};
use kbuild_repro::runner::{Chain, Mode, Parts, Role, pinned_environment, plan};
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
        config: Vec::new(),
        jobs,
    };
    // The first run gives the commands, and warms what can be warm.
    harness(dir.path(), jobs)?;
    let record: ScenarioRecord = read(&dir.path().join("out/overhead/record.json"))?;
    bare.commands = record.builds.iter().map(|build| (build.id.clone(), build.commands.clone())).collect();
    bare.config = configuration(&dir.path().join("configured"), &bare.sources)?;
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
    let [ours, serial, shared, start] = [ours, serial, shared, start].map(|spent| Spent {
        wall: median(spent.iter().map(|spent| spent.wall).collect()),
        cpu: median(spent.iter().map(|spent| spent.cpu).collect()),
    });
    let inside = median(inside);
    println!("{:42} {:>9} {:>11}", "", "wall", "processor");
    println!("{:42} {serial}", format!("bare, one after the other with -j{jobs}"));
    println!("{:42} {shared}", "bare, side by side under one job server");
    println!("{:42} {ours}", "harness");
    println!("{:42} {:7.3} s", "  of which the scenario", inside.as_secs_f64());
    println!("{:42} {:7.3} s", "  of which before and after", ours.wall.saturating_sub(inside).as_secs_f64());
    println!("{:42} {start}", "a command that does nothing");
    let (wall, cpu) = (serial.wall.min(shared.wall), serial.cpu.min(shared.cpu));
    println!(
        "ratio of wall time {:.2} (goal 1.15), of processor time {:.2}",
        ratio(ours.wall, wall),
        ratio(ours.cpu, cpu)
    );
    println!("absolute {:.1} s (goal 10 s on 2 processors)", ours.wall.as_secs_f64());
    Ok(())
}

/// What something took.
#[derive(Clone, Copy)]
struct Spent {
    wall: Duration,
    cpu: Duration,
}

impl Spent {
    /// What `work` takes, its child processes included.
    fn of(work: impl FnOnce() -> Result<(), Failure>) -> Result<Self, Failure> {
        let (started, before) = (Instant::now(), cpu_of_children()?);
        work()?;
        Ok(Self { wall: started.elapsed(), cpu: cpu_of_children()?.saturating_sub(before) })
    }
}

impl std::fmt::Display for Spent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:7.3} s {:9.2} s", self.wall.as_secs_f64(), self.cpu.as_secs_f64())
    }
}

/// Processor time of all children that have ended, in ticks of 10 ms: proc_pid_stat(5), `cutime` and `cstime`.
fn cpu_of_children() -> Result<Duration, Failure> {
    let text = fs::read_to_string("/proc/self/stat")?;
    // The name may hold anything, blanks too; what comes after its last parenthesis does not.
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: u64 = fields.get(13..15).ok_or("a short /proc/self/stat")?.iter().flat_map(|f| f.parse::<u64>()).sum();
    Ok(Duration::from_millis(ticks * 10))
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn ratio(ours: Duration, bare: Duration) -> f64 {
    ours.as_secs_f64() / bare.as_secs_f64()
}

/// One run of the harness.
fn harness(dir: &Path, jobs: usize) -> Result<Spent, Failure> {
    let jobs = jobs.to_string();
    command(dir, &["run", "overhead.toml", "--quiet", "--out", "out", "--scratch", ".", "--jobs", &jobs])
}

/// One run of the binary, with nothing of the user's own but the search path.
fn command(dir: &Path, arguments: &[&str]) -> Result<Spent, Failure> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kbuild-repro"));
    command.args(arguments).current_dir(dir).stdin(Stdio::null());
    command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
    command.env("XDG_STATE_HOME", dir.join("state")).env("XDG_CACHE_HOME", dir.join("cache")).env("HOME", dir);
    Spent::of(|| {
        let output = command.output()?;
        if output.status.success() {
            return Ok(());
        }
        let said = [output.stdout, output.stderr].concat();
        Err(format!("{arguments:?}: {}\n{}", output.status, String::from_utf8_lossy(&said)).into())
    })
}

/// The `.config` of the tree.
fn configuration(tree: &Path, sources: &TreePlan) -> Result<Vec<u8>, Failure> {
    fs::create_dir_all(tree.join("src"))?;
    fs::create_dir_all(tree.join("obj"))?;
    materialise::mini(&tree.join("src"), &sources.base)?;
    let object = format!("O={}", tree.join("obj").display());
    let mut make = Command::new("make");
    make.args([object.as_str(), "defconfig"]).current_dir(tree.join("src")).env_clear().envs(pinned_environment());
    make.stdin(Stdio::null()).stdout(Stdio::null()).status()?;
    Ok(fs::read(tree.join("obj/.config"))?)
}

/// The same makes without a harness.
struct Bare {
    chains: Vec<Chain>,
    sources: TreePlan,
    commands: BTreeMap<String, Vec<String>>,
    dir: PathBuf,
    config: Vec<u8>,
    jobs: usize,
}

impl Bare {
    /// Lays the trees down, then makes every build; what the makes took.
    fn run(&self, side_by_side: bool) -> Result<Spent, Failure> {
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
            // An oracle starts from the configuration of the control, which the harness copies as well.
            if chain.role == Role::Oracle {
                fs::write(tree.join("obj/.config"), &self.config)?;
            }
        }
        // Who makes a build holds one token for make's own job, which needs none: N jobs in all.
        let server = jobserver::Client::new(self.jobs)?;
        Spent::of(|| {
            if !side_by_side {
                return self.chains.iter().try_for_each(|chain| self.chain(chain, None));
            }
            thread::scope(|scope| {
                let start = |chain| {
                    let server = &server;
                    scope.spawn(move || self.chain(chain, Some(server)))
                };
                let threads: Vec<_> = self.chains.iter().map(start).collect();
                threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| Failure::from("a panic"))?)
            })
        })
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
                if Path::new("/dev/shm").is_dir() {
                    make.env("TMPDIR", "/dev/shm");
                }
                match server {
                    Some(server) => server.configure_make(&mut make),
                    None => drop(make.env("MAKEFLAGS", format!("-j{}", self.jobs))),
                }
                // SAFETY: setsid(2) is async-signal-safe and touches no memory.
                unsafe { make.pre_exec(|| rustix::process::setsid().map(drop).map_err(Into::into)) };
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
