//! Writing `.safetensors` that PyTorch loads back with `strict=True`, the same bytes for the same input.
//!
//! PyTorch's BatchNorm has a sixth tensor, the batch counter `num_batches_tracked` (int64, no dimensions). It carries
//! nothing that is computed with, but `load_state_dict(strict=True)` wants it, so each BatchNorm gets one of value 0.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use safetensors::tensor::{Dtype, View};

use crate::error::Error;
use network::{HostTensor, StateDict};

/// The single key under which metadata is stored: the format's metadata is an unordered map, and one key has one order.
const METADATA_KEY: &str = "quantlab";

/// Writes `state` to `path` under PyTorch's names, as float32. `metadata` becomes one JSON object under the format's
/// metadata key `quantlab`; empty metadata leaves the key out.
///
/// The file appears whole or not at all: it is written beside `path` under a temporary name, flushed to the disk and
/// renamed. The same state and metadata give the same bytes.
///
/// # Errors
/// [`Error::Io`] where the folder cannot be written; [`Error::File`] where the state holds more than a header may list.
pub fn save_safetensors(
    state: &StateDict,
    path: &Path,
    metadata: &BTreeMap<String, String>,
) -> Result<(), Error> {
    let counters = state.names().filter_map(|name| {
        let owner = name.strip_suffix(".running_mean")?;
        Some((format!("{owner}.num_batches_tracked"), Values::Counter))
    });
    let tensors = state
        .iter()
        .map(|(name, tensor)| (name.clone(), Values::Floats(tensor)));
    let views: BTreeMap<String, Values> = tensors.chain(counters).collect();
    let info = (!metadata.is_empty())
        .then(|| {
            serde_json::to_string(metadata)
                .map(|json| HashMap::from([(METADATA_KEY.to_owned(), json)]))
        })
        .transpose()
        .map_err(|error| file_error(path, &error))?;
    let bytes = safetensors::serialize(views, info).map_err(|error| file_error(path, &error))?;

    network::write_whole(path, &bytes).map_err(|source| Error::Io {
        path: path.to_owned(),
        source,
    })
}

fn file_error(path: &Path, reason: &dyn std::fmt::Display) -> Error {
    Error::File {
        path: path.to_owned(),
        reason: reason.to_string(),
    }
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
        save_safetensors(&state, &path, &BTreeMap::new()).unwrap();
        let checkpoint = load(&path, None).unwrap();
        assert_eq!(checkpoint.arch, Some(arch));
        assert_eq!(checkpoint.network.tensors().sha256(), state.sha256());
        assert_eq!(checkpoint.sha256, state.sha256());
        assert!(!checkpoint.folded);
    }

    #[test]
    fn the_same_state_gives_the_same_bytes_and_nothing_is_left_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let state = state(&Arch::parse("cifar-resnet20").unwrap());
        let metadata: BTreeMap<String, String> = (0..20)
            .map(|n| (format!("key{n}"), format!("value \"{n}\"\n")))
            .collect();
        let bytes = |name: &str| {
            let path = folder.path().join(name);
            save_safetensors(&state, &path, &metadata).unwrap();
            std::fs::read(path).unwrap()
        };
        let first = bytes("a");
        for name in ["b", "c", "a"] {
            assert_eq!(bytes(name), first);
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3);
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
        save_safetensors(
            &state.map(|(n, t)| (n.to_owned(), t)).into_iter().collect(),
            &path,
            &BTreeMap::new(),
        )
        .unwrap();
        let bytes = std::fs::read(&path).unwrap();
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

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let path = Path::new("/nowhere/at/all/net.safetensors");
        let error = save_safetensors(&StateDict::new(), path, &BTreeMap::new())
            .unwrap_err()
            .to_string();
        assert!(error.contains("/nowhere/at/all"), "{error}");
    }
}
