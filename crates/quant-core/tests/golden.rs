//! Against PyTorch's own fake-quantize kernels: `golden/fake_quant.json`, beside the data folder.
//!
//! PyTorch multiplies by a rounded 1/scale where equation (1) divides. The two may round to neighbouring codes only where x / scale is
//! within a few ulp of a tie; anywhere else every value must have PyTorch's bits.

#[path = "../../../testing/data.rs"]
mod testing;

use quant_core::{QParams, Rounding};
use serde_json::Value;

fn cases() -> Option<Vec<Value>> {
    const FILE: &str = "../golden/fake_quant.json";
    let path = testing::data(&[FILE])?.join(FILE);
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

/// The gradients that training sees, beside those of PyTorch's learnable fake-quantize.
#[cfg(feature = "tensor")]
mod learnable {
    use burn::tensor::{Device, Tensor, TensorData};
    use quant_core::qat::{Grid, Learns, fake_quant};

    use super::*;

    fn leaf(values: Vec<f32>) -> Tensor<1> {
        let shape = [values.len()];
        let device = Device::flex().autodiff();
        Tensor::from_data(TensorData::new(values, shape), &device).require_grad()
    }

    fn close(found: Option<Tensor<1>>, expected: &Value, what: &str) {
        let found: Vec<f32> = found.unwrap().into_data().try_to_vec().unwrap();
        let expected = floats(expected);
        assert_eq!(found.len(), expected.len(), "{what}");
        for (i, (a, b)) in found.iter().zip(&expected).enumerate() {
            let near = (a - b).abs() <= 2e-5 * (1.0 + b.abs());
            assert!(near, "{what}[{i}]: {a}, not {b}");
        }
    }

    #[test]
    fn gradients_are_those_of_pytorchs_learnable_fake_quantize() {
        let Some(cases) = cases() else { return };
        for case in of_kind(&cases, "learnable") {
            let bound = |key: &str| case[key].as_i64().unwrap() as i32;
            let tensor = |key: &str| leaf(floats(&case[key]));
            let (x, scale, zero_point) = (tensor("x"), tensor("scale"), tensor("zero_point"));
            let factor = case["grad_factor"].as_f64().unwrap() as f32;
            let grid = Grid {
                scale: scale.clone(),
                zero_point: Some(zero_point.clone()),
                quant_min: bound("quant_min"),
                quant_max: bound("quant_max"),
                learns: Learns::Step { factor },
            };
            let y = fake_quant(x.clone(), &grid);
            let found = (y * tensor("grad_out")).sum().backward();
            let bits = &case["bits"];
            for (name, key, t) in [
                ("x", "grad_x", x),
                ("scale", "grad_scale", scale),
                ("zero point", "grad_zero_point", zero_point),
            ] {
                close(t.grad(&found), &case[key], &format!("{name}, {bits} bits"));
            }
        }
    }
}
