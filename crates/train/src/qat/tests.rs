//! The training network against the float module, and against the engine that runs what comes out.

use burn::tensor::{Device, Tensor, TensorData};
use engine::{Algorithm, Execution, IntegerArithmetic, Options, Program};
use quant_core::qat::Method;
use quant_core::{
    ActivationRange, ActivationScheme, Bits, CodeRange, Granularity, Mapping, RangeMethod,
    Rounding, Scheme, uniform,
};

use quantize::{StoredQuantizers, names};

use super::*;
use crate::forward_float;
use crate::tensors::Tensors;
use quantize::{ActivationQuantization, ShortcutPolicy, Site, SiteStatistics};
use quantize::{Epilogue, lower, lower_quantized};
use resnet::Arch;
use resnet::ResNet;
use resnet::random_state;

pub(super) const SIDE: usize = 16;
pub(super) const IMAGES: usize = 4;

pub(super) fn arch() -> Arch {
    Arch::parse("cifar-resnet20").unwrap()
}

fn pixels() -> Vec<f32> {
    (0..IMAGES * 3 * SIDE * SIDE)
        .map(|i| 4.0 * uniform(9, i as u64) - 2.0)
        .collect()
}

pub(super) fn images(device: &Device) -> Tensor<4> {
    let data = TensorData::new(pixels(), [IMAGES, 3, SIDE, SIDE]);
    Tensor::from_data(data, device)
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec().unwrap()
}

/// Made-up weights, with the running statistics that the images have: with others, training by batch statistics would find
/// every value outside of its calibrated range.
/// The network with these numbers.
pub(super) fn checked(arch: &Arch, state: &StateDict) -> network::Network {
    resnet::network(arch, state.clone()).unwrap()
}

pub(super) fn network(arch: &Arch, seed: u64) -> StateDict {
    let state = random_state(arch, seed);
    let device = Device::flex().autodiff();
    let tensors = Tensors::new(&state, &device);
    let topology = resnet::topology(arch);
    let found = forward_float(
        (&topology, Algorithm::Direct),
        &tensors,
        images(&device),
        &mut |_, _| {},
    );
    let running = found.unwrap().1.into_state().unwrap();
    let mut state = state;
    for (name, new) in &running {
        // A tenth of the way, all of it.
        let old = &mut state.get_mut(name).unwrap().data;
        let all = old.iter_mut().zip(&new.data);
        all.for_each(|(old, new)| *old += (new - *old) * 10.0);
    }
    state
}

/// What the float network's sites see of the images.
pub(super) fn statistics(arch: &Arch, state: &StateDict) -> SiteStatistics {
    let graph = lower(checked(arch, state), [SIDE, SIDE], Epilogue::Separate).unwrap();
    let program = Program::new(graph, Options::default()).unwrap();
    let names: Vec<String> = program.nodes().map(|n| n.name.to_owned()).collect();
    let mut seen = SiteStatistics::new();
    let sites = Sites::new(&resnet::topology(arch)).sites;
    let pixels = pixels();
    for (i, image) in pixels.chunks_exact(3 * SIDE * SIDE).enumerate() {
        let own = seen.entry("input".to_owned()).or_default();
        own.add("input", i as u64, image).unwrap();
        let mut logits = vec![0.0; arch.classes()];
        let mut workspace = program.workspace();
        let observe = &mut |value: engine::Observation<'_>| {
            let made_by = &names[value.node];
            for Site { name, .. } in sites.iter().filter(|site| site.node == *made_by) {
                let own = seen.entry(name.clone()).or_default();
                own.add(name, i as u64, &value.to_planar()).unwrap();
            }
        };
        program
            .run_observed(&mut workspace, image, &mut logits, observe)
            .unwrap();
    }
    seen
}

pub(super) fn spec(
    method: Method,
    bn: QatBn,
    shortcut: ShortcutPolicy,
    mapping: Mapping,
) -> QatSpec {
    let bits = Bits::new(4).unwrap();
    let (codes, rounding) = (CodeRange::Narrow, Rounding::HalfEven);
    let range = RangeMethod::MinMax;
    let granularity = Granularity::Channel;
    let scheme = Scheme::new(
        bits,
        Mapping::Symmetric,
        codes,
        granularity,
        range,
        rounding,
    );
    let range = ActivationRange::MinMax;
    QatSpec {
        scheme: scheme.unwrap(),
        first_bits: Some(Bits::new(8).unwrap()),
        last_bits: Some(Bits::new(8).unwrap()),
        bits_of: Default::default(),
        activations: Some(ActivationQuantization {
            scheme: ActivationScheme::new(bits, mapping, codes, range, rounding).unwrap(),
            first_bits: Some(Bits::new(8).unwrap()),
            last_bits: Some(Bits::new(8).unwrap()),
            bits_of: Default::default(),
            shortcut,
        }),
        method,
        bn,
        range_momentum: 0.9,
        convolution: Algorithm::Direct,
    }
}

/// Every method and BatchNorm mode, and all policies of additions.
fn specs() -> Vec<QatSpec> {
    let mut all = Vec::new();
    for method in Method::ALL {
        for bn in [QatBn::Folded, QatBn::Static, QatBn::Kept] {
            let shortcut = match bn {
                QatBn::Static => ShortcutPolicy::Shared,
                _ => ShortcutPolicy::Rescale,
            };
            all.push(spec(method, bn, shortcut, Mapping::Affine));
        }
        let (bn, shortcut) = (QatBn::Folded, ShortcutPolicy::Shared);
        all.push(spec(method, bn, shortcut, Mapping::Symmetric));
    }
    for shortcut in [ShortcutPolicy::Float, ShortcutPolicy::IdentityFloat] {
        all.push(spec(Method::Lsq, QatBn::Kept, shortcut, Mapping::Affine));
    }
    for method in [Method::Lsq, Method::LsqPlus] {
        all.push(per_tensor(spec(
            method,
            QatBn::Folded,
            ShortcutPolicy::Rescale,
            Mapping::Affine,
        )));
    }
    all
}

pub(super) fn per_tensor(mut spec: QatSpec) -> QatSpec {
    let scheme = &spec.scheme;
    spec.scheme = Scheme::new(
        scheme.bits(),
        scheme.mapping(),
        scheme.codes(),
        Granularity::Tensor,
        scheme.range(),
        scheme.rounding(),
    )
    .unwrap();
    spec
}

fn with_eight_bits(mut spec: QatSpec) -> QatSpec {
    let bits = Bits::new(8).unwrap();
    spec.scheme = spec.scheme.with_bits(bits).unwrap();
    let how = spec.activations.as_mut().unwrap();
    let (mapping, range) = (how.scheme.mapping(), ActivationRange::MinMax);
    let (codes, rounding) = (CodeRange::Narrow, Rounding::HalfEven);
    how.scheme = ActivationScheme::new(bits, mapping, codes, range, rounding).unwrap();
    spec
}

fn named(spec: &QatSpec) -> String {
    let how = spec.activations.as_ref().unwrap();
    let mapping = how.scheme.mapping();
    let granularity = spec.scheme.granularity().name();
    format!(
        "{} {} {} {mapping} {granularity}",
        spec.method, spec.bn, how.shortcut
    )
}

/// A training after a plain step against the gradient, far enough to move every quantizer.
fn stepped(qat: &Qat, begin: &StateDict) -> StateDict {
    let device = Device::flex().autodiff();
    let mut state = begin.clone();
    for _ in 0..2 {
        let tensors = Tensors::new(&state, &device);
        let phase = Phase {
            batch_statistics: true,
            activations: true,
            ranges: true,
        };
        let (logits, measured) = qat
            .forward(&state, &tensors, images(&device), phase)
            .unwrap();
        let gradients = tensors
            .gradients(&logits.powi_scalar(2).mean().backward())
            .unwrap();
        for (name, gradient) in &gradients {
            let tensor = state.get_mut(name).unwrap();
            for (w, g) in tensor.data.iter_mut().zip(&gradient.data) {
                *w -= 1e-3 * g;
            }
        }
        for (name, tensor) in measured.into_state().unwrap() {
            assert_eq!(state.get(&name).unwrap().shape, tensor.shape, "{name}");
            state.insert(name, tensor);
        }
        qat.constrain(&mut state);
    }
    state
}

#[test]
fn a_dead_site_is_trained_from_scale_1_whatever_the_method_and_the_start() {
    const SITE: &str = "layer2.1.conv1";
    let arch = arch();
    let mut state = network(&arch, 1);
    for part in ["weight", "bias"] {
        let tensor = state.get_mut(&format!("layer2.1.bn1.{part}")).unwrap();
        tensor.data.fill(0.0);
    }
    let seen = statistics(&arch, &state);
    assert!(seen[SITE].is_dead());
    for spec in specs() {
        for start in [Start::Ptq, Start::Float] {
            let case = format!("{}, {start}", named(&spec));
            let qat = Qat::new(&resnet::topology(&arch), spec.clone()).unwrap();
            let begin = qat.begin(&checked(&arch, &state), &seen, start).unwrap();
            let net = qat.finish(&begin).unwrap();
            let code = net.activations.as_ref().unwrap().0[SITE];
            assert_eq!((code.scale, code.zero_point), (1.0, 0), "{case}");
            assert_eq!((code.quant_min, code.quant_max), (0, 15), "{case}");
            // A few steps on, dead or alive again, it still has a grid.
            let after = qat.finish(&stepped(&qat, &begin)).unwrap();
            let code = after.activations.as_ref().unwrap().0[SITE];
            assert!(code.scale.is_normal() && code.scale > 0.0, "{case}");
        }
    }
}

#[test]
fn without_rounding_it_is_the_float_network() {
    let arch = arch();
    let state = network(&arch, 1);
    let device = Device::flex();
    let float = ResNet::from_state(&arch, &state, &device).unwrap();
    let expected = values(float.forward(images(&device)));
    let seen = statistics(&arch, &state);
    for bn in [QatBn::Folded, QatBn::Static, QatBn::Kept] {
        let mut spec = spec(Method::MinMax, bn, ShortcutPolicy::Rescale, Mapping::Affine);
        // 16 bits are as good as none here.
        let sixteen = Bits::new(16).unwrap();
        spec.scheme = spec.scheme.with_bits(sixteen).unwrap();
        (spec.first_bits, spec.last_bits) = (None, None);
        let qat = Qat::new(&resnet::topology(&arch), spec).unwrap();
        let state = qat
            .begin(&checked(&arch, &state), &seen, Start::Ptq)
            .unwrap();
        let tensors = Tensors::new(&state, &device);
        let phase = Phase {
            activations: false,
            ..Phase::INFERENCE
        };
        let (found, _) = qat
            .forward(&state, &tensors, images(&device), phase)
            .unwrap();
        let largest = expected.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
        for (a, b) in expected.iter().zip(values(found)) {
            assert!((a - b).abs() <= 2e-3 * largest, "{bn}: {a} {b}");
        }
    }
}

#[test]
fn every_trained_tensor_gets_a_gradient() {
    let arch = arch();
    let network = network(&arch, 2);
    let seen = statistics(&arch, &network);
    let device = Device::flex().autodiff();
    for spec in specs() {
        let case = named(&spec);
        let qat = Qat::new(&resnet::topology(&arch), spec).unwrap();
        let state = qat
            .begin(&checked(&arch, &network), &seen, Start::Float)
            .unwrap();
        let tensors = Tensors::new(&state, &device);
        let phase = Phase {
            batch_statistics: true,
            activations: true,
            ranges: true,
        };
        let (logits, _) = qat
            .forward(&state, &tensors, images(&device), phase)
            .unwrap();
        let gradients = tensors
            .gradients(&logits.powi_scalar(2).mean().backward())
            .unwrap();
        let trained = state.names().filter(|name| names::is_trained(name));
        for name in trained {
            let gradient = gradients.get(name).unwrap();
            assert_eq!(gradient.shape, state.get(name).unwrap().shape, "{name}");
            // An offset or a bound has no gradient where nothing is clipped.
            let may_rest = name.ends_with(".offset") || name.ends_with(".bound");
            let moves = gradient.data.iter().any(|&g| g != 0.0);
            assert!(moves || may_rest, "{case}: {name}");
        }
    }
}

/// Logits of the images by the engine.
fn run(arch: &Arch, net: &QuantizedNet, execution: Execution) -> Vec<f32> {
    let size = [SIDE, SIDE];
    let graph = lower_quantized(net.clone(), size, Epilogue::Fused).unwrap();
    let options = Options {
        execution,
        ..Options::default()
    };
    let program = Program::new(graph, options).unwrap();
    let mut all = Vec::new();
    for image in pixels().chunks_exact(3 * SIDE * SIDE) {
        let mut logits = vec![0.0; arch.classes()];
        program
            .run(&mut program.workspace(), image, &mut logits)
            .unwrap();
        all.extend(logits);
    }
    all
}

#[test]
fn what_is_trained_is_what_the_engine_runs_and_its_integers_are_its_simulation() {
    let arch = arch();
    let network = network(&arch, 3);
    let seen = statistics(&arch, &network);
    let device = Device::flex();
    for spec in specs() {
        // With few bits, the one code in a million that falls to the other side of a tie changes hundreds behind it.
        let spec = with_eight_bits(spec);
        let case = named(&spec);
        let qat = Qat::new(&resnet::topology(&arch), spec).unwrap();
        let begin = qat
            .begin(&checked(&arch, &network), &seen, Start::Ptq)
            .unwrap();
        let state = stepped(&qat, &begin);
        assert_ne!(state.sha256(), begin.sha256(), "{case}");
        let net = qat.finish(&state).unwrap();
        let simulated = run(&arch, &net, Execution::Simulate);
        if qat.shortcut().is_some_and(ShortcutPolicy::adds_codes) {
            let integers = Execution::Integer(IntegerArithmetic::default());
            assert_eq!(simulated, run(&arch, &net, integers), "{case}");
        }

        let tensors = Tensors::new(&state, &device);
        let (logits, _) = qat
            .forward(&state, &tensors, images(&device), Phase::INFERENCE)
            .unwrap();
        let trained = values(logits);
        let largest = simulated.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
        let squares =
            |f: &dyn Fn(usize) -> f32| -> f32 { (0..simulated.len()).map(|i| f(i).powi(2)).sum() };
        // A code next to a tie may fall to the other side, and what follows with it.
        let noise = squares(&|i| simulated[i] - trained[i]) / squares(&|i| simulated[i]);
        assert!(noise < 3e-3, "{case}: {noise}, logits to {largest}");
    }
}

#[test]
fn a_stored_network_is_the_one_that_was_finished() {
    let arch = arch();
    let network = network(&arch, 4);
    let seen = statistics(&arch, &network);
    for spec in specs() {
        let case = named(&spec);
        let qat = Qat::new(&resnet::topology(&arch), spec).unwrap();
        let begin = qat
            .begin(&checked(&arch, &network), &seen, Start::Ptq)
            .unwrap();
        let net = qat.finish(&begin).unwrap();
        let stored = StoredQuantizers::of(&net);
        let loaded = stored
            .network(&checked(&arch, &qat.folded(&begin, &net).unwrap()))
            .unwrap();
        assert_eq!(loaded.codes, net.codes, "{case}");
        assert_eq!(loaded.bias_codes, net.bias_codes, "{case}");
        // Codes and the policy of additions.
        assert_eq!(loaded.activations, net.activations, "{case}");
        assert_eq!(stored.bits(), (Some(4), Some(4)), "{case}");
    }
}

#[test]
fn a_quantizer_that_does_not_fit_its_weights_is_named() {
    let arch = arch();
    let network = network(&arch, 5);
    let seen = statistics(&arch, &network);
    let spec = spec(
        Method::Lsq,
        QatBn::Folded,
        ShortcutPolicy::Rescale,
        Mapping::Affine,
    );
    let qat = Qat::new(&resnet::topology(&arch), spec).unwrap();
    let begin = qat
        .begin(&checked(&arch, &network), &seen, Start::Ptq)
        .unwrap();
    let net = qat.finish(&begin).unwrap();
    let folded = qat.folded(&begin, &net).unwrap();
    let fails = |name: &str, change: fn(&mut Vec<f32>)| {
        let mut tensors = StoredQuantizers::of(&net).tensors().clone();
        change(&mut tensors.get_mut(name).unwrap().data);
        let error = StoredQuantizers::new(tensors).network(&checked(&arch, &folded));
        error.unwrap_err().to_string()
    };
    let scale = "quantizer.weight.layer1.0.conv1.scale";
    let moved = fails(scale, |v| v[3] *= 1.37);
    assert!(moved.contains("layer1.0.conv1.weight"), "{moved}");
    let negative = fails(scale, |v| v[0] = -1.0);
    assert!(negative.contains("layer1.0.conv1.weight"), "{negative}");
    for bad in [f32::NAN, 0.5, 1e30] {
        let change: fn(&mut Vec<f32>) = match bad {
            v if v.is_nan() => |v| v[1] = f32::NAN,
            v if v < 1.0 => |v| v[1] = 0.5,
            _ => |v| v[3] = 1e30,
        };
        let text = fails("quantizer.site.layer2.0.add.grid", change);
        assert!(text.contains("layer2.0.add"), "{text}");
    }
}

#[test]
fn what_cannot_be_trained_is_refused_by_name() {
    let refused = |change: fn(&mut QatSpec)| {
        let mut spec = spec(
            Method::Lsq,
            QatBn::Folded,
            ShortcutPolicy::Rescale,
            Mapping::Affine,
        );
        change(&mut spec);
        Qat::new(&resnet::topology(&arch()), spec)
            .unwrap_err()
            .to_string()
    };
    let floor = refused(|spec| spec.scheme = spec.scheme.with_rounding(Rounding::Floor));
    assert!(floor.contains("weights.rounding"), "{floor}");
    let power = refused(|spec| {
        let bits = Bits::new(4).unwrap();
        let (mapping, codes) = (Mapping::PowerOfTwo, CodeRange::Narrow);
        let (granularity, range) = (Granularity::Tensor, RangeMethod::MinMax);
        let rounding = Rounding::HalfEven;
        spec.scheme = Scheme::new(bits, mapping, codes, granularity, range, rounding).unwrap();
    });
    assert!(power.contains("weights.mapping"), "{power}");
}
