//! `--form safetensors`.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

use bench::calibration::collect;
use bench::quantized::{Around, quantized};
use bench::settings::{Cell, parse_single};
use dataset::synthetic::Split;
use quantize::Packing;
use safetensors::{Dtype, SafeTensors};

use crate::place::{EXPERIMENT, Place, said};
use crate::shipped;

/// Numbers of a tensor of integers or of float32.
fn numbers(file: &SafeTensors<'_>, name: &str) -> Option<Vec<f64>> {
    let view = file.tensor(name).ok()?;
    let bytes = view.data();
    let words = bytes.as_chunks::<4>().0.iter();
    Some(match view.dtype() {
        Dtype::I8 => bytes.iter().map(|&b| f64::from(b as i8)).collect(),
        Dtype::I16 => {
            let words = bytes.as_chunks::<2>().0.iter();
            words.map(|&w| f64::from(i16::from_le_bytes(w))).collect()
        }
        Dtype::I32 => words.map(|&w| f64::from(i32::from_le_bytes(w))).collect(),
        Dtype::I64 => {
            let words = bytes.as_chunks::<8>().0.iter();
            words.map(|&w| i64::from_le_bytes(w) as f64).collect()
        }
        Dtype::F32 => words.map(|&w| f64::from(f32::from_le_bytes(w))).collect(),
        other => panic!("{name} holds {other:?}"),
    })
}

/// Codes of `bits` bits, each row of `columns` of them by itself in words: code i is the bits from `i * bits` on, less 2^(bits - 1).
fn unpacked(words: &[f64], columns: usize, bits: usize) -> Vec<f64> {
    let row = words.chunks((columns * bits).div_ceil(32)).map(|row| {
        let row: Vec<u32> = row.iter().map(|&word| word as i32 as u32).collect();
        let bit = |k: usize| f64::from(row[k / 32] >> (k % 32) & 1);
        let code = |i: usize| {
            (0..bits)
                .map(|j| bit(i * bits + j) * f64::from(1 << j))
                .sum::<f64>()
        };
        (0..columns)
            .map(|i| code(i) - f64::from(1 << (bits - 1)))
            .collect::<Vec<_>>()
    });
    row.flatten().collect()
}

/// `[rows, columns]` to `[columns, rows]`.
fn transposed(values: &[f64], columns: usize) -> Vec<f64> {
    let column = |c: usize| values.iter().skip(c).step_by(columns);
    (0..columns).flat_map(column).copied().collect()
}

/// A layer's codes, scales and zero points; one scale and one zero point for each weight.
fn weights(file: &SafeTensors<'_>, layer: &str, bits: usize) -> [Vec<f64>; 3] {
    let part = |part: &str| numbers(file, &format!("{layer}.{part}"));
    let extents = |part: &str| {
        file.tensor(&format!("{layer}.{part}"))
            .unwrap()
            .shape()
            .to_vec()
    };
    let (packed, plain) = (part("weight_packed"), part("weight"));
    assert_ne!(packed.is_some(), plain.is_some(), "{layer}");
    let shape: Vec<usize> = match part("weight_shape") {
        Some(shape) => shape.iter().map(|&extent| extent as usize).collect(),
        None => extents("weight"),
    };
    let (rows, columns) = (shape[0], shape[1..].iter().product::<usize>());
    let scale = part("weight_scale").unwrap();
    let groups = match scale.len() {
        1 => 0,
        n => n / rows,
    };
    let zero = match part("weight_zero_point") {
        None => vec![0.0; scale.len()],
        Some(words) if packed.is_some() && groups > 0 => {
            transposed(&unpacked(&transposed(&words, groups), rows, bits), rows)
        }
        Some(zero) => zero,
    };
    let codes = packed.map_or_else(|| plain.unwrap(), |words| unpacked(&words, columns, bits));
    let size = if groups > 1 { GROUP } else { columns };
    let each = |table: &[f64]| -> Vec<f64> {
        let of = |i: usize| table[groups * (i / columns) + i % columns / size];
        (0..rows * columns)
            .map(|i| if groups == 0 { table[0] } else { of(i) })
            .collect()
    };
    let (scale, zero) = (each(&scale), each(&zero));
    [codes, scale, zero]
}

/// Weights in a group. The shipped network's first layer has 27 of each channel, so that its last group is short.
const GROUP: usize = 16;

#[test]
fn integers_in_safetensors_are_our_codes_and_give_our_weights_packed_or_not() {
    let checkpoint = shipped::checkpoint();
    let images = shipped::images(Split::Test, 8);
    let seen = collect(&checkpoint.network, &images, 2, &AtomicBool::new(false)).unwrap();
    for (bits, mapping, granularity) in [
        (8, "affine", "tensor"),
        (4, "symmetric", "channel"),
        (3, "affine", "channel"),
        (12, "symmetric", "channel"),
        (4, "affine", "group"),
        (2, "symmetric", "group"),
        (10, "affine", "group"),
    ] {
        let mut settings = vec![
            "model.name=shipped".to_owned(),
            format!("weights.bits={bits}"),
            format!("weights.mapping={mapping}"),
            format!("weights.granularity={granularity}"),
        ];
        match granularity {
            "group" => settings.push(format!("weights.group_size={GROUP}")),
            _ => settings.push(format!("activations.bits={bits}")),
        }
        let settings = settings.iter().map(|said| parse_single(said).unwrap());
        let cell = Cell::new(&settings.collect()).unwrap();
        let net = quantized(
            &checkpoint,
            &cell.quantization.unwrap(),
            Some(&seen),
            &Around::alone(),
        )
        .unwrap();
        let facts = BTreeMap::from([("quantlab.run_id".to_owned(), "0123".to_owned())]);
        for packing in [Packing::Plain, Packing::Words] {
            let made = quantize::to_integers(&net, packing, &facts).unwrap();
            let file = SafeTensors::deserialize(&made.tensors).unwrap();
            let said = format!("{bits} bits, {mapping}, {granularity}, {packing:?}");
            for report in &net.layers {
                let layer = &report.layer;
                let part = |part: &str| numbers(&file, &format!("{layer}.{part}"));
                let [codes, scale, zeros] = weights(&file, layer, bits);
                let is_packed = part("weight_packed").is_some();
                assert_eq!(
                    is_packed,
                    packing == Packing::Words && bits <= 8,
                    "{said}: {layer}"
                );
                let half = f64::from(1 << (bits - 1));
                assert!(codes.iter().all(|q| (-half..half).contains(q)), "{layer}");
                let from_zero: Vec<f64> =
                    codes.iter().zip(&zeros).map(|(q, zero)| q - zero).collect();
                let real = from_zero.iter().zip(&scale);
                let real: Vec<f32> = real.map(|(q, scale)| *q as f32 * *scale as f32).collect();
                let name = format!("{layer}.weight");
                assert!(
                    net.state.get(&name).unwrap().data == real,
                    "{said}: {layer}"
                );
                if granularity == "group" {
                    continue;
                }
                let own: Vec<f64> = net.codes[layer].codes.iter().map(|&q| q.into()).collect();
                assert_eq!(from_zero, own, "{said}: {layer}");
                let bias = part("bias_quantized").unwrap();
                let own: Vec<f64> = net.bias_codes[layer].iter().map(|&q| q.into()).collect();
                assert_eq!(bias, own, "{layer}");
                assert!(part("input_scale").unwrap()[0] > 0.0);
            }
            let json: serde_json::Value = serde_json::from_str(&made.description).unwrap();
            let config = &json["quantization_config"];
            assert_eq!(config["quant_method"], "compressed-tensors");
            let format = match (packing, bits) {
                (Packing::Words, ..=8) => "pack-quantized",
                _ => "int-quantized",
            };
            assert_eq!(config["format"], format);
            let groups = config["config_groups"].as_object().unwrap();
            let all = groups
                .values()
                .flat_map(|group| group["targets"].as_array().unwrap());
            assert_eq!(all.count(), net.layers.len());
            let first = &groups["group_0"]["weights"];
            assert_eq!(
                (&first["num_bits"], &first["strategy"]),
                (&bits.into(), &granularity.into())
            );
            assert_eq!(first["group_size"] == GROUP, granularity == "group");
            for (site, code) in net.activations.iter().flat_map(|(codes, _)| codes) {
                let said = &json["values"][site];
                assert_eq!(said["zero_point"], code.zero_point, "{site}");
                assert_eq!(said["scale"].as_f64().unwrap() as f32, code.scale, "{site}");
            }
            assert_eq!(json["metadata"]["quantlab.run_id"], "0123");
            assert_eq!(json["graph"][0]["name"], "conv1");
        }
    }
}

#[test]
fn the_integers_of_a_run_lie_beside_their_description_and_have_no_peer() {
    let set = [
        "--set",
        "model.weights=net.safetensors",
        "--set",
        "dataset=synthetic",
    ];
    for (form, format) in [
        ("safetensors", "int-quantized"),
        ("packed", "pack-quantized"),
    ] {
        let place = Place::new(EXPERIMENT);
        let form = ["--form", form];
        let line = place.refused(&[&form[..], &["--peers", "python3"]].concat());
        assert!(line.contains("--form qdq"), "{line}");
        let done = place.export(&[&set[..], &form[..]].concat());
        assert!(done.status.success(), "{}", said(&done));
        let bytes = std::fs::read(place.path("net.onnx")).unwrap();
        assert!(SafeTensors::deserialize(&bytes).is_ok());
        let text = std::fs::read_to_string(place.path("net.onnx.json")).unwrap();
        assert!(text.contains(format), "{text:.200}");
    }
}
