//! Values against the slice version, gradients against finite differences (and in `tests/golden.rs` against PyTorch).

use burn::tensor::{Device, Tensor, TensorData};

use super::*;
use crate::{
    ActivationRange, ActivationScheme, Bits, CodeRange, Granularity, Mapping, QParams, RangeMethod,
    Rounding, Scheme, Values, quantize, uniform,
};

const SHAPE: [usize; 4] = [3, 4, 2, 2];

/// Ties, both zeros, and numbers over several magnitudes.
fn sample() -> Vec<f32> {
    let mut x: Vec<f32> = (0..48)
        .map(|i| (uniform(8, i) - 0.4) * 10f32.powi((i % 4) as i32 - 2))
        .collect();
    x[..8].copy_from_slice(&[0.0, -0.0, 0.5, -0.5, 1.5, -2.5, 1e-9, -1e-9]);
    x
}

fn leaf<const D: usize>(x: &[f32], shape: [usize; D]) -> Tensor<D> {
    let device = Device::flex().autodiff();
    Tensor::from_data(TensorData::new(x.to_vec(), shape), &device).require_grad()
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec().unwrap()
}

fn learned(params: &[QParams], learns: Learns) -> Grid {
    let column = |f: fn(&QParams) -> f32| {
        let data: Vec<f32> = params.iter().map(f).collect();
        leaf(&data, [data.len()])
    };
    Grid {
        scale: column(|q| q.scale),
        zero_point: Some(column(|q| q.zero_point as f32)),
        quant_min: params[0].quant_min,
        quant_max: params[0].quant_max,
        learns,
    }
}

#[test]
fn training_sees_the_bits_of_the_simulation_whatever_is_learned() {
    let x = sample();
    for bits in Bits::all().skip(1) {
        for (mapping, codes) in [
            (Mapping::Affine, CodeRange::Narrow),
            (Mapping::Symmetric, CodeRange::Full),
        ] {
            for granularity in [Granularity::Tensor, Granularity::Channel] {
                for range in [RangeMethod::MinMax, RangeMethod::Percentile(90.0)] {
                    let scheme =
                        Scheme::new(bits, mapping, codes, granularity, range, Rounding::HalfEven);
                    let values_of = Values::new("x", &x, &SHAPE).unwrap();
                    let slice = quantize(&values_of, &scheme.unwrap());
                    for learns in [
                        Learns::Nothing,
                        Learns::Step { factor: 0.013 },
                        Learns::Clip { factor: 0.37 },
                    ] {
                        let grid = learned(&slice.params, learns);
                        let y = values(fake_quant(leaf(&x, SHAPE), &grid));
                        for (i, (a, b)) in slice.values.iter().zip(&y).enumerate() {
                            assert_eq!(
                                a.to_bits(),
                                b.to_bits(),
                                "{bits} bits {mapping} {granularity} {learns:?}: {} gave {a} and {b}",
                                x[i]
                            );
                        }
                    }
                }
            }
        }
    }
}

/// Gradients of `x`, scale and zero point of the sum of y times `weights`.
fn gradients(
    x: &[f32],
    (scale, zero_point): (f32, f32),
    bounds: (i32, i32),
    learns: Learns,
    weights: &[f32],
) -> [Vec<f32>; 3] {
    let (x, scale, zero_point) = (
        leaf(x, [x.len()]),
        leaf(&[scale], [1]),
        leaf(&[zero_point], [1]),
    );
    let grid = Grid {
        scale: scale.clone(),
        zero_point: Some(zero_point.clone()),
        quant_min: bounds.0,
        quant_max: bounds.1,
        learns,
    };
    let y = fake_quant(x.clone(), &grid);
    let found = (y * leaf(weights, [weights.len()])).sum().backward();
    let of = |t: &Tensor<1>| t.grad(&found).map(values).unwrap_or_default();
    [of(&x), of(&scale), of(&zero_point)]
}

fn close(found: &[f32], expected: &[f32], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!(
            (a - b).abs() <= 2e-5 * (1.0 + b.abs()),
            "{what}[{i}]: {a}, not {b}"
        );
    }
}

#[test]
fn away_from_steps_the_gradients_are_slopes_of_the_clipped_line() {
    // Without rounding, y is clip(x, s (n - z), s (p - z)): what the straight-through estimator differentiates.
    let line = |x: f32, s: f32, z: f32| x.clamp(s * (0.0 - z), s * (7.0 - z));
    let (s, z, h) = (0.5_f32, 2.0_f32, 1e-3);
    for x in [-3.0_f32, -0.6, 0.1, 1.9, 9.0] {
        let [dx, ds, dz] = gradients(&[x], (s, z), (0, 7), Learns::Clip { factor: 1.0 }, &[1.0]);
        let slope = |up: f32, down: f32| (up - down) / (2.0 * h);
        let expected = slope(line(x + h, s, z), line(x - h, s, z));
        assert!(
            (dx[0] - expected).abs() < 2e-3,
            "x at {x}: {dx:?} {expected}"
        );
        let expected = slope(line(x, s + h, z), line(x, s - h, z));
        assert!(
            (ds[0] - expected).abs() < 2e-3,
            "s at {x}: {ds:?} {expected}"
        );
        let expected = slope(line(x, s, z + h), line(x, s, z - h));
        assert!(
            (dz[0] - expected).abs() < 2e-3,
            "z at {x}: {dz:?} {expected}"
        );
    }
}

#[test]
fn a_learned_steps_gradient_is_the_slope_of_the_staircase_plus_the_straight_line() {
    // For x that stays on its stair, y = s round(x / s): the estimator adds the slope of the line through the stairs,
    // x / s being let through, which is -x / s.
    let (s, h) = (0.3_f32, 1e-4);
    for x in [0.7_f32, -0.8, 1.0] {
        let stair = |s: f32| s * (x / s).round_ties_even();
        let slope = (stair(s + h) - stair(s - h)) / (2.0 * h);
        let [_, ds, _] = gradients(
            &[x],
            (s, 0.0),
            (-8, 7),
            Learns::Step { factor: 1.0 },
            &[1.0],
        );
        assert!((ds[0] - (slope - x / s)).abs() < 2e-3, "{x}: {ds:?}");
    }
}

#[test]
fn each_channel_learns_from_its_own_values_and_the_factor_slows_it() {
    let x = sample();
    let gradient = |channels: &[f32], factor: f32| {
        let scale = leaf(channels, [channels.len()]);
        let grid = Grid {
            scale: scale.clone(),
            zero_point: None,
            quant_min: -3,
            quant_max: 3,
            learns: Learns::Step { factor },
        };
        let found = fake_quant(leaf(&x, SHAPE), &grid).sum().backward();
        values(scale.grad(&found).unwrap())
    };
    let together = gradient(&[0.2], 1.0);
    let apart = gradient(&[0.2; 3], 1.0);
    close(&[apart.iter().sum()], &together, "sum over channels");
    let slow = gradient(&[0.2; 3], 0.25);
    let quarter: Vec<f32> = apart.iter().map(|g| g * 0.25).collect();
    close(&slow, &quarter, "slowed");
}

#[test]
fn an_offset_has_the_gradients_of_lsq_plus() {
    let (step, offset) = (leaf(&[0.5], [1]), leaf(&[-1.0], [1]));
    let grid = lsq_plus::grid(step.clone(), offset.clone(), (0, 7), 1);
    // z = 2: numbers from -1 to 2.5. The first is below, the second inside, the third above.
    let x = leaf(&[-4.0, 0.6, 9.0], [3]);
    let y = fake_quant(x, &grid);
    assert_eq!(values(y.clone()), [-1.0, 0.5, 2.5]);
    let found = y.sum().backward();
    let factor = lsq::gradient_factor(1, 7);
    let inside = 1.0 - 0.6 / 0.5;
    // Below quant_min = 0, above quant_max = 7; the offset 1 on each.
    close(
        &values(step.grad(&found).unwrap()),
        &[factor * (inside + 0.0 + 7.0)],
        "step",
    );
    close(
        &values(offset.grad(&found).unwrap()),
        &[factor * 2.0],
        "offset",
    );
    assert_eq!(lsq_plus::zero_point(0.5, -1.0, (0, 7)), 2);
    assert_eq!(lsq_plus::zero_point(0.5, 1.0, (0, 7)), 0);
}

#[test]
fn a_bound_learns_from_what_it_clips_alone() {
    let bound = leaf(&[2.0], [1]);
    let grid = pact::grid(bound.clone(), None, (0, 3));
    let found = fake_quant(leaf(&[-1.0, 0.3, 1.1, 2.5, 7.0], [5]), &grid)
        .sum()
        .backward();
    close(&values(bound.grad(&found).unwrap()), &[2.0], "bound");
    let bound = leaf(&[2.0], [1]);
    let grid = pact::grid(bound.clone(), None, (-3, 3));
    let found = fake_quant(leaf(&[-9.0, 0.3, 7.0, 8.0], [4]), &grid)
        .sum()
        .backward();
    close(&values(bound.grad(&found).unwrap()), &[1.0], "two sides");
    assert_eq!(pact::step(pact::initial_bound(0.5, 7), 7), 0.5);
}

#[test]
fn initial_steps_and_factors_are_the_papers() {
    assert_eq!(lsq::initial_step(0.5, 4), 0.5);
    assert_eq!(lsq::initial_step(0.0, 4), SMALLEST_STEP);
    assert_eq!(lsq::gradient_factor(9, 4), 1.0 / 6.0);
    assert_eq!(lsq_plus::initial_weight_step(-0.25, 0.25, 8), 0.125);
}

#[test]
fn a_moving_range_has_codes_with_a_sign_only_where_it_needs_one() {
    let scheme = |mapping| {
        ActivationScheme::new(
            Bits::new(4).unwrap(),
            mapping,
            CodeRange::Narrow,
            ActivationRange::MinMax,
            Rounding::HalfEven,
        )
        .unwrap()
    };
    let symmetric = scheme(Mapping::Symmetric);
    let bounds = |q: QParams| (q.quant_min, q.quant_max, q.scale);
    let unsigned = minmax::activation_params((0.0, 1.5), &symmetric).unwrap();
    assert_eq!(bounds(unsigned), (0, 15, 0.1));
    let signed = minmax::activation_params((-1.5, 3.5), &symmetric).unwrap();
    assert_eq!(bounds(signed), (-7, 7, 0.5));
    let affine = minmax::activation_params((0.5, 1.5), &scheme(Mapping::Affine)).unwrap();
    assert_eq!((affine.zero_point, affine.scale), (0, 0.1));
    for mapping in Mapping::ALL {
        let scheme = scheme(mapping);
        for nothing in [(0.0, 0.0), (-0.0, 1e-40), (-1e-40, 1e-39)] {
            let dead = minmax::activation_params(nothing, &scheme).unwrap();
            assert_eq!((bounds(dead), dead.zero_point), ((0, 15, 1.0), 0));
        }
    }
}
