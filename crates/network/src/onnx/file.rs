//! The file: its bytes to a message, and the files beside it that hold numbers.

use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path};

use prost::Message;
use sha2::{Digest, Sha256};

use super::proto;
use crate::error::{Error, quoted};
use crate::tensors::hex;

/// protobuf's own limit.
const LARGEST_FILE: u64 = 1 << 31;

/// Bytes that messages may take in memory, and those for each byte of the file. An empty message is two bytes in a file and hundreds in memory.
const MESSAGES: usize = 64 << 20;
const MESSAGES_A_BYTE: usize = 8;

/// Reads the message in `path`; with the SHA-256 of its bytes.
pub(crate) fn open(path: &Path) -> Result<(proto::Model, String), Error> {
    let about = |e: std::io::Error| Error::onnx(format!("it cannot be read: {e}"));
    let found = fs::metadata(path).map_err(about)?;
    // A pipe would keep us waiting, and a device has no end.
    if !found.is_file() {
        return Err(Error::onnx("no regular file".to_owned()));
    }
    let length = found.len();
    if length > LARGEST_FILE {
        return Err(Error::onnx(format!(
            "{length} bytes are more than a model has"
        )));
    }
    let bytes = fs::read(path).map_err(about)?;
    if bytes.is_empty() {
        return Err(Error::onnx("an empty file".to_owned()));
    }
    if bytes.starts_with(b"version https://git-lfs") {
        return Err(Error::onnx(
            "a Git LFS pointer, not the model: fetch it with git lfs pull".to_owned(),
        ));
    }
    let most = MESSAGES + MESSAGES_A_BYTE * bytes.len();
    if proto::memory(&bytes).is_some_and(|memory| memory > most) {
        return Err(Error::onnx(
            "its messages would take many times the memory of the file: a memory bomb".to_owned(),
        ));
    }
    let model = proto::Model::decode(&bytes[..]);
    let model = model.map_err(|e| Error::onnx(format!("no ONNX model, or a damaged one: {e}")));
    Ok((model?, hex(&Sha256::digest(&bytes))))
}

/// Whether the file looks like an ONNX model: by its name, or by the first field of the message.
pub fn looks_like(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("onnx"))
}

/// The folder of the file, where external numbers lie.
pub(crate) struct Folder<'a>(pub &'a Path);

impl Folder<'_> {
    /// `wanted` bytes of the file that `entries` name; it must lie in this folder.
    pub fn external(&self, entries: &[proto::Entry], wanted: usize) -> Result<Vec<u8>, String> {
        let get = |key: &str| {
            entries
                .iter()
                .find(|entry| entry.key == key)
                .map(|e| &e.value)
        };
        let location = get("location").ok_or("external numbers without a location")?;
        let relative = Path::new(location);
        let stays = relative
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        if location.is_empty() || location.contains('\\') || !stays {
            return Err(format!(
                "external numbers in {}, which is no file beside the model",
                quoted(location)
            ));
        }
        let number = |key: &str| match get(key) {
            None => Ok(None),
            Some(text) => match text.parse::<u64>() {
                Ok(number) => Ok(Some(number)),
                Err(_) => Err(format!("external {key} {}", quoted(text))),
            },
        };
        let (offset, length) = (number("offset")?.unwrap_or(0), number("length")?);
        if length.is_some_and(|length| length != wanted as u64) {
            return Err(format!(
                "{} external bytes, not {wanted}",
                length.unwrap_or(0)
            ));
        }
        let path = self.0.join(relative);
        let about = |e: std::io::Error| format!("external numbers in {}: {e}", quoted(location));
        let inside = path.canonicalize().map_err(about)?;
        if !inside.starts_with(self.0.canonicalize().map_err(about)?) {
            return Err(format!(
                "external numbers in {}, which lies elsewhere",
                quoted(location)
            ));
        }
        let mut file = fs::File::open(&inside).map_err(about)?;
        let there = file.metadata().map_err(about)?.len();
        if offset
            .checked_add(wanted as u64)
            .is_none_or(|end| end > there)
        {
            return Err(format!(
                "external numbers in {}: {wanted} bytes from {offset} on, of {there}",
                quoted(location)
            ));
        }
        let mut bytes = vec![0; wanted];
        file.seek(SeekFrom::Start(offset)).map_err(about)?;
        file.read_exact(&mut bytes).map_err(about)?;
        Ok(bytes)
    }
}
