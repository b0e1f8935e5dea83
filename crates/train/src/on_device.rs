//! A network on a burn device, BatchNorm folded, its activations rounded between layers that run in float.

use std::collections::BTreeMap;

use burn::tensor::module::{conv2d, linear};
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor, TensorData};
use engine::Algorithm;
use network::{Network, NodeId, Op, Topology};
use quant_core::tensor::fake_quant;
use quant_core::{Granularity, QParams, Rounding};

use crate::error::Error;
use crate::forward::{Hooks, Tapped, clipped, forward};
use crate::ops;
use quantize::QuantizedNet;
use quantize::Unit;
use quantize::fold;
use quantize::{SiteRounding, Sites};

/// Called with a layer, its input and its output, `[n, c, h, w]`. The output is taken before addition and clipping.
pub type Tap<'a> = &'a mut dyn FnMut(NodeId, &Tensor<4>, &Tensor<4>);

/// A network on a device. A clone shares the weights; each thread needs one.
#[derive(Clone, Debug)]
pub struct OnDevice {
    topology: Topology,
    layers: BTreeMap<NodeId, Layer>,
    sites: BTreeMap<String, SiteRounding>,
    /// What the convolutions of training are computed by.
    algorithm: Algorithm,
}

#[derive(Clone, Debug)]
struct Layer {
    weight: Weight,
    bias: Option<Tensor<1>>,
}

#[derive(Clone, Debug)]
enum Weight {
    /// `[out, in / groups, rows, columns]`.
    Kernel(Tensor<4>),
    /// `[in, out]`, where PyTorch has `[out, in]`.
    Matrix(Tensor<2>),
}

impl OnDevice {
    /// `network` on `device`, in float.
    ///
    /// # Errors
    /// None for a checked network.
    pub fn new(network: &Network, device: &Device) -> Result<Self, Error> {
        let (topology, tensors) = fold(network)?.into_parts();
        let mut layers = BTreeMap::new();
        for id in topology.layers() {
            let name = &topology.node(id).name;
            let weight = tensors.require(&format!("{name}.weight"))?;
            let data = weight.data.clone();
            let weight = match weight.shape[..] {
                [out, inputs] => {
                    let data = TensorData::new(data, [out, inputs]);
                    Weight::Matrix(Tensor::<2>::from_data(data, device).transpose())
                }
                _ => {
                    let shape: [usize; 4] = std::array::from_fn(|axis| weight.shape[axis]);
                    Weight::Kernel(Tensor::from_data(TensorData::new(data, shape), device))
                }
            };
            let bias = tensors.get(&format!("{name}.bias")).map(|bias| {
                let data = TensorData::new(bias.data.clone(), [bias.len()]);
                Tensor::from_data(data, device)
            });
            layers.insert(id, Layer { weight, bias });
        }
        Ok(Self {
            topology,
            layers,
            sites: BTreeMap::new(),
            algorithm: Algorithm::Direct,
        })
    }

    /// A quantized network: quantized weights, and every site rounded to its code.
    ///
    /// # Errors
    /// None for a network that [`quantize::quantize`] made.
    pub fn quantized(net: &QuantizedNet, device: &Device) -> Result<Self, Error> {
        let sites = Sites::new(&net.topology);
        let names = sites.names().map(str::to_owned);
        let rounded = names.zip(net.site_rounding());
        Ok(Self {
            sites: rounded
                .filter_map(|(site, rounding)| Some((site, rounding?)))
                .collect(),
            ..Self::new(&net.network()?, device)?
        })
    }

    /// The same, its convolutions by `algorithm` where they are those of training.
    pub fn by(self, algorithm: Algorithm) -> Self {
        Self { algorithm, ..self }
    }

    /// How it hangs together: the network's topology, folded.
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// Logits `[n, classes]` of normalised images `[n, c, h, w]`.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn forward(&self, images: Tensor<4>) -> Result<Tensor<2>, Error> {
        let mut hooks = Inference {
            of: self,
            tap: None,
        };
        forward(&self.topology, images, &mut hooks)
    }

    /// [`OnDevice::forward`], showing every layer to `tap` on the way.
    ///
    /// # Errors
    /// As there.
    pub fn forward_tapped(&self, images: Tensor<4>, tap: Tap<'_>) -> Result<Tensor<2>, Error> {
        let tap = Some(tap);
        forward(&self.topology, images, &mut Inference { of: self, tap })
    }

    /// The output of a layer alone for an input of its own; none where `id` is no layer.
    pub fn layer(&self, id: NodeId, x: Tensor<4>) -> Option<Tensor<4>> {
        let Layer { weight, bias } = self.layers.get(&id)?;
        let bias = bias.clone();
        Some(match (&self.topology.node(id).op, weight) {
            (Op::Conv { groups, window, .. }, Weight::Kernel(weight)) => {
                // Under autodiff the convolutions of training are the fastest that the device has.
                if x.device().is_autodiff() {
                    let window = (*window, *groups);
                    return Some(ops::conv2d(x, weight.clone(), bias, window, self.algorithm));
                }
                let options = ConvOptions::new_with_padding(
                    window.stride,
                    window.padding.pairs(),
                    window.dilation,
                    *groups,
                );
                conv2d(x, weight.clone(), bias, options)
            }
            (_, Weight::Matrix(weight)) => {
                let [n, c, h, w] = x.dims();
                let y = linear(x.reshape([n, c * h * w]), weight.clone(), bias);
                let [_, outputs] = y.dims();
                y.reshape([n, outputs, 1, 1])
            }
            _ => return None,
        })
    }
}

struct Inference<'a, 't> {
    of: &'a OnDevice,
    tap: Option<Tap<'t>>,
}

impl Hooks for Inference<'_, '_> {
    fn layer(
        &mut self,
        topology: &Topology,
        unit: &Unit,
        x: Tensor<4>,
    ) -> Result<Tensor<4>, Error> {
        let y = self.of.layer(unit.head, x.clone());
        let y = y.ok_or_else(|| Error::Device {
            reason: format!("there is no layer {}", topology.node(unit.head).name),
        })?;
        if let Some(tap) = &mut self.tap {
            tap(unit.head, &x, &y);
        }
        drop(x);
        Ok(clipped(topology, unit, y))
    }

    fn site(&mut self, site: &str, x: Tensor<4>) -> Result<Tapped, Error> {
        Ok(match self.of.sites.get(site) {
            Some(site) if site.is_forked => Tapped::forked(round_to(x.clone(), &site.code), x),
            Some(site) => round_to(x, &site.code).into(),
            None => x.into(),
        })
    }
}

/// The representable numbers that stand for `x`.
fn round_to(x: Tensor<4>, code: &QParams) -> Tensor<4> {
    let rounding = Rounding::HalfEven;
    fake_quant(x, &[*code], Granularity::Tensor, rounding)
        .expect("one group's parameters fit a tensor that is one group")
}
