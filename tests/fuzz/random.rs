//! Numbers that look like chance and are the same at every run.

use kbuild_repro::trace::splitmix::splitmix64;

/// SplitMix64 (Steele, Lea, Flood, 2014): any seed will do.
#[derive(Debug, Clone)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// Of an execution: its corpus file, the seed of the run, and its number.
    pub(crate) fn of(file: &str, seed: u64, number: u64) -> Self {
        let name = file.bytes().fold(seed, |sum, byte| sum.wrapping_mul(0x0100_0000_01b3) ^ u64::from(byte));
        let mut random = Self(name ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        random.next();
        random
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        splitmix64(self.0)
    }

    /// Less than `limit`, or 0.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    /// Once in `n` times.
    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn pick<'t, T>(&mut self, of: &'t [T]) -> &'t T {
        &of[self.below(of.len())]
    }

    /// A number that hurts: an edge of some width, near `near`, or any.
    pub(crate) fn number(&mut self, near: u64) -> u64 {
        let power = 1u64 << self.below(64);
        match self.below(10) {
            0 => 0,
            1 => 1,
            2 => u64::MAX,
            3 => power,
            4 => power.wrapping_sub(1),
            5 => near.wrapping_add(self.below(17) as u64).wrapping_sub(8),
            6 => near.wrapping_mul(2),
            7 => u64::from(u32::MAX) - self.below(9) as u64,
            8 => self.below(1 << 12) as u64,
            _ => self.next(),
        }
    }
}
