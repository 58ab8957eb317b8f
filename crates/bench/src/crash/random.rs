//! Numbers from a seed: the plan of a run, and the bodies of its messages.
//!
//! Invariant: the same seed gives the same numbers on every machine.

use std::ops::Range;

#[derive(Debug, Clone)]
pub struct Random {
    state: u64,
}

impl Random {
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// A stream of its own for each combination of numbers.
    pub fn of(seed: u64, parts: &[u64]) -> Self {
        let mut random = Self::new(seed);
        for part in parts {
            random.state = random.next() ^ part;
        }
        random
    }

    /// The splitmix64 sequence.
    pub fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut value = self.state;
        value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        value ^ (value >> 31)
    }

    /// A number of the range; its start when the range is empty.
    pub fn within(&mut self, range: Range<u64>) -> u64 {
        range.start + self.next() % range.end.saturating_sub(range.start).max(1)
    }

    pub fn percent(&mut self, chance: u64) -> bool {
        self.within(0..100) < chance
    }

    pub fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(count + 8);
        while bytes.len() < count {
            bytes.extend_from_slice(&self.next().to_be_bytes());
        }
        bytes.truncate(count);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_a_sequence() {
        let numbers = |mut random: Random| (0..5).map(|_| random.next()).collect::<Vec<_>>();
        assert_eq!(numbers(Random::new(7)), numbers(Random::new(7)));
        assert_ne!(numbers(Random::of(7, &[1, 2])), numbers(Random::of(7, &[2, 1])));
        assert_eq!(Random::new(0).next(), 0xE220_A839_7B1D_CDAF, "the published first value");
    }

    #[test]
    fn ranges_hold() {
        let mut random = Random::new(1);
        assert!((0..1000).all(|_| (3..9).contains(&random.within(3..9))));
        assert!((0..1000).all(|_| (0.0..1.0).contains(&random.fraction())));
        assert_eq!(random.within(5..5), 5);
        assert_eq!(random.bytes(13).len(), 13);
    }
}
