//! The tensor twin: equations (1) and (2) on a burn tensor, by the operations of its device, with the values of the slice version
//! element for element (tested on the portable CPU device; a GPU's division may be rounded otherwise).
//!
//! No straight-through gradient: on an autodiff device the derivative of rounding is 0. [`crate::qat::fake_quant`] has one that trains.

use burn::tensor::{Tensor, TensorData};

use crate::rounding::uniform;
use crate::{Error, Granularity, Layout, QParams, Rounding};

/// The fake-quantized `x` (float32, any device). `params` has one entry per group of `x`'s shape under `granularity`, in the order of
/// [`Layout::groups`], as [`crate::Quantized::params`] has; a group with `scale` 0 passes through unchanged.
///
/// # Errors
/// [`Error::GroupCount`] when `params` has another length, [`Error::MixedCodes`] when its entries differ in their codes' bounds.
pub fn fake_quant<const D: usize>(
    x: Tensor<D>,
    params: &[QParams],
    granularity: Granularity,
    rounding: Rounding,
) -> Result<Tensor<D>, Error> {
    let shape = x.dims();
    let layout = Layout::new(&shape, granularity);
    if params.len() != layout.group_count() {
        return Err(Error::GroupCount {
            found: params.len(),
            expected: layout.group_count(),
        });
    }
    let Some(first) = params.first() else {
        return Ok(x);
    };
    let bounds = (first.quant_min, first.quant_max);
    if let Some(other) = params.iter().find(|q| (q.quant_min, q.quant_max) != bounds) {
        return Err(Error::MixedCodes {
            first: bounds,
            other: (other.quant_min, other.quant_max),
        });
    }
    let (width, group) = (layout.channel_len(), layout.group_len());
    let channels = layout.len() / width;
    let per_channel = layout.groups_per_channel();
    // Groups of equal length are the rows of a matrix; a short last group makes a matrix of its own.
    let whole = width / group;
    let split = whole * group;
    let draws = draws(&x, rounding).map(|draws| draws.reshape([channels, width]));
    let x = x.reshape([channels, width]);
    let block = |columns: std::ops::Range<usize>, row: usize, groups: std::ops::Range<usize>| {
        let cut = |t: &Tensor<2>| {
            let rows = channels * columns.len() / row;
            t.clone()
                .slice([0..channels, columns.clone()])
                .reshape([rows, row])
        };
        let params: Vec<QParams> = params
            .iter()
            .enumerate()
            .filter(|(i, _)| groups.contains(&(i % per_channel)))
            .map(|(_, q)| *q)
            .collect();
        rows(cut(&x), &params, rounding, draws.as_ref().map(cut)).reshape([channels, columns.len()])
    };
    let mut parts = vec![block(0..split, group, 0..whole)];
    if split < width {
        parts.push(block(split..width, width - split, whole..per_channel));
    }
    let y = if parts.len() == 1 {
        parts.swap_remove(0)
    } else {
        Tensor::cat(parts, 1)
    };
    Ok(y.reshape(shape))
}

/// Row i of `x` under `params[i]`.
fn rows(
    x: Tensor<2>,
    params: &[QParams],
    rounding: Rounding,
    draws: Option<Tensor<2>>,
) -> Tensor<2> {
    let device = x.device();
    let column = |values: Vec<f32>| {
        Tensor::<2>::from_data(TensorData::new(values, [params.len(), 1]), &device)
    };
    // A group that stays in float is divided by 1 and overwritten below: no 0/0 on the way.
    let scale = column(
        params
            .iter()
            .map(|q| if q.is_float() { 1.0 } else { q.scale })
            .collect(),
    );
    let zero_point = column(params.iter().map(|q| q.zero_point as f32).collect());
    let steps = round(x.clone() / scale.clone(), rounding, draws);
    let codes =
        (steps + zero_point.clone()).clamp(params[0].quant_min as f32, params[0].quant_max as f32);
    let y = (codes - zero_point) * scale;
    if params.iter().all(|q| !q.is_float()) {
        return y;
    }
    let is_float = column(
        params
            .iter()
            .map(|q| f32::from(u8::from(q.is_float())))
            .collect(),
    );
    let mask = is_float.greater_equal_scalar(0.5).expand(y.dims());
    y.mask_where(mask, x)
}

fn round(v: Tensor<2>, rounding: Rounding, draws: Option<Tensor<2>>) -> Tensor<2> {
    match (rounding, draws) {
        // Half to even is what burn's `round` is defined as.
        (Rounding::HalfEven, _) => v.round(),
        (Rounding::HalfAway, _) => {
            // Not floor(|v| + 0.5): the sum rounds, and 0.49999997 would become 1.
            let toward_zero = v.clone().trunc();
            let away = (v.clone() - toward_zero.clone())
                .abs()
                .greater_equal_scalar(0.5)
                .float();
            toward_zero + away * v.sign()
        }
        (Rounding::Stochastic { .. }, Some(draws)) => {
            let below = v.clone().floor();
            let up = (v - below.clone()).greater(draws).float();
            below + up
        }
        (Rounding::Floor | Rounding::Stochastic { .. }, _) => v.floor(),
    }
}

/// The uniform draws of `stochastic`, hashed on the host so that every device sees the same ones.
fn draws<const D: usize>(x: &Tensor<D>, rounding: Rounding) -> Option<Tensor<D>> {
    let Rounding::Stochastic { seed } = rounding else {
        return None;
    };
    let shape = x.dims();
    let draws: Vec<f32> = (0..shape.iter().product::<usize>() as u64)
        .map(|i| uniform(seed, i))
        .collect();
    Some(Tensor::from_data(
        TensorData::new(draws, shape),
        &x.device(),
    ))
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::{Bits, CodeRange, Mapping, RangeMethod, Scheme, Values, quantize};

    const SHAPE: [usize; 4] = [3, 5, 2, 2];

    /// Numbers over several magnitudes, with ties, both zeros, and a channel of zeros.
    fn sample() -> Vec<f32> {
        let mut x: Vec<f32> = (0..60)
            .map(|i| (uniform(8, i) - 0.4) * 10f32.powi((i % 4) as i32 - 2))
            .collect();
        x[..7].copy_from_slice(&[0.0, -0.0, 0.5, -0.5, 1.5, -2.5, 1e-9]);
        x[40..].fill(0.0);
        x
    }

    fn on_device(x: &[f32]) -> Tensor<4> {
        Tensor::from_data(TensorData::new(x.to_vec(), SHAPE), &Device::flex())
    }

    #[test]
    fn the_twin_gives_the_bits_of_the_slice_version() {
        let x = sample();
        let group = |size| Granularity::named("group", Some(size)).unwrap();
        let roundings = [
            Rounding::HalfEven,
            Rounding::HalfAway,
            Rounding::Floor,
            Rounding::Stochastic { seed: 4 },
        ];
        let mut schemes: Vec<Scheme> = Bits::all().map(Scheme::linear).collect();
        for bits in Bits::all().skip(1) {
            for mapping in Mapping::ALL {
                for codes in CodeRange::ALL {
                    for granularity in [
                        Granularity::Tensor,
                        Granularity::Channel,
                        group(6),
                        group(7),
                        group(20),
                    ] {
                        for range in [RangeMethod::MinMax, RangeMethod::Percentile(90.0)] {
                            let rounding = Rounding::HalfEven;
                            schemes.push(
                                Scheme::new(bits, mapping, codes, granularity, range, rounding)
                                    .unwrap(),
                            );
                        }
                    }
                }
            }
        }
        for (scheme, rounding) in schemes
            .iter()
            .flat_map(|s| roundings.map(|r| (s.with_rounding(r), r)))
        {
            let slice = quantize(&Values::new("x", &x, &SHAPE).unwrap(), &scheme);
            let twin =
                fake_quant(on_device(&x), &slice.params, scheme.granularity(), rounding).unwrap();
            let twin = twin.into_data().try_to_vec::<f32>().unwrap();
            for (i, (a, b)) in slice.values.iter().zip(&twin).enumerate() {
                assert_eq!(
                    a.to_bits(),
                    b.to_bits(),
                    "{scheme}: element {i}, {} became {a} and {b}",
                    x[i]
                );
            }
        }
    }

    #[test]
    fn parameters_that_do_not_fit_the_shape_are_refused() {
        let q = QParams {
            scale: 1.0,
            zero_point: 0,
            quant_min: -7,
            quant_max: 7,
        };
        let x = || on_device(&sample());
        let run = |params: &[QParams]| {
            fake_quant(x(), params, Granularity::Channel, Rounding::HalfEven).err()
        };
        assert_eq!(
            run(&[q]),
            Some(Error::GroupCount {
                found: 1,
                expected: 3
            })
        );
        let other = QParams { quant_min: -8, ..q };
        assert_eq!(
            run(&[q, q, other]),
            Some(Error::MixedCodes {
                first: (-7, 7),
                other: (-8, 7)
            })
        );
    }
}
