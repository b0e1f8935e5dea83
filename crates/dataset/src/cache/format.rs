//! The cache file. Integers are little-endian 64-bit.
//!
//! ```text
//! 0      header, 4096 bytes so that images start on a page: magic, image_bytes, images, index length, key [32],
//!        sha256 of the fields before it and of the index [32], zeros
//! 4096   images, image_bytes each: the crops in order, without the files that failed
//! then   index, for every listed file in order: its path; 1 and its image's sha256 [32], or 0 and the reason it failed
//!        (texts are a length and UTF-8 bytes)
//! ```
//!
//! The header is written last, and the file ends with the index, so a torn file has no magic or the wrong length.

use sha2::{Digest, Sha256};

use super::Outcome;

/// Where the images start.
pub(super) const HEADER: usize = 4096;

/// Ends in the format's version.
const MAGIC: [u8; 8] = *b"qlcrops1";

/// Length of the header's fields: magic, three integers, the key.
const FIELDS: usize = 8 + 3 * 8 + 32;

/// Header and index for the given outcomes.
pub(super) fn write(
    outcomes: &[Outcome],
    key: &[u8; 32],
    paths: &[&str],
    image_bytes: usize,
) -> (Vec<u8>, Vec<u8>) {
    let mut index = Vec::new();
    for (path, outcome) in paths.iter().zip(outcomes) {
        put_text(&mut index, path);
        match outcome {
            Ok(digest) => {
                index.push(1);
                index.extend(digest);
            }
            Err(reason) => {
                index.push(0);
                put_text(&mut index, reason);
            }
        }
    }
    let images = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    let mut header = MAGIC.to_vec();
    for n in [image_bytes, images, index.len()] {
        header.extend((n as u64).to_le_bytes());
    }
    header.extend(key);
    let checksum = checksum(&header, &index);
    header.extend(checksum);
    header.resize(HEADER, 0);
    (header, index)
}

/// Checks everything but the pixels of a cache file; `None` if it is not whole or not for this key, these files and
/// this size of image.
pub(super) fn read(
    file: &[u8],
    key: &[u8; 32],
    paths: &[&str],
    image_bytes: usize,
) -> Option<Vec<Outcome>> {
    let header = file.get(..HEADER)?;
    let mut fields = header;
    let magic = take(&mut fields, 8)?;
    let (found_bytes, images, index_len) = (
        integer(&mut fields)?,
        integer(&mut fields)?,
        integer(&mut fields)?,
    );
    if magic != MAGIC || found_bytes != image_bytes || take(&mut fields, 32)? != key {
        return None;
    }
    let index_at = HEADER.checked_add(images.checked_mul(image_bytes)?)?;
    if index_at.checked_add(index_len)? != file.len() {
        return None;
    }
    let mut index = &file[index_at..];
    if take(&mut fields, 32)? != checksum(&header[..FIELDS], index) {
        return None;
    }
    let mut outcomes = Vec::with_capacity(paths.len());
    for path in paths {
        if text(&mut index)? != *path {
            return None;
        }
        outcomes.push(match take(&mut index, 1)? {
            [1] => Ok(take(&mut index, 32)?.try_into().ok()?),
            _ => Err(text(&mut index)?.to_string()),
        });
    }
    let readable = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    (index.is_empty() && readable == images).then_some(outcomes)
}

fn checksum(fields: &[u8], index: &[u8]) -> [u8; 32] {
    Sha256::new()
        .chain_update(fields)
        .chain_update(index)
        .finalize()
        .into()
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

fn take<'a>(bytes: &mut &'a [u8], n: usize) -> Option<&'a [u8]> {
    let (head, tail) = bytes.split_at_checked(n)?;
    *bytes = tail;
    Some(head)
}

fn integer(bytes: &mut &[u8]) -> Option<usize> {
    u64::from_le_bytes(take(bytes, 8)?.try_into().ok()?)
        .try_into()
        .ok()
}

fn text<'a>(bytes: &mut &'a [u8]) -> Option<&'a str> {
    let n = integer(bytes)?;
    std::str::from_utf8(take(bytes, n)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATHS: [&str; 3] = ["a/1.png", "a/2.png", "b/ü.png"];

    fn file() -> (Vec<Outcome>, Vec<u8>) {
        let outcomes = vec![Ok([7; 32]), Err("truncated".to_string()), Ok([9; 32])];
        let (header, index) = write(&outcomes, &[1; 32], &PATHS, 6);
        (
            outcomes,
            [&header[..], b"pixelspixels", &index[..]].concat(),
        )
    }

    #[test]
    fn what_was_written_is_read() {
        let (outcomes, file) = file();
        assert_eq!(read(&file, &[1; 32], &PATHS, 6), Some(outcomes));
    }

    #[test]
    fn another_key_size_or_listing_is_refused() {
        let (_, file) = file();
        assert_eq!(read(&file, &[2; 32], &PATHS, 6), None);
        assert_eq!(read(&file, &[1; 32], &PATHS, 4), None);
        assert_eq!(read(&file, &[1; 32], &PATHS[..2], 6), None);
        assert_eq!(
            read(&file, &[1; 32], &["a/1.png", "a/3.png", "b/ü.png"], 6),
            None
        );
    }

    #[test]
    fn a_file_cut_at_any_length_or_changed_in_any_byte_of_header_or_index_is_refused() {
        let (_, whole) = file();
        for n in 0..whole.len() {
            assert_eq!(read(&whole[..n], &[1; 32], &PATHS, 6), None, "cut at {n}");
        }
        let checked = (0..FIELDS + 32).chain(HEADER + 12..whole.len());
        for at in checked {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            assert_eq!(read(&changed, &[1; 32], &PATHS, 6), None, "byte {at}");
        }
    }
}
