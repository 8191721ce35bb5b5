//! How fast two trees of modules are compared, against `openssl dgst -sha256` over the same files in the same run, started by
//! xargs(1) on as many processors; how much memory that takes; and how long two modules that differ take, against diffoscope.
//!
//! The modules are one small object, compiled here, with data of another length and content in each; a few differ between
//! the trees. `KBUILD_REPRO_BENCH_MB` says how many megabytes they come to in both trees together (400 by default, 8192 at
//! most). Prints, and fails only when the answer is wrong: a busy machine is no fault of the code.

#![expect(clippy::print_stdout, reason = "a bench reports on the terminal")]

use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use kbuild_repro::artifact::Bounds;
use kbuild_repro::artifact::inside::NoBases;
use kbuild_repro::artifact::trees::{self, How, Looked, Vmlinux};
use rayon::prelude::*;

const ROUNDS: usize = 5;
/// Lengths of the modules' data in bytes, in turn: the median of a distribution's modules is near 50 KB, a few have megabytes.
const SIZES: [usize; 8] = [8 << 10, 16 << 10, 32 << 10, 48 << 10, 64 << 10, 128 << 10, 256 << 10, 3 << 20];
/// One of how many modules differs.
const DIFFERS: usize = 500;
/// What the data begins with, to be found again.
const MARK: &[u8; 17] = b"begin of the data";

const SOURCE: &str = r#"
static const char version[] __attribute__((section(".modinfo"), used)) = "vermagic=6.12.1 SMP";
char data[SIZE] = "begin of the data";
extern int printk(const char *, ...);
static int helper(int x) { return printk("%d", x) + data[x]; }
int init_module(void) { return helper(7); }
void cleanup_module(void) { printk("bye"); }
"#;

fn main() -> Result<(), Box<dyn Error>> {
    let wanted = match std::env::var("KBUILD_REPRO_BENCH_MB") {
        Ok(text) => text.parse::<u64>()?.clamp(1, 8192),
        Err(_) => 400,
    };
    let dir = tempfile::tempdir()?;
    let Some(objects) = compile(dir.path())? else {
        println!("no gcc: nothing to compare");
        return Ok(());
    };
    let (a, b) = (dir.path().join("a"), dir.path().join("b"));
    let (files, bytes) = fill(&objects, &a, &b, wanted * 1_000_000)?;
    let expected = files.div_ceil(DIFFERS);
    let cpus = std::thread::available_parallelism()?.get();
    println!("{files} modules in each of two trees, {} MB in all, {cpus} processors", bytes / 1_000_000);

    let before = peak_memory()?;
    let (mut ours, mut theirs) = (Duration::MAX, Duration::MAX);
    // Taken in turns, so that a busy neighbour meets both; the best of each is what the code costs.
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let differ = compare(&a, &b)?;
        ours = ours.min(start.elapsed());
        if differ != expected {
            return Err(format!("{differ} modules differ, and {expected} should").into());
        }
        let start = Instant::now();
        if openssl(dir.path(), cpus)? {
            theirs = theirs.min(start.elapsed());
        }
    }
    let rate = bytes as f64 / ours.as_secs_f64() / 1e9;
    print!("compare {ours:?} ({rate:.2} GB/s, {expected} differ and were decoded)");
    match theirs {
        Duration::MAX => println!("; no openssl to compare with"),
        _ => println!(", openssl {theirs:?}, ratio {:.2}", ours.as_secs_f64() / theirs.as_secs_f64()),
    }
    println!("peak memory grew by {} KiB", peak_memory()?.saturating_sub(before));
    pair(&a.join("0.ko"), &b.join("0.ko"))
}

/// The number of files that differ, as the command finds them.
fn compare(a: &Path, b: &Path) -> Result<usize, Box<dyn Error>> {
    let trees = trees::pair(a, b)?;
    let (bounds, bases) = (Bounds::none(), Vmlinux::of(a, b));
    let how = How { decode: true, bounds: &bounds, bases: &bases };
    let look = |pair: &trees::Pair| trees::compare(pair, &how);
    let looked = trees.pairs.par_iter().map(look).collect::<Result<Vec<Looked>, _>>()?;
    Ok(looked.iter().filter(|looked| matches!(looked, Looked::Differs(_))).count())
}

/// Whether openssl is there, and has hashed both trees.
fn openssl(dir: &Path, cpus: usize) -> Result<bool, Box<dyn Error>> {
    let script = format!("find a b -type f -print0 | xargs -0 -n 64 -P {cpus} openssl dgst -sha256");
    let status = Command::new("sh").args(["-c", &script]).current_dir(dir).stdout(Stdio::null()).status()?;
    Ok(status.success())
}

/// Two modules of which one key of `.modinfo` differs.
fn pair(a: &Path, b: &Path) -> Result<(), Box<dyn Error>> {
    let bounds = Bounds::none();
    let how = How { decode: true, bounds: &bounds, bases: &NoBases };
    let mut ours = Duration::MAX;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let looked = trees::compare(&trees::pair_files(a, b)?, &how)?;
        ours = ours.min(start.elapsed());
        if !format!("{looked:?}").contains("vermagic: 6.12.1 SMP → 6.12.2 SMP") {
            return Err(format!("the difference is not told: {looked:?}").into());
        }
    }
    let start = Instant::now();
    let diffoscope = Command::new("diffoscope").args([a, b]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    match diffoscope {
        // 1: they differ
        Ok(status) if status.code() == Some(1) => println!("two modules {ours:?}, diffoscope {:?}", start.elapsed()),
        _ => println!("two modules {ours:?}; diffoscope is not installed"),
    }
    Ok(())
}

/// An object of each length; none where there is no gcc.
fn compile(dir: &Path) -> Result<Option<Vec<Vec<u8>>>, Box<dyn Error>> {
    let (source, object) = (dir.join("m.c"), dir.join("m.o"));
    fs::write(&source, SOURCE)?;
    let mut objects = Vec::new();
    for size in SIZES {
        let mut gcc = Command::new("gcc");
        gcc.args(["-g", "-O2", "-c", &format!("-DSIZE={size}")]).arg(&source).arg("-o").arg(&object);
        match gcc.status() {
            Ok(status) if status.success() => objects.push(fs::read(&object)?),
            Ok(status) => return Err(format!("gcc: {status}").into()),
            Err(_) => return Ok(None),
        }
    }
    fs::remove_file(object)?;
    Ok(Some(objects))
}

/// Writes modules to both trees until there are as many bytes; the number of modules, and of bytes.
fn fill(objects: &[Vec<u8>], a: &Path, b: &Path, wanted: u64) -> Result<(usize, u64), Box<dyn Error>> {
    fs::create_dir(a)?;
    fs::create_dir(b)?;
    let (mut files, mut bytes) = (0, 0);
    let mut state = 1u64;
    while bytes < wanted {
        let mut module = objects[files % objects.len()].clone();
        let at = place(&module, &MARK[..])?;
        let size = SIZES[files % SIZES.len()];
        for word in module[at + MARK.len()..at + size - MARK.len()].chunks_exact_mut(8) {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            word.copy_from_slice(&state.to_le_bytes());
        }
        let name = format!("{files}.ko");
        fs::write(a.join(&name), &module)?;
        if files % DIFFERS == 0 {
            let version = place(&module, b"6.12.1")?;
            module[version + 5] = b'2';
        }
        fs::write(b.join(&name), &module)?;
        files += 1;
        bytes += 2 * module.len() as u64;
    }
    Ok((files, bytes))
}

fn place(bytes: &[u8], what: &[u8]) -> Result<usize, Box<dyn Error>> {
    bytes.windows(what.len()).position(|window| window == what).ok_or_else(|| "not what was compiled".into())
}

/// `VmHWM` in KiB, see proc_pid_status(5).
fn peak_memory() -> Result<u64, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    Ok(number.ok_or("no VmHWM in /proc/self/status")?.parse()?)
}
