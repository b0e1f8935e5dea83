//! The loop over one group, written for the vectorizer, with the bits of the scalar reference, [`QParams::quantize`].
//!
//! The quotient is clamped to one step outside the codes first (rounding is monotone and keeps integers, so clamping before or after
//! is the same), and what is left is small enough to be rounded by adding and subtracting 1.5 * 2^23, which rounds half to even by
//! itself and needs no instruction past SSE2, where the library's `round_ties_even` would be a call per element.

use crate::rounding::uniform;
use crate::{QParams, Rounding};

/// Writes values and codes of one group whose first element has the flat index `start`; returns how many were clamped.
pub(crate) fn quantize_group(
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
        x.extend((0..500).map(|i| (uniform(1, i) - 0.5) * 70_000.0));
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
                for (i, y) in q.fake_quant_all(&x, rounding).iter().enumerate() {
                    let alone = q.fake_quant(x[i], rounding, i as u64);
                    assert_eq!(y.to_bits(), alone.to_bits(), "{q:?} {rounding} {}", x[i]);
                }
            }
        }
    }
}
