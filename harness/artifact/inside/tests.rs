//! The decoders, on files made by hand in every class and byte order.

use std::io::{Cursor, Write as _};

use super::super::tests::{FLAVOURS, Fields, Flavour, Made, Random, elf_of};
use super::super::{Artifact, describe_reader, diff_parts};
use super::headers::Order;
use super::{Inside, NoBases, details};

const PROGBITS: u32 = 1;
const SYMTAB: u32 = 2;
const STRTAB: u32 = 3;
const RELA: u32 = 4;
const NOTE: u32 = 7;
const NOBITS: u32 = 8;
const ALLOC: u64 = 2;

/// A module as it may differ.
#[derive(Clone)]
pub(in super::super) struct Module {
    flavour: Flavour,
    modinfo: &'static [u8],
    /// Name, binding and type, section, value, size.
    symbols: Vec<(&'static str, u8, u16, u64, u64)>,
    text: Vec<u8>,
    /// Offset, symbol, addend.
    relocations: Vec<(u64, u32, i64)>,
    build_id: u8,
    bss: usize,
    text_flags: u64,
    producer: &'static str,
    /// Whether `.debug_info` is compressed by itself.
    packed: bool,
}

impl Module {
    fn new(flavour: Flavour) -> Self {
        Self {
            flavour,
            modinfo: b"license=GPL\0alias=pci:1\0alias=pci:2\0vermagic=6.12.1\0",
            symbols: vec![("probe", 0x12, 1, 0, 16), ("printk", 0x10, 0, 0, 0), ("__ksymtab_probe", 0, 1, 0, 0)],
            text: (0..32).collect(),
            relocations: vec![(4, 2, -4), (20, 2, -4)],
            build_id: 0xaa,
            bss: 16,
            text_flags: ALLOC | 4,
            producer: "drivers/a.c",
            packed: false,
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let flavour = self.flavour;
        let fields = || Fields { flavour, bytes: Vec::new() };
        let (mut symtab, mut strtab) = (fields(), vec![0]);
        symtab.bytes.resize(if flavour.is_64 { 24 } else { 16 }, 0);
        for (name, info, section, value, size) in &self.symbols {
            symtab.word(strtab.len() as u32);
            strtab.extend(name.bytes().chain([0]));
            if flavour.is_64 {
                symtab.bytes.extend([*info, 0]);
                symtab.half(*section);
            }
            symtab.wide(*value);
            symtab.wide(*size);
            if !flavour.is_64 {
                symtab.bytes.extend([*info, 0]);
                symtab.half(*section);
            }
        }
        let mut rela = fields();
        for (offset, symbol, addend) in &self.relocations {
            rela.wide(*offset);
            let kind = 2;
            match flavour.is_64 {
                true => rela.wide(u64::from(*symbol) << 32 | kind),
                false => rela.wide(u64::from(*symbol) << 8 | kind),
            }
            match flavour.is_64 {
                true => rela.wide(*addend as u64),
                false => rela.word(*addend as i32 as u32),
            }
        }
        let mut note = fields();
        [4, 20, 3].into_iter().for_each(|n| note.word(n));
        note.bytes.extend(b"GNU\0");
        note.bytes.extend([self.build_id; 20]);
        let (mut info, abbrev) = self.debug();
        if self.packed {
            let mut header = fields();
            header.word(1);
            if flavour.is_64 {
                header.word(0);
            }
            header.wide(info.len() as u64);
            header.wide(1);
            let mut encoder = flate2::write::ZlibEncoder::new(header.bytes, flate2::Compression::fast());
            encoder.write_all(&info).expect("in memory");
            info = encoder.finish().expect("in memory");
        }
        let made = |name, kind, flags, bytes: Vec<u8>| Made { name, kind, flags, bytes, ..Made::default() };
        elf_of(
            flavour,
            &[
                made(".text", PROGBITS, self.text_flags, self.text.clone()),
                Made { link: 3, info: 1, flags: 0x40, ..made(".rela.text", RELA, 0, rela.bytes) },
                Made { link: 4, ..made(".symtab", SYMTAB, 0, symtab.bytes) },
                made(".strtab", STRTAB, 0, strtab),
                made(".modinfo", PROGBITS, ALLOC, self.modinfo.to_vec()),
                made(".note.gnu.build-id", NOTE, ALLOC, note.bytes),
                made(".bss", NOBITS, ALLOC, vec![0; self.bss]),
                made(".debug_info", PROGBITS, if self.packed { 0x800 } else { 0 }, info),
                made(".debug_abbrev", PROGBITS, 0, abbrev),
            ],
        )
    }

    /// Two units of DWARF 4 and 5, the second named by the producer.
    fn debug(&self) -> (Vec<u8>, Vec<u8>) {
        let mut info = Fields { flavour: self.flavour, bytes: Vec::new() };
        for (version, name) in [(4, "kernel/b.c"), (5, self.producer)] {
            // abbreviation 1, the name, a byte of data
            let entry = [&[1], name.as_bytes(), &[0, 7]].concat();
            info.word(entry.len() as u32 + if version == 5 { 8 } else { 7 });
            info.half(version);
            if version == 5 {
                info.bytes.extend([1, 8]);
            }
            info.word(0);
            if version == 4 {
                info.bytes.push(8);
            }
            info.bytes.extend(entry);
        }
        // code 1, DW_TAG_compile_unit, no children; DW_AT_name string, DW_AT_language data1
        (info.bytes, vec![1, 0x11, 0, 0x03, 0x08, 0x13, 0x0b, 0, 0, 0])
    }
}

fn artifact(bytes: &[u8]) -> Artifact {
    describe_reader(&mut Cursor::new(bytes), "x", None).expect("a slice can be read")
}

pub(in super::super) fn inside(a: &[u8], b: &[u8]) -> Inside {
    let (in_a, in_b) = (artifact(a), artifact(b));
    let diff = diff_parts(&in_a, &in_b);
    details((&in_a, &mut Cursor::new(a)), (&in_b, &mut Cursor::new(b)), &diff, &NoBases).expect("a slice can be read")
}

/// The lines on a part.
#[track_caller]
fn lines(change: impl Fn(&mut Module), part: &str) -> Vec<String> {
    let mut told: Vec<Vec<String>> = Vec::new();
    for flavour in FLAVOURS {
        let before = Module::new(flavour);
        let mut after = before.clone();
        change(&mut after);
        let inside = inside(&before.bytes(), &after.bytes());
        let detail = inside.details.iter().find(|detail| detail.part == part);
        told.push(detail.unwrap_or_else(|| panic!("nothing on {part} in {inside:?}")).lines.clone());
    }
    assert!(told.iter().all(|lines| *lines == told[0]), "other words for other classes: {told:#?}");
    told.swap_remove(0)
}

#[test]
fn keys_of_modinfo_are_added_removed_and_changed() {
    let told = lines(|m| m.modinfo = b"license=GPL\0alias=pci:2\0alias=pci:3\0vermagic=6.12.2\0parm=x:y\0", ".modinfo");
    assert_eq!(told, ["- alias=pci:1", "+ alias=pci:3", "+ parm=x:y", "vermagic: 6.12.1 → 6.12.2"]);
    let told = lines(|m| m.modinfo = b"alias=pci:1\0license=GPL\0alias=pci:2\0vermagic=6.12.1\0", ".modinfo");
    assert_eq!(told, ["the same entries in another order"]);
}

#[test]
fn symbols_and_exports_come_and_go() {
    let told = lines(
        |m| {
            m.symbols = vec![
                ("probe", 0x12, 1, 8, 24),
                ("kfree", 0x10, 0, 0, 0),
                ("__ksymtab_probe", 0, 1, 0, 0),
                ("__ksymtab_more", 0, 1, 0, 0),
            ];
        },
        ".symtab",
    );
    assert_eq!(
        told,
        [
            "exports gained: more",
            "1 symbol only in A:",
            "- printk (global notype, 0 bytes, undefined)",
            "2 symbols only in B:",
            "+ __ksymtab_more (local notype, 0 bytes, .text)",
            "+ kfree (global notype, 0 bytes, undefined)",
            "1 symbol changed:",
            "  probe: size 16 → 24",
        ]
    );
    let told = lines(|m| m.symbols[0].3 = 4, ".symtab");
    assert_eq!(told, ["1 symbol at another address"]);
    let told = lines(|m| m.symbols.swap(0, 1), ".symtab");
    assert_eq!(told, ["the same symbols in another order"]);
}

#[test]
fn functions_with_other_bytes_are_named() {
    assert_eq!(lines(|m| m.text[7] = 0xff, ".text"), ["probe: 16 bytes, other from +0x7 on"]);
    let told = lines(|m| m.text[20] = 0xff, ".text");
    assert_eq!(told, ["1 byte, first at 0x14: 1415161718191a1b → ff15161718191a1b"]);
}

#[test]
fn relocations_are_told_by_what_they_refer_to() {
    let told = lines(|m| m.relocations[1].1 = 1, ".rela.text");
    assert_eq!(told[..2], ["references lost: printk", "references gained: probe"]);
    assert!(told[2].contains("printk-0x4 →") && told[2].contains("probe-0x4"), "{told:?}");
    // Other numbers for the same symbols say nothing.
    let before = Module::new(FLAVOURS[0]);
    let mut after = before.clone();
    after.symbols.swap(0, 1);
    after.relocations.iter_mut().for_each(|relocation| relocation.1 = 1);
    let told = inside(&before.bytes(), &after.bytes());
    assert!(told.follow.contains(&".rela.text".to_owned()), "{told:?}");
    assert!(!told.details.iter().any(|detail| detail.part == ".rela.text"), "{told:?}");
}

#[test]
fn build_ids_and_headers_have_their_words() {
    let told = lines(|m| m.build_id = 0xbb, ".note.gnu.build-id");
    assert_eq!(told, [format!("build-id {} → {}", "aa".repeat(20), "bb".repeat(20))]);
    let told = lines(|m| m.bss = 32, "section headers");
    assert_eq!(told, [".bss: size 16 → 32"]);
    let told = lines(|m| m.text_flags = ALLOC | 1, "section headers");
    assert_eq!(told, [".text: flags AX → WA"]);
}

#[test]
fn segments_have_flags_and_types() {
    let order = Order { is_64: true, big_endian: false };
    let segment = |kind: u32, flags: u32, align: u64| {
        let mut bytes = [kind, flags].map(u32::to_le_bytes).concat();
        bytes.resize(48, 0);
        [bytes, align.to_le_bytes().to_vec()].concat()
    };
    let told = super::sections::segments(&segment(1, 5, 16), &[segment(1, 7, 16), segment(4, 4, 4)].concat(), order);
    assert_eq!(told, ["segments: 1 → 2", "segment 0 (PT_LOAD): flags RX → RWX"]);
    // Where they lie is not told.
    let mut other = segment(1, 5, 16);
    other[8] = 1;
    assert_eq!(super::sections::segments(&segment(1, 5, 16), &other, order), [""; 0]);
}

#[test]
fn headers_follow_what_has_another_length() {
    let before = Module::new(FLAVOURS[0]);
    let mut after = before.clone();
    after.modinfo = b"license=GPL\0alias=pci:1\0alias=pci:2\0vermagic=6.12.1-and-a-long-suffix-that-shifts-all\0";
    let told = inside(&before.bytes(), &after.bytes());
    assert!(told.follow.contains(&"section headers".to_owned()), "{told:?}");
    assert_eq!(told.details.iter().map(|d| d.part.as_str()).collect::<Vec<_>>(), [".modinfo"]);
}

#[test]
fn debug_information_is_told_by_unit() {
    let told = lines(|m| m.producer = "drivers/c.c", ".debug_info");
    assert_eq!(told, ["- unit drivers/a.c", "+ unit drivers/c.c"]);
    // the same in sections that are compressed by themselves
    for flavour in FLAVOURS {
        let packed = |producer| Module { packed: true, producer, ..Module::new(flavour) }.bytes();
        let found = inside(&packed("drivers/a.c"), &packed("drivers/c.c"));
        let detail = found.details.iter().find(|detail| detail.part == ".debug_info").expect("told");
        assert_eq!(detail.lines, ["- unit drivers/a.c", "+ unit drivers/c.c"]);
    }
    let module = Module::new(FLAVOURS[0]);
    let (info, abbrev) = module.debug();
    let order = Order { is_64: true, big_endian: false };
    let mut sections = super::units::Sections { info, abbrev, ..Default::default() };
    let units = super::units::units(&sections, order).expect("two units");
    assert_eq!(units.iter().map(|unit| unit.name.as_str()).collect::<Vec<_>>(), ["kernel/b.c", "drivers/a.c"]);
    sections.info.pop();
    let error = super::units::units(&sections, order).expect_err("cut off");
    assert!(error.contains("reaches beyond the section"), "{error}");
}

#[test]
fn units_of_a_compiler_are_found_and_named() {
    // This test binary has the units of every crate in it, or none where it is built without debug information.
    let bytes = std::fs::read(std::env::current_exe().expect("running")).expect("readable");
    let described = artifact(&bytes[..bytes.len().min(64)]);
    assert_eq!(described.parts.len(), 1);
    let mut cursor = Cursor::new(&bytes);
    let super::super::elf::Layout::Elf(spans) =
        super::super::elf::layout(&mut cursor, bytes.len() as u64).expect("readable")
    else {
        panic!("not taken apart");
    };
    let part = |name: &str| {
        let span = spans.iter().find(|span| span.name == name);
        span.map_or(Vec::new(), |span| bytes[span.offset as usize..][..span.size as usize].to_vec())
    };
    let sections = super::units::Sections {
        info: part(".debug_info"),
        abbrev: part(".debug_abbrev"),
        str: part(".debug_str"),
        line_str: part(".debug_line_str"),
        str_offsets: part(".debug_str_offsets"),
    };
    if sections.info.is_empty() {
        return;
    }
    let units = super::units::units(&sections, Order { is_64: true, big_endian: false }).expect("units");
    assert!(units.iter().any(|unit| unit.name.contains("kbuild_repro") || unit.name.contains("lib.rs")));
}

#[test]
fn text_is_compared_by_lines_and_bytes_by_their_first_difference() {
    let told = inside(b"a\nb\nc\n", b"a\nc\nd\n");
    assert_eq!(told.details[0].lines, ["- b", "+ d"]);
    let told = inside(b"# CONFIG_A is not set\nCONFIG_B=y\nCONFIG_C=1\n", b"CONFIG_A=m\nCONFIG_B=y\nCONFIG_D=1\n");
    assert_eq!(told.details[0].lines, ["CONFIG_A: n → m", "- CONFIG_C=1", "+ CONFIG_D=1"]);
    let told = inside(b"\0\x01\x02\x03", b"\0\x01\xff\x03");
    assert_eq!(told.details[0].lines, ["1 byte, first at 0x2: 0203 → ff03"]);
    let told = inside(b"\0\x01", b"\0\x01\x02");
    assert_eq!(told.details[0].lines, ["2 → 3 bytes, the same up to 0x2"]);
}

/// The message of a signature by `CN=name`: what openssl makes of it, less the certificate and the attributes.
fn pkcs7(name: &str, digest: u8, value: &[u8]) -> Vec<u8> {
    fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
        let content = parts.concat();
        let mut bytes = vec![tag, 0x82];
        bytes.extend((content.len() as u16).to_be_bytes());
        bytes.extend(content);
        bytes
    }
    let cn = der(0x30, &[&[0x06, 3, 0x55, 4, 3], &der(0x0c, &[name.as_bytes()])]);
    let issuer = der(0x30, &[&der(0x31, &[&cn])]);
    let hash = der(0x30, &[&[0x06, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, digest]]);
    let rsa = der(0x30, &[&[0x06, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1], &[5, 0]]);
    let who = der(0x30, &[&issuer, &[2, 2, 0x12, 0x34]]);
    let signer = der(0x30, &[&[2, 1, 1], &who, &hash, &rsa, &der(4, &[value])]);
    let content = der(0x30, &[&[0x06, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 1]]);
    let signed = der(0x30, &[&[2, 1, 1], &der(0x31, &[&hash]), &content, &der(0x31, &[&signer])]);
    let kind = [0x06, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 2];
    der(0x30, &[&kind, &der(0xa0, &[&signed])])
}

fn signed(message: &[u8]) -> Vec<u8> {
    let mut bytes = message.to_vec();
    bytes.extend([0, 0, 2, 0, 0, 0, 0, 0]);
    bytes.extend((message.len() as u32).to_be_bytes());
    bytes.extend(b"~Module signature appended~\n");
    bytes
}

#[test]
fn signatures_say_who_signed_and_how() {
    let module = Module::new(FLAVOURS[0]).bytes();
    let with = |message: &[u8]| [module.clone(), signed(message)].concat();
    let told = |a: &[u8], b: &[u8]| inside(a, b).details.iter().flat_map(|d| d.lines.clone()).collect::<Vec<_>>();
    let one = with(&pkcs7("key one", 1, b"x"));
    assert_eq!(
        told(&one, &with(&pkcs7("key two", 3, b"y"))),
        ["signed by CN=key one, serial 1234 → CN=key two, serial 1234", "digest sha256 → sha512"]
    );
    assert_eq!(
        told(&one, &with(&pkcs7("key one", 1, b"y"))),
        ["another signature by CN=key one, serial 1234, sha256, rsa"]
    );
    let line = "signed by CN=key one, serial 1234, sha256, rsa";
    assert_eq!(told(&module, &one), [&format!("only in B, {} bytes", one.len() - module.len()), line]);
    let broken = told(&one, &with(b"\x30\x82\xff\xff"));
    assert!(broken[1].contains("not read: DER at offset 0x0 is cut off"), "{broken:?}");
    let mut lying = one.clone();
    let at = lying.len() - 28 - 4;
    lying[at..at + 4].copy_from_slice(&u32::MAX.to_be_bytes());
    assert_eq!(told(&one, &lying).len(), 1);
    assert!(told(&one, &lying)[0].contains("its header claims 4294967295 bytes"), "{:?}", told(&one, &lying));
}

#[test]
fn mutated_files_are_looked_into_without_panic_or_end() {
    let mut random = Random(0x1d5);
    let mut decoded = 0;
    for round in 0..6000 {
        let mut module = Module::new(FLAVOURS[round % FLAVOURS.len()]);
        let good = [module.bytes(), signed(&pkcs7("key", 1, b"x"))].concat();
        module.packed = round % 3 == 0;
        match round % 5 {
            0 => module.modinfo = b"license\0=\0\0a=b",
            1 => module.text.truncate(3),
            2 => module.relocations.truncate(1),
            _ => {}
        }
        let mut bytes = [module.bytes(), signed(&pkcs7("other", 3, b"yy"))].concat();
        random.mutate(&mut bytes, 64);
        // Anywhere, too: sections are many, and what they hold is small.
        if round % 2 == 0 && !bytes.is_empty() {
            let at = random.below(bytes.len());
            bytes[at] = random.below(256) as u8;
        }
        let told = inside(&good, &bytes);
        assert!(!told.details.is_empty() || bytes == good || !told.follow.is_empty(), "{told:?}");
        decoded += usize::from(told.details.len() > 1);
        inside(&bytes, &good);
    }
    assert!(decoded > 2000, "only {decoded} were taken apart");
}

#[test]
fn mutated_parts_reach_every_decoder() {
    let mut random = Random(0xdec);
    let order = |flavour: Flavour| Order { is_64: flavour.is_64, big_endian: flavour.big_endian };
    let signature = signed(&pkcs7("key", 1, b"x"));
    let mut notes_read = 0;
    for round in 0..8000 {
        let flavour = FLAVOURS[round % FLAVOURS.len()];
        let module = Module::new(flavour);
        let mut tail = signature.clone();
        // behind the message is the header, where most mutations of the end would fall
        let end = tail.len() - 40;
        let mut message = tail[..end].to_vec();
        random.mutate(&mut message, 200);
        tail.splice(..end, message);
        super::signature::lines(&signature, &tail);
        let _ = super::signature::of(&tail).map(|signature| signature.told());

        let mut note = Fields { flavour, bytes: Vec::new() };
        [4, 20, 3].into_iter().for_each(|n| note.word(n));
        note.bytes.extend(b"GNU\0aaaaaaaaaaaaaaaaaaaa");
        let whole = note.bytes.clone();
        random.mutate(&mut note.bytes, 12);
        notes_read += usize::from(super::notes::lines(&whole, &note.bytes, order(flavour), 4).is_ok());

        let (mut info, mut abbrev) = module.debug();
        random.mutate(&mut info, 24);
        random.mutate(&mut abbrev, 10);
        let sections = super::units::Sections { info, abbrev, ..Default::default() };
        let _ = super::units::units(&sections, order(flavour));

        let mut versions = [0; 128];
        versions[8] = b'x';
        let mut other = versions.to_vec();
        random.mutate(&mut other, 128);
        super::module::versions(&versions, &other, order(flavour));
        super::module::this_module(&versions, &other, order(flavour));
        super::strings::lines(&versions, &other, 0);
    }
    assert!(notes_read > 500, "only {notes_read} notes were read");
}

#[test]
fn a_table_that_claims_more_than_there_is_is_refused() {
    let units = super::units::Sections { info: vec![0; 1 << 16], abbrev: vec![1; 1 << 16], ..Default::default() };
    let order = Order { is_64: true, big_endian: false };
    let error = super::units::units(&units, order).expect_err("a unit of no length goes nowhere");
    assert!(error.contains("reaches beyond"), "{error}");
    // Symbols that all lie over the whole section are not compared without end.
    let mut module = Module::new(FLAVOURS[0]);
    module.text = vec![0; 1 << 20];
    let names: Vec<&'static str> = (0..3000).map(|n| &*Box::leak(format!("f{n}").into_boxed_str())).collect();
    module.symbols = names.iter().map(|name| (*name, 0x12, 1, 0, 1 << 20)).collect();
    let mut other = module.clone();
    other.text[(1 << 20) - 1] = 1;
    let told = inside(&module.bytes(), &other.bytes());
    assert!(told.details.iter().any(|detail| detail.part == ".text"), "{told:?}");
}
