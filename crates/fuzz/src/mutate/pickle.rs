//! Pickles, changed opcode by opcode.
//!
//! Opcodes and the lengths of what follows them: `Lib/pickletools.py` of CPython 3.13.

use crate::random::{Random, awkward, awkward_text};

/// Opcodes with what they are usually followed by.
const SNIPPETS: &[&[u8]] = &[
    b"(",
    b")",
    b"]",
    b"}",
    b"t",
    b"l",
    b"d",
    b"u",
    b"s",
    b"a",
    b"e",
    b"0",
    b"1",
    b"2",
    b".",
    b"N",
    b"\x85",
    b"\x86",
    b"\x87",
    b"\x88",
    b"\x89",
    b"\x8f",
    b"\x90",
    b"\x91",
    b"\x93",
    b"\x94",
    b"R",
    b"Q",
    b"b",
    b"\x81",
    b"\x92",
    b"q\0",
    b"q\x01",
    b"h\0",
    b"h\x01",
    b"h\x02",
    b"K\0",
    b"K\x01",
    b"M\0\x0c",
    b"J\xff\xff\xff\xff",
    b"I01\n",
    b"L5L\n",
    b"F0.5\n",
    b"G\0\0\0\0\0\0\0\0",
    b"\x8a\x01\x7f",
    b"\x80\x02",
    b"\x95\0\0\0\0\0\0\0\0",
    b"C\x01b",
    b"B\x02\0\0\0ab",
    b"U\x02u1",
    b"X\x07\0\0\0storage",
    b"X\x03\0\0\0cpu",
    b"X\x01\0\0\x000",
    b"ctorch\nFloatStorage\n",
    b"ctorch\nHalfStorage\n",
    b"ctorch\nLongStorage\n",
    b"ctorch\nUntypedStorage\n",
    b"ctorch._utils\n_rebuild_tensor_v2\n",
    b"ctorch._utils\n_rebuild_tensor\n",
    b"ctorch._utils\n_rebuild_parameter\n",
    b"ctorch._utils\n_rebuild_qtensor\n",
    b"ctorch._utils\n_rebuild_sparse_tensor\n",
    b"ctorch._tensor\n_rebuild_from_type_v2\n",
    b"ctorch._utils\n_rebuild_parameter_with_state\n",
    b"ctorch\nfloat32\n",
    b"ctorch\nTensor\n",
    b"ctorch.serialization\n_get_layout\n",
    b"ccollections\nOrderedDict\n",
    b"ctorch.nn.modules.conv\nConv2d\n",
    b"ctorch.nn.modules.container\nSequential\n",
    b"X\x0b\0\0\0_parameters",
    b"X\x08\0\0\0_buffers",
    b"X\x08\0\0\0_modules",
    b"X\x1b\0\0\0_non_persistent_buffers_set",
    b"c__builtin__\nset\n",
    b"cposix\nsystem\n",
    b"ccopyreg\n_reconstructor\n",
    b"cbuiltins\nobject\n",
    b"cnumpy.core.multiarray\n_reconstruct\n",
    b"cnumpy\nndarray\n",
    b"cnumpy\ndtype\n",
    b"X\x04\0\0\0data",
    b"X\x06\0\0\0labels",
    b"X\x06\0\0\0weight",
    b"X\x04\0\0\0bias",
    b"V1\n",
    b"g0\n",
    b"p0\n",
    b"P0\n",
    b"j\0\0\0\0",
    b"r\0\0\0\0",
];

/// Where each opcode begins, and one more: where the last one that can be told ends.
fn starts(bytes: &[u8]) -> Vec<usize> {
    let mut starts = vec![0];
    let mut at = 0;
    while at < bytes.len() {
        let counted = |width: usize| -> Option<usize> {
            let raw = bytes.get(at + 1..at + 1 + width)?;
            let mut number = [0; 8];
            number[..width].copy_from_slice(raw);
            usize::try_from(u64::from_le_bytes(number))
                .ok()?
                .checked_add(1 + width)
        };
        let lines = |n: usize| -> Option<usize> {
            let mut ends = bytes[at + 1..]
                .iter()
                .enumerate()
                .filter(|(_, b)| **b == b'\n');
            ends.nth(n - 1).map(|(end, _)| end + 2)
        };
        let len = match bytes[at] {
            b'K' | b'h' | b'q' | 0x80 | 0x82 => Some(2),
            b'M' | 0x83 => Some(3),
            b'J' | b'j' | b'r' | 0x84 => Some(5),
            b'G' | 0x95 => Some(9),
            b'U' | b'C' | 0x8a | 0x8c => counted(1),
            b'T' | b'B' | b'X' | 0x8b => counted(4),
            0x8d | 0x8e | 0x96 => counted(8),
            b'F' | b'I' | b'L' | b'V' | b'S' | b'g' | b'p' | b'P' => lines(1),
            b'c' | b'i' => lines(2),
            _ => Some(1),
        };
        match len.and_then(|len| at.checked_add(len)) {
            Some(next) if next <= bytes.len() => at = next,
            _ => break,
        }
        starts.push(at);
    }
    starts
}

/// One change to a pickle.
pub fn change(bytes: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    let own = starts(bytes);
    let place = |random: &mut Random, starts: &[usize]| *random.pick(starts);
    let part = |random: &mut Random, starts: &[usize]| {
        let first = random.below(starts.len());
        let last = (first + 1 + random.below(6)).min(starts.len() - 1);
        starts[first]..starts[last]
    };
    match random.below(8) {
        0 => drop(bytes.drain(part(random, &own))),
        1 | 2 => {
            let at = place(random, &own);
            let snippet = *random.pick(SNIPPETS);
            bytes.splice(at..at, snippet.iter().copied());
        }
        3 => {
            let gone = part(random, &own);
            let snippet = *random.pick(SNIPPETS);
            bytes.splice(gone, snippet.iter().copied());
        }
        4 => {
            let theirs = starts(other);
            let taken = other[part(random, &theirs)].to_vec();
            let at = place(random, &own);
            bytes.splice(at..at, taken);
        }
        5 => {
            let taken = bytes[part(random, &own)].to_vec();
            let at = place(random, &own);
            let times = if random.one_in(8) {
                1 + random.below(200)
            } else {
                1
            };
            bytes.splice(at..at, taken.repeat(times));
        }
        6 => number(bytes, &own, random),
        _ => text(bytes, &own, random),
    }
}

/// Another number where there is one.
fn number(bytes: &mut Vec<u8>, starts: &[usize], random: &mut Random) {
    let numbers = starts
        .iter()
        .filter(|&&at| matches!(bytes.get(at), Some(b'K' | b'M' | b'J' | 0x8a)));
    let numbers: Vec<usize> = numbers.copied().collect();
    if numbers.is_empty() {
        return;
    }
    let at = *random.pick(&numbers);
    let end = starts
        .iter()
        .copied()
        .find(|&start| start > at)
        .unwrap_or(bytes.len());
    let value = awkward(random).to_le_bytes();
    let new = match random.below(4) {
        0 => vec![b'K', value[0]],
        1 => vec![b'M', value[0], value[1]],
        2 => [b"J", &value[..4]].concat(),
        _ => [b"\x8a\x09", &value[..], &[0]].concat(),
    };
    bytes.splice(at..end, new);
}

/// Another text where there is one.
fn text(bytes: &mut Vec<u8>, starts: &[usize], random: &mut Random) {
    let texts = starts
        .iter()
        .filter(|&&at| matches!(bytes.get(at), Some(b'X' | b'U' | 0x8c)));
    let texts: Vec<usize> = texts.copied().collect();
    if texts.is_empty() {
        return;
    }
    let at = *random.pick(&texts);
    let end = starts
        .iter()
        .copied()
        .find(|&start| start > at)
        .unwrap_or(bytes.len());
    let word = match random.below(3) {
        0 => awkward_text(random),
        1 => "layer1.0.conv1.weight".to_owned(),
        _ => "k".repeat(random.below(2000)),
    };
    let new = [
        b"X",
        &(word.len() as u32).to_le_bytes()[..],
        word.as_bytes(),
    ]
    .concat();
    bytes.splice(at..end, new);
}
