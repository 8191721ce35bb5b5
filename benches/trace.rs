//! What tracing costs: the same full build of a graft, untraced and traced, in turns in one run.
//!
//! - `everything`: `trace`, each process with its programs and what it did to files, contents by digest, and what was looked up;
//! - `stops`: `everything` but for look-ups, as an ordinary user gets it (goal: at most 1.5 times the wall time);
//! - `fast`: the same by listening to what is opened, where the host allows it (goal: at most 1.15 times);
//! - `looks`: what a preparation is traced for;
//! - `strace`: for comparison, `strace -f --seccomp-bpf` of calls with files and processes, if it is installed: how much a stop
//!   costs differs much between machines, most between virtual ones;
//! - the time to read a trace and to make steps of it (goal: 2 s on a whole kernel).
//!
//! Needs the source of a kernel in the cache: `debian:6.12`, or what `GRAFT_KERNEL` names. Prints, and fails only when a build
//! fails: a busy machine is no fault of the code.

#![expect(clippy::print_stdout, reason = "a bench reports on the terminal")]

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Instant;

use kbuild_repro::trace::{Root, Trace, steps};

const ROUNDS: usize = 5;
const EXE: &str = env!("CARGO_BIN_EXE_kbuild-repro");

/// What is traced, and what is listened to for it in its sandbox. Nothing else is heard, so that no round pays for another's events.
const WAYS: [(&str, &str, bool); 6] = [
    ("untraced", "", false),
    ("everything", "EXE __trace all /build/src/.everything /build/obj /build/src --", false),
    ("stops", "EXE __trace contents /build/src/.stops /build/obj /build/src --", false),
    ("fast", "EXE __trace contents /build/src/.fast /build/obj /build/src --", true),
    ("looks", "EXE __trace looks /build/src/.looks --", false),
    ("strace", "strace -f --seccomp-bpf -qq -e trace=file,process -o /tmp/strace", false),
];

/// In the tree of a clean build. Host tools are made once and kept aside; times are kept, which make goes by.
const PREPARE: &str = r#"
set -e
cd /build/src
make="make O=/build/obj ARCH=graft -j$(nproc)"
$make clean >/dev/null; $make prepare scripts >/dev/null
cp -a /build/obj /build/src/.prepared
"#;
/// One build: its time in microseconds.
const BUILD: &str = r#"
set -e
cd /build/src
find /build/obj -mindepth 1 -delete; cp -a .prepared/. /build/obj
begin=$(date +%s%N)
TRACED make O=/build/obj ARCH=graft -j$(nproc) vmlinux modules >/tmp/log 2>&1 || { cat /tmp/log; exit 1; }
echo "$((($(date +%s%N) - begin) / 1000))"
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
    let spec = walk(dir.path(), "control/clean/spec.json")?.ok_or("no specification")?;
    let shell = |script: &str, listen: bool| -> Result<String, Box<dyn Error>> {
        let text = fs::read_to_string(&spec)?;
        fs::write(&spec, text.replace(&format!("\"listen\":{}", !listen), &format!("\"listen\":{listen}")))?;
        let mut shell = run(&["shell", "s.toml", "--build", "control/clean"]);
        let output = shell.args(["--", "sh", "-c", script]).output()?;
        let said = String::from_utf8(output.stdout)?;
        if output.status.success() {
            Ok(said)
        } else {
            Err(format!("{said}{}", String::from_utf8_lossy(&output.stderr)).into())
        }
    };
    shell(PREPARE, false)?;
    let mut times: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    let strace = Command::new("strace").arg("-V").output().is_ok();
    for (name, tracer, listen) in (0..ROUNDS).flat_map(|_| WAYS).filter(|(name, ..)| *name != "strace" || strace) {
        let said = shell(&BUILD.replace("TRACED", tracer).replace("EXE", EXE), listen)?;
        times.entry(name).or_default().push(said.trim().parse::<f64>()? / 1e6);
    }
    println!(
        "{kernel}, {} processors, {ROUNDS} rounds, medians; ratios of each round's pair",
        thread::available_parallelism()?
    );
    let median = |mut times: Vec<f64>| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    };
    let plain = &times["untraced"];
    println!("  untraced    {:6.2} s", median(plain.clone()));
    let fast = Trace::parse(&fs::read(walk(dir.path(), ".fast")?.ok_or("no fast trace")?)?)?;
    let way = if fast.heard { "goal 1.15" } else { "this user may not listen, goal 1.5" };
    for (name, goal) in
        [("everything", "no goal"), ("stops", "goal 1.5"), ("fast", way), ("looks", "no goal"), ("strace", "no goal")]
    {
        let Some(traced) = times.get(name) else { continue };
        let ratio = median(traced.iter().zip(plain).map(|(traced, plain)| traced / plain).collect());
        println!("  {name:11} {:6.2} s: {ratio:.2} times ({goal})", median(traced.clone()));
    }
    let trace = walk(dir.path(), ".everything")?.ok_or("no trace")?;
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
