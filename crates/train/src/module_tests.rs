//! What computes a network here, beside the burn module, which is written by itself.

use std::collections::BTreeMap;

use burn::tensor::activation::relu;
use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor, TensorData};
use engine::{Options, Program};
use network::{HostTensor, StateDict};
use quant_core::uniform;
use quantize::{Epilogue, fold, lower};
use resnet::{Arch, ResNet, network, random_state};

use crate::OnDevice;

/// Largest distance, relative to the largest logit.
fn distance(a: &[f32], b: &[f32]) -> f32 {
    let largest = a.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
    let far = |(x, y): (&f32, &f32)| (x - y).abs();
    a.iter().zip(b).map(far).fold(0.0, f32::max) / largest
}

fn images(n: usize, side: usize) -> Vec<f32> {
    (0..n * 3 * side * side)
        .map(|i| 4.0 * uniform(9, i as u64) - 2.0)
        .collect()
}

#[test]
fn the_graph_computes_what_the_burn_module_does_for_every_architecture() {
    let device = Device::flex();
    for arch in Arch::all().into_iter().chain(Arch::v1()) {
        if ["resnet101", "resnet152"].contains(&arch.name().trim_end_matches("-v1")) {
            continue; // hundreds of megabytes for no other code than resnet50's
        }
        let arch = arch.with_classes(11);
        // 72 is no multiple of the strides' product 32: odd maps on the way.
        let side = if arch.image_size() == 32 { 32 } else { 72 };
        let kept = random_state(&arch, 3);
        let kept = network(&arch, kept).unwrap();
        let folded = fold(&kept).unwrap();
        let pixels = images(2, side);
        for network in [kept, folded] {
            let net = ResNet::from_state(&arch, network.tensors(), &device).unwrap();
            let data = TensorData::new(pixels.clone(), [2, 3, side, side]);
            let expected = net.forward(Tensor::from_data(data, &device)).into_data();
            let expected = expected.try_to_vec::<f32>().unwrap();
            let on_device = OnDevice::new(&network, &device).unwrap();
            let graph = lower(network, [side, side], Epilogue::Fused).unwrap();
            let program = Program::new(graph, Options::default()).unwrap();
            let mut found = vec![0.0; 22];
            let mut workspace = program.workspace();
            program.run(&mut workspace, &pixels, &mut found).unwrap();
            let far = distance(&expected, &found);
            assert!(far <= 1e-4, "{arch}: {far}");
            let data = TensorData::new(pixels.clone(), [2, 3, side, side]);
            let found = on_device.forward(Tensor::from_data(data, &device)).unwrap();
            let found = found.into_data().try_to_vec::<f32>().unwrap();
            let far = distance(&expected, &found);
            assert!(far <= 1e-4, "{arch} on the device: {far}");
        }
    }
}

/// `[c]` for maps `[n, c, h, w]`.
fn by_channel(tensor: &HostTensor, device: &Device) -> Tensor<4> {
    let data = TensorData::new(tensor.data.clone(), [1, tensor.len(), 1, 1]);
    Tensor::from_data(data, device)
}

/// kuangliu's PreActResNet of one block a stage, two stages, written down by hand.
fn preact(state: &StateDict, images: Tensor<4>, device: &Device) -> Tensor<4> {
    let conv = |name: &str, x: Tensor<4>, stride: usize| {
        let weight = state.get(&format!("{name}.weight")).unwrap();
        let shape: [usize; 4] = std::array::from_fn(|axis| weight.shape[axis]);
        let padding = shape[2] / 2;
        let options = ConvOptions::new([stride; 2], [padding; 2], [1; 2], 1);
        let weight = Tensor::from_data(TensorData::new(weight.data.clone(), shape), device);
        conv2d(x, weight, None, options)
    };
    let norm = |name: &str, x: Tensor<4>| {
        let part = |part: &str| by_channel(state.get(&format!("{name}.{part}")).unwrap(), device);
        let deviation = (part("running_var") + 1e-5).sqrt();
        relu((x - part("running_mean")) / deviation * part("weight") + part("bias"))
    };
    let mut x = conv("conv1", images, 1);
    for (block, stride) in [("layer1.0", 1), ("layer2.0", 2)] {
        let first = norm(&format!("{block}.bn1"), x.clone());
        let shortcut = match stride {
            1 => x,
            _ => conv(&format!("{block}.shortcut.0"), first.clone(), 2),
        };
        let y = conv(&format!("{block}.conv1"), first, stride);
        let y = norm(&format!("{block}.bn2"), y);
        x = conv(&format!("{block}.conv2"), y, 1) + shortcut;
    }
    let [n, c, h, w] = x.dims();
    x.reshape([n, c, h * w]).mean_dim(2).reshape([n, c, 1, 1])
}

#[test]
fn a_network_with_pre_activation_is_read_as_what_it_computes() {
    let mut index = 0;
    let mut state = StateDict::new();
    let mut add = |name: &str, shape: &[usize], low: f32, high: f32| {
        let data = (0..shape.iter().product::<usize>()).map(|_| {
            index += 1;
            low + (high - low) * uniform(11, index)
        });
        let tensor = HostTensor::new(shape.to_vec(), data.collect()).unwrap();
        state.insert(name, tensor);
    };
    add("conv1.weight", &[5, 3, 3, 3], -0.5, 0.5);
    for (block, from, to) in [("layer1.0", 5, 5), ("layer2.0", 5, 9)] {
        for (norm, channels) in [("bn1", from), ("bn2", to)] {
            for part in ["weight", "running_var"] {
                add(&format!("{block}.{norm}.{part}"), &[channels], 0.5, 2.0);
            }
            for part in ["bias", "running_mean"] {
                add(&format!("{block}.{norm}.{part}"), &[channels], -0.5, 0.5);
            }
        }
        add(
            &format!("{block}.conv1.weight"),
            &[to, from, 3, 3],
            -0.3,
            0.3,
        );
        add(&format!("{block}.conv2.weight"), &[to, to, 3, 3], -0.3, 0.3);
    }
    add("layer2.0.shortcut.0.weight", &[9, 5, 1, 1], -0.5, 0.5);
    // Logits are the features.
    let eye = (0..81).map(|i| if i % 10 == 0 { 1.0 } else { 0.0 });
    let eye = HostTensor::new(vec![9, 9], eye.collect()).unwrap();
    state.insert("linear.weight", eye);
    state.insert(
        "linear.bias",
        HostTensor::new(vec![9], vec![0.0; 9]).unwrap(),
    );

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.safetensors");
    std::fs::write(
        &path,
        resnet::to_safetensors(&state, &BTreeMap::new()).unwrap(),
    )
    .unwrap();
    let found = resnet::load(&path, None).unwrap();
    assert_eq!(found.architecture, "preact_resnet");
    let device = Device::flex();
    let pixels = images(2, 32);
    let data = TensorData::new(pixels.clone(), [2, 3, 32, 32]);
    let expected = preact(&state, Tensor::from_data(data, &device), &device);
    let expected = expected.into_data().try_to_vec::<f32>().unwrap();
    let graph = lower(found.network, [32, 32], Epilogue::Fused).unwrap();
    let program = Program::new(graph, Options::default()).unwrap();
    let mut logits = vec![0.0; 18];
    program
        .run(&mut program.workspace(), &pixels, &mut logits)
        .unwrap();
    let far = distance(&expected, &logits);
    assert!(far <= 1e-5, "{far}");
}
