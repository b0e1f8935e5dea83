//! Named float32 tensors on the host, under PyTorch's names: what a checkpoint holds and a network is made from.
//!
//! Values are row-major, as PyTorch's `tensor.contiguous()`. The digest of a [`StateDict`] covers what is computed
//! with (names, shapes, float32 values) and nothing of the file it came from, so that the same weights have the same
//! id whether they arrive as `.pth` or `.safetensors`, in float16 or widened to float32.

use std::collections::{BTreeMap, btree_map};

use sha2::{Digest, Sha256};

use crate::error::{Error, quoted};

/// One tensor in host memory.
#[derive(Debug, Clone, PartialEq)]
pub struct HostTensor {
    /// Extents, outermost first (`[out, in, kh, kw]` for a convolution); empty for a single number.
    pub shape: Vec<usize>,
    /// The values in row-major order.
    pub data: Vec<f32>,
}

impl HostTensor {
    /// A tensor of `shape` holding `data`.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] where the product of the extents (checked for overflow) is not the number of values.
    pub fn new(shape: Vec<usize>, data: Vec<f32>) -> Result<Self, Error> {
        let elements = shape
            .iter()
            .try_fold(1usize, |n, &extent| n.checked_mul(extent));
        if elements == Some(data.len()) {
            Ok(Self { shape, data })
        } else {
            Err(Error::ShapeMismatch {
                shape,
                len: data.len(),
            })
        }
    }

    /// The number of values.
    pub fn len(&self) -> usize {
        self.data.len()
    }

    /// Whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }
}

/// Tensors by name, in name order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StateDict(BTreeMap<String, HostTensor>);

impl StateDict {
    /// No tensors.
    pub fn new() -> Self {
        Self::default()
    }

    /// The tensor called `name`.
    pub fn get(&self, name: &str) -> Option<&HostTensor> {
        self.0.get(name)
    }

    /// The tensor called `name`, to change its values.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut HostTensor> {
        self.0.get_mut(name)
    }

    /// Adds or replaces a tensor; returns the one that was there.
    pub fn insert(&mut self, name: impl Into<String>, tensor: HostTensor) -> Option<HostTensor> {
        self.0.insert(name.into(), tensor)
    }

    /// Takes a tensor out.
    pub fn remove(&mut self, name: &str) -> Option<HostTensor> {
        self.0.remove(name)
    }

    /// The tensor called `name`; fails where there is none.
    pub fn require(&self, name: &str) -> Result<&HostTensor, Error> {
        self.0.get(name).ok_or_else(|| Error::missing(name))
    }

    /// Takes a tensor out; fails where there is none.
    pub fn take(&mut self, name: &str) -> Result<HostTensor, Error> {
        self.0.remove(name).ok_or_else(|| Error::missing(name))
    }

    /// The tensor called `name`; fails where there is none, or it has another shape.
    pub fn require_shaped(&self, name: &str, shape: &[usize]) -> Result<&HostTensor, Error> {
        let tensor = self.require(name)?;
        check_shape(name, tensor, shape)?;
        Ok(tensor)
    }

    /// Takes the values of a tensor out; fails where there is none, or it has another shape.
    pub fn take_shaped(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, Error> {
        let tensor = self.take(name)?;
        check_shape(name, &tensor, shape)?;
        Ok(tensor.data)
    }

    /// Whether there is a tensor called `name`.
    pub fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Names and tensors, in name order.
    pub fn iter(&self) -> btree_map::Iter<'_, String, HostTensor> {
        self.0.iter()
    }

    /// The names, in order.
    pub fn names(&self) -> btree_map::Keys<'_, String, HostTensor> {
        self.0.keys()
    }

    /// Every name with its shape, in name order.
    pub fn shapes(&self) -> BTreeMap<String, Vec<usize>> {
        self.0
            .iter()
            .map(|(name, tensor)| (name.clone(), tensor.shape.clone()))
            .collect()
    }

    /// The number of tensors.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no tensors.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// SHA-256 (64 hex digits) over, for each tensor in name order: the name's length and bytes, the rank, the
    /// extents (lengths and extents as little-endian u64), and the values as little-endian float32.
    ///
    /// The lengths keep two different dicts from running together into one byte string.
    pub fn sha256(&self) -> String {
        let mut hash = Sha256::new();
        let mut bytes = Vec::new();
        for (name, tensor) in &self.0 {
            hash.update((name.len() as u64).to_le_bytes());
            hash.update(name);
            hash.update((tensor.shape.len() as u64).to_le_bytes());
            for &extent in &tensor.shape {
                hash.update((extent as u64).to_le_bytes());
            }
            for values in tensor.data.chunks(16 * 1024) {
                bytes.clear();
                bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
                hash.update(&bytes);
            }
        }
        hex(&hash.finalize())
    }
}

impl FromIterator<(String, HostTensor)> for StateDict {
    fn from_iter<I: IntoIterator<Item = (String, HostTensor)>>(tensors: I) -> Self {
        Self(tensors.into_iter().collect())
    }
}

impl Extend<(String, HostTensor)> for StateDict {
    fn extend<I: IntoIterator<Item = (String, HostTensor)>>(&mut self, tensors: I) {
        self.0.extend(tensors);
    }
}

impl IntoIterator for StateDict {
    type Item = (String, HostTensor);
    type IntoIter = btree_map::IntoIter<String, HostTensor>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a StateDict {
    type Item = (&'a String, &'a HostTensor);
    type IntoIter = btree_map::Iter<'a, String, HostTensor>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

fn check_shape(name: &str, tensor: &HostTensor, shape: &[usize]) -> Result<(), Error> {
    if tensor.shape == shape {
        return Ok(());
    }
    Err(Error::Misshapen {
        name: quoted(name),
        found: tensor.shape.clone(),
        expected: shape.to_vec(),
    })
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dict(tensors: &[(&str, &[usize], &[f32])]) -> StateDict {
        tensors
            .iter()
            .map(|(name, shape, data)| {
                (
                    name.to_string(),
                    HostTensor::new(shape.to_vec(), data.to_vec()).unwrap(),
                )
            })
            .collect()
    }

    #[test]
    fn a_tensor_holds_exactly_the_values_of_its_shape() {
        assert!(HostTensor::new(vec![2, 3], vec![0.0; 6]).is_ok());
        assert!(HostTensor::new(vec![], vec![1.0]).is_ok());
        assert!(HostTensor::new(vec![0, 3], vec![]).is_ok());
        assert!(HostTensor::new(vec![2, 3], vec![0.0; 5]).is_err());
        assert!(HostTensor::new(vec![usize::MAX, 2], vec![]).is_err());
    }

    #[test]
    fn the_digest_follows_its_written_definition() {
        let state = dict(&[("b", &[2], &[1.0, -2.0]), ("a", &[], &[0.5])]);
        let mut bytes: Vec<u8> = Vec::new();
        bytes.extend(1u64.to_le_bytes());
        bytes.extend(b"a");
        bytes.extend(0u64.to_le_bytes());
        bytes.extend(0.5f32.to_le_bytes());
        bytes.extend(1u64.to_le_bytes());
        bytes.extend(b"b");
        bytes.extend(1u64.to_le_bytes());
        bytes.extend(2u64.to_le_bytes());
        bytes.extend(1.0f32.to_le_bytes());
        bytes.extend((-2.0f32).to_le_bytes());
        assert_eq!(state.sha256(), hex(&Sha256::digest(&bytes)));
    }

    #[test]
    fn names_shapes_and_values_each_change_the_digest() {
        let state = dict(&[("a", &[2, 1], &[1.0, 2.0])]).sha256();
        assert_eq!(state, dict(&[("a", &[2, 1], &[1.0, 2.0])]).sha256());
        assert_ne!(state, dict(&[("b", &[2, 1], &[1.0, 2.0])]).sha256());
        assert_ne!(state, dict(&[("a", &[1, 2], &[1.0, 2.0])]).sha256());
        assert_ne!(state, dict(&[("a", &[2, 1], &[1.0, 2.5])]).sha256());
    }
}
