//! The range whose quantized histogram tells the most: the Kullback-Leibler method of TensorRT (Migacz, GTC 2017), for signed weights.
//!
//! TensorRT bins |x| of an activation. Weights have two sides, so here the histogram spans the whole range with 2048 bins, [lo, hi]
//! of an affine group and [-max|x|, max|x|] of a signed one, and a candidate is that window shrunk towards 0 by k/128, k = 128 down to
//! 1, as long as it has at least one bin per level. For each candidate
//!
//! ```text
//! P = the bins of the window, what lies outside added to its first and its last bin
//! Q = the bins of the window without that, merged into the levels, each level's count spread evenly over its bins that P fills
//! KL(P, Q) = sum P log2(P / Q), both scaled to sum 1
//! ```
//!
//! and the window of least divergence wins, on a tie the larger. Exact zeros are in no bin, as in calibration: every grid has a code
//! for them, and the bin that holds the nine tenths of a pruned tensor would decide alone. A level that holds outliers only counts as 1e-4 values. From 2^b
//! levels >= 2048 on (11 bits) only the whole range is left, and a group of a few hundred values, whose bins hold one value each, ends
//! near its whole range as well: the method is for tensors and large groups.
//!
//! Cost: Q is constant over a level's filled bins, so a candidate costs two logarithms per level, not one per bin.

use std::sync::LazyLock;

use crate::maths::log2;

const BINS: usize = 2048;
const WINDOWS: usize = 128;
const EMPTY_LEVEL: f64 = 1e-4;

/// `(lo, hi)` of the best window inside `lo <= 0 <= hi`, which holds every value.
pub(crate) fn window(group: &[f32], lo: f32, hi: f32, levels: usize) -> (f32, f32) {
    let (lo64, width) = (f64::from(lo), f64::from(hi) - f64::from(lo));
    let mut counts = [0_u64; BINS];
    let per_unit = BINS as f64 / width;
    for &x in group.iter().filter(|&&x| x != 0.0) {
        counts[(((f64::from(x) - lo64) * per_unit) as usize).min(BINS - 1)] += 1;
    }
    let factor = best_factor(&counts, -lo64 * per_unit, levels);
    ((lo64 * factor) as f32, (f64::from(hi) * factor) as f32)
}

/// What to multiply the ends of a histogram with. `negative` of its bins lie below 0, a number that need not be whole: a window shrinks
/// towards the number 0, not towards the middle.
pub(crate) fn best_factor(counts: &[u64], negative: f64, levels: usize) -> f64 {
    let bins = counts.len();
    let histogram = Totals::new(counts);
    let mut best = (f64::INFINITY, 1.0);
    for k in (1..=WINDOWS).rev() {
        let factor = k as f64 / WINDOWS as f64;
        let first = (negative * (1.0 - factor)).round() as usize;
        let last = bins - ((bins as f64 - negative) * (1.0 - factor)).round() as usize;
        if k < WINDOWS && last - first < levels {
            break;
        }
        let divergence = histogram.divergence(first, last, levels.min(last - first));
        if divergence < best.0 {
            best = (divergence, factor);
        }
    }
    best.1
}

/// Counts with their running totals; entry i is over the bins below i.
struct Totals<'a> {
    counts: &'a [u64],
    count: Vec<u64>,
    filled: Vec<u64>,
    /// sum c log2 c.
    information: Vec<f64>,
}

impl Totals<'_> {
    fn new(counts: &[u64]) -> Totals<'_> {
        let (mut count, mut filled, mut information) = (vec![0], vec![0], vec![0.0]);
        for (i, &c) in counts.iter().enumerate() {
            count.push(count[i] + c);
            filled.push(filled[i] + u64::from(c > 0));
            information.push(information[i] + c_log_c(c));
        }
        Totals {
            counts,
            count,
            filled,
            information,
        }
    }

    /// KL(P, Q) in bits of the window of bins `first..last`.
    fn divergence(&self, first: usize, last: usize, levels: usize) -> f64 {
        let all = self.count[self.counts.len()];
        let inside = self.count[last] - self.count[first];
        if inside == 0 {
            return f64::INFINITY;
        }
        let (below, above) = (self.count[first], all - self.count[last]);
        // sum P log P: as in the histogram, but for the two bins that take the outliers.
        let edge =
            |bin: usize, more: u64| c_log_c(self.counts[bin] + more) - c_log_c(self.counts[bin]);
        let own = self.information[last] - self.information[first]
            + edge(first, below)
            + edge(last - 1, above);
        let mut cross = 0.0;
        let width = last - first;
        let mut from = first;
        for level in 0..levels {
            let to = first + (level + 1) * width / levels;
            let q = self.count[to] - self.count[from];
            let mut p = q;
            let mut filled = self.filled[to] - self.filled[from];
            if level == 0 && below > 0 {
                p += below;
                filled += u64::from(self.counts[from] == 0);
            }
            if level == levels - 1 && above > 0 {
                p += above;
                filled += u64::from(self.counts[to - 1] == 0);
            }
            if p > 0 {
                let log_q = if q == 0 {
                    log2(EMPTY_LEVEL)
                } else {
                    log2_of_count(q)
                };
                cross += p as f64 * (log_q - log2_of_count(filled));
            }
            from = to;
        }
        (own - cross) / all as f64 - log2(all as f64) + log2(inside as f64)
    }
}

fn c_log_c(count: u64) -> f64 {
    if count > 1 {
        count as f64 * log2_of_count(count)
    } else {
        0.0
    }
}

/// log2 of a count above 0. Most counts are small, and the search asks for hundreds of thousands of them per group.
fn log2_of_count(count: u64) -> f64 {
    static SMALL: LazyLock<Vec<f64>> =
        LazyLock::new(|| (0..4096).map(|c| log2(f64::from(c.max(1)))).collect());
    SMALL
        .get(count as usize)
        .copied()
        .unwrap_or_else(|| log2(count as f64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rounding::uniform;

    /// The definition in the header, bin by bin.
    fn plain_divergence(counts: &[u64], first: usize, last: usize, levels: usize) -> f64 {
        let mut p: Vec<f64> = counts[first..last].iter().map(|&c| c as f64).collect();
        let inside = p.clone();
        p[0] += counts[..first].iter().sum::<u64>() as f64;
        *p.last_mut().unwrap() += counts[last..].iter().sum::<u64>() as f64;
        let mut q = vec![0.0; p.len()];
        for level in 0..levels {
            let bins = level * p.len() / levels..(level + 1) * p.len() / levels;
            let filled = p[bins.clone()].iter().filter(|&&c| c > 0.0).count() as f64;
            let mass: f64 = inside[bins.clone()].iter().sum();
            for bin in bins.filter(|&bin| p[bin] > 0.0) {
                q[bin] = mass.max(EMPTY_LEVEL) / filled;
            }
        }
        let (p_sum, q_sum): (f64, f64) = (p.iter().sum(), inside.iter().sum());
        p.iter()
            .zip(&q)
            .filter(|(p, _)| **p > 0.0)
            .map(|(p, q)| p / p_sum * ((p / p_sum) / (q / q_sum)).log2())
            .sum()
    }

    fn bell(n: u64, scale: f32) -> Vec<f32> {
        (0..n)
            .map(|i| scale * ((0..12).map(|k| uniform(5, 12 * i + k)).sum::<f32>() - 6.0))
            .collect()
    }

    #[test]
    fn running_totals_give_the_divergence_of_the_definition() {
        let counts: Vec<u64> = (0..BINS as u64)
            .map(|i| (uniform(9, i) * 6.0) as u64)
            .collect();
        let histogram = Totals::new(&counts);
        for (first, last, levels) in [
            (0, BINS, 255),
            (0, BINS, 16),
            (100, 1900, 15),
            (1, 700, 255),
            (900, 1200, 3),
        ] {
            let (fast, plain) = (
                histogram.divergence(first, last, levels),
                plain_divergence(&counts, first, last, levels),
            );
            assert!(
                (fast - plain).abs() < 1e-9,
                "{first} {last} {levels}: {fast} {plain}"
            );
        }
    }

    #[test]
    fn an_outlier_is_cut_and_a_uniform_range_is_kept() {
        let mut x = bell(50_000, 1.0);
        x.push(40.0);
        let (lo, hi) = window(&x, -40.0, 40.0, 255);
        assert!(hi < 10.0 && hi > 3.0 && lo == -hi, "{hi}");
        let even: Vec<f32> = (0..50_000).map(|i| uniform(2, i) * 2.0 - 1.0).collect();
        assert!(window(&even, -1.0, 1.0, 255).1 > 0.95);
    }

    #[test]
    fn pruned_weights_get_the_window_of_those_that_are_left() {
        let left = bell(20_000, 1.0);
        let mut pruned = vec![0.0; 9 * left.len()];
        pruned.extend(&left);
        for levels in [3, 15, 255] {
            assert_eq!(
                window(&pruned, -6.0, 6.0, levels),
                window(&left, -6.0, 6.0, levels),
                "{levels}"
            );
        }
        let error = |scale: f32| -> f64 {
            let off = |&x: &f32| {
                f64::from((x / scale).round_ties_even().clamp(-127.0, 127.0) * scale - x)
            };
            pruned.iter().map(|x| off(x).powi(2)).sum()
        };
        let (cut, whole) = (window(&pruned, -6.0, 6.0, 255).1, 6.0);
        assert!(error(cut / 127.0) < 4.0 * error(whole / 127.0), "{cut}");
    }

    #[test]
    fn with_as_many_levels_as_bins_the_whole_range_is_left() {
        let x = bell(5000, 1.0);
        assert_eq!(window(&x, -6.0, 6.0, 4096), (-6.0, 6.0));
        assert_eq!(window(&[3.0], 0.0, 3.0, 255), (0.0, 3.0));
    }
}
