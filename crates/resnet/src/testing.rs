//! Made-up networks for the tests of this crate.

use quant_core::uniform;

use crate::arch::Arch;
use crate::state_dict::{HostTensor, StateDict};

/// Every tensor of `arch` with values drawn from `seed`: weights of the size that He initialisation gives, BatchNorm
/// statistics away from 0 and 1 so that a mix-up shows.
pub(crate) fn random_state(arch: &Arch, seed: u64) -> StateDict {
    let mut index = 0;
    let mut draw = |low: f32, high: f32| {
        index += 1;
        low + (high - low) * uniform(seed, index)
    };
    arch.expected()
        .into_iter()
        .map(|(name, shape)| {
            let n = shape.iter().product();
            let bound = match shape.len() {
                4 | 2 => (6.0 / shape[1..].iter().product::<usize>() as f32).sqrt(),
                _ => 0.3,
            };
            let data = (0..n)
                .map(|_| match name.rsplit('.').next() {
                    Some("running_var") => draw(0.5, 2.0),
                    Some("weight") if shape.len() == 1 => draw(0.5, 1.5),
                    _ => draw(-bound, bound),
                })
                .collect();
            let tensor = HostTensor::new(shape, data).expect("as many values as the shape says");
            (name, tensor)
        })
        .collect()
}
