//! ELF files made by hand, turned to the other byte order, and broken on purpose (`elf(5)`).

use super::random::Random;
use super::types;

/// What a made file has besides its name table.
pub(crate) struct Section {
    pub(crate) name: String,
    pub(crate) kind: u32,
    pub(crate) flags: u64,
    pub(crate) link: u32,
    pub(crate) info: u32,
    pub(crate) bytes: Vec<u8>,
}

impl Section {
    pub(crate) fn new(name: &str, kind: u32, bytes: Vec<u8>) -> Self {
        Self { name: name.to_owned(), kind, flags: 0, link: 0, info: 0, bytes }
    }
}

/// A relocatable file for x86-64. The first section is number 1; the names of sections come last.
pub(crate) fn file(sections: &[Section]) -> Vec<u8> {
    let mut names = vec![0];
    let mut bytes = vec![0; 64];
    let mut headers = vec![0; 64];
    let mut named = std::collections::HashMap::new();
    let mut header = |name: u32, kind: u32, flags: u64, place: (usize, usize), link: u32, info: u32| {
        let mut entry = Vec::with_capacity(64);
        entry.extend_from_slice(&name.to_le_bytes());
        entry.extend_from_slice(&kind.to_le_bytes());
        for wide in [flags, 0, place.0 as u64, place.1 as u64] {
            entry.extend_from_slice(&wide.to_le_bytes());
        }
        entry.extend_from_slice(&link.to_le_bytes());
        entry.extend_from_slice(&info.to_le_bytes());
        entry.extend_from_slice(&[0; 16]);
        headers.extend_from_slice(&entry);
    };
    for section in sections {
        let name = *named.entry(section.name.as_str()).or_insert_with(|| {
            let at = names.len() as u32;
            names.extend_from_slice(section.name.as_bytes());
            names.push(0);
            at
        });
        let place = (bytes.len(), section.bytes.len());
        header(name, section.kind, section.flags, place, section.link, section.info);
        bytes.extend_from_slice(&section.bytes);
    }
    header(0, 3, 0, (bytes.len(), names.len()), 0, 0);
    bytes.extend_from_slice(&names);
    let (start, count) = (bytes.len() as u64, sections.len() + 2);
    // More than a half-word holds stand in the null section (gABI, "ELF Header").
    let (number, last) = match u16::try_from(count) {
        Ok(number) if number < 0xff00 => (number, number - 1),
        _ => {
            headers[32..40].copy_from_slice(&(count as u64).to_le_bytes());
            headers[40..44].copy_from_slice(&(count as u32 - 1).to_le_bytes());
            (0, 0xffff)
        }
    };
    bytes.extend_from_slice(&headers);
    bytes[..20].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 62, 0]);
    bytes[20] = 1;
    bytes[40..48].copy_from_slice(&start.to_le_bytes());
    bytes[52..54].copy_from_slice(&64u16.to_le_bytes());
    bytes[58..60].copy_from_slice(&64u16.to_le_bytes());
    bytes[60..62].copy_from_slice(&number.to_le_bytes());
    bytes[62..64].copy_from_slice(&last.to_le_bytes());
    bytes
}

/// A section header's place in the file, and its fields as far as they are of use here.
#[derive(Debug, Clone, Copy)]
struct Header {
    at: usize,
    kind: u64,
    offset: usize,
    size: usize,
}

/// A file whose headers are read and written field by field, wherever they are.
struct Fields<'b> {
    bytes: &'b mut Vec<u8>,
    is_64: bool,
    big_endian: bool,
}

impl<'b> Fields<'b> {
    fn of(bytes: &'b mut Vec<u8>) -> Option<Self> {
        if !bytes.starts_with(b"\x7fELF") || bytes.len() < 64 {
            return None;
        }
        Some(Self { is_64: bytes[4] == 2, big_endian: bytes[5] == 2, bytes })
    }

    fn get(&self, at: usize, width: usize) -> u64 {
        let field = self.bytes.get(at..at.saturating_add(width)).unwrap_or_default();
        let add = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        if self.big_endian { field.iter().fold(0, add) } else { field.iter().rev().fold(0, add) }
    }

    fn put(&mut self, at: usize, width: usize, value: u64) {
        let Some(field) = self.bytes.get_mut(at..at.saturating_add(width)) else { return };
        let value = value.to_be_bytes();
        field.copy_from_slice(&value[8 - width..]);
        if !self.big_endian {
            field.reverse();
        }
    }

    fn headers(&self) -> Vec<Header> {
        let (offset, count) =
            if self.is_64 { (self.get(40, 8), self.get(60, 2)) } else { (self.get(32, 4), self.get(48, 2)) };
        let entry = if self.is_64 { 64 } else { 40 };
        let place = |index: usize| (offset as usize).saturating_add(index * entry);
        let places = (0..count as usize).map(place).take_while(|at| *at < self.bytes.len());
        let header = |at: usize| {
            let (offset, size) = if self.is_64 {
                (self.get(at + 24, 8), self.get(at + 32, 8))
            } else {
                (self.get(at + 16, 4), self.get(at + 20, 4))
            };
            Header { at, kind: self.get(at + 4, 4), offset: offset as usize, size: size as usize }
        };
        places.map(header).collect()
    }

    /// The bytes of a section, as far as the file has them.
    fn range(&self, header: &Header) -> std::ops::Range<usize> {
        let start = header.offset.min(self.bytes.len());
        start..header.offset.saturating_add(header.size).clamp(start, self.bytes.len())
    }
}

/// Where the fields of a section header are, and how wide: name, type, flags, address, offset, size, link, info, align, entsize.
fn section_fields(is_64: bool) -> [(usize, usize); 10] {
    if is_64 {
        [(0, 4), (4, 4), (8, 8), (16, 8), (24, 8), (32, 8), (40, 4), (44, 4), (48, 8), (56, 8)]
    } else {
        [(0, 4), (4, 4), (8, 4), (12, 4), (16, 4), (20, 4), (24, 4), (28, 4), (32, 4), (36, 4)]
    }
}

/// Breaks an ELF file where it hurts; false of what is none.
pub(crate) fn mutate(bytes: &mut Vec<u8>, random: &mut Random) -> bool {
    let length = bytes.len() as u64;
    let Some(mut fields) = Fields::of(bytes) else { return false };
    let is_64 = fields.is_64;
    let headers = fields.headers();
    if headers.is_empty() || random.one_in(8) {
        // class, order, type, machine, and from e_phoff on all that says where and how many
        let places: &[(usize, usize)] = if is_64 {
            &[(4, 1), (5, 1), (16, 2), (18, 2), (32, 8), (40, 8), (52, 2), (54, 2), (56, 2), (58, 2), (60, 2), (62, 2)]
        } else {
            &[(4, 1), (5, 1), (16, 2), (18, 2), (28, 4), (32, 4), (40, 2), (42, 2), (44, 2), (46, 2), (48, 2), (50, 2)]
        };
        let (at, width) = *random.pick(places);
        let near = fields.get(at, width);
        fields.put(at, width, random.number(near));
        return true;
    }
    let header = *random.pick(&headers);
    let other = *random.pick(&headers);
    match random.below(8) {
        // a field of a header: a bad number, that of another section, the length of the file
        0 | 1 => {
            let (at, width) = *random.pick(&section_fields(is_64));
            let near = fields.get(header.at + at, width);
            let value = match random.below(4) {
                0 => fields.get(other.at + at, width),
                1 => length.wrapping_sub(random.below(3) as u64),
                _ => random.number(near),
            };
            fields.put(header.at + at, width, value);
        }
        // a section that is taken for another
        2 => {
            for (at, width) in section_fields(is_64) {
                if random.one_in(2) {
                    let value = fields.get(other.at + at, width);
                    fields.put(header.at + at, width, value);
                }
            }
        }
        3 => {
            let Some(table) = headers.iter().find(|header| matches!(header.kind, 2 | 11)) else { return true };
            let (entry, places): (usize, &[(usize, usize)]) = if is_64 {
                (24, &[(0, 4), (4, 1), (5, 1), (6, 2), (8, 8), (16, 8)])
            } else {
                (16, &[(0, 4), (4, 4), (8, 4), (12, 1), (13, 1), (14, 2)])
            };
            let (at, width) = *random.pick(places);
            let at = table.offset.saturating_add(random.below(table.size / entry) * entry + at);
            let near = fields.get(at, width);
            fields.put(at, width, random.number(near));
        }
        4 => {
            let tables: Vec<&Header> = headers.iter().filter(|header| matches!(header.kind, 4 | 9)).collect();
            let Some(table) = (!tables.is_empty()).then(|| *random.pick(&tables)) else { return true };
            let width = if is_64 { 8 } else { 4 };
            let at = table.offset.saturating_add(random.below(table.size / width) * width);
            let near = fields.get(at, width);
            fields.put(at, width, random.number(near));
        }
        // words in a section, which lie as they should
        5 => {
            let range = fields.range(&header);
            for _ in 0..=random.below(3) {
                let width = *random.pick(&[1, 2, 4, 8]);
                let at = range.start + random.below(range.len() / width) * width;
                if at + width <= range.end {
                    let near = fields.get(at, width);
                    fields.put(at, width, random.number(near));
                }
            }
        }
        _ => return of_btf(&mut fields, &headers, random),
    }
    true
}

/// Breaks a section of BTF, or puts another in its place, at the end of the file.
fn of_btf(fields: &mut Fields<'_>, headers: &[Header], random: &mut Random) -> bool {
    let is_btf =
        |header: &&Header| matches!(fields.bytes.get(header.offset..), Some([0x9f, 0xeb, ..] | [0xeb, 0x9f, ..]));
    let all: Vec<Header> = headers.iter().filter(is_btf).copied().collect();
    if all.is_empty() {
        return false;
    }
    let header = *random.pick(&all);
    if random.one_in(6) {
        let new = types::hostile(random);
        let places = section_fields(fields.is_64);
        let at = fields.bytes.len() as u64;
        fields.put(header.at + places[4].0, places[4].1, at);
        fields.put(header.at + places[5].0, places[5].1, new.len() as u64);
        fields.bytes.extend_from_slice(&new);
        return true;
    }
    let range = fields.range(&header);
    types::mutate(&mut fields.bytes[range], random);
    true
}

/// The same file for a processor of the other byte order: 64 bits, little to big. Headers, symbols, relocations and BTF are
/// turned; code and debug information stay as they are.
pub(crate) fn big_endian(little: &[u8]) -> Vec<u8> {
    let mut bytes = little.to_vec();
    let turn = |bytes: &mut Vec<u8>, at: usize, width: usize| {
        if let Some(field) = bytes.get_mut(at..at + width) {
            field.reverse();
        }
    };
    let headers = Fields::of(&mut bytes).expect("an ELF file").headers();
    bytes[5] = 2;
    let header = [
        (16, 2),
        (18, 2),
        (20, 4),
        (24, 8),
        (32, 8),
        (40, 8),
        (48, 4),
        (52, 2),
        (54, 2),
        (56, 2),
        (58, 2),
        (60, 2),
        (62, 2),
    ];
    header.into_iter().for_each(|(at, width)| turn(&mut bytes, at, width));
    for Header { at, kind, offset, size } in headers {
        let is_btf = little.get(offset..offset + 2) == Some(&[0x9f, 0xeb]) && kind == 1;
        section_fields(true).into_iter().for_each(|(field, width)| turn(&mut bytes, at + field, width));
        let entry: (usize, &[(usize, usize)]) = match kind {
            2 => (24, &[(0, 4), (6, 2), (8, 8), (16, 8)]),
            4 => (24, &[(0, 8), (8, 8), (16, 8)]),
            7 => (4, &[(0, 4)]),
            _ => (1, &[]),
        };
        for at in (0..size / entry.0).map(|index| offset + index * entry.0) {
            entry.1.iter().for_each(|(field, width)| turn(&mut bytes, at + field, *width));
        }
        if is_btf {
            let turned = big_endian_btf(&little[offset..offset + size]);
            bytes[offset..offset + size].copy_from_slice(&turned);
        }
    }
    bytes
}

/// BTF for the other byte order: all but its strings is words, after magic, version and flags.
pub(crate) fn big_endian_btf(little: &[u8]) -> Vec<u8> {
    let mut bytes = little.to_vec();
    let word = |at: usize| u32::from_le_bytes(little[at..at + 4].try_into().expect("four bytes")) as usize;
    let strings = word(4) + word(16);
    bytes[..2].reverse();
    bytes[4..strings].chunks_exact_mut(4).for_each(<[u8]>::reverse);
    bytes
}
