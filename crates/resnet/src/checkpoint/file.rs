//! The file before anything in it is believed: is it a regular file, how large is it, what does it hold.
//!
//! The kind is decided by content, never by the name's extension:
//! - zip (`torch.save` since PyTorch 1.6) begins with `PK\3\4`;
//! - the legacy container (before 1.6) begins with a pickle of the number 0x1950a86a20f9469cfc6c;
//! - safetensors begins with a little-endian u64 (the length of a JSON header) and the header's `{`.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::error::Error;
use network::hex;

/// The largest file that is opened. ResNet-152 in float64 with two optimizer states has 1.4 GB.
pub(super) const LARGEST_FILE: u64 = 4 << 30;

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A zip archive, as `torch.save` writes it.
    Zip,
    /// Pickles one behind another, then raw storages: `torch.save` before PyTorch 1.6.
    Legacy,
    /// A pickle and nothing else: no tensor data.
    PlainPickle,
    /// A safetensors file.
    Safetensors,
}

/// An open checkpoint file.
#[derive(Debug)]
pub(super) struct CheckpointFile {
    pub path: PathBuf,
    pub handle: File,
    /// Size in bytes when it was opened.
    pub len: u64,
    pub kind: Kind,
}

impl CheckpointFile {
    /// Opens a regular file of acceptable size and recognises its kind. Devices, pipes and folders are refused before
    /// they are opened, since opening a pipe can wait for ever.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let io_error = |source| Error::Io {
            path: path.to_owned(),
            source,
        };
        let what = what_it_is(&std::fs::metadata(path).map_err(io_error)?);
        if let Some(what) = what {
            return Err(Error::NotAFile {
                path: path.to_owned(),
                what,
            });
        }
        let mut handle = File::open(path).map_err(io_error)?;
        let metadata = handle.metadata().map_err(io_error)?;
        if let Some(what) = what_it_is(&metadata) {
            return Err(Error::NotAFile {
                path: path.to_owned(),
                what,
            });
        }
        let len = metadata.len();
        if len > LARGEST_FILE {
            return Err(Error::FileTooLarge {
                path: path.to_owned(),
                size: len,
                limit: LARGEST_FILE,
            });
        }
        let mut head = Vec::new();
        if len > 0 {
            handle
                .by_ref()
                .take(512)
                .read_to_end(&mut head)
                .map_err(io_error)?;
        }
        let kind = recognise(&head).map_err(|reason| Error::File {
            path: path.to_owned(),
            reason,
        })?;
        Ok(Self {
            path: path.to_owned(),
            handle,
            len,
            kind,
        })
    }

    /// SHA-256 of the file's bytes, 64 hex digits.
    pub fn sha256(&mut self) -> Result<String, Error> {
        let mut digest = || -> io::Result<String> {
            self.handle.seek(SeekFrom::Start(0))?;
            let mut hash = Sha256::new();
            let mut buffer = vec![0; 256 * 1024];
            loop {
                let read = self.handle.read(&mut buffer)?;
                if read == 0 {
                    return Ok(hex(&hash.finalize()));
                }
                hash.update(&buffer[..read]);
            }
        };
        digest().map_err(|source| Error::Io {
            path: self.path.clone(),
            source,
        })
    }

    /// An error about a tensor, with this file's name in front.
    pub fn inside(&self, error: Error) -> Error {
        Error::InFile {
            path: self.path.clone(),
            error: Box::new(error),
        }
    }

    /// An [`Error::File`] of this file.
    pub fn error(&self, reason: impl Into<String>) -> Error {
        Error::File {
            path: self.path.clone(),
            reason: reason.into(),
        }
    }
}

fn what_it_is(metadata: &std::fs::Metadata) -> Option<&'static str> {
    if metadata.is_file() {
        None
    } else if metadata.is_dir() {
        Some("a directory")
    } else {
        Some("a device, pipe or socket")
    }
}

/// The magic number 0x1950a86a20f9469cfc6c as protocol 2 and later write it.
const LEGACY_MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];

fn recognise(head: &[u8]) -> Result<Kind, String> {
    let printable = |bytes: &[u8]| {
        bytes
            .iter()
            .all(|b| matches!(b, b' '..=b'~' | b'\t' | b'\r' | b'\n'))
    };
    if head.is_empty() {
        return Err("the file is empty".to_owned());
    }
    if head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06") {
        return Ok(Kind::Zip);
    }
    if head[..head.len().min(64)]
        .windows(LEGACY_MAGIC.len())
        .any(|window| window == LEGACY_MAGIC)
    {
        return Ok(Kind::Legacy);
    }
    // Eight printable characters would be a header of more than 10^17 bytes: that is text.
    if head.get(8) == Some(&b'{') && !printable(&head[..8]) {
        return Ok(Kind::Safetensors);
    }
    if is_onnx(head) {
        return Err("an ONNX model: give it a name that ends in .onnx".to_owned());
    }
    if head[0] == 0x80 && head.get(1).is_some_and(|&protocol| protocol <= 5) {
        return Ok(Kind::PlainPickle);
    }
    let what = match head {
        [0xff, 0xd8, 0xff, ..] => "a JPEG image",
        [0x89, b'P', b'N', b'G', ..] => "a PNG image",
        [0x1f, 0x8b, ..] => "gzip data: unpack it first",
        [0x89, b'H', b'D', b'F', ..] => "an HDF5 file",
        [0x93, b'N', b'U', b'M', ..] => "a NumPy array",
        _ if head.get(4..8) == Some(b"TFL3") => "a TensorFlow Lite model",
        _ if head.starts_with(b"version https://git-lfs") => {
            "a Git LFS pointer: the weights were not downloaded"
        }
        _ if head.get(257..262) == Some(b"ustar") => {
            "a tar archive (perhaps torch.save before PyTorch 0.1.10: load and save it again with a newer PyTorch)"
        }
        _ if head.trim_ascii_start().starts_with(b"<") && printable(head) => {
            "a web page: the download went wrong"
        }
        _ if printable(head) => "text",
        _ => "unknown data",
    };
    Err(format!("{what}, not a PyTorch or safetensors checkpoint"))
}

/// Whether it begins as ONNX's `ModelProto`: field 1, the version of the format, then another of its fields
/// (producer, domain, model version, documentation, graph, operator sets). Nothing in the format is a signature.
fn is_onnx(head: &[u8]) -> bool {
    const NEXT_FIELDS: [u8; 8] = [0x12, 0x1a, 0x22, 0x28, 0x32, 0x3a, 0x42, 0x72];
    matches!(head, [0x08, 1..=32, next, ..] if NEXT_FIELDS.contains(next))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_comes_from_the_content() {
        assert_eq!(recognise(b"PK\x03\x04rest"), Ok(Kind::Zip));
        assert_eq!(
            recognise(b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."),
            Ok(Kind::Legacy)
        );
        assert_eq!(
            recognise(b"\x08\0\0\0\0\0\0\0{}      "),
            Ok(Kind::Safetensors)
        );
        assert_eq!(
            recognise(b"\xff\xff\xff\xff\xff\xff\xff\xff{}"),
            Ok(Kind::Safetensors)
        );
        // A header length of 128 begins with the byte that also opens a pickle.
        assert_eq!(
            recognise(b"\x80\0\0\0\0\0\0\0{\"a\""),
            Ok(Kind::Safetensors)
        );
        assert_eq!(recognise(b"\x80\x04\x95"), Ok(Kind::PlainPickle));
    }

    #[test]
    fn unrelated_files_are_called_what_they_are() {
        for (head, what) in [
            (&b""[..], "empty"),
            (b"\xff\xd8\xff\xe0\0\x10JFIF", "JPEG"),
            (b"<!DOCTYPE html><html>", "web page"),
            (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
            (b"lines = {1: 2}", "text"),
            (b"12345678{not a header", "text"),
            (b"\0\0\0\0", "unknown data"),
            (b"\x08\x06\x12\x07pytorch\x1a\x031.8", "an ONNX model"),
            (b"\x08\x0e:\x91\x04\n\x0f", "an ONNX model"),
            (b"\x1c\0\0\0TFL3", "TensorFlow Lite"),
        ] {
            let reason = recognise(head).unwrap_err();
            assert!(reason.contains(what), "{reason}");
        }
    }
}
