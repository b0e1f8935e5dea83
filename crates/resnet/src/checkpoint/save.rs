//! Writing `.safetensors` that PyTorch loads back with `strict=True`, the same bytes for the same input.
//!
//! PyTorch's BatchNorm has a sixth tensor, the batch counter `num_batches_tracked` (int64, no dimensions). It carries
//! nothing that is computed with, but `load_state_dict(strict=True)` wants it, so each BatchNorm gets one of value 0.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use safetensors::tensor::{Dtype, View};

use crate::error::Error;
use network::{HostTensor, StateDict};

/// The single key under which metadata is stored: the format's metadata is an unordered map, and one key has one order.
const METADATA_KEY: &str = "quantlab";

/// The file of `state` under PyTorch's names, as float32. `metadata` becomes one JSON object under the format's metadata key
/// `quantlab`; empty metadata leaves the key out.
///
/// # Errors
/// [`Error::Write`] where the state holds more than a header may list.
pub fn to_safetensors(
    state: &StateDict,
    metadata: &BTreeMap<String, String>,
) -> Result<Vec<u8>, Error> {
    let counters = state.names().filter_map(|name| {
        let owner = name.strip_suffix(".running_mean")?;
        Some((format!("{owner}.num_batches_tracked"), Values::Counter))
    });
    let tensors = state
        .iter()
        .map(|(name, tensor)| (name.clone(), Values::Floats(tensor)));
    let views: BTreeMap<String, Values> = tensors.chain(counters).collect();
    let failed = |error: &dyn std::fmt::Display| Error::Write {
        reason: error.to_string(),
    };
    let info = (!metadata.is_empty())
        .then(|| {
            serde_json::to_string(metadata)
                .map(|json| HashMap::from([(METADATA_KEY.to_owned(), json)]))
        })
        .transpose()
        .map_err(|error| failed(&error))?;
    safetensors::serialize(views, info).map_err(|error| failed(&error))
}

enum Values<'a> {
    Floats(&'a HostTensor),
    Counter,
}

impl View for Values<'_> {
    fn dtype(&self) -> Dtype {
        match self {
            Self::Floats(_) => Dtype::F32,
            Self::Counter => Dtype::I64,
        }
    }

    fn shape(&self) -> &[usize] {
        match self {
            Self::Floats(tensor) => &tensor.shape,
            Self::Counter => &[],
        }
    }

    fn data(&self) -> Cow<'_, [u8]> {
        match self {
            Self::Floats(tensor) => tensor
                .data
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect(),
            Self::Counter => Cow::Borrowed(&[0; 8]),
        }
    }

    fn data_len(&self) -> usize {
        match self {
            Self::Floats(tensor) => tensor.data.len() * 4,
            Self::Counter => 8,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Arch;
    use crate::checkpoint::{load, read_tensors};
    use network::HostTensor;

    fn state(arch: &Arch) -> StateDict {
        let mut next = 1u32;
        let mut value = || {
            next = next.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (next >> 8) as f32 / 16_777_216.0
        };
        let fill = |(name, shape): (String, Vec<usize>)| {
            let data = (0..shape.iter().product()).map(|_| value()).collect();
            (name, HostTensor::new(shape, data).unwrap())
        };
        arch.expected().into_iter().map(fill).collect()
    }

    #[test]
    fn what_is_saved_is_loaded_back_bit_for_bit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("net.safetensors");
        let arch = Arch::parse("cifar-resnet20-b").unwrap().with_classes(3);
        let state = state(&arch);
        std::fs::write(&path, to_safetensors(&state, &BTreeMap::new()).unwrap()).unwrap();
        let checkpoint = load(&path, None).unwrap();
        assert_eq!(checkpoint.arch, Some(arch));
        assert_eq!(checkpoint.network.tensors().sha256(), state.sha256());
        assert_eq!(checkpoint.sha256, state.sha256());
        assert!(!checkpoint.folded);
    }

    #[test]
    fn the_same_state_gives_the_same_bytes() {
        let state = state(&Arch::parse("cifar-resnet20").unwrap());
        let metadata: BTreeMap<String, String> = (0..20)
            .map(|n| (format!("key{n}"), format!("value \"{n}\"\n")))
            .collect();
        let first = to_safetensors(&state, &metadata).unwrap();
        for _ in 0..3 {
            assert_eq!(to_safetensors(&state, &metadata).unwrap(), first);
        }
        assert!(String::from_utf8_lossy(&first[..400]).contains("quantlab"));
    }

    #[test]
    fn every_batch_norm_gets_a_counter_and_other_tensors_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.safetensors");
        let one = || HostTensor::new(vec![1], vec![1.0]).unwrap();
        let state = [
            ("bn.running_mean", one()),
            ("bn.weight", one()),
            ("fc.weight", one()),
        ];
        let state = state.map(|(n, t)| (n.to_owned(), t)).into_iter().collect();
        let bytes = to_safetensors(&state, &BTreeMap::new()).unwrap();
        std::fs::write(&path, &bytes).unwrap();
        let read = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let mut names = read.names();
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "bn.num_batches_tracked",
                "bn.running_mean",
                "bn.weight",
                "fc.weight"
            ]
        );
        let counter = read.tensor("bn.num_batches_tracked").unwrap();
        assert_eq!((counter.dtype(), counter.shape()), (Dtype::I64, &[][..]));
        assert_eq!(read_tensors(&path).unwrap().len(), 3);
    }
}
