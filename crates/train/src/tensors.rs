//! A training's tensors on a device, and the way back: gradients and what was measured, by name.

use std::collections::BTreeMap;

use burn::tensor::{Device, Gradients, Tensor, TensorData, Transaction};
use network::{HostTensor, StateDict};

use crate::error::Error;
use quantize::names;

/// Adds to sums over the parts of a batch what another part has: `share` of its numbers, and of its moving ranges the wider end.
pub fn add_part(total: &mut StateDict, part: &StateDict, share: f32) {
    for (name, part) in part {
        let Some(total) = total.get_mut(name) else {
            continue;
        };
        let pairs = total.data.iter_mut().zip(&part.data);
        if names::is_range(name) {
            let ends = pairs.zip([f32::min, f32::max]);
            ends.for_each(|((all, own), wider)| *all = wider(*all, *own));
        } else {
            pairs.for_each(|(sum, v)| *sum += share * v);
        }
    }
}

/// A training's state on a device.
#[derive(Debug)]
pub struct Tensors {
    vectors: BTreeMap<String, Tensor<1>>,
    matrices: BTreeMap<String, Tensor<2>>,
    kernels: BTreeMap<String, Tensor<4>>,
}

impl Tensors {
    /// Puts `state` on `device`; on an autodiff device, what is trained gets gradients.
    pub fn new(state: &StateDict, device: &Device) -> Self {
        fn put<const D: usize>(name: &str, tensor: &HostTensor, device: &Device) -> Tensor<D> {
            let shape: [usize; D] = std::array::from_fn(|axis| tensor.shape[axis]);
            let data = TensorData::new(tensor.data.clone(), shape);
            let found = Tensor::from_data(data, device);
            let trained = found.is_autodiff() && names::is_trained(name);
            if trained { found.require_grad() } else { found }
        }
        let mut all = Self {
            vectors: BTreeMap::new(),
            matrices: BTreeMap::new(),
            kernels: BTreeMap::new(),
        };
        for (name, tensor) in state {
            let key = name.clone();
            match tensor.shape.len() {
                1 => drop(all.vectors.insert(key, put(name, tensor, device))),
                2 => drop(all.matrices.insert(key, put(name, tensor, device))),
                4 => drop(all.kernels.insert(key, put(name, tensor, device))),
                // No network has another rank; the tensor is missed where it is asked for.
                _ => {}
            }
        }
        all
    }

    /// The gradients by name; a tensor that the loss did not depend on has zeros.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn gradients(&self, gradients: &Gradients) -> Result<StateDict, Error> {
        let mut read = Read::default();
        for (name, tensor) in &self.vectors {
            read.gradient(name, tensor, gradients);
        }
        for (name, tensor) in &self.matrices {
            read.gradient(name, tensor, gradients);
        }
        for (name, tensor) in &self.kernels {
            read.gradient(name, tensor, gradients);
        }
        read.execute()
    }

    pub(crate) fn vector(&self, name: &str) -> Result<Tensor<1>, Error> {
        found(self.vectors.get(name), name)
    }

    pub(crate) fn kernel(&self, layer: &str) -> Result<Tensor<4>, Error> {
        let name = format!("{layer}.weight");
        found(self.kernels.get(&name), &name)
    }

    pub(crate) fn matrix(&self, name: &str) -> Result<Tensor<2>, Error> {
        found(self.matrices.get(name), name)
    }
}

fn found<const D: usize>(tensor: Option<&Tensor<D>>, name: &str) -> Result<Tensor<D>, Error> {
    tensor
        .cloned()
        .ok_or_else(|| network::Error::missing(name).into())
}

/// Tensors on their way to the host, under their names. A device is asked once for all of them: a GPU is waited for once.
#[derive(Default)]
pub(crate) struct Read {
    transaction: Transaction,
    asked: Vec<(String, Vec<usize>)>,
    zeros: Vec<(String, Vec<usize>)>,
}

impl Read {
    pub(crate) fn tensor<const D: usize>(&mut self, name: &str, tensor: Tensor<D>) {
        self.asked.push((name.to_owned(), tensor.dims().to_vec()));
        self.transaction = std::mem::take(&mut self.transaction).register(tensor);
    }

    fn gradient<const D: usize>(&mut self, name: &str, of: &Tensor<D>, gradients: &Gradients) {
        match of.grad(gradients) {
            _ if !names::is_trained(name) => {}
            Some(gradient) => self.tensor(name, gradient),
            None => self.zeros.push((name.to_owned(), of.dims().to_vec())),
        }
    }

    pub(crate) fn execute(self) -> Result<StateDict, Error> {
        let device = |reason: String| Error::Device { reason };
        let found = self.transaction.try_execute();
        let found = found.map_err(|e| device(format!("{e:?}")))?;
        if found.len() != self.asked.len() {
            return Err(device("it did not answer for every tensor".into()));
        }
        let mut all = StateDict::new();
        for ((name, shape), data) in self.asked.into_iter().zip(found) {
            let data = data.try_to_vec::<f32>();
            let data = data.map_err(|e| device(format!("{e:?}")))?;
            all.insert(name, HostTensor::new(shape, data)?);
        }
        for (name, shape) in self.zeros {
            let data = vec![0.0; shape.iter().product()];
            all.insert(name, HostTensor::new(shape, data)?);
        }
        Ok(all)
    }
}

/// What a pass measured: the new values of running statistics and moving ranges, by name.
#[derive(Debug, Default)]
pub struct Measured(Vec<(String, Tensor<1>)>);

impl Measured {
    pub(crate) fn push(&mut self, name: &str, value: Tensor<1>) {
        self.0.push((name.to_owned(), value));
    }

    /// On the host.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn into_state(self) -> Result<StateDict, Error> {
        let mut read = Read::default();
        for (name, tensor) in self.0 {
            read.tensor(&name, tensor);
        }
        read.execute()
    }
}

/// Sees a layer's or a site's name and value on the way.
pub type Probe<'a> = &'a mut dyn FnMut(&str, &Tensor<4>);
