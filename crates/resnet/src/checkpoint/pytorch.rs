//! `.pth`: both containers of `torch.save`.
//!
//! The pickle says which tensors there are; [`zip`](super::zip) and [`legacy`] say where their storages lie. A tensor is
//! a view of a storage: an offset, a shape and strides, checked against the storage's declared size when it is parsed
//! and against the file when it is read. A view of stride 0 may still declare gigabytes on a storage of four bytes: the
//! caller bounds the sum of what it reads.

use std::collections::BTreeMap;
use std::io::{BufReader, Seek, SeekFrom};
use std::rc::Rc;

use super::contents::{Contents, contents};
use super::file::{CheckpointFile, Kind};
use super::legacy::{self, BIG_ENDIAN, Layout};
use super::pickle::{self, Budget, StorageRef, TensorRef};
use super::source::{Info, Listing};
use super::zip::Archive;
use crate::error::{Error, quoted};

/// The tensors of a `.pth` file, unread.
#[derive(Debug)]
pub(super) struct PytorchTensors {
    tensors: BTreeMap<String, Rc<TensorRef>>,
    storages: Vec<StorageRef>,
    container: Container,
}

#[derive(Debug)]
enum Container {
    Zip(Archive),
    Legacy(Layout),
}

/// Parses the pickle of a zip or legacy container: names, shapes and types, no values.
pub(super) fn open(file: &mut CheckpointFile) -> Result<(Listing, PytorchTensors), Error> {
    let mut budget = Budget::default();
    let (tree, root, container) = match file.kind {
        Kind::Zip => {
            let said = |reason: String| file.error(reason);
            let archive = Archive::open(&file.handle, file.len).map_err(said)?;
            let order = archive.text(&file.handle, "byteorder").map_err(said)?;
            if order.is_some_and(|order| order == "big") {
                return Err(file.error(BIG_ENDIAN));
            }
            let bytes = archive.pickle(&file.handle).map_err(said)?;
            let (tree, root) = pickle::read(&mut bytes.as_slice(), &mut budget)
                .map_err(|refusal| file.error(refusal.to_string()))?;
            (tree, root, Container::Zip(archive))
        }
        Kind::Legacy => {
            let (tree, root, layout) = legacy::open(&file.handle, file.len, &mut budget)
                .map_err(|reason| file.error(reason))?;
            (tree, root, Container::Legacy(layout))
        }
        Kind::PlainPickle | Kind::Safetensors => {
            file.handle
                .seek(SeekFrom::Start(0))
                .map_err(|source| Error::Io {
                    path: file.path.clone(),
                    source,
                })?;
            pickle::read(&mut BufReader::new(&file.handle), &mut budget)
                .map_err(|refusal| file.error(refusal.to_string()))?;
            return Err(file.error("a pickle without tensor data, so not written by torch.save"));
        }
    };
    let Contents { leaves, unread } =
        contents(&tree, root, &mut budget).map_err(|refusal| file.error(refusal.to_string()))?;
    let mut infos = BTreeMap::new();
    let mut tensors = BTreeMap::new();
    for (position, leaf) in leaves.into_iter().enumerate() {
        let info = Info {
            shape: leaf.tensor.shape.clone(),
            element: leaf.tensor.element,
            holder: leaf.holder,
            position,
        };
        infos.insert(leaf.name.clone(), info);
        tensors.insert(leaf.name, leaf.tensor);
    }
    let listing = Listing {
        infos,
        ordered: true,
        unread,
    };
    let tensors = PytorchTensors {
        tensors,
        storages: tree.storages,
        container,
    };
    Ok((listing, tensors))
}

impl PytorchTensors {
    /// The little-endian bytes of a tensor, row-major.
    pub fn read(&self, file: &CheckpointFile, name: &str) -> Result<Vec<u8>, Error> {
        let tensor = self
            .tensors
            .get(name)
            .ok_or_else(|| file.error(format!("no tensor {}", quoted(name))))?;
        let storage = &self.storages[tensor.storage];
        let item = tensor.item;
        // Bounds were checked in elements when the tensor was parsed; in bytes they are those of the whole storage.
        let (start, len) = (tensor.offset * item, (tensor.end - tensor.offset) * item);
        let window = match &self.container {
            Container::Zip(archive) => {
                archive.read(&file.handle, &format!("data/{}", storage.key), start, len)
            }
            Container::Legacy(layout) => layout.read(&file.handle, &storage.key, start, len),
        };
        let window = window.map_err(|error| {
            let (name, key) = (quoted(name), quoted(&storage.key));
            file.error(one_line(&format!(
                "damaged or truncated file: tensor {name} in storage {key}: {error}"
            )))
        })?;
        Ok(gather(window, tensor))
    }
}

/// The elements of a view in row-major order; `window` begins with its first and ends with its last.
fn gather(mut window: Vec<u8>, tensor: &TensorRef) -> Vec<u8> {
    let item = tensor.item as usize;
    let elements: usize = tensor.shape.iter().product();
    if is_contiguous(&tensor.shape, &tensor.stride) {
        window.truncate(elements * item);
        return window;
    }
    let mut out = Vec::with_capacity(elements * item);
    let mut index = vec![0; tensor.shape.len()];
    let mut at = 0;
    for _ in 0..elements {
        out.extend_from_slice(&window[at * item..(at + 1) * item]);
        for axis in (0..index.len()).rev() {
            index[axis] += 1;
            at += tensor.stride[axis];
            if index[axis] < tensor.shape[axis] {
                break;
            }
            at -= tensor.stride[axis] * tensor.shape[axis];
            index[axis] = 0;
        }
    }
    out
}

/// Whether the elements lie one behind another; the stride of an axis of one does not matter.
fn is_contiguous(shape: &[usize], stride: &[usize]) -> bool {
    let mut expected = 1usize;
    for (&extent, &step) in shape.iter().zip(stride).rev() {
        if extent != 1 && step != expected {
            return false;
        }
        expected = expected.saturating_mul(extent);
    }
    true
}

/// Another library's message, which may quote the file at any length.
pub(super) fn one_line(message: &str) -> String {
    message::one_line(message, 240)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::values::Element;

    #[test]
    fn views_are_gathered_in_row_major_order() {
        let bytes: Vec<u8> = (0..12).collect();
        let view = |shape: &[usize], stride: &[usize]| {
            let end = shape
                .iter()
                .zip(stride)
                .map(|(e, s)| (e - 1) * s)
                .sum::<usize>()
                + 1;
            let tensor = TensorRef {
                storage: 0,
                element: Element::Other("uint8"),
                item: 1,
                offset: 0,
                end: end as u64,
                shape: shape.to_vec(),
                stride: stride.to_vec(),
            };
            gather(bytes[..end].to_vec(), &tensor)
        };
        assert_eq!(view(&[3, 4], &[4, 1]), bytes);
        assert_eq!(
            view(&[4, 3], &[1, 4]),
            [0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11]
        );
        assert_eq!(view(&[2], &[5]), [0, 5]);
        assert_eq!(view(&[2, 3], &[0, 1]), [0, 1, 2, 0, 1, 2]);
        assert_eq!(view(&[1, 3], &[7, 1]), [0, 1, 2]);
        assert_eq!(view(&[], &[]), [0]);
    }
}
