//! Numbers that look like chance and are the same on any machine.

/// What splitmix64 gives for a state (<https://prng.di.unimi.it/splitmix64.c>); the state itself goes on by 0x9e3779b97f4a7c15.
#[must_use]
pub fn splitmix64(state: u64) -> u64 {
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
