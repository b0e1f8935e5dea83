//! What a zip archive must satisfy before `pytorch-reader` opens it.
//!
//! `torch.save` writes a plain archive: entries stored without compression, the central directory at the end, no
//! comment behind it. Anything else is refused here, which leaves nothing for a zip bomb to use: no inflation, no
//! entry outside the file, no directory of millions of entries, no count that reserves memory for entries that are
//! not there. End records: APPNOTE.TXT sections 4.3.14 to 4.3.16.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};

use zip::{CompressionMethod, ZipArchive};

/// Limit for the central directory. One entry of `torch.save` takes some 75 bytes and a tensor is one entry.
const LARGEST_DIRECTORY: u64 = 4 << 20;

/// Limit for `data.pkl`; that of ResNet-152 with two optimizer states has 300 KB.
const LARGEST_PICKLE: u64 = 16 << 20;

/// Every `data.pkl` of the archive in `file`, or what is wrong with it.
pub(super) fn pickles(file: &File, file_len: u64) -> Result<Vec<Vec<u8>>, String> {
    check_end_records(file, file_len)?;
    let damaged = |error: &dyn std::fmt::Display| format!("damaged zip archive: {error}");
    let handle = file.try_clone().map_err(|e| damaged(&e))?;
    let mut archive = ZipArchive::new(BufReader::new(handle)).map_err(|e| damaged(&e))?;
    let mut pickles = Vec::new();
    for index in 0..archive.len() {
        let mut entry = archive.by_index_raw(index).map_err(|e| damaged(&e))?;
        let name = entry.name().map_err(|e| damaged(&e))?.into_owned();
        if entry.compression() != CompressionMethod::Stored || entry.encrypted() {
            return Err("a zip archive with compressed or encrypted entries; torch.save stores them as they are".into());
        }
        if entry.size() != entry.compressed_size() || entry.size() > file_len {
            return Err("damaged zip archive: an entry declares more bytes than it stores".into());
        }
        if name == "constants.pkl" || name.ends_with("/constants.pkl") {
            return Err(
                "a TorchScript archive; save the weights with torch.save(model.state_dict(), path)"
                    .into(),
            );
        }
        if name == "data.pkl" || name.ends_with("/data.pkl") {
            if entry.size() > LARGEST_PICKLE {
                return Err(format!(
                    "its pickle has {} bytes, more than the {LARGEST_PICKLE} allowed",
                    entry.size()
                ));
            }
            let mut bytes = Vec::new();
            entry
                .by_ref()
                .take(LARGEST_PICKLE)
                .read_to_end(&mut bytes)
                .map_err(|e| damaged(&e))?;
            pickles.push(bytes);
        }
    }
    match pickles.len() {
        0 => Err("a zip archive without data.pkl, so not written by torch.save".into()),
        1 => Ok(pickles),
        n => Err(format!(
            "a zip archive with {n} pickles (data.pkl) where torch.save writes one"
        )),
    }
}

/// The directory must lie within the file, end where the end records begin, and be of a sane size.
fn check_end_records(file: &File, file_len: u64) -> Result<(), String> {
    const END: u64 = 22;
    const LOCATOR: u64 = 20;
    const END64: u64 = 56;
    let damaged =
        || "damaged or truncated zip archive: no end record where the file ends".to_owned();
    let read = |offset: u64, buffer: &mut [u8]| -> io::Result<()> {
        let mut file = file;
        file.seek(SeekFrom::Start(offset))?;
        file.read_exact(buffer)
    };
    let end_at = file_len.checked_sub(END).ok_or_else(damaged)?;
    let mut end = [0; END as usize];
    read(end_at, &mut end).map_err(|_| damaged())?;
    if !end.starts_with(b"PK\x05\x06") || end[20..] != [0, 0] {
        return Err(damaged());
    }
    let mut entries = u64::from(u16_at(&end, 10));
    let mut size = u64::from(u32_at(&end, 12));
    let mut start = u64::from(u32_at(&end, 16));
    let mut directory_end = end_at;

    let mut locator = [0; LOCATOR as usize];
    if let Some(locator_at) = end_at.checked_sub(LOCATOR)
        && read(locator_at, &mut locator).is_ok()
        && locator.starts_with(b"PK\x06\x07")
    {
        let end64_at = u64_at(&locator, 8);
        let mut end64 = [0; END64 as usize];
        if end64_at.checked_add(END64) != Some(locator_at) {
            return Err(damaged());
        }
        read(end64_at, &mut end64).map_err(|_| damaged())?;
        if !end64.starts_with(b"PK\x06\x06") {
            return Err(damaged());
        }
        (entries, size, start) = (u64_at(&end64, 32), u64_at(&end64, 40), u64_at(&end64, 48));
        directory_end = end64_at;
    }
    if start.checked_add(size) != Some(directory_end) || entries > size / 46 {
        return Err(damaged());
    }
    if size > LARGEST_DIRECTORY {
        return Err(format!(
            "a zip directory of {size} bytes, more than the {LARGEST_DIRECTORY} allowed"
        ));
    }
    Ok(())
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
