//! Values share memory, threads share programs: none of it may be seen in the codes.

use super::quantized::{images, run};
use super::random::network;
use super::{Random, same_bytes, twin};
use crate::domain::IntegerArithmetic;
use crate::graph::{Code, Conv, Graph, INPUT, Node, Op};
use crate::kernel::Isa;
use crate::program::{Execution, Options, Program, WHOLE_GROUPS};
use crate::shape::{Shape, Window};

const EXECUTIONS: [fn() -> Execution; 2] = [
    || Execution::Simulate,
    || Execution::Integer(IntegerArithmetic::default()),
];

#[test]
fn every_number_of_threads_and_every_group_gives_the_same_codes() {
    for seed in 0..4 {
        for isa in Isa::available() {
            for execution in EXECUTIONS {
                let options = Options {
                    isa,
                    execution: execution(),
                    ..Options::default()
                };
                same_bytes(&network(seed), options);
            }
        }
    }
}

#[test]
fn nodes_that_run_image_by_image_make_the_same_results() {
    let mut split = 0;
    for seed in 0..40 {
        let graph = network(seed);
        let images = images(&graph, 7, &mut Random(seed));
        let sizes: Vec<_> = (0..=graph.nodes.len())
            .map(|value| graph.shape(value).len())
            .collect();
        for execution in EXECUTIONS {
            let results = |large| {
                let options = Options {
                    execution: execution(),
                    group: 3,
                    large,
                    ..Options::default()
                };
                // One workspace for three groups, the last of one image.
                super::run(&Program::new(graph.clone(), options).unwrap(), &images)
            };
            let whole = results(WHOLE_GROUPS);
            let mut sizes = sizes.clone();
            sizes.sort_unstable();
            sizes.dedup();
            for &large in &sizes {
                assert_eq!(results(large), whole, "seed {seed}, {large} elements");
            }
            split += usize::from(sizes.len() > 2);
        }
    }
    assert!(split > 20, "{split} networks were split in between");
}

#[test]
fn simulated_and_integer_results_are_the_same_real_numbers() {
    for seed in 0..20 {
        let graph = network(seed);
        let images = images(&graph, 2, &mut Random(seed));
        let [simulated, integer] = EXECUTIONS.map(|execution| {
            let options = Options {
                execution: execution(),
                group: 2,
                ..Options::default()
            };
            let program = Program::new(graph.clone(), options).unwrap();
            super::run(&program, &images)
                .iter()
                .map(|x| x.to_bits())
                .collect::<Vec<_>>()
        });
        assert_eq!(simulated, integer);
    }
}

/// A chain of convolutions of one shape, whose values share two buffers. All borders count.
fn chain(codes: &[Code]) -> Graph {
    let mut random = Random(codes.len() as u64);
    let shape = Shape::new(4, 5, 5);
    let mut nodes: Vec<Node> = Vec::new();
    for (i, &code) in codes.iter().enumerate() {
        let input = nodes.last().map_or(INPUT, |node| &node.name).to_owned();
        let weight = (0..4 * 4 * 9)
            .map(|_| random.between(-90, 90) as f32)
            .collect();
        let conv = Conv {
            weight,
            outputs: 4,
            groups: 1,
            window: Window::square(3, 1, 1),
            bias: None,
            scale: Some(vec![1.0 / 256.0; 4]),
            shift: None,
        };
        nodes.push(Node::new(i.to_string(), input, Op::Conv(conv)).with_code(code));
    }
    let last = nodes.last().unwrap().name.clone();
    Graph::quantized(shape, Some(codes[0]), nodes, &last).unwrap()
}

#[test]
fn borders_hold_their_own_value_s_zero_point_whoever_had_the_buffer_before() {
    let code = |quant_min: i32, zero_point: i32| Code {
        scale: 1.0,
        zero_point,
        quant_min,
        quant_max: quant_min + 255,
    };
    let chains: [&[Code]; 5] = [
        // The same everywhere, and not 0.
        &[code(0, 77); 5],
        // Neighbours in a buffer differ.
        &[
            code(0, 10),
            code(0, 20),
            code(0, 30),
            code(0, 40),
            code(0, 50),
        ],
        // The same zero point, stored differently with a sign and without.
        &[
            code(0, 3),
            code(0, 3),
            code(-128, 3),
            code(-128, 3),
            code(0, 3),
        ],
        // Different zero points, stored alike.
        &[
            code(0, 100),
            code(0, 100),
            code(-128, -28),
            code(-128, -28),
            code(0, 100),
        ],
        // Two that need no renewal in a row, then a stranger.
        &[code(0, 9), code(0, 8), code(0, 9), code(0, 8), code(0, 255)],
    ];
    for codes in chains {
        let graph = chain(codes);
        let arithmetic = IntegerArithmetic::default();
        let images = images(&graph, 6, &mut Random(1));
        let images: Vec<&[f32]> = images.chunks_exact(graph.input().len()).collect();
        for execution in EXECUTIONS {
            let options = Options {
                execution: execution(),
                group: 3,
                ..Options::default()
            };
            // In one workspace: fewer images than it holds, then more, then fewer.
            let program = Program::new(graph.clone(), options).unwrap();
            let mut workspace = program.workspace();
            for group in [0..1, 1..4, 4..6] {
                let mut results = vec![0.0; group.len() * program.output().len()];
                let given = images[group.clone()].concat();
                program.run(&mut workspace, &given, &mut results).unwrap();
                let fresh = run(&graph, options, &given);
                for (n, results) in results.chunks_exact(program.output().len()).enumerate() {
                    let expected = twin::codes(&graph, images[group.start + n], arithmetic);
                    let last = codes[codes.len() - 1];
                    let expected = expected.last().unwrap();
                    assert_eq!(fresh[n].last(), Some(expected), "{codes:?}");
                    let real: Vec<_> = expected.iter().map(|&q| last.dequantize(q)).collect();
                    assert_eq!(results, real, "{codes:?}");
                }
            }
        }
    }
}
