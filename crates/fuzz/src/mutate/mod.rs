//! Changes to files that leave them plausible enough to get past the first check: right checksums, right lengths, opcodes and fields.
//!
//! A file of several is one input: each part begins with a line `=== NAME`.

pub mod bytes;
pub mod images;
pub mod pickle;
pub mod protobuf;
pub mod safetensors;
pub mod text;
pub mod zip;

use crate::random::Random;

/// What a file is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grammar {
    /// Bytes.
    Bytes,
    /// A zip archive with a pickle in it.
    Zip,
    /// Pickles one behind the other.
    Pickle,
    /// Safetensors.
    Safetensors,
    /// A protocol buffer.
    Protobuf,
    /// PNG or JPEG.
    Image,
    /// Lines of words.
    Toml,
    /// Several CSV files.
    Csv,
    /// A tree of small files.
    Tree,
}

const PART: &[u8] = b"=== ";

/// The parts of an input of several files; what stands in front of the first is none.
pub fn parts(input: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut found: Vec<(String, Vec<u8>)> = Vec::new();
    for line in input.split_inclusive(|&byte| byte == b'\n') {
        match (line.strip_prefix(PART), found.last_mut()) {
            (Some(name), _) => {
                let name = String::from_utf8_lossy(name)
                    .trim_end_matches('\n')
                    .to_owned();
                found.push((name, Vec::new()));
            }
            (None, Some((_, bytes))) => bytes.extend(line),
            (None, None) => {}
        }
    }
    // The line's end in front of the next mark is the mark's.
    for (_, bytes) in &mut found {
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
        }
    }
    found
}

/// One input of several files.
pub fn joined<N: AsRef<str>, B: AsRef<[u8]>>(parts: &[(N, B)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, bytes) in parts {
        out.extend(PART);
        out.extend(name.as_ref().as_bytes());
        out.push(b'\n');
        out.extend(bytes.as_ref());
        out.push(b'\n');
    }
    out
}

/// One to eight changes to `input`; `other` is another input for the same reader.
pub fn mutate(input: &mut Vec<u8>, other: &[u8], grammar: Grammar, random: &mut Random) {
    for _ in 0..1 + random.below(3) * random.below(4) {
        if random.one_in(10) {
            bytes::change(input, other, random);
            continue;
        }
        match grammar {
            Grammar::Bytes => bytes::change(input, other, random),
            Grammar::Zip => zip::change(input, other, random),
            Grammar::Pickle => pickle::change(input, other, random),
            Grammar::Safetensors => safetensors::change(input, other, random),
            Grammar::Protobuf => protobuf::change(input, other, random),
            Grammar::Image => images::change(input, other, random),
            Grammar::Toml => text::change(input, other, ' ', random),
            Grammar::Csv | Grammar::Tree => several(input, other, grammar, random),
        }
    }
    input.truncate(bytes::LONGEST);
}

fn several(input: &mut Vec<u8>, other: &[u8], grammar: Grammar, random: &mut Random) {
    let (mut own, theirs) = (parts(input), parts(other));
    if own.is_empty() {
        return bytes::change(input, other, random);
    }
    let at = random.below(own.len());
    let is_tree = grammar == Grammar::Tree;
    match random.below(if is_tree { 6 } else { 20 }) {
        0 => drop(own.remove(at)),
        1 => own.insert(at, own[random.below(own.len())].clone()),
        2 if !theirs.is_empty() => own.insert(at, random.pick(&theirs).clone()),
        3 => own[at].0 = own[random.below(own.len())].0.clone(),
        4 if is_tree => {
            let mut name = own[at].0.clone().into_bytes();
            text::change(&mut name, b"", '/', random);
            own[at].0 = String::from_utf8_lossy(&name).replace('\n', "");
        }
        _ => {
            let (name, bytes) = &mut own[at];
            let their = theirs.iter().find(|(theirs, _)| theirs == name);
            let their = their.map_or(&[][..], |(_, bytes)| bytes);
            match is_tree && bytes.first().is_some_and(|&first| first >= 0x80) {
                true => images::change(bytes, their, random),
                false => text::change(bytes, their, ',', random),
            }
        }
    }
    *input = joined(&own);
}
