//! What the range methods ask of values, answered by a histogram of them: percentiles, the error under a grid, the window that tells most.
//!
//! The values of a bin count as spread evenly over it, zeros as exact; minimum and maximum are exact. A percentile (the definition of
//! [`crate::range::percentile`]) is then within one bin width of that of the values, and for an 8-bit grid a bin is at most 1/8 of a step.

use super::histogram::Histogram;
use super::integral::ErrorIntegral;
use crate::QParams;
use crate::maths::power;
use crate::range::entropy;

/// Values in ascending order, known up to a bin.
pub(super) struct Line {
    pieces: Vec<Piece>,
    count: u64,
}

struct Piece {
    low: f64,
    high: f64,
    count: u64,
}

impl Line {
    /// The values themselves.
    pub(super) fn new(histogram: &Histogram) -> Line {
        let piece = |bin: super::Bin| Piece {
            low: bin.low,
            high: bin.high,
            count: bin.count,
        };
        let negative = histogram.bins().filter(|bin| bin.index < 0).map(piece);
        let positive = histogram.bins().filter(|bin| bin.index >= 0).map(piece);
        Line {
            pieces: negative.chain(zeros(histogram)).chain(positive).collect(),
            count: histogram.count(),
        }
    }

    /// The percentile: linear between the values of the two ranks around (n - 1) * percent / 100. 0 of nothing.
    pub(super) fn percentile(&self, percent: f64) -> f32 {
        let Some(last) = self.count.checked_sub(1) else {
            return 0.0;
        };
        let rank = last as f64 * percent / 100.0;
        let below = (rank.floor() as u64).min(last);
        let (low, high) = (self.value(below), self.value((below + 1).min(last)));
        (low + (rank - below as f64) * (high - low)) as f32
    }

    /// As [`crate::range::error_sum::error_sum`] of the values: sum |(x - y) / unit|^exponent, or something above `enough`.
    pub(super) fn error_sum(&self, q: &QParams, unit: f32, exponent: f64, enough: f64) -> f64 {
        let error = ErrorIntegral::new(q, exponent);
        let factor = power(f64::from(q.scale) / f64::from(unit), exponent);
        let mut sum = 0.0;
        let mut end = (0.0, error.at(0.0));
        for piece in &self.pieces {
            // Neighbouring bins share an end.
            let start = if piece.low == end.0 {
                end
            } else {
                (piece.low, error.at(piece.low))
            };
            end = (piece.high, error.at(piece.high));
            sum += piece.count as f64 * error.mean(start, end) * factor;
            if sum > enough {
                break;
            }
        }
        sum
    }

    /// The value of a rank below `count`; the first and the last are exact.
    fn value(&self, rank: u64) -> f64 {
        let mut first = 0;
        for piece in &self.pieces {
            let inside = rank - first;
            if inside < piece.count {
                return if rank + 1 == self.count {
                    piece.high
                } else if rank == 0 {
                    piece.low
                } else {
                    let share = (inside as f64 + 0.5) / piece.count as f64;
                    piece.low + (piece.high - piece.low) * share
                };
            }
            first += piece.count;
        }
        0.0
    }
}

/// The magnitudes of the values.
pub(super) fn magnitudes(histogram: &Histogram) -> Line {
    let (min, max) = histogram
        .range()
        .map_or((0.0, 0.0), |(min, max)| (f64::from(min), f64::from(max)));
    let (smallest, largest) = (min.max(-max).max(0.0), max.max(-min));
    let width = histogram.width();
    let side = Histogram::BINS_A_SIDE;
    let both = histogram.dense(side, side);
    let pieces = (0..side)
        .map(|j| (j as f64, both[side + j] + both[side - 1 - j]))
        .filter(|(_, count)| *count > 0)
        .map(|(j, count)| Piece {
            low: (j * width).max(smallest),
            high: ((j + 1.0) * width).min(largest),
            count,
        });
    Line {
        pieces: zeros(histogram).into_iter().chain(pieces).collect(),
        count: histogram.count(),
    }
}

/// The window inside `lo <= 0 <= hi`, which holds every value, of least divergence ([`crate::range::entropy`]), from the bins as they
/// are instead of 2048 over the range. Exact zeros are left out: every grid has a code for them, and a bin that holds half of all values
/// would outweigh all others (NVIDIA's pytorch-quantization sets the count of its first bin to that of the second for this reason).
pub(super) fn shrink(histogram: &Histogram, (lo, hi): (f32, f32), levels: usize) -> (f32, f32) {
    let bins = |end: f32| match end {
        0.0 => 0,
        end => (f64::from(end.abs()) / histogram.width()) as usize + 1,
    };
    let (negative, positive) = (bins(lo), bins(hi));
    let counts = histogram.dense(negative, positive);
    let factor = entropy::best_factor(counts, negative as f64, levels);
    (
        (f64::from(lo) * factor) as f32,
        (f64::from(hi) * factor) as f32,
    )
}

fn zeros(histogram: &Histogram) -> Option<Piece> {
    (histogram.zeros() > 0).then_some(Piece {
        low: 0.0,
        high: 0.0,
        count: histogram.zeros(),
    })
}
