//! `.pth`: both containers of `torch.save`, through `pytorch-reader`.
//!
//! What `pytorch-reader` 0.22.1 guards by itself: it runs no code, checks every tensor against its storage's declared
//! size and that against the file, reads a tensor's bytes only when asked to, bounds nesting and the values that memo
//! lookups copy. What it does not guard is checked before it sees the file: [`zip_guard`] and [`Guard`]. And a view
//! of stride 0 may still declare gigabytes on a storage of four bytes: the caller bounds the sum of what it reads.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufReader, Seek, SeekFrom};

use pytorch_reader::{DType, PickleValue, PytorchReader, Tensor};

use super::file::{CheckpointFile, Kind};
use super::pickle_guard::Guard;
use super::source::Info;
use super::values::Element;
use super::zip_guard;
use crate::error::{Error, quoted};

/// The tensors of a `.pth` file, unread.
#[derive(Debug)]
pub(super) struct PytorchTensors {
    tensors: HashMap<String, Tensor>,
}

/// Parses the pickle of a zip or legacy container: names, shapes and types, no values.
pub(super) fn open(
    file: &mut CheckpointFile,
) -> Result<(BTreeMap<String, Info>, PytorchTensors), Error> {
    guard(file)?;
    let parsed = |error: pytorch_reader::PytorchError| file.error(one_line(&error.to_string()));
    let tensors = PytorchReader::new(&file.path)
        .map_err(parsed)?
        .into_tensors();
    let tree = PytorchReader::read_pickle_data(&file.path, None).map_err(parsed)?;
    let mut holders = BTreeMap::new();
    find_holders(&tree, &mut String::new(), 0, &tensors, &mut holders)
        .map_err(|name| file.error(format!("two tensors are both called {}", quoted(&name))))?;
    let infos = tensors
        .iter()
        .map(|(name, tensor)| {
            let holder = holders.get(name).copied().unwrap_or(0);
            (
                name.clone(),
                Info {
                    shape: tensor.shape().to_vec(),
                    element: element(tensor.dtype()),
                    holder,
                },
            )
        })
        .collect();
    Ok((infos, PytorchTensors { tensors }))
}

impl PytorchTensors {
    /// The little-endian bytes of a tensor, row-major.
    pub fn read(&self, file: &CheckpointFile, name: &str) -> Result<Vec<u8>, Error> {
        let tensor = self
            .tensors
            .get(name)
            .ok_or_else(|| file.error(format!("no tensor {}", quoted(name))))?;
        let mut bytes = tensor
            .read()
            .map_err(|error| file.error(one_line(&error.to_string())))?;
        // The reader gives native order; on a big-endian machine this puts the file's order back.
        if cfg!(target_endian = "big") {
            bytes
                .chunks_exact_mut(tensor.dtype().size())
                .for_each(<[u8]>::reverse);
        }
        Ok(bytes)
    }
}

/// Everything that is checked before the reader may parse the file.
fn guard(file: &mut CheckpointFile) -> Result<(), Error> {
    let mut guard = Guard::default();
    let checked = match file.kind {
        Kind::Zip => {
            let pickles =
                zip_guard::pickles(&file.handle, file.len).map_err(|reason| file.error(reason))?;
            pickles
                .iter()
                .try_for_each(|pickle| guard.check(&mut pickle.as_slice()))
        }
        Kind::Legacy | Kind::PlainPickle => {
            let io_error = |source| Error::Io {
                path: file.path.clone(),
                source,
            };
            file.handle.seek(SeekFrom::Start(0)).map_err(io_error)?;
            let mut input = BufReader::new(&file.handle);
            // Magic number, protocol version, system information, the object, the storage keys.
            let pickles = if file.kind == Kind::Legacy { 5 } else { 1 };
            (0..pickles).try_for_each(|_| guard.check(&mut input))
        }
        Kind::Safetensors => Ok(()),
    };
    checked.map_err(|refusal| file.error(refusal.to_string()))?;
    if file.kind == Kind::PlainPickle {
        return Err(file.error("a pickle without tensor data, so not written by torch.save"));
    }
    Ok(())
}

/// For each tensor, the length of the part of its flat name that leads to the dictionary it lies in: `11` for
/// `state_dict.conv1.weight` when the key `conv1.weight` lies in the dictionary under `state_dict`. Fails with a name
/// that two tensors share (the keys `a` then `b`, and `a.b`), where one would silently hide the other.
fn find_holders(
    value: &PickleValue,
    path: &mut String,
    holder: usize,
    tensors: &HashMap<String, Tensor>,
    holders: &mut BTreeMap<String, usize>,
) -> Result<(), String> {
    let mut descend = |key: &str, child: &PickleValue| {
        let len = path.len();
        if len > 0 {
            path.push('.');
        }
        let holder = path.len();
        path.push_str(key);
        let found = find_holders(child, path, holder, tensors, holders);
        path.truncate(len);
        found
    };
    match value {
        PickleValue::Dict(entries) => entries
            .iter()
            .try_for_each(|(key, child)| descend(key, child)),
        PickleValue::List(items) => items
            .iter()
            .enumerate()
            .try_for_each(|(index, child)| descend(&index.to_string(), child)),
        PickleValue::Unsupported(kind)
            if kind == "torch.Tensor" && tensors.contains_key(path.as_str()) =>
        {
            match holders.insert(path.clone(), holder) {
                None => Ok(()),
                Some(_) => Err(path.clone()),
            }
        }
        _ => Ok(()),
    }
}

fn element(dtype: DType) -> Element {
    match dtype {
        DType::F64 => Element::F64,
        DType::F32 => Element::F32,
        DType::F16 => Element::F16,
        DType::BF16 => Element::Bf16,
        DType::I64 => Element::Other("int64"),
        DType::I32 => Element::Other("int32"),
        DType::I16 => Element::Other("int16"),
        DType::I8 => Element::Other("int8"),
        DType::U64 => Element::Other("uint64"),
        DType::U32 => Element::Other("uint32"),
        DType::U16 => Element::Other("uint16"),
        DType::U8 => Element::Other("uint8"),
        DType::Bool => Element::Other("bool"),
    }
}

/// Another library's message, which may quote the file at any length.
pub(super) fn one_line(message: &str) -> String {
    const LONGEST: usize = 240;
    let mut line: String = message
        .chars()
        .take(LONGEST)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if message.chars().nth(LONGEST).is_some() {
        line.push_str("...");
    }
    line
}
