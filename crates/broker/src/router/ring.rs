//! Consistent hashing: each target owns as many buckets of a ring as its weight says.
//!
//! Invariant: buckets are numbered from 0 without holes, in the order their targets came. Adding a target
//! moves only what goes to it (jump consistent hash); removing one moves the buckets behind it.

use super::target::Target;
use imbl::OrdMap;

/// A weight above this counts as this.
pub(crate) const WEIGHT_MAX: u64 = u32::MAX as u64;

#[derive(Clone, Debug, Default)]
pub(crate) struct HashRing {
    /// First bucket of each target.
    starts: OrdMap<u64, Target>,
    places: OrdMap<Target, Place>,
    bucket_count: u64,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    start: u64,
    weight: u64,
}

impl HashRing {
    /// Gives `target` buckets at the end, unless it has some.
    pub(crate) fn insert(&mut self, target: &Target, weight: u64) {
        if self.places.contains_key(target) {
            return;
        }
        let place = Place { start: self.bucket_count, weight: weight.clamp(1, WEIGHT_MAX) };
        self.starts.insert(place.start, target.clone());
        self.places.insert(target.clone(), place);
        self.bucket_count += place.weight;
    }

    /// The weight `target` has.
    pub(crate) fn weight(&self, target: &Target) -> Option<u64> {
        self.places.get(target).map(|place| place.weight)
    }

    /// The first bucket and the weight that `target` has.
    pub(crate) fn place(&self, target: &Target) -> Option<(u64, u64)> {
        self.places.get(target).map(|place| (place.start, place.weight))
    }

    pub(crate) fn remove(&mut self, target: &Target) {
        let Some(gone) = self.places.remove(target) else { return };
        self.starts.remove(&gone.start);
        let behind: Vec<(u64, Target)> =
            self.starts.range(gone.start..).map(|(start, target)| (*start, target.clone())).collect();
        for (start, target) in behind {
            self.starts.remove(&start);
            if let Some(place) = self.places.get_mut(&target) {
                place.start -= gone.weight;
            }
            self.starts.insert(start - gone.weight, target);
        }
        self.bucket_count -= gone.weight;
    }

    /// The target that owns the bucket of `value`.
    pub(crate) fn pick(&self, value: &[u8]) -> Option<&Target> {
        let bucket = jump(hash(value), self.bucket_count)?;
        self.starts.get_prev(&bucket).map(|(_, target)| target)
    }
}

/// 64-bit FNV-1a with a final mix, since neighbouring keys differ in few bits.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    let mut hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

/// Jump consistent hash (Lamping and Veach, 2014): a bucket below `count`.
fn jump(mut key: u64, count: u64) -> Option<u64> {
    if count == 0 {
        return None;
    }
    let (mut bucket, mut next) = (0u64, 0u64);
    while next < count {
        bucket = next;
        key = key.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(1);
        let scale = (1u64 << 31) as f64 / ((key >> 33) + 1) as f64;
        next = ((bucket + 1) as f64 * scale) as u64;
    }
    Some(bucket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::QueueId;

    fn owner(ring: &HashRing, key: u32) -> u64 {
        match ring.pick(&key.to_be_bytes()) {
            Some(Target::Queue(id)) => id.0,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn shares_follow_weights_and_stay() {
        let mut ring = HashRing::default();
        assert!(ring.pick(b"k").is_none());
        ring.insert(&Target::Queue(QueueId(1)), 1);
        ring.insert(&Target::Queue(QueueId(2)), 3);
        let before: Vec<u64> = (0..8000).map(|key| owner(&ring, key)).collect();
        let first = before.iter().filter(|&&id| id == 1).count();
        assert!((1800..2200).contains(&first), "{first}");
        ring.insert(&Target::Queue(QueueId(3)), 1);
        for key in 0..8000u32 {
            let now = owner(&ring, key);
            assert!(now == before[key as usize] || now == 3);
        }
        ring.remove(&Target::Queue(QueueId(3)));
        assert!((0..8000u32).all(|key| owner(&ring, key) == before[key as usize]));
        ring.remove(&Target::Queue(QueueId(1)));
        assert!((0..100).all(|key| owner(&ring, key) == 2));
    }
}
