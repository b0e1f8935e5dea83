//! Whole networks with quantized activations: simulation, integers and the burn module side by side.

use burn::tensor::{Device, Tensor, TensorData};
use engine::{Execution, IntegerArithmetic, Options, Program};
use network::Network;
use quant_core::{
    ActivationRange, ActivationScheme, Bits, CodeRange, Granularity, Mapping, RangeMethod,
    Rounding, Scheme, Statistics, uniform,
};

use crate::OnDevice;
use network::StateDict;
use quantize::{
    ActivationQuantization, BiasPolicy, BnMode, Epilogue, QuantizedNet, ShortcutPolicy, Site,
    SiteStatistics, Sites, WeightQuantization, lower, lower_quantized, quantize,
};
use resnet::Arch;
use resnet::random_state;

fn images(n: usize, side: usize) -> Vec<f32> {
    (0..n * 3 * side * side)
        .map(|i| 4.0 * uniform(9, i as u64) - 2.0)
        .collect()
}

/// The network with these numbers.
fn checked(arch: &Arch, state: &StateDict) -> Network {
    resnet::network(arch, state.clone()).unwrap()
}

/// A node's name and the codes it made.
type NodeCodes = (String, Option<Vec<i32>>);

/// What the float network's sites see of `pixels`.
fn calibrated(arch: &Arch, state: &StateDict, pixels: &[f32], side: usize) -> SiteStatistics {
    let graph = lower(checked(arch, state), [side, side], Epilogue::Separate).unwrap();
    let program = Program::new(graph, Options::default()).unwrap();
    let nodes: Vec<_> = program.nodes().map(|node| node.name.to_owned()).collect();
    let sites = Sites::new(&resnet::topology(arch)).sites;
    let mut statistics = SiteStatistics::new();
    let mut see = |node: &str, values: &[f32]| {
        for Site { name, .. } in sites.iter().filter(|site| site.node == node) {
            let seen: &mut Statistics = statistics.entry(name.clone()).or_default();
            seen.add(name, 0, values).unwrap();
        }
    };
    see(engine::INPUT, pixels);
    let mut results = vec![0.0; pixels.len() / program.input().len() * program.output().len()];
    let mut workspace = program.workspace();
    program
        .run_observed(&mut workspace, pixels, &mut results, &mut |seen| {
            see(&nodes[seen.node], &seen.to_planar());
        })
        .unwrap();
    statistics
}

fn weights(mapping: Mapping, granularity: Granularity, bias: BiasPolicy) -> WeightQuantization {
    WeightQuantization {
        scheme: Some(
            Scheme::new(
                Bits::new(8).unwrap(),
                mapping,
                CodeRange::Narrow,
                granularity,
                RangeMethod::MinMax,
                Rounding::HalfEven,
            )
            .unwrap(),
        ),
        first_bits: None,
        last_bits: None,
        bits_of: Default::default(),
        bias,
        bn: BnMode::Folded,
    }
}

fn activations(shortcut: ShortcutPolicy) -> ActivationQuantization {
    ActivationQuantization {
        scheme: ActivationScheme::new(
            Bits::new(8).unwrap(),
            Mapping::Affine,
            CodeRange::Narrow,
            ActivationRange::MinMax,
            Rounding::HalfEven,
        )
        .unwrap(),
        first_bits: None,
        last_bits: None,
        bits_of: Default::default(),
        shortcut,
    }
}

struct Case {
    arch: Arch,
    side: usize,
    pixels: Vec<f32>,
    state: StateDict,
    statistics: SiteStatistics,
}

impl Case {
    fn new(arch: &str, side: usize) -> Self {
        let arch = Arch::parse(arch).unwrap().with_classes(7);
        let state = random_state(&arch, 3);
        let pixels = images(3, side);
        let statistics = calibrated(&arch, &state, &pixels, side);
        Self {
            arch,
            side,
            pixels,
            state,
            statistics,
        }
    }

    fn net(&self, how: &WeightQuantization, shortcut: ShortcutPolicy) -> QuantizedNet {
        let codes = Sites::new(&resnet::topology(&self.arch))
            .fit(&self.statistics, &activations(shortcut))
            .unwrap();
        let mut net = quantize(&checked(&self.arch, &self.state), how).unwrap();
        net.quantize_activations(how, codes, shortcut).unwrap();
        net
    }

    /// Logits, and the codes of every node.
    fn run(
        &self,
        net: &QuantizedNet,
        epilogue: Epilogue,
        execution: Execution,
    ) -> (Vec<f32>, Vec<NodeCodes>) {
        let size = [self.side, self.side];
        let graph = lower_quantized(net.clone(), size, epilogue).unwrap();
        let options = Options {
            execution,
            ..Options::default()
        };
        let program = Program::new(graph, options).unwrap();
        let names: Vec<_> = program.nodes().map(|node| node.name.to_owned()).collect();
        let mut logits = vec![0.0; 3 * 7];
        let mut codes = Vec::new();
        let mut workspace = program.workspace();
        program
            .run_observed(&mut workspace, &self.pixels, &mut logits, &mut |seen| {
                codes.push((names[seen.node].clone(), seen.to_codes()));
            })
            .unwrap();
        (logits, codes)
    }
}

const EXACT: fn() -> Execution = || Execution::Integer(IntegerArithmetic::default());

#[test]
fn simulation_and_integers_agree_on_every_code_of_every_value() {
    for (arch, side) in [
        ("cifar-resnet20", 32),
        ("cifar-resnet20-b", 32),
        ("resnet18", 64),
        ("resnet50", 64),
    ] {
        let case = Case::new(arch, side);
        for (mapping, granularity) in [
            (Mapping::Symmetric, Granularity::Channel),
            (Mapping::Affine, Granularity::Tensor),
        ] {
            let how = weights(mapping, granularity, BiasPolicy::Int32);
            for shortcut in [ShortcutPolicy::Shared, ShortcutPolicy::Rescale] {
                let net = case.net(&how, shortcut);
                let (logits, simulated) = case.run(&net, Epilogue::Separate, Execution::Simulate);
                let (_, integers) = case.run(&net, Epilogue::Separate, EXACT());
                assert_eq!(simulated, integers, "{arch} {mapping} {shortcut}");
                assert!(simulated.iter().all(|(_, codes)| codes.is_some()));
                for execution in [Execution::Simulate, EXACT()] {
                    let (fused, _) = case.run(&net, Epilogue::Fused, execution);
                    assert_eq!(fused, logits, "{arch} {mapping} {shortcut} fused");
                }
            }
        }
    }
}

/// Nothing comes out of this convolution and its BatchNorm.
fn kill(state: &mut StateDict, bn: &str) {
    for part in ["weight", "bias"] {
        let tensor = state.get_mut(&format!("{bn}.{part}")).unwrap();
        tensor.data.fill(0.0);
    }
}

#[test]
fn a_dead_branch_has_scale_1_and_a_note_and_integers_still_are_the_simulation() {
    let mut case = Case::new("cifar-resnet20", 32);
    // In front of a convolution, and a summand.
    for bn in ["layer2.1.bn1", "layer1.0.bn2"] {
        kill(&mut case.state, bn);
    }
    case.statistics = calibrated(&case.arch, &case.state, &case.pixels, case.side);
    let sites = Sites::new(&resnet::topology(&case.arch));
    for mapping in Mapping::ALL {
        for shortcut in [ShortcutPolicy::Shared, ShortcutPolicy::Rescale] {
            let scheme = ActivationScheme::new(
                Bits::new(8).unwrap(),
                mapping,
                CodeRange::Narrow,
                ActivationRange::MinMax,
                Rounding::HalfEven,
            );
            let how = ActivationQuantization {
                scheme: scheme.unwrap(),
                ..activations(shortcut)
            };
            let of_weights = weights(Mapping::Symmetric, Granularity::Channel, BiasPolicy::Int32);
            let mut net = quantize(&checked(&case.arch, &case.state), &of_weights).unwrap();
            let codes = sites.fit(&case.statistics, &how).unwrap();
            net.quantize_activations(&of_weights, codes, shortcut)
                .unwrap();
            net.note_dead(&sites.dead(&case.statistics, shortcut));
            let noted: Vec<_> = net
                .manifest
                .iter()
                .filter(|d| d.reason.contains("every value was zero"))
                .collect();
            let expected = match shortcut {
                // With the scale of the other summand.
                ShortcutPolicy::Shared => &["layer2.1.conv1"][..],
                _ => &["layer1.0.conv2", "layer2.1.conv1"],
            };
            assert!(noted.iter().map(|d| &d.tensor).eq(expected), "{noted:?}");
            for decision in noted {
                assert!(decision.quantized && decision.bits == 8, "{decision:?}");
                let scale = "scale 1e0, zero point 0, codes 0 to 255; ";
                assert!(decision.reason.starts_with(scale), "{decision:?}");
            }
            let (logits, simulated) = case.run(&net, Epilogue::Separate, Execution::Simulate);
            let (found, integers) = case.run(&net, Epilogue::Separate, EXACT());
            assert_eq!(simulated, integers, "{mapping} {shortcut}");
            assert_eq!(logits, found, "{mapping} {shortcut}");
            assert!(logits.iter().any(|z| *z != logits[0]));
            // Zero's code, whatever the images.
            let dead = simulated.iter().find(|(node, _)| node == "layer2.1.conv1");
            let codes = dead.unwrap().1.as_ref().unwrap();
            assert!(codes.iter().all(|&q| q == 0), "{mapping} {shortcut}");
        }
    }
}

#[test]
fn eight_bits_are_close_to_float_and_the_burn_module_to_the_engine() {
    let case = Case::new("cifar-resnet20", 32);
    let device = Device::flex();
    let float = lower(checked(&case.arch, &case.state), [32, 32], Epilogue::Fused).unwrap();
    let float = Program::new(float, Options::default()).unwrap();
    let mut expected = vec![0.0; 3 * 7];
    float
        .run(&mut float.workspace(), &case.pixels, &mut expected)
        .unwrap();
    let largest = expected.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
    let far = |a: &[f32], b: &[f32]| {
        let distances = a.iter().zip(b).map(|(a, b)| (a - b).abs());
        distances.fold(0.0, f32::max) / largest
    };
    for shortcut in [
        ShortcutPolicy::Shared,
        ShortcutPolicy::Rescale,
        ShortcutPolicy::Float,
        ShortcutPolicy::IdentityFloat,
    ] {
        let how = weights(Mapping::Symmetric, Granularity::Channel, BiasPolicy::Int32);
        let net = case.net(&how, shortcut);
        let (logits, _) = case.run(&net, Epilogue::Fused, Execution::Simulate);
        assert!(
            far(&logits, &expected) < 0.1,
            "{shortcut}: {}",
            far(&logits, &expected)
        );
        let on_device = OnDevice::quantized(&net, &device).unwrap();
        let data = TensorData::new(case.pixels.clone(), [3, 3, 32, 32]);
        let found = on_device.forward(Tensor::from_data(data, &device));
        let found = found.unwrap().into_data().try_to_vec::<f32>().unwrap();
        // A code that falls to the other side of a tie moves a logit by a step or two.
        assert!(
            far(&found, &logits) < 0.03,
            "{shortcut}: {}",
            far(&found, &logits)
        );
    }
}

#[test]
fn a_site_with_a_code_among_others_in_float_is_rounded_and_nothing_else_is() {
    let case = Case::new("cifar-resnet20-b", 32);
    let device = Device::flex();
    let float = WeightQuantization {
        scheme: None,
        ..weights(Mapping::Symmetric, Granularity::Channel, BiasPolicy::Float)
    };
    let whole = case.net(&float, ShortcutPolicy::Rescale);
    let all = whole.activations.clone().unwrap().0;
    let sites = Sites::new(&resnet::topology(&case.arch));
    for site in sites.names() {
        let mut net = whole.clone();
        // Four bits: so coarse that a site rounded too much or too little is seen.
        let mut code = all[site];
        code.scale *= 17.0;
        code.zero_point /= 17;
        code.quant_max = code.quant_min + 15;
        let only = [(site.to_owned(), code)].into();
        net.activations = Some((only, ShortcutPolicy::Rescale));
        let on_device = OnDevice::quantized(&net, &device).unwrap();
        let (logits, seen) = case.run(&net, Epilogue::Separate, Execution::Simulate);
        let coded = seen.iter().filter(|(_, codes)| codes.is_some());
        let coded: Vec<_> = coded.map(|(node, _)| node.clone()).collect();
        let expected = sites.quantized_node(site, ShortcutPolicy::Rescale);
        let expected = (expected != engine::INPUT).then_some(expected);
        assert_eq!(coded, Vec::from_iter(expected), "{site}");
        let (fused, _) = case.run(&net, Epilogue::Fused, Execution::Simulate);
        let largest = logits.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
        // What stays in float is summed in another order.
        for (a, b) in fused.iter().zip(&logits) {
            assert!((a - b).abs() < 1e-5 * largest, "{site}: {a}, {b}");
        }
        let data = TensorData::new(case.pixels.clone(), [3, 3, 32, 32]);
        let found = on_device.forward(Tensor::from_data(data, &device));
        let found = found.unwrap().into_data().try_to_vec::<f32>().unwrap();
        for (a, b) in found.iter().zip(&logits) {
            assert!((a - b).abs() < 0.02 * largest, "{site}: {a}, {b}");
        }
    }
}

#[test]
fn what_integers_cannot_do_is_one_line_that_names_the_layer() {
    let case = Case::new("cifar-resnet20", 32);
    let message = |how: &WeightQuantization, shortcut| {
        let net = case.net(how, shortcut);
        let graph = lower_quantized(net, [32, 32], Epilogue::Fused).unwrap();
        let options = Options {
            execution: EXACT(),
            ..Options::default()
        };
        let Err(error) = Program::new(graph, options) else {
            panic!("integers did it");
        };
        error.to_string()
    };
    let int32 = weights(Mapping::Symmetric, Granularity::Channel, BiasPolicy::Int32);
    let float = message(&int32, ShortcutPolicy::Float);
    assert!(
        float.contains("shortcut") && float.contains("layer1.0.conv2"),
        "{float}"
    );
    let real_bias = weights(Mapping::Symmetric, Granularity::Channel, BiasPolicy::Float);
    let bias = message(&real_bias, ShortcutPolicy::Rescale);
    assert!(bias.contains("int32") && bias.contains("conv1"), "{bias}");
    let real_weights = WeightQuantization {
        scheme: None,
        ..real_bias
    };
    let weights = message(&real_weights, ShortcutPolicy::Rescale);
    assert!(weights.contains("conv1"), "{weights}");
}

#[test]
fn a_bias_past_its_bits_is_reported_and_clamped() {
    let mut case = Case::new("cifar-resnet20", 32);
    let bias = case.state.get_mut("linear.bias").unwrap();
    bias.data[2] = 1e9;
    let how = weights(Mapping::Symmetric, Granularity::Channel, BiasPolicy::Int32);
    let net = case.net(&how, ShortcutPolicy::Rescale);
    assert_eq!(net.bias_overflows["linear"], [2]);
    assert_eq!(net.bias_codes["linear"][2], quant_core::LARGEST_BIAS);
    let decision = net
        .manifest
        .iter()
        .find(|d| d.tensor == "linear.bias")
        .unwrap();
    assert!(decision.reason.contains("1 of 7"), "{}", decision.reason);
}
