//! Exported files in a real ONNX Runtime, where there is one.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use bench::calibration::collect;
use bench::export::peers::compare;
use bench::quantized::{Around, quantized};
use bench::settings::{Cell, parse_single};
use dataset::synthetic::Split;
use quantize::Form;

use crate::shipped;

/// A Python with onnx and onnxruntime, which no other test needs.
fn python() -> Option<PathBuf> {
    let found = std::env::var_os("QUANTLAB_PYTHON");
    if found.is_none() {
        eprintln!("skipped: QUANTLAB_PYTHON is not set");
    }
    found.map(PathBuf::from)
}

/// Where products of two summands cannot saturate, which is a matter of the processor or of a session's option.
#[test]
fn onnx_runtimes_integers_are_ours_with_its_arithmetic_code_for_code() {
    let Some(python) = python() else { return };
    let checkpoint = shipped::checkpoint();
    let images = shipped::images(Split::Test, 40);
    let running = AtomicBool::new(false);
    let seen = collect(&checkpoint.network, &images, 2, &running).unwrap();
    for bits in [8, 4] {
        let settings = [
            "model.name=resnet20-synthetic".to_owned(),
            "method=ptq".to_owned(),
            "weights.mapping=symmetric".to_owned(),
            "weights.granularity=channel".to_owned(),
            format!("weights.bits={bits}"),
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
        let file = quantize::to_onnx(&net, Form::Qdq, &BTreeMap::new()).unwrap();
        let found = compare(&net, &file, &images, (&python, 2), &|_| {}).unwrap();
        let [_, precise, unfused] = &found.theirs[..] else {
            panic!("three modes")
        };
        assert_eq!(precise.integers, [30, 30]);
        assert_eq!(precise.predictions.top1, found.ours[0].top1);
        assert_eq!(precise.values.len(), 32);
        for value in &precise.values {
            assert_eq!(
                (value.differ, value.n > 0),
                (0, true),
                "{bits} bits, {}",
                value.node
            );
        }
        assert_eq!(unfused.integers[0], 0);
    }
}
