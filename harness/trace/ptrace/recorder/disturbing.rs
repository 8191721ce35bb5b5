//! What a recorder does to the command beside telling of it: steps begin late, and directories list their names the other way
//! round. Interruptions are next door.

use std::fs::File;
use std::time::Duration;

use libc::{c_int, pid_t};

use super::super::interrupter::Interrupter;
use super::super::names::directory;
use super::super::{Next, memory, unreadable};
use super::{Pending, Recorder};
use crate::trace::Disturb;
use crate::trace::splitmix::splitmix64;

/// How late a step begins at most.
const LATEST: u64 = 50;

impl Recorder {
    /// The same, and this is done to the command, of whose group what is killed for want of memory is counted there.
    pub(in super::super) fn disturbing(mut self, disturb: Disturb, counts: Option<File>) -> Self {
        let Disturb { interrupt, delays, reversed, group: _ } = disturb;
        self.interrupter = interrupt.map(Interrupter::new);
        (self.delays, self.reversed, self.counts) = (delays, reversed, counts);
        self
    }

    /// A task is about to list a directory: whether it has to stop when it has.
    pub(super) fn listing(&mut self, task: pid_t, args: &[u64; 6]) -> Option<Next> {
        if !self.reversed {
            return None;
        }
        let path = directory(&format!("/proc/{task}/fd/{}", args[0] as c_int)).ok().flatten()?;
        if !self.files.is_own(&path) {
            return None;
        }
        self.pending.insert(task, Pending::List(args[1]));
        Some(Next::Return)
    }

    /// A task has got so many bytes of names.
    pub(super) fn reverse(&mut self, task: pid_t, address: u64, length: i64) {
        let turned = memory::bytes(task, address, usize::try_from(length).unwrap_or(0))
            .and_then(|names| memory::write(task, address, &reversed(&names)));
        if let Err(error) = turned {
            unreadable(self, task, "the names in a directory", &error);
        }
    }
}

/// What getdents64(2) gives, the other way round. Where each entry says that the next ones are (`d_off`) stays in order: who goes
/// on from there meets none twice.
fn reversed(names: &[u8]) -> Vec<u8> {
    let mut entries = Vec::new();
    let mut left = names;
    // struct linux_dirent64 and struct linux_dirent: an inode number and an offset of eight bytes each, then the length.
    while let Some(length) = left.get(16..18) {
        let length = usize::from(u16::from_ne_bytes([length[0], length[1]]));
        let Some((entry, rest)) = left.split_at_checked(length).filter(|(entry, _)| entry.len() >= 18) else { break };
        entries.push(entry);
        left = rest;
    }
    let offsets: Vec<&[u8]> = entries.iter().map(|entry| &entry[8..16]).collect();
    let turned = entries.iter().rev().zip(offsets);
    let mut turned: Vec<u8> = turned.flat_map(|(entry, offset)| [&entry[..8], offset, &entry[16..]].concat()).collect();
    turned.extend(left);
    turned
}

/// How late a step begins: by its command, so that it is the same whenever make comes to it (FNV-1a, mixed by splitmix64).
pub(super) fn delay(seed: u32, command: &str) -> Duration {
    let hash = command.bytes().fold(0xcbf2_9ce4_8422_2325_u64 ^ u64::from(seed), |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    Duration::from_millis(splitmix64(hash) % (LATEST + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, offset: u64) -> Vec<u8> {
        let mut entry = [7_u64.to_ne_bytes(), offset.to_ne_bytes()].concat();
        let length = (19 + name.len() + 1).next_multiple_of(8);
        entry.extend(u16::try_from(length).unwrap().to_ne_bytes());
        entry.push(libc::DT_REG);
        entry.extend(name.as_bytes());
        entry.resize(length, 0);
        entry
    }

    #[test]
    fn names_come_the_other_way_round_and_offsets_do_not() {
        let names = [entry("a", 1), entry("a-longer-name", 2), entry("c", 9)].concat();
        let turned = [entry("c", 1), entry("a-longer-name", 2), entry("a", 9)].concat();
        assert_eq!(reversed(&names), turned);
        assert_eq!(reversed(&turned), names);
        for cut in 0..names.len() {
            assert_eq!(reversed(&names[..cut]).len(), cut);
        }
        assert_eq!(reversed(&[0; 40]), [0; 40]);
    }

    #[test]
    fn a_step_is_as_late_each_time_and_seeds_are_others() {
        let late = |seed| ["CC a.o", "CC b.o", "CC c.o"].map(|command| delay(seed, command));
        assert_eq!(late(1), late(1));
        assert_ne!(late(1), late(2));
        let most = (0..1000).map(|seed| delay(seed, "x").as_millis()).max();
        assert_eq!(most, Some(u128::from(LATEST)));
    }
}
