//! Batch normalization: kept as one behind a layer of its own, elsewhere a factor and a shift for each channel.

use super::arithmetic::affine;
use super::layers::put;
use super::{Call, one};
use crate::onnx::import::{Import, Known};
use crate::onnx::view::View;
use crate::op::Op;

pub(super) fn batch(import: &mut Import, call: &Call<'_>) -> Result<Vec<Known>, String> {
    call.at_most(5)?;
    if call.int("training_mode", 0)? != 0 || (call.opset < 7 && call.int("is_test", 0)? == 0) {
        return Err(
            "it normalizes by the batch (training_mode); export the model in eval mode".to_owned(),
        );
    }
    let x = call.view(0)?.clone();
    let epsilon = call.float("epsilon", 1e-5)?;
    let mut parts = Vec::new();
    for index in 1..5 {
        let part = call.floats(index)?;
        if part.shape != [x.shape.channels] {
            return Err(format!(
                "operand {index} {:?} for {} channels",
                part.shape, x.shape.channels
            ));
        }
        parts.push(part.floats().unwrap_or_default().to_vec());
    }
    let rootless = |&v: &f32| f64::from(v) + f64::from(epsilon) <= 0.0 || v < 0.0;
    if let Some(variance) = parts[3].iter().find(|v| rootless(v)) {
        return Err(format!(
            "a variance of {variance} and an epsilon of {epsilon} have no root"
        ));
    }
    if x.channel_axis().is_none() && !x.is_flat() {
        return Err("its operand has no channels of its own".to_owned());
    }
    let behind_layer = import.own(x.value).is_some_and(|node| node.op.is_layer());
    if behind_layer {
        let op = Op::BatchNorm {
            epsilon: f64::from(epsilon),
        };
        let whole = View::map(x.value, x.shape);
        let y = import.push(&call.name, op, &[&whole])?;
        for (part, data) in ["weight", "bias", "running_mean", "running_var"]
            .into_iter()
            .zip(parts)
        {
            put(import, &y, part, vec![x.shape.channels], data)?;
        }
        return one(x.of(y.value));
    }
    let factor =
        |c: usize| f64::from(parts[0][c]) / (f64::from(parts[3][c]) + f64::from(epsilon)).sqrt();
    let channels = 0..x.shape.channels;
    let scale: Vec<f32> = channels.clone().map(|c| factor(c) as f32).collect();
    let shift =
        channels.map(|c| (f64::from(parts[1][c]) - f64::from(parts[2][c]) * factor(c)) as f32);
    let shift = shift.collect();
    one(affine(import, &call.name, &x, (scale, shift))?)
}
