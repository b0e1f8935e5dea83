//! Random weights to begin a training with.

use burn::module::Initializer;
use burn::tensor::{Device, Tensor};
use network::{HostTensor, Op, StateDict, Topology};

use crate::error::Error;

/// Tensors for `topology`: convolutions normal by He et al. 2015 (variance 2 / fan in), fully connected layers and all biases uniform
/// within 1 / sqrt(fan in), as PyTorch has them, batch normalizations that change nothing. A convolution that a batch normalization
/// follows has no bias. The values come from the device's generator, so call `device.seed` first.
///
/// # Errors
/// [`Error::Device`].
pub fn initial(topology: &Topology, device: &Device) -> Result<StateDict, Error> {
    let mut state = StateDict::new();
    for (id, node) in topology.nodes().iter().enumerate() {
        let wanted = topology.wanted(id).collect::<Vec<_>>();
        let fan_in = wanted
            .first()
            .map_or(1, |(_, weight, _)| weight[1..].iter().product());
        for (name, shape, optional) in wanted {
            let value = match (&node.op, &shape[..]) {
                (Op::BatchNorm { .. }, &[channels]) => {
                    let is_one = name.ends_with(".weight") || name.ends_with(".running_var");
                    constant(channels, if is_one { 1.0 } else { 0.0 })
                }
                (_, &[_]) if optional && topology.norm(id).is_some() => continue,
                (_, &[outputs]) => host(
                    uniform()
                        .init_with::<1, _>([outputs], Some(fan_in), None, device)
                        .val(),
                )?,
                (_, &[outputs, inputs]) => {
                    let by_input =
                        uniform().init_with::<2, _>([inputs, outputs], Some(fan_in), None, device);
                    host(by_input.val().transpose())?
                }
                (_, shape) => {
                    let shape: [usize; 4] = std::array::from_fn(|axis| shape[axis]);
                    host(
                        normal()
                            .init_with::<4, _>(shape, Some(fan_in), None, device)
                            .val(),
                    )?
                }
            };
            state.insert(name, value);
        }
    }
    Ok(state)
}

fn normal() -> Initializer {
    Initializer::KaimingNormal {
        gain: std::f64::consts::SQRT_2,
        fan_out_only: false,
    }
}

fn uniform() -> Initializer {
    Initializer::KaimingUniform {
        gain: 1.0 / 3f64.sqrt(),
        fan_out_only: false,
    }
}

fn constant(channels: usize, value: f32) -> HostTensor {
    HostTensor {
        shape: vec![channels],
        data: vec![value; channels],
    }
}

fn host<const D: usize>(tensor: Tensor<D>) -> Result<HostTensor, Error> {
    let shape = tensor.dims().to_vec();
    let device = |e: &dyn std::fmt::Debug| Error::Device {
        reason: format!("{e:?}"),
    };
    let data = tensor.try_into_data().map_err(|e| device(&e))?;
    let data = data.try_to_vec::<f32>().map_err(|e| device(&e))?;
    Ok(HostTensor::new(shape, data)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use resnet::{Arch, topology};

    #[test]
    fn a_beginning_has_the_tensors_of_its_network_of_the_sizes_that_were_promised() {
        let arch = Arch::parse("cifar-resnet20-b").unwrap();
        let device = Device::flex();
        let state = initial(&topology(&arch), &device).unwrap();
        assert_eq!(state.shapes(), arch.expected().into_iter().collect());
        let data = |name: &str| state.get(name).unwrap().data.clone();
        assert!(data("layer2.0.bn1.running_var").iter().all(|&v| v == 1.0));
        assert!(data("layer2.0.bn1.bias").iter().all(|&v| v == 0.0));
        // 64 * 64 * 9 values of variance 2 / (64 * 9).
        let weights = data("layer3.1.conv2.weight");
        let variance = weights.iter().map(|v| v * v).sum::<f32>() / weights.len() as f32;
        assert!((variance * 288.0 - 1.0).abs() < 0.05, "{variance}");
        let classifier = [data("linear.weight"), data("linear.bias")].concat();
        assert!(classifier.iter().all(|v| v.abs() <= 0.125));
        assert!(classifier.iter().any(|v| v.abs() > 0.1));
    }
}
