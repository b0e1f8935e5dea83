//! Every function beside a plain loop in double precision, over shapes that have every kind of edge, on every instruction
//! set that the processor has.

use quant_core::qat::{Learns, Stays};

use super::*;
use crate::kernel::{Algorithm, Isa};
use crate::shape::{Padding, Shape, Window};

/// Values between -1 and 1 that do not repeat.
fn values(n: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..n)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

struct Case {
    images: usize,
    from: Shape,
    to: Shape,
    window: Window,
}

impl Case {
    fn new(images: usize, from: Shape, outputs: usize, window: Window) -> Option<Self> {
        let [height, width] = window.output(from).ok()?;
        Some(Self {
            images,
            from,
            to: Shape::new(outputs, height, width),
            window,
        })
    }

    /// Calls `body` with (output, input, weight) of every product.
    fn each(&self, mut body: impl FnMut(usize, usize, usize)) {
        let [rows, columns] = self.window.kernel;
        let inside = |i: usize, axis: usize, tap: usize, before: usize, size: usize| {
            let at = (i * self.window.stride[axis] + tap).checked_sub(before)?;
            (at < size).then_some(at)
        };
        let Padding { top, left, .. } = self.window.padding;
        for n in 0..self.images {
            for o in 0..self.to.channels {
                for i in 0..self.to.height {
                    for j in 0..self.to.width {
                        let output =
                            ((n * self.to.channels + o) * self.to.height + i) * self.to.width + j;
                        for c in 0..self.from.channels {
                            for u in 0..rows {
                                let Some(y) = inside(i, 0, u, top, self.from.height) else {
                                    continue;
                                };
                                for v in 0..columns {
                                    let Some(x) = inside(j, 1, v, left, self.from.width) else {
                                        continue;
                                    };
                                    let input = ((n * self.from.channels + c) * self.from.height
                                        + y)
                                        * self.from.width
                                        + x;
                                    let weight =
                                        ((o * self.from.channels + c) * rows + u) * columns + v;
                                    body(output, input, weight);
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    fn check(&self, isa: Isa, algorithm: Algorithm) {
        let conv = Conv2d::with_isa(isa, self.from, self.to.channels, self.window).unwrap();
        let conv = conv.by(algorithm);
        assert_eq!(conv.output(), self.to);
        let x = values(self.images * self.from.len(), 1);
        let dy = values(self.images * self.to.len(), 2);
        let weight = values(conv.weights(), 3);
        let bias = values(self.to.channels, 4);
        let mut y = vec![f64::NAN; dy.len()];
        for (i, y) in y.iter_mut().enumerate() {
            *y = f64::from(bias[i / (self.to.height * self.to.width) % self.to.channels]);
        }
        let mut dx = vec![0.0; x.len()];
        let mut dw = vec![0.0; weight.len()];
        self.each(|output, input, w| {
            let [dy, x, weight] = [dy[output], x[input], weight[w]].map(f64::from);
            y[output] += x * weight;
            dx[input] += dy * weight;
            dw[w] += dy * x;
        });
        let name = |what: &str| {
            let (from, to) = (self.from, self.to);
            format!(
                "{what}, {isa}, {algorithm}: {} x {from} to {to}, {:?}",
                self.images, self.window
            )
        };
        // The longest sum of the three.
        let terms = (weight.len() / self.from.channels.min(self.to.channels))
            .max(self.images * self.to.height * self.to.width);
        let near = |found: &[f32], expected: &[f64], name: &str| near(found, expected, terms, name);
        let mut found = vec![f32::NAN; dy.len()];
        conv.forward(&x, &weight, Some(&bias), &mut found).unwrap();
        near(&found, &y, &name("forward"));
        let mut found = vec![f32::NAN; x.len()];
        conv.input_gradient(&weight, &dy, &mut found).unwrap();
        near(&found, &dx, &name("input gradient"));
        let (mut both_dx, mut both_dw) = (found.clone(), vec![f32::NAN; weight.len()]);
        both_dx.fill(f32::NAN);
        conv.gradients((&x, &weight, &dy), &mut both_dx, &mut both_dw)
            .unwrap();
        assert_eq!(both_dx, found, "{}", name("input gradient"));
        let mut found = vec![f32::NAN; weight.len()];
        conv.weight_gradient(&x, &dy, &mut found).unwrap();
        near(&found, &dw, &name("weight gradient"));
        assert_eq!(both_dw, found, "{}", name("weight gradient"));
    }
}

/// Within rounding of sums of so many terms of size 1, errors adding up as a random walk does.
fn near(found: &[f32], expected: &[f64], terms: usize, name: &str) {
    assert_eq!(found.len(), expected.len(), "{name}");
    for (i, (&found, &expected)) in found.iter().zip(expected).enumerate() {
        let tolerance = 1e-6 * (10.0 + (terms as f64).sqrt()) * (1.0 + expected.abs());
        let error = (f64::from(found) - expected).abs();
        assert!(error <= tolerance, "{name}: [{i}] {found}, not {expected}");
    }
}

#[test]
fn a_convolution_and_its_gradients_are_the_plain_sums() {
    let mut checked = 0;
    for isa in Isa::available() {
        for (k, &kernel) in [1, 3, 7, 2].iter().enumerate() {
            for stride in [1, 2, 3] {
                for (p, &padding) in [0, 1, 3].iter().enumerate() {
                    for (s, &size) in [1, 2, 5, 8, 33].iter().enumerate() {
                        let channels = [1, 3, 7, 16, 17];
                        let inputs = channels[(k + p + s) % 5];
                        let outputs = [1, 7, 16, 17, 64, 33][(k + 2 * p + s + stride) % 6];
                        if size == 33 && (inputs * outputs > 120 || kernel == 7) {
                            continue;
                        }
                        let from = Shape::new(inputs, size, (size + s) % 34);
                        let window = Window::square(kernel, stride, padding);
                        if let Some(case) = Case::new(3, from, outputs, window) {
                            case.check(isa, Algorithm::Direct);
                            checked += 1;
                        }
                    }
                }
            }
        }
    }
    assert!(checked > 200);
}

#[test]
fn wide_maps_many_images_and_lopsided_windows_are_summed_alike() {
    let lopsided = Window {
        kernel: [3, 2],
        stride: [1, 2],
        dilation: [1, 1],
        padding: Padding {
            top: 2,
            bottom: 0,
            left: 0,
            right: 3,
        },
    };
    for isa in Isa::available() {
        for (images, from, outputs, window) in [
            (1, Shape::new(64, 8, 8), 64, Window::square(3, 1, 1)),
            (5, Shape::new(16, 9, 9), 40, Window::square(3, 2, 1)),
            (17, Shape::new(3, 4, 6), 5, lopsided),
            (2, Shape::new(3, 17, 17), 16, Window::square(7, 2, 3)),
            (1, Shape::new(2, 3, 3), 1, Window::square(1, 1, 2)),
        ] {
            Case::new(images, from, outputs, window)
                .unwrap()
                .check(isa, Algorithm::Direct);
        }
    }
}

#[test]
fn winograds_algorithm_makes_the_same_sums_where_it_fits_and_is_left_where_not() {
    let square = |padding| Window::square(3, 1, padding);
    let lopsided = Window {
        padding: Padding {
            top: 2,
            bottom: 0,
            left: 0,
            right: 1,
        },
        ..square(0)
    };
    for isa in Isa::available() {
        for (images, from, outputs, window) in [
            (3, Shape::new(16, 9, 11), 16, square(1)),
            (9, Shape::new(32, 6, 8), 48, square(1)),
            (2, Shape::new(64, 8, 8), 64, square(1)),
            (20, Shape::new(16, 16, 13), 16, square(0)),
            (2, Shape::new(16, 7, 7), 32, square(2)),
            (2, Shape::new(16, 8, 9), 32, lopsided),
            // More padding than the gradient can turn round; channels of one side alone that fill registers, and of neither.
            (2, Shape::new(16, 7, 7), 16, square(3)),
            (2, Shape::new(16, 8, 8), 10, square(1)),
            (2, Shape::new(3, 8, 8), 16, square(1)),
            (2, Shape::new(3, 8, 8), 5, square(1)),
            (2, Shape::new(16, 8, 8), 16, Window::square(3, 2, 1)),
        ] {
            let case = Case::new(images, from, outputs, window).unwrap();
            case.check(isa, Algorithm::Winograd);
        }
    }
}

#[test]
fn winograds_algorithm_is_taken_for_the_sums_and_both_gradients() {
    let from = Shape::new(16, 8, 8);
    let [direct, winograd] = [Algorithm::Direct, Algorithm::Winograd].map(|algorithm| {
        let conv = Conv2d::new(from, 16, Window::square(3, 1, 1)).unwrap();
        let conv = conv.by(algorithm);
        let (x, dy) = (values(from.len(), 1), values(from.len(), 2));
        let weight = values(conv.weights(), 3);
        let (mut y, mut dx, mut dw) = (dy.clone(), x.clone(), weight.clone());
        conv.forward(&x, &weight, None, &mut y).unwrap();
        conv.input_gradient(&weight, &dy, &mut dx).unwrap();
        conv.weight_gradient(&x, &dy, &mut dw).unwrap();
        [y, dx, dw]
    });
    for (direct, winograd) in direct.iter().zip(&winograd) {
        assert_ne!(direct, winograd);
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    for (algorithm, outputs) in [
        (Algorithm::Direct, 33),
        (Algorithm::Winograd, 33),
        (Algorithm::Winograd, 32),
    ] {
        threads_change_no_bit(algorithm, outputs);
    }
}

fn threads_change_no_bit(algorithm: Algorithm, outputs: usize) {
    let conv = Conv2d::new(Shape::new(16, 9, 9), outputs, Window::square(3, 1, 1)).unwrap();
    let conv = conv.by(algorithm);
    let x = values(13 * conv.from.len(), 1);
    let dy = values(13 * conv.to.len(), 2);
    let weight = values(conv.weights(), 3);
    let norm = BatchNorm {
        images: 13,
        channels: 16,
        pixels: 81,
        epsilon: 1e-5,
        ends: Some([0.0, f32::INFINITY]),
    };
    let (gamma, beta) = (values(16, 4), values(16, 5));
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        pool.unwrap().install(|| {
            let mut y = vec![0.0; dy.len()];
            let (mut dx, mut dw) = (vec![0.0; x.len()], vec![0.0; weight.len()]);
            let mut db = vec![0.0; outputs];
            conv.forward(&x, &weight, None, &mut y).unwrap();
            conv.input_gradient(&weight, &dy, &mut dx).unwrap();
            conv.weight_gradient(&x, &dy, &mut dw).unwrap();
            conv.bias_gradient(&dy, &mut db).unwrap();
            let mut z = vec![0.0; x.len()];
            let statistics = norm.forward(&x, &gamma, &beta, &mut z).unwrap();
            let back = norm.backward(&x, &gamma, &beta, &statistics, &mut dx);
            let back = back.unwrap();
            [
                y,
                dx,
                dw,
                db,
                z,
                statistics.mean,
                statistics.variance,
                back.gamma,
                back.beta,
            ]
            .map(|values| values.into_iter().map(f32::to_bits).collect::<Vec<_>>())
        })
    };
    let one = run(1);
    for threads in [2, 3, 8] {
        assert!(run(threads) == one, "{threads}");
    }
}

#[test]
fn the_biases_gradient_is_the_sum_of_the_outputs() {
    let conv = Conv2d::new(Shape::new(1, 3, 3), 2, Window::square(1, 1, 0)).unwrap();
    let dy: Vec<f32> = (0..36).map(|i| i as f32).collect();
    let mut db = [f32::NAN; 2];
    conv.bias_gradient(&dy, &mut db).unwrap();
    assert_eq!(db, [36.0 + 198.0, 117.0 + 279.0]);
}

#[test]
fn batch_normalisation_and_its_gradients_are_the_equations() {
    let relu = Some([0.0, f32::INFINITY]);
    for (images, channels, pixels, mean, ends) in [
        (1, 1, 1, 0.0, None),
        (3, 7, 1, 0.0, relu),
        (2, 3, 33, 100.0, None),
        (4, 16, 64, -1.0, relu),
        (4, 5, 40, 2.0, Some([-0.5, 1.0])),
        (2, 1, 2500, 1000.0, relu),
    ] {
        let [low, high] = ends.unwrap_or([f32::NEG_INFINITY, f32::INFINITY]);
        let norm = BatchNorm {
            images,
            channels,
            pixels,
            epsilon: 1e-5,
            ends,
        };
        let n = images * channels * pixels;
        let x: Vec<f32> = values(n, 1).into_iter().map(|x| x + mean).collect();
        let dy = values(n, 2);
        let gamma: Vec<f32> = values(channels, 3).into_iter().map(|g| g + 1.5).collect();
        let beta = values(channels, 4);
        let mut y = vec![f32::NAN; n];
        let statistics = norm.forward(&x, &gamma, &beta, &mut y).unwrap();
        let mut dx = dy.clone();
        let found = norm
            .backward(&x, &gamma, &beta, &statistics, &mut dx)
            .unwrap();

        let m = (images * pixels) as f64;
        let (mut ys, mut dxs) = (vec![0.0; n], vec![0.0; n]);
        let (mut gammas, mut betas) = (Vec::new(), Vec::new());
        for c in 0..channels {
            let places: Vec<usize> = (0..n).filter(|i| i / pixels % channels == c).collect();
            let sum = |of: &dyn Fn(usize) -> f64| places.iter().map(|&i| of(i)).sum::<f64>();
            let at = |i: usize| f64::from(x[i]);
            let mean = sum(&at) / m;
            let variance = sum(&|i| (at(i) - mean).powi(2)) / m;
            let r = 1.0 / (variance + 1e-5).sqrt();
            let [gamma, beta] = [gamma[c], beta[c]].map(f64::from);
            let hat = |i: usize| (at(i) - mean) * r;
            let line = |i: usize| hat(i) * gamma + beta;
            // What was cut off is asked of the result: a value next to an end may fall on either side of it.
            let dy = |i: usize| {
                if y[i] <= low || y[i] >= high {
                    0.0
                } else {
                    f64::from(dy[i])
                }
            };
            let (dbeta, dgamma) = (sum(&dy), sum(&|i| dy(i) * hat(i)));
            for &i in &places {
                ys[i] = line(i).clamp(f64::from(low), f64::from(high));
                dxs[i] = gamma * r * (dy(i) - dbeta / m - hat(i) * dgamma / m);
            }
            gammas.push(dgamma);
            betas.push(dbeta);
            let error = f64::from(statistics.variance[c]) - variance;
            assert!(error.abs() < 1e-5 * variance + 1e-9, "{c}: {error}");
        }
        // A float32 mean of 1000 is known to 6e-5, which is what its distance to a value is then off by.
        let slack = 1.0 + 4.0 * mean.abs();
        let near = |found: &[f32], expected: &[f64], what: &str| {
            for (found, expected) in found.iter().zip(expected) {
                let tolerance = f64::from(slack) * 2e-5 * (1.0 + expected.abs());
                let error = (f64::from(*found) - expected).abs();
                assert!(error <= tolerance, "{what}: {found} {expected}");
            }
        };
        near(&y, &ys, "y");
        near(&dx, &dxs, "dx");
        near(&found.gamma, &gammas, "dgamma");
        near(&found.beta, &betas, "dbeta");
    }
}

#[test]
fn what_does_not_fit_is_refused_and_no_images_are_no_error() {
    let shape = Shape::new(3, 8, 8);
    let refused = |shape, outputs, window| {
        Conv2d::new(shape, outputs, window)
            .map(|_| ())
            .unwrap_err()
            .to_string()
    };
    let large = refused(shape, 4, Window::square(9, 1, 0));
    assert!(large.contains("3x8x8") && large.contains('9'), "{large}");
    let dilated = Window {
        dilation: [2, 1],
        ..Window::square(3, 1, 1)
    };
    assert!(refused(shape, 4, dilated).contains("dilation 2 by 1"));
    assert!(refused(shape, 0, Window::square(1, 1, 0)).contains("nothing"));
    let huge = Shape::new(1 << 20, 1 << 10, 1 << 10);
    assert!(refused(huge, 1, Window::square(1, 1, 0)).contains("more than"));

    let conv = Conv2d::new(shape, 4, Window::square(3, 1, 1)).unwrap();
    let weight = vec![0.0; conv.weights()];
    let short = conv
        .forward(&[0.0; 191], &weight, None, &mut [])
        .unwrap_err();
    assert!(short.to_string().contains("191"), "{short}");
    assert!(conv.forward(&[], &weight, None, &mut []).is_ok());
    assert!(conv.input_gradient(&weight, &[], &mut []).is_ok());
    let mut gradient = vec![1.0; weight.len()];
    conv.weight_gradient(&[], &[], &mut gradient).unwrap();
    assert!(gradient.iter().all(|&g| g == 0.0));
}

/// Bits, so that NaN and signed zeros count.
fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

fn quant(learns: Learns, zero_point: f32) -> FakeQuant {
    FakeQuant {
        grids: vec![StepGrid {
            scale: 0.3,
            zero_point,
        }],
        low: -4.0,
        high: 3.0,
        learns,
        stays: None,
    }
}

#[test]
fn all_instruction_sets_give_the_same_fake_quantization() {
    let x = values(40_000, 6);
    let mut some = quant(Learns::Step { factor: 0.2 }, 1.0);
    some.grids.push(StepGrid {
        scale: 0.01,
        zero_point: -3.0,
    });
    some.stays = Some(Stays::new(0.25, 1, 5));
    for quant in [some, quant(Learns::Clip { factor: 0.2 }, 0.0)] {
        let run = |isa: Isa| {
            let (mut y, mut g) = (vec![0.0; x.len()], values(x.len(), 7));
            quant.forward_by(isa, &x, &mut y).unwrap();
            let of_grids = quant.backward_by(isa, &x, &mut g).unwrap();
            let of_grids: Vec<_> = of_grids.iter().map(|of| bits(of)).collect();
            (bits(&y), bits(&g), of_grids)
        };
        let plain = run(Isa::Portable);
        for isa in Isa::available() {
            assert!(run(isa) == plain, "{}", isa.name());
        }
    }
    let mut y = vec![0.0; 3];
    assert!(quant(Learns::Nothing, 0.0).forward(&x, &mut y).is_err());
}
