//! What a scenario on the graft costs: three edits, each with a clean build to compare with, by the real kbuild.
//!
//! In one run, in turns:
//!
//! - the wall time of a full build over that of a build with nothing changed, both as the harness ran them, from a
//!   prepared state with `-jN` (goal: at most 2.5);
//! - the scenario, once its states are prepared (goal: 25 s on 2 processors), and with `--fresh`, which prepares all of
//!   them anew (goal: 45 s); both from start to end of the process;
//! - the same where the results of its oracles are there, over building all: what a second night saves. Where the kernel has a
//!   fault that shows, as 6.1 and 6.12 have, oracles are built after all, and nothing is saved;
//! - five such scenarios in one run, against five runs one after the other (goal: 1.6 times as many a minute). One run builds
//!   its trees side by side and leaves little of two processors idle, so that there is little to gain; what the
//!   processors give is seen against runs with one job;
//! - the most disk that the trees took while one was run, and what the prepared states take that all runs share
//!   (goal: 50 MB beyond the source).
//!
//! Needs the source of a kernel in the cache: `debian:6.12`, or what `GRAFT_KERNELS` names, e.g. `"debian:6.1 debian:7.3"`.
//! Prints, and fails only when a scenario does not pass: a busy machine is no fault of the code.

#![expect(clippy::print_stdout, reason = "a bench reports on the terminal")]

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use kbuild_repro::artifact::record::{ScenarioRecord, read};
use kbuild_repro::runner::directory_size;

const ROUNDS: usize = 3;
const AT_ONCE: usize = 5;
/// How often the disk is looked at.
const TICK: Duration = Duration::from_millis(50);

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let kernels = std::env::var("GRAFT_KERNELS").unwrap_or_else(|_| "debian:6.12".into());
    for kernel in kernels.split_whitespace() {
        let dir = tempfile::tempdir()?;
        println!("{kernel}, {} processors, {ROUNDS} rounds", thread::available_parallelism()?);
        bench(dir.path(), kernel)?;
    }
    Ok(())
}

/// Three edits of sources, each of which vmlinux is linked again for; faults of old kernels that show are no matter here.
fn scenario(kernel: &str) -> String {
    format!(
        r##"
title = "three edits"
tier = "graft"
[tree]
srctree = "graft"
kernel = "{kernel}"
[make]
goals = ["vmlinux", "modules"]
[[edit]]
file = "init/version.c"
append = "int repro_probe;\n"
[[edit]]
file = "graft/modules/exporter.c"
append = "int repro_probe_exporter;\n"
[[edit]]
file = "graft/core/task.c"
append = "struct repro_type {{ long first; }} repro_object;\n"
[[known]]
finding = "rebuild.diverged"
why = "6.1 and 6.12 run the BTF step twice on one module"
when = "sometimes"
"##
    )
}

fn bench(dir: &Path, kernel: &str) -> Result<(), Failure> {
    let files: Vec<String> = (0..AT_ONCE).map(|n| format!("s{n}.toml")).collect();
    for file in &files {
        fs::write(dir.join(file), scenario(kernel))?;
    }
    let (one, all) = (&files[..1], &files[..]);
    // Fetches nothing: the source is there, or the run says how to get it. Warms what can be warm: the first run on a
    // kernel has its control prepare itself, the second makes the state that the third finds.
    for _ in 0..2 {
        run(dir, one, &[])?;
    }
    let (mut cold, mut prepared, mut alone, mut full, mut noop) = (vec![], vec![], vec![], vec![], vec![]);
    let (mut at_once, mut again) = (vec![], vec![]);
    let mut disk = 0;
    for _ in 0..ROUNDS {
        cold.push(run(dir, one, &["--fresh"])?.0);
        let mut serial = Duration::ZERO;
        for file in &files {
            let (wall, most) = run(dir, std::slice::from_ref(file), &["--no-reuse"])?;
            serial += wall;
            prepared.push(wall);
            disk = disk.max(most);
        }
        let record: ScenarioRecord = read(&dir.join("out").join("s4").join("record.json"))?;
        let took = |id: &str| {
            let build = record.builds.iter().find(|build| build.id == id);
            build.map(|build| Duration::from_millis(build.wall_ms)).ok_or(format!("no build `{id}`"))
        };
        full.push(took("control/clean")?);
        noop.extend([took("control/noop-1")?, took("control/noop-2")?]);
        at_once.push((serial, run(dir, all, &["--no-reuse"])?.0));
        alone.push(run(dir, one, &["--jobs", "1", "--no-reuse"])?.0);
        again.push(run(dir, one, &[])?.0);
    }
    let (full, noop) = (median(full), median(noop));
    println!("  full build {:.2} s, no-op {:.2} s: {:.2} (goal 2.5)", full, noop, full / noop);
    let (prepared, again) = (median(prepared), median(again));
    println!("  a scenario of three edits, prepared  {prepared:6.1} s (goal 25 s on 2 processors)");
    println!("  the same with results from before    {again:6.1} s: {:.2} of it", again / prepared);
    println!("  the same, preparing all anew         {:6.1} s (goal 45 s)", median(cold));
    let together = median(at_once.iter().map(|(_, together)| *together).collect());
    let serial = median(at_once.iter().map(|(serial, _)| *serial).collect());
    let alone = median(alone) * AT_ONCE as f64;
    println!(
        "  {AT_ONCE} at once {together:.1} s: {:.2} times as many a minute as one after the other (goal 1.6),",
        serial / together
    );
    println!("  and {:.2} times as many as with one job", alone / together);
    println!("  trees: at most {} MB at a time (goal 50 MB)", disk / 1_000_000);
    Ok(())
}

/// Runs scenarios in one process: wall time, and the most disk that the trees took.
fn run(dir: &Path, files: &[String], more: &[&str]) -> Result<(Duration, u64), Failure> {
    let scratch: PathBuf = dir.join("scratch");
    fs::create_dir_all(&scratch)?;
    let (stop, most) = (AtomicBool::new(false), AtomicU64::new(0));
    let (status, wall) = thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                most.fetch_max(directory_size(&scratch), Ordering::Relaxed);
                thread::sleep(TICK);
            }
        });
        let started = Instant::now();
        let status = Command::new(env!("CARGO_BIN_EXE_kbuild-repro"))
            .arg("run")
            .args(files)
            .args(["--quiet", "--out", "out", "--scratch", "scratch"])
            .args(more)
            .current_dir(dir)
            .stdout(Stdio::piped())
            .output();
        let wall = started.elapsed();
        stop.store(true, Ordering::Relaxed);
        (status, wall)
    });
    let output = status?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        return Err(format!("{}: {}", output.status, String::from_utf8_lossy(&said)).into());
    }
    Ok((wall, most.into_inner()))
}

/// Seconds.
fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64()
}
