//! Against PyTorch's own fake-quantize kernels: `golden/fake_quant.json`, beside the data folder.
//!
//! PyTorch multiplies by a rounded 1/scale where equation (1) divides. The two may round to neighbouring codes only where x / scale is
//! within a few ulp of a tie; anywhere else every value must have PyTorch's bits.

use quant_core::{QParams, Rounding};
use serde_json::Value;

fn cases() -> Option<Vec<Value>> {
    let path = std::env::var_os("QUANTLAB_DATA")
        .map(|data| std::path::Path::new(&data).join("../golden/fake_quant.json"))
        .filter(|path| path.exists());
    let Some(path) = path else {
        eprintln!("skipped: QUANTLAB_DATA is not set");
        return None;
    };
    let text = std::fs::read_to_string(path).expect("the golden file is readable");
    Some(serde_json::from_str(&text).expect("the golden file is JSON"))
}

fn of_kind<'a>(cases: &'a [Value], kind: &str) -> Vec<&'a Value> {
    let found: Vec<&Value> = cases.iter().filter(|case| case["kind"] == kind).collect();
    assert!(!found.is_empty(), "no case of kind {kind}");
    found
}

fn floats(value: &Value) -> Vec<f32> {
    value
        .as_array()
        .expect("a list")
        .iter()
        .map(|v| v.as_f64().expect("a number") as f32)
        .collect()
}

/// The parameters of channel `channel`.
fn params(case: &Value, channel: usize) -> QParams {
    let number = |key: &str| match &case[key] {
        Value::Array(list) => list[channel].as_f64().expect("a number"),
        single => single.as_f64().expect("a number"),
    };
    QParams {
        scale: number("scale") as f32,
        zero_point: number("zero_point") as i32,
        quant_min: number("quant_min") as i32,
        quant_max: number("quant_max") as i32,
    }
}

/// Checks one run of values; returns how many differ at a tie.
fn check(q: &QParams, x: &[f32], expected: &[f32]) -> usize {
    assert_eq!(x.len(), expected.len());
    let mut ties = 0;
    for (i, (&x, &expected)) in x.iter().zip(expected).enumerate() {
        let y = q.fake_quant(x, Rounding::HalfEven, i as u64);
        if y == expected {
            continue;
        }
        let v = f64::from(x) / f64::from(q.scale);
        let from_tie = (v - v.floor() - 0.5).abs();
        assert!(
            from_tie <= v.abs() * 4.0 * f64::from(f32::EPSILON),
            "{x} / {} = {v}: {y} but {expected}",
            q.scale
        );
        let steps = (f64::from(y) - f64::from(expected)).abs() / f64::from(q.scale);
        assert!(
            (steps - 1.0).abs() < 1e-3,
            "{x}: {y} but {expected}, {steps} steps apart"
        );
        ties += 1;
    }
    ties
}

#[test]
fn per_tensor_values_are_pytorchs() {
    let Some(cases) = cases() else { return };
    let (mut n, mut ties) = (0, 0);
    for case in of_kind(&cases, "per_tensor") {
        let x = floats(&case["x"]);
        ties += check(&params(case, 0), &x, &floats(&case["y"]));
        n += x.len();
    }
    println!("{n} values, {ties} one step apart at a tie");
    assert!(
        ties * 100 <= n,
        "{ties} of {n} values at ties is no accident"
    );
}

#[test]
fn per_channel_values_are_pytorchs() {
    let Some(cases) = cases() else { return };
    for case in of_kind(&cases, "per_channel") {
        let (x, y) = (floats(&case["x"]), floats(&case["y"]));
        let width = case["shape"][1].as_u64().expect("a width") as usize;
        for (channel, (x, y)) in x.chunks(width).zip(y.chunks(width)).enumerate() {
            check(&params(case, channel), x, y);
        }
    }
}

#[test]
fn the_forward_pass_of_a_learned_scale_is_pytorchs() {
    let Some(cases) = cases() else { return };
    for case in of_kind(&cases, "learnable") {
        check(&params(case, 0), &floats(&case["x"]), &floats(&case["y"]));
    }
}
