//! Bits by the closed form of Lin et al. (Fixed point quantization of deep convolutional networks, 2016, section 3.4).
//!
//! ```text
//! 10 log10 SQNR_i(b) = kappa b + c_i                                                                (1)
//! minimise  sum_i rho_i b_i    subject to    sum_i 1/SQNR_i <= 1/SQNR_min
//!     =>    b_i = beta - (10/kappa) log10 rho_i                                                     (2)
//! ```
//!
//! The noise through signal of layers adds up; `rho_i` is what a bit of layer or site `i` costs. The paper has (2) for one distribution of
//! all layers, so that `c_i` is the same and drops out; `kappa`, 6.02 dB a bit for uniform values and less for a bell, is here the slope
//! of (1) by least squares over all that was measured, each layer with its own `c_i`. Bits are rounded to the nearest that can be had,
//! half down, and `beta` is the largest that meets the budget.

use super::Measured;
use super::cost::Cost;
use super::knobs::{Assignment, Kind, Knobs};

/// Of uniform values: a bit halves the step.
const UNIFORM: f64 = 6.020_599_913_279_624;

/// `kappa` of (1), in dB a bit; none where nothing lost anything, or where more bits did not lose less.
pub fn kappa(measured: &Measured, kind: Kind) -> Option<f64> {
    let rows = measured.rows.iter();
    let lossy = rows.filter(|row| row.kind == kind && row.own_noise > 0.0);
    let points: Vec<(&str, f64, f64)> = lossy
        .map(|row| {
            let sqnr = -10.0 * row.own_noise.log10();
            (row.name.as_str(), f64::from(row.bits), sqnr)
        })
        .collect();
    let (mut products, mut squares) = (0.0, 0.0);
    for &(name, bits, sqnr) in &points {
        let own = points.iter().filter(|(other, ..)| *other == name);
        let sums = own.fold([0.0; 3], |sums, &(_, bits, sqnr)| {
            [sums[0] + 1.0, sums[1] + bits, sums[2] + sqnr]
        });
        let from_mean = bits - sums[1] / sums[0];
        products += from_mean * (sqnr - sums[2] / sums[0]);
        squares += from_mean * from_mean;
    }
    let slope = products / squares;
    (slope.is_finite() && slope > 0.0).then_some(slope)
}

/// (2) for what is open in `part`; none where the fewest bits exceed the budget.
pub(super) fn closed_form(
    part: &Knobs,
    measured: &Measured,
    (cost, budget): (Cost, u64),
    so_far: &Assignment,
) -> Option<Assignment> {
    let mut now = part.fewest();
    if part.cost(cost, &now, so_far) > budget {
        return None;
    }
    // Where beta raises a choice by a step: halfway between its bits, further up where a bit costs more.
    let mut steps: Vec<(f64, usize)> = Vec::new();
    for knob in part.free() {
        let kappa = kappa(measured, part.names(knob).0).unwrap_or(UNIFORM);
        let mut below = part.fewest();
        let mut bits = part.bits_of(knob, &below)?;
        while let Some(above) = part.stepped(&below, knob, true) {
            let more = part.bits_of(knob, &above)?;
            let costs = [&below, &above].map(|own| part.cost(cost, own, so_far) as f64);
            let each = (costs[1] - costs[0]) / f64::from(more - bits);
            let middle = f64::from(bits + more) / 2.0;
            steps.push((middle + 10.0 / kappa * each.log10(), knob));
            (below, bits) = (above, more);
        }
    }
    // Stable: of equal ones the first in the network.
    steps.sort_by(|a, b| a.0.total_cmp(&b.0));
    for (_, knob) in steps {
        let raised = part.stepped(&now, knob, true)?;
        if part.cost(cost, &raised, so_far) > budget {
            break;
        }
        now = raised;
    }
    Some(now)
}
