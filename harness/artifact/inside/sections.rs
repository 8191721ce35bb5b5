//! What section headers and the ELF header say beyond where things lie.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::{Read, Seek};

use object::elf::{FileType, Machine, ProgramType, SectionType, machine_names};

use super::headers::{Order, SHT_NOBITS, SHT_REL, SHT_RELA, Section, Side};
use super::notes::hex;
use super::{SHOWN, change, count};

/// Letters of flags as readelf(1) prints them, by bit.
const FLAGS: &[(u64, char)] = &[
    (0x1, 'W'),
    (0x2, 'A'),
    (0x4, 'X'),
    (0x10, 'M'),
    (0x20, 'S'),
    (0x40, 'I'),
    (0x80, 'L'),
    (0x100, 'O'),
    (0x200, 'G'),
    (0x400, 'T'),
    (0x800, 'C'),
];

fn flags(flags: u64) -> String {
    let known = FLAGS.iter().filter(|(bit, _)| flags & bit != 0);
    let mut text: String = known.clone().map(|(_, letter)| *letter).collect();
    let other = known.fold(flags, |rest, (bit, _)| rest & !bit);
    if other != 0 {
        text.push_str(&format!("+{other:#x}"));
    }
    if text.is_empty() { "none".to_owned() } else { text }
}

fn kind<R: Read + Seek>(side: &Side<'_, R>, kind: u32) -> String {
    let names = machine_names(Machine(side.header.machine));
    names.sht.name(SectionType(kind)).map_or(format!("{kind:#x}"), str::to_owned)
}

/// What differs between headers of the same section, and sections without bytes that only one file has.
pub(super) fn lines<R: Read + Seek>(a: &Side<'_, R>, b: &Side<'_, R>) -> Vec<String> {
    fn by_label(sections: &[Section]) -> BTreeMap<&str, Vec<&Section>> {
        let mut all: BTreeMap<&str, Vec<&Section>> = BTreeMap::new();
        for section in sections.iter().skip(1) {
            all.entry(&section.label).or_default().push(section);
        }
        all
    }
    let (in_a, in_b) = (by_label(&a.sections), by_label(&b.sections));
    let mut lines = Vec::new();
    let (mut moved, mut left) = (0, 0usize);
    let mut tell = |line: String| if lines.len() < 2 * SHOWN { lines.push(line) } else { left += 1 };
    for (label, of_a) in &in_a {
        let of_b = in_b.get(label).map_or(&[][..], |all| all);
        for (x, y) in of_a.iter().zip(of_b) {
            moved += usize::from(x.address != y.address);
            let link = |side: &Side<'_, R>, section: &Section| side.place(section.link).to_owned();
            // What a relocation section is for; of a symbol table it is the number of local symbols.
            let target = |side: &Side<'_, R>, section: &Section| {
                let has_one = section.flags & 0x40 != 0 || matches!(section.kind, SHT_REL | SHT_RELA);
                if has_one { side.place(section.info).to_owned() } else { String::new() }
            };
            let differences: Vec<String> = [
                change("type", &kind(a, x.kind), &kind(b, y.kind)),
                change("flags", &flags(x.flags), &flags(y.flags)),
                change("align", &x.align, &y.align),
                change("entry size", &x.entsize, &y.entsize),
                change("link", &link(a, x), &link(b, y)),
                change("of", &target(a, x), &target(b, y)),
                // the length of others is that of their bytes, which are a part
                (x.kind == SHT_NOBITS || y.kind == SHT_NOBITS).then(|| change("size", &x.size, &y.size)).flatten(),
            ]
            .into_iter()
            .flatten()
            .collect();
            if !differences.is_empty() {
                tell(format!("{label}: {}", differences.join(", ")));
            }
        }
    }
    for (of, other, only) in [(&in_a, &in_b, "only in A"), (&in_b, &in_a, "only in B")] {
        // those with bytes are parts, and told as such
        let without = of.iter().filter(|(label, all)| {
            !other.contains_key(*label) && all.iter().all(|s| s.kind == SHT_NOBITS || s.size == 0)
        });
        without.for_each(|(label, all)| {
            let size: u64 = all.iter().map(|section| section.size).fold(0, u64::saturating_add);
            tell(format!("{label}: {only} ({size} bytes, none of them in the file)"));
        });
    }
    if left > 0 {
        lines.push(format!("and {left} more"));
    }
    if moved > 0 {
        lines.push(format!("{} at another address", count(moved, "section")));
    }
    lines
}

/// What differs in the ELF header, but for where other headers lie.
pub(super) fn header<R: Read + Seek>(a: &Side<'_, R>, b: &Side<'_, R>) -> Vec<String> {
    let (x, y) = (a.header, b.header);
    fn told<T: Display>(name: Option<&str>, number: T) -> String {
        name.map_or(number.to_string(), str::to_owned)
    }
    let kind = |kind: u16| told(FileType(kind).name(), kind);
    let machine = |machine: u16| told(Machine(machine).name(), machine);
    [
        change("identification", &hex(&x.ident), &hex(&y.ident)),
        change("version", &x.version, &y.version),
        change("type", &kind(x.kind), &kind(y.kind)),
        change("machine", &machine(x.machine), &machine(y.machine)),
        change("flags", &format!("{:#x}", x.flags), &format!("{:#x}", y.flags)),
        change("entry", &format!("{:#x}", x.entry), &format!("{:#x}", y.entry)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// What differs between program headers (`Elf32_Phdr`, `Elf64_Phdr`), but for where segments lie and how long they are.
pub(super) fn segments(a: &[u8], b: &[u8], order: Order) -> Vec<String> {
    let of = |bytes: &[u8]| -> Vec<(u32, u32, u64)> {
        let (entry, flags, align) = if order.is_64 { (56, 4, 48) } else { (32, 24, 28) };
        let read = |bytes: &[u8]| Some((order.u32(bytes, 0)?, order.u32(bytes, flags)?, order.wide(bytes, align)?));
        bytes.chunks_exact(entry).filter_map(read).collect()
    };
    let (a, b) = (of(a), of(b));
    let kind = |kind: u32| ProgramType(kind).name().map_or(format!("{kind:#x}"), str::to_owned);
    // PF_X, PF_W, PF_R
    let flags = |flags: u32| -> String {
        let letters: String =
            [(4, 'R'), (2, 'W'), (1, 'X')].iter().filter(|(b, _)| flags & b != 0).map(|f| f.1).collect();
        if flags > 7 { format!("{letters}+{:#x}", flags & !7) } else { letters }
    };
    let mut lines: Vec<String> = change("segments:", &a.len(), &b.len()).into_iter().collect();
    for (number, (x, y)) in a.iter().zip(&b).enumerate().filter(|(_, (x, y))| x != y).take(SHOWN) {
        let differences = [
            change("type", &kind(x.0), &kind(y.0)),
            change("flags", &flags(x.1), &flags(y.1)),
            change("align", &format!("{:#x}", x.2), &format!("{:#x}", y.2)),
        ];
        let differences: Vec<String> = differences.into_iter().flatten().collect();
        lines.push(format!("segment {number} ({}): {}", kind(x.0), differences.join(", ")));
    }
    lines
}
