//! `--form safetensors`.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

use bench::calibration::collect;
use bench::quantized::{Around, quantized};
use bench::settings::{Cell, parse_single};
use dataset::synthetic::Split;
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
        Dtype::F32 => words.map(|&w| f64::from(f32::from_le_bytes(w))).collect(),
        other => panic!("{name} holds {other:?}"),
    })
}

#[test]
fn integers_in_safetensors_are_our_codes_and_give_our_weights() {
    let checkpoint = shipped::checkpoint();
    let images = shipped::images(Split::Test, 8);
    let seen = collect(&checkpoint.network, &images, 2, &AtomicBool::new(false)).unwrap();
    for (bits, mapping, granularity) in [
        (8, "affine", "tensor"),
        (4, "symmetric", "channel"),
        (3, "affine", "channel"),
        (12, "symmetric", "channel"),
    ] {
        let settings = [
            "model.name=shipped".to_owned(),
            format!("weights.bits={bits}"),
            format!("weights.mapping={mapping}"),
            format!("weights.granularity={granularity}"),
            format!("activations.bits={bits}"),
        ];
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
        let made = quantize::to_integers(&net, &facts).unwrap();
        let file = SafeTensors::deserialize(&made.tensors).unwrap();
        for (layer, weights) in &net.codes {
            let part = |part: &str| numbers(&file, &format!("{layer}.{part}"));
            let (codes, scale) = (part("weight").unwrap(), part("weight_scale").unwrap());
            let zeros = part("weight_zero_point").unwrap_or(vec![0.0; scale.len()]);
            let half = f64::from(1 << (bits - 1));
            assert!(codes.iter().all(|q| (-half..half).contains(q)), "{layer}");
            let group = codes.len() / scale.len();
            let from_zero: Vec<f64> = (codes.iter().enumerate())
                .map(|(i, q)| q - zeros[i / group])
                .collect();
            let own: Vec<f64> = weights.codes.iter().map(|&q| q.into()).collect();
            assert_eq!(from_zero, own, "{bits} bits {mapping}: {layer}");
            let real: Vec<f32> = (from_zero.iter().enumerate())
                .map(|(i, q)| *q as f32 * scale[i / group] as f32)
                .collect();
            let name = format!("{layer}.weight");
            assert!(net.state.get(&name).unwrap().data == real, "{layer}");
            let bias = part("bias_quantized").unwrap();
            let own: Vec<f64> = net.bias_codes[layer].iter().map(|&q| q.into()).collect();
            assert_eq!(bias, own, "{layer}");
            assert!(part("input_scale").unwrap()[0] > 0.0);
        }
        let json: serde_json::Value = serde_json::from_str(&made.description).unwrap();
        let config = &json["quantization_config"];
        assert_eq!(config["quant_method"], "compressed-tensors");
        let groups = config["config_groups"].as_object().unwrap();
        let all = groups
            .values()
            .flat_map(|group| group["targets"].as_array().unwrap());
        assert_eq!(all.count(), net.codes.len());
        let first = &groups["group_0"]["weights"];
        assert_eq!(
            (&first["num_bits"], &first["strategy"]),
            (&bits.into(), &granularity.into())
        );
        let (codes, _) = net.activations.as_ref().unwrap();
        for (site, code) in codes {
            let said = &json["values"][site];
            assert_eq!(said["zero_point"], code.zero_point, "{site}");
            assert_eq!(said["scale"].as_f64().unwrap() as f32, code.scale, "{site}");
        }
        assert_eq!(json["metadata"]["quantlab.run_id"], "0123");
        assert_eq!(json["graph"][0]["name"], "conv1");
    }
}

#[test]
fn the_integers_of_a_run_lie_beside_their_description_and_have_no_peer() {
    let place = Place::new(EXPERIMENT);
    let set = [
        "--set",
        "model.weights=net.safetensors",
        "--set",
        "dataset=synthetic",
    ];
    let form = ["--form", "safetensors"];
    let line = place.refused(&[&form[..], &["--peers", "python3"]].concat());
    assert!(line.contains("--form qdq"), "{line}");
    let done = place.export(&[&set[..], &form[..]].concat());
    assert!(done.status.success(), "{}", said(&done));
    let bytes = std::fs::read(place.path("net.onnx")).unwrap();
    assert!(SafeTensors::deserialize(&bytes).is_ok());
    let text = std::fs::read_to_string(place.path("net.onnx.json")).unwrap();
    assert!(text.contains("int-quantized"), "{text:.200}");
}
