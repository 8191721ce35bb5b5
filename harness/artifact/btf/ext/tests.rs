use super::super::tests::Builder;
use super::*;
use crate::artifact::tests::{FLAVOURS, Flavour, Random, elf};

const PROGBITS: u32 = 1;

/// BTF of a function `f` (type 3), and where the strings that are given have their names.
fn btf(strings: &[&str]) -> (Vec<u8>, Vec<u32>) {
    let mut b = Builder::new();
    let int = b.int("int");
    let proto = b.proto(int, &[("x", int)]);
    b.func("f", proto, 1);
    let names = strings.iter().map(|string| b.name(string)).collect();
    (b.bytes(), names)
}

/// The lists of one kind: sections by name, each with its records.
type Lists = Vec<(u32, Vec<Vec<u32>>)>;

/// A section of these parts, each with its length of a record and lists of a section's name and records.
fn section(flavour: Flavour, parts: [(u32, Lists); 3]) -> Vec<u8> {
    let of = |word: u32| if flavour.big_endian { word.to_be_bytes() } else { word.to_le_bytes() };
    let bodies = parts.map(|(length, lists)| {
        let mut words = vec![length];
        for (name, records) in lists {
            words.extend([name, records.len() as u32]);
            words.extend(records.into_iter().flatten());
        }
        if words.len() == 1 { Vec::new() } else { words }
    });
    let mut bytes = if flavour.big_endian { vec![0xeb, 0x9f, 1, 0] } else { vec![0x9f, 0xeb, 1, 0] };
    bytes.extend(of(32));
    let mut offset = 0;
    for body in &bodies {
        let size = 4 * body.len() as u32;
        bytes.extend([of(offset), of(size)].concat());
        offset += size;
    }
    bytes.extend(bodies.concat().into_iter().flat_map(of));
    bytes
}

fn whole(flavour: Flavour) -> (Vec<u8>, Vec<u8>) {
    let (btf, names) = btf(&["xdp", "a.c", "  return x;", "0:1"]);
    let lines = vec![vec![8, names[1], names[2], 12 << 10 | 3, 7], vec![16, names[1], 0, 13 << 10, 7]];
    let parts = [
        (8, vec![(names[0], vec![vec![0, 3]])]),
        // Records may be longer than they are known to be.
        (20, vec![(names[0], lines)]),
        (16, vec![(names[0], vec![vec![24, 1, names[3], 0], vec![32, 99, names[3], 77]])]),
    ];
    (btf, section(flavour, parts))
}

#[test]
fn functions_lines_and_relocations() {
    // Strings and types of the sample are little-endian; the section has an order of its own.
    for flavour in FLAVOURS {
        let (btf, bytes) = whole(flavour);
        let file = elf(flavour, &[(".BTF", PROGBITS, &btf), (SECTION, PROGBITS, &bytes)]);
        let btf = Btf::parse(btf, None).expect("is BTF");
        let told: Vec<String> = ext(&file, &btf)
            .expect("is whole")
            .into_iter()
            .flat_map(|list| {
                let head = format!("{} {}", list.kind.name(), list.section);
                [head]
                    .into_iter()
                    .chain(list.records.into_iter().map(|record| format!("{:#x} {}", record.offset, record.says)))
            })
            .collect();
        let expected = [
            "func_info xdp",
            "0x0 func f(int x) -> int [global]",
            "line_info xdp",
            "0x8 a.c:12:3  return x;",
            "0x10 a.c:13:0",
            "core_relo xdp",
            "0x18 field_byte_offset 0:1 of int int: 4 bytes, signed",
            "0x20 kind 77 0:1 of #99",
        ];
        assert_eq!(told.len(), expected.len(), "{told:#?}");
        for (told, expected) in told.iter().zip(expected) {
            assert!(told.starts_with(&expected[..expected.len().min(26)]), "{told} for {expected}");
        }
    }
}

#[test]
fn what_is_broken_is_told_with_its_place() {
    let (btf, bytes) = whole(FLAVOURS[0]);
    let parsed = Btf::parse(btf, None).expect("is BTF");
    let of = |bytes: &[u8]| ext(&elf(FLAVOURS[0], &[(SECTION, PROGBITS, bytes)]), &parsed);
    let with = |at: usize, value: u32| {
        let mut bytes = bytes.clone();
        bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        of(&bytes).expect_err("broken")
    };
    assert_eq!(of(&bytes[..20]).expect_err("cut off"), ".BTF.ext has a header of 32 bytes, which cannot be");
    assert_eq!(with(32, 6), "func_info of .BTF.ext has records of 6 bytes at 0x20");
    assert_eq!(with(40, 1 << 30), "func_info of .BTF.ext has 1073741824 records at 0x2c, more than fit");
    assert_eq!(with(12, 1 << 20), "func_info of .BTF.ext at 0x20 with 1048576 bytes lies outside of it");
    let mut random = Random(7);
    for _ in 0..2000 {
        let mut broken = bytes.clone();
        random.mutate(&mut broken, 48);
        let _ = of(&broken);
    }
}
