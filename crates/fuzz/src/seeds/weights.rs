//! Checkpoints: those that PyTorch wrote for the tests of `resnet`, and small ones made here.

use std::collections::BTreeMap;

use anyhow::Result;
use quant_core::QParams;
use quantize::StoredQuantizers;
use resnet::Arch;

use super::{crates, with_ending};
use crate::mutate::{safetensors, zip};

/// Archives of `torch.save`.
pub fn zips() -> Result<Vec<Vec<u8>>> {
    let folder = crates().join("resnet/tests/fixtures");
    let mut found = with_ending(&folder, "-zip.pth")?;
    let archive = |pickle: Vec<u8>| {
        let entries = [
            ("a/data.pkl", pickle),
            ("a/byteorder", b"little".to_vec()),
            ("a/data/0", vec![0, 0, 128, 63]),
        ];
        zip::whole(&entries.map(|(name, bytes)| (name.to_owned(), bytes)), true)
    };
    found.extend(
        [
            network(),
            module(),
            tensors(&[("weight", &[1]), ("bias", &[1])]),
        ]
        .map(archive),
    );
    Ok(found)
}

/// The container before it, and plain pickles.
pub fn legacy() -> Result<Vec<Vec<u8>>> {
    let folder = crates().join("resnet/tests/fixtures");
    let mut found = with_ending(&folder, "-legacy.pth")?;
    found.extend(with_ending(&folder, "-protocol4.pth")?);
    let container = |pickle: Vec<u8>| {
        let mut out = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.".to_vec();
        out.extend(b"\x80\x02}X\x0d\0\0\0little_endian\x88s.");
        out.extend(pickle);
        out.extend(b"\x80\x02](X\x01\0\0\x000e.\x01\0\0\0\0\0\0\0\0\0\x80\x3f");
        out
    };
    found.extend(
        [
            network(),
            module(),
            tensors(&[("weight", &[1]), ("bias", &[1])]),
        ]
        .map(container),
    );
    Ok(found)
}

/// A dictionary of tensors of one storage of one number, seen through strides of 0.
fn tensors(all: &[(&str, &[usize])]) -> Vec<u8> {
    let mut out = b"\x80\x02}(".to_vec();
    for (name, shape) in all {
        text(&mut out, name);
        tensor(&mut out, shape);
    }
    out.extend(b"u.");
    out
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.push(b'X');
    out.extend((text.len() as u32).to_le_bytes());
    out.extend(text.as_bytes());
}

fn tensor(out: &mut Vec<u8>, shape: &[usize]) {
    out.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x01tQK\0(");
    for &extent in shape {
        out.push(b'M');
        out.extend((extent as u16).to_le_bytes());
    }
    out.extend(b"t(");
    out.extend(b"K\0".repeat(shape.len()));
    out.extend(b"t\x89ccollections\nOrderedDict\n)RtR");
}

/// Every tensor of a whole network, by its name: torchvision's ResNet-18, pruned to one channel a layer and two classes.
fn shapes() -> Vec<(String, Vec<usize>)> {
    let arch = Arch::parse("resnet18").expect("an architecture");
    let pruned = |(name, mut shape): (String, Vec<usize>)| {
        let is_first = name == "conv1.weight";
        if let Some(outputs) = shape.get_mut(0) {
            *outputs = if name.starts_with("fc.") { 2 } else { 1 };
        }
        if let Some(inputs) = shape.get_mut(1).filter(|_| !is_first) {
            *inputs = 1;
        }
        (name, shape)
    };
    arch.expected().into_iter().map(pruned).collect()
}

fn network() -> Vec<u8> {
    let shapes = shapes();
    let all = shapes
        .iter()
        .map(|(name, shape)| (name.as_str(), &shape[..]));
    tensors(&all.collect::<Vec<_>>())
}

/// A whole model: two modules, one within the other.
fn module() -> Vec<u8> {
    let mut out = b"\x80\x02ctorch.nn.modules.container\nSequential\n)\x81}(".to_vec();
    text(&mut out, "_modules");
    out.extend(b"}");
    text(&mut out, "0");
    out.extend(b"ctorch.nn.modules.linear\nLinear\n)\x81}(");
    text(&mut out, "_parameters");
    out.extend(b"}(");
    for name in ["weight", "bias"] {
        text(&mut out, name);
        tensor(&mut out, &[1]);
    }
    out.extend(b"u");
    text(&mut out, "_buffers");
    out.extend(b"}");
    text(&mut out, "_non_persistent_buffers_set");
    out.extend(b"c__builtin__\nset\n](X\x01\0\0\0xe\x85Rubsub.");
    out
}

/// A whole network, and files of a few tensors.
pub fn safetensors() -> Vec<Vec<u8>> {
    let file = |tensors: &[(&str, &str, &str, usize)]| {
        let mut data = 0;
        let entries = tensors.iter().map(|(name, dtype, shape, bytes)| {
            data += bytes;
            format!("\"{name}\":{{\"dtype\":\"{dtype}\",\"shape\":{shape},\"data_offsets\":[{},{data}]}}", data - bytes)
        });
        let entries: Vec<String> = entries.collect();
        let header = format!(
            "{{\"__metadata__\":{{\"format\":\"pt\"}},{}}}",
            entries.join(",")
        );
        safetensors::whole(header.as_bytes(), &vec![0; data])
    };
    let shapes = shapes();
    let text: Vec<String> = shapes
        .iter()
        .map(|(_, shape)| format!("{shape:?}"))
        .collect();
    let whole = shapes.iter().zip(&text).map(|((name, shape), text)| {
        let numbers = shape.iter().product::<usize>();
        (name.as_str(), "F32", text.as_str(), 4 * numbers)
    });
    vec![
        file(&whole.collect::<Vec<_>>()),
        file(&[("weight", "F32", "[2,2]", 16), ("bias", "F32", "[2]", 8)]),
        file(&[
            ("conv1.weight", "F16", "[1,1,3,3]", 18),
            ("bn1.weight", "BF16", "[1]", 2),
            ("bn1.running_var", "F64", "[1]", 8),
        ]),
        file(&[
            ("module.fc.weight_orig", "F32", "[1,1]", 4),
            ("module.fc.weight_mask", "F32", "[1,1]", 4),
            ("n", "I64", "[]", 8),
        ]),
        file(&[
            ("a.quantizer.weight.b.scale", "F32", "[0]", 0),
            ("u8", "U8", "[3]", 3),
            ("bool", "BOOL", "[1]", 1),
        ]),
    ]
}

/// What a network that was trained with quantizers keeps beside its weights.
pub fn quantizers() -> Result<Vec<Vec<u8>>> {
    let grid = |scale, zero_point, quant_min, quant_max| QParams {
        scale,
        zero_point,
        quant_min,
        quant_max,
    };
    let weights = BTreeMap::from([
        ("conv".to_owned(), (vec![0.25; 3], 4)),
        ("fc".to_owned(), (vec![0.25; 2], 8)),
    ]);
    let sites = [
        ("input", grid(0.1, 3, 0, 255)),
        ("conv", grid(0.5, 0, 0, 15)),
        ("relu", grid(0.5, 0, 0, 15)),
        ("pool", grid(0.5, 0, 0, 15)),
        ("fc", grid(2.0, 0, -128, 127)),
    ];
    let sites = sites.map(|(name, grid)| (name.to_owned(), grid));
    let all = [
        StoredQuantizers::with(weights.clone(), &sites.into_iter().collect()),
        StoredQuantizers::with(weights, &Default::default()),
    ];
    all.iter()
        .map(|stored| Ok(resnet::to_safetensors(stored.tensors(), &BTreeMap::new())?))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::readers::{self, Verdict};

    #[test]
    fn readers_of_checkpoints_begin_with_a_network_that_they_take() {
        let seeds = [
            ("pth-zip", zips().unwrap()),
            ("pth-legacy", legacy().unwrap()),
            ("safetensors", safetensors()),
        ];
        for (name, seeds) in seeds {
            let reader = readers::READERS
                .iter()
                .find(|reader| reader.name == name)
                .unwrap();
            let place = tempfile::tempdir().unwrap();
            let verdicts = seeds.iter().map(|seed| (reader.read)(place.path(), seed));
            let verdicts: Vec<Verdict> = verdicts.collect();
            assert!(verdicts.contains(&Verdict::Taken), "{name}: {verdicts:?}");
        }
    }
}
