//! Whether steps and weights move at one pace, whatever k is, and what becomes of a channel where they would not.

use burn::nn::loss::CrossEntropyLossConfig;
use burn::tensor::{Device, Int, Tensor};
use quant_core::qat::Method;
use quant_core::{Bits, Granularity, Mapping};

use super::tests::{IMAGES, arch, checked, images, network, per_tensor, spec, statistics};
use quantize::names;

use super::*;
use crate::tensors::{Measured, Tensors};
use quantize::BatchNorm;
use quantize::{ShortcutPolicy, SiteStatistics};
use resnet::{Arch, BN_EPSILON};

const LAYER: &str = "layer2.1.conv1";
const BN: &str = "layer2.1.bn1";

const TRAINING: Phase = Phase {
    batch_statistics: true,
    activations: true,
    ranges: true,
};

/// Weights of two bits with a scale for each channel, of four with one for all; activations of four.
fn few_bits(method: Method, bn: QatBn, granularity: Granularity) -> QatSpec {
    let mut spec = spec(method, bn, ShortcutPolicy::Rescale, Mapping::Affine);
    if granularity == Granularity::Tensor {
        return per_tensor(spec);
    }
    spec.scheme = spec.scheme.with_bits(Bits::new(2).unwrap()).unwrap();
    spec
}

/// Divides what channels of [`LAYER`] compute by `a`, and their statistics too, so that BatchNorm hands on the same.
fn shrink(state: &mut StateDict, channels: std::ops::Range<usize>, a: f32) {
    let weight = state.get_mut(&format!("{LAYER}.weight")).unwrap();
    let each = weight.len() / weight.shape[0];
    let own = channels.start * each..channels.end * each;
    weight.data[own].iter_mut().for_each(|w| *w /= a);
    let mut scale = |part: &str, f: &dyn Fn(f32) -> f32| {
        let tensor = state.get_mut(&format!("{BN}.{part}")).unwrap();
        tensor.data[channels.clone()]
            .iter_mut()
            .for_each(|v| *v = f(*v));
    };
    scale("running_mean", &|v| v / a);
    let eps = BN_EPSILON as f32;
    scale("running_var", &|v| ((v + eps) / (a * a) - eps).max(0.0));
}

/// k of every channel of [`LAYER`].
fn scales(arch: &Arch, state: &StateDict) -> Vec<f32> {
    let topology = resnet::topology(arch);
    let layer = topology.find(LAYER).unwrap();
    let bn = BatchNorm::copy(&topology, state, layer).unwrap();
    bn.unwrap().scale()
}

fn logits(qat: &Qat, state: &StateDict, phase: Phase) -> (Tensors, Tensor<2>, Measured) {
    let device = Device::flex().autodiff();
    let tensors = Tensors::new(state, &device);
    let (logits, measured) = qat
        .forward(state, &tensors, images(&device), phase)
        .unwrap();
    (tensors, logits, measured)
}

fn gradients(qat: &Qat, state: &StateDict, phase: Phase) -> (StateDict, Measured) {
    let (tensors, logits, measured) = logits(qat, state, phase);
    let labels: Vec<i64> = (0..IMAGES as i64).map(|i| (3 * i) % 10).collect();
    let labels = Tensor::<1, Int>::from_data(labels.as_slice(), &logits.device());
    let loss = CrossEntropyLossConfig::new()
        .init(&logits.device())
        .forward(logits, labels);
    (tensors.gradients(&loss.backward()).unwrap(), measured)
}

fn norm(values: &[f32]) -> f64 {
    values
        .iter()
        .map(|&v| f64::from(v).powi(2))
        .sum::<f64>()
        .sqrt()
}

/// The pace of a layer's steps, relative to their size, over that of its weights, relative to theirs: Esser et al.'s R, with the
/// factor g in the gradient.
fn balance(qat: &Qat, state: &StateDict) -> f64 {
    let (found, _) = gradients(qat, state, TRAINING);
    let pace =
        |name: &str| norm(&found.get(name).unwrap().data) / norm(&state.get(name).unwrap().data);
    pace(&names::weight(LAYER, "step")) / pace(&format!("{LAYER}.weight"))
}

#[test]
fn steps_and_weights_move_at_one_pace_whatever_k_is() {
    let arch = arch();
    let mut network = network(&arch, 7);
    for (channel, own) in scales(&arch, &network).into_iter().enumerate() {
        shrink(&mut network, channel..channel + 1, 1.0 / own.abs());
    }
    for method in [Method::Lsq, Method::LsqPlus] {
        for bn in [QatBn::Folded, QatBn::Static, QatBn::Kept] {
            for granularity in [Granularity::Channel, Granularity::Tensor] {
                let mut spec = few_bits(method, bn, granularity);
                // A site's code that falls to the other side of a tie would change every gradient.
                spec.activations = None;
                let case = format!("{method} {bn} {}", granularity.name());
                let qat = Qat::new(&resnet::topology(&arch), spec).unwrap();
                let mut expected = None;
                // Powers of two, so that weights keep their codes: from a thousandth to more than ten.
                for k in [0, -10, -6, -2, 2, 4].map(|power| 2.0_f32.powi(power)) {
                    let mut state = network.clone();
                    shrink(&mut state, 0..32, k);
                    let begin =
                        qat.begin(&checked(&arch, &state), &SiteStatistics::new(), Start::Ptq);
                    let found = balance(&qat, &begin.unwrap());
                    assert!((0.01..100.0).contains(&found), "{case}, k = {k}: {found}");
                    let expected = *expected.get_or_insert(found);
                    // In a batch BatchNorm's epsilon is not shrunk with the rest, and one step's gradient is a sum of both signs. A
                    // step on the scale of w k would be 1 / k^2 times as fast, 16 times at the least.
                    let ratio = found / expected;
                    assert!(
                        (0.5..2.0).contains(&ratio),
                        "{case}, k = {k}: {found}, not {expected}"
                    );
                }
            }
        }
    }
}

#[test]
fn folded_with_a_learned_step_for_each_channel_is_kept() {
    let arch = arch();
    let mut network = network(&arch, 8);
    shrink(&mut network, 3..9, 30.0);
    let seen = statistics(&arch, &network);
    for method in [Method::Lsq, Method::LsqPlus] {
        let [folded, kept] = [QatBn::Folded, QatBn::Kept].map(|bn| {
            Qat::new(
                &resnet::topology(&arch),
                few_bits(method, bn, Granularity::Channel),
            )
            .unwrap()
        });
        let begin = folded
            .begin(&checked(&arch, &network), &seen, Start::Ptq)
            .unwrap();
        let other = kept
            .begin(&checked(&arch, &network), &seen, Start::Ptq)
            .unwrap();
        assert_eq!(begin.sha256(), other.sha256(), "{method}");
        for phase in [TRAINING, Phase::INFERENCE] {
            let [(a, _), (b, _)] = [&folded, &kept].map(|qat| gradients(qat, &begin, phase));
            assert_eq!(a.sha256(), b.sha256(), "{method}");
        }
        let [a, b] = [&folded, &kept].map(|qat| qat.finish(&begin).unwrap());
        assert!(
            (a.codes, a.bias_codes) == (b.codes, b.bias_codes),
            "{method}"
        );
    }
}

#[test]
fn a_channel_of_small_variance_trains_a_thousand_steps_and_lives() {
    const CHANNEL: usize = 5;
    let arch = arch();
    let mut network = network(&arch, 9);
    shrink(&mut network, CHANNEL..CHANNEL + 1, 10.0);
    let seen = statistics(&arch, &network);
    for granularity in [Granularity::Channel, Granularity::Tensor] {
        let case = granularity.name();
        let spec = few_bits(Method::Lsq, QatBn::Folded, granularity);
        let qat = Qat::new(&resnet::topology(&arch), spec).unwrap();
        let mut state = qat
            .begin(&checked(&arch, &network), &seen, Start::Ptq)
            .unwrap();
        for _ in 0..1000 {
            let (found, measured) = gradients(&qat, &state, TRAINING);
            for (name, gradient) in &found {
                let tensor = state.get_mut(name).unwrap();
                let values = tensor.data.iter_mut().zip(&gradient.data);
                // As the optimizer has it, a step moves by a tenth of itself at most.
                let most = if names::is_positive(name) {
                    1.1
                } else {
                    f32::INFINITY
                };
                values.for_each(|(w, g)| {
                    let moved = *w - 0.01 * g;
                    *w = if most.is_finite() {
                        moved.clamp(*w / most, *w * most)
                    } else {
                        moved
                    };
                });
            }
            for (name, tensor) in measured.into_state().unwrap() {
                state.insert(name, tensor);
            }
            qat.constrain(&mut state);
        }
        let lost = qat
            .lost_channels(&checked(&arch, &network), &state)
            .unwrap();
        // Of the classifier there are classes that none of the images has.
        let lost: Vec<_> = lost
            .iter()
            .filter(|layer| layer.layer != "linear")
            .collect();
        let all: usize = lost.iter().map(|layer| layer.count()).sum();
        let which = lost.iter().filter(|layer| layer.count() > 0);
        assert_eq!(all, 0, "{case}: {:?}", which.collect::<Vec<_>>());
        let weight = format!("{LAYER}.weight");
        let (found, _) = gradients(&qat, &state, TRAINING);
        let gradient = &found.get(&weight).unwrap();
        let each = gradient.len() / gradient.shape[0];
        let own = &gradient.data[CHANNEL * each..][..each];
        let moving = own.iter().filter(|&&g| g != 0.0).count();
        assert!(
            moving > each / 2,
            "{case}: {moving} of {each} weights have a gradient"
        );
    }
}

#[test]
fn a_lost_channel_is_counted_once_and_the_manifest_names_its_layer() {
    let arch = arch();
    let network = network(&arch, 10);
    let seen = statistics(&arch, &network);
    let spec = few_bits(Method::Lsq, QatBn::Folded, Granularity::Channel);
    let qat = Qat::new(&resnet::topology(&arch), spec).unwrap();
    let mut state = qat
        .begin(&checked(&arch, &network), &seen, Start::Ptq)
        .unwrap();
    let none = qat
        .lost_channels(&checked(&arch, &network), &state)
        .unwrap();
    assert!(none.iter().all(|layer| layer.count() == 0), "{none:?}");
    let variance = state.get_mut(&format!("{BN}.running_var")).unwrap();
    variance.data[3] *= 0.9e-3;
    variance.data[4] *= 1.1e-3;
    for channel in [3, 6] {
        state.get_mut(&names::weight(LAYER, "step")).unwrap().data[channel] *= 1e-3;
    }
    let lost = qat
        .lost_channels(&checked(&arch, &network), &state)
        .unwrap();
    let layer = lost.iter().find(|layer| layer.layer == LAYER).unwrap();
    assert_eq!(
        (&layer.without_variance, &layer.clipped),
        (&vec![3], &vec![3, 6])
    );
    assert_eq!((layer.count(), layer.channels), (2, 32));
    assert_eq!(lost.iter().map(LostChannels::count).sum::<usize>(), 2);
    let mut net = qat.finish(&state).unwrap();
    note_lost(&mut net, &lost);
    let noted: Vec<_> = net
        .manifest
        .iter()
        .filter(|d| d.reason.contains("channels"))
        .collect();
    assert_eq!(noted.len(), 1, "{noted:?}");
    assert_eq!(noted[0].tensor, format!("{LAYER}.weight"));
    let end = "; running variance below a thousandth of its start in 1 of 32 channels, \
               more than 90 % of the weights clipped in 2 of 32 channels";
    assert!(noted[0].reason.ends_with(end), "{}", noted[0].reason);
}
