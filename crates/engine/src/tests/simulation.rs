//! Simulation of what integers cannot do, against the definition in float64: real values and weights among codes,
//! BatchNorm's factors of either sign, codes of 16 bits.

use std::collections::HashMap;

use proptest::prelude::*;

use super::quantized::images;
use super::random::network;
use super::{Random, run};
use crate::graph::{Code, Graph, INPUT, Node, Op};
use crate::kernel::Isa;
use crate::program::{Execution, Options, Program};
use crate::reference::{Bounded, node};

/// `graph` with some of its codes dropped or made of 16 bits, real weights and shifts, additions without codes before.
fn loosened(graph: &Graph, random: &mut Random) -> Graph {
    let wide = |code: Code| Code {
        scale: code.scale / 256.0,
        zero_point: code.zero_point * 256,
        quant_min: code.quant_min * 256,
        quant_max: code.quant_max * 256 + 255,
    };
    let loose = |random: &mut Random, code: Option<Code>| match random.between(0, 4) {
        0 => None,
        1 => code.map(wide),
        _ => code,
    };
    let input_code = loose(random, graph.input_code);
    let mut codes = HashMap::from([(INPUT.to_owned(), input_code)]);
    let mut nodes: Vec<Node> = Vec::new();
    for placed in &graph.nodes {
        let mut node = placed.node.clone();
        node.code = match node.op {
            _ if node.op.is_copy() => codes[&node.input],
            _ => loose(random, node.code),
        };
        node.inner = loose(random, node.inner);
        if let Op::Conv(conv) = &mut node.op {
            if random.once_in(2) {
                conv.weight
                    .iter_mut()
                    .for_each(|w| *w += random.next() / 3.0);
            }
            for scale in conv.scale.iter_mut().flatten() {
                *scale *= random.pick(&[1.0, -1.0]);
            }
            let shift = (0..conv.outputs).map(|_| random.next()).collect();
            conv.shift = random.once_in(2).then_some(shift);
        }
        codes.insert(node.name.clone(), node.code);
        nodes.push(node);
    }
    Graph::quantized(graph.input, input_code, nodes, "logits").unwrap()
}

/// Every element of every node must lie within the bound around what the definition makes of the values before it.
fn check(graph: &Graph, images: &[f32]) {
    for isa in Isa::available() {
        let options = Options {
            isa,
            group: 1,
            execution: Execution::Simulate,
            ..Options::default()
        };
        let program = Program::new(graph.clone(), options).unwrap();
        let mut workspace = program.workspace();
        for image in images.chunks_exact(graph.input().len()) {
            let enter = |&x: &f32| match graph.input_code {
                Some(code) => code.fake_quant(x, quant_core::Rounding::HalfEven, 0),
                None => x,
            };
            let mut values = vec![exact(graph.input_code, image.iter().map(enter))];
            let mut results = vec![0.0; program.output().len()];
            program
                .run_observed(&mut workspace, image, &mut results, &mut |seen| {
                    let placed = &graph.nodes[seen.node];
                    let found = exact(placed.node.code, seen.to_planar());
                    let expected = node(graph, placed, &values);
                    for (at, (found, expected)) in found.iter().zip(&expected).enumerate() {
                        // A real result is rounded to float32.
                        let rounding = expected.value.abs() * f64::from(f32::EPSILON) / 2.0;
                        assert!(
                            (found.value - expected.value).abs() <= expected.error + rounding,
                            "{isa}, node {}, element {at}: {}, {expected:?}",
                            placed.node.name,
                            found.value
                        );
                    }
                    values.push(found);
                })
                .unwrap();
        }
    }
}

/// Numbers without the rounding of `scale * (q - zero_point)` to float32.
fn exact(code: Option<Code>, values: impl IntoIterator<Item = f32>) -> Vec<Bounded> {
    let scale = code.map_or(1.0, |code| f64::from(code.scale));
    let whole = |x: f32| match code {
        Some(_) => (f64::from(x) / scale).round() * scale,
        None => f64::from(x),
    };
    values.into_iter().map(|x| whole(x).into()).collect()
}

/// Whoever leaves the choice of numbers gets the bytes of the simulation.
fn same_results(graph: &Graph, images: &[f32]) {
    let results = |execution| {
        let options = Options {
            execution,
            ..Options::default()
        };
        let program = Program::new(graph.clone(), options).unwrap();
        let results = run(&program, images);
        let bits: Vec<u32> = results.iter().map(|x| x.to_bits()).collect();
        (bits, program.executed())
    };
    let (simulated, _) = results(Execution::Simulate);
    let (chosen, executed) = results(Execution::Auto);
    assert_eq!(chosen, simulated, "{executed}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn whatever_stays_real_is_simulated_within_the_bound(seed in any::<u64>()) {
        let graph = network(seed);
        let images = images(&graph, 2, &mut Random(seed));
        let loosened = loosened(&graph, &mut Random(seed));
        check(&loosened, &images);
        same_results(&loosened, &images);
    }

    #[test]
    fn quantized_networks_are_simulated_within_half_a_step(seed in any::<u64>()) {
        let graph = network(seed);
        let images = images(&graph, 1, &mut Random(seed));
        check(&graph, &images);
        same_results(&graph, &images);
    }
}
