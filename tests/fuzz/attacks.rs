//! Attacks that chance does not find: small files that would have more to say than there is memory or time.
//!
//! Each is as large as a real file, or a small part of one where the code is not optimised, and is read in every way.

use std::time::Duration;

use kbuild_repro::artifact::packed::Packing;

use super::elf::{self, Section};
use super::types::{self, Types};
use super::{Fuzz, meter};

/// An attack is looked at in some twenty ways, of which each may make all the text that there may be.
const LONGEST: Duration = meter::LONGEST.saturating_mul(3);

/// A number of real size: of types, symbols, sections.
const fn many(number: usize) -> usize {
    if cfg!(debug_assertions) { number / 1000 } else { number }
}

/// Reads it beside a plain file and beside itself changed in one byte; nothing may be found.
#[track_caller]
fn reads(what: &str, bytes: &[u8]) {
    let mut other = bytes.to_vec();
    if let Some(last) = other.last_mut() {
        *last ^= 1;
    }
    reads_pair(what, bytes, &other);
}

#[track_caller]
fn reads_pair(what: &str, bytes: &[u8], other: &[u8]) {
    let fuzz = Fuzz::new();
    for (original, mutant) in [(bytes, other), (&[][..], bytes)] {
        let extra = original.len() * meter::MEMORY_EACH;
        let done =
            meter::run(what, mutant, (extra, LONGEST), || super::look::look(original, mutant, None, &fuzz.context));
        match done {
            Ok((_, taken)) => eprintln!("{what}: {} bytes, {taken:?}", mutant.len()),
            Err(fault) => panic!("{what}: {} bytes: {fault:?}", mutant.len()),
        }
    }
}

/// BTF alone, and in a module.
#[track_caller]
fn btf(what: &str, types: &Types) {
    btf_pair(what, types, types);
}

#[track_caller]
fn btf_pair(what: &str, types: &Types, others: &Types) {
    let file = |types: &Types, end: u8| {
        elf::file(&[Section::new(".BTF", 1, types.bytes()), Section::new(".data", 1, vec![end])])
    };
    reads_pair(what, &types.bytes(), &others.bytes());
    reads_pair(what, &file(types, 0), &file(others, 1));
}

#[test]
fn chains_are_as_deep_as_there_are_types() {
    for (what, kind, named) in
        [("ptr", types::PTR, false), ("const", types::CONST, false), ("typedef", types::TYPEDEF, true)]
    {
        let mut types = Types::new();
        let name = types.string(b"t");
        for id in 1..many(100_000) as u32 {
            types.push(kind, if named { name } else { 0 }, 0, id, &[]);
        }
        types.structure(name, &[types.count]);
        btf(what, &types);
    }
    let mut types = Types::new();
    for id in 1..many(100_000) as u32 {
        types.push(types::ARRAY, 0, 0, 0, &[id, 1, 2]);
    }
    btf("array", &types);
    let mut types = Types::new();
    let name = types.string(b"t");
    for id in 1..many(100_000) as u32 {
        types.structure(if id % 3 == 0 { name } else { 0 }, &[id]);
    }
    btf("struct", &types);
}

#[test]
fn branches_that_are_shared_are_not_walked_each_time() {
    for pointed in [false, true] {
        for unnamed in [false, true] {
            let mut types = Types::new();
            let name = types.string(b"t");
            let mut id = 1;
            for _ in 0..64 {
                id = if unnamed { types.structure(0, &[id; 4]) } else { types.proto(id, &[id; 4]) };
                if pointed {
                    id = types.push(types::PTR, 0, 0, id, &[]);
                }
            }
            types.push(types::TYPEDEF, name, 0, id, &[]);
            types.structure(name, &[id, id]);
            types.push(types::FUNC, name, 1, id, &[]);
            btf("branches", &types);
        }
    }
}

/// A prototype with many long parameters, and many functions and tags that have it.
#[test]
fn what_is_said_of_a_shared_prototype_is_short() {
    let make = |last: u32| {
        let mut types = Types::new();
        let name = types.string(b"t");
        let long = types.structure(0, &vec![1; 400]);
        let proto = types.proto(1, &vec![long; many(20_000)]);
        for id in 0..many(100_000) as u32 {
            let function = types.push(types::FUNC, name, id % 2, proto, &[]);
            if id % 2 == 0 {
                types.push(types::DECL_TAG, name, 0, function, &[last]);
            }
        }
        types
    };
    btf_pair("functions", &make(u32::MAX), &make(0));
}

/// A megabyte of name, or many of the most that is read, for all types.
#[test]
fn a_long_name_is_not_told_for_all_that_have_it() {
    for length in [4000, many(1 << 20)] {
        let make = |kind: u32| {
            let mut types = Types::new();
            let long = types.string(&vec![b'x'; length]);
            for id in 0..many(100_000) as u32 {
                types.push(kind, long + id % 1000, 0, 1, &[]);
                types.push(types::PTR, 0, 0, types.count, &[]);
            }
            types
        };
        for kind in [types::FUNC, types::TYPEDEF, 18] {
            btf_pair("names", &make(kind), &make(types::TYPEDEF));
        }
    }
}

#[test]
fn many_of_one_shape_are_matched_in_time() {
    let make = |more: u32| {
        let mut types = Types::new();
        let name = types.string(b"t");
        for id in 0..many(100_000) as u32 {
            types.structure(0, &[1, 1]);
            types.structure(name, &[1, id % 7 + more, 1 + id / 2]);
            types.push(types::ENUM, 0, 1, 4, &[name, id]);
        }
        types
    };
    btf_pair("shapes", &make(1), &make(2));
    // One struct, with members that all have one long type.
    let make = |first: u32| {
        let mut types = Types::new();
        let name = types.string(b"t");
        let long = types.structure(0, &vec![1; 400]);
        let mut members = vec![long; many(100_000)];
        members[0] = first;
        types.structure(name, &members);
        types
    };
    btf_pair("members", &make(1), &make(2));
}

fn words(words: impl IntoIterator<Item = u32>) -> Vec<u8> {
    words.into_iter().flat_map(u32::to_le_bytes).collect()
}

/// `Elf64_Sym`.
fn symbol(name: u32, info: u8, section: u16, value: u64, size: u64) -> Vec<u8> {
    [&name.to_le_bytes()[..], &[info, 0], &section.to_le_bytes(), &value.to_le_bytes(), &size.to_le_bytes()].concat()
}

fn lists(strings: Vec<u8>, symbols: Vec<u8>, ids: Vec<u8>, types: &Types) -> Vec<u8> {
    let mut symtab = Section::new(".symtab", 2, [vec![0; 24], symbols].concat());
    symtab.link = 3;
    elf::file(&[
        Section::new(".BTF_ids", 1, ids),
        symtab,
        Section::new(".strtab", 3, strings),
        Section::new(".BTF", 1, types.bytes()),
    ])
}

#[test]
fn lists_of_ids_are_read_once() {
    let mut types = Types::new();
    let long = types.string(&[b'x'; 4000]);
    types.push(types::FUNC, long, 0, 1, &[]);
    let count = many(100_000);
    // A list for each word, all of one name.
    let symbols = (0..count).flat_map(|at| symbol(1, 0, 1, at as u64 * 4, 4)).collect();
    reads("lists", &lists(b"\0list\0".to_vec(), symbols, words((0..count as u32).map(|n| n % 3)), &types));
    // One set of many ids, each with a long name.
    let set = |first: u32| {
        let ids = [count as u32, 1].into_iter().chain((0..2 * count as u32).map(|n| (n % 2) * n + first));
        lists(b"\0__BTF_ID__set8__s\0".to_vec(), symbol(1, 0, 1, 0, u64::MAX), words(ids), &types)
    };
    reads_pair("set", &set(0), &set(2));
    // Symbols that share a long name.
    let strings = [&[0][..], &vec![b'x'; many(1 << 20)], &[0]].concat();
    let symbols = (0..count).flat_map(|at| symbol(1 + at as u32 % 99, 0, 1, at as u64 % 8, u64::MAX)).collect();
    reads("names of symbols", &lists(strings, symbols, words([1, 2]), &types));
}

#[test]
fn many_sections_are_read_in_time() {
    let count = many(100_000);
    let all = |name: &dyn Fn(usize) -> String, byte: u8| -> Vec<u8> {
        let section = |n: usize| Section::new(&name(n), 1, vec![byte; 1 + n % 3]);
        elf::file(&(0..count).map(section).collect::<Vec<_>>())
    };
    let (same, each) = (|_: usize| ".text".to_owned(), |n: usize| format!(".text.{n}"));
    let long = |_: usize| "\u{1}".repeat(250);
    reads_pair("sections of one name", &all(&same, 0), &all(&same, 1));
    reads_pair("sections of many names", &all(&each, 0), &all(&same, 1));
    reads_pair("sections of a long name", &all(&long, 0), &all(&each, 0));
    // A name as long as the table, for all.
    let mut sections: Vec<Section> = (0..count).map(|_| Section::new("x", 1, vec![1])).collect();
    sections.push(Section::new(&"y".repeat(many(1 << 20)), 1, vec![1]));
    let mut bytes = elf::file(&sections);
    let at = u64::from_le_bytes(bytes[40..48].try_into().expect("eight bytes")) as usize;
    bytes[at + 64..].chunks_exact_mut(64).for_each(|header| header[0] = 3);
    reads("names as long as the table", &bytes);
    // All of them claim the whole file.
    let length = bytes.len() as u64;
    bytes[at + 64..].chunks_exact_mut(64).take(count).for_each(|header| {
        header[24..32].fill(0);
        header[32..40].copy_from_slice(&length.to_le_bytes());
    });
    reads("sections that are the whole file", &bytes);
}

#[test]
fn symbols_and_relocations_are_compared_in_time() {
    let count = many(100_000);
    // Names that share one long end are refused; those of a kernel are short, and many symbols have one.
    let file = |length: usize, step: u64| {
        let names = (0..count).flat_map(|n| format!("s{:0length$}\0", n / 7).into_bytes());
        let strings: Vec<u8> = if length > 9 { vec![b's'; length] } else { names.collect() };
        let place = |n: usize| if length > 9 { n % length } else { n * (length + 2) };
        let symbols = (0..count).flat_map(|n| symbol(place(n) as u32, 2, 4, n as u64 * step, 64));
        let mut symtab = Section::new(".symtab", 2, std::iter::repeat_n(0, 24).chain(symbols).collect());
        symtab.link = 2;
        let relocation =
            |n: usize| [(n as u64).to_le_bytes(), ((n as u64) << 32 | step).to_le_bytes(), [0; 8]].concat();
        let mut relocations = Section::new(".rela.text", 4, (0..count).flat_map(relocation).collect());
        (relocations.link, relocations.info) = (1, 4);
        elf::file(&[
            symtab,
            Section::new(".strtab", 3, strings),
            relocations,
            Section::new(".text", 1, vec![step as u8; count]),
        ])
    };
    reads_pair("symbols of long names", &file(1000, 1), &file(1000, 2));
    reads_pair("symbols", &file(6, 1), &file(6, 2));
}

/// Units of DWARF that share an abbreviation, a name, and a line program.
#[test]
fn units_that_share_everything_are_compared_in_time() {
    let count = many(100_000);
    let file = |other: u8| {
        // version 5, compile unit, addresses of 8 bytes, abbreviation at 0, code 1; name at 0 and line program at 0
        let unit = [16, 0, 0, 0, 5, 0, 1, 8, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0];
        let mut unit: Vec<u8> = unit.to_vec();
        unit.push(0);
        unit[0] = 17;
        let abbrev = vec![1, 0x11, 0, 0x03, 0x0e, 0x10, 0x17, 0, 0, 0];
        let line = [&(count as u32 * 4).to_le_bytes()[..], &vec![7; count * 4 - 1], &[other]].concat();
        let mut info = unit.repeat(count);
        *info.last_mut().expect("a byte") = other;
        elf::file(&[
            Section::new(".debug_info", 1, info),
            Section::new(".debug_abbrev", 1, abbrev),
            Section::new(".debug_str", 1, b"name".to_vec()),
            Section::new(".debug_line", 1, line),
        ])
    };
    reads_pair("units", &file(1), &file(2));
    // Abbreviations of which each unit reads all.
    let file = |other: u8| {
        let unit = [17, 0, 0, 0, 5, 0, 1, 8, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0];
        let mut info = unit.repeat(count);
        *info.last_mut().expect("a byte") = other;
        let abbrev = [&[1, 0x11, 0, 0, 0].repeat(count)[..], &[2, 0x11, 0, 0x03, 0x0e, 0x10, 0x17, 0, 0]].concat();
        elf::file(&[
            Section::new(".debug_info", 1, info),
            Section::new(".debug_abbrev", 1, abbrev),
            Section::new(".debug_str", 1, b"name\0".to_vec()),
            Section::new(".debug_line", 1, vec![0; 4]),
        ])
    };
    reads_pair("abbreviations", &file(1), &file(2));
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut packed, bytes).expect("memory");
    packed.finish().expect("memory")
}

/// Sections that unpack to a thousand times their length.
#[test]
fn compressed_sections_are_no_bombs() {
    let length = many(256 << 20);
    let file = |other: u8| {
        let mut inside = vec![0; length];
        inside[length - 1] = other;
        // ELFCOMPRESS_ZLIB, and its length
        let header =
            [&[1, 0, 0, 0, 0, 0, 0, 0][..], &(length as u64).to_le_bytes(), &[1, 0, 0, 0, 0, 0, 0, 0]].concat();
        let packed = [header, zlib(&inside)].concat();
        let section = |name: &str| {
            let mut section = Section::new(name, 1, packed.clone());
            section.flags = 0x800;
            section
        };
        let names = [".debug_info", ".debug_abbrev", ".debug_str", ".debug_line_str", ".debug_line", ".debug_loc"];
        elf::file(&names.map(section))
    };
    reads_pair("bombs", &file(1), &file(2));
}

/// A file that unpacks to a gibibyte, and one of very many frames, each with the largest window.
#[test]
fn packed_files_are_no_bombs() {
    let fuzz = Fuzz::new();
    let gzip = |length: usize| {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        std::io::Write::write_all(&mut packed, &vec![0; length]).expect("memory");
        packed.finish().expect("memory")
    };
    // RFC 8878: magic, no content size, a window of 128 MiB, an empty last block of raw bytes
    let frame = [0x28, 0xb5, 0x2f, 0xfd, 0, 0x88, 1, 0, 0];
    for (what, packing, bytes) in [
        ("gzip", Packing::Gzip, gzip(many(1 << 30))),
        ("members", Packing::Gzip, gzip(1).repeat(many(50_000))),
        ("frames", Packing::Zstd, frame.repeat(many(100_000))),
        ("streams", Packing::Xz, super::corpus::get(&fuzz.all, "first.ko.xz").bytes.repeat(many(3_000))),
    ] {
        let look = || super::look::look(&[], &bytes, Some(packing), &fuzz.context);
        match meter::run(what, &bytes, (super::look::WINDOW, LONGEST), look) {
            Ok((_, taken)) => eprintln!("{what}: {} bytes, {taken:?}", bytes.len()),
            Err(fault) => panic!("{what}: {fault:?}"),
        }
    }
}

/// Notes, names and strings of nothing but ends.
#[test]
fn small_entries_take_little_each() {
    let count = many(4 << 20);
    let file = |byte: u8| {
        let pairs =
            |byte: u8| -> Vec<u8> { (0..count / 4).flat_map(|n| [b'a' + (n % 26) as u8, b'=', byte, 0]).collect() };
        let mut strings = Section::new(".strings", 1, (0..count / 2).flat_map(|n| [byte + (n % 9) as u8, 0]).collect());
        strings.flags = 0x20;
        elf::file(&[
            Section::new(".modinfo", 1, pairs(byte)),
            Section::new(
                ".note.x",
                7,
                words((0..count as u32 / 4).map(|n| if n % 3 == 2 { n + u32::from(byte) } else { 0 })),
            ),
            strings,
            Section::new("__versions", 1, vec![byte; count]),
        ])
    };
    reads_pair("entries", &file(b'A'), &file(b'B'));
    let lines = |byte: u8| -> Vec<u8> {
        (0..count as u32 / 8).flat_map(|n| format!("{n:x}={}\n", byte as char).into_bytes()).collect()
    };
    reads_pair("lines", &lines(b'y'), &lines(b'm'));
}
