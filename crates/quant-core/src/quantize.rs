//! A tensor quantized: codes, the numbers they stand for, the parameters, and for each group whether it was quantized at all.
//!
//! The loop over a group is written for the vectorizer and gives the bits of the scalar reference, [`QParams::quantize`]: the
//! quotient is clamped to one step outside the codes first (rounding is monotone, so clamping before or after is the same), and
//! what is left is small enough to be rounded by adding and subtracting 1.5 * 2^23, which rounds half to even by itself.

use crate::fit::fit;
use crate::rounding::uniform;
use crate::{Layout, QParams, Reason, Rounding, Scheme, Values};

/// What happened to one group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It was quantized.
    Quantized {
        /// How many of its values the clamp changed.
        saturated: usize,
    },
    /// It was left in float, its values unchanged, its codes 0 and its `scale` 0.
    Float(Reason),
}

/// A quantized tensor.
#[derive(Debug, Clone, PartialEq)]
pub struct Quantized {
    /// The number that stands for each element.
    pub values: Vec<f32>,
    /// Its code (0 in a group that was left in float).
    pub codes: Vec<i32>,
    /// The parameters of each group, in order; `scale` 0 where the group was left in float.
    pub params: Vec<QParams>,
    /// What happened to each group, in the same order.
    pub outcomes: Vec<Outcome>,
    /// Which elements belong to which group.
    pub layout: Layout,
    /// Elements per group (the last group of a channel may be short).
    pub group_len: usize,
    /// How many values the clamp changed, over all groups.
    pub saturated: usize,
    /// The scheme.
    pub scheme: Scheme,
}

impl Quantized {
    /// How many groups were left in float.
    pub fn float_groups(&self) -> usize {
        self.outcomes
            .iter()
            .filter(|o| matches!(o, Outcome::Float(_)))
            .count()
    }

    /// Whether at least one group was quantized.
    pub fn is_quantized(&self) -> bool {
        self.float_groups() < self.outcomes.len()
    }

    /// Why the first group that was left in float was.
    pub fn first_reason(&self) -> Option<Reason> {
        self.outcomes.iter().find_map(|outcome| match outcome {
            Outcome::Float(reason) => Some(*reason),
            Outcome::Quantized { .. } => None,
        })
    }
}

/// Quantizes `values` under `scheme`.
pub fn quantize(values: &Values, scheme: &Scheme) -> Quantized {
    let data = values.data();
    let layout = Layout::new(values.shape(), scheme.granularity());
    let mut out = Quantized {
        values: data.to_vec(),
        codes: vec![0; data.len()],
        params: Vec::with_capacity(layout.group_count()),
        outcomes: Vec::with_capacity(layout.group_count()),
        layout,
        group_len: layout.group_len(),
        saturated: 0,
        scheme: *scheme,
    };
    let (quant_min, quant_max) = scheme.quant_bounds();
    for range in layout.groups() {
        let start = range.start as u64;
        let group = &data[range.clone()];
        let (params, outcome) = match fit(group, scheme) {
            Ok(params) => {
                let (values, codes) = (&mut out.values[range.clone()], &mut out.codes[range]);
                let saturated =
                    quantize_group(&params, scheme.rounding(), start, group, values, codes);
                out.saturated += saturated;
                (params, Outcome::Quantized { saturated })
            }
            Err(reason) => (
                QParams {
                    scale: 0.0,
                    zero_point: 0,
                    quant_min,
                    quant_max,
                },
                Outcome::Float(reason),
            ),
        };
        out.params.push(params);
        out.outcomes.push(outcome);
    }
    out
}

/// The parameters that [`quantize`] uses, one per group, without the values: `scale` 0 where a group is left in float.
pub fn parameters(values: &Values, scheme: &Scheme) -> Vec<QParams> {
    let (quant_min, quant_max) = scheme.quant_bounds();
    let float = QParams {
        scale: 0.0,
        zero_point: 0,
        quant_min,
        quant_max,
    };
    let groups = Layout::new(values.shape(), scheme.granularity()).groups();
    groups
        .map(|range| fit(&values.data()[range], scheme).unwrap_or(float))
        .collect()
}

/// Writes values and codes of one group whose first element has the flat index `start`; returns how many were clamped.
fn quantize_group(
    q: &QParams,
    rounding: Rounding,
    start: u64,
    x: &[f32],
    y: &mut [f32],
    codes: &mut [i32],
) -> usize {
    let low = i64::from(q.quant_min) - i64::from(q.zero_point);
    let high = i64::from(q.quant_max) - i64::from(q.zero_point);
    // Past this the trick below is not exact. Only `linear` gets there, on a range far from 0.
    const LIMIT: i64 = 1 << 21;
    if low < -LIMIT || high > LIMIT {
        return reference_group(q, rounding, start, x, y, codes);
    }
    let bounds = (low as f32, high as f32);
    match rounding {
        Rounding::HalfEven => fast_group(q, bounds, x, y, codes, |v, _| nearest(v)),
        Rounding::HalfAway => fast_group(q, bounds, x, y, codes, |v, _| {
            let magnitude = v.abs();
            let below = floor(magnitude);
            (below + if magnitude - below >= 0.5 { 1.0 } else { 0.0 }).copysign(v)
        }),
        Rounding::Floor => fast_group(q, bounds, x, y, codes, |v, _| floor(v)),
        Rounding::Stochastic { seed } => fast_group(q, bounds, x, y, codes, |v, i| {
            let below = floor(v);
            below
                + if uniform(seed, start + i as u64) < v - below {
                    1.0
                } else {
                    0.0
                }
        }),
    }
}

/// The loop for one rounding rule. `bounds`: the codes' ends less the zero point.
#[inline]
fn fast_group(
    q: &QParams,
    bounds: (f32, f32),
    x: &[f32],
    y: &mut [f32],
    codes: &mut [i32],
    round: impl Fn(f32, usize) -> f32,
) -> usize {
    let (low, high) = bounds;
    let (outside_low, outside_high) = (low - 1.0, high + 1.0);
    let mut saturated = 0;
    // Blocks keep the count in 32 bits, the width of the other lanes.
    const BLOCK: usize = 4096;
    let blocks = x
        .chunks(BLOCK)
        .zip(y.chunks_mut(BLOCK))
        .zip(codes.chunks_mut(BLOCK));
    for (block, ((x, y), codes)) in blocks.enumerate() {
        let mut clipped = 0_u32;
        for (i, ((&x, y), code)) in x.iter().zip(y).zip(codes).enumerate() {
            let v = x / q.scale;
            let v = if v < outside_low { outside_low } else { v };
            let v = if v > outside_high { outside_high } else { v };
            let steps = round(v, block * BLOCK + i);
            clipped += u32::from(steps < low) + u32::from(steps > high);
            let steps = if steps < low { low } else { steps };
            let steps = if steps > high { high } else { steps };
            // Adding 0 turns -0 into 0, as the way through an integer does.
            *y = q.scale * (steps + 0.0);
            *code = small_integer(steps) + q.zero_point;
        }
        saturated += clipped as usize;
    }
    saturated
}

/// The same, element by element through the reference.
fn reference_group(
    q: &QParams,
    rounding: Rounding,
    start: u64,
    x: &[f32],
    y: &mut [f32],
    codes: &mut [i32],
) -> usize {
    let mut saturated = 0;
    for (i, ((&x, y), code)) in x.iter().zip(y).zip(codes).enumerate() {
        let index = start + i as u64;
        *code = q.quantize(x, rounding, index);
        *y = q.dequantize(*code);
        saturated += usize::from(q.saturates(x, rounding, index));
    }
    saturated
}

/// 1.5 * 2^23: the spacing of float32 around it is 1, and stays 1 for 2^22 to either side.
const MAGIC: f32 = 12_582_912.0;

/// Half to even, for |v| below 2^22.
#[inline]
pub(crate) fn nearest(v: f32) -> f32 {
    (v + MAGIC) - MAGIC
}

/// The floor, for |v| below 2^22.
#[inline]
fn floor(v: f32) -> f32 {
    let near = nearest(v);
    near - if near > v { 1.0 } else { 0.0 }
}

/// An integral `v` below 2^22 in magnitude as an integer; unlike a cast, it has no case of saturation to look after.
#[inline]
fn small_integer(v: f32) -> i32 {
    (v + MAGIC).to_bits() as i32 - MAGIC.to_bits() as i32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Bits, CodeRange, Granularity, Mapping, RangeMethod};

    const ROUNDINGS: [Rounding; 4] = [
        Rounding::HalfEven,
        Rounding::HalfAway,
        Rounding::Floor,
        Rounding::Stochastic { seed: 5 },
    ];

    #[test]
    fn the_fast_loop_gives_the_bits_of_the_reference() {
        let mut x: Vec<f32> = (-9000..9000).map(|k| k as f32 / 16.0).collect();
        x.extend([
            0.0,
            -0.0,
            0.499_999_97,
            -0.499_999_97,
            1e-30,
            -1e-30,
            1e30,
            -1e30,
            f32::MAX,
            f32::MIN,
        ]);
        x.extend((0..500).map(|i| (crate::rounding::uniform(1, i) - 0.5) * 70_000.0));
        for (scale, zero_point, quant_min, quant_max) in [
            (1.0, 0, -127, 127),
            (0.25, 3, 0, 255),
            (0.3, -70_000, 0, 65_535),
            (1e-3, 9, 0, 15),
            (2.0, 0, -1, 0),
        ] {
            let q = QParams {
                scale,
                zero_point,
                quant_min,
                quant_max,
            };
            for rounding in ROUNDINGS {
                let mut fast = (vec![0.0; x.len()], vec![0; x.len()]);
                let mut slow = fast.clone();
                let clipped = quantize_group(&q, rounding, 11, &x, &mut fast.0, &mut fast.1);
                assert_eq!(
                    clipped,
                    reference_group(&q, rounding, 11, &x, &mut slow.0, &mut slow.1)
                );
                assert_eq!(fast.1, slow.1, "{q:?} {rounding}");
                for (i, (a, b)) in fast.0.iter().zip(&slow.0).enumerate() {
                    assert_eq!(a.to_bits(), b.to_bits(), "{q:?} {rounding} {}", x[i]);
                }
            }
        }
    }

    #[test]
    fn a_range_far_from_zero_is_quantized_by_the_letter_of_linear() {
        // The zero point is past 2^24 here, where float32 addition rounds; the formula of the preset is the rule all the same.
        let w = [65_536.0, 65_536.008, 65_536.016, 65_536.023_f32];
        let values = Values::new("w", &w, &[4]).unwrap();
        let linear = Scheme::linear(Bits::new(10).unwrap());
        let out = quantize(&values, &linear);
        let (lo, hi) = (w[0], w[3]);
        let s = (hi - lo) / 1023.0;
        let z = (-lo / s).round_ties_even();
        assert!(z.abs() > 16_777_216.0);
        for (x, y) in w.iter().zip(&out.values) {
            let q = ((x / s).round_ties_even() + z).max(0.0).min(1023.0);
            assert_eq!(*y, s * (q - z));
        }
    }

    #[test]
    fn each_group_says_whether_it_was_quantized() {
        let w = [0.0, 0.0, 1.0, -3.0, 0.0, 0.5];
        let values = Values::new("w", &w, &[3, 2]).unwrap();
        let bits = Bits::new(3).unwrap();
        let scheme = Scheme::new(
            bits,
            Mapping::Symmetric,
            CodeRange::Narrow,
            Granularity::Channel,
            RangeMethod::MinMax,
            Rounding::HalfEven,
        )
        .unwrap();
        let out = quantize(&values, &scheme);
        assert_eq!(out.outcomes[0], Outcome::Float(Reason::AllZero));
        assert_eq!(out.outcomes[1], Outcome::Quantized { saturated: 0 });
        assert_eq!(
            (out.float_groups(), out.is_quantized(), out.first_reason()),
            (1, true, Some(Reason::AllZero))
        );
        assert_eq!(out.codes, [0, 0, 1, -3, 0, 3]);
        assert_eq!(out.params, parameters(&values, &scheme));
        assert!(out.params[0].is_float());
    }
}
