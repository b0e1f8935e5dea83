//! A ResNet as a burn module, of burn's own layers, fields named as in PyTorch: for who writes programs with burn, and a twin, written
//! by itself, of what goes by the network's graph.
//!
//! Built from a [`StateDict`] with or without BatchNorm (see [`quantize::fold`]); a folded network has a bias in every
//! convolution and no BatchNorm. Activations are `[n, c, h, w]`, logits `[n, classes]`. BatchNorm trains whenever the input lives on
//! an autodiff device, its running variance the batch's biased one; on a plain device it uses its running statistics.

use burn::module::{Module, Param, RunningState};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor, TensorData, s};
use network::StateDict;

use crate::arch::{Arch, BN_EPSILON, BlockSpec, ConvUnit, Layout, Shortcut};
use crate::error::Error;

/// A residual network.
#[derive(Module, Debug)]
pub struct ResNet {
    conv1: Conv2d,
    bn1: Option<BatchNorm>,
    maxpool: Option<MaxPool2d>,
    layer1: Vec<Block>,
    layer2: Vec<Block>,
    layer3: Vec<Block>,
    layer4: Vec<Block>,
    fc: Linear,
}

/// A residual block, basic or bottleneck.
#[derive(Module, Debug)]
pub struct Block {
    conv1: Conv2d,
    bn1: Option<BatchNorm>,
    conv2: Conv2d,
    bn2: Option<BatchNorm>,
    conv3: Option<Conv2d>,
    bn3: Option<BatchNorm>,
    downsample: Option<Downsample>,
    /// Zero channels on each side of an option A shortcut; 0 for every other shortcut.
    pad: usize,
}

/// A projection shortcut.
#[derive(Module, Debug)]
pub struct Downsample {
    conv: Conv2d,
    bn: Option<BatchNorm>,
}

impl ResNet {
    /// A network with the given weights. `state` holds exactly the tensors of [`Arch::expected`] or of
    /// [`Arch::expected_folded`]; fails naming the first one that is missing or misshapen.
    pub fn from_state(arch: &Arch, state: &StateDict, device: &Device) -> Result<Self, Error> {
        let layout = arch.layout();
        let conv = |unit: &ConvUnit| {
            let bias_name = format!("{}.bias", unit.conv);
            let has_bias = state.get(&bias_name).is_some();
            let mut conv = conv_config(unit, has_bias).init(device);
            let weight_shape = [unit.output, unit.input, unit.kernel, unit.kernel];
            conv.weight = Param::from_tensor(tensor(
                state,
                &format!("{}.weight", unit.conv),
                weight_shape,
                device,
            )?);
            if has_bias {
                let bias = tensor(state, &bias_name, [unit.output], device)?;
                conv.bias = Some(Param::from_tensor(bias));
            }
            let bn = if has_bias {
                None
            } else {
                let part = |part: &str| {
                    tensor(state, &format!("{}.{part}", unit.bn), [unit.output], device)
                };
                let mut bn = BatchNormConfig::new(unit.output)
                    .with_epsilon(BN_EPSILON)
                    .init(device);
                bn.gamma = Param::from_tensor(part("weight")?);
                bn.beta = Param::from_tensor(part("bias")?);
                bn.running_mean = RunningState::new(part("running_mean")?);
                bn.running_var = RunningState::new(part("running_var")?);
                Some(bn)
            };
            Ok((conv, bn))
        };
        let name = &layout.classifier;
        let mut fc = LinearConfig::new(layout.features, layout.classes).init(device);
        // PyTorch keeps a linear weight as [out, in], burn as [in, out].
        let weight = tensor(
            state,
            &format!("{name}.weight"),
            [layout.classes, layout.features],
            device,
        )?;
        fc.weight = Param::from_tensor(weight.transpose());
        fc.bias = Some(Param::from_tensor(tensor(
            state,
            &format!("{name}.bias"),
            [layout.classes],
            device,
        )?));
        Self::assemble(&layout, conv, fc)
    }

    /// Logits `[n, classes]` of normalised images `[n, 3, h, w]`.
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let mut x = convolve(&self.conv1, self.bn1.as_ref(), images, true);
        if let Some(pool) = &self.maxpool {
            x = pool.forward(x);
        }
        for block in self.blocks() {
            x = block.forward(x);
        }
        let [n, c, h, w] = x.dims();
        let pooled = x.reshape([n, c, h * w]).mean_dim(2);
        self.fc.forward(pooled.reshape([n, c]))
    }

    fn blocks(&self) -> impl Iterator<Item = &Block> {
        self.layer1
            .iter()
            .chain(&self.layer2)
            .chain(&self.layer3)
            .chain(&self.layer4)
    }

    fn assemble(
        layout: &Layout,
        conv: impl Fn(&ConvUnit) -> Result<(Conv2d, Option<BatchNorm>), Error>,
        fc: Linear,
    ) -> Result<Self, Error> {
        let stage = |stage: usize| {
            layout
                .blocks
                .iter()
                .filter(|block| block.stage == stage)
                .map(|block| Block::assemble(block, &conv))
                .collect::<Result<Vec<_>, Error>>()
        };
        let (conv1, bn1) = conv(&layout.stem)?;
        Ok(Self {
            conv1,
            bn1,
            maxpool: layout.max_pool.then(|| {
                MaxPool2dConfig::new([3, 3])
                    .with_strides([2, 2])
                    .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
                    .init()
            }),
            layer1: stage(1)?,
            layer2: stage(2)?,
            layer3: stage(3)?,
            layer4: stage(4)?,
            fc,
        })
    }
}

impl Block {
    fn assemble(
        spec: &BlockSpec,
        conv: &impl Fn(&ConvUnit) -> Result<(Conv2d, Option<BatchNorm>), Error>,
    ) -> Result<Self, Error> {
        let (conv1, bn1) = conv(&spec.units[0])?;
        let (conv2, bn2) = conv(&spec.units[1])?;
        let (conv3, bn3) = match spec.units.get(2).map(conv).transpose()? {
            Some((conv, bn)) => (Some(conv), bn),
            None => (None, None),
        };
        let (downsample, pad) = match &spec.shortcut {
            Shortcut::Identity => (None, 0),
            Shortcut::Pad { pad } => (None, *pad),
            Shortcut::Project(unit) => {
                let (conv, bn) = conv(unit)?;
                (Some(Downsample { conv, bn }), 0)
            }
        };
        Ok(Self {
            conv1,
            bn1,
            conv2,
            bn2,
            conv3,
            bn3,
            downsample,
            pad,
        })
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let mut y = convolve(&self.conv1, self.bn1.as_ref(), x.clone(), true);
        let mut last = (&self.conv2, self.bn2.as_ref());
        if let Some(conv3) = &self.conv3 {
            y = convolve(last.0, last.1, y, true);
            last = (conv3, self.bn3.as_ref());
        }
        let y = convolve(last.0, last.1, y, false);
        let shortcut = match &self.downsample {
            Some(downsample) => convolve(&downsample.conv, downsample.bn.as_ref(), x, false),
            None if self.pad > 0 => pad_channels(x, self.pad),
            None => x,
        };
        relu(y + shortcut)
    }
}

/// The option A shortcut: `[n, c, h, w]` to `[n, c + 2 pad, ceil(h / 2), ceil(w / 2)]`.
fn pad_channels(x: Tensor<4>, pad: usize) -> Tensor<4> {
    let x = x.slice(s![.., .., ..;2, ..;2]);
    let [n, _, h, w] = x.dims();
    let zeros = Tensor::zeros([n, pad, h, w], &x.device());
    Tensor::cat(vec![zeros.clone(), x, zeros], 1)
}

fn convolve(conv: &Conv2d, bn: Option<&BatchNorm>, x: Tensor<4>, activate: bool) -> Tensor<4> {
    let y = conv.forward(x);
    let y = match bn {
        Some(bn) => bn.forward(y),
        None => y,
    };
    if activate { relu(y) } else { y }
}

fn conv_config(unit: &ConvUnit, bias: bool) -> Conv2dConfig {
    let p = unit.padding();
    Conv2dConfig::new([unit.input, unit.output], [unit.kernel, unit.kernel])
        .with_stride([unit.stride, unit.stride])
        .with_padding(PaddingConfig2d::Explicit(p, p, p, p))
        .with_bias(bias)
}

fn tensor<const D: usize>(
    state: &StateDict,
    name: &str,
    shape: [usize; D],
    device: &Device,
) -> Result<Tensor<D>, Error> {
    let found = state.require_shaped(name, &shape)?;
    let data = TensorData::new(found.data.clone(), shape);
    Ok(Tensor::from_data(data, device))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random_state;
    use burn::tensor::Distribution;
    use network::HostTensor;
    use quantize::fold;

    fn images(n: usize, side: usize, device: &Device) -> Tensor<4> {
        device.seed(5);
        Tensor::random([n, 3, side, side], Distribution::Normal(0.0, 1.0), device)
    }

    fn folded(arch: &Arch, state: &StateDict) -> StateDict {
        let network = crate::network(arch, state.clone()).unwrap();
        fold(&network).unwrap().into_parts().1
    }

    fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
        tensor.into_data().try_to_vec().unwrap()
    }

    #[test]
    fn folding_changes_logits_by_rounding_alone() {
        let device = Device::flex();
        for (name, side) in [
            ("cifar-resnet20", 32),
            ("cifar-resnet32-b", 32),
            ("resnet18", 64),
            ("resnet50", 64),
        ] {
            let arch = Arch::parse(name).unwrap().with_classes(10);
            let state = random_state(&arch, 2);
            let kept = ResNet::from_state(&arch, &state, &device).unwrap();
            let folded = ResNet::from_state(&arch, &folded(&arch, &state), &device).unwrap();
            let kept = values(kept.forward(images(2, side, &device)));
            let folded = values(folded.forward(images(2, side, &device)));
            let largest = kept.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
            for (a, b) in kept.iter().zip(&folded) {
                assert!((a - b).abs() <= 1e-4 * largest, "{name}: {a} {b}");
            }
            assert!(largest > 0.0);
        }
    }

    #[test]
    fn the_option_a_shortcut_takes_every_second_pixel_and_pads_channels_evenly() {
        let device = Device::flex();
        let x = images(1, 5, &device);
        let y = pad_channels(x.clone(), 2);
        assert_eq!(y.dims(), [1, 7, 3, 3]);
        let (x, y) = (values(x), values(y));
        assert!(y[..18].iter().chain(&y[45..]).all(|v| *v == 0.0));
        assert_eq!(y[18..21], [x[0], x[2], x[4]]);
        assert_eq!(y[21], x[10]);
    }

    #[test]
    fn a_missing_or_misshapen_tensor_is_named() {
        let device = Device::flex();
        let arch = Arch::parse("cifar-resnet20").unwrap();
        let mut state = random_state(&arch, 4);
        let weight = state.remove("layer3.1.conv2.weight").unwrap();
        let error = ResNet::from_state(&arch, &state, &device).unwrap_err();
        assert!(
            error.to_string().contains("layer3.1.conv2.weight"),
            "{error}"
        );
        let flat = HostTensor::new(vec![weight.len()], weight.data).unwrap();
        state.insert("layer3.1.conv2.weight", flat);
        let error = ResNet::from_state(&arch, &state, &device).unwrap_err();
        assert!(error.to_string().contains("[64, 64, 3, 3]"), "{error}");
    }
}
