//! Beside the slice version, bit for bit, and beside the twin made of burn's operations.

use burn::tensor::{Device, Tensor, TensorData};

use quant_core::qat::{self, Grid, Learns, Stays};
use quant_core::{QParams, Rounding, uniform};

use super::fake_quant::on_flex as fake_quant;

/// Ties, both zeros, whole numbers and numbers far outside.
fn sample(n: usize) -> Vec<f32> {
    let mut x: Vec<f32> = (0..n as u64)
        .map(|i| (uniform(8, i) - 0.4) * 10f32.powi((i % 4) as i32 - 1))
        .collect();
    let some = [0.0, -0.0, 0.5, -0.5, 1.5, -2.5, 1e-9, -1e-9, 3.0, 1e9];
    x[..some.len()].copy_from_slice(&some);
    x
}

fn leaf<const D: usize>(x: &[f32], shape: [usize; D]) -> Tensor<D> {
    let device = Device::flex().autodiff();
    Tensor::from_data(TensorData::new(x.to_vec(), shape), &device).require_grad()
}

fn read<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec().unwrap()
}

const STEP: Learns = Learns::Step { factor: 0.25 };
const CLIP: Learns = Learns::Clip { factor: 0.25 };

fn grid(
    scale: &Tensor<1>,
    zero_point: Option<&Tensor<1>>,
    (quant_min, quant_max): (i32, i32),
    learns: Learns,
) -> Grid {
    Grid {
        scale: scale.clone(),
        zero_point: zero_point.cloned(),
        quant_min,
        quant_max,
        learns,
    }
}

#[test]
fn values_are_those_of_the_simulation_bit_for_bit() {
    let x = sample(3 * 4 * 31 * 31);
    let shape = [3, 4, 31, 31];
    for (scales, zero_points, low, high) in [
        (vec![0.37], Some(vec![3]), 0, 15),
        (vec![0.01], None, -128, 127),
        (vec![0.5, 0.25, 1e-3], Some(vec![0, -7, 200]), -8, 7),
        (vec![0.3, 2.0, 5.0], None, 0, 1),
    ] {
        let groups = scales.len();
        let zeros: Vec<f32> = zero_points.iter().flatten().map(|&z| z as f32).collect();
        let zero_point = zero_points.as_ref().map(|_| leaf(&zeros, [groups]));
        let scale = leaf(&scales, [groups]);
        let grid = grid(&scale, zero_point.as_ref(), (low, high), STEP);
        let y = read(fake_quant(&leaf(&x, shape), &grid, None).unwrap());
        for (i, (&x, y)) in x.iter().zip(y).enumerate() {
            let group = i * groups / (3 * 4 * 31 * 31);
            let params = QParams {
                scale: scales[group],
                zero_point: zero_points.as_ref().map_or(0, |z| z[group]),
                quant_min: low,
                quant_max: high,
            };
            let expected = params.fake_quant(x, Rounding::HalfEven, 0);
            assert_eq!(y.to_bits(), expected.to_bits(), "{x}: {y}, not {expected}");
        }
    }
}

#[test]
fn gradients_are_those_of_the_composition() {
    let x = sample(4 * 3 * 40 * 40);
    let shape = [4, 3, 40, 40];
    let weight: Vec<f32> = (0..x.len() as u64).map(|i| uniform(3, i) - 0.3).collect();
    // A part of them unrounded, from a number on that no word of draws begins with.
    let some = Some(Stays::new(0.4, 7, 3));
    for (learns, stays) in [
        (STEP, None),
        (CLIP, None),
        (Learns::Nothing, None),
        (STEP, some),
        (Learns::Nothing, some),
    ] {
        for groups in [1, 4] {
            for with_zero in [false, true] {
                let s: Vec<f32> = (0..groups).map(|g| 0.3 + 0.2 * g as f32).collect();
                let z: Vec<f32> = (0..groups).map(|g| 2.0 - g as f32).collect();
                let run = |ours: bool| {
                    let (x, scale) = (leaf(&x, shape), leaf(&s, [groups]));
                    let zero = with_zero.then(|| leaf(&z, [groups]));
                    let grid = grid(&scale, zero.as_ref(), (-4, 3), learns);
                    let y = match ours {
                        true => fake_quant(&x, &grid, stays).unwrap(),
                        false => match stays {
                            None => qat::fake_quant(x.clone(), &grid),
                            Some(stays) => qat::fake_quant_in_part(x.clone(), &grid, stays),
                        },
                    };
                    let outer = Tensor::from_inner(leaf(&weight, shape).inner());
                    let grads = (y.clone() * outer).sum().backward();
                    let of_grid = |t: &Tensor<1>| t.grad(&grads).map(read).unwrap_or_default();
                    let zero = zero.map(|zero| of_grid(&zero)).unwrap_or_default();
                    (
                        read(y),
                        read(x.grad(&grads).unwrap()),
                        of_grid(&scale),
                        zero,
                    )
                };
                let (ours, theirs) = (run(true), run(false));
                let near = |a: &[f32], b: &[f32], what: &str| {
                    assert_eq!(a.len(), b.len(), "{learns:?} {what}");
                    for (a, b) in a.iter().zip(b) {
                        let close = (a - b).abs() <= 2e-4 * (1.0 + b.abs());
                        assert!(close, "{learns:?} {what}: {a}, not {b}");
                    }
                };
                assert_eq!(ours.0, theirs.0, "{learns:?} {stays:?}");
                near(&ours.1, &theirs.1, "dx");
                if learns == Learns::Nothing {
                    assert!(ours.2.is_empty() && ours.3.is_empty());
                    continue;
                }
                near(&ours.2, &theirs.2, "ds");
                near(&ours.3, &theirs.3, "dz");
            }
        }
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let x = sample(2 * 3 * 120 * 120);
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        pool.unwrap().install(|| {
            let (x, scale) = (leaf(&x, [2, 3, 120, 120]), leaf(&[0.2], [1]));
            let y = fake_quant(&x, &grid(&scale, None, (-4, 3), STEP), None).unwrap();
            let grads = y.clone().powi_scalar(2).sum().backward();
            let all = [
                read(y),
                read(x.grad(&grads).unwrap()),
                read(scale.grad(&grads).unwrap()),
            ];
            all.map(|values| values.into_iter().map(f32::to_bits).collect::<Vec<_>>())
        })
    };
    let one = run(1);
    assert!(run(2) == one && run(5) == one);
}

#[test]
fn what_is_not_finite_shows_and_what_does_not_fit_is_left_to_others() {
    let x = leaf(&[f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1.0], [4]);
    let scale = leaf(&[0.5], [1]);
    let of = |scale: &Tensor<1>, zero: Option<&Tensor<1>>| grid(scale, zero, (-4, 3), STEP);
    let y = read(fake_quant(&x, &of(&scale, None), None).unwrap());
    assert!(y[..3].iter().all(|y| y.is_nan()) && y[3] == 1.0);
    assert!(fake_quant(&x, &of(&leaf(&[0.5; 3], [3]), None), None).is_none());
    assert!(fake_quant(&x, &of(&scale, Some(&leaf(&[0.0; 2], [2]))), None).is_none());
    let balanced = Device::flex().autodiff().gradient_checkpointing();
    let x = Tensor::<1>::ones([4], &balanced);
    assert!(fake_quant(&x, &of(&scale, None), None).is_none());
}

#[test]
fn halves_go_to_the_even_neighbour_and_large_numbers_stay() {
    let x = [
        0.5_f32,
        1.5,
        -0.5,
        -1.5,
        2.5,
        4_194_304.5,
        8_388_607.5,
        1e20,
        -3.7,
        6_000_001.5,
    ];
    let plain = Tensor::<1>::from_data(TensorData::new(x.to_vec(), [x.len()]), &Device::flex());
    let scale = Tensor::<1>::ones([1], &Device::flex());
    let grid = grid(&scale, None, (i32::MIN, i32::MAX), Learns::Nothing);
    let y = read(fake_quant(&plain, &grid, None).unwrap());
    for (x, y) in x.iter().zip(y) {
        let expected = x.round_ties_even().clamp(i32::MIN as f32, i32::MAX as f32);
        assert_eq!(y, expected, "{x}");
    }
}
