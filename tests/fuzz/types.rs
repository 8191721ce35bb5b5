//! BTF made by hand and BTF broken on purpose (`Documentation/bpf/btf.rst`).

use super::random::Random;

pub(crate) const INT: u32 = 1;
pub(crate) const PTR: u32 = 2;
pub(crate) const ARRAY: u32 = 3;
pub(crate) const STRUCT: u32 = 4;
pub(crate) const ENUM: u32 = 6;
pub(crate) const TYPEDEF: u32 = 8;
pub(crate) const CONST: u32 = 10;
pub(crate) const FUNC: u32 = 12;
pub(crate) const PROTO: u32 = 13;
pub(crate) const DECL_TAG: u32 = 17;
/// Length of a record before its tail, in bytes.
const RECORD: usize = 12;

/// Stand-alone BTF under construction, little-endian. Type ids count from 1.
pub(crate) struct Types {
    records: Vec<u8>,
    strings: Vec<u8>,
    pub(crate) count: u32,
}

impl Types {
    /// With `int` as type 1.
    pub(crate) fn new() -> Self {
        let mut types = Self { records: Vec::new(), strings: vec![0], count: 0 };
        let name = types.string(b"int");
        types.push(INT, name, 0, 4, &[0x0100_0020]);
        types
    }

    pub(crate) fn string(&mut self, bytes: &[u8]) -> u32 {
        let at = self.strings.len() as u32;
        self.strings.extend_from_slice(bytes);
        self.strings.push(0);
        at
    }

    /// Adds a record; its id.
    pub(crate) fn push(&mut self, kind: u32, name: u32, vlen: u32, word: u32, tail: &[u32]) -> u32 {
        for word in [name, kind << 24 | vlen, word].iter().chain(tail) {
            self.records.extend_from_slice(&word.to_le_bytes());
        }
        self.count += 1;
        self.count
    }

    /// A struct with members of these types, one after the other; without names if `name` is 0.
    pub(crate) fn structure(&mut self, name: u32, members: &[u32]) -> u32 {
        let tail: Vec<u32> = members.iter().flat_map(|id| [0, *id, 0]).collect();
        self.push(STRUCT, name, members.len() as u32, 1 << 20, &tail)
    }

    /// A prototype.
    pub(crate) fn proto(&mut self, returns: u32, parameters: &[u32]) -> u32 {
        let tail: Vec<u32> = parameters.iter().flat_map(|id| [0, *id]).collect();
        self.push(PROTO, 0, parameters.len() as u32, returns, &tail)
    }

    /// The section.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let (types, strings) = (self.records.len() as u32, self.strings.len() as u32);
        let mut bytes = vec![0x9f, 0xeb, 1, 0];
        for word in [24, 0, types, types, strings] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        bytes.extend_from_slice(&self.records);
        bytes.extend_from_slice(&self.strings);
        bytes
    }
}

/// BTF of a random shape that no compiler makes, of at most some thousand types.
pub(crate) fn hostile(random: &mut Random) -> Vec<u8> {
    let mut types = Types::new();
    let name = types.string(b"name");
    let size = 1 << (2 + random.below(9));
    match random.below(6) {
        // a chain of what has one reference
        0 => {
            let kind = *random.pick(&[PTR, TYPEDEF, CONST, 9, 11, 18]);
            let named = if matches!(kind, TYPEDEF | 18) { name } else { 0 };
            for id in 1..size {
                types.push(kind, named, 0, id, &[]);
            }
            let back = 1 + random.below(types.count as usize) as u32;
            types.push(kind, named, 0, if random.one_in(2) { types.count + 1 } else { back }, &[]);
        }
        // trees that share their branches: each level twice the one below
        1 => {
            let mut id = 1;
            for _ in 0..8 + random.below(60) {
                id = match random.below(3) {
                    0 => types.structure(0, &[id, id]),
                    1 => types.proto(id, &[id, id]),
                    _ => types.push(ARRAY, 0, 0, 0, &[id, 1, random.number(2) as u32]),
                };
                if random.one_in(3) {
                    id = types.push(PTR, 0, 0, id, &[]);
                }
            }
            types.structure(name, &[id, id]);
            types.push(TYPEDEF, name, 0, id, &[]);
            types.push(FUNC, name, 1, id, &[]);
        }
        // many that say the same, of which one is shared
        2 => {
            let shared = types.structure(0, &vec![1; 1 + random.below(200)]);
            let proto = types.proto(shared, &vec![shared; 1 + random.below(60)]);
            for _ in 0..size {
                match random.below(3) {
                    0 => types.push(FUNC, name, 1, proto, &[]),
                    1 => types.push(DECL_TAG, name, 0, proto, &[u32::MAX]),
                    _ => types.structure(name, &[shared, proto]),
                };
            }
        }
        // a name that many have, some in its middle
        3 => {
            let long = types.string(&vec![b'x'; random.below(6000)]);
            for at in 0..size {
                types.push(FUNC, long + at, 1, 1, &[]);
                types.push(PTR, 0, 0, types.count, &[]);
            }
        }
        // references to anything
        4 => {
            for _ in 0..size {
                let (kind, word) = (1 + random.below(19) as u32, random.below(size as usize + 4) as u32);
                let vlen = random.below(4) as u32;
                let each = match kind {
                    4 | 5 | 15 | 19 => 3 * vlen,
                    6 | 13 => 2 * vlen,
                    1 | 14 | 17 => 1,
                    3 => 3,
                    _ => 0,
                };
                let tail: Vec<u32> = (0..each).map(|_| random.below(size as usize + 4) as u32).collect();
                types.push(kind, if random.one_in(2) { name } else { 0 }, vlen, word, &tail);
            }
        }
        _ => {
            let tail: Vec<u32> = (0..2 * size).map(|n| if n % 2 == 0 { name } else { random.next() as u32 }).collect();
            types.push(ENUM, 0, size, 4, &tail);
        }
    }
    types.bytes()
}

/// Where records begin, as far as they can be told.
fn records(bytes: &[u8], big_endian: bool) -> Vec<(usize, usize)> {
    let word = |at: usize| word(bytes, at, big_endian).unwrap_or(0) as usize;
    let start = word(4).saturating_add(word(8));
    let end = start.saturating_add(word(12)).min(bytes.len());
    let (mut at, mut found) = (start, Vec::new());
    while at + RECORD <= end {
        let info = word(at + 4);
        let vlen = info & 0xff_ffff;
        let tail = match info >> 24 & 0x7f {
            1 | 14 | 17 => 4,
            3 => 12,
            4 | 5 | 15 | 19 => 12 * vlen,
            6 | 13 => 8 * vlen,
            _ => 0,
        };
        found.push((at, RECORD + tail));
        at += RECORD + tail;
    }
    found
}

fn word(bytes: &[u8], at: usize, big_endian: bool) -> Option<u32> {
    let word = bytes.get(at..at.checked_add(4)?)?.try_into().ok()?;
    Some(if big_endian { u32::from_be_bytes(word) } else { u32::from_le_bytes(word) })
}

/// Breaks BTF in place: header, records, references, names, strings.
pub(crate) fn mutate(bytes: &mut [u8], random: &mut Random) {
    let big_endian = bytes.starts_with(&[0xeb]);
    let put = |bytes: &mut [u8], at: usize, value: u32| {
        let value = if big_endian { value.to_be_bytes() } else { value.to_le_bytes() };
        if let Some(field) = bytes.get_mut(at..at + 4) {
            field.copy_from_slice(&value);
        }
    };
    let all = records(bytes, big_endian);
    if all.is_empty() || random.one_in(6) {
        let at = *random.pick(&[0, 4, 8, 12, 16, 20, 24, 28]);
        let near = word(bytes, at, big_endian).unwrap_or(0);
        let value = random.number(near.into()) as u32;
        return put(bytes, at, value);
    }
    let (own, (at, size)) = {
        let own = random.below(all.len());
        (own as u32 + 1, all[own])
    };
    // Ids of a split section go on after those of its base, of which there are few here.
    let id = match random.below(6) {
        0 => own,
        1 => own + 1,
        2 => all.len() as u32,
        3 => random.number(all.len() as u64) as u32,
        _ => random.below(all.len() * 3) as u32,
    };
    match random.below(8) {
        0 => put(bytes, at, random.number(size as u64) as u32),
        1 => {
            let kind = random.below(24) as u32;
            let info = word(bytes, at + 4, big_endian).unwrap_or(0);
            put(bytes, at + 4, info & 0x80ff_ffff | kind << 24);
        }
        2 => {
            let info = word(bytes, at + 4, big_endian).unwrap_or(0);
            put(bytes, at + 4, info & 0xff00_0000 | random.number(3) as u32 & 0xff_ffff);
        }
        3 => put(bytes, at + 4, random.next() as u32),
        4 | 5 if size > RECORD => put(bytes, at + RECORD + random.below((size - RECORD) / 4) * 4, id),
        6 => {
            // strings: the end of one, or of all
            let (head, offset) = (word(bytes, 4, big_endian).unwrap_or(0), word(bytes, 16, big_endian).unwrap_or(0));
            let from = (head as usize).saturating_add(offset as usize).min(bytes.len());
            let value = *random.pick(&[0, b'a', 0xff, 0x1b, b'\n', 0xc2]);
            let (many, skip) = (random.one_in(4), random.below(bytes.len() - from));
            bytes[from..]
                .iter_mut()
                .filter(|byte| **byte == 0 || !many)
                .skip(skip)
                .take(if many { 99 } else { 1 })
                .for_each(|byte| *byte = value);
        }
        _ => put(bytes, at + 8, id),
    }
}
