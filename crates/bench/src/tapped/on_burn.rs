//! The same on a burn device, BatchNorm folded.

use anyhow::{Result, anyhow};
use burn::tensor::{Device, Tensor, TensorData};
use engine::Shape;
use network::{Network, NodeId};
use train::OnDevice;

use super::Map;

/// The network and its device.
pub(super) struct Module {
    net: OnDevice,
    device: Device,
    /// In execution order.
    layers: Vec<NodeId>,
}

impl Module {
    /// `network` on `device`.
    pub fn new(network: &Network, device: &Device) -> Result<Self> {
        let net = OnDevice::new(network, device)?;
        Ok(Self {
            layers: net.topology().layers().collect(),
            net,
            device: device.clone(),
        })
    }

    /// As [`super::Tapped::run`].
    pub fn run(
        &self,
        images: &Map,
        tap: &mut dyn FnMut(usize, &Map, &Map) -> Result<()>,
    ) -> Result<Vec<f32>> {
        let mut result = Ok(());
        let images = to_device(images, &self.device);
        let mut number = 0;
        let found = self.net.forward_tapped(images, &mut |_, x, y| {
            if result.is_ok() {
                result = to_host(x.clone())
                    .and_then(|x| Ok((x, to_host(y.clone())?)))
                    .and_then(|(x, y)| tap(number, &x, &y));
            }
            number += 1;
        })?;
        result?;
        let [n, classes] = found.dims();
        Ok(to_host(found.reshape([n, classes, 1, 1]))?.values)
    }

    /// The output of layer `number` alone; none where there is no such layer.
    pub fn layer(&self, number: usize, input: &Map) -> Result<Option<Map>> {
        let layer = self.layers.get(number);
        let input = to_device(input, &self.device);
        let output = layer.and_then(|&layer| self.net.layer(layer, input));
        output.map(to_host).transpose()
    }
}

fn to_device(map: &Map, device: &Device) -> Tensor<4> {
    let Shape {
        channels,
        height,
        width,
    } = map.shape;
    let data = TensorData::new(map.values.clone(), [map.n, channels, height, width]);
    Tensor::from_data(data, device)
}

fn to_host(tensor: Tensor<4>) -> Result<Map> {
    let [n, c, h, w] = tensor.dims();
    let values = tensor
        .try_into_data()
        .map_err(|e| anyhow!("the device failed: {e:?}"))?
        .convert::<f32>()
        .try_to_vec()
        .map_err(|e| anyhow!("the device failed: {e:?}"))?;
    Ok(Map {
        n,
        shape: Shape::new(c, h, w),
        values,
    })
}
