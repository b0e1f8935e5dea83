//! One view of both formats: which tensors a file holds, and the values of one of them.

use std::collections::BTreeMap;
use std::path::Path;

use super::file::{CheckpointFile, Kind};
use super::pytorch::{self, PytorchTensors};
use super::safetensors::{self, SafetensorsTensors};
use super::values::{self, Element};
use crate::error::{Error, quoted};
use network::HostTensor;

/// What the tensors of a file may claim together: this many times the file's size. Views that share a storage, as tied
/// weights do, let an honest file claim more than it holds.
const CLAIM_FACTOR: u64 = 4;

/// Added to the above, so that a tiny file may hold a tiny expanded view.
const CLAIM_SLACK: u64 = 1 << 20;

/// A tensor as the file declares it.
#[derive(Debug, Clone)]
pub(super) struct Info {
    pub shape: Vec<usize>,
    pub element: Element,
    /// Length of the part of the flat name that leads to the dictionary that the tensor lies in.
    pub holder: usize,
    /// Its place among the tensors of the file.
    pub position: usize,
}

/// Everything that a file says of its tensors before any is read.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// By flat name: the keys that lead to the tensor, joined by dots.
    pub infos: BTreeMap<String, Info>,
    /// Whether the places in the file are those in which the modules were made; safetensors sorts by name.
    pub ordered: bool,
    /// Objects that stand where tensors could and were not read: flat name and class.
    pub unread: Vec<(String, String)>,
}

/// An open file whose tensors are known and unread.
#[derive(Debug)]
pub(super) struct Source {
    pub file: CheckpointFile,
    pub listing: Listing,
    tensors: Tensors,
}

#[derive(Debug)]
enum Tensors {
    Pytorch(PytorchTensors),
    Safetensors(SafetensorsTensors),
}

impl Source {
    /// Opens a file of either format.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let mut file = CheckpointFile::open(path)?;
        let (listing, tensors) = match file.kind {
            Kind::Safetensors => {
                let (listing, tensors) = safetensors::open(&mut file)?;
                (listing, Tensors::Safetensors(tensors))
            }
            Kind::Zip | Kind::Legacy | Kind::PlainPickle => {
                let (listing, tensors) = pytorch::open(&mut file)?;
                (listing, Tensors::Pytorch(tensors))
            }
        };
        Ok(Self {
            file,
            listing,
            tensors,
        })
    }

    /// Checks types and the sum of sizes of the tensors that are about to be read, before any of them is.
    pub fn check_claims<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Result<(), Error> {
        let mut claimed = 0u64;
        for name in names {
            let info = self.info(name)?;
            if let Element::Other(dtype) = info.element {
                let error = Error::ElementType {
                    tensor: quoted(name),
                    dtype: dtype.to_owned(),
                };
                return Err(self.file.inside(error));
            }
            let bytes = info
                .shape
                .iter()
                .try_fold(info.element.size(), |n, &extent| {
                    n.checked_mul(extent as u64)
                });
            claimed = claimed.saturating_add(bytes.unwrap_or(u64::MAX));
        }
        if claimed
            > self
                .file
                .len
                .saturating_mul(CLAIM_FACTOR)
                .saturating_add(CLAIM_SLACK)
        {
            return Err(self.file.error(format!(
                "its tensors claim {claimed} bytes in a file of {} bytes: expanded views, which are refused as a memory bomb",
                self.file.len
            )));
        }
        Ok(())
    }

    /// The values of one tensor.
    pub fn read(&mut self, name: &str) -> Result<HostTensor, Error> {
        let info = self.info(name)?.clone();
        let bytes = match &mut self.tensors {
            Tensors::Pytorch(tensors) => tensors.read(&self.file, name)?,
            Tensors::Safetensors(tensors) => tensors.read(&mut self.file, name)?,
        };
        values::to_f32(name, info.element, &bytes)
            .and_then(|data| Ok(HostTensor::new(info.shape, data)?))
            .map_err(|error| self.file.inside(error))
    }

    fn info(&self, name: &str) -> Result<&Info, Error> {
        self.listing
            .infos
            .get(name)
            .ok_or_else(|| self.file.error(format!("no tensor {}", quoted(name))))
    }
}
