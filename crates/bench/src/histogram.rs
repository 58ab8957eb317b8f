//! Latencies in logarithmic buckets: constant memory, and a bounded error of a value.
//!
//! Invariant: a value and the upper bound of its bucket differ by at most 1/256 of the value, from 0 ns to
//! `u64::MAX` ns; minimum and maximum are exact.

/// Each power of two is cut into this many buckets.
const STEPS: u64 = 256;
const STEPS_LOG2: u32 = STEPS.ilog2();
const BUCKETS: usize = ((64 - STEPS_LOG2 as usize) + 1) * STEPS as usize;

#[derive(Debug, Clone)]
pub struct Histogram {
    counts: Box<[u64]>,
    count: u64,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS].into_boxed_slice(), count: 0, max: 0 }
    }
}

/// Values below `STEPS` have a bucket each; above, the top bits choose it.
fn bucket(value: u64) -> usize {
    if value < STEPS {
        return value as usize;
    }
    let shift = value.ilog2() - STEPS_LOG2;
    let step = (value >> shift) - STEPS;
    (STEPS + u64::from(shift) * STEPS + step) as usize
}

/// The largest value of a bucket.
fn bucket_max(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < STEPS {
        return bucket;
    }
    let shift = (bucket - STEPS) / STEPS;
    let step = (bucket - STEPS) % STEPS;
    ((STEPS + step) << shift) + ((1 << shift) - 1)
}

impl Histogram {
    pub fn record(&mut self, value: u64) {
        self.record_many(value, 1);
    }

    /// The same value several times.
    pub fn record_many(&mut self, value: u64, times: u64) {
        self.counts[bucket(value)] += times;
        self.count += times;
        self.max = self.max.max(value);
    }

    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.count += other.count;
        self.max = self.max.max(other.max);
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    pub fn max(&self) -> u64 {
        self.max
    }

    /// The smallest recorded value (to bucket precision) that at least this share of all values do not exceed.
    pub fn quantile(&self, share: f64) -> u64 {
        let rank = ((share * self.count as f64).ceil() as u64).clamp(1, self.count.max(1));
        let mut seen = 0;
        for (at, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return bucket_max(at).min(self.max);
            }
        }
        self.max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_in_order_and_close() {
        let mut values: Vec<u64> = (0..5000).collect();
        for power in 12..64 {
            let base = 1_u64 << power;
            values.extend([base - 1, base, base + 1, base + base / 3]);
        }
        values.push(u64::MAX);
        values.sort_unstable();
        let mut previous = 0;
        for value in values {
            let at = bucket(value);
            assert!(at >= previous && at < BUCKETS, "{value} is in bucket {at}");
            let bound = bucket_max(at);
            assert!(bound >= value, "{value} is above its bucket's bound {bound}");
            assert!(bound - value <= value / STEPS, "{value} is far from {bound}");
            previous = at;
        }
    }

    #[test]
    fn each_bucket_ends_where_the_next_begins() {
        for at in 0..BUCKETS - 1 {
            assert_eq!(bucket(bucket_max(at)), at);
            assert_eq!(bucket(bucket_max(at) + 1), at + 1);
        }
    }

    #[test]
    fn quantiles_of_a_known_row() {
        let mut histogram = Histogram::default();
        for value in (1..=1000).rev() {
            histogram.record(value * 1000);
        }
        for (share, exact) in [(0.5, 500_000_u64), (0.95, 950_000), (0.99, 990_000), (0.999, 999_000)] {
            let found = histogram.quantile(share);
            assert!(found >= exact && found - exact <= exact / STEPS, "{share}: {found}, exactly {exact}");
        }
        assert_eq!(histogram.quantile(1.0), 1_000_000);
        assert_eq!((histogram.max(), histogram.count()), (1_000_000, 1000));
    }

    #[test]
    fn one_value_is_every_quantile() {
        let mut histogram = Histogram::default();
        histogram.record(123_456_789);
        for share in [0.0, 0.5, 0.999, 1.0] {
            assert_eq!(histogram.quantile(share), 123_456_789);
        }
    }

    #[test]
    fn an_empty_one_is_zero() {
        assert_eq!(Histogram::default().quantile(0.99), 0);
    }

    #[test]
    fn merging_is_recording_everything_in_one() {
        let (mut left, mut right, mut all) =
            (Histogram::default(), Histogram::default(), Histogram::default());
        for value in 0..3000_u64 {
            let value = value * value;
            if value % 3 == 0 {
                left.record(value)
            } else {
                right.record(value)
            }
            all.record(value);
        }
        left.merge(&right);
        for share in [0.1, 0.5, 0.9, 0.999] {
            assert_eq!(left.quantile(share), all.quantile(share));
        }
        assert_eq!((left.count(), left.max()), (all.count(), all.max()));
    }
}
