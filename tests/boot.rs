//! What the kernel says of BTF, against what `btf check` says: a kernel is booted and loads modules whose BTF was changed at
//! random. It takes qemu, and a kernel image with its modules.

#![expect(clippy::print_stderr, reason = "a skipped test says why")]

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value as Json;

/// A directory with `boot/vmlinuz-*` and `lib/modules/*`, as a package of a kernel has it.
const WHERE: &str = "KBUILD_REPRO_BOOT";
/// How many changed modules one boot loads.
const MUTANTS: usize = 400;

/// Why it is skipped goes to standard error; where everything is required, it fails.
fn skip(why: &str) {
    assert!(std::env::var_os("KBUILD_REPRO_REQUIRE_ALL").is_none(), "skipped: {why}");
    eprintln!("skipped: {why}");
}

/// The kernel image, its vmlinux or where it has its BTF, and its modules.
fn kernel() -> Result<(PathBuf, PathBuf), String> {
    let qemu = Command::new("qemu-system-x86_64").arg("--version").output();
    if qemu.is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
        return Err("qemu is not installed: apt-get install qemu-system-x86".into());
    }
    let root = std::env::var_os(WHERE).map_or_else(|| PathBuf::from("/"), PathBuf::from);
    let first = |dir: PathBuf, prefix: &str| {
        let entries = fs::read_dir(dir).ok()?;
        let mut names: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        names.sort();
        names.into_iter().find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix)))
    };
    let missing = || format!("no kernel image with modules below `{}`; {WHERE} names another place", root.display());
    let image = first(root.join("boot"), "vmlinuz-").ok_or_else(missing)?;
    let release = image.file_name().unwrap_or_default().to_string_lossy().trim_start_matches("vmlinuz-").to_owned();
    let modules = root.join("lib/modules").join(release).join("kernel");
    if modules.is_dir() { Ok((image, modules)) } else { Err(missing()) }
}

/// A linear congruential generator: the same modules in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit.max(1)
    }
}

/// Where `.BTF` is in a module.
fn btf(module: &Path) -> Option<std::ops::Range<usize>> {
    let artifact = kbuild_repro::artifact::describe(module, "module.ko").ok()?;
    let part = artifact.parts.iter().find(|part| part.name == ".BTF")?;
    Some(part.offset as usize..(part.offset + part.size) as usize)
}

/// Takes the signature off, which no longer fits what is changed (include/linux/module_signature.h): of 12 bytes before the
/// magic string the last four say how long it is.
fn unsigned(mut bytes: Vec<u8>) -> Vec<u8> {
    const MAGIC: &[u8] = b"~Module signature appended~\n";
    if let Some(rest) = bytes.strip_suffix(MAGIC) {
        let size = u32::from_be_bytes(rest[rest.len() - 4..].try_into().expect("four bytes")) as usize;
        bytes.truncate(rest.len() - 12 - size);
    }
    bytes
}

/// Changes a field or two of the header or of the types; strings at times.
fn mutate(bytes: &mut [u8], random: &mut Random) {
    let word = |bytes: &[u8], at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    let strings = 24 + word(bytes, 16) as usize;
    for _ in 0..=random.below(2) {
        let at = match random.below(10) {
            0 => random.below(24),
            1 => strings + random.below(bytes.len() - strings),
            _ => 24 + random.below(strings - 24),
        };
        match random.below(4) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][random.below(5)],
            2 => bytes[at] = bytes[at].wrapping_add([1, 255, 2, 254][random.below(4)]),
            _ => {
                let at = at.min(bytes.len() - 4) & !3;
                let value = word(bytes, at);
                let other = word(bytes, 24 + (random.below(strings - 24) & !3));
                let new = [value.wrapping_add(1), value.wrapping_sub(1), 0, u32::MAX, other, value ^ 0x8000_0000]
                    [random.below(6)];
                bytes[at..at + 4].copy_from_slice(&new.to_le_bytes());
            }
        }
    }
}

/// Modules that do nothing when they are loaded, and need no other.
const HARMLESS: &[&str] = &[
    "lib/crc7.ko",
    "lib/crc8.ko",
    "lib/math/cordic.ko",
    "lib/crypto/libdes.ko",
    "lib/ts_fsm.ko",
    "fs/nls/nls_utf8.ko",
];

#[test]
fn a_kernel_refuses_what_btf_check_says_it_refuses() {
    let (image, modules) = match kernel() {
        Ok(found) => found,
        Err(why) => return skip(&why),
    };
    let dir = tempfile::tempdir().expect("a directory");
    let seed = std::env::var("KBUILD_REPRO_FUZZ_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let mut random = Random(seed);
    let mut files = Vec::new();
    let originals: Vec<PathBuf> =
        HARMLESS.iter().map(|name| modules.join(name)).filter(|path| path.is_file()).collect();
    if originals.is_empty() {
        return skip(&format!("none of the modules that are loaded is in `{}`", modules.display()));
    }
    for number in 0..MUTANTS {
        let original = &originals[number % originals.len()];
        let place = btf(original).expect("a module with BTF");
        let mut bytes = unsigned(fs::read(original).expect("a module"));
        if number >= originals.len() {
            mutate(&mut bytes[place], &mut random);
        }
        let own = dir.path().join(number.to_string());
        fs::create_dir(&own).expect("made");
        let file = own.join(original.file_name().expect("a file"));
        fs::write(&file, bytes).expect("written");
        files.push(file);
    }
    let output = Command::new(env!("CARGO_BIN_EXE_kbuild-repro"))
        .args(["boot", "--each", "--format", "json"])
        .arg(image)
        .args(&files)
        .output()
        .expect("it starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    let told: Json = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {errors}"));
    let loads = told["modules"].as_array().expect("a list");
    assert_eq!(loads.len(), files.len(), "{}: {errors}", told["problem"]);
    let (mut refused, mut taken, mut wrong) = (0, 0, Vec::new());
    for load in loads {
        let log = load["log"].as_array().expect("lines");
        let is_refused =
            log.iter().any(|line| line.as_str().is_some_and(|line| line.contains("failed to validate module")));
        let says_so = load["check"]["refused"].is_object();
        refused += usize::from(is_refused);
        taken += usize::from(load["errno"] == 0 && load["btf"] == true);
        // Kernels before 7.1 know fewer bits of a record, and a shorter header.
        let older = ["Invalid btf_info:", "Unsupported btf_header", "meta_left:"];
        let is_older =
            log.iter().any(|line| line.as_str().is_some_and(|line| older.iter().any(|old| line.contains(old))));
        if is_refused != says_so || load["agrees"] == false && !is_older {
            wrong.push(format!("{load}"));
        }
    }
    assert!(refused > MUTANTS / 10 && taken > MUTANTS / 10, "{refused} refused, {taken} taken");
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), loads.len(), wrong.join("\n"));
}
