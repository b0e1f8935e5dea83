//! A histogram of unknown range in constant memory, exact under merging.
//!
//! ```text
//! width = 2^e      bin(x) = trunc(|x| / width) on the side of x's sign      e = max(floor(log2(max|x|)) - 11, -126)
//! ```
//!
//! e is the smallest exponent at which every magnitude falls into the first 4096 bins of its side. When a larger one comes, e grows and
//! neighbouring bins are added in pairs, which loses nothing that a histogram begun with the larger e would have had, because
//! trunc(trunc(a) / 2) = trunc(a / 2). So e and the counts are functions of the multiset of values: adding in any order and merging in
//! any order or grouping gives the same bits. Bins grow from 0 outwards, not by floor: with floor a negative value too small for its
//! quotient to be a float32 would change its bin with the order of adding, and a mirrored sample would not give a mirrored histogram.
//! The quotient, a multiplication by a power of two, is exact wherever it is 2^-126 or more, and below that its integer part is 0.
//!
//! Why 4096 a side: the larger side fills 2049 to 4096 of them, so an 8-bit step spans at least 8 bins without and 16 with a sign (the
//! error integrals of [`super::estimate`] need a few), TensorRT's entropy method has its 2048, and a site costs 64 KiB.
//!
//! Exact zeros are counted apart and are in no bin: after a ReLU they are half of all values, they have no error under any grid and say
//! nothing about a range.

use super::survey::Survey;

/// Bins on each side of 0.
pub(super) const SIDE: usize = 4096;
/// 2^12 bins hold 12 bits of a magnitude, so the largest has its leading bit in bin 2048 or above.
const LEADING_BIT: i32 = 11;
/// Finer bins than the smallest normal number are of no use: a scale must be normal.
pub(super) const MIN_EXPONENT: i32 = -126;

/// Counts of finite values.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram {
    /// Bin j of the positive side at `SIDE + j`, of the negative side at `SIDE - 1 - j`: ascending along the line.
    counts: Box<[u64; 2 * SIDE]>,
    exponent: i32,
    zeros: u64,
    count: u64,
    range: Option<(f32, f32)>,
}

/// An occupied bin of a [`Histogram`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bin {
    /// j of the bin [j w, (j + 1) w) of the positive side, -1 - j of the bin (-(j + 1) w, -j w] of the negative one.
    pub index: i32,
    /// Its lower end, or the smallest value where that is above it.
    pub low: f64,
    /// Its upper end, or the largest value where that is below it.
    pub high: f64,
    /// Values in it, zeros not counted.
    pub count: u64,
}

impl Histogram {
    /// Bins on each side of 0.
    pub const BINS_A_SIDE: usize = SIDE;
    /// The smallest exponent of the bin width, that of a histogram without a value other than 0.
    pub const FINEST_EXPONENT: i32 = MIN_EXPONENT;

    /// A histogram of nothing.
    pub fn new() -> Histogram {
        Histogram {
            counts: Box::new([0; 2 * SIDE]),
            exponent: MIN_EXPONENT,
            zeros: 0,
            count: 0,
            range: None,
        }
    }

    /// Of checked parts.
    pub(super) fn assemble(
        counts: Box<[u64; 2 * SIDE]>,
        exponent: i32,
        zeros: u64,
        range: Option<(f32, f32)>,
    ) -> Histogram {
        let count = zeros + counts.iter().sum::<u64>();
        Histogram {
            counts,
            exponent,
            zeros,
            count,
            range,
        }
    }

    /// Counts `values`, of which `seen` is the survey.
    pub(super) fn add(&mut self, values: &[f32], seen: &Survey) {
        let Some(range) = seen.range else { return };
        self.widen(range);
        let per_width = power_of_two(-self.exponent);
        let counts = &mut *self.counts;
        for &x in values {
            // Adding 0 turns -0 into 0.
            let bits = (x + 0.0).to_bits();
            let bin = (f32::from_bits(bits & 0x7fff_ffff) * per_width) as u32;
            // All ones for a negative value: bin ^ sign is then -1 - bin.
            let sign = ((bits as i32) >> 31) as u32;
            counts[(SIDE as u32).wrapping_add(bin ^ sign) as usize % (2 * SIDE)] += 1;
        }
        // One bin too many for each zero, but no branch in the loop.
        counts[SIDE] -= seen.zeros;
        self.zeros += seen.zeros;
        self.count += values.len() as u64;
    }

    /// Takes in what another histogram counted.
    pub fn merge(&mut self, other: &Histogram) {
        let Some(range) = other.range else { return };
        self.widen(range);
        let shift = shift(other.exponent, self.exponent);
        for j in 0..SIDE {
            self.counts[SIDE + (j >> shift)] += other.counts[SIDE + j];
            self.counts[SIDE - 1 - (j >> shift)] += other.counts[SIDE - 1 - j];
        }
        self.zeros += other.zeros;
        self.count += other.count;
    }

    /// How many values were counted, zeros included.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// How many of them were exactly 0.
    pub fn zeros(&self) -> u64 {
        self.zeros
    }

    /// The exact `(min, max)`; none of nothing.
    pub fn range(&self) -> Option<(f32, f32)> {
        self.range
    }

    /// e of the bin width 2^e.
    pub fn exponent(&self) -> i32 {
        self.exponent
    }

    /// The width of a bin.
    pub fn width(&self) -> f64 {
        f64::from(power_of_two(self.exponent))
    }

    /// The occupied bins in ascending order.
    pub fn bins(&self) -> impl Iterator<Item = Bin> {
        let width = self.width();
        let (min, max) = self.range.unwrap_or((0.0, 0.0));
        let occupied = self.counts.iter().enumerate().filter(|(_, c)| **c > 0);
        occupied.map(move |(position, &count)| {
            let index = position as i32 - SIDE as i32;
            Bin {
                index,
                low: (f64::from(index) * width).max(f64::from(min)),
                high: (f64::from(index + 1) * width).min(f64::from(max)),
                count,
            }
        })
    }

    /// Counts of the bins `-negative .. positive`, empty ones too.
    pub(super) fn dense(&self, negative: usize, positive: usize) -> &[u64] {
        &self.counts[SIDE - negative.min(SIDE)..SIDE + positive.min(SIDE)]
    }

    /// Makes room for values within `(low, high)`.
    fn widen(&mut self, (low, high): (f32, f32)) {
        let (min, max) = self.range.unwrap_or((low, high));
        let (min, max) = (min.min(low), max.max(high));
        self.range = Some((min, max));
        let exponent = exponent_of(min, max);
        let shift = shift(self.exponent, exponent);
        if shift > 0 {
            // From 0 outwards: a bin moves to one that was moved before it.
            for j in 0..SIDE {
                for (from, to) in [
                    (SIDE + j, SIDE + (j >> shift)),
                    (SIDE - 1 - j, SIDE - 1 - (j >> shift)),
                ] {
                    let count = std::mem::take(&mut self.counts[from]);
                    self.counts[to] += count;
                }
            }
        }
        self.exponent = exponent;
    }
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram::new()
    }
}

/// The exponent of the bin width for values within `min ..= max`.
pub(super) fn exponent_of(min: f32, max: f32) -> i32 {
    let largest = max.max(-min);
    // The biased exponent; 0 of a subnormal number, which the floor takes care of.
    ((largest.to_bits() >> 23) as i32 - 127 - LEADING_BIT).max(MIN_EXPONENT)
}

/// The bin of a value that fits.
pub(super) fn index_of(x: f32, exponent: i32) -> i32 {
    let bin = (x.abs() * power_of_two(-exponent)) as i32;
    if x < 0.0 { -1 - bin } else { bin }
}

/// 2^e for -126 <= e <= 127.
fn power_of_two(e: i32) -> f32 {
    f32::from_bits(((127 + e) as u32) << 23)
}

/// How far bins of width 2^from move to become bins of width 2^to, `to` not below `from`.
fn shift(from: i32, to: i32) -> u32 {
    // Past 12 every bin becomes the first one; an integer has no shift by 200.
    ((to - from) as u32).min(SIDE.ilog2())
}

/// The histogram of finite values, for tests.
#[cfg(test)]
pub(super) fn of(values: &[f32]) -> Histogram {
    let mut histogram = Histogram::new();
    histogram.add(values, &super::survey::survey(values).unwrap());
    histogram
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_lie_from_zero_outwards_and_zeros_are_in_none() {
        let h = of(&[0.0, -0.0, 1.0, 1.5, -1.0, -1.5, 2047.0, -2048.0, 4095.5]);
        assert_eq!((h.exponent(), h.zeros(), h.count()), (0, 2, 9));
        let bins: Vec<(i32, u64)> = h.bins().map(|bin| (bin.index, bin.count)).collect();
        assert_eq!(
            bins,
            [(-2049, 1), (-2, 2), (1, 2), (2047, 1), (4095, 1)],
            "-1 lies in bin 1 of the negative side, as 1 does in that of the positive one"
        );
    }

    #[test]
    fn the_outermost_bins_end_at_the_exact_ends() {
        let h = of(&[-3000.25, 4095.5, 7.0]);
        let bins: Vec<Bin> = h.bins().collect();
        assert_eq!((bins[0].low, bins[0].high), (-3000.25, -3000.0));
        assert_eq!((bins[1].low, bins[1].high), (7.0, 8.0));
        assert_eq!((bins[2].low, bins[2].high), (4095.0, 4095.5));
        let single = of(&[0.7, 0.7]);
        let bin = single.bins().next().unwrap();
        assert_eq!(
            (bin.low, bin.high),
            (f64::from(0.7_f32), f64::from(0.7_f32))
        );
    }

    #[test]
    fn an_outlier_a_million_times_larger_coarsens_the_bins_and_loses_no_value() {
        let small: Vec<f32> = (1..=1000).map(|k| k as f32 / 1000.0).collect();
        let mut h = of(&small);
        assert_eq!(h.exponent(), -11);
        h.merge(&of(&[1e6]));
        assert_eq!(h.exponent(), 8);
        assert_eq!(h.count(), 1001);
        assert_eq!(h.bins().map(|b| b.count).collect::<Vec<_>>(), [1000, 1]);
        let mut reversed = of(&[1e6]);
        reversed.merge(&of(&small));
        assert_eq!(h, reversed);
    }

    #[test]
    fn the_smallest_and_the_largest_numbers_have_bins() {
        let ends = [1e-45, -1e-45, f32::MAX, f32::MIN, f32::MIN_POSITIVE];
        let whole = of(&ends);
        assert_eq!(whole.exponent(), 116);
        let mut one_by_one = Histogram::new();
        for x in ends {
            one_by_one.merge(&of(&[x]));
        }
        assert_eq!(whole, one_by_one);
        let bins: Vec<(i32, u64)> = whole.bins().map(|bin| (bin.index, bin.count)).collect();
        assert_eq!(bins, [(-4096, 1), (-1, 1), (0, 2), (4095, 1)]);
        assert_eq!(of(&[1e-45, -1e-40]).exponent(), MIN_EXPONENT);
    }

    #[test]
    fn nothing_and_zeros_alone_have_the_finest_bins() {
        assert_eq!(of(&[]), Histogram::new());
        let zeros = of(&[0.0; 5]);
        assert_eq!(
            (zeros.exponent(), zeros.range()),
            (MIN_EXPONENT, Some((0.0, 0.0)))
        );
        assert_eq!(zeros.bins().count(), 0);
    }
}
