//! Winograd's algorithm against the definition in float64, and where it is not taken.

use proptest::prelude::*;

use super::{Random, conv, run, same_bytes};
use crate::graph::{Clip, Conv, Graph, INPUT, Node, Op};
use crate::kernel::{Algorithm, Isa};
use crate::program::{Execution, Options, Program};
use crate::shape::{Padding, Shape, Window};

const UNIT: f64 = 1.0 / (1u64 << 24) as f64;
const A: f64 = 0.625;
const B: f64 = 1.5;

/// Absolute values of the algorithm's matrices, written out: `B'`, `A'` and `G`.
struct Magnitudes {
    into: [[f64; 6]; 6],
    out_of: [[f64; 6]; 4],
    of_kernel: [[f64; 3]; 6],
}

fn magnitudes() -> Magnitudes {
    let (aa, bb) = (A * A, B * B);
    let [near, far] = [2.0 * aa * (bb - aa), 2.0 * bb * (bb - aa)];
    let into_a = [0.0, A * bb, bb, A, 1.0, 0.0];
    let into_b = [0.0, B * aa, aa, B, 1.0, 0.0];
    Magnitudes {
        into: [
            [aa * bb, 0.0, aa + bb, 0.0, 1.0, 0.0],
            into_a,
            into_a,
            into_b,
            into_b,
            [0.0, aa * bb, 0.0, aa + bb, 0.0, 1.0],
        ],
        out_of: [
            [1.0, 1.0, 1.0, 1.0, 1.0, 0.0],
            [0.0, A, A, B, B, 0.0],
            [0.0, aa, aa, bb, bb, 0.0],
            [0.0, A * aa, A * aa, B * bb, B * bb, 1.0],
        ],
        of_kernel: [
            [1.0 / (aa * bb), 0.0, 0.0],
            [1.0 / near, A / near, aa / near],
            [1.0 / near, A / near, aa / near],
            [1.0 / far, B / far, bb / far],
            [1.0 / far, B / far, bb / far],
            [0.0, 0.0, 1.0],
        ],
    }
}

/// `m x m'` for an `m` of rows of `K`.
fn both<const R: usize, const K: usize>(m: &[[f64; K]; R], x: &[[f64; K]; K]) -> [[f64; R]; R] {
    std::array::from_fn(|i| {
        std::array::from_fn(|j| {
            let sum = |p: usize| -> f64 { (0..K).map(|q| m[j][q] * x[p][q]).sum() };
            (0..K).map(|p| m[i][p] * sum(p)).sum()
        })
    })
}

/// Each output of `conv` for `image` by the definition, `[o, y, x]`, and how far float32 may lie from it: `n u` times the algorithm's
/// own sum of absolute values, n counting the roundings on the way (Higham, Accuracy and Stability of Numerical Algorithms, section
/// 3.1): the channels', and 30 of the transforms and the epilogue.
fn bounded(conv: &Conv, from: Shape, to: Shape, image: &[f32]) -> Vec<(f64, f64)> {
    let Magnitudes {
        into,
        out_of,
        of_kernel,
    } = magnitudes();
    let Padding { top, left, .. } = conv.window.padding;
    let pixel = |c: usize, y: usize, x: usize| match (y.checked_sub(top), x.checked_sub(left)) {
        (Some(y), Some(x)) if y < from.height && x < from.width => {
            f64::from(image[(c * from.height + y) * from.width + x])
        }
        _ => 0.0,
    };
    let mut found = vec![(0.0, 0.0); to.len()];
    for tile_y in (0..to.height).step_by(4) {
        for tile_x in (0..to.width).step_by(4) {
            for output in 0..to.channels {
                let mut points = [[0.0; 6]; 6];
                for c in 0..from.channels {
                    let weights = &conv.weight[(output * from.channels + c) * 9..][..9];
                    let kernel: [[f64; 3]; 3] = std::array::from_fn(|y| {
                        std::array::from_fn(|x| f64::from(weights[3 * y + x].abs()))
                    });
                    let patch: [[f64; 6]; 6] = std::array::from_fn(|y| {
                        std::array::from_fn(|x| pixel(c, tile_y + y, tile_x + x).abs())
                    });
                    let (kernel, patch) = (both(&of_kernel, &kernel), both(&into, &patch));
                    for (points, (kernel, patch)) in
                        points.iter_mut().zip(kernel.iter().zip(&patch))
                    {
                        for (point, (g, d)) in points.iter_mut().zip(kernel.iter().zip(patch)) {
                            *point += g * d;
                        }
                    }
                }
                let magnitude = both(&out_of, &points);
                let factor = |values: &Option<Vec<f32>>, absent| {
                    values
                        .as_ref()
                        .map_or(absent, |values| f64::from(values[output]))
                };
                let (scale, shift) = (factor(&conv.scale, 1.0), factor(&conv.shift, 0.0));
                for y in tile_y..to.height.min(tile_y + 4) {
                    for x in tile_x..to.width.min(tile_x + 4) {
                        let mut sum = 0.0;
                        for c in 0..from.channels {
                            for tap in 0..9 {
                                let weight = conv.weight[(output * from.channels + c) * 9 + tap];
                                sum += f64::from(weight) * pixel(c, y + tap / 3, x + tap % 3);
                            }
                        }
                        let most = magnitude[y - tile_y][x - tile_x] * scale.abs() + shift.abs();
                        let error = (from.channels + 30) as f64 * UNIT * most;
                        found[(output * to.height + y) * to.width + x] =
                            (sum * scale + shift, error);
                    }
                }
            }
        }
    }
    found
}

fn winograd(isa: Isa, group: usize) -> Options {
    Options {
        isa,
        group,
        convolution: Algorithm::Winograd,
        ..Options::default()
    }
}

/// The logits of `graph` for `images` by both algorithms.
fn by_both(graph: &Graph, isa: Isa, images: &[f32]) -> [Vec<f32>; 2] {
    [Algorithm::Direct, Algorithm::Winograd].map(|convolution| {
        let options = Options {
            convolution,
            ..winograd(isa, 2)
        };
        run(&Program::new(graph.clone(), options).unwrap(), images)
    })
}

/// A convolution whose result is added to its input, if there are as many channels, and clipped.
fn residual(conv: Conv, input: Shape, clip: Option<Clip>) -> Graph {
    let adds = conv.outputs == input.channels && conv.window.padding == Padding::all(1);
    let mut node = Node::new("node", INPUT, Op::Conv(conv));
    node.add = adds.then(|| INPUT.to_owned());
    node.clip = clip;
    Graph::new(input, vec![node], "node").unwrap()
}

/// The number of nodes that Winograd's algorithm computes.
fn taken(graph: &Graph) -> usize {
    let program = Program::new(graph.clone(), winograd(Isa::best(), 1)).unwrap();
    let taken = program
        .nodes()
        .filter(|node| node.algorithm == Algorithm::Winograd);
    taken.count()
}

fn check(conv: &Conv, input: Shape, clip: Option<Clip>, seed: u64) {
    let graph = residual(conv.clone(), input, clip);
    let adds = graph.nodes[0].add.is_some();
    let to = graph.output();
    let images = Random(seed).vec(3 * input.len());
    let expected: Vec<_> = images
        .chunks_exact(input.len())
        .flat_map(|image| {
            let added = |at: usize| if adds { f64::from(image[at]) } else { 0.0 };
            let bounded = bounded(conv, input, to, image).into_iter().enumerate();
            bounded.map(move |(at, (value, error))| {
                let clip = clip.unwrap_or(Clip::NONE);
                let value = (value + added(at)).clamp(clip.low.into(), clip.high.into());
                (value, error + UNIT * (value.abs() + added(at).abs()))
            })
        })
        .collect();
    for isa in Isa::available() {
        let found = run(
            &Program::new(graph.clone(), winograd(isa, 2)).unwrap(),
            &images,
        );
        assert_eq!(found.len(), expected.len());
        for (at, (found, (value, error))) in found.iter().zip(&expected).enumerate() {
            let distance = (f64::from(*found) - value).abs();
            assert!(
                distance <= *error,
                "{isa} {input} to {to}, element {at}: {found}, not {value} within {error}"
            );
        }
    }
}

#[test]
fn every_size_of_map_and_every_rest_of_a_tile_is_within_the_bound() {
    let mut random = Random(21);
    for size in [3, 4, 6, 7, 8, 9, 11, 13, 16, 18] {
        for (other, padding) in [(size, 1), (27 - size, 1), (size + 4, 0), (size, 2)] {
            let window = Window::square(3, 1, padding);
            let conv = conv(&mut random, [16, 16, 1], window, true);
            let input = Shape::new(16, size, other);
            check(&conv, input, Some(Clip::RELU), size as u64);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn any_such_convolution_stays_within_the_bound(
        inputs in prop::sample::select(&[16usize, 32, 48, 80, 304][..]),
        outputs in prop::sample::select(&[1usize, 3, 16, 17, 32, 40, 80][..]),
        size in [3usize..14, 3usize..14],
        sides in [0usize..3, 0usize..3, 0usize..3, 0usize..3],
        (scale, low) in (any::<bool>(), any::<bool>()),
        seed in any::<u64>(),
    ) {
        let [top, bottom, left, right] = sides;
        let window = Window {
            kernel: [3, 3], stride: [1, 1], dilation: [1, 1],
            padding: Padding { top, bottom, left, right },
        };
        let conv = conv(&mut Random(seed), [inputs, outputs, 1], window, scale);
        let clip = low.then_some(Clip { low: -0.5, high: 20.0 });
        check(&conv, Shape::new(inputs, size[0], size[1]), clip, seed);
    }
}

/// Of the mean error by definition; the module's header says 2.6.
const TIMES: f64 = 3.5;

#[test]
fn errors_are_a_few_times_those_of_the_definition_and_not_more() {
    let mut random = Random(22);
    let conv = conv(&mut random, [64, 64, 1], Window::square(3, 1, 1), false);
    let input = Shape::new(64, 16, 16);
    let graph = residual(conv.clone(), input, None);
    let image = random.vec(input.len());
    let exact = bounded(&conv, input, input, &image);
    for isa in Isa::available() {
        let [direct, winograd] = by_both(&graph, isa, &image).map(|found| {
            let each = found.iter().zip(&exact).zip(&image);
            each.map(|((found, (value, _)), added)| {
                (f64::from(*found) - value - f64::from(*added)).abs()
            })
            .sum::<f64>()
        });
        assert!(winograd > direct, "{isa}: was it taken?");
        assert!(winograd < TIMES * direct, "{isa}: {}", winograd / direct);
    }
}

/// Three 3x3 convolutions around a shortcut, one that moves by two pixels, one of 1x1, one of separate channels.
fn network() -> Graph {
    let mut random = Random(23);
    let mut unit = |[inputs, outputs, groups]: [usize; 3], kernel: usize, stride: usize| {
        let window = Window::square(kernel, stride, kernel / 2);
        Op::Conv(conv(&mut random, [inputs, outputs, groups], window, true))
    };
    let nodes = [
        ("a", INPUT, unit([3, 16, 1], 3, 1), None),
        ("b", "a", unit([16, 48, 1], 3, 1), None),
        ("c", "b", unit([48, 16, 1], 3, 1), Some("a")),
        ("d", "c", unit([16, 32, 1], 3, 2), None),
        ("e", "d", unit([32, 32, 32], 3, 1), None),
        ("f", "e", unit([32, 32, 1], 1, 1), Some("d")),
        ("g", "f", unit([32, 10, 1], 3, 1), None),
    ];
    let nodes = nodes.map(|(name, input, op, add)| {
        let mut node = Node::new(name, input, op);
        node.add = add.map(str::to_owned);
        node.clip = Some(Clip::RELU);
        node
    });
    Graph::new(Shape::new(3, 22, 21), nodes.into(), "g").unwrap()
}

#[test]
fn a_network_has_the_same_results_up_to_rounding_and_the_same_bytes_for_any_group_and_threads() {
    let graph = network();
    // b, c and g.
    assert_eq!(taken(&graph), 3);
    for isa in Isa::available() {
        let [direct, fast] = by_both(&graph, isa, &Random(24).vec(3 * graph.input().len()));
        let largest = direct.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
        assert_ne!(direct, fast);
        for (direct, fast) in direct.iter().zip(&fast) {
            assert!((direct - fast).abs() <= 1e-5 * largest, "{isa}");
        }
        same_bytes(&graph, winograd(isa, 0));
    }
}

#[test]
fn vectors_of_every_width_with_fused_products_make_the_same_bytes() {
    let graph = network();
    let images = Random(25).vec(2 * graph.input().len());
    let fused = Isa::available()
        .into_iter()
        .filter(|&isa| isa != Isa::Portable);
    let found: Vec<_> = fused.map(|isa| by_both(&graph, isa, &images)).collect();
    assert!(found.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn what_it_is_not_for_is_computed_by_definition() {
    let mut random = Random(26);
    for ([inputs, outputs, groups], kernel, stride, dilation, size) in [
        ([16, 16, 1], 3, 2, 1, 16),
        ([16, 16, 1], 3, 1, 2, 16),
        ([16, 16, 1], 1, 1, 1, 16),
        ([16, 16, 1], 5, 1, 1, 16),
        ([16, 16, 16], 3, 1, 1, 16),
        ([32, 16, 2], 3, 1, 1, 16),
        ([17, 16, 1], 3, 1, 1, 16),
        // As many products or nearly.
        ([16, 16, 1], 3, 1, 1, 2),
        ([16, 16, 1], 3, 1, 1, 5),
    ] {
        let window = Window {
            dilation: [dilation; 2],
            ..Window::square(kernel, stride, kernel / 2)
        };
        let conv = conv(&mut random, [inputs, outputs, groups], window, false);
        let input = Shape::new(inputs, size, size);
        let node = Node::new("node", INPUT, Op::Conv(conv));
        let graph = Graph::new(input, vec![node], "node").unwrap();
        assert_eq!(taken(&graph), 0);
        let [direct, winograd] = by_both(&graph, Isa::best(), &random.vec(2 * input.len()));
        assert_eq!(
            direct, winograd,
            "{inputs} {outputs} {groups} {kernel} {stride} {size}"
        );
    }
}

#[test]
fn what_is_asked_of_real_numbers_changes_nothing_in_codes() {
    let graph = super::random::network(27);
    let images = Random(28).vec(2 * graph.input().len());
    for execution in [Execution::Simulate, Execution::Auto] {
        let [direct, winograd] = [Algorithm::Direct, Algorithm::Winograd].map(|convolution| {
            let options = Options {
                execution,
                convolution,
                ..Options::default()
            };
            run(&Program::new(graph.clone(), options).unwrap(), &images)
        });
        assert_eq!(direct, winograd);
    }
}

#[test]
fn a_nan_stays_in_its_image() {
    let graph = network();
    for isa in Isa::available() {
        let program = Program::new(graph.clone(), winograd(isa, 3)).unwrap();
        let each = graph.input().len();
        let mut images = Random(29).vec(3 * each);
        let clean = run(&program, &images);
        images[each + 200] = f32::NAN;
        let found = run(&program, &images);
        let makes = graph.output().len();
        assert!(found[makes..2 * makes].iter().any(|x| x.is_nan()), "{isa}");
        assert_eq!(found[..makes], clean[..makes]);
        assert_eq!(found[2 * makes..], clean[2 * makes..]);
    }
}
