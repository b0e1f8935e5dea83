//! One thing changed in the middle of a run: what comes out is what the whole changed network makes.

use super::Random;
use super::quantized::images;
use super::random::network;
use crate::graph::{Graph, Op};
use crate::program::{Options, Program, WHOLE_GROUPS, Workspace};

const OPTIONS: fn() -> Options = || Options {
    group: 4,
    large: WHOLE_GROUPS,
    ..Options::default()
};

/// A program, and what lies in its memory.
fn entered(graph: &Graph, images: &[f32]) -> (Program, Workspace, usize) {
    let program = Program::new(graph.clone(), OPTIONS()).unwrap();
    let mut workspace = program.workspace();
    let count = program.enter(&mut workspace, images).unwrap();
    (program, workspace, count)
}

/// With codes and without.
fn graphs(seed: u64) -> ([Graph; 2], Vec<f32>) {
    let coded = network(seed);
    let mut float = coded.clone();
    float.input_code = None;
    for placed in &mut float.nodes {
        (placed.node.code, placed.node.inner) = (None, None);
        if let Op::Conv(conv) = &mut placed.node.op {
            conv.bias = None;
        }
    }
    let images = images(&coded, 3, &mut Random(seed + 5));
    ([float, coded], images)
}

#[test]
fn a_variant_in_the_middle_makes_what_the_other_network_makes() {
    let mut tried = 0;
    let all = (0..12).map(graphs);
    for (graph, images) in all.flat_map(|(both, images)| both.map(|one| (one, images.clone()))) {
        let mut other = graph.clone();
        for placed in &mut other.nodes {
            if let Op::Conv(conv) = &mut placed.node.op {
                conv.weight.reverse();
            }
        }
        let (program, mut prefix, count) = entered(&graph, &images);
        let mut suffix = program.workspace();
        let variants = program.variants(other.clone(), &|_| true).unwrap();
        let mut next = 0;
        for variant in &variants {
            for node in next..variant.node() {
                program
                    .step(&mut prefix, (node, count), &mut |_| ())
                    .unwrap();
            }
            next = variant.node();
            program
                .hand_over(&prefix, &mut suffix, (next, count))
                .unwrap();
            program
                .step_as(&mut suffix, (variant, count), &mut |_| ())
                .unwrap();
            for node in next + 1..graph.nodes.len() {
                program
                    .step(&mut suffix, (node, count), &mut |_| ())
                    .unwrap();
            }
            let found = program.result(&suffix, count).unwrap();
            let mut whole = graph.clone();
            whole.nodes[next] = other.nodes[next].clone();
            let whole = Program::new(whole, OPTIONS()).unwrap();
            let mut expected = vec![0.0; found.len()];
            whole
                .run(&mut whole.workspace(), &images, &mut expected)
                .unwrap();
            assert_eq!(found, expected, "node {next}");
            tried += 1;
        }
    }
    assert!(tried > 24, "{tried}");
}

#[test]
fn a_value_is_revised_where_it_lies_and_its_border_is_not() {
    let mut moved = 0;
    for seed in 0..12 {
        let ([graph, coded], images) = graphs(seed);
        let (program, mut workspace, count) = entered(&graph, &images);
        let mut elements = 0;
        let double = &mut |some: &mut [f32]| {
            elements += some.len();
            some.iter_mut().for_each(|x| *x *= 2.0);
        };
        program
            .revise(&mut workspace, (None, count), double)
            .unwrap();
        assert_eq!(elements, images.len());
        for node in 0..graph.nodes.len() {
            program
                .step(&mut workspace, (node, count), &mut |_| ())
                .unwrap();
        }
        let found = program.result(&workspace, count).unwrap();
        let doubled: Vec<f32> = images.iter().map(|x| x * 2.0).collect();
        let mut expected = vec![0.0; found.len()];
        program
            .run(&mut program.workspace(), &doubled, &mut expected)
            .unwrap();
        assert_eq!(found, expected, "seed {seed}");
        let mut unmoved = expected.clone();
        program
            .run(&mut program.workspace(), &images, &mut unmoved)
            .unwrap();
        moved += usize::from(unmoved != expected);
        let (coded, mut workspace, count) = entered(&coded, &images);
        assert!(
            coded
                .revise(&mut workspace, (None, count), &mut |_| ())
                .is_err()
        );
        assert!(
            program
                .hand_over(&workspace, &mut program.workspace(), (0, count))
                .is_err()
        );
    }
    assert!(moved > 6, "{moved}");
}
