//! Numbers that are the same for the same seed on any machine.

use crate::trace::splitmix::splitmix64;

/// The `number`th number of a seed, by splitmix64.
#[must_use]
pub fn mixed(seed: u64, number: u64) -> u64 {
    splitmix64(seed.wrapping_add(number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15)))
}

/// Numbers one after the other.
#[derive(Debug, Clone)]
pub struct Random {
    seed: u64,
    number: u64,
}

impl Random {
    /// The `stream`th row of numbers of a seed. Rows do not depend on how many others are drawn from.
    #[must_use]
    pub fn new(seed: u64, stream: u64) -> Self {
        Self { seed: mixed(mixed(seed, 0), stream), number: 0 }
    }

    /// A number below `most`; 0 if there is none. Its bias is that of a division of 2^64, far below what is drawn.
    pub fn below(&mut self, most: usize) -> usize {
        let drawn = mixed(self.seed, self.number);
        self.number += 1;
        usize::try_from(drawn % (most.max(1) as u64)).unwrap_or(0)
    }

    /// One of these.
    pub fn one<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        of.get(self.below(of.len()))
    }

    /// Whether something happens that happens once in `times`.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_splitmix64() {
        // The first numbers of the reference implementation for the seed 1234567.
        let numbers: Vec<u64> = (0..3).map(|n| mixed(1_234_567, n)).collect();
        assert_eq!(numbers, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn rows_are_the_same_each_time_and_differ_from_each_other() {
        let row = |stream| -> Vec<usize> {
            let mut random = Random::new(7, stream);
            (0..20).map(|_| random.below(1000)).collect()
        };
        assert_eq!(row(1), row(1));
        assert_ne!(row(1), row(2));
        assert!(row(1).iter().all(|n| *n < 1000));
    }
}
