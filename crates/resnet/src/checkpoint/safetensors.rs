//! Reading `.safetensors`: a little-endian u64 `n`, a JSON header of `n` bytes, then the tensors' bytes.
//!
//! Format: <https://github.com/huggingface/safetensors#format>. The `safetensors` crate checks that the tensors cover
//! the data without gaps or overlap and that each has the bytes of its shape; the length of the header, and that the
//! data ends where the file ends, is checked here, so that the file need not lie in memory as a whole.

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom};

use safetensors::Dtype;
use safetensors::tensor::Metadata;

use super::file::CheckpointFile;
use super::pytorch::one_line;
use super::source::{Info, Listing};
use super::values::Element;
use crate::error::{Error, quoted};

/// Limit for the JSON header; that of ResNet-152 has 100 KB.
const LARGEST_HEADER: u64 = 2 << 20;

/// Where the tensors of an open file lie.
#[derive(Debug)]
pub(super) struct SafetensorsTensors {
    /// Offset from the start of the file, and length, in bytes.
    places: BTreeMap<String, (u64, usize)>,
}

/// Reads the header.
pub(super) fn open(file: &mut CheckpointFile) -> Result<(Listing, SafetensorsTensors), Error> {
    let damaged =
        |reason: String| file.error(format!("damaged or truncated safetensors file: {reason}"));
    let mut length = [0; 8];
    let mut handle = &file.handle;
    handle
        .seek(SeekFrom::Start(0))
        .and_then(|_| handle.read_exact(&mut length))
        .map_err(|error| damaged(error.to_string()))?;
    let header_len = u64::from_le_bytes(length);
    let data_len = file
        .len
        .checked_sub(8)
        .and_then(|rest| rest.checked_sub(header_len))
        .ok_or_else(|| {
            damaged(format!(
                "a header of {header_len} bytes in a file of {}",
                file.len
            ))
        })?;
    if header_len > LARGEST_HEADER {
        return Err(damaged(format!(
            "a header of {header_len} bytes, more than the {LARGEST_HEADER} allowed"
        )));
    }
    let mut header = vec![0; header_len as usize];
    handle
        .read_exact(&mut header)
        .map_err(|error| damaged(error.to_string()))?;
    let metadata: Metadata =
        serde_json::from_slice(&header).map_err(|error| damaged(one_line(&error.to_string())))?;
    if metadata.data_len() as u64 != data_len {
        return Err(damaged(format!(
            "its header describes {} bytes of data, there are {data_len}",
            metadata.data_len()
        )));
    }
    let mut infos = BTreeMap::new();
    let mut places = BTreeMap::new();
    for (position, (name, info)) in metadata.tensors().into_iter().enumerate() {
        let (from, to) = info.data_offsets;
        places.insert(name.clone(), (8 + header_len + from as u64, to - from));
        infos.insert(
            name,
            Info {
                shape: info.shape.clone(),
                element: element(info.dtype),
                holder: 0,
                position,
            },
        );
    }
    let listing = Listing {
        infos,
        ordered: false,
        unread: Vec::new(),
    };
    Ok((listing, SafetensorsTensors { places }))
}

impl SafetensorsTensors {
    /// The little-endian bytes of a tensor, row-major.
    pub fn read(&self, file: &mut CheckpointFile, name: &str) -> Result<Vec<u8>, Error> {
        let &(offset, len) = self
            .places
            .get(name)
            .ok_or_else(|| file.error(format!("no tensor {}", quoted(name))))?;
        let mut bytes = vec![0; len];
        file.handle
            .seek(SeekFrom::Start(offset))
            .and_then(|_| file.handle.read_exact(&mut bytes))
            .map_err(|source| Error::Io {
                path: file.path.clone(),
                source,
            })?;
        Ok(bytes)
    }
}

fn element(dtype: Dtype) -> Element {
    match dtype {
        Dtype::F64 => Element::F64,
        Dtype::F32 => Element::F32,
        Dtype::F16 => Element::F16,
        Dtype::BF16 => Element::Bf16,
        Dtype::I64 => Element::Other("int64"),
        Dtype::I32 => Element::Other("int32"),
        Dtype::I16 => Element::Other("int16"),
        Dtype::I8 => Element::Other("int8"),
        Dtype::U64 => Element::Other("uint64"),
        Dtype::U32 => Element::Other("uint32"),
        Dtype::U16 => Element::Other("uint16"),
        Dtype::U8 => Element::Other("uint8"),
        Dtype::BOOL => Element::Other("bool"),
        _ => Element::Other("an 8-bit float or another small type"),
    }
}
