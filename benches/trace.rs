//! What tracing costs: the same full build of a graft, untraced and traced, in turns in one run.
//!
//! - `everything`: `trace`, each process with its programs and what it did to files, contents by digest (goal as an ordinary
//!   user: at most 1.5 times the wall time);
//! - `fast`: `everything` but for look-ups, by listening to what is opened, where the host allows it (goal: at most 1.15 times);
//! - `looks`: what a preparation is traced for;
//! - the time to read a trace and to make steps of it (goal: 2 s on a whole kernel).
//!
//! Needs the source of a kernel in the cache: `debian:6.12`, or what `GRAFT_KERNEL` names. Prints, and fails only when a build
//! fails: a busy machine is no fault of the code.

#![expect(clippy::print_stdout, reason = "a bench reports on the terminal")]

use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Instant;

use kbuild_repro::trace::{Root, Trace, steps};

const ROUNDS: usize = 5;
const EXE: &str = env!("CARGO_BIN_EXE_kbuild-repro");

/// In the tree of a clean build. Host tools are made once and kept aside, in memory; times are kept, which make goes by.
const SCRIPT: &str = r#"
set -e
cd /build/src
make="make O=/build/obj ARCH=graft -j$(nproc)"
$make clean >/dev/null; $make prepare scripts >/dev/null
cp -a /build/obj /tmp/prepared
build() {
    find /build/obj -mindepth 1 -delete; cp -a /tmp/prepared/. /build/obj
    begin=$(date +%s%N)
    "$@" $make vmlinux modules >/tmp/log 2>&1 || { cat /tmp/log; exit 1; }
    echo "$((($(date +%s%N) - begin) / 1000)) $name"
}
for round in $(seq ROUNDS); do
    name=plain; build
    name=everything; build EXE __trace all /tmp/trace /build/obj /build/src --
    name=fast; build EXE __trace contents /tmp/fast /build/obj /build/src --
    name=looks; build EXE __trace looks /tmp/looks --
done
cp /tmp/trace /build/obj/trace.json
cp /tmp/fast /build/obj/fast.json
"#;

fn main() -> Result<(), Box<dyn Error>> {
    let kernel = std::env::var("GRAFT_KERNEL").unwrap_or_else(|_| "debian:6.12".into());
    let dir = tempfile::tempdir()?;
    let host = Path::new(EXE).parent().ok_or("a directory")?;
    let scenario = format!(
        "title = \"x\"\n[tree]\nsrctree = \"graft\"\nkernel = \"{kernel}\"\nhost = [\"{}\"]\n\
         [make]\ngoals = [\"vmlinux\", \"modules\"]\n",
        host.display()
    );
    fs::write(dir.path().join("s.toml"), scenario)?;
    let run = |args: &[&str]| {
        let mut command = Command::new(EXE);
        command.args(args).args(["--out", "out", "--scratch", "."]).current_dir(dir.path());
        command.env("XDG_STATE_HOME", dir.path().join("state"));
        command
    };
    if !run(&["run", "s.toml", "--keep", "--quiet"]).output()?.status.success() {
        return Err(format!("the scenario fails; is `{kernel}` in the cache?").into());
    }
    // The sandbox listens for the tracer in it.
    let spec = walk(dir.path(), "control/clean/spec.json")?.ok_or("no specification")?;
    fs::write(&spec, fs::read_to_string(&spec)?.replace("\"listen\":false", "\"listen\":true"))?;
    let script = SCRIPT.replace("EXE", EXE).replace("ROUNDS", &ROUNDS.to_string());
    let mut shell = run(&["shell", "s.toml", "--build", "control/clean"]);
    let output = shell.args(["--", "sh", "-c", &script]).output()?;
    let said = String::from_utf8(output.stdout)?;
    if !output.status.success() {
        return Err(format!("{said}{}", String::from_utf8_lossy(&output.stderr)).into());
    }
    println!("{kernel}, {} processors, {ROUNDS} rounds, medians", thread::available_parallelism()?);
    let median = |name: &str| -> Result<f64, String> {
        let of = |line: &str| line.strip_suffix(name)?.trim().parse().ok();
        let mut times: Vec<f64> = said.lines().filter_map(of).collect();
        times.sort_by(f64::total_cmp);
        times.get(times.len() / 2).map(|micros| micros / 1e6).ok_or_else(|| format!("no time of `{name}`"))
    };
    let plain = median("plain")?;
    println!("  untraced    {plain:6.2} s");
    let fast = Trace::parse(&fs::read(walk(dir.path(), "fast.json")?.ok_or("no fast trace")?)?)?;
    let way = if fast.looks_left_out { "goal 1.15" } else { "refused: as everything" };
    for (name, goal) in [("everything", "goal 1.5"), ("fast", way), ("looks", "no goal")] {
        let traced = median(name)?;
        println!("  {name:11} {traced:6.2} s: {:.2} times ({goal})", traced / plain);
    }
    let trace = walk(dir.path(), "trace.json")?.ok_or("no trace")?;
    let text = fs::read(&trace)?;
    let began = Instant::now();
    let whole = Trace::parse(&text)?;
    let parsed = began.elapsed();
    let roots = ["src", "obj"].map(|name| Root { dir: Path::new("/build").join(name), name: name.to_owned() });
    let made = steps(&whole, &roots);
    println!(
        "  {} processes, {} steps; trace {:.1} MB, read in {:.0} ms, steps made in {:.0} ms",
        whole.processes.len(),
        made.len(),
        text.len() as f64 / 1e6,
        parsed.as_secs_f64() * 1e3,
        (began.elapsed() - parsed).as_secs_f64() * 1e3
    );
    Ok(())
}

/// A file in the kept trees, by the end of its path.
fn walk(dir: &Path, end: &str) -> Result<Option<std::path::PathBuf>, std::io::Error> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.ends_with(end) {
            return Ok(Some(path));
        }
        if path.is_dir()
            && !path.is_symlink()
            && let Some(found) = walk(&path, end)?
        {
            return Ok(Some(found));
        }
    }
    Ok(None)
}
