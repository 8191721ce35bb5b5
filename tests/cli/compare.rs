//! `compare`: what is equal, what is not, what is ignored, and what it ends with.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value as Json;

use crate::lab::{Lab, Ran};

/// A lab with files in `a` and in `b`.
fn lab(files_a: &[(&str, &[u8])], files_b: &[(&str, &[u8])]) -> Lab {
    let lab = Lab::new();
    for (side, files) in [("a", files_a), ("b", files_b)] {
        fs::create_dir(lab.path(side)).expect("made");
        files.iter().for_each(|(name, bytes)| {
            lab.write(&format!("{side}/{name}"), bytes);
        });
    }
    lab
}

fn compare(lab: &Lab, options: &[&str]) -> Ran {
    lab.run(&[&["compare", "a", "b"], options].concat())
}

fn document(lab: &Lab, options: &[&str], code: i32) -> Json {
    let ran = compare(lab, &[&["--format", "json"], options].concat()).exits(code);
    serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("no JSON: {error}: {ran}"))
}

/// The result of one file.
pub(crate) fn result<'j>(document: &'j Json, path: &str) -> &'j str {
    let files = document["files"].as_array().expect("a list");
    let file = files.iter().find(|file| file["path"] == path).unwrap_or_else(|| panic!("no `{path}` in {document}"));
    file["result"].as_str().expect("a word")
}

/// A relocatable ELF file of 64 bits with sections that hold these bytes, and what follows them.
pub(crate) fn elf(sections: &[(&str, &[u8])], tail: &[u8]) -> Vec<u8> {
    let mut names = vec![0];
    let mut body = Vec::new();
    let mut headers = vec![0; 64];
    let mut header = |name: u32, kind: u32, offset: usize, size: usize| {
        headers.extend([name, kind].map(u32::to_le_bytes).concat());
        headers.extend([0, 0, 64 + offset as u64, size as u64].map(u64::to_le_bytes).concat());
        headers.extend([0; 8]);
        headers.extend([1u64, 0].map(u64::to_le_bytes).concat());
    };
    for (name, bytes) in sections {
        header(names.len() as u32, 1, body.len(), bytes.len());
        names.extend(name.bytes().chain([0]));
        body.extend_from_slice(bytes);
    }
    let shstrtab = names.len();
    names.extend(b".shstrtab\0");
    header(shstrtab as u32, 3, body.len(), names.len());
    body.extend_from_slice(&names);
    let mut bytes = b"\x7fELF\x02\x01\x01".to_vec();
    bytes.resize(16, 0);
    bytes.extend([1u16, 62].map(u16::to_le_bytes).concat());
    bytes.extend(1u32.to_le_bytes());
    bytes.extend([0, 0, 64 + body.len() as u64].map(u64::to_le_bytes).concat());
    bytes.extend(0u32.to_le_bytes());
    let count = sections.len() as u16 + 2;
    bytes.extend([64u16, 0, 0, 64, count, count - 1].map(u16::to_le_bytes).concat());
    [&bytes, &body, &headers, tail].concat()
}

pub(crate) fn module(version: &str, signature: &[u8]) -> Vec<u8> {
    let modinfo = format!("license=GPL\0vermagic={version}\0");
    let mut tail = Vec::new();
    if !signature.is_empty() {
        tail.extend_from_slice(signature);
        tail.extend([0, 0, 2, 0, 0, 0, 0, 0]);
        tail.extend((signature.len() as u32).to_be_bytes());
        tail.extend(b"~Module signature appended~\n");
    }
    elf(&[(".text", b"code"), (".modinfo", modinfo.as_bytes())], &tail)
}

#[test]
fn what_is_equal_is_counted_and_nothing_else_is_said() {
    let files: &[(&str, &[u8])] = &[("vmlinux", b"x"), ("fs/xfs.ko", &[7; 300_000])];
    let lab = lab(files, files);
    let ran = compare(&lab, &[]).exits(0);
    assert_eq!((ran.out.as_str(), ran.err.as_str()), ("A: a\nB: b\n\n2 files: 2 equal\n", ""));
    let document = document(&lab, &[], 0);
    assert_eq!(document["format"], 1);
    assert_eq!(document["summary"]["equal"], 2);
    assert_eq!(result(&document, "fs/xfs.ko"), "equal");
    // Of what is the same file nothing is read.
    lab.run(&["compare", "a", "a"]).exits(0);
    lab.run(&["compare", "a/vmlinux", "b/vmlinux"]).exits(0);
}

#[test]
fn what_differs_is_told_in_the_words_of_who_made_it() {
    let lab = lab(
        &[("only-a", b"1"), ("x.ko", &module("6.12.1", b"")), ("modules.order", b"a.ko\nb.ko\n")],
        &[("only-b", b"22"), ("x.ko", &module("6.12.2", b"")), ("modules.order", b"a.ko\nc.ko\n")],
    );
    let ran = compare(&lab, &[]).exits(1);
    insta::assert_snapshot!(ran.out, @r"
    A: a
    B: b

    modules.order: lines differ
        bytes:
            - b.ko
            + c.ko

    only-a: only in A: 1 byte

    only-b: only in B: 2 bytes

    x.ko: .modinfo differs
        .modinfo: vermagic: 6.12.1 → 6.12.2

    4 files: 2 differ, 1 only in A, 1 only in B
    ");
    let document = document(&lab, &["--only", "*.ko"], 1);
    assert_eq!(document["summary"]["files"], 1);
    let details = &document["files"][0]["details"];
    assert_eq!(details[0]["lines"][0], "vermagic: 6.12.1 → 6.12.2", "{details}");
}

#[test]
fn a_signature_alone_is_a_result_of_its_own() {
    let lab = lab(
        &[("s.ko", &module("6", b"one")), ("n.ko", &module("6", b"")), ("v.ko", &module("6", b"one"))],
        &[("s.ko", &module("6", b"two!")), ("n.ko", &module("6", b"two!")), ("v.ko", &module("7", b"two!"))],
    );
    let found = document(&lab, &[], 1);
    assert_eq!(result(&found, "s.ko"), "signature-only");
    assert_eq!(result(&found, "n.ko"), "signature-only");
    assert_eq!(result(&found, "v.ko"), "differs");
    let rule = "*.ko:module signature=signed with a key of its own";
    let found = document(&lab, &["--ignore-part", rule], 1);
    assert_eq!(result(&found, "s.ko"), "ignored");
    assert_eq!(result(&found, "v.ko"), "differs");
    assert_eq!(found["summary"]["ignored_parts"], 1);
    assert_eq!(found["files"][1]["reason"], "signed with a key of its own");
    let ran = compare(&lab, &["--ignore-part", rule, "--ignore", "v.ko=it is new"]).exits(0);
    for words in ["3 ignored", "(it is new)", "(signed with a key of its own)"] {
        assert!(ran.out.contains(words), "{ran}");
    }
}

#[test]
fn rules_need_reasons_and_files_of_rules_have_comments() {
    let lab = lab(&[("x.ko", &module("6", b"")), ("y", b"1")], &[("x.ko", &module("7", b"")), ("y", b"2")]);
    compare(&lab, &["--ignore", "x.ko"]).exits(2).says(&["needs a reason"]);
    compare(&lab, &["--ignore", "x.ko="]).exits(2).says(&["needs a reason"]);
    compare(&lab, &["--ignore-part", "x.ko=why"]).exits(2).says(&["names no part"]);
    compare(&lab, &["--ignore-file", "none"]).exits(2).says(&["cannot read `none`"]);
    lab.write("rules", "# two builds\n\n*.ko:.modinfo = other versions\ny = its date\nz=never there\n");
    let ran = compare(&lab, &["--ignore-file", "rules"]).exits(0);
    assert!(ran.out.contains("x.ko: .modinfo differs (other versions)"), "{ran}");
    assert!(ran.out.contains("nothing to ignore for `z`"), "{ran}");
    assert!(ran.out.ends_with("2 files: 2 ignored\n"), "{ran}");
    lab.write("rules", "ok=fine\nbad\n");
    compare(&lab, &["--ignore-file", "rules"]).exits(2).says(&["rules:2: `bad` needs a reason"]);
}

#[test]
fn headers_that_follow_an_ignored_part_are_ignored_with_it() {
    let lab = lab(&[("x.ko", &module("6", b""))], &[("x.ko", &module("6.12.1-with-a-suffix", b""))]);
    compare(&lab, &["--ignore-part", "*:.modinfo=another version"]).exits(0);
    compare(&lab, &["--ignore-part", "*:layout=another version"]).exits(1);
    // A section that only one has is named among the sections' names as well.
    lab.write("a/x.ko", elf(&[(".text", b"code")], b""))
        .write("b/x.ko", elf(&[(".text", b"code"), (".new", b"1")], b""));
    let ran = compare(&lab, &["--ignore-part", "*:.new=of another compiler"]).exits(0);
    assert!(ran.out.contains("only in B: .new (of another compiler)"), "{ran}");
    let ran = compare(&lab, &[]).exits(1);
    assert!(ran.out.contains("    .new: only in B, 1 byte\n") && !ran.out.contains("    .shstrtab"), "{ran}");
}

#[test]
fn the_help_teaches() {
    let ran = Lab::new().run(&["compare", "--help"]).exits(0);
    for words in ["Examples:", "--ignore-part", "module signature", "Exit codes: 0 equal"] {
        assert!(ran.out.contains(words), "`{words}`: {ran}");
    }
}

#[test]
fn links_modes_and_special_files_are_told_and_not_followed() {
    let lab = lab(&[("mode", b"x"), ("kind", b"x")], &[("mode", b"x"), ("kind/below", b"x")]);
    fs::set_permissions(lab.path("b/mode"), fs::Permissions::from_mode(0o600)).expect("owned");
    fs::set_permissions(lab.path("a/mode"), fs::Permissions::from_mode(0o644)).expect("owned");
    for (side, target) in [("a", "/etc"), ("b", "/usr")] {
        symlink(target, lab.path(&format!("{side}/link"))).expect("linked");
        symlink("/", lab.path(&format!("{side}/root"))).expect("linked");
        let fifo = lab.path(&format!("{side}/fifo"));
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0)
            .expect("a fifo");
    }
    let ran = compare(&lab, &[]).exits(1);
    insta::assert_snapshot!(ran.out, @r"
    A: a
    B: b

    kind: kind: a regular file → a directory

    kind/below: only in B: 1 byte

    link: target: a symbolic link to /etc → a symbolic link to /usr

    mode: mode 644 → 600

    equal as far as can be told:
        fifo: a FIFO, not opened

    6 files: 2 equal, 3 differ, 1 only in B
    ");
    compare(&lab, &["--only", "fifo", "--only", "root"]).exits(0);
    compare(&lab, &["--only", "mode", "--ignore-part", "*:mode=another umask"]).exits(0);
}

#[test]
fn compressed_modules_are_compared_inside() {
    use std::io::Write as _;
    let gzip = |bytes: &[u8], level| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(level));
        encoder.write_all(bytes).expect("in memory");
        encoder.finish().expect("in memory")
    };
    let zstd = |bytes: &[u8]| ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest);
    let (one, two) = (module("6.12.1", b""), module("6.12.2", b""));
    let lab = lab(
        &[("same.ko.gz", &gzip(&one, 1)), ("d.ko.gz", &gzip(&one, 6)), ("m.ko", &one), ("bad.ko.zst", b"none")],
        &[
            ("same.ko.gz", &gzip(&one, 9)),
            ("d.ko.gz", &gzip(&two, 6)),
            ("m.ko.zst", &zstd(&two)),
            ("bad.ko.zst", b"no"),
        ],
    );
    let ran = compare(&lab, &[]).exits(1);
    for words in [
        "d.ko.gz: .modinfo differs\n    .modinfo: vermagic: 6.12.1 → 6.12.2\n",
        "m.ko and m.ko.zst: .modinfo differs; not compressed → zstd\n    .modinfo: vermagic: 6.12.1 → 6.12.2\n",
        "same.ko.gz: the same inside, compressed otherwise (gzip)\n",
        "A cannot be looked into: its zstd data cannot be read at offset 0x",
        "4 files: 4 differ\n",
    ] {
        assert!(ran.out.contains(words), "`{words}`: {ran}");
    }
    let rule = "*:compression=zlib is another version";
    assert_eq!(result(&document(&lab, &["--ignore-part", rule], 1), "same.ko.gz"), "ignored");
    lab.run(&["compare", "a/m.ko", "b/m.ko.zst"]).exits(1);
}

#[test]
fn what_cannot_be_compared_has_its_exit_code() {
    let lab = lab(&[("x", b"1")], &[("x", b"1")]);
    compare(&lab, &["--only", "none"]).exits(4);
    lab.run(&["compare", "a", "none"]).exits(2).says(&["cannot read `none`", "hint:"]);
    lab.run(&["compare", "a", "b/x"]).exits(2).says(&["`a` is a directory, and `b/x` is not"]);
    lab.run(&["compare", "/dev/null", "b/x"]).exits(2).says(&["`/dev/null` is not a regular file"]);
    lab.run(&["compare", "a"]).exits(2);
    fs::remove_file(lab.path("a/x")).expect("removed");
    fs::remove_file(lab.path("b/x")).expect("removed");
    let ran = compare(&lab, &[]).exits(4);
    assert!(ran.out.contains("nothing was compared"), "{ran}");
}

#[test]
fn what_cannot_be_listed_is_named_and_the_rest_compared() {
    let lab = lab(&[("x", b"1")], &[("x", b"2")]);
    // A path too long for the kernel, which is an error for root as well.
    let name = "d".repeat(250);
    let mut dir =
        rustix::fs::open(lab.path("a"), rustix::fs::OFlags::RDONLY, rustix::fs::Mode::empty()).expect("there");
    for _ in 0..17 {
        rustix::fs::mkdirat(&dir, &name, rustix::fs::Mode::RWXU).expect("made");
        dir = rustix::fs::openat(&dir, &name, rustix::fs::OFlags::RDONLY, rustix::fs::Mode::empty()).expect("opened");
    }
    let ran = compare(&lab, &[]).exits(2);
    // The whole would be four kilobytes of `d`.
    let told = ran.out.replace(&name, "D").replace("D/", "");
    assert!(
        told.contains("x: lines differ") && told.contains("D: cannot be listed in A: File name too long"),
        "{told}"
    );
    assert!(told.ends_with("2 files: 1 differs, 1 not readable\n"), "{told}");
}

#[test]
fn of_many_files_it_is_said_which_are_alike() {
    let names: Vec<String> = (0..21).map(|n| format!("m{n:02}.ko")).collect();
    let (old, new, signed) = (module("1", b""), module("2", b""), module("1", b"signature"));
    let a: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), old.as_slice())).collect();
    let mut b = a.clone();
    b.iter_mut().for_each(|(_, bytes)| *bytes = &new);
    b[7].1 = &signed;
    let told = compare(&lab(&a, &b), &[]).exits(1).out;
    let alike = "\nalike:\n    20 files differ in .modinfo; the first is m00.ko\n    1 file differs in module signature: m07.ko\n";
    assert!(told.contains(alike), "{told}");
    let few = compare(&lab(&a[..9], &b[..9]), &[]).exits(1).out;
    assert!(!few.contains("alike"), "{few}");
}

#[test]
fn an_interruption_ends_it() {
    let lab = lab(&[("x", b"")], &[("x", b"")]);
    // Holes: as long as a day of reading, and on no disk.
    for side in ["a/x", "b/x"] {
        fs::File::options().write(true).open(lab.path(side)).and_then(|f| f.set_len(60 << 30)).expect("set");
    }
    let mut command: Command = lab.command(&["compare", "a", "b"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("started");
    std::thread::sleep(Duration::from_millis(300));
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it runs");
    Ran::of(child.wait_with_output().expect("it ended")).exits(130);
}

#[test]
fn names_that_a_terminal_would_obey_are_not_obeyed() {
    let lab = lab(&[("\u{1b}[2J", b"1")], &[("\u{1b}[2J", b"2")]);
    let ran = compare(&lab, &[]).exits(1);
    assert!(ran.out.contains(r"\x1b[2J: lines differ") && !ran.out.contains('\u{1b}'), "{ran}");
}
