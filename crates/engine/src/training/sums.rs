//! Sums over many values: in float32 within 1024 of them, in sixteen interleaved parts; in float64 from there on, in order.

/// Values whose sum is made in float32.
pub(super) const RUN: usize = 1024;
/// Interleaved parts of it.
const LANES: usize = 16;
/// Terms that are put aside: whole rounds of the parts, and few, so that they are no work where there are fewer values.
const PART: usize = 64;

/// The interleaved parts of a run's sum.
#[derive(Clone, Copy)]
struct Lanes([f32; LANES]);

impl Lanes {
    #[inline(always)]
    fn new() -> Self {
        Self([0.0; LANES])
    }

    /// Adds the terms of some values, whose number is a multiple of sixteen but for the last.
    #[inline(always)]
    fn add(&mut self, x: &[f32], term: impl Fn(f32) -> f32) {
        let whole = x.chunks_exact(LANES);
        let rest = whole.remainder();
        for values in whole {
            for (lane, &x) in self.0.iter_mut().zip(values) {
                *lane += term(x);
            }
        }
        for (lane, &x) in self.0.iter_mut().zip(rest) {
            *lane += term(x);
        }
    }

    #[inline(always)]
    fn total(self) -> f64 {
        self.0.iter().map(|&lane| f64::from(lane)).sum()
    }
}

/// The sum of `term` over `x`.
#[inline(always)]
pub(super) fn sum_of(x: &[f32], term: impl Fn(f32) -> f32) -> f64 {
    let mut total = 0.0;
    for x in x.chunks(RUN) {
        let mut lanes = Lanes::new();
        lanes.add(x, &term);
        total += lanes.total();
    }
    total
}

/// The sums of some terms over pairs, likewise. The terms are put aside first: a loop that chooses between values and sums them does
/// not compile to vectors.
#[inline(always)]
pub(super) fn sums_of<const N: usize>(
    x: &[f32],
    y: &[f32],
    terms: impl Fn(f32, f32) -> [f32; N],
) -> [f64; N] {
    let mut total = [0.0; N];
    let mut aside = [[0.0; PART]; N];
    for (x, y) in x.chunks(RUN).zip(y.chunks(RUN)) {
        let mut lanes = [Lanes::new(); N];
        for (x, y) in x.chunks(PART).zip(y.chunks(PART)) {
            for (i, (&x, &y)) in x.iter().zip(y).enumerate() {
                let terms = terms(x, y);
                for n in 0..N {
                    aside[n][i] = terms[n];
                }
            }
            for (lanes, terms) in lanes.iter_mut().zip(&aside) {
                lanes.add(&terms[..x.len()], |term| term);
            }
        }
        for (total, lanes) in total.iter_mut().zip(lanes) {
            *total += lanes.total();
        }
    }
    total
}
