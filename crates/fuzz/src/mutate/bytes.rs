//! Changes that know nothing of a format.

use crate::random::{Random, awkward};

/// Longer inputs are cut: what is found in 64 KiB of a format is found in less.
pub const LONGEST: usize = 64 << 10;

/// One change anywhere. `other` is another file of the same kind, to take parts of.
pub fn change(bytes: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    let len = bytes.len();
    match random.below(10) {
        0 if len > 0 => bytes[random.below(len)] ^= 1 << random.below(8),
        1 if len > 0 => bytes[random.below(len)] = random.bits() as u8,
        2 => drop(bytes.drain(random.range(len))),
        3 => {
            let part = bytes[random.range(len)].to_vec();
            insert(bytes, &part, random);
        }
        4 => {
            let part = other[random.range(other.len())].to_vec();
            insert(bytes, &part, random);
        }
        5 => {
            let part = &other[random.range(other.len())];
            let at = random.below(len + 1);
            let end = (at + part.len()).min(len);
            bytes.splice(at..end, part.iter().copied());
        }
        6 => bytes.truncate(random.below(len + 1)),
        7 | 8 => {
            let number = awkward(random);
            let width = [1, 2, 4, 8][random.below(4)];
            let raw = match random.one_in(2) {
                true => number.to_le_bytes()[..width].to_vec(),
                false => number.to_be_bytes()[8 - width..].to_vec(),
            };
            let at = random.below(len + 1);
            let end = (at + width).min(len);
            bytes.splice(at..end, raw);
        }
        _ => {
            let part: Vec<u8> = (0..random.below(12)).map(|_| random.bits() as u8).collect();
            insert(bytes, &part, random);
        }
    }
    bytes.truncate(LONGEST);
}

fn insert(bytes: &mut Vec<u8>, part: &[u8], random: &mut Random) {
    let at = random.below(bytes.len() + 1);
    bytes.splice(at..at, part.iter().copied());
}
