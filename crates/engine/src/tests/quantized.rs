//! Integer execution, and its simulation in float, against the twin in whole numbers: code for code.

use proptest::prelude::*;

use super::random::{clip, code, conv, network, window};
use super::{CHANNELS, Random, twin};
use crate::domain::IntegerArithmetic;
use crate::graph::{Code, Conv, Graph, INPUT, Node, Op};
use crate::kernel::Isa;
use crate::program::{Executed, Execution, Options, Program};
use crate::shape::{Padding, Shape, Window};

/// Real numbers that reach every code of the images and go past both ends.
pub(super) fn images(graph: &Graph, n: usize, random: &mut Random) -> Vec<f32> {
    let code = graph.input_code.unwrap();
    let ends = random.once_in(4);
    let mut q = || match ends {
        true => random.pick(&[code.quant_min, code.quant_max]),
        false => random.between(code.quant_min - 2, code.quant_max + 2),
    };
    (0..n * graph.input().len())
        .map(|_| code.dequantize(q()))
        .collect()
}

/// Every node's codes of every image, each as `[n][node][c, h, w]`, in groups of `group`.
pub(super) fn run(graph: &Graph, options: Options, images: &[f32]) -> Vec<Vec<Vec<i32>>> {
    let program = Program::new(graph.clone(), options).unwrap();
    let (each, makes) = (program.input().len(), program.output().len());
    let mut workspace = program.workspace();
    let mut found = vec![Vec::new(); images.len() / each];
    for (images, found) in images
        .chunks(each * options.group)
        .zip(found.chunks_mut(options.group))
    {
        let mut results = vec![0.0; found.len() * makes];
        program
            .run_observed(&mut workspace, images, &mut results, &mut |seen| {
                let codes = seen.to_codes().unwrap();
                let len = seen.shape().1.len();
                for (found, codes) in found.iter_mut().zip(codes.chunks_exact(len)) {
                    found.push(codes.to_vec());
                }
            })
            .unwrap();
    }
    found
}

/// Runs `graph` on five random images, in groups of two, with every instruction set; every code must be the twin's.
pub(super) fn check(graph: &Graph, arithmetic: IntegerArithmetic) {
    check_images(graph, &images(graph, 5, &mut Random(7)), arithmetic);
}

/// The same with images that are given. The default arithmetic is simulated too.
pub(super) fn check_images(graph: &Graph, images: &[f32], arithmetic: IntegerArithmetic) {
    let expected: Vec<_> = images
        .chunks_exact(graph.input().len())
        .map(|image| twin::codes(graph, image, arithmetic))
        .collect();
    let mut executions = vec![Execution::Integer(arithmetic)];
    if arithmetic == IntegerArithmetic::default() {
        executions.extend([Execution::Simulate, Execution::Auto]);
        let options = Options {
            execution: Execution::Auto,
            ..Options::default()
        };
        let chosen = Program::new(graph.clone(), options).unwrap();
        assert_eq!(chosen.executed(), Executed::Integer);
    }
    for execution in executions {
        for isa in Isa::available() {
            let options = Options {
                isa,
                group: 2,
                execution,
                ..Options::default()
            };
            let found = run(graph, options, images);
            assert_eq!(found.len(), expected.len());
            for (image, (found, expected)) in found.iter().zip(&expected).enumerate() {
                assert_eq!(found.len(), expected.len());
                for (node, (found, expected)) in found.iter().zip(expected).enumerate() {
                    let name = &graph.nodes[node].node.name;
                    let wrong = found.iter().zip(expected).position(|(a, b)| a != b);
                    assert!(
                        wrong.is_none(),
                        "{isa} {execution:?}, node {name}, image {image}, element {wrong:?}: {}",
                        wrong.map_or(String::new(), |i| format!(
                            "{} for {}",
                            found[i], expected[i]
                        ))
                    );
                }
            }
        }
    }
}

/// A convolution of the images.
pub(super) fn single(
    random: &mut Random,
    input: Shape,
    [outputs, groups]: [usize; 2],
    window: Window,
) -> Option<Graph> {
    let of = code(random, 1.0);
    let (conv, range) = conv(random, (input, of), [outputs, groups], window);
    let node = Node {
        clip: clip(random, range),
        ..Node::new("node", INPUT, Op::Conv(conv)).with_code(code(random, range))
    };
    Graph::quantized(input, Some(of), vec![node], "node").ok()
}

#[test]
fn every_pair_of_channel_counts_gives_the_twin_s_codes() {
    let mut random = Random(1);
    for inputs in CHANNELS {
        for outputs in CHANNELS {
            for (kernel, stride, padding, size) in [(1, 1, 0, 5), (3, 1, 1, 4), (3, 2, 1, 5)] {
                let window = Window::square(kernel, stride, padding);
                let input = Shape::new(inputs, size, size);
                let graph = single(&mut random, input, [outputs, 1], window).unwrap();
                check(&graph, IntegerArithmetic::default());
            }
        }
    }
}

/// Sums so large that only exact arithmetic brings them back: the bias takes each to a few units, which are the codes.
pub(super) fn extremes(weights: Vec<f32>, op: Conv, input: Shape) -> (Graph, Vec<f32>) {
    let code = |quant_min| Code {
        scale: 1.0,
        zero_point: 0,
        quant_min,
        quant_max: quant_min + 255,
    };
    let image = vec![255.0; input.len()];
    let each = weights.len() / op.outputs;
    let sums = weights
        .chunks_exact(each)
        .map(|w| 255 * w.iter().sum::<f32>() as i32);
    let bias = sums.zip(0..).map(|(sum, c)| 5 * c - 31 - sum).collect();
    let op = Op::Conv(Conv {
        bias: Some(bias),
        weight: weights,
        ..op
    });
    let node = Node::new("node", INPUT, op).with_code(code(-128));
    let graph = Graph::quantized(input, Some(code(0)), vec![node], "node").unwrap();
    (graph, image)
}

#[test]
fn sums_of_the_largest_codes_are_exact_however_long() {
    let mut random = Random(2);
    // One chunk of the simulation and one product more; as many as 32 bits hold; pixels that would collide in the cache;
    // depthwise with many taps.
    for (channels, kernel, groups) in [
        (256, 1, 1),
        (257, 1, 1),
        (1800, 3, 1),
        (2048, 2, 1),
        (3, 15, 3),
        (5, 17, 5),
    ] {
        let input = Shape::new(channels, kernel, kernel);
        let outputs = if groups == 1 { 19 } else { channels };
        let op = Conv {
            weight: Vec::new(),
            outputs,
            groups,
            window: Window::square(kernel, 1, 0),
            bias: None,
            scale: None,
            shift: None,
        };
        let len = outputs * channels / groups * kernel * kernel;
        for ends in [
            [255.0, 255.0],
            [-255.0, -255.0],
            [-255.0, 255.0],
            [253.0, 254.0],
        ] {
            let weights = (0..len).map(|_| random.pick(&ends)).collect();
            let (graph, image) = extremes(weights, op.clone(), input);
            check_images(&graph, &image, IntegerArithmetic::default());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn any_quantized_convolution_gives_the_twin_s_codes(
        each in prop::sample::select(&CHANNELS[..5]),
        makes in prop::sample::select(&CHANNELS[..5]),
        groups in prop::sample::select(&[1usize, 1, 2, 3][..]),
        size in [1usize..10, 1usize..10],
        kernel in [1usize..5, 1usize..5],
        stride in [1usize..4, 1usize..4],
        dilation in [1usize..3, 1usize..3],
        sides in [0usize..4, 0usize..4, 0usize..4, 0usize..4],
        seed in any::<u64>(),
    ) {
        let [top, bottom, left, right] = sides;
        let window = Window {
            kernel, stride, dilation,
            padding: Padding { top, bottom, left, right },
        };
        let input = Shape::new(each * groups, size[0], size[1]);
        let counts = [makes * groups, groups];
        if let Some(graph) = single(&mut Random(seed), input, counts, window) {
            check(&graph, IntegerArithmetic::default());
        }
    }

    #[test]
    fn any_quantized_depthwise_convolution_gives_the_twin_s_codes(
        // Within a register, a block of 64 and rests of every length, several blocks.
        channels in prop_oneof![2usize..40, 60usize..84, 125usize..150],
        size in [1usize..10, 1usize..12],
        seed in any::<u64>(),
    ) {
        let mut random = Random(seed);
        let input = Shape::new(channels, size[0], size[1]);
        let window = window(&mut random, input);
        if let Some(graph) = single(&mut random, input, [channels; 2], window) {
            check(&graph, IntegerArithmetic::default());
        }
    }

    #[test]
    fn any_quantized_network_gives_the_twin_s_codes(seed in any::<u64>()) {
        check(&network(seed), IntegerArithmetic::default());
    }
}
