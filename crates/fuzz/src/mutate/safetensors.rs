//! Safetensors: a header whose length is right again after it was changed, and data behind it.

use crate::random::{Random, awkward};

/// Header and data; the length in front decides, as far as there are bytes.
fn split(bytes: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let (length, rest) = bytes.split_at(bytes.len().min(8));
    let length = length.try_into().map_or(0, u64::from_le_bytes);
    let (header, data) = rest.split_at(
        rest.len()
            .min(usize::try_from(length).unwrap_or(usize::MAX)),
    );
    (header.to_vec(), data.to_vec())
}

/// A file of a header and data.
pub fn whole(header: &[u8], data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes()[..], header, data].concat()
}

/// One change to header or data.
pub fn change(bytes: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    let (mut header, mut data) = split(bytes);
    let (their_header, their_data) = split(other);
    match random.below(8) {
        0 => super::bytes::change(&mut header, &their_header, random),
        1 => super::bytes::change(&mut data, &their_data, random),
        2 => {
            // Values that quantizers and weights may have, and may not.
            let word = match random.below(6) {
                0 => f32::NAN,
                1 => f32::INFINITY,
                2 => f32::MIN_POSITIVE / 2.0,
                3 => -1.0,
                4 => awkward(random) as f32,
                _ => f32::from_bits(random.bits() as u32),
            };
            if data.len() >= 4 {
                let at = random.below(data.len() / 4) * 4;
                data[at..at + 4].copy_from_slice(&word.to_le_bytes());
            }
        }
        _ => {
            // One entry a line, so that entries are taken out, repeated and mixed.
            let lines = |header: &[u8]| {
                String::from_utf8_lossy(header)
                    .replace("},", "},\n")
                    .into_bytes()
            };
            header = lines(&header);
            super::text::change(&mut header, &lines(&their_header), ',', random);
            header.retain(|&byte| byte != b'\n');
        }
    }
    let honest = !random.one_in(12);
    *bytes = whole(&header, &data);
    if !honest {
        bytes[..8].copy_from_slice(&awkward(random).to_le_bytes());
    }
}
