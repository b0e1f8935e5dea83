//! Weights for measurements of speed and for tests: no checkpoint, the same values everywhere.

use quant_core::uniform;

use crate::arch::Arch;
use network::{HostTensor, StateDict};

/// Every tensor of `arch` with values drawn from `seed`: weights of the size that He initialisation gives, BatchNorm
/// statistics away from 0 and 1 so that a mix-up shows.
pub fn random_state(arch: &Arch, seed: u64) -> StateDict {
    let mut index = 0;
    arch.expected()
        .into_iter()
        .map(|(name, shape)| {
            let n = shape.iter().product();
            let (low, high) = match name.rsplit('.').next() {
                Some("running_var") => (0.5, 2.0),
                Some("weight") if shape.len() == 1 => (0.5, 1.5),
                _ if shape.len() > 1 => {
                    let bound = (6.0 / shape[1..].iter().product::<usize>() as f32).sqrt();
                    (-bound, bound)
                }
                _ => (-0.3, 0.3),
            };
            let draw = |_| {
                index += 1;
                low + (high - low) * uniform(seed, index)
            };
            let data = (0..n).map(draw).collect();
            let tensor = HostTensor::new(shape, data).expect("as many values as the shape says");
            (name, tensor)
        })
        .collect()
}
