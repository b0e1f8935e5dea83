//! The network as a burn module: trainable, runs on any burn device, fields named as in PyTorch.
//!
//! Built from a [`StateDict`] with or without BatchNorm (see [`crate::fold`]); a folded network has a bias in every
//! convolution and no BatchNorm. Activations are `[n, c, h, w]`, logits `[n, classes]`.
//!
//! BatchNorm trains whenever the input lives on an autodiff device; on a plain device it uses its running statistics. There,
//! too, the operations of [`crate::ops`] take the place of burn's; burn's modules hold the parameters.

use burn::module::{Initializer, Module, Param, RunningState};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::{Device, Tensor, TensorData, s};
use quant_core::tensor::fake_quant;
use quant_core::{Granularity, QParams, Rounding};

use crate::arch::{Arch, BN_EPSILON, BlockSpec, ConvUnit, Layout, Shortcut};
use crate::error::Error;
use crate::ops::{self, relu};
use crate::sites::SiteRounding;
use network::{HostTensor, StateDict};

/// Called with the index of a layer, its input and its output, `[n, c, h, w]`. Convolution units come first, by their
/// place in [`Layout::units`]; their output is taken after BatchNorm, before addition and ReLU. The classifier comes
/// last, with maps of one pixel.
pub type Tap<'a> = &'a mut dyn FnMut(usize, &Tensor<4>, &Tensor<4>);

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
    /// A network with random weights: He-normal convolutions, BatchNorm at identity. The values come from the device's
    /// generator, so call `device.seed` first.
    pub fn init(arch: &Arch, device: &Device) -> Self {
        let layout = arch.layout();
        let conv = |unit: &ConvUnit| -> Result<_, Error> {
            Ok((
                conv_config(unit, false).init(device),
                Some(BatchNormConfig::new(unit.output).init(device)),
            ))
        };
        let fc = LinearConfig::new(layout.features, layout.classes).init(device);
        Self::assemble(&layout, conv, fc).expect("random initialisation has nothing that can fail")
    }

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

    /// The weights under their PyTorch names: the inverse of [`ResNet::from_state`].
    pub fn to_state(&self, arch: &Arch) -> StateDict {
        let layout = arch.layout();
        let mut state = StateDict::default();
        for (unit, (conv, bn)) in layout.units().into_iter().zip(self.units()) {
            state.insert(format!("{}.weight", unit.conv), host(conv.weight.val()));
            if let Some(bias) = &conv.bias {
                state.insert(format!("{}.bias", unit.conv), host(bias.val()));
            }
            if let Some(bn) = bn {
                for (part, value) in [
                    ("weight", bn.gamma.val()),
                    ("bias", bn.beta.val()),
                    ("running_mean", bn.running_mean.value_sync()),
                    ("running_var", bn.running_var.value_sync()),
                ] {
                    state.insert(format!("{}.{part}", unit.bn), host(value));
                }
            }
        }
        let name = &layout.classifier;
        state.insert(
            format!("{name}.weight"),
            host(self.fc.weight.val().transpose()),
        );
        if let Some(bias) = &self.fc.bias {
            state.insert(format!("{name}.bias"), host(bias.val()));
        }
        state
    }

    /// Logits `[n, classes]` of normalised images `[n, 3, h, w]`.
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        self.run(images, &mut Unseen)
    }

    /// The output of layer `index` alone (see [`Tap`]) for an input of its own, or nothing where there is no such layer.
    pub fn forward_layer(&self, index: usize, input: Tensor<4>) -> Option<Tensor<4>> {
        let units = self.units();
        if let Some((conv, bn)) = units.get(index) {
            return Some(convolve(conv, *bn, input, false));
        }
        let [n, c, _, _] = input.dims();
        (index == units.len()).then(|| as_map(self.fc.forward(input.reshape([n, c]))))
    }

    /// [`ResNet::forward`], showing every layer's input and output to `tap` on the way.
    pub fn forward_tapped(&self, images: Tensor<4>, tap: Tap<'_>) -> Tensor<2> {
        self.run(images, &mut Taps { tap, index: 0 })
    }

    /// [`ResNet::forward`] with every activation site rounded to its code, in the order of [`crate::Sites`]; a site without
    /// a code passes as it is.
    pub fn forward_quantized(
        &self,
        images: Tensor<4>,
        codes: &[Option<SiteRounding>],
    ) -> Tensor<2> {
        self.run(images, &mut codes.iter())
    }

    /// [`ResNet::forward_quantized`], showing every layer's input and output to `tap` on the way.
    pub fn forward_watched(
        &self,
        images: Tensor<4>,
        codes: &[Option<SiteRounding>],
        tap: Tap<'_>,
    ) -> Tensor<2> {
        let taps = Taps { tap, index: 0 };
        self.run(images, &mut Watched(taps, codes.iter()))
    }

    fn run(&self, images: Tensor<4>, hooks: &mut impl Hooks) -> Tensor<2> {
        let images = hooks.site(images).read;
        let x = activated(&self.conv1, self.bn1.as_ref(), images, hooks);
        let mut x = hooks.site(x);
        if let Some(pool) = &self.maxpool {
            x = x.map(|x| pool.forward(x));
        }
        for block in self.blocks() {
            x = block.forward(x, hooks);
        }
        let [n, c, h, w] = x.read.dims();
        let pooled = x.read.reshape([n, c, h * w]).mean_dim(2);
        let pooled = hooks.site(pooled.reshape([n, c, 1, 1])).read;
        let logits = as_map(self.fc.forward(pooled.clone().reshape([n, c])));
        hooks.layer(&pooled, &logits);
        let classes = logits.dims()[1];
        hooks.site(logits).read.reshape([n, classes])
    }

    fn blocks(&self) -> impl Iterator<Item = &Block> {
        self.layer1
            .iter()
            .chain(&self.layer2)
            .chain(&self.layer3)
            .chain(&self.layer4)
    }

    /// Convolution units in the order of [`Layout::units`].
    fn units(&self) -> Vec<(&Conv2d, Option<&BatchNorm>)> {
        let mut units = vec![(&self.conv1, self.bn1.as_ref())];
        for block in self.blocks() {
            units.push((&block.conv1, block.bn1.as_ref()));
            units.push((&block.conv2, block.bn2.as_ref()));
            if let Some(conv3) = &block.conv3 {
                units.push((conv3, block.bn3.as_ref()));
            }
            if let Some(downsample) = &block.downsample {
                units.push((&downsample.conv, downsample.bn.as_ref()));
            }
        }
        units
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

    fn forward(&self, x: Value, hooks: &mut impl Hooks) -> Value {
        let y = activated(&self.conv1, self.bn1.as_ref(), x.read.clone(), hooks);
        let mut y = hooks.site(y).read;
        let mut last = (&self.conv2, self.bn2.as_ref());
        if let Some(conv3) = &self.conv3 {
            y = activated(last.0, last.1, y, hooks);
            y = hooks.site(y).read;
            last = (conv3, self.bn3.as_ref());
        }
        let y = hooked(last.0, last.1, y, hooks);
        let y = hooks.site(y).added();
        let shortcut = match &self.downsample {
            Some(downsample) => {
                let projected = hooked(&downsample.conv, downsample.bn.as_ref(), x.read, hooks);
                hooks.site(projected).added()
            }
            None if self.pad > 0 => pad_channels(x.added(), self.pad),
            None => x.added(),
        };
        hooks.site(ops::add_relu(y, shortcut))
    }
}

/// A value on its way: what layers read of it, and what an addition takes. The two differ where rounding is for layers alone
/// ([`SiteRounding::is_forked`]).
pub(crate) struct Value {
    pub(crate) read: Tensor<4>,
    /// None where it is the same.
    added: Option<Tensor<4>>,
}

impl Value {
    /// A value of which layers read another.
    pub(crate) fn forked(read: Tensor<4>, added: Tensor<4>) -> Self {
        let added = Some(added);
        Self { read, added }
    }

    /// What an addition takes.
    pub(crate) fn added(self) -> Tensor<4> {
        self.added.unwrap_or(self.read)
    }

    /// Does the same to both.
    pub(crate) fn map(self, f: impl Fn(Tensor<4>) -> Tensor<4>) -> Self {
        Self {
            read: f(self.read),
            added: self.added.map(f),
        }
    }
}

impl From<Tensor<4>> for Value {
    fn from(read: Tensor<4>) -> Self {
        Self { read, added: None }
    }
}

/// What happens on the way through the network.
trait Hooks {
    /// Whether anybody looks at layers: if not, a layer may be computed together with what follows it.
    const SEES_LAYERS: bool = false;

    /// A layer has made `y` of `x`.
    fn layer(&mut self, _x: &Tensor<4>, _y: &Tensor<4>) {}

    /// The values of the next activation site; what comes back goes on in their place.
    fn site(&mut self, x: Tensor<4>) -> Value {
        x.into()
    }
}

/// Nothing happens.
struct Unseen;

impl Hooks for Unseen {}

/// Shows layers, counting them.
struct Taps<'a> {
    tap: Tap<'a>,
    index: usize,
}

impl Hooks for Taps<'_> {
    const SEES_LAYERS: bool = true;

    fn layer(&mut self, x: &Tensor<4>, y: &Tensor<4>) {
        (self.tap)(self.index, x, y);
        self.index += 1;
    }
}

/// Rounds sites, one after the other.
impl Hooks for std::slice::Iter<'_, Option<SiteRounding>> {
    fn site(&mut self, x: Tensor<4>) -> Value {
        match self.next() {
            Some(Some(site)) if site.is_forked => Value::forked(round_to(x.clone(), &site.code), x),
            Some(Some(site)) => round_to(x, &site.code).into(),
            _ => x.into(),
        }
    }
}

/// Shows layers and rounds sites.
struct Watched<'a, 'b>(Taps<'a>, std::slice::Iter<'b, Option<SiteRounding>>);

impl Hooks for Watched<'_, '_> {
    const SEES_LAYERS: bool = true;

    fn layer(&mut self, x: &Tensor<4>, y: &Tensor<4>) {
        self.0.layer(x, y);
    }

    fn site(&mut self, x: Tensor<4>) -> Value {
        self.1.site(x)
    }
}

/// The representable numbers that stand for `x`.
fn round_to(x: Tensor<4>, code: &QParams) -> Tensor<4> {
    let rounding = Rounding::HalfEven;
    fake_quant(x, &[*code], Granularity::Tensor, rounding)
        .expect("one group's parameters fit a tensor that is one group")
}

/// The option A shortcut: `[n, c, h, w]` to `[n, c + 2 pad, ceil(h / 2), ceil(w / 2)]`.
pub(crate) fn pad_channels(x: Tensor<4>, pad: usize) -> Tensor<4> {
    let x = x.slice(s![.., .., ..;2, ..;2]);
    let [n, _, h, w] = x.dims();
    let zeros = Tensor::zeros([n, pad, h, w], &x.device());
    Tensor::cat(vec![zeros.clone(), x, zeros], 1)
}

/// `[n, c]` as maps of one pixel, `[n, c, 1, 1]`.
fn as_map(x: Tensor<2>) -> Tensor<4> {
    let [n, c] = x.dims();
    x.reshape([n, c, 1, 1])
}

/// [`convolve`], showing input and output.
fn hooked(
    conv: &Conv2d,
    bn: Option<&BatchNorm>,
    x: Tensor<4>,
    hooks: &mut impl Hooks,
) -> Tensor<4> {
    let y = convolve(conv, bn, x.clone(), false);
    hooks.layer(&x, &y);
    y
}

/// The same with a ReLU behind it.
fn activated<H: Hooks>(
    conv: &Conv2d,
    bn: Option<&BatchNorm>,
    x: Tensor<4>,
    hooks: &mut H,
) -> Tensor<4> {
    match H::SEES_LAYERS {
        true => relu(hooked(conv, bn, x, hooks)),
        false => convolve(conv, bn, x, true),
    }
}

fn convolve(conv: &Conv2d, bn: Option<&BatchNorm>, x: Tensor<4>, activate: bool) -> Tensor<4> {
    let y = match (&conv.padding, x.device().is_autodiff()) {
        (&PaddingConfig2d::Explicit(p, left, bottom, right), true)
            if [left, bottom, right] == [p; 3] && conv.stride[0] == conv.stride[1] =>
        {
            let bias = conv.bias.as_ref().map(|bias| bias.val());
            ops::conv2d(x, conv.weight.val(), bias, conv.stride[0], p)
        }
        _ => conv.forward(x),
    };
    match bn {
        Some(bn) if y.device().is_autodiff() && bn.training.is_enabled() => {
            normalize(bn, y, activate)
        }
        Some(bn) if activate => relu(bn.forward(y)),
        Some(bn) => bn.forward(y),
        None if activate => relu(y),
        None => y,
    }
}

/// What burn's `BatchNorm::forward` does in training, with a ReLU behind it if asked for.
fn normalize(bn: &BatchNorm, x: Tensor<4>, activate: bool) -> Tensor<4> {
    let (gamma, beta) = (bn.gamma.val(), bn.beta.val());
    let found = match activate {
        true => ops::batch_norm_relu_train(x, gamma, beta, bn.epsilon),
        false => ops::batch_norm_train(x, gamma, beta, bn.epsilon),
    };
    for (running, now) in [
        (&bn.running_mean, found.mean),
        (&bn.running_var, found.variance),
    ] {
        let moved = running.value_sync().inner() * (1.0 - bn.momentum) + now * bn.momentum;
        running.update(Tensor::from_inner(moved));
    }
    found.output
}

fn conv_config(unit: &ConvUnit, bias: bool) -> Conv2dConfig {
    let p = unit.padding();
    Conv2dConfig::new([unit.input, unit.output], [unit.kernel, unit.kernel])
        .with_stride([unit.stride, unit.stride])
        .with_padding(PaddingConfig2d::Explicit(p, p, p, p))
        .with_bias(bias)
        .with_initializer(Initializer::KaimingNormal {
            gain: std::f64::consts::SQRT_2,
            fan_out_only: false,
        })
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

fn host<const D: usize>(tensor: Tensor<D>) -> HostTensor {
    let shape = tensor.dims().to_vec();
    let data = tensor
        .into_data()
        .try_to_vec::<f32>()
        .expect("the network's parameters are float32");
    HostTensor::new(shape, data).expect("a tensor's data fills its shape")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fold::fold;
    use crate::random_state;
    use burn::tensor::Distribution;

    fn images(n: usize, side: usize, device: &Device) -> Tensor<4> {
        device.seed(5);
        Tensor::random([n, 3, side, side], Distribution::Normal(0.0, 1.0), device)
    }

    fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
        tensor.into_data().try_to_vec().unwrap()
    }

    #[test]
    fn a_state_comes_back_as_it_went_in_for_every_network() {
        let device = Device::flex();
        for arch in Arch::all() {
            if arch.name() == "resnet152" {
                continue; // 240 MB for no other code than resnet101's
            }
            let arch = arch.with_classes(7);
            let state = random_state(&arch, 1);
            let net = ResNet::from_state(&arch, &state, &device).unwrap();
            assert_eq!(net.to_state(&arch), state, "{arch}");
            let folded = fold(&arch, &state).unwrap();
            let net = ResNet::from_state(&arch, &folded, &device).unwrap();
            assert_eq!(net.to_state(&arch), folded, "{arch}");
        }
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
            let folded = ResNet::from_state(&arch, &fold(&arch, &state).unwrap(), &device).unwrap();
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
    fn the_tap_sees_every_layer_once_and_each_layer_alone_repeats_its_output() {
        let device = Device::flex();
        let arch = Arch::parse("cifar-resnet20-b").unwrap();
        let layout = arch.layout();
        let net = ResNet::from_state(&arch, &random_state(&arch, 3), &device).unwrap();
        let mut seen = Vec::new();
        let logits = net.forward_tapped(images(2, 32, &device), &mut |index, input, output| {
            let alone = net.forward_layer(index, input.clone()).unwrap();
            assert_eq!(values(alone), values(output.clone()), "layer {index}");
            seen.push((index, output.dims()[1]));
        });
        let units = layout.units();
        let expected: Vec<_> = units
            .iter()
            .map(|unit| unit.output)
            .chain([layout.classes])
            .enumerate()
            .collect();
        assert_eq!(seen, expected);
        assert_eq!(logits.dims(), [2, 10]);
        assert!(
            net.forward_layer(units.len() + 1, images(1, 32, &device))
                .is_none()
        );
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
