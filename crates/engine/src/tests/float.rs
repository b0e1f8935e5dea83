//! Float programs against their plain twin.

use proptest::prelude::*;

use super::{CHANNELS, Random, conv, run, same_bytes};
use crate::graph::{Clip, Graph, INPUT, Linear, Node, Op};
use crate::kernel::Isa;
use crate::program::{Options, Program};
use crate::reference::evaluate;
use crate::shape::{Padding, Shape, Window};

/// Runs `graph` on `n` images, in groups of `group`, with every instruction set; each element of each node must lie
/// within its bound. Twice, so that what the first group leaves in the buffers meets the second.
fn check(graph: &Graph, n: usize, group: usize) {
    let mut random = Random(7);
    let images = random.vec(n * graph.input().len());
    let expected: Vec<_> = images
        .chunks_exact(graph.input().len())
        .map(|image| evaluate(graph, image))
        .collect();
    for isa in Isa::available() {
        let program = Program::new(
            graph.clone(),
            Options {
                isa,
                group,
                ..Options::default()
            },
        )
        .unwrap();
        let mut workspace = program.workspace();
        let makes = graph.output().len();
        let mut results = vec![f32::NAN; n * makes];
        for (k, (images, results)) in images
            .chunks(group * graph.input().len())
            .zip(results.chunks_mut(group * makes))
            .enumerate()
        {
            program
                .run_observed(&mut workspace, images, results, &mut |seen| {
                    let name = &graph.nodes[seen.node].node.name;
                    let (count, shape) = seen.shape();
                    for (i, found) in seen.to_planar().chunks_exact(shape.len()).enumerate() {
                        for (at, (found, bounded)) in
                            found.iter().zip(&expected[k * group + i][seen.node]).enumerate()
                        {
                            let distance = (f64::from(*found) - bounded.value).abs();
                            assert!(
                                distance <= bounded.error,
                                "{isa} {name}, image {i} of {count}, element {at} of {shape}: {found}, {bounded:?}"
                            );
                        }
                    }
                })
                .unwrap();
        }
        let last = graph.nodes.len() - 1;
        for (result, expected) in results.chunks_exact(makes).zip(&expected) {
            for (found, bounded) in result.iter().zip(&expected[last]) {
                assert!((f64::from(*found) - bounded.value).abs() <= bounded.error);
            }
        }
    }
}

fn single(input: Shape, op: Op) -> Graph {
    Graph::new(input, vec![Node::new("node", INPUT, op)], "node").unwrap()
}

#[test]
fn every_pair_of_channel_counts_is_convolved_within_the_bound() {
    let mut random = Random(1);
    for inputs in CHANNELS {
        for outputs in CHANNELS {
            for (kernel, stride, padding, size) in [(1, 1, 0, 5), (3, 1, 1, 6), (3, 2, 1, 7)] {
                let window = Window::square(kernel, stride, padding);
                let conv = conv(&mut random, [inputs, outputs, 1], window, false);
                check(
                    &single(Shape::new(inputs, size, size), Op::Conv(conv)),
                    3,
                    2,
                );
            }
        }
    }
}

#[test]
fn every_size_from_1_to_33_is_convolved_within_the_bound() {
    let mut random = Random(2);
    for size in 1..=33 {
        for (kernel, stride, padding) in [(3, 1, 1), (3, 2, 1), (1, 2, 0), (7, 2, 3), (2, 1, 1)] {
            let window = Window::square(kernel, stride, padding);
            let conv = conv(&mut random, [3, 7, 1], window, true);
            check(
                &single(Shape::new(3, size, 34 - size), Op::Conv(conv)),
                2,
                2,
            );
        }
    }
}

#[test]
fn sums_longer_than_a_chunk_are_taken_up_where_they_were_left() {
    let mut random = Random(3);
    for (inputs, outputs, kernel) in [(600, 40, 1), (64, 33, 3), (300, 5, 2), (512, 16, 1)] {
        let window = Window::square(kernel, 1, kernel / 2);
        let conv = conv(&mut random, [inputs, outputs, 1], window, true);
        // More pixels than a block has.
        check(&single(Shape::new(inputs, 9, 13), Op::Conv(conv)), 2, 2);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn any_convolution_stays_within_the_bound(
        each in prop::sample::select(&CHANNELS[..]),
        makes in prop::sample::select(&CHANNELS[..5]),
        groups in prop::sample::select(&[1usize, 1, 2, 3][..]),
        size in [1usize..20, 1usize..20],
        kernel in [1usize..6, 1usize..6],
        stride in [1usize..4, 1usize..4],
        dilation in [1usize..3, 1usize..3],
        sides in [0usize..4, 0usize..4, 0usize..4, 0usize..4],
        (scale, relu, group) in (any::<bool>(), any::<bool>(), 1usize..4),
        seed in any::<u64>(),
    ) {
        let [top, bottom, left, right] = sides;
        let window = Window {
            kernel, stride, dilation,
            padding: Padding { top, bottom, left, right },
        };
        let mut random = Random(seed);
        let (inputs, outputs) = (each * groups, makes * groups);
        let conv = conv(&mut random, [inputs, outputs, groups], window, scale);
        let mut node = Node::new("node", INPUT, Op::Conv(conv));
        let high = if group == 2 { 0.5 } else { f32::INFINITY };
        node.clip = relu.then_some(Clip { low: 0.0, high });
        let input = Shape::new(inputs, size[0], size[1]);
        if let Ok(graph) = Graph::new(input, vec![node], "node") {
            check(&graph, 3, group);
        }
    }

    #[test]
    fn any_depthwise_convolution_stays_within_the_bound(
        channels in 2usize..40,
        size in [1usize..15, 1usize..15],
        kernel in [1usize..5, 1usize..5],
        stride in 1usize..3,
        dilation in 1usize..3,
        padding in 0usize..3,
        scale in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let window = Window {
            kernel,
            stride: [stride; 2],
            dilation: [dilation; 2],
            padding: Padding::all(padding),
        };
        let mut random = Random(seed);
        let conv = conv(&mut random, [channels, channels, channels], window, scale);
        let node = Node::new("node", INPUT, Op::Conv(conv)).with_relu();
        if let Ok(graph) = Graph::new(Shape::new(channels, size[0], size[1]), vec![node], "node") {
            check(&graph, 3, 2);
        }
    }

    #[test]
    fn any_pool_and_subsampling_is_the_twin_s(
        channels in prop::sample::select(&CHANNELS[..]),
        size in [1usize..15, 1usize..15],
        kernel in [1usize..4, 1usize..4],
        stride in [1usize..4, 1usize..4],
        sides in [0usize..3, 0usize..3, 0usize..3, 0usize..3],
        before in 0usize..4,
    ) {
        let [top, bottom, left, right] = sides;
        let window = Window {
            kernel, stride,
            dilation: [1; 2],
            padding: Padding { top, bottom, left, right },
        };
        let input = Shape::new(channels, size[0], size[1]);
        for op in [
            Op::MaxPool(window),
            Op::avg_pool(window),
            Op::AvgPool { window, counted: Padding::default() },
            Op::AvgPool { window, counted: Padding { top, left, ..Padding::default() } },
            Op::Subsample { stride: stride[0], before, behind: 3 },
            Op::avg_pool(Window::whole(input)),
        ] {
            if let Ok(graph) = Graph::new(input, vec![Node::new("node", INPUT, op)], "node") {
                check(&graph, 3, 2);
            }
        }
    }
}

/// A residual network with everything in it: stem, max pool, blocks with all kinds of shortcut, pool, classifier.
fn network(fused: bool) -> Graph {
    let mut random = Random(11);
    let mut nodes: Vec<Node> = Vec::new();
    let push =
        |nodes: &mut Vec<Node>, name: &str, input: &str, op, add: Option<&str>, relu: bool| {
            let mut node = Node::new(name, input, op);
            match (fused, add) {
                (true, add) => {
                    node.add = add.map(str::to_owned);
                    node.clip = relu.then_some(Clip::RELU);
                    nodes.push(node);
                }
                (false, add) => {
                    node.name = format!("{name}.sum");
                    let mut end = Node::new(name, format!("{name}.sum"), Op::Identity);
                    end.add = add.map(str::to_owned);
                    end.clip = relu.then_some(Clip::RELU);
                    nodes.extend([node, end]);
                }
            }
        };
    let mut unit = |inputs, outputs, kernel, stride| {
        let window = Window::square(kernel, stride, kernel / 2);
        Op::Conv(conv(&mut random, [inputs, outputs, 1], window, true))
    };
    push(&mut nodes, "stem", INPUT, unit(3, 20, 7, 2), None, true);
    let pool = Op::MaxPool(Window::square(3, 2, 1));
    nodes.push(Node::new("pool", "stem", pool));
    push(&mut nodes, "a1", "pool", unit(20, 24, 3, 1), None, true);
    push(
        &mut nodes,
        "a2",
        "a1",
        unit(24, 20, 3, 1),
        Some("pool"),
        true,
    );
    push(&mut nodes, "b1", "a2", unit(20, 40, 3, 2), None, true);
    push(&mut nodes, "bs", "a2", unit(20, 40, 1, 2), None, false);
    push(&mut nodes, "b2", "b1", unit(40, 40, 3, 1), Some("bs"), true);
    push(&mut nodes, "c1", "b2", unit(40, 48, 3, 2), None, true);
    let option_a = Op::Subsample {
        stride: 2,
        before: 4,
        behind: 4,
    };
    nodes.push(Node::new("cs", "b2", option_a));
    push(&mut nodes, "c2", "c1", unit(48, 48, 3, 1), Some("cs"), true);
    let whole = Op::avg_pool(Window::square(4, 1, 0));
    nodes.push(Node::new("mean", "c2", whole));
    let linear = Op::Linear(Linear {
        weight: Random(12).vec(48 * 10),
        outputs: 10,
        bias: Some(Random(13).vec(10)),
    });
    nodes.push(Node::new("logits", "mean", linear));
    Graph::new(Shape::new(3, 64, 64), nodes, "logits").unwrap()
}

#[test]
fn a_whole_network_stays_within_the_bound_fused_and_not() {
    check(&network(true), 3, 2);
    check(&network(false), 3, 2);
}

#[test]
fn fused_and_separate_epilogues_give_the_same_bits() {
    let images = Random(5).vec(3 * 3 * 64 * 64);
    let [fused, separate] = [true, false].map(|fused| {
        let program = Program::new(network(fused), Options::default()).unwrap();
        run(&program, &images)
    });
    assert_eq!(fused, separate);
}

#[test]
fn every_number_of_threads_and_every_group_gives_the_same_bytes() {
    for isa in Isa::available() {
        let options = Options {
            isa,
            ..Options::default()
        };
        same_bytes(&network(true), options);
    }
}

#[test]
fn a_nan_in_one_image_reaches_its_logits_and_no_others() {
    for isa in Isa::available() {
        let program = Program::new(
            network(true),
            Options {
                isa,
                group: 3,
                ..Options::default()
            },
        )
        .unwrap();
        let mut images = Random(8).vec(3 * 3 * 64 * 64);
        let clean = run(&program, &images);
        images[3 * 64 * 64 + 2000] = f32::NAN;
        let found = run(&program, &images);
        assert!(found[10..20].iter().all(|x| x.is_nan()), "{isa}");
        assert_eq!(found[..10], clean[..10]);
        assert_eq!(found[20..], clean[20..]);
    }
}

#[test]
fn wrong_lengths_and_strange_workspaces_are_refused() {
    let options = Options {
        group: 2,
        ..Options::default()
    };
    let program = Program::new(network(true), options).unwrap();
    let each = program.input().len();
    let mut workspace = program.workspace();
    let mut run = |images: usize, results: usize| {
        program
            .run(&mut workspace, &vec![0.0; images], &mut vec![0.0; results])
            .map_err(|error| error.to_string())
    };
    assert_eq!(run(each, 10), Ok(()));
    assert!(
        run(each + 1, 10)
            .unwrap_err()
            .contains("images: 12289 values, expected 12288")
    );
    assert!(
        run(each, 9)
            .unwrap_err()
            .contains("results: 9 values, expected 10")
    );
    assert!(
        run(3 * each, 30)
            .unwrap_err()
            .contains("3 images at once; this program takes 1 to 2")
    );
    assert!(run(0, 0).unwrap_err().contains("0 images at once"));
    let other = single(
        Shape::new(3, 64, 64),
        Op::avg_pool(Window::square(64, 1, 0)),
    );
    let mut strange = Program::new(other, options).unwrap().workspace();
    let error = program.run(&mut strange, &vec![0.0; each], &mut [0.0; 10]);
    assert!(error.unwrap_err().to_string().contains("another program"));
}

#[test]
fn operations_are_two_for_each_weight_and_output_pixel() {
    let program = Program::new(network(true), Options::default()).unwrap();
    let nodes: Vec<_> = program.nodes().collect();
    assert_eq!(nodes[0].operations, 2 * 20 * 3 * 49 * 32 * 32);
    assert_eq!((nodes[1].name, nodes[1].operations), ("pool", 0));
    assert_eq!(nodes.last().unwrap().operations, 2 * 480);
    assert_eq!(nodes.last().unwrap().shape, Shape::new(10, 1, 1));
}

#[test]
fn every_sum_is_one_chain_over_taps_and_channels_however_long() {
    let mut random = Random(11);
    // Less than a chunk of any instruction set, and several of each; rests of tiles in every height.
    for (inputs, kernel, [height, width]) in [(5, 3, [5, 5]), (170, 3, [3, 5]), (1500, 1, [1, 23])]
    {
        let window = Window::square(kernel, 1, kernel / 2);
        let mut conv = conv(&mut random, [inputs, 37, 1], window, false);
        conv.shift = None;
        let input = Shape::new(inputs, height, width);
        let node = Node::new("node", INPUT, Op::Conv(conv.clone()));
        let graph = Graph::new(input, vec![node], "node").unwrap();
        let image = random.vec(input.len());
        let pixel = |c: usize, y: Option<usize>, x: Option<usize>| match (y, x) {
            (Some(y), Some(x)) if y < height && x < width => image[(c * height + y) * width + x],
            _ => 0.0,
        };
        for isa in Isa::available() {
            let options = Options {
                isa,
                ..Options::default()
            };
            let found = run(&Program::new(graph.clone(), options).unwrap(), &image);
            for (at, found) in found.into_iter().enumerate() {
                let (output, y, x) = (at / (height * width), at / width % height, at % width);
                let mut sum = 0.0_f32;
                for tap in 0..kernel * kernel {
                    let row = (y + tap / kernel).checked_sub(kernel / 2);
                    let column = (x + tap % kernel).checked_sub(kernel / 2);
                    for c in 0..inputs {
                        let weight = conv.weight[(output * inputs + c) * kernel * kernel + tap];
                        sum = match isa {
                            Isa::Portable => pixel(c, row, column) * weight + sum,
                            _ => pixel(c, row, column).mul_add(weight, sum),
                        };
                    }
                }
                assert_eq!(
                    found.to_bits(),
                    sum.to_bits(),
                    "{isa} {inputs} {output} {y} {x}"
                );
            }
        }
    }
}
