//! The function stays, whatever the graph; ranges move as the formulas say.

use engine::{Function, Options, Padding, Program, Shape, Window};
use network::{Node, StateDict};
use quant_core::uniform;
use resnet::{Arch, random_network, random_state, topology_named};

use super::*;
use crate::lower::{Epilogue, lower};
use network::{HostTensor, Op};

/// What a network makes of some images.
fn logits(network: &Network) -> Vec<f32> {
    let input = network.topology().input();
    let graph = lower(
        network.clone(),
        [input.height, input.width],
        Epilogue::Fused,
    )
    .unwrap();
    let program = Program::new(
        graph,
        Options {
            group: 1,
            ..Options::default()
        },
    )
    .unwrap();
    let mut all = Vec::new();
    for image in 0..2 {
        let draw = |i| 4.0 * uniform(7 + image, i as u64) - 2.0;
        let pixels: Vec<f32> = (0..input.len()).map(draw).collect();
        let mut results = vec![0.0; program.output().len()];
        program
            .run(&mut program.workspace(), &pixels, &mut results)
            .unwrap();
        all.extend(results);
    }
    all
}

fn distance(found: &[f32], expected: &[f32]) -> f32 {
    let largest = expected.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
    let far = found.iter().zip(expected).map(|(a, b)| (a - b).abs());
    far.fold(0.0, |m: f32, d| if d > m || d.is_nan() { d } else { m }) / largest
}

/// Random numbers, the rows of each layer by factors between 1/16 and 16 of another.
fn uneven(topology: Topology, seed: u64) -> Network {
    let (topology, mut tensors) = random_network(topology, seed).unwrap().into_parts();
    for layer in topology.layers() {
        let node = topology.node(layer);
        let weight = tensors.get_mut(&format!("{}.weight", node.name)).unwrap();
        let rows = weight.shape[0];
        let each = weight.len() / rows;
        let factors =
            (0..rows).map(|o| (8.0 * uniform(seed + layer as u64, o as u64) - 4.0).exp2());
        let factors: Vec<f32> = factors.collect();
        for (row, factor) in weight.data.chunks_exact_mut(each).zip(&factors) {
            row.iter_mut().for_each(|w| *w *= factor);
        }
        // Values keep their size: what a row gained its column loses.
        let norm = topology
            .norm(layer)
            .map(|norm| topology.node(norm).name.clone());
        if let Some(variance) =
            norm.and_then(|norm| tensors.get_mut(&format!("{norm}.running_var")))
        {
            variance
                .data
                .iter_mut()
                .zip(&factors)
                .for_each(|(v, f)| *v *= f * f);
        }
    }
    Network::new(topology, tensors).unwrap()
}

fn conv(outputs: usize, kernel: usize, groups: usize) -> Op {
    Op::Conv {
        outputs,
        groups,
        window: Window::square(kernel, 1, kernel / 2),
    }
}

/// Nodes that read the ones at the places given, 0 being the images.
fn graph<const N: usize>(nodes: [(&str, Op, &[usize]); N]) -> Topology {
    let nodes = nodes.map(|(name, op, inputs)| Node {
        name: name.to_owned(),
        op,
        inputs: inputs
            .iter()
            .map(|&place| place.checked_sub(1).map_or(Value::Input, Value::Node))
            .collect(),
    });
    Topology::new(Shape::new(3, 8, 8), nodes.into()).unwrap()
}

/// Expanded, seen channel by channel, projected, with a ReLU6 behind the first two.
fn depthwise() -> Topology {
    graph([
        ("expand", conv(12, 1, 1), &[0]),
        ("expand.clip", Op::RELU6, &[1]),
        ("depthwise", conv(12, 3, 12), &[2]),
        ("depthwise.clip", Op::RELU6, &[3]),
        ("project", conv(5, 1, 1), &[4]),
        ("last", Op::Linear { outputs: 7 }, &[5]),
    ])
}

/// Everything that scales, and some of what does not.
fn mixed() -> Topology {
    let pool = Window::square(2, 2, 0);
    let leaky = Op::Function(Function::LeakyRelu { alpha: 0.1 });
    let shuffle = engine::Gather {
        channels: engine::Axis::Of([3, 1, 0, 2, 4, 5, 6].map(Some).to_vec()),
        rows: engine::Axis::Of((0..9).map(|row| (row < 8).then_some(row)).collect()),
        ..engine::Gather::WHOLE
    };
    graph([
        ("one", conv(4, 3, 1), &[0]),
        ("two", conv(4, 1, 1), &[0]),
        (
            "two.clip",
            Op::Clip {
                low: -1.0,
                high: 2.0,
            },
            &[2],
        ),
        ("sum", Op::Add, &[1, 3]),
        ("sum.leaky", leaky, &[4]),
        ("inside", conv(4, 3, 2), &[5]),
        ("again", Op::Add, &[5, 6]),
        ("again.relu", Op::RELU, &[7]),
        ("side", conv(3, 1, 1), &[8]),
        ("side.swish", Op::Function(Function::HardSwish), &[9]),
        ("both", Op::Concat, &[8, 10]),
        ("shuffle", Op::Gather(shuffle), &[11]),
        ("max", Op::MaxPool(pool), &[12]),
        (
            "mean",
            Op::AvgPool {
                window: Window::square(3, 1, 1),
                counted: Padding::default(),
            },
            &[13],
        ),
        ("squeeze", Op::GlobalAvgPool, &[14]),
        ("gate", conv(7, 1, 1), &[15]),
        ("gate.sigmoid", Op::Function(Function::Sigmoid), &[16]),
        ("gated", Op::Multiply, &[14, 17]),
        ("wide", Op::Linear { outputs: 6 }, &[18]),
        ("wide.relu6", Op::RELU6, &[19]),
        ("last", Op::Linear { outputs: 5 }, &[20]),
    ])
}

fn named(name: &str, side: usize) -> Topology {
    topology_named(name).unwrap().at([side, side]).unwrap()
}

#[test]
fn the_function_stays_through_every_operation_that_scales() {
    let [all, regions, pairs] =
        [Reach::Sums, Reach::Regions, Reach::Pairs].map(|reach| Equalization {
            reach,
            ..Equalization::default()
        });
    let kept = Equalization {
        clip: ClipPolicy::Keep,
        ..all
    };
    for (name, topology) in [
        ("depthwise", depthwise()),
        ("mixed", mixed()),
        ("cifar-resnet20", named("cifar-resnet20", 32)),
        ("cifar-resnet20-b", named("cifar-resnet20-b", 32)),
        ("squeezenet1_1", named("squeezenet1_1", 64)),
        ("mobilenet_v2", named("mobilenet_v2", 32)),
    ] {
        let network = uneven(topology, 5);
        let before = logits(&network);
        for how in [all, regions, pairs, kept] {
            let after = equalize(&network, &how).unwrap();
            let moved = after.inputs.values().flat_map(|moved| &moved.scale);
            let moved = moved.filter(|&&s| s != 1.0).count();
            assert!(moved > 0 || how != all, "{name}: nothing was scaled");
            let far = distance(&logits(&after.network), &before);
            assert!(far <= 1e-5, "{name}, {how:?}: {far:e} away");
        }
    }
}

#[test]
fn both_sides_of_every_channel_have_one_range_and_clips_have_their_own_ends() {
    let network = uneven(depthwise(), 1);
    let after = equalize(&network, &Equalization::default())
        .unwrap()
        .network;
    let ranges = |name: &str, by_row: bool| -> Vec<f32> {
        let weight = after.tensors().get(&format!("{name}.weight")).unwrap();
        let columns = weight.shape[1];
        let mut ranges = vec![0.0_f32; if by_row { weight.shape[0] } else { columns }];
        let taps = weight.len() / weight.shape[0] / columns;
        for (at, &w) in weight.data.iter().enumerate() {
            let place = if by_row {
                at / taps / columns
            } else {
                at / taps % columns
            };
            ranges[place] = ranges[place].max(w.abs());
        }
        ranges
    };
    // Of a depthwise layer a channel is a row and a column.
    for (made, read) in [
        (ranges("expand", true), ranges("depthwise", true)),
        (ranges("depthwise", true), ranges("project", false)),
    ] {
        for (r1, r2) in made.iter().zip(&read) {
            assert!((r1 / r2 - 1.0).abs() < 1e-3, "{r1} {r2}");
        }
    }
    let nodes = after.topology().nodes();
    let scaled = nodes
        .iter()
        .filter(|node| matches!(node.op, Op::ClipEach(_)));
    assert_eq!(scaled.count(), 2);
    let again = equalize(&after, &Equalization::default()).unwrap();
    assert!(
        again.manifest[0].reason.ends_with("; 1 sweeps"),
        "{:?}",
        again.manifest
    );
}

#[test]
fn replaced_clips_are_relus_and_the_manifest_names_them_and_the_layers_of_each_region() {
    let network = uneven(depthwise(), 2);
    let how = Equalization {
        clip: ClipPolicy::Replace,
        ..Equalization::default()
    };
    let after = equalize(&network, &how).unwrap();
    let (topology, tensors) = network.into_parts();
    let mut nodes = topology.nodes().to_vec();
    nodes[1].op = Op::RELU;
    nodes[3].op = Op::RELU;
    let relus = Network::new(Topology::new(topology.input(), nodes).unwrap(), tensors).unwrap();
    assert!(distance(&logits(&after.network), &logits(&relus)) <= 1e-5);
    let lines: Vec<_> = after
        .manifest
        .iter()
        .map(|d| (d.kind, d.tensor.as_str()))
        .collect();
    let expected = [
        ("clip", "expand.clip"),
        ("clip", "depthwise.clip"),
        ("equalized", "expand"),
        ("equalized", "depthwise"),
        ("equalized", "project"),
    ];
    assert_eq!(lines, expected);
    assert!(
        after.manifest[2]
            .reason
            .starts_with("expand into depthwise: ")
    );
}

#[test]
fn a_dead_channel_widens_no_range_of_the_living() {
    let network = uneven(depthwise(), 3);
    let (topology, mut tensors) = network.into_parts();
    // Of channel 2 the first layer makes a constant; channel 4 nobody sees, and it is wide.
    let fill = |tensors: &mut StateDict, name: &str, range: std::ops::Range<usize>, value: f32| {
        tensors.get_mut(name).unwrap().data[range].fill(value);
    };
    fill(&mut tensors, "expand.weight", 6..9, 0.0);
    fill(&mut tensors, "depthwise.weight", 18..27, 1e3);
    fill(&mut tensors, "expand.weight", 12..15, 1e3);
    fill(&mut tensors, "depthwise.weight", 36..45, 0.0);
    let network = Network::new(topology, tensors).unwrap();
    // The range of a row, and the largest of the others.
    let ranges = |network: &Network, name: &str, row: usize| {
        let weight = network.tensors().get(&format!("{name}.weight")).unwrap();
        let rows = weight.data.chunks_exact(weight.len() / weight.shape[0]);
        let rows = rows.map(|row| row.iter().fold(0.0_f32, |m, w| m.max(w.abs())));
        let mut rows: Vec<f32> = rows.collect();
        let own = rows.remove(row);
        (own, rows.into_iter().fold(0.0, f32::max))
    };
    for dead in [true, false] {
        let how = Equalization {
            dead,
            ..Equalization::default()
        };
        let after = equalize(&network, &how).unwrap().network;
        assert!(distance(&logits(&after), &logits(&network)) <= 1e-5);
        for (layer, row) in [("expand", 4), ("depthwise", 2)] {
            let (own, others) = ranges(&after, layer, row);
            assert_eq!(own <= 1.001 * others, dead, "{layer}: {own}, {others}");
        }
    }
}

/// A layer whose channels lie far above 0, some farther than others, read through a ReLU by one without padding.
fn high() -> Network {
    let norm = Op::BatchNorm { epsilon: 1e-5 };
    let topology = graph([
        ("first", conv(4, 3, 1), &[0]),
        ("first.norm", norm, &[1]),
        ("first.relu", Op::RELU, &[2]),
        ("second", conv(5, 1, 1), &[3]),
        ("second.relu", Op::RELU, &[4]),
        ("last", Op::Linear { outputs: 3 }, &[5]),
    ]);
    let (topology, mut tensors) = uneven(topology, 4).into_parts();
    let mut set = |name: &str, data: [f32; 4]| {
        tensors.insert(name, HostTensor::new(vec![4], data.into()).unwrap());
    };
    // Deviations so small that no value comes near 0 but in the last channel.
    set("first.norm.weight", [0.01, 0.01, 0.02, 1.0]);
    set("first.norm.bias", [1.0, 2.0, 3.0, 0.5]);
    set("first.norm.running_var", [1e2; 4]);
    Network::new(topology, tensors).unwrap()
}

#[test]
fn high_biases_move_into_the_next_layer_where_the_relu_is_linear() {
    let network = high();
    let how = Equalization {
        absorb: true,
        ..Equalization::default()
    };
    let after = equalize(&network, &how).unwrap();
    assert!(distance(&logits(&after.network), &logits(&network)) <= 1e-5);
    let Moved { scale, absorbed } = &after.inputs["second"];
    for (channel, high) in [1.0 - 0.03, 2.0 - 0.03, 3.0 - 0.06, 0.0]
        .into_iter()
        .enumerate()
    {
        let c = absorbed[channel] * scale[channel];
        assert!((c - high).abs() < 1e-5, "{channel}: {c}");
    }
    let line = after
        .manifest
        .iter()
        .find(|line| line.kind == "absorbed")
        .unwrap();
    assert!(
        line.reason.starts_with("3 of 4 channels"),
        "{}",
        line.reason
    );
    let expected = crate::expected_inputs(&network).unwrap();
    let now = &after.expected(&expected)["second"].clone().unwrap();
    assert!((now[1] * scale[1] - 0.03).abs() < 1e-4, "{now:?}");
}

#[test]
fn a_border_and_a_reader_that_is_no_layer_keep_biases_where_they_are() {
    let arch = Arch::parse("cifar-resnet20").unwrap();
    let network = resnet::network(&arch, random_state(&arch, 2)).unwrap();
    let how = Equalization {
        absorb: true,
        ..Equalization::default()
    };
    let after = equalize(&network, &how).unwrap();
    assert!(after.manifest.iter().all(|line| line.kind != "absorbed"));
    assert!(distance(&logits(&after.network), &logits(&network)) <= 1e-5);
}

#[test]
fn what_is_added_up_shares_a_scale_or_keeps_its_own() {
    let network = uneven(named("cifar-resnet20", 32), 6);
    for (reach, shared) in [(Reach::Sums, true), (Reach::Regions, false)] {
        let how = Equalization {
            reach,
            ..Equalization::default()
        };
        let after = equalize(&network, &how).unwrap();
        let [block, inside] = ["layer1.1.conv1", "layer1.1.conv2"].map(|layer| {
            let scale = &after.inputs[layer].scale;
            scale.iter().any(|&s| s != 1.0)
        });
        assert_eq!((block, inside), (shared, true), "{reach}");
        let readers = ["layer1.1.conv1", "layer1.2.conv1"].map(|layer| &after.inputs[layer]);
        assert_eq!(readers[0], readers[1]);
        // In front of the classifier are the last sum and its pool.
        assert_eq!(
            after.inputs["linear"].scale.iter().any(|&s| s != 1.0),
            shared
        );
    }
}
