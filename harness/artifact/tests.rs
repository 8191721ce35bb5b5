use std::io::Cursor;
use std::os::unix::ffi::OsStrExt;

use super::*;

/// Class and byte order of a made-up ELF file.
#[derive(Clone, Copy)]
pub(super) struct Flavour {
    pub(super) is_64: bool,
    pub(super) big_endian: bool,
}

pub(super) const FLAVOURS: [Flavour; 4] = [
    Flavour { is_64: true, big_endian: false },
    Flavour { is_64: true, big_endian: true },
    Flavour { is_64: false, big_endian: false },
    Flavour { is_64: false, big_endian: true },
];

const PROGBITS: u32 = 1;
const STRTAB: u32 = 3;
const NOBITS: u32 = 8;

/// Writes fields one after the other, as gABI's figures list them.
pub(super) struct Fields {
    pub(super) flavour: Flavour,
    pub(super) bytes: Vec<u8>,
}

impl Fields {
    pub(super) fn half(&mut self, value: u16) {
        let bytes = if self.flavour.big_endian { value.to_be_bytes() } else { value.to_le_bytes() };
        self.bytes.extend(bytes);
    }
    pub(super) fn word(&mut self, value: u32) {
        let bytes = if self.flavour.big_endian { value.to_be_bytes() } else { value.to_le_bytes() };
        self.bytes.extend(bytes);
    }
    /// An address, offset or size: as wide as the class.
    pub(super) fn wide(&mut self, value: u64) {
        if self.flavour.is_64 {
            let bytes = if self.flavour.big_endian { value.to_be_bytes() } else { value.to_le_bytes() };
            self.bytes.extend(bytes);
        } else {
            self.word(u32::try_from(value).expect("fits"));
        }
    }
}

/// A section that is to be.
#[derive(Clone, Default)]
pub(super) struct Made<'n> {
    pub(super) name: &'n str,
    pub(super) kind: u32,
    pub(super) flags: u64,
    /// Index of another section, the first being 1.
    pub(super) link: u32,
    pub(super) info: u32,
    pub(super) entsize: u64,
    pub(super) bytes: Vec<u8>,
}

/// A relocatable object with the given sections, each aligned to 16 bytes, and its section headers at the end.
pub(super) fn elf(flavour: Flavour, sections: &[(&str, u32, &[u8])]) -> Vec<u8> {
    fn made<'n>(&(name, kind, bytes): &(&'n str, u32, &[u8])) -> Made<'n> {
        Made { name, kind, bytes: bytes.into(), ..Made::default() }
    }
    elf_of(flavour, &sections.iter().map(made).collect::<Vec<_>>())
}

/// As [`elf`], with what else section headers say.
pub(super) fn elf_of(flavour: Flavour, sections: &[Made<'_>]) -> Vec<u8> {
    let mut all = sections.to_vec();
    all.push(Made { name: ".shstrtab", kind: STRTAB, ..Made::default() });
    let mut names = vec![0];
    let mut offsets = Vec::new();
    for section in &all {
        offsets.push(names.len() as u32);
        names.extend(section.name.bytes().chain([0]));
    }
    if let Some(last) = all.last_mut() {
        last.bytes = names;
    }

    let header = if flavour.is_64 { 64 } else { 52 };
    let mut body = Vec::new();
    let mut places = Vec::new();
    for Made { kind, bytes, .. } in &all {
        while !(header + body.len()).is_multiple_of(16) {
            body.push(0xcc);
        }
        places.push(header + body.len());
        if *kind != NOBITS {
            body.extend_from_slice(bytes);
        }
    }
    while !(header + body.len()).is_multiple_of(8) {
        body.push(0);
    }
    let shoff = (header + body.len()) as u64;

    let mut out = Fields { flavour, bytes: b"\x7fELF".to_vec() };
    out.bytes.extend([if flavour.is_64 { 2 } else { 1 }, 1 + u8::from(flavour.big_endian), 1]);
    out.bytes.resize(16, 0);
    out.half(1); // ET_REL
    out.half(62);
    out.word(1);
    out.wide(0);
    out.wide(0); // no program headers
    out.wide(shoff);
    out.word(0);
    out.half(header as u16);
    out.half(0);
    out.half(0);
    out.half(if flavour.is_64 { 64 } else { 40 });
    out.half(all.len() as u16 + 1);
    out.half(all.len() as u16);
    assert_eq!(out.bytes.len(), header);
    out.bytes.extend(body);
    out.bytes.extend(vec![0; if flavour.is_64 { 64 } else { 40 }]);
    for (index, section) in all.iter().enumerate() {
        out.word(offsets[index]);
        out.word(section.kind);
        out.wide(section.flags);
        out.wide(0);
        out.wide(places[index] as u64);
        out.wide(section.bytes.len() as u64);
        out.word(section.link);
        out.word(section.info);
        out.wide(16);
        out.wide(section.entsize);
    }
    out.bytes
}

/// Marsaglia's xorshift64: the same mutations at every run.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }

    /// Changes a few bytes, most of them among the first `hot` and last bytes, to values that hurt.
    pub(super) fn mutate(&mut self, bytes: &mut Vec<u8>, hot: usize) {
        for _ in 0..=self.below(6) {
            if bytes.is_empty() {
                return;
            }
            let at = match self.below(3) {
                0 => self.below(bytes.len()),
                1 => self.below(bytes.len().min(hot)),
                _ => bytes.len() - 1 - self.below(bytes.len().min(1024)),
            };
            bytes[at] = match self.below(5) {
                0 => 0,
                1 => 0xff,
                2 => bytes[at].wrapping_add(1),
                3 => 0x7f,
                _ => self.below(256) as u8,
            };
        }
        if self.below(8) == 0 {
            bytes.truncate(self.below(bytes.len().max(1)));
        }
    }
}

fn artifact(bytes: &[u8]) -> Artifact {
    describe_reader(&mut Cursor::new(bytes), "x", None).expect("a slice can be read")
}

fn names(artifact: &Artifact) -> Vec<&str> {
    artifact.parts.iter().map(|p| p.name.as_str()).collect()
}

fn part<'a>(artifact: &'a Artifact, name: &str) -> &'a Part {
    let found = artifact.part(name);
    found.unwrap_or_else(|| panic!("no part {name} in {:?}", names(artifact)))
}

/// The rule everything else leans on.
#[track_caller]
fn assert_covers(artifact: &Artifact, bytes: &[u8]) {
    let mut end = 0;
    let mut seen = std::collections::BTreeSet::new();
    for part in &artifact.parts {
        assert_eq!(part.offset, end, "hole or overlap before {}", part.name);
        end += part.size;
        let content = &bytes[part.offset as usize..end as usize];
        assert_eq!(part.sha256, Digest::of(content), "{}", part.name);
        assert!(seen.insert(&part.name), "{} twice", part.name);
    }
    assert_eq!(end, bytes.len() as u64);
    assert_eq!(artifact.size, end);
    assert_eq!(artifact.sha256, Digest::of(bytes));
}

fn this_executable() -> Vec<u8> {
    std::fs::read(std::env::current_exe().expect("running")).expect("readable")
}

#[test]
fn digests_are_sha256_in_lower_hex() {
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(Digest::of(b"").to_string(), empty);
    assert_eq!(empty.parse(), Ok(Digest::of(b"")));
    assert_eq!(empty.to_uppercase().parse(), Ok(Digest::of(b"")));
    for bad in ["", "e3b0", &empty[1..], &format!("{empty}0"), &empty.replace('e', "g")] {
        assert!(bad.parse::<Digest>().is_err(), "{bad}");
    }
    let json = serde_json::to_string(&Digest::of(b"")).expect("a string");
    assert_eq!(json, format!("\"{empty}\""));
    assert_eq!(serde_json::from_str::<Digest>(&json).expect("a digest"), Digest::of(b""));
}

#[test]
fn files_hash_like_their_bytes() {
    let dir = tempfile::tempdir().expect("a directory");
    // Around the buffer's size, where a streaming loop goes wrong.
    let sizes = [0, 1, (128 << 10) - 1, 128 << 10, (128 << 10) + 1, 300_000];
    let paths: Vec<_> = sizes.iter().map(|n| dir.path().join(n.to_string())).collect();
    for (path, size) in paths.iter().zip(sizes) {
        std::fs::write(path, vec![7; size]).expect("written");
    }
    for (result, size) in hash_files(&paths).into_iter().zip(sizes) {
        assert_eq!(result.expect("read"), (Digest::of(&vec![7; size]), size as u64));
    }
    let missing = hash_file(&dir.path().join("none")).expect_err("is missing");
    assert!(missing.to_string().ends_with("/none`"), "{missing}");
    let error = hash_file(dir.path()).expect_err("is a directory");
    assert!(matches!(error, ArtifactError::NotAFile { .. }), "{error}");
}

#[test]
fn every_class_and_byte_order_is_taken_apart() {
    for flavour in FLAVOURS {
        let bytes = elf(
            flavour,
            &[
                (".text", PROGBITS, b"code"),
                (".bss", NOBITS, &[0; 4096]),
                (".BTF", PROGBITS, b"one"),
                (".BTF", PROGBITS, b"two"),
                ("", PROGBITS, b"?"),
                ("tail", PROGBITS, b"!"),
                (".a\\\n", PROGBITS, b"!"),
            ],
        );
        let record = artifact(&bytes);
        assert_covers(&record, &bytes);
        assert_eq!(record.note, None);
        for (name, content) in [(".text", "code"), (".BTF", "one"), (".BTF#2", "two")] {
            assert_eq!(part(&record, name).sha256, Digest::of(content.as_bytes()));
        }
        part(&record, "(unnamed)");
        part(&record, "section `tail`");
        part(&record, r".a\x5c\x0a");
        assert_eq!(record.parts[0].name, "ELF header");
        assert_eq!(record.parts.last().map(|p| p.name.as_str()), Some("section headers"));
        assert!(!names(&record).contains(&".bss"));
        assert!(names(&record).contains(&"gap before .BTF"));
        assert_eq!(record.btf.as_ref().map(|b| b.sections), Some(2));
    }
}

#[test]
fn a_real_executable_is_taken_apart() {
    let bytes = this_executable();
    // Only the layout: hashing tens of megabytes is slow without optimisation.
    let layout = elf::layout(Cursor::new(&bytes), bytes.len() as u64).expect("a slice can be read");
    let elf::Layout::Elf(spans) = layout else {
        panic!("{layout:?}");
    };
    for name in ["ELF header", "program headers", ".text", ".symtab", ".shstrtab", "section headers"] {
        assert!(spans.iter().any(|span| span.name == name), "no {name}");
    }
}

/// A file that another process shortens or extends after its length was asked for.
struct Unsteady {
    claimed: u64,
    bytes: Cursor<Vec<u8>>,
}

impl Read for Unsteady {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.bytes.read(buffer)
    }
}

impl Seek for Unsteady {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match to {
            SeekFrom::End(_) => Ok(self.claimed),
            other => self.bytes.seek(other),
        }
    }
}

#[test]
fn a_file_that_changes_meanwhile_is_an_error() {
    let elf = elf(FLAVOURS[0], &[(".text", PROGBITS, b"code")]);
    for (bytes, by) in [(vec![7; 1000], 1), (vec![7; 1000], -1), (elf.clone(), 1000), (elf, -1)] {
        let claimed = bytes.len().checked_add_signed(by).expect("not below 0") as u64;
        let mut file = Unsteady { claimed, bytes: Cursor::new(bytes) };
        let error = describe_reader(&mut file, "x", None).expect_err("has another length");
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}

#[test]
fn a_module_signature_is_told_from_other_tails() {
    let mut bytes = elf(FLAVOURS[0], &[(".text", PROGBITS, b"code")]);
    bytes.extend(b"rest");
    assert_eq!(part(&artifact(&bytes), "tail").size, 4);
    bytes.extend(b"~Module signature appended~\n");
    let record = artifact(&bytes);
    assert_covers(&record, &bytes);
    assert_eq!(part(&record, "module signature").size, 4 + 28);
}

#[test]
fn what_is_no_elf_is_one_part() {
    for bytes in [&b""[..], b"\x7fEL", b"\x7fELF", b"lib/a.o\nlib/b.o\n", &[0; 5000]] {
        let record = artifact(bytes);
        assert_covers(&record, bytes);
        assert_eq!(names(&record), ["bytes"]);
        assert_eq!(record.note, None);
    }
}

#[test]
fn headers_that_cannot_be_true_give_one_part_and_a_note() {
    let good = elf(FLAVOURS[0], &[(".a", PROGBITS, b"0123"), (".b", PROGBITS, b"4567")]);
    let shoff = good.len() - 4 * 64;
    let cases = [
        ("e_shoff beyond the file", 40, u64::MAX / 2),
        ("section .a overlaps the header", shoff + 64 + 24, 8),
        ("section .a overlaps .b", shoff + 64 + 32, 40),
        ("section .b is huge", shoff + 128 + 32, u64::MAX),
        ("section .b lies beyond the file", shoff + 128 + 24, u64::MAX - 2),
    ];
    for (what, at, value) in cases {
        let mut bytes = good.clone();
        bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
        let record = artifact(&bytes);
        assert_covers(&record, &bytes);
        assert_eq!(names(&record), ["bytes"], "{what}");
        assert!(record.note.is_some(), "{what}");
    }
    let cut = &good[..good.len() - 1];
    assert_eq!(names(&artifact(cut)), ["bytes"]);
}

#[test]
fn mutated_files_are_always_covered() {
    let mut random = Random(0x5eed);
    let samples: Vec<Vec<u8>> = FLAVOURS
        .iter()
        .map(|&f| elf(f, &[(".text", PROGBITS, b"code"), (".BTF", PROGBITS, &btf::tests::sample())]))
        .collect();
    let (mut apart, mut whole) = (0, 0);
    for round in 0..4000 {
        let mut bytes = samples[round % samples.len()].clone();
        random.mutate(&mut bytes, 64);
        let record = artifact(&bytes);
        assert_covers(&record, &bytes);
        if record.parts.len() > 1 { apart += 1 } else { whole += 1 }
    }
    // Both ways must have been taken, or the mutations prove nothing.
    assert!(apart > 100 && whole > 100, "{apart} apart, {whole} whole");
}

#[test]
fn mutated_headers_of_a_linked_file_are_always_covered() {
    let mut random = Random(0xe1f);
    let mut bytes = this_executable();
    // e_shoff of a 64-bit file; the headers are its last bytes.
    let shoff = u64::from_le_bytes(bytes[40..48].try_into().expect("8 bytes")) as usize;
    let (mut apart, mut malformed) = (0, 0);
    for _ in 0..4000 {
        let at = match random.below(3) {
            0 => random.below(64 + 12 * 56),
            _ => shoff + random.below(bytes.len() - shoff),
        };
        let old = std::mem::replace(&mut bytes[at], random.below(256) as u8);
        let size = bytes.len() as u64;
        // Only the layout: hashing is tested on small files, and slow without optimisation.
        match elf::layout(Cursor::new(&bytes), size).expect("a slice can be read") {
            elf::Layout::Elf(spans) => {
                apart += 1;
                let mut end = 0;
                for span in &spans {
                    assert_eq!(span.offset, end, "{}", span.name);
                    end += span.size;
                }
                assert_eq!(end, size);
            }
            elf::Layout::Malformed(_) => malformed += 1,
            elf::Layout::NotElf => assert!(at < 4),
        }
        bytes[at] = old;
    }
    assert!(apart > 100 && malformed > 100, "{apart} apart, {malformed} malformed");
}

#[test]
fn describe_refuses_what_is_not_a_file() {
    let dir = tempfile::tempdir().expect("a directory");
    let fifo = dir.path().join("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).expect("a fifo");
    for path in [dir.path(), &fifo] {
        let error = describe(path, "x").expect_err("is no file");
        assert!(matches!(error, ArtifactError::NotAFile { .. }), "{error}");
    }
    let error = describe(&dir.path().join("none"), "x").expect_err("is missing");
    assert!(matches!(error, ArtifactError::Io { .. }), "{error}");
}

#[test]
fn describe_reads_mode_and_content() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("a.ko");
    let bytes = elf(FLAVOURS[0], &[(".text", PROGBITS, b"code")]);
    std::fs::write(&path, &bytes).expect("written");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).expect("owned");
    let record = describe(&path, "lib/a.ko").expect("readable");
    assert_covers(&record, &bytes);
    assert_eq!((record.path.as_str(), record.mode), ("lib/a.ko", 0o640));
    let json = serde_json::to_string(&record).expect("plain data");
    assert_eq!(serde_json::from_str::<Artifact>(&json).expect("the same"), record);
}

#[test]
fn a_diff_names_the_parts() {
    let make = |sections: &[(&str, u32, &[u8])]| artifact(&elf(FLAVOURS[0], sections));
    let a = make(&[(".text", PROGBITS, b"code"), (".BTF", PROGBITS, b"btf1")]);
    assert!(diff_parts(&a, &a).is_empty());
    assert_eq!(diff_parts(&a, &a).summary, "identical");

    let changed = make(&[(".text", PROGBITS, b"code"), (".BTF", PROGBITS, b"btf2")]);
    let diff = diff_parts(&a, &changed);
    assert_eq!(diff.summary, ".BTF differs");
    assert!(!diff.layout_only);

    let both = make(&[(".text", PROGBITS, b"CODE"), (".BTF", PROGBITS, b"btf2")]);
    assert_eq!(diff_parts(&a, &both).summary, ".text, .BTF differ");

    let without = make(&[(".text", PROGBITS, b"code")]);
    let diff = diff_parts(&a, &without);
    assert!(diff.removed.contains(&".BTF".to_owned()) && !diff.layout_only);
    assert!(diff.summary.contains("only in A: .BTF"), "{}", diff.summary);
    let diff = diff_parts(&without, &a);
    assert!(diff.summary.contains("only in B: .BTF"), "{}", diff.summary);
}

#[test]
fn other_offsets_alone_are_layout() {
    let a = elf(FLAVOURS[0], &[(".a", PROGBITS, b"0123"), (".b", PROGBITS, b"4567")]);
    // Push the section headers, and nothing else, eight bytes further.
    let mut b = a.clone();
    let shoff = a.len() - 4 * 64;
    b.splice(shoff..shoff, [0; 8]);
    b[40..48].copy_from_slice(&(shoff as u64 + 8).to_le_bytes());
    let diff = diff_parts(&artifact(&a), &artifact(&b));
    assert!(diff.layout_only);
    assert_eq!(diff.size_delta, 8);
    assert_eq!(diff.summary, "same sections, other headers or padding (layout only, +8 bytes)");
    // Move .b as well.
    let mut c = a.clone();
    let place = a.windows(4).position(|w| w == b"4567").expect("is there");
    c.splice(place..place, [0; 16]);
    let shoff = shoff + 16;
    c[40..48].copy_from_slice(&(shoff as u64).to_le_bytes());
    for section in [2, 3] {
        let at = shoff + section * 64 + 24;
        let old = u64::from_le_bytes(c[at..at + 8].try_into().expect("8 bytes"));
        c[at..at + 8].copy_from_slice(&(old + 16).to_le_bytes());
    }
    let diff = diff_parts(&artifact(&a), &artifact(&c));
    assert!(diff.layout_only, "{diff:?}");
    assert_eq!(diff.summary, "same sections, other offsets (layout only, +16 bytes)");
}

#[test]
fn differing_files_never_give_an_empty_diff() {
    let mut random = Random(0xd1ff);
    let good = elf(FLAVOURS[0], &[(".a", PROGBITS, b"0123"), (".BTF", PROGBITS, &btf::tests::sample())]);
    let a = artifact(&good);
    let mut differing = 0;
    for _ in 0..3000 {
        let mut bytes = good.clone();
        random.mutate(&mut bytes, 64);
        let b = artifact(&bytes);
        for diff in [diff_parts(&a, &b), diff_parts(&b, &a)] {
            assert_eq!(diff.is_empty(), bytes == good, "{diff:?}");
            assert_eq!(diff.summary == "identical", bytes == good);
        }
        differing += usize::from(bytes != good);
    }
    assert!(differing > 1000);

    // A record that contradicts itself is believed to differ.
    let mut lying = a.clone();
    lying.sha256 = Digest::default();
    assert!(!diff_parts(&a, &lying).is_empty());
    let mut mode = a.clone();
    mode.mode = 0o755;
    assert_eq!(diff_parts(&a, &mode).summary, "mode 0 in A, 755 in B");
}

#[test]
fn walks_are_sorted_and_follow_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let root = dir.path();
    for sub in ["b/c", "a-b", "a"] {
        std::fs::create_dir_all(root.join(sub)).expect("made");
    }
    for file in ["b/c/z.ko", "b/a.o", "a/x", "a-b/x", ".config"] {
        std::fs::write(root.join(file), file).expect("written");
    }
    std::os::unix::fs::symlink("/", root.join("b/root")).expect("linked");
    std::os::unix::fs::symlink("nowhere", root.join("b/dangling")).expect("linked");
    let odd = Path::new(std::ffi::OsStr::from_bytes(b"a\\\xff\n\xc3\xa9"));
    std::fs::write(root.join(odd), "").expect("written");

    let all = walk(root, |_, _| true).expect("readable");
    let paths: Vec<_> = all.iter().map(|e| e.path.as_str()).collect();
    assert_eq!(
        paths,
        [
            ".config",
            "a",
            "a-b",
            "a-b/x",
            "a/x",
            r"a\x5c\xff\x0aé",
            "b",
            "b/a.o",
            "b/c",
            "b/c/z.ko",
            "b/dangling",
            "b/root",
        ]
    );
    assert!(paths.is_sorted());
    let entry = |path| all.iter().find(|e| e.path == path).expect("walked");
    assert_eq!(entry("b/root").kind, FileKind::Symlink);
    assert_eq!(entry("b/c").kind, FileKind::Dir);
    assert_eq!((entry("b/c/z.ko").kind, entry("b/c/z.ko").size), (FileKind::File, 8));
    assert_eq!(unescape_path(r"a\x5c\xff\x0aé"), odd);

    let pruned = walk(root, |path, _| path != "b").expect("readable");
    assert!(pruned.iter().all(|e| !e.path.starts_with('b')));
    let missing = walk(&root.join("none"), |_, _| true).expect_err("is missing");
    assert!(missing.to_string().starts_with("cannot list `"), "{missing}");
}

#[test]
fn walks_survive_what_vanishes_before_their_eyes() {
    let dir = tempfile::tempdir().expect("a directory");
    let root = dir.path();
    for sub in ["a", "b", "c"] {
        std::fs::create_dir(root.join(sub)).expect("made");
        std::fs::write(root.join(sub).join("x"), "").expect("written");
    }
    // The filter takes away each directory that it lets through, but for the last.
    let left = std::cell::Cell::new(3);
    let entries = walk(root, |path, kind| {
        if kind == FileKind::Dir && left.replace(left.get() - 1) > 1 {
            std::fs::remove_dir_all(root.join(path)).expect("removed");
        }
        true
    })
    .expect("no error");
    let files = entries.iter().filter(|e| e.kind == FileKind::File).count();
    assert_eq!((entries.len(), files), (4, 1));

    // And all the files of a directory as soon as it sees the first.
    for file in ["1", "2", "3"] {
        std::fs::write(root.join(file), "").expect("written");
    }
    let entries = walk(root, |_, kind| {
        if kind == FileKind::File {
            for file in ["1", "2", "3"] {
                let _ = std::fs::remove_file(root.join(file));
            }
        }
        kind == FileKind::File
    });
    assert_eq!(entries.expect("no error").len(), 1);
}

#[test]
fn whiteouts_are_left_out() {
    let dir = tempfile::tempdir().expect("a directory");
    // Since Linux 5.8 (`vfs_mknod`) this device needs no privilege.
    let made = rustix::fs::mknodat(
        rustix::fs::CWD,
        dir.path().join("gone"),
        rustix::fs::FileType::CharacterDevice,
        rustix::fs::Mode::empty(),
        rustix::fs::makedev(0, 0),
    );
    std::fs::write(dir.path().join("here"), "").expect("written");
    let entries = walk(dir.path(), |_, _| true).expect("readable");
    let paths: Vec<_> = entries.iter().map(|e| e.path.as_str()).collect();
    // Where a sandbox forbids device nodes, only the other file is there; the answer is the same.
    assert_eq!(paths, ["here"], "mknod: {made:?}");
}

#[test]
fn unreadable_directories_are_errors_with_their_path() {
    let dir = tempfile::tempdir().expect("a directory");
    // Looping through itself by name: too long for the kernel, for root too, unlike a mode of 0.
    let mut deep = dir.path().to_owned();
    let name = "d".repeat(250);
    let fd = rustix::fs::open(&deep, rustix::fs::OFlags::RDONLY, rustix::fs::Mode::empty());
    let mut fd = fd.expect("opened");
    for _ in 0..17 {
        rustix::fs::mkdirat(&fd, &name, rustix::fs::Mode::RWXU).expect("made");
        fd = rustix::fs::openat(&fd, &name, rustix::fs::OFlags::RDONLY, rustix::fs::Mode::empty()).expect("opened");
        deep.push(&name);
    }
    let error = walk(dir.path(), |_, _| true).expect_err("too deep for a path");
    assert!(error.to_string().contains(&name), "{error}");
}

#[test]
fn paths_survive_escaping() {
    let mut random = Random(0xe5c);
    for _ in 0..2000 {
        let length = random.below(12);
        let bytes: Vec<u8> =
            (0..length).map(|_| [b'\\', b'x', b'5', b'c', 0xff, 0xc3, 0xa9, b'\n'][random.below(8)]).collect();
        let path = Path::new(std::ffi::OsStr::from_bytes(&bytes));
        assert_eq!(unescape_path(&escape_path(path)), path);
    }
}
