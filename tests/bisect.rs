//! A bisection of real build files, from 6.1 over 6.12 to 7.3, to the change of 2024 after which every module is linked again.
//!
//! The history is made of Debian's kernel sources: each commit between the releases is a hunk of what really changed in files of
//! `scripts` and `tools`. It takes minutes and three kernels in the cache, so it is run by hand:
//!
//! ```text
//! cargo test --release --test bisect -- --ignored --nocapture
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufWriter, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use kbuild_repro::tree::source::{SourceSpec, Sources, Status, needed_by_graft};
use similar::{Algorithm, DiffOp, capture_diff_slices};

/// Files whose changes no graft's build comes to, or that it does not mind: each hunk is a commit that may not change anything.
const HARMLESS: &[&str] = &[
    "scripts/Makefile.autofdo",
    "scripts/Makefile.dtb",
    "scripts/Makefile.gcov",
    "scripts/Makefile.kasan",
    "scripts/Makefile.kcsan",
    "scripts/Makefile.kstack_erase",
    "scripts/Makefile.package",
    "scripts/Makefile.ubsan",
    "scripts/bpf_doc.py",
    "scripts/checkpatch.pl",
    "scripts/clang-tools",
    "scripts/coccinelle",
    "scripts/decode_stacktrace.sh",
    "scripts/dtc",
    "scripts/gdb",
    "scripts/get_maintainer.pl",
    "scripts/kernel-doc",
    "scripts/package",
    "scripts/selinux",
    "scripts/tags.sh",
    "tools/objtool",
];

const TOUCHED: &str = "scripts/Makefile.modfinal";
const SUBJECT: &str = "kbuild: add $(objtree)/ prefix to some in-kernel build artifacts";

/// A file as git keeps it.
#[derive(Clone, PartialEq, Eq)]
struct File {
    mode: &'static str,
    content: Vec<u8>,
}

type Tree = BTreeMap<String, File>;

/// What a graft needs of a kernel.
fn tree(dir: &Path) -> Tree {
    let mut files = Tree::new();
    let mut dirs = vec![PathBuf::new()];
    while let Some(below) = dirs.pop() {
        for entry in fs::read_dir(dir.join(&below)).expect("a directory").map(|entry| entry.expect("an entry")) {
            let path = below.join(entry.file_name());
            let kind = entry.file_type().expect("a kind");
            let name = path.to_str().expect("UTF-8").to_owned();
            if kind.is_dir() {
                dirs.push(path);
            } else if needed_by_graft(&name) {
                let place = entry.path();
                let file = if kind.is_symlink() {
                    let to = fs::read_link(&place).expect("a link");
                    File { mode: "120000", content: to.as_os_str().as_bytes().to_vec() }
                } else {
                    let runs = entry.metadata().expect("there").permissions().mode() & 0o111 != 0;
                    File { mode: if runs { "100755" } else { "100644" }, content: fs::read(&place).expect("read") }
                };
                files.insert(name, file);
            }
        }
    }
    files
}

/// The states of a file from one text to the other, a hunk further each.
fn hunks(old: &[u8], new: &[u8]) -> Vec<Vec<u8>> {
    let lines = |text: &[u8]| -> Vec<Vec<u8>> { text.split_inclusive(|b| *b == b'\n').map(<[u8]>::to_vec).collect() };
    let (old, new) = (lines(old), lines(new));
    let ops = capture_diff_slices(Algorithm::Myers, &old, &new);
    let changes = ops.iter().filter(|op| !matches!(op, DiffOp::Equal { .. })).count();
    let state = |until: usize| -> Vec<u8> {
        let mut text = Vec::new();
        let mut seen = 0;
        for op in &ops {
            let equal = matches!(op, DiffOp::Equal { .. });
            seen += usize::from(!equal);
            let take = if !equal && seen <= until { &new[op.new_range()] } else { &old[op.old_range()] };
            text.extend(take.iter().flatten());
        }
        text
    };
    (1..=changes).map(state).collect()
}

/// Writes commits for git-fast-import(1).
struct Stream<W: Write>(W, usize);

impl<W: Write> Stream<W> {
    fn commit(&mut self, subject: &str, removed: &[&str], files: &[(&str, &File)]) {
        let Self(out, count) = self;
        *count += 1;
        let when = 1_700_000_000 + *count * 3600;
        write!(
            out,
            "commit refs/heads/main\ncommitter N <n@example.org> {when} +0000\ndata {}\n{subject}\n",
            subject.len()
        )
        .expect("taken");
        for path in removed {
            writeln!(out, "D {path}").expect("taken");
        }
        for (path, file) in files {
            write!(out, "M {} inline {path}\ndata {}\n", file.mode, file.content.len()).expect("taken");
            out.write_all(&file.content).expect("taken");
            writeln!(out).expect("taken");
        }
    }

    /// A whole release in one commit.
    fn release(&mut self, name: &str, from: &Tree, to: &Tree) {
        let removed: Vec<&str> = from.keys().filter(|path| !to.contains_key(*path)).map(String::as_str).collect();
        let files: Vec<(&str, &File)> = to
            .iter()
            .filter(|(path, file)| from.get(*path) != Some(file))
            .map(|(path, file)| (path.as_str(), file))
            .collect();
        self.commit(name, &removed, &files);
    }
}

/// The sources in the cache of whoever runs this.
fn cached(series: &str) -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").expect("a home")).join(".cache");
    let user = || std::env::var_os("XDG_CACHE_HOME").map_or_else(home, PathBuf::from).join("kbuild-repro");
    let cache = std::env::var_os("KBUILD_REPRO_CACHE").map_or_else(user, PathBuf::from);
    let spec = SourceSpec::parse(&format!("debian:{series}")).expect("a source");
    match Sources::new(cache, std::env::vars_os().collect()).lookup(&spec) {
        Ok(Status::Cached(dir)) => dir,
        other => panic!("`kbuild-repro fetch debian:6.1 debian:6.12 debian:7.3` first: {other:?}"),
    }
}

/// Makes the repository, and says how many commits it has.
fn history(repo: &Path) -> usize {
    let git = |args: &[&str]| {
        let mut command = Command::new("git");
        command.arg("-C").arg(repo).args(args);
        command
    };
    fs::create_dir(repo).expect("made");
    assert!(git(&["init", "--quiet", "--initial-branch=main"]).status().expect("git").success());
    let mut import = git(&["fast-import", "--quiet"]).stdin(Stdio::piped()).spawn().expect("git");
    let mut stream = Stream(BufWriter::new(import.stdin.take().expect("a pipe")), 0);
    let (first, mut now, last) = (tree(&cached("6.1")), tree(&cached("6.12")), tree(&cached("7.3")));
    stream.release("Linux 6.1", &Tree::new(), &first);
    stream.release("Linux 6.12", &first, &now);
    let mut steps: Vec<(String, File)> = Vec::new();
    for (path, new) in &last {
        let below = |top: &&str| path == top || path.strip_prefix(*top).is_some_and(|rest| rest.starts_with('/'));
        let Some(old) = now.get(path).filter(|old| *old != new && HARMLESS.iter().any(below)) else {
            continue;
        };
        steps.extend(
            hunks(&old.content, &new.content)
                .into_iter()
                .map(|content| (path.clone(), File { mode: old.mode, content })),
        );
    }
    // Neither a power of two, nor the middle.
    steps.truncate(331);
    let planted = 208;
    for (at, (path, file)) in steps.into_iter().enumerate() {
        if at == planted {
            let modfinal = now[TOUCHED].clone();
            let text = String::from_utf8(modfinal.content).expect("text");
            let (from, to) = ("if_changed_except,ld_ko_o,vmlinux)", "if_changed_except,ld_ko_o,$(objtree)/vmlinux)");
            assert!(text.contains(from), "6.12 has the exclusion");
            let content = text.replace(from, to).into_bytes();
            let file = File { mode: modfinal.mode, content };
            stream.commit(SUBJECT, &[], &[(TOUCHED, &file)]);
            now.insert(TOUCHED.to_owned(), file);
        }
        stream.commit(&format!("{path}: change {at}"), &[], &[(&path, &file)]);
        now.insert(path, file);
    }
    stream.release("Linux 7.3", &now, &last);
    let Stream(mut out, count) = stream;
    out.flush().expect("taken");
    drop(out);
    assert!(import.wait().expect("ends").success());
    count
}

#[test]
#[ignore = "minutes, and three kernels in the cache: run by hand"]
#[expect(clippy::print_stdout, reason = "the figures are what it is run for")]
fn the_change_of_2024_is_found_among_hundreds() {
    let dir = tempfile::Builder::new().prefix("bisect-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let repo = dir.path().join("linux");
    let commits = history(&repo);
    assert!(commits > 200, "{commits}");
    let scenario = dir.path().join("relink.toml");
    fs::write(
        &scenario,
        "title = \"a vmlinux-only change links no module\"\n[tree]\nsrctree = \"graft\"\n[make]\ngoals = [\"vmlinux\", \"modules\"]\n\
         [[edit]]\nfile = \"init/version.c\"\nappend = \"int repro_probe;\\n\"\nskips = [\"LD [M] *\"]\n",
    )
    .expect("written");
    let out = Command::new(env!("CARGO_BIN_EXE_kbuild-repro"))
        .args(["bisect", "relink.toml", "--good", &format!("main~{}", commits - 1), "--bad", "main", "--repo"])
        .arg(&repo)
        .args(["--finding", "expect.unmet", "--json", "told.json"])
        .current_dir(dir.path())
        .env("XDG_STATE_HOME", dir.path().join("state"))
        .env("NO_COLOR", "1")
        .output()
        .expect("it starts");
    let text = String::from_utf8_lossy(&out.stdout);
    println!("{}{text}", String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success());
    assert!(text.contains("expect.unmet came with") && text.contains(SUBJECT), "{text}");
}
