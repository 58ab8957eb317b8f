//! All chance of a play, from its seed.
//!
//! Invariant: the same seed gives the same numbers in the same order.

use std::cell::Cell;
use std::time::Duration;

/// Numbers from a seed (splitmix64).
pub struct Dice(Cell<u64>);

impl Dice {
    /// From a seed.
    pub fn new(seed: u64) -> Dice {
        Dice(Cell::new(seed))
    }

    /// Any number.
    pub fn any(&self) -> u64 {
        let state = self.0.get().wrapping_add(0x9E37_79B9_7F4A_7C15);
        self.0.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `sides`; 0 when there are none.
    pub fn below(&self, sides: usize) -> usize {
        let sides = u64::try_from(sides.max(1)).unwrap_or(u64::MAX);
        usize::try_from(self.any() % sides).unwrap_or(0)
    }

    /// True in so many of a thousand cases.
    pub fn permille(&self, share: u32) -> bool {
        self.any() % 1_000 < u64::from(share)
    }

    /// A time between two, milliseconds, the second excepted.
    pub fn ms(&self, from: u64, to: u64) -> Duration {
        let micros = from * 1_000 + self.any() % ((to.max(from + 1) - from) * 1_000);
        Duration::from_micros(micros)
    }

    /// One of a list.
    pub fn one<'a, T>(&self, list: &'a [T]) -> Option<&'a T> {
        list.get(self.below(list.len()))
    }
}
