//! Winograd's algorithm in whole numbers: every code is the twin's, and where it could not be it is not taken.

use proptest::prelude::*;

use super::Random;
use super::quantized::{check, check_images, extremes, single};
use super::random::{clip, code, power};
use crate::domain::IntegerArithmetic;
use crate::graph::{Clip, Code, Conv, Graph, INPUT, Node, Op};
use crate::kernel::{Accumulator, Algorithm, Isa};
use crate::program::{Execution, Options, Program};
use crate::shape::{Padding, Shape, Window};

fn integers(isa: Isa, arithmetic: IntegerArithmetic) -> Options {
    Options {
        isa,
        execution: Execution::Integer(arithmetic),
        ..Options::default()
    }
}

/// Whether Winograd's algorithm computes the graph's first node, by all instruction sets that have functions for it.
fn is_taken(graph: &Graph, arithmetic: IntegerArithmetic) -> bool {
    let is_by = |isa: Isa| {
        let program = Program::new(graph.clone(), integers(isa, arithmetic)).unwrap();
        program.nodes().next().unwrap().algorithm == Algorithm::Winograd
    };
    let taken = is_by(Isa::Portable);
    for isa in Isa::available() {
        let has = !matches!(isa, Isa::AvxVnni | Isa::NeonDot | Isa::Neon);
        assert_eq!(is_by(isa), has && taken, "{isa}");
    }
    taken
}

/// With what the convolution reads added to what it makes, if that has as many channels.
fn residual(random: &mut Random, input: Shape, outputs: usize, window: Window) -> Option<Graph> {
    let graph = single(random, input, [outputs, 1], window)?;
    let of = graph.input_code?;
    let mut node = graph.nodes[0].node.clone();
    if graph.output() == input {
        let span = of.scale * power(random, 5.0, 9.0);
        let sum = code(random, span);
        node.add = Some(INPUT.into());
        node.inner = node.code;
        node.code = Some(sum);
        node.clip = clip(random, sum.scale * 100.0);
    }
    Graph::quantized(input, Some(of), vec![node], "node").ok()
}

#[test]
fn every_size_of_map_and_every_rest_of_a_tile_gives_the_twin_s_codes() {
    let mut random = Random(31);
    let mut taken = 0;
    for size in [3, 4, 6, 7, 8, 9, 11, 13, 16, 18] {
        for (other, padding) in [(size, 1), (27 - size, 1), (size + 4, 0), (size, 2)] {
            let window = Window::square(3, 1, padding);
            let graph = residual(&mut random, Shape::new(16, size, other), 16, window).unwrap();
            taken += usize::from(is_taken(&graph, IntegerArithmetic::default()));
            check(&graph, IntegerArithmetic::default());
        }
    }
    // Of 40; in the others the tiles would have as many pixels outside the map as inside.
    assert!(taken > 30, "{taken}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]
    #[test]
    fn any_such_convolution_gives_the_twin_s_codes(
        inputs in prop::sample::select(&[16usize, 32, 48, 80][..]),
        outputs in prop::sample::select(&[1usize, 3, 16, 17, 32, 40, 48, 80][..]),
        size in [3usize..14, 3usize..14],
        sides in [0usize..3, 0usize..3, 0usize..3, 0usize..3],
        seed in any::<u64>(),
    ) {
        let [top, bottom, left, right] = sides;
        let window = Window {
            kernel: [3, 3], stride: [1, 1], dilation: [1, 1],
            padding: Padding { top, bottom, left, right },
        };
        let input = Shape::new(inputs, size[0], size[1]);
        if let Some(graph) = residual(&mut Random(seed), input, outputs, window) {
            check(&graph, IntegerArithmetic::default());
        }
    }
}

/// A convolution of `inputs` channels with such weights, all of whose inputs are 255 where they are not random.
fn ends(weights: Vec<f32>, inputs: usize) -> (Graph, Vec<f32>) {
    let conv = Conv {
        outputs: weights.len() / (9 * inputs),
        weight: Vec::new(),
        groups: 1,
        window: Window::square(3, 1, 1),
        bias: None,
        scale: None,
        shift: None,
    };
    extremes(weights, conv, Shape::new(inputs, 8, 8))
}

#[test]
fn the_largest_inputs_and_weights_of_any_sign_are_summed_exactly() {
    let mut random = Random(32);
    for pick in [[255.0, 255.0], [-255.0, -255.0], [-255.0, 255.0]] {
        let weights = (0..19 * 16 * 9).map(|_| random.pick(&pick)).collect();
        let (graph, image) = ends(weights, 16);
        assert!(is_taken(&graph, IntegerArithmetic::default()));
        let mut images = image.clone();
        // Black and white, which the transforms make most of.
        images.extend(image.iter().map(|_| random.pick(&[0.0, 255.0])));
        for sign in [false, true] {
            let board = |i: usize| (i / 8 + i % 8).is_multiple_of(2) != sign;
            images.extend((0..image.len()).map(|i| if board(i) { 255.0 } else { 0.0 }));
        }
        check_images(&graph, &images, IntegerArithmetic::default());
    }
}

#[test]
fn it_is_taken_up_to_the_largest_sum_that_comes_back_and_not_beyond() {
    // 255 times the weights of a sign may be less than 2^25.
    let most = (1 << 25) / 255;
    for sign in [1.0, -1.0] {
        for (sum, is_exact) in [(most, true), (most + 1, false)] {
            let each = |i: usize| sign * (sum / 1152 + usize::from(i < sum % 1152)) as f32;
            let mut weights: Vec<f32> = (0..1152).map(each).collect();
            // Channels of the other sign do not count.
            weights.extend(vec![-sign * 7.0; 16 * 9]);
            let (graph, image) = ends(weights, 144);
            assert_eq!(is_taken(&graph, IntegerArithmetic::default()), is_exact);
            check_images(&graph, &image, IntegerArithmetic::default());
        }
    }
}

#[test]
fn sums_with_saturation_are_those_of_the_definition_alone() {
    let mut random = Random(33);
    let window = Window::square(3, 1, 1);
    let arithmetic = IntegerArithmetic {
        accumulator: Accumulator::Saturating16,
        ..IntegerArithmetic::default()
    };
    let graph = single(&mut random, Shape::new(16, 8, 8), [16, 1], window).unwrap();
    assert!(is_taken(&graph, IntegerArithmetic::default()));
    assert!(!is_taken(&graph, arithmetic));
    check(&graph, arithmetic);
}

#[test]
fn other_weights_may_be_computed_by_the_other_algorithm() {
    let code = Code {
        scale: 1.0,
        zero_point: 3,
        quant_min: 0,
        quant_max: 255,
    };
    let graph = |weight: f32| {
        let conv = Conv {
            weight: vec![weight; 144 * 16 * 9],
            outputs: 16,
            groups: 1,
            window: Window::square(3, 1, 1),
            bias: None,
            scale: Some(vec![1e-5; 16]),
            shift: None,
        };
        let node = Node {
            clip: Some(Clip::RELU),
            ..Node::new("node", INPUT, Op::Conv(conv)).with_code(code)
        };
        Graph::quantized(Shape::new(144, 8, 8), Some(code), vec![node], "node").unwrap()
    };
    let (large, small) = (graph(130.0), graph(-3.0));
    let exact = IntegerArithmetic::default();
    assert!(!is_taken(&large, exact) && is_taken(&small, exact));
    let images: Vec<f32> = (0..144 * 64).map(|i| (i % 256) as f32).collect();
    for isa in Isa::available() {
        for (from, to) in [(&large, &small), (&small, &large)] {
            let mut program = Program::new(from.clone(), integers(isa, exact)).unwrap();
            let mut workspace = program.workspace();
            program.renew(to.clone(), 0).unwrap();
            let mut found = vec![0.0; program.output().len()];
            program.run(&mut workspace, &images, &mut found).unwrap();
            let expected = Program::new(to.clone(), integers(isa, exact)).unwrap();
            assert_eq!(found, super::run(&expected, &images), "{isa}");
        }
    }
}
