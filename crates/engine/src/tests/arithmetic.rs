//! Every arithmetic of integer execution against the twin, and what must not change the codes.

use proptest::prelude::*;
use quant_core::Rounding;

use super::quantized::{check, images, run};
use super::random::{network, window};
use super::{Random, quantized};
use crate::domain::{IntegerArithmetic, Requantize};
use crate::epilogue::Multiplier;
use crate::graph::{Code, Conv, Graph, INPUT, Node, Op};
use crate::kernel::{Accumulator, Isa};
use crate::program::{Execution, Options};
use crate::shape::{Shape, Window};

const REQUANTIZE: [Requantize; 4] = [
    Requantize::Once(Rounding::HalfEven),
    Requantize::Once(Rounding::HalfAway),
    Requantize::Once(Rounding::Floor),
    Requantize::Gemmlowp,
];
const ACCUMULATORS: [Accumulator; 2] = [Accumulator::Wide, Accumulator::Saturating16];

/// All those that have a twin in whole numbers.
fn whole() -> Vec<IntegerArithmetic> {
    let multipliers = [Multiplier::Fixed, Multiplier::PowerOfTwo];
    let all = REQUANTIZE.iter().flat_map(|&requantize| {
        multipliers.iter().flat_map(move |&multiplier| {
            ACCUMULATORS.map(move |accumulator| IntegerArithmetic {
                requantize,
                multiplier,
                accumulator,
            })
        })
    });
    all.filter(|how| how.requantize != Requantize::Gemmlowp || how.multiplier == Multiplier::Fixed)
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(25))]
    #[test]
    fn every_arithmetic_gives_its_twin_s_codes(seed in any::<u64>()) {
        let graph = network(seed);
        for arithmetic in whole() {
            check(&graph, arithmetic);
        }
    }

    #[test]
    fn negative_scales_and_any_window_round_as_their_twin_does(
        each in 1usize..8,
        groups in 1usize..4,
        makes in 1usize..20,
        seed in any::<u64>(),
    ) {
        let mut random = Random(seed);
        let input = Shape::new(each * groups, 6, 7);
        let window = window(&mut random, input);
        let counts = [makes * groups, groups];
        let graph = quantized::single(&mut random, input, counts, window).unwrap();
        let mut node = graph.nodes[0].node.clone();
        if let Op::Conv(conv) = &mut node.op {
            for scale in conv.scale.iter_mut().flatten().step_by(2) {
                *scale = -*scale;
            }
        }
        let graph = Graph::quantized(input, graph.input_code, vec![node], "node").unwrap();
        // gemmlowp's multipliers are positive.
        for how in whole().into_iter().filter(|how| how.requantize != Requantize::Gemmlowp) {
            check(&graph, how);
        }
    }

    #[test]
    fn float_multipliers_give_the_same_codes_with_every_instruction_set(seed in any::<u64>()) {
        let graph = network(seed);
        let images = images(&graph, 3, &mut Random(seed));
        for requantize in &REQUANTIZE[..3] {
            for accumulator in ACCUMULATORS {
                let execution = Execution::Integer(IntegerArithmetic {
                    requantize: *requantize,
                    multiplier: Multiplier::Float,
                    accumulator,
                });
                let mut all = Isa::available().into_iter().map(|isa| {
                    let options = Options { isa, group: 3, execution, ..Options::default() };
                    run(&graph, options, &images)
                });
                let first = all.next().unwrap();
                prop_assert!(all.all(|found| found == first));
            }
        }
    }

    #[test]
    fn fused_and_separate_epilogues_give_the_same_codes(seed in any::<u64>()) {
        let fused = network(seed);
        let separate = separate(&fused);
        let images = images(&fused, 3, &mut Random(seed));
        let mut executions = vec![Execution::Simulate];
        executions.extend(whole().into_iter().map(Execution::Integer));
        for execution in executions {
            let options = Options { group: 3, execution, ..Options::default() };
            for (fused, separate) in run(&fused, options, &images).iter().zip(run(&separate, options, &images)) {
                prop_assert_eq!(fused.last(), separate.last());
            }
        }
    }
}

/// The same graph with additions and ReLUs that stand by themselves.
fn separate(graph: &Graph) -> Graph {
    let mut nodes = Vec::new();
    for placed in &graph.nodes {
        let node = placed.node.clone();
        if !matches!(node.op, Op::Conv(_)) {
            nodes.push(node);
            continue;
        }
        let inner = format!("{}.inner", node.name);
        let end = Node {
            input: inner.clone(),
            op: Op::Identity,
            inner: None,
            ..node.clone()
        };
        let first = Node {
            code: node.inner.or(node.code),
            ..Node::new(inner, node.input, node.op)
        };
        nodes.extend([first, end]);
    }
    Graph::quantized(graph.input, graph.input_code, nodes, "logits").unwrap()
}

#[test]
fn ties_and_saturation_do_occur() {
    // Otherwise the tests above would show little. Two products of 255 and -128 are -65280 in all, -32768 in 16 bits.
    let code = |scale, quant_min| Code {
        scale,
        zero_point: 0,
        quant_min,
        quant_max: quant_min + 255,
    };
    let conv = Conv {
        weight: vec![-128.0, -128.0, 1.0, 1.0, 3.0, 0.0],
        outputs: 3,
        groups: 1,
        window: Window::square(1, 1, 0),
        bias: None,
        scale: None,
        shift: None,
    };
    let node = Node::new("node", INPUT, Op::Conv(conv)).with_code(code(1024.0, -128));
    let input = Shape::new(2, 1, 1);
    let graph = Graph::quantized(input, Some(code(1.0, 0)), vec![node], "node").unwrap();
    let found = |arithmetic, image: [f32; 2]| {
        let options = Options {
            group: 1,
            execution: Execution::Integer(arithmetic),
            ..Options::default()
        };
        run(&graph, options, &image)[0][0][0]
    };
    let with = |requantize, accumulator| IntegerArithmetic {
        requantize,
        multiplier: Multiplier::Fixed,
        accumulator,
    };
    let [even, away, floor, gemmlowp] = REQUANTIZE;
    assert_eq!(found(with(even, Accumulator::Wide), [255.0, 255.0]), -64);
    assert_eq!(
        found(with(even, Accumulator::Saturating16), [255.0, 255.0]),
        -32
    );
    // -128 * 20 / 1024 = -2.5.
    for (rule, q) in [(even, -2), (away, -3), (floor, -3), (gemmlowp, -3)] {
        assert_eq!(
            found(with(rule, Accumulator::Wide), [20.0, 0.0]),
            q,
            "{rule:?}"
        );
    }
}
