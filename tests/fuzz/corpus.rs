//! The corpus: small real files, those that were finds once, and what is made of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::elf;

/// How long a find is made smaller.
const SMALLER: Duration = Duration::from_secs(20);

/// A file of the corpus.
#[derive(Debug, Clone)]
pub(crate) struct File {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
}

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus")
}

fn files(dir: &Path) -> Vec<File> {
    let mut found: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten() {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if path.is_file() && name != "README.md" {
            found.insert(name, std::fs::read(&path).expect("a file of the corpus"));
        }
    }
    found.into_iter().map(|(name, bytes)| File { name, bytes }).collect()
}

/// What is mutated, sorted by name; some files a second time for the other byte order.
pub(crate) fn load() -> Vec<File> {
    let mut all = files(&root());
    assert!(all.len() > 8, "the corpus is not there: {}", root().display());
    for name in ["kfuncs.ko", "split.ko"] {
        let bytes = elf::big_endian(&get(&all, name).bytes);
        all.push(File { name: format!("big-endian-{name}"), bytes });
    }
    let bytes = elf::big_endian_btf(&get(&all, "vmlinux.btf").bytes);
    all.push(File { name: "big-endian-vmlinux.btf".into(), bytes });
    all
}

pub(crate) fn get<'c>(all: &'c [File], name: &str) -> &'c File {
    all.iter().find(|file| file.name == name).unwrap_or_else(|| panic!("no `{name}` in the corpus"))
}

/// What was a find once, with the name of the file that it was made from.
pub(crate) fn found() -> Vec<(String, File)> {
    let of = |file: File| {
        let (_, origin) = file.name.split_once('@').unwrap_or_else(|| panic!("`{}`: WHAT@ORIGIN", file.name));
        (origin.to_owned(), file)
    };
    files(&root().join("found")).into_iter().map(of).collect()
}

/// Makes an input smaller for which `fails` still holds: whole pieces are left out, then set to zero.
pub(crate) fn smaller(input: Vec<u8>, fails: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let start = Instant::now();
    let mut best = input;
    let mut piece = (best.len() / 2).max(1);
    while piece > 0 {
        let mut at = 0;
        while at < best.len() {
            if start.elapsed() > SMALLER {
                return best;
            }
            let end = (at + piece).min(best.len());
            let cut = [&best[..at], &best[end..]].concat();
            if fails(&cut) {
                best = cut;
                continue;
            }
            if best[at..end].iter().any(|byte| *byte != 0) {
                let mut zero = best.clone();
                zero[at..end].fill(0);
                if fails(&zero) {
                    best = zero;
                }
            }
            at = end;
        }
        piece = if piece == 1 { 0 } else { (piece / 4).max(1) };
    }
    best
}
