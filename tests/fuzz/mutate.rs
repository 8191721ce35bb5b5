//! Mutants of a file: some by what ELF and BTF are, some by chance.

use super::corpus::File;
use super::random::Random;
use super::{elf, types};

/// No mutant is longer than this, in bytes.
const LONGEST: usize = 1 << 20;

/// A mutant of a corpus file.
pub(crate) fn mutant(file: &File, all: &[File], random: &mut Random) -> Vec<u8> {
    let mut bytes = file.bytes.clone();
    for _ in 0..=random.below(5) {
        match random.below(8) {
            0..=5 if elf::mutate(&mut bytes, random) => {}
            0..=5 if matches!(bytes.get(..2), Some([0x9f, 0xeb] | [0xeb, 0x9f])) => {
                if random.one_in(20) {
                    bytes = types::hostile(random);
                }
                types::mutate(&mut bytes, random);
            }
            6 if random.one_in(4) => splice(&mut bytes, &random.pick(all).bytes, random),
            _ => blind(&mut bytes, random),
        }
    }
    bytes.truncate(LONGEST);
    bytes
}

/// A range of at most 4 KiB, mostly far less.
fn range(length: usize, random: &mut Random) -> std::ops::Range<usize> {
    let most = *random.pick(&[4, 16, 64, 4096]);
    let start = random.below(length);
    start..(start + 1 + random.below(most)).min(length)
}

/// Another file from some place on, or a piece of it.
fn splice(bytes: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    let at = random.below(bytes.len());
    if random.one_in(2) {
        bytes.truncate(at);
        bytes.extend_from_slice(&other[random.below(other.len())..]);
    } else {
        let piece = range(other.len(), random);
        let end = (at + piece.len()).min(bytes.len());
        bytes.splice(at..end, other[piece].iter().copied());
    }
}

fn blind(bytes: &mut Vec<u8>, random: &mut Random) {
    if bytes.is_empty() {
        return bytes.push(random.next() as u8);
    }
    let at = random.below(bytes.len());
    match random.below(9) {
        0 => bytes[at] ^= 1 << random.below(8),
        1 => bytes[at] = random.next() as u8,
        2 | 3 => {
            let width = *random.pick(&[2, 4, 8]);
            let at = at / width * width;
            let value = random.number(bytes.len() as u64);
            let (big, little) = (value.to_be_bytes(), value.to_le_bytes());
            let value = if random.one_in(3) { &big[8 - width..] } else { &little[..width] };
            if let Some(field) = bytes.get_mut(at..at + width) {
                field.copy_from_slice(value);
            }
        }
        4 => bytes.truncate(at),
        5 => drop(bytes.drain(range(bytes.len(), random))),
        6 => {
            let copy = bytes[range(bytes.len(), random)].to_vec();
            bytes.splice(at..at, copy);
        }
        7 => {
            let (one, other) = (range(bytes.len(), random), range(bytes.len(), random));
            let copy = bytes[one.clone()].to_vec();
            let length = one.len().min(other.len());
            bytes.copy_within(other.start..other.start + length, one.start);
            bytes[other.start..other.start + length].copy_from_slice(&copy[..length]);
        }
        _ => {
            let filled = range(bytes.len(), random);
            bytes[filled].fill(*random.pick(&[0, 0xff, b'A']));
        }
    }
}
