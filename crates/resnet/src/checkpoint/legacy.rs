//! The container of `torch.save` before PyTorch 1.6: five pickles one behind another (magic number, protocol version,
//! system information, the object, the storages' keys), then each storage as its element count (i64) and its bytes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Seek, SeekFrom};

use super::pickle::{self, Budget, Id, Refusal, Tree, Value};
use super::zip::read_at;
use crate::error::quoted;

/// Where the storages of a legacy file lie: key to offset of the element count, elements, and bytes of one.
#[derive(Debug)]
pub(super) struct Layout(BTreeMap<String, (u64, u64, u64)>);

/// Reads the pickles; says what is wrong with them.
pub(super) fn open(
    file: &File,
    file_len: u64,
    budget: &mut Budget,
) -> Result<(Tree, Id, Layout), String> {
    let mut handle = file;
    handle
        .seek(SeekFrom::Start(0))
        .map_err(|error| error.to_string())?;
    let mut input = BufReader::new(handle);
    let words = |refusal: Refusal| refusal.to_string();
    let (_magic, protocol, system) = (
        pickle::read(&mut input, budget).map_err(words)?,
        pickle::read(&mut input, budget).map_err(words)?,
        pickle::read(&mut input, budget).map_err(words)?,
    );
    if !matches!(protocol.0.get(protocol.1), Value::Int(1001)) {
        return Err("a legacy container of an unknown version".to_owned());
    }
    if let Value::Dict(entries) = system.0.get(system.1)
        && let Some(little) = system.0.entry(entries, "little_endian")
        && matches!(system.0.get(little), Value::Bool(false))
    {
        return Err(BIG_ENDIAN.to_owned());
    }
    let (tree, root) = pickle::read(&mut input, budget).map_err(words)?;
    let (keys, list) = pickle::read(&mut input, budget).map_err(words)?;
    let start = input.stream_position().map_err(|error| error.to_string())?;
    let layout = layout(&tree, &keys, list, start, file_len)?;
    Ok((tree, root, layout))
}

/// What a file from a big-endian machine is told.
pub(super) const BIG_ENDIAN: &str =
    "written on a big-endian machine; load and save it again on a little-endian one";

fn layout(tree: &Tree, keys: &Tree, list: Id, start: u64, len: u64) -> Result<Layout, String> {
    let mut declared = BTreeMap::new();
    for storage in &tree.storages {
        let size = (storage.count, storage.item);
        if declared
            .insert(&storage.key, size)
            .is_some_and(|other| other != size)
        {
            return Err(format!(
                "storage {} is declared twice with different sizes",
                quoted(&storage.key)
            ));
        }
    }
    let Value::Sequence(items) = keys.get(list) else {
        return Err("damaged legacy container: no list of storages".to_owned());
    };
    let mut places = BTreeMap::new();
    let mut offset = start;
    for &item in items {
        let key = keys.key(item).unwrap_or_else(|| "".into());
        let &(count, size) = declared.get(&key.to_string()).ok_or_else(|| {
            format!(
                "damaged legacy container: nothing declares storage {}",
                quoted(&key)
            )
        })?;
        let end = offset
            .checked_add(8)
            .and_then(|at| at.checked_add(count.checked_mul(size)?));
        let end = end.filter(|&end| end <= len).ok_or_else(|| {
            format!(
                "damaged or truncated file: storage {} extends beyond its end",
                quoted(&key)
            )
        })?;
        places.insert(key.to_string(), (offset, count, size));
        offset = end;
    }
    Ok(Layout(places))
}

impl Layout {
    /// `len` bytes of the storage `key` from `start`.
    pub fn read(&self, file: &File, key: &str, start: u64, len: u64) -> io::Result<Vec<u8>> {
        let invalid = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
        let &(offset, count, size) = self
            .0
            .get(key)
            .ok_or_else(|| invalid(format!("storage {} is missing", quoted(key))))?;
        let mut stored = [0; 8];
        read_at(file, offset, &mut stored)?;
        let stored = u64::from_le_bytes(stored);
        if stored != count {
            return Err(invalid(format!(
                "storage {} holds {stored} elements, not the {count} declared",
                quoted(key)
            )));
        }
        // That the storage lies within the file was checked with the layout.
        if start.checked_add(len).is_none_or(|end| end > count * size) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut bytes = vec![0; len as usize];
        read_at(file, offset + 8 + start, &mut bytes)?;
        Ok(bytes)
    }
}
