//! How long the whole text of a vmlinux's BTF takes, against `bpftool btf dump file ... format raw` in the same run, and how long
//! it takes to say what two such BTFs say differently.
//!
//! The BTF is made here, with as many types as a distribution's kernel has: structs, pointers, prototypes and functions; in the second one
//! types stand in another order, some are changed and some are gone. `KBUILD_REPRO_BENCH_TYPES` says how many types (150,000 by default).
//! `KBUILD_REPRO_BENCH_VMLINUX` names a vmlinux whose text is taken as well. Prints, and fails only when the answer is wrong: a busy
//! machine is no fault of the code.

#![expect(clippy::print_stdout, reason = "a bench reports on the terminal")]

use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use kbuild_repro::artifact::btf::{Btf, BtfDiff, BtfFile, Relation};

const ROUNDS: usize = 5;
/// Members of a struct, and parameters of a function.
const ELEMENTS: u32 = 5;
/// Types of one group: an int, a struct, a pointer to it, a prototype, a function.
const GROUP: u32 = 5;

/// Writes BTF (Documentation/bpf/btf.rst).
#[derive(Default)]
struct Writer {
    types: Vec<u8>,
    strings: Vec<u8>,
}

impl Writer {
    fn name(&mut self, name: &str) -> u32 {
        let at = self.strings.len() as u32;
        self.strings.extend(name.as_bytes());
        self.strings.push(0);
        at
    }

    fn words(&mut self, words: &[u32]) {
        words.iter().for_each(|word| self.types.extend(word.to_le_bytes()));
    }

    /// A group of types about `number`, which begins at the id `first`.
    fn group(&mut self, number: u32, first: u32, size: u32) {
        let int = self.name(&format!("int_{number}"));
        self.words(&[int, 1 << 24, 4, 32]);
        let name = self.name(&format!("struct_{number}"));
        self.words(&[name, 4 << 24 | ELEMENTS, size]);
        for member in 0..ELEMENTS {
            let name = self.name(&format!("member_{member}"));
            // Every other one is a pointer to its own struct.
            self.words(&[name, first + 2 * (member % 2), 64 * member]);
        }
        self.words(&[0, 2 << 24, first + 1]);
        self.words(&[0, 13 << 24 | ELEMENTS, first]);
        for parameter in 0..ELEMENTS {
            let name = self.name(&format!("parameter_{parameter}"));
            self.words(&[name, first + 2]);
        }
        let function = self.name(&format!("function_{number}"));
        self.words(&[function, 12 << 24 | 1, first + 3]);
    }

    fn bytes(self) -> Vec<u8> {
        let mut bytes = vec![0x9f, 0xeb, 1, 0];
        let (types, strings) = (self.types.len() as u32, self.strings.len() as u32);
        [24, 0, types, types, strings].iter().for_each(|word: &u32| bytes.extend(word.to_le_bytes()));
        [bytes, self.types, self.strings].concat()
    }
}

/// BTF of so many groups; a changed one has every thousandth struct larger, lacks every two-thousandth group, and begins in the middle.
fn made(groups: u32, changed: bool) -> Vec<u8> {
    let mut writer = Writer { strings: vec![0], ..Writer::default() };
    let mut first = 1;
    let start = if changed { groups / 2 } else { 0 };
    for number in (start..groups).chain(0..start) {
        if changed && number % 2000 == 1999 {
            continue;
        }
        writer.group(number, first, if changed && number % 1000 == 500 { 80 } else { 40 });
        first += GROUP;
    }
    writer.bytes()
}

fn main() -> Result<(), Box<dyn Error>> {
    let wanted: u32 = match std::env::var("KBUILD_REPRO_BENCH_TYPES") {
        Ok(text) => text.parse::<u32>()?.clamp(100_000, 2_000_000),
        Err(_) => 150_000,
    };
    let groups = wanted / GROUP;
    let dir = tempfile::tempdir()?;
    let (a, b) = (dir.path().join("a.btf"), dir.path().join("b.btf"));
    fs::write(&a, made(groups, false))?;
    fs::write(&b, made(groups, true))?;
    println!("two BTFs of {wanted} types, {} bytes", fs::metadata(&a)?.len());
    text(&a)?;
    if let Some(vmlinux) = std::env::var_os("KBUILD_REPRO_BENCH_VMLINUX") {
        text(Path::new(&vmlinux))?;
    }
    let read = |path: &Path| -> Result<Btf, Box<dyn Error>> { Ok(BtfFile::read(path)?.btf(None)?) };
    let mut took = Duration::MAX;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let diff = BtfDiff::of(&read(&a)?, &read(&b)?);
        took = took.min(start.elapsed());
        let told = format!("{diff:?}");
        if diff.relation != Relation::Different || !told.contains("struct_500") || !told.contains("function_1999") {
            return Err(format!("the difference is not told: {:?}", diff.lines(5)).into());
        }
    }
    println!("diff of the two: {took:?}");
    Ok(())
}

/// The command that users run, against bpftool's.
fn text(path: &Path) -> Result<(), Box<dyn Error>> {
    let (mut ours, mut theirs) = (Duration::MAX, Duration::MAX);
    let run = |program: &str, arguments: &[&str]| -> std::io::Result<Option<Duration>> {
        let start = Instant::now();
        let status = Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
        match status {
            Ok(status) => Ok(status.success().then(|| start.elapsed())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    };
    let shown = path.display().to_string();
    // Taken in turns, so that a busy neighbour meets both; the best of each is what the code costs.
    for _ in 0..ROUNDS {
        let took = run(env!("CARGO_BIN_EXE_kbuild-repro"), &["btf", "dump", &shown])?;
        ours = ours.min(took.ok_or("the dump failed")?);
        theirs = theirs.min(run("bpftool", &["btf", "dump", "file", &shown, "format", "raw"])?.unwrap_or(theirs));
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    match theirs {
        Duration::MAX => println!("text of {name}: {ours:?}; no bpftool to compare with"),
        _ => println!(
            "text of {name}: {ours:?}, bpftool {theirs:?}, ratio {:.2}",
            ours.as_secs_f64() / theirs.as_secs_f64()
        ),
    }
    Ok(())
}
