//! Stored zip archives: taken apart, and put together again with checksums and offsets that are right.

use crate::random::Random;

/// Names and bytes of an archive whose directory is whole.
pub fn parts(bytes: &[u8]) -> Option<Vec<(String, Vec<u8>)>> {
    let number = |at: usize, width: usize| -> Option<usize> {
        let raw = bytes.get(at..at.checked_add(width)?)?;
        let all = raw
            .iter()
            .rev()
            .fold(0u64, |n, &byte| n << 8 | u64::from(byte));
        usize::try_from(all).ok()
    };
    let end = bytes.len().checked_sub(22)?;
    if !bytes[end..].starts_with(b"PK\x05\x06") {
        return None;
    }
    let mut at = number(end + 16, 4)?;
    let mut found = Vec::new();
    for _ in 0..number(end + 10, 2)?.min(64) {
        let (len, name) = (number(at + 24, 4)?, number(at + 28, 2)?);
        let (extra, comment, header) = (
            number(at + 30, 2)?,
            number(at + 32, 2)?,
            number(at + 42, 4)?,
        );
        let text = String::from_utf8_lossy(bytes.get(at + 46..at + 46 + name)?).into_owned();
        let start = header + 30 + number(header + 26, 2)? + number(header + 28, 2)?;
        found.push((text, bytes.get(start..start.checked_add(len)?)?.to_vec()));
        at += 46 + name + extra + comment;
    }
    Some(found)
}

/// An archive of these entries, with PyTorch's zip64 end records or without.
pub fn whole(entries: &[(String, Vec<u8>)], zip64: bool) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for (name, bytes) in entries {
        let header = out.len() as u32;
        let mut fields = vec![20, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        fields.extend(crc32fast::hash(bytes).to_le_bytes());
        fields.extend((bytes.len() as u32).to_le_bytes());
        fields.extend((bytes.len() as u32).to_le_bytes());
        fields.extend((name.len() as u16).to_le_bytes());
        fields.extend([0; 2]);
        out.extend(b"PK\x03\x04");
        out.extend(&fields);
        out.extend(name.as_bytes());
        out.extend(bytes);
        directory.extend(b"PK\x01\x02\x14\0");
        directory.extend(&fields);
        directory.extend([0; 10]);
        directory.extend(header.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let (start, count) = (out.len(), entries.len());
    out.extend(&directory);
    let end = out.len();
    if zip64 {
        out.extend(b"PK\x06\x06");
        out.extend(44u64.to_le_bytes());
        out.extend([0x1e, 0x03, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        for number in [count, count, directory.len(), start] {
            out.extend((number as u64).to_le_bytes());
        }
        out.extend(b"PK\x06\x07\0\0\0\0");
        out.extend((end as u64).to_le_bytes());
        out.extend(1u32.to_le_bytes());
    }
    out.extend(b"PK\x05\x06\0\0\0\0");
    out.extend((count as u16).to_le_bytes());
    out.extend((count as u16).to_le_bytes());
    out.extend((directory.len() as u32).to_le_bytes());
    out.extend((start as u32).to_le_bytes());
    out.extend([0, 0]);
    out
}

/// One change to the entries of a `.pth` file.
pub fn change(bytes: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    let (Some(mut entries), theirs) = (parts(bytes), parts(other).unwrap_or_default()) else {
        return super::bytes::change(bytes, other, random);
    };
    if entries.is_empty() {
        return;
    }
    let pickle = entries
        .iter()
        .position(|(name, _)| name.ends_with("data.pkl"));
    match (random.below(8), pickle) {
        (0, _) => drop(entries.remove(random.below(entries.len()))),
        (1, _) if !theirs.is_empty() => {
            let at = random.below(entries.len() + 1);
            entries.insert(at, random.pick(&theirs).clone());
        }
        (2, _) => {
            let at = random.below(entries.len());
            super::bytes::change(&mut entries[at].1, b"", random);
        }
        (3, _) => {
            let at = random.below(entries.len());
            let names = [
                "a/data.pkl",
                "a/data/0",
                "a/byteorder",
                "a/version",
                "a/constants.pkl",
                "data.pkl",
                "",
                "a/.data/serialization_id",
            ];
            entries[at].0 = (*random.pick(&names)).to_owned();
        }
        (_, Some(at)) => {
            let their = theirs.iter().find(|(name, _)| name.ends_with("data.pkl"));
            let their = their.map_or(&[][..], |(_, pickle)| pickle);
            super::pickle::change(&mut entries[at].1, their, random);
        }
        _ => {}
    }
    *bytes = whole(&entries, random.one_in(2));
}
