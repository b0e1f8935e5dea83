use std::collections::HashSet;

use network::{HostTensor, Network};
use quant_core::{Bits, CodeRange, Granularity, Mapping, RangeMethod, Rounding, Scheme, uniform};
use resnet::{Arch, network, random_state};

use super::*;
use crate::quantize::{BiasPolicy, BnMode, quantize};

const SIDE: usize = 16;

fn images(count: usize) -> Vec<f32> {
    (0..count * 3 * SIDE * SIDE)
        .map(|i| 4.0 * uniform(9, i as u64) - 2.0)
        .collect()
}

fn random() -> Network {
    let arch = Arch::parse("cifar-resnet20-b").unwrap();
    network(&arch, random_state(&arch, 11)).unwrap()
}

fn how(bits: u32, mapping: Mapping, granularity: Granularity) -> WeightQuantization {
    let scheme = Scheme::new(
        Bits::new(bits).unwrap(),
        mapping,
        CodeRange::Narrow,
        granularity,
        RangeMethod::MinMax,
        Rounding::HalfEven,
    );
    WeightQuantization {
        scheme: Some(scheme.unwrap()),
        first_bits: None,
        last_bits: None,
        bits_of: Default::default(),
        bias: BiasPolicy::Float,
        bn: BnMode::Folded,
    }
}

fn by(gram: Option<Gram>) -> Layerwise {
    let choice = gram.map_or(Choice::Nearest, Choice::Gram);
    Layerwise {
        choice,
        output_range: false,
        bias: true,
        seed: 3,
    }
}

/// Few steps, fast.
fn adaround() -> Layerwise {
    let how = AdaRound {
        iterations: 40,
        rate: 0.1,
        batch: 128,
        ..AdaRound::default()
    };
    Layerwise {
        choice: Choice::AdaRound(how),
        ..by(None)
    }
}

fn made(network: &Network, how: &WeightQuantization, layerwise: &Layerwise) -> QuantizedNet {
    quantize_by_layer(network, (how, layerwise), (&images(6), [SIDE; 2]), None).unwrap()
}

/// The mean squared distance of the logits to those of the float network.
fn distance(network: &Network, net: &QuantizedNet) -> f64 {
    let run = |network: &Network| {
        let graph = lower(network.clone(), [SIDE; 2], Epilogue::Fused).unwrap();
        let program = engine::Program::new(graph, engine::Options::default()).unwrap();
        let mut logits = vec![0.0; 6 * 10];
        let mut workspace = program.workspace();
        program
            .run(&mut workspace, &images(6), &mut logits)
            .unwrap();
        logits
    };
    let pairs = run(network).into_iter().zip(run(&net.network().unwrap()));
    pairs.map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>() / 60.0
}

#[test]
fn every_step_of_the_method_brings_the_logits_nearer_to_the_float_ones() {
    let network = random();
    let how = how(3, Mapping::Affine, Granularity::Channel);
    let gram = Gram {
        order: Order::Nearest,
        target: Target::Float,
        refit: false,
        positions: 0,
        ..Gram::default()
    };
    let nearest = distance(&network, &quantize(&network, &how).unwrap());
    let with = |gram: Gram| distance(&network, &made(&network, &how, &by(Some(gram))));
    let corrected_bias = distance(&network, &made(&network, &how, &by(None)));
    let ranged = |layerwise: Layerwise| {
        let output_range = true;
        let layerwise = Layerwise {
            output_range,
            ..layerwise
        };
        distance(&network, &made(&network, &how, &layerwise))
    };
    let bias = false;
    let range = ranged(Layerwise { bias, ..by(None) });
    let range_and_bias = ranged(by(None));
    let learned = distance(&network, &made(&network, &how, &adaround()));
    let gptq = with(Gram {
        order: Order::Feedback,
        ..gram
    });
    let descent = with(Gram {
        order: Order::Descent,
        target: Target::Corrected,
        ..gram
    });
    assert!(corrected_bias < nearest, "{corrected_bias} {nearest}");
    assert!(range < nearest, "{range} {nearest}");
    assert!(range_and_bias < range, "{range_and_bias} {range}");
    assert!(learned < corrected_bias, "{learned} {corrected_bias}");
    assert!(gptq < corrected_bias, "{gptq} {corrected_bias}");
    assert!(descent < gptq, "{descent} {gptq}");
}

#[test]
fn every_weight_is_one_of_as_many_numbers_as_there_are_codes_and_its_code_says_which() {
    let network = random();
    let ranged = Layerwise {
        output_range: true,
        ..by(None)
    };
    for layerwise in [by(Some(Gram::default())), adaround(), ranged] {
        for (mapping, granularity) in [
            (Mapping::Affine, Granularity::Tensor),
            (Mapping::Affine, Granularity::Channel),
            (Mapping::Symmetric, Granularity::Channel),
            (Mapping::PowerOfTwo, Granularity::Tensor),
        ] {
            let net = made(&network, &how(2, mapping, granularity), &layerwise);
            for layer in network.topology().layers() {
                is_on_its_grid(&net, &network.topology().node(layer).name);
            }
        }
    }
}

/// At most four numbers in what shares a scale, each its code times it.
fn is_on_its_grid(net: &QuantizedNet, name: &str) {
    let weight = net.state.get(&format!("{name}.weight")).unwrap();
    let codes = &net.codes[name];
    let each = weight.len() / codes.scale.len();
    for (o, row) in weight.data.chunks_exact(each).enumerate() {
        let distinct: HashSet<u32> = row.iter().map(|w| w.to_bits()).collect();
        assert!(distinct.len() <= 4, "{name}");
        for (w, &q) in row.iter().zip(&codes.codes[o * each..]) {
            assert_eq!(*w, codes.scale[o] * q as f32);
        }
    }
}

#[test]
fn any_number_of_threads_makes_the_same_codes_and_biases() {
    let network = random();
    let how = how(
        3,
        Mapping::Affine,
        Granularity::Group(5.try_into().unwrap()),
    );
    for choice in [by(None), by(Some(Gram::default())), adaround()] {
        let layerwise = Layerwise {
            output_range: true,
            ..choice
        };
        let with = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            let made = || made(&network, &how, &layerwise);
            pool.unwrap().install(made).state.sha256()
        };
        let one = with(1);
        assert_eq!(with(2), one);
        assert_eq!(with(3), one);
    }
}

#[test]
fn a_layer_that_reads_constants_is_rounded_to_the_nearest_and_says_so() {
    let network = random();
    let (topology, mut tensors) = network.into_parts();
    // What the last stage begins with makes zeros alone.
    for part in ["weight", "bias"] {
        let tensor = tensors.get_mut(&format!("layer3.0.bn1.{part}")).unwrap();
        *tensor = HostTensor::new(tensor.shape.clone(), vec![0.0; tensor.len()]).unwrap();
    }
    let network = Network::new(topology, tensors).unwrap();
    let how = how(3, Mapping::Affine, Granularity::Channel);
    let plain = quantize(&network, &how).unwrap();
    for layerwise in [by(Some(Gram::default())), adaround()] {
        let net = made(&network, &how, &layerwise);
        let line = |tensor: &str| {
            let line = net.manifest.iter().find(|d| d.tensor == tensor).unwrap();
            line.reason.clone()
        };
        let name = "layer3.0.conv2.weight";
        let blank = line(name);
        assert!(
            blank.contains("rounded to the nearest: the layer reads constants"),
            "{blank}"
        );
        assert_eq!(net.state.get(name), plain.state.get(name));
        assert!(line("layer3.1.conv1.weight").contains("of the outputs' variance lost"));
    }
}

#[test]
fn what_a_layer_loses_is_measured_where_it_is_predicted_and_on_the_same_points_the_same() {
    let network = random();
    let how = how(3, Mapping::Affine, Granularity::Channel);
    let everywhere = Gram {
        positions: 0,
        ..Gram::default()
    };
    // The least loss, 7e-5, is what is left of sums in float32.
    for (gram, close) in [(everywhere, 0.02), (Gram::default(), 0.5)] {
        let layerwise = by(Some(gram));
        let net = made(&network, &how, &layerwise);
        for report in &net.layers {
            let lost = report.outputs.unwrap();
            assert!(lost.measured > 0.0 && lost.points <= lost.positions);
            let ratio = lost.predicted / lost.measured;
            assert!((ratio - 1.0).abs() < close, "{}: {lost:?}", report.layer);
        }
    }
    assert!(
        made(&network, &how, &adaround()).layers[0]
            .outputs
            .is_some()
    );
    assert!(made(&network, &how, &by(None)).layers[0].outputs.is_none());
}

#[test]
fn depthwise_layers_are_solved_group_by_group() {
    let topology = resnet::topology_named("cifar-mobilenet").unwrap();
    let network = resnet::random_network(topology, 4).unwrap();
    let how = how(4, Mapping::Symmetric, Granularity::Tensor);
    for layerwise in [by(Some(Gram::default())), adaround()] {
        let net = made(&network, &how, &layerwise);
        let solved = net.manifest.iter().filter(|d| d.reason.contains("patches"));
        assert_eq!(solved.count(), network.topology().layers().count());
    }
}

/// Maps so large that a program by itself would take fewer images at once than the streams do.
#[test]
fn layers_of_large_maps_are_rounded_and_measured() {
    let side = 224;
    let node = |name: &str, op: Op, input: Value| network::Node {
        name: name.to_owned(),
        op,
        inputs: vec![input],
    };
    let conv = Op::Conv {
        outputs: 64,
        groups: 1,
        window: engine::Window::square(3, 1, 1),
    };
    let nodes = vec![
        node("conv", conv, Value::Input),
        node("pool", Op::GlobalAvgPool, Value::Node(0)),
        node("fc", Op::Linear { outputs: 3 }, Value::Node(1)),
    ];
    let topology = Topology::new(engine::Shape::new(3, side, side), nodes).unwrap();
    let network = resnet::random_network(topology, 5).unwrap();
    let how = how(4, Mapping::Affine, Granularity::Channel);
    let pixels: Vec<f32> = (0..8 * 3 * side * side)
        .map(|i| uniform(1, i as u64) - 0.5)
        .collect();
    let layerwise = by(Some(Gram::default()));
    let net = quantize_by_layer(&network, (&how, &layerwise), (&pixels, [side; 2]), None).unwrap();
    let loss = net.layers[0].outputs.as_ref().unwrap();
    assert!(
        loss.measured > 0.0 && loss.measured < 0.1,
        "{}",
        loss.measured
    );
}
