//! PNG files chunk by chunk, with checksums that are right; JPEG files segment by segment.

use crate::random::{Random, awkward};

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

/// A PNG of these chunks.
pub fn png(chunks: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let mut out = PNG.to_vec();
    for (kind, data) in chunks {
        out.extend((data.len() as u32).to_be_bytes());
        let body = [&kind[..], data].concat();
        out.extend(&body);
        out.extend(crc32fast::hash(&body).to_be_bytes());
    }
    out
}

fn chunks(bytes: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut found = Vec::new();
    let mut rest = bytes.get(PNG.len()..).unwrap_or_default();
    while let Some((&[a, b, c, d, ref kind @ ..], _)) = rest.split_first_chunk::<8>() {
        let len = u32::from_be_bytes([a, b, c, d]) as usize;
        let end = (8 + len).min(rest.len());
        found.push((kind.to_vec(), rest[8..end].to_vec()));
        rest = rest.get(end + 4..).unwrap_or_default();
    }
    found
}

/// `bytes` as a zlib stream that is not compressed.
pub fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![0x78, 0x01];
    let mut blocks = bytes.chunks(65_535).peekable();
    while let Some(block) = blocks.next() {
        out.push(u8::from(blocks.peek().is_none()));
        out.extend((block.len() as u16).to_le_bytes());
        out.extend((!(block.len() as u16)).to_le_bytes());
        out.extend(block);
    }
    let (mut a, mut b) = (1u32, 0u32);
    for &byte in bytes {
        a = (a + u32::from(byte)) % 65_521;
        b = (b + a) % 65_521;
    }
    out.extend((b << 16 | a).to_be_bytes());
    out
}

/// One change to an image file.
pub fn change(bytes: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    if bytes.starts_with(PNG) {
        change_png(bytes, other, random);
    } else if bytes.starts_with(&[0xff, 0xd8]) {
        change_jpeg(bytes, other, random);
    } else {
        super::bytes::change(bytes, other, random);
    }
}

fn change_png(bytes: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    let (mut all, theirs) = (chunks(bytes), chunks(other));
    if all.is_empty() {
        return super::bytes::change(bytes, other, random);
    }
    let at = random.below(all.len());
    let kinds = [
        "IHDR", "PLTE", "IDAT", "IEND", "tRNS", "acTL", "fcTL", "fdAT", "gAMA", "iCCP", "zTXt",
        "eXIf", "sBIT",
    ];
    match random.below(9) {
        0 => drop(all.remove(at)),
        1 => all.insert(at, all[random.below(all.len())].clone()),
        2 => {
            let another = random.below(all.len());
            all.swap(at, another);
        }
        3 if !theirs.is_empty() => all.insert(at, random.pick(&theirs).clone()),
        4 => all[at].0 = random.pick(&kinds).as_bytes().to_vec(),
        5 | 6 => {
            // Width, height, depth, colour, interlace: the other bytes have one value.
            let header = &mut all[0].1;
            let field = [0..4, 4..8, 8..9, 9..10, 12..13][random.below(5)].clone();
            if header.len() == 13 {
                let raw = match (field.len(), random.below(3)) {
                    (4, 0) => (awkward(random) as u32).to_be_bytes().to_vec(),
                    (4, _) => (random.below(40) as u32).to_be_bytes().to_vec(),
                    _ => vec![*random.pick(&[0u8, 1, 2, 3, 4, 6, 8, 16, 32])],
                };
                header[field].copy_from_slice(&raw);
            }
        }
        7 => {
            let raw: Vec<u8> = (0..random.below(400))
                .map(|_| random.bits() as u8 % 6)
                .collect();
            all[at] = (b"IDAT".to_vec(), zlib(&raw));
        }
        _ => super::bytes::change(&mut all[at].1, b"", random),
    }
    *bytes = png(&all);
}

fn change_jpeg(bytes: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    let segments = |bytes: &[u8]| -> Vec<usize> {
        let marks = bytes.windows(2).enumerate();
        let marks = marks.filter(|(_, pair)| pair[0] == 0xff && pair[1] != 0);
        marks.map(|(at, _)| at).chain([bytes.len()]).collect()
    };
    let (own, theirs) = (segments(bytes), segments(other));
    let part = |all: &[usize], random: &mut Random| {
        let first = random.below(all.len());
        all[first]..all[(first + 1 + random.below(3)).min(all.len() - 1)]
    };
    match random.below(6) {
        0 => drop(bytes.drain(part(&own, random))),
        1 => {
            let taken = bytes[part(&own, random)].to_vec();
            let times = if random.one_in(6) {
                1 + random.below(60)
            } else {
                1
            };
            let at = *random.pick(&own);
            bytes.splice(at..at, taken.repeat(times));
        }
        2 => {
            let taken = other[part(&theirs, random)].to_vec();
            let at = *random.pick(&own);
            bytes.splice(at..at, taken);
        }
        3 => {
            // The size: five bytes behind a frame header's marker.
            let frame = own
                .iter()
                .find(|&&at| matches!(bytes.get(at + 1), Some(0xc0..=0xc2)));
            if let Some(&at) = frame
                && at + 9 <= bytes.len()
            {
                let field = at + 5 + 2 * random.below(2);
                let size = if random.one_in(20) {
                    awkward(random) as u16
                } else {
                    random.below(300) as u16
                };
                bytes[field..field + 2].copy_from_slice(&size.to_be_bytes());
            }
        }
        4 => {
            let at = *random.pick(&own);
            if let Some(byte) = bytes.get_mut(at + 1 + random.below(16)) {
                *byte = random.bits() as u8;
            }
        }
        _ => super::bytes::change(bytes, other, random),
    }
    bytes.truncate(super::bytes::LONGEST);
}
