//! The zip archives of `torch.save`: which entries there are and where their bytes lie.
//!
//! `torch.save` writes a plain archive: entries stored without compression, the central directory at the end, no
//! comment behind it. Nothing else is read here, which leaves nothing for a zip bomb to use: no inflation, no
//! entry outside the file, no directory of millions of entries. An archive of such a file begins at its first byte, so
//! offsets are taken as they are written. (Programs that must also read archives with something in front of them, such
//! as self-extracting ones, work out a start from the end record; PyTorch's 76 bytes of zip64 records then look like 76
//! bytes in front, and for an inner folder of 21 characters the directory seems to lie exactly one entry further.)
//!
//! Records: APPNOTE.TXT sections 4.3.7, 4.3.12, 4.3.14 to 4.3.16, 4.5.3.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

/// Limit for the central directory. One entry of `torch.save` takes some 75 bytes and a tensor is one entry.
const LARGEST_DIRECTORY: u64 = 4 << 20;

/// Limit for `data.pkl`; that of ResNet-152 with two optimizer states has 300 KB.
const LARGEST_PICKLE: u64 = 16 << 20;

/// Limit for an entry of a word or two, such as `byteorder`.
const LARGEST_TEXT: u64 = 4096;

/// Bytes of a local header before the name.
const LOCAL: u64 = 30;

/// Bytes of a directory entry before the name.
const ENTRY: usize = 46;

const TORCHSCRIPT: &str = "a TorchScript archive (torch.jit.save): a program with its weights; load it in Python with torch.jit.load and save the weights with torch.save(model.state_dict(), path)";

/// The entries of a checked archive.
#[derive(Debug)]
pub(super) struct Archive {
    entries: BTreeMap<String, Entry>,
    /// What the names begin with: the inner folder that `data.pkl` lies in.
    folder: String,
}

/// Where an entry's bytes lie.
#[derive(Clone, Copy, Debug)]
struct Entry {
    /// From the file's start, of its local header.
    header: u64,
    len: u64,
    /// 0 where none was computed, as `torch.save` writes it on request.
    crc: u32,
}

impl Archive {
    /// Reads the directory of the archive in `file`; says what is wrong with it.
    pub fn open(file: &File, file_len: u64) -> Result<Self, String> {
        let directory = Directory::find(file, file_len)?;
        let mut bytes = vec![0; directory.size as usize];
        read_at(file, directory.start, &mut bytes).map_err(|_| damaged())?;
        let mut entries = BTreeMap::new();
        let mut stored = true;
        let mut rest = bytes.as_slice();
        for _ in 0..directory.entries {
            let (name, entry, method) = next_entry(&mut rest).ok_or_else(damaged)?;
            stored &= method == 0;
            let end = entry.header.checked_add(LOCAL + entry.len);
            if method == 0 && end.is_none_or(|end| end > directory.start) {
                return Err(
                    "damaged zip archive: an entry declares more bytes than it stores".into(),
                );
            }
            if entries.insert(name, entry).is_some() {
                return Err("damaged zip archive: two entries of one name".into());
            }
        }
        let is = |name: &str, file: &str| name == file || name.ends_with(&format!("/{file}"));
        if entries.keys().any(|name| is(name, "constants.pkl")) {
            return Err(TORCHSCRIPT.into());
        }
        let pickles: Vec<&String> = entries.keys().filter(|name| is(name, "data.pkl")).collect();
        if pickles.is_empty() {
            return Err(without_pickle(&entries));
        }
        if !stored {
            return Err("a zip archive with compressed or encrypted entries; torch.save stores them as they are".into());
        }
        let [pickle] = pickles[..] else {
            return Err(format!(
                "a zip archive with {} pickles (data.pkl) where torch.save writes one",
                pickles.len()
            ));
        };
        let folder = pickle[..pickle.len() - "data.pkl".len()].to_owned();
        Ok(Self { entries, folder })
    }

    /// The bytes of `data.pkl`.
    pub fn pickle(&self, file: &File) -> Result<Vec<u8>, String> {
        let len = self.len("data.pkl").unwrap_or(0);
        if len > LARGEST_PICKLE {
            return Err(format!(
                "its pickle has {len} bytes, more than the {LARGEST_PICKLE} allowed"
            ));
        }
        self.read(file, "data.pkl", 0, len)
            .map_err(|error| error.to_string())
    }

    /// A short entry as text; none where it is not there.
    pub fn text(&self, file: &File, name: &str) -> Result<Option<String>, String> {
        let Some(len) = self.len(name) else {
            return Ok(None);
        };
        let bytes = self.read(file, name, 0, len.min(LARGEST_TEXT));
        let bytes = bytes.map_err(|error| error.to_string())?;
        Ok(Some(String::from_utf8_lossy(&bytes).trim().to_owned()))
    }

    /// Bytes of the entry `name` of the inner folder; none where it is not there.
    pub fn len(&self, name: &str) -> Option<u64> {
        let entry = self.entries.get(&format!("{}{name}", self.folder));
        entry.map(|entry| entry.len)
    }

    /// `len` bytes of an entry from `start`, which must lie in it; those of a whole entry are held against its checksum.
    pub fn read(&self, file: &File, name: &str, start: u64, len: u64) -> io::Result<Vec<u8>> {
        let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        let entry = self.entries.get(&format!("{}{name}", self.folder));
        let entry = entry.ok_or_else(|| invalid("an entry of the archive is missing"))?;
        if start.checked_add(len).is_none_or(|end| end > entry.len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut header = [0; LOCAL as usize];
        read_at(file, entry.header, &mut header)?;
        if !header.starts_with(b"PK\x03\x04") {
            return Err(invalid("damaged zip archive: an entry has no header"));
        }
        let names = u64::from(u16_at(&header, 26)) + u64::from(u16_at(&header, 28));
        let mut bytes = vec![0; len as usize];
        read_at(file, entry.header + LOCAL + names + start, &mut bytes)?;
        if len == entry.len && entry.crc != 0 && crc32fast::hash(&bytes) != entry.crc {
            return Err(invalid("damaged zip archive: a checksum is wrong"));
        }
        Ok(bytes)
    }
}

/// What an archive without `data.pkl` is.
fn without_pickle(entries: &BTreeMap<String, Entry>) -> String {
    let any = |end: &str| entries.keys().any(|name| name.ends_with(end));
    let what = if any(".npy") {
        "a NumPy archive (.npz); save its arrays with safetensors.numpy.save_file"
    } else if any(".weights.h5") {
        "a Keras model; only PyTorch's networks are read"
    } else if any(".pth") || any(".pt") || any(".safetensors") || any(".onnx") {
        "an archive with a model in it; unpack it first"
    } else if any("models/model.json") {
        "a torch.export program; save the weights with torch.save(program.state_dict, path)"
    } else {
        "so not written by torch.save"
    };
    format!("a zip archive without data.pkl: {what}")
}

/// Where the central directory lies.
struct Directory {
    start: u64,
    size: u64,
    entries: u64,
}

impl Directory {
    /// The directory must lie within the file, end where the end records begin, and be of a sane size.
    fn find(file: &File, file_len: u64) -> Result<Self, String> {
        const END: u64 = 22;
        const LOCATOR: u64 = 20;
        const END64: u64 = 56;
        let no_end =
            || "damaged or truncated zip archive: no end record where the file ends".to_owned();
        let end_at = file_len.checked_sub(END).ok_or_else(no_end)?;
        let mut end = [0; END as usize];
        read_at(file, end_at, &mut end).map_err(|_| no_end())?;
        if !end.starts_with(b"PK\x05\x06") || end[20..] != [0, 0] {
            return Err(no_end());
        }
        let mut entries = u64::from(u16_at(&end, 10));
        let mut size = u64::from(u32_at(&end, 12));
        let mut start = u64::from(u32_at(&end, 16));
        let mut directory_end = end_at;

        let mut locator = [0; LOCATOR as usize];
        if let Some(locator_at) = end_at.checked_sub(LOCATOR)
            && read_at(file, locator_at, &mut locator).is_ok()
            && locator.starts_with(b"PK\x06\x07")
        {
            let end64_at = u64_at(&locator, 8);
            let mut end64 = [0; END64 as usize];
            if end64_at.checked_add(END64) != Some(locator_at) {
                return Err(no_end());
            }
            read_at(file, end64_at, &mut end64).map_err(|_| no_end())?;
            if !end64.starts_with(b"PK\x06\x06") {
                return Err(no_end());
            }
            (entries, size, start) = (u64_at(&end64, 32), u64_at(&end64, 40), u64_at(&end64, 48));
            directory_end = end64_at;
        }
        if start.checked_add(size) != Some(directory_end) || entries > size / ENTRY as u64 {
            return Err(no_end());
        }
        if size > LARGEST_DIRECTORY {
            return Err(format!(
                "a zip directory of {size} bytes, more than the {LARGEST_DIRECTORY} allowed"
            ));
        }
        Ok(Self {
            start,
            size,
            entries,
        })
    }
}

/// Takes an entry off the directory: its name, its place, and its method (0: stored; any number for what is encrypted).
fn next_entry(rest: &mut &[u8]) -> Option<(String, Entry, u16)> {
    let (fixed, behind) = rest.split_at_checked(ENTRY)?;
    if !fixed.starts_with(b"PK\x01\x02") {
        return None;
    }
    let (name, behind) = behind.split_at_checked(u16_at(fixed, 28).into())?;
    let (extra, behind) = behind.split_at_checked(u16_at(fixed, 30).into())?;
    let (_comment, behind) = behind.split_at_checked(u16_at(fixed, 32).into())?;
    *rest = behind;
    let encrypted = u16_at(fixed, 8) & 1;
    let method = u16_at(fixed, 10) | encrypted;
    // What does not fit 32 bits stands in the zip64 field instead, in this order.
    let mut wide = zip64(extra).unwrap_or_default().chunks_exact(8);
    let mut value = |at: usize| match u32_at(fixed, at) {
        u32::MAX => wide.next().map(|bytes| u64_at(bytes, 0)),
        narrow => Some(narrow.into()),
    };
    let (len, packed, header) = (value(24)?, value(20)?, value(42)?);
    if method == 0 && len != packed {
        return None;
    }
    let entry = Entry {
        header,
        len,
        crc: u32_at(fixed, 16),
    };
    Some((String::from_utf8_lossy(name).into_owned(), entry, method))
}

/// The zip64 field (id 1) among an entry's extra fields.
fn zip64(mut extra: &[u8]) -> Option<&[u8]> {
    loop {
        let (head, behind) = extra.split_at_checked(4)?;
        let (field, behind) = behind.split_at_checked(u16_at(head, 2).into())?;
        if u16_at(head, 0) == 1 {
            return Some(field);
        }
        extra = behind;
    }
}

fn damaged() -> String {
    "damaged zip archive: its directory is no list of entries".to_owned()
}

pub(super) fn read_at(mut file: &File, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
    file.seek(SeekFrom::Start(offset))?;
    file.read_exact(buffer)
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}
