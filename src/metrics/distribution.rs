//! A histogram of whole numbers with its exact sum: latencies in microseconds, sizes, counts.
//!
//! In:   one number a time, any size.
//! Out:  counts by bucket, quantiles, sum.
//! Home: pure, owned by one shard; about 20 KiB each.
//!
//! Invariants
//!   D1  Numbers above [`VALUE_MAX`] count as that; nothing is dropped.
//!   D2  Quantiles are right to 1 part in 100.

use hdrhistogram::Histogram;

/// Greatest number told apart: a minute in microseconds, and well above any batch count.
pub const VALUE_MAX: u64 = 60_000_000;
/// Decimal digits of a number that are kept.
const DIGITS: u8 = 2;

/// Counts of numbers by size.
#[derive(Clone, Debug, PartialEq)]
pub struct Distribution {
    histogram: Histogram<u64>,
    sum: u64,
}

impl Default for Distribution {
    fn default() -> Distribution {
        let histogram = Histogram::new_with_bounds(1, VALUE_MAX, DIGITS);
        Distribution { histogram: histogram.expect("constant, legal bounds"), sum: 0 }
    }
}

impl Distribution {
    /// Counts `value` once.
    pub fn record(&mut self, value: u64) {
        self.histogram.saturating_record(value.min(VALUE_MAX));
        self.sum = self.sum.saturating_add(value);
    }

    /// How many numbers were recorded.
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// Their sum, exact until 64 bits are full.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// The least recorded number that at least `quantile` (0.0 to 1.0) of all do not pass; 0 if
    /// there is none.
    pub fn quantile(&self, quantile: f64) -> u64 {
        self.histogram.value_at_quantile(quantile)
    }

    /// The greatest recorded number; 0 if there is none.
    pub fn max(&self) -> u64 {
        if self.histogram.is_empty() { 0 } else { self.histogram.max() }
    }

    /// Adds what `other` counted.
    pub fn merge(&mut self, other: &Distribution) {
        let added = self.histogram.add(&other.histogram);
        added.expect("all distributions have the same bounds");
        self.sum = self.sum.saturating_add(other.sum);
    }

    /// How many numbers lie in each bucket: up to and including `bounds[i]` but above the one
    /// before, and last those above all bounds. `bounds` ascend.
    pub fn buckets(&self, bounds: &[u64]) -> Vec<u64> {
        assert!(bounds.is_sorted(), "bounds ascend");
        let mut counts = vec![0; bounds.len() + 1];
        for step in self.histogram.iter_recorded() {
            let value = step.value_iterated_to();
            let place = bounds.partition_point(|&bound| bound < value);
            counts[place] += step.count_at_value();
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_fall_into_their_buckets() {
        let mut distribution = Distribution::default();
        for value in [0, 1, 99, 100, 101, 5_000, u64::MAX] {
            distribution.record(value);
        }
        assert_eq!(distribution.buckets(&[1, 100, 1_000]), [2, 2, 1, 2]);
        assert_eq!(distribution.count(), 7);
        assert_eq!(distribution.sum(), u64::MAX, "saturates");
    }

    #[test]
    fn merging_adds() {
        let (mut left, mut right) = (Distribution::default(), Distribution::default());
        (1..=50).for_each(|value| left.record(value));
        (51..=100).for_each(|value| right.record(value));
        left.merge(&right);
        assert_eq!(left.count(), 100);
        assert_eq!(left.sum(), 5_050);
        assert_eq!(left.quantile(0.5), 50);
        assert_eq!(left.max(), 100);
        assert_eq!(Distribution::default().max(), 0);
    }
}
