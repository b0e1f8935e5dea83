//! A clipping with ends of each channel's own is what one with the same ends for all is, wherever it stands and whatever is rounded.

use engine::{
    Execution, IntegerArithmetic, Multiplier, Options, Program, Requantize, Shape, Window,
};
use network::{Network, Node, Op, Topology, Value};
use quant_core::{Bits, QParams, Rounding, uniform};
use quantize::{
    BiasPolicy, BnMode, Epilogue, QuantizedNet, ShortcutPolicy, Sites, WeightQuantization,
    lower_quantized, quantize,
};

const SHAPE: Shape = Shape {
    channels: 3,
    height: 6,
    width: 6,
};

/// Clippings behind a layer, behind a sum that a layer joins, behind a concatenation, in front of layers and of sums.
fn network(each: bool) -> Network {
    let conv = |outputs| Op::Conv {
        outputs,
        groups: 1,
        window: Window::square(3, 1, 1),
    };
    let clip = |low: f32, high: f32, channels: usize| match each {
        true => Op::ClipEach(vec![[low, high]; channels]),
        false => Op::Clip { low, high },
    };
    let nodes: [(&str, Op, &[usize]); 11] = [
        ("one", conv(4), &[0]),
        ("one.clip", clip(0.0, 0.4, 4), &[1]),
        ("two", conv(4), &[2]),
        ("sum", Op::Add, &[3, 2]),
        ("sum.clip", clip(-0.1, 0.5, 4), &[4]),
        ("three", conv(4), &[5]),
        ("sum2", Op::Add, &[5, 6]),
        ("both", Op::Concat, &[7, 5]),
        ("both.clip", clip(0.0, 0.3, 8), &[8]),
        ("pool", Op::GlobalAvgPool, &[9]),
        ("last", Op::Linear { outputs: 5 }, &[10]),
    ];
    let nodes = nodes.map(|(name, op, inputs)| Node {
        name: name.to_owned(),
        op,
        inputs: (inputs.iter())
            .map(|&place| place.checked_sub(1).map_or(Value::Input, Value::Node))
            .collect(),
    });
    let topology = Topology::new(SHAPE, nodes.into()).unwrap();
    resnet::random_network(topology, 8).unwrap()
}

fn quantized(network: &Network, shortcut: ShortcutPolicy) -> QuantizedNet {
    let bits = Bits::new(8).unwrap();
    let how = WeightQuantization {
        scheme: Some(quant_core::Scheme::linear(bits)),
        first_bits: None,
        last_bits: None,
        bits_of: Default::default(),
        bias: BiasPolicy::Int32,
        bn: BnMode::Folded,
    };
    let mut net = quantize(network, &how).unwrap();
    let code = |(i, site): (usize, &str)| {
        // Ranges of their own, so that sums and concatenations scale.
        let code = QParams {
            scale: 0.01 + 0.001 * i as f32,
            zero_point: 60,
            quant_min: 0,
            quant_max: 255,
        };
        (site.to_owned(), code)
    };
    let sites = Sites::new(network.topology());
    let codes = sites.names().enumerate().map(code).collect();
    net.quantize_activations(&how, codes, shortcut).unwrap();
    net
}

fn results(net: &QuantizedNet, epilogue: Epilogue, execution: Execution) -> Vec<f32> {
    let graph = lower_quantized(net.clone(), [SHAPE.height, SHAPE.width], epilogue).unwrap();
    let options = Options {
        execution,
        group: 1,
        ..Options::default()
    };
    let program = Program::new(graph, options).unwrap();
    let pixels: Vec<f32> = (0..SHAPE.len())
        .map(|i| 2.0 * uniform(1, i as u64) - 1.0)
        .collect();
    let mut results = vec![0.0; program.output().len()];
    program
        .run(&mut program.workspace(), &pixels, &mut results)
        .unwrap();
    results
}

#[test]
fn equal_ends_are_one_clipping_in_every_execution_and_wherever_values_fork() {
    let arithmetic = |requantize, multiplier| {
        Execution::Integer(IntegerArithmetic {
            requantize,
            multiplier,
            ..IntegerArithmetic::default()
        })
    };
    let exact = arithmetic(Requantize::Once(Rounding::HalfEven), Multiplier::Fixed);
    let gemmlowp = arithmetic(Requantize::Gemmlowp, Multiplier::Fixed);
    let ort = arithmetic(Requantize::OnnxRuntime, Multiplier::Float);
    let [all, each] = [false, true].map(network);
    for shortcut in ShortcutPolicy::ALL {
        let [all, each] = [&all, &each].map(|network| quantized(network, shortcut));
        for epilogue in [Epilogue::Fused, Epilogue::Separate] {
            let simulated = results(&each, epilogue, Execution::Simulate);
            assert!(simulated.iter().any(|&z| z != simulated[0]));
            assert_eq!(
                simulated,
                results(&all, epilogue, Execution::Simulate),
                "{shortcut}"
            );
            if !shortcut.adds_codes() {
                continue;
            }
            assert_eq!(simulated, results(&each, epilogue, exact), "{shortcut}");
            for execution in [gemmlowp, ort] {
                let found = results(&each, epilogue, execution);
                assert_eq!(found, results(&all, epilogue, execution), "{shortcut}");
            }
        }
    }
}
