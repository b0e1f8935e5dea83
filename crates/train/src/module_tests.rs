//! What computes a network here, beside the burn module, which is written by itself.

use burn::tensor::{Device, Tensor, TensorData};
use engine::{Options, Program};
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
