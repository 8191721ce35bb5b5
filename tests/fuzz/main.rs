//! Everything that reads ELF and BTF, on files that lie: mutants of real ones, and attacks that were thought out.
//!
//! A run is as long as `KBUILD_REPRO_FUZZ_SECONDS` says, and without it a number of executions that is always the same. What
//! fails is made smaller and saved in `tests/corpus/found`, or in the directory `KBUILD_REPRO_FUZZ_SAVE`; what lies there is
//! tried first by every run. `KBUILD_REPRO_FUZZ_REPEAT=FILE:SEED:NUMBER` repeats one execution, whose name a find has.

#![allow(clippy::print_stderr, reason = "a run of an hour says how far it is, and a find where it lies")]

mod attacks;
mod corpus;
mod elf;
mod look;
mod meter;
mod mutate;
mod random;
mod types;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kbuild_repro::artifact::btf::Base;
use kbuild_repro::artifact::packed::Packing;

use corpus::File;
use look::Context;
use meter::{Fault, Taken};
use random::Random;

/// Executions of a run without a time, and its seed.
const EXECUTIONS: u64 = 200;
const SEED: u64 = 1;
/// One in so many is done twice, and must tell the same.
const TWICE: u64 = 8;

struct Fuzz {
    all: Vec<File>,
    /// What each file of the corpus is compared with its mutants as: itself, unpacked.
    originals: BTreeMap<String, Vec<u8>>,
    context: Context,
}

impl Fuzz {
    fn new() -> Self {
        let all = corpus::load();
        let base = |name: &str| Arc::new(Base::parse(corpus::get(&all, name).bytes.clone()).expect("a base"));
        let context = Context { vmlinux: base("vmlinux.btf"), big_endian: base("big-endian-vmlinux.btf") };
        let split = elf_section(&corpus::get(&all, "split.ko").bytes, ".BTF");
        look::SPLIT.get_or_init(|| split);
        let plain = |file: &File| match Packing::of(&file.name) {
            Some((packing, _)) => {
                let mut inside = Vec::new();
                let unpacked = kbuild_repro::artifact::packed::unpack(packing, &mut &*file.bytes, &false.into());
                std::io::Read::read_to_end(&mut unpacked.expect("a good file"), &mut inside).expect("it is read");
                inside
            }
            None => file.bytes.clone(),
        };
        let originals = all.iter().map(|file| (file.name.clone(), plain(file))).collect();
        Self { all, originals, context }
    }

    /// One execution: of a mutant of the file of this name.
    fn execute(&self, name: &str, file: &str, mutant: &[u8], twice: bool) -> Result<Taken, Fault> {
        let original = self.originals.get(file).map_or(&[][..], |bytes| bytes);
        let packing = Packing::of(file).map(|(packing, _)| packing);
        let extra = original.len() * meter::MEMORY_EACH + if packing.is_some() { look::WINDOW } else { 0 };
        let bounds = (extra, meter::LONGEST);
        let look = || look::look(original, mutant, packing, &self.context);
        let (told, taken) = meter::run(name, mutant, bounds, look)?;
        if twice && meter::run(name, mutant, bounds, look)?.0 != told {
            return Err(Fault { kind: "not-the-same".into(), text: "two executions tell two things".into() });
        }
        Ok(taken)
    }

    fn mutant(&self, file: &File, seed: u64, number: u64) -> Vec<u8> {
        mutate::mutant(file, &self.all, &mut Random::of(&file.name, seed, number))
    }

    /// Makes a find smaller and saves it; what is said of it.
    fn save(&self, file: &str, seed: u64, number: u64, input: Vec<u8>, fault: &Fault) -> String {
        let same = |bytes: &[u8]| {
            let again = self.execute("smaller", file, bytes, fault.kind == "not-the-same");
            again.is_err_and(|other| other.kind == fault.kind)
        };
        let input = if same(&input) { corpus::smaller(input, same) } else { input };
        let at = meter::finds().join(format!("{}-{seed}-{number}@{file}", fault.kind));
        let saved = std::fs::create_dir_all(meter::finds()).and_then(|()| std::fs::write(&at, &input));
        let kept = saved.map_or_else(|error| error.to_string(), |()| at.display().to_string());
        format!(
            "{file}:{seed}:{number}: {}: {}\n    {} bytes: {kept}\n    KBUILD_REPRO_FUZZ_REPEAT={file}:{seed}:{number}",
            fault.kind,
            fault.text,
            input.len()
        )
    }
}

/// The bytes of a section of an ELF file.
fn elf_section(elf: &[u8], name: &str) -> Vec<u8> {
    let artifact = kbuild_repro::artifact::describe_reader(&mut std::io::Cursor::new(elf), "", None).expect("a slice");
    let part = artifact.part(name).unwrap_or_else(|| panic!("no {name}"));
    elf[part.offset as usize..(part.offset + part.size) as usize].to_vec()
}

fn number_of(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}=`{text}` is no number")))
}

#[test]
fn the_corpus_is_read_without_fault() {
    let fuzz = Fuzz::new();
    for file in &fuzz.all {
        if let Err(fault) = fuzz.execute(&file.name, &file.name, &file.bytes, true) {
            panic!("{}: {fault:?}", file.name);
        }
    }
}

#[test]
fn what_was_found_stays_mended() {
    let fuzz = Fuzz::new();
    for (origin, file) in corpus::found() {
        if let Err(fault) = fuzz.execute(&file.name, &origin, &file.bytes, true) {
            panic!("{}: {fault:?}", file.name);
        }
    }
}

#[test]
fn mutants_are_read_without_fault() {
    let fuzz = Fuzz::new();
    if let Ok(wanted) = std::env::var("KBUILD_REPRO_FUZZ_REPEAT") {
        let [number, seed, file] = wanted.rsplitn(3, ':').collect::<Vec<_>>()[..] else {
            panic!("KBUILD_REPRO_FUZZ_REPEAT=FILE:SEED:NUMBER")
        };
        let (seed, number) = (seed.parse().expect("a seed"), number.parse().expect("a number"));
        let mutant = fuzz.mutant(corpus::get(&fuzz.all, file), seed, number);
        let done = fuzz.execute(&wanted, file, &mutant, true);
        assert!(done.is_ok(), "{wanted}: {done:?}");
        return;
    }
    let seed = number_of("KBUILD_REPRO_FUZZ_SEED").unwrap_or(SEED);
    let time = number_of("KBUILD_REPRO_FUZZ_SECONDS").map(Duration::from_secs);
    let (start, mut said) = (Instant::now(), 0);
    let mut finds: BTreeMap<String, String> = BTreeMap::new();
    let mut most = Taken::default();
    let mut executions = 0;
    while time.map_or(executions < EXECUTIONS, |time| start.elapsed() < time) {
        let number = executions;
        executions += 1;
        let file = &fuzz.all[(number % fuzz.all.len() as u64) as usize];
        let mutant = fuzz.mutant(file, seed, number);
        if std::env::var_os("KBUILD_REPRO_FUZZ_SAVE").is_some() {
            // Should the process be killed, this is what it died of.
            let _ = std::fs::write(meter::finds().join("last"), &mutant);
        }
        let name = format!("{seed}-{number}@{}", file.name);
        match fuzz.execute(&name, &file.name, &mutant, number.is_multiple_of(TWICE)) {
            Ok(taken) => {
                most = Taken { time: most.time.max(taken.time), memory: most.memory.max(taken.memory) };
            }
            // One of a kind is enough: a fault that is not mended is met again and again.
            Err(fault) if !finds.contains_key(&fault.kind) => {
                let told = fuzz.save(&file.name, seed, number, mutant, &fault);
                eprintln!("{told}");
                finds.insert(fault.kind, told);
            }
            Err(_) => {}
        }
        let minutes = start.elapsed().as_secs() / 60;
        if minutes > said {
            said = minutes;
            eprintln!("{minutes} min: {executions} executions, {} finds", finds.len());
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    eprintln!(
        "{executions} executions in {seconds:.0} s (seed {seed}), {} finds; at most {:?} and {} MiB each",
        finds.len(),
        most.time,
        most.memory >> 20
    );
    assert!(finds.is_empty(), "{}", finds.into_values().collect::<Vec<_>>().join("\n"));
}
