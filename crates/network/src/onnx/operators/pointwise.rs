//! Functions of each element, and what changes nothing.

use engine::Function;

use super::arithmetic::{affine, by_channel};
use super::{Call, one};
use crate::onnx::constant::Constant;
use crate::onnx::import::{Import, Known};
use crate::onnx::view::View;
use crate::op::Op;

/// An operation of each element, however the value is seen.
fn element(import: &mut Import, name: &str, x: &View, op: Op) -> Result<View, String> {
    let y = import.push(name, op, &[&View::map(x.value, x.shape)])?;
    Ok(x.of(y.value))
}

fn function(
    import: &mut Import,
    call: &Call<'_>,
    function: Function,
) -> Result<Vec<Known>, String> {
    call.at_most(1)?;
    one(element(
        import,
        &call.name,
        call.view(0)?,
        Op::Function(function),
    )?)
}

pub(super) fn relu(import: &mut Import, call: &Call<'_>) -> Result<Vec<Known>, String> {
    call.at_most(1)?;
    one(element(import, &call.name, call.view(0)?, Op::RELU)?)
}

pub(super) fn clip(import: &mut Import, call: &Call<'_>) -> Result<Vec<Known>, String> {
    call.at_most(3)?;
    let (mut low, mut high) = (
        call.float("min", f32::NEG_INFINITY)?,
        call.float("max", f32::INFINITY)?,
    );
    for (index, end) in [(1, &mut low), (2, &mut high)] {
        if let Some(constant) = call.constant(index)? {
            match constant.floats() {
                Some(&[value]) => *end = value,
                None => {}
                _ => return Err(format!("an end {:?}", constant.shape)),
            }
        }
    }
    if let (Some(Some(low)), Some(Some(high))) = (code_end(call, 1)?, code_end(call, 2)?) {
        // Between a QuantizeLinear and a DequantizeLinear: fewer bits than the type has.
        let view = call.view(0)?.clone();
        import.narrowed(view.value, low, high);
        return one(view);
    }
    // Older files write the largest numbers for no end.
    let open = |end: f32| {
        if end.abs() >= f32::MAX {
            end.signum() * f32::INFINITY
        } else {
            end
        }
    };
    clipped(import, call, call.view(0)?, (open(low), open(high)))
}

/// An end that is an integer, if the end is there.
fn code_end(call: &Call<'_>, index: usize) -> Result<Option<Option<i64>>, String> {
    let constant = call.constant(index)?;
    Ok(constant.map(|constant| match constant.integers() {
        Some(&[end]) => Some(end),
        _ => None,
    }))
}

fn clipped(
    import: &mut Import,
    call: &Call<'_>,
    x: &View,
    (low, high): (f32, f32),
) -> Result<Vec<Known>, String> {
    one(element(import, &call.name, x, Op::Clip { low, high })?)
}

pub(super) fn max(import: &mut Import, call: &Call<'_>) -> Result<Vec<Known>, String> {
    one_end(import, call, |end| [end, f32::INFINITY])
}

pub(super) fn min(import: &mut Import, call: &Call<'_>) -> Result<Vec<Known>, String> {
    one_end(import, call, |end| [f32::NEG_INFINITY, end])
}

/// A value and a number, or one for each channel.
fn one_end(
    import: &mut Import,
    call: &Call<'_>,
    ends: impl Fn(f32) -> [f32; 2],
) -> Result<Vec<Known>, String> {
    let x = call.view(0).or_else(|_| call.view(1))?;
    let each = by_channel(x, other(call)?)?;
    if each.iter().all(|&end| end == each[0]) {
        let [low, high] = ends(each[0]);
        return clipped(import, call, x, (low, high));
    }
    let op = Op::ClipEach(each.into_iter().map(ends).collect());
    one(element(import, &call.name, x, op)?)
}

/// The operand that is not the value.
fn other<'a>(call: &'a Call<'_>) -> Result<&'a Constant, String> {
    let constant = |operand: &'a Known| match operand {
        Known::Constant(constant) => Some(&**constant),
        Known::View(_) => None,
    };
    let numbers: Vec<_> = call
        .operands
        .iter()
        .flatten()
        .filter_map(constant)
        .collect();
    match &numbers[..] {
        &[number] if call.operands.len() == 2 => Ok(number),
        _ => Err("of two values of the images".to_owned()),
    }
}

pub(super) fn leaky_relu(import: &mut Import, call: &Call<'_>) -> Result<Vec<Known>, String> {
    let alpha = call.float("alpha", 0.01)?;
    function(import, call, Function::LeakyRelu { alpha })
}

pub(super) fn elu(import: &mut Import, call: &Call<'_>) -> Result<Vec<Known>, String> {
    let alpha = call.float("alpha", 1.0)?;
    function(import, call, Function::Elu { alpha })
}

pub(super) fn sigmoid(import: &mut Import, call: &Call<'_>) -> Result<Vec<Known>, String> {
    function(import, call, Function::Sigmoid)
}

pub(super) fn tanh(import: &mut Import, call: &Call<'_>) -> Result<Vec<Known>, String> {
    function(import, call, Function::Tanh)
}

pub(super) fn hard_sigmoid(import: &mut Import, call: &Call<'_>) -> Result<Vec<Known>, String> {
    let (alpha, beta) = (call.float("alpha", 0.2)?, call.float("beta", 0.5)?);
    function(import, call, Function::HardSigmoid { alpha, beta })
}

pub(super) fn hard_swish(import: &mut Import, call: &Call<'_>) -> Result<Vec<Known>, String> {
    function(import, call, Function::HardSwish)
}

/// One slope is a leaky ReLU; one for each channel: `max(x, 0) + slope min(x, 0)`.
pub(super) fn prelu(import: &mut Import, call: &Call<'_>) -> Result<Vec<Known>, String> {
    call.at_most(2)?;
    let x = call.view(0)?.clone();
    let slopes = by_channel(&x, call.floats(1)?)?;
    if slopes.iter().all(|&slope| slope == slopes[0]) {
        let op = Op::Function(Function::LeakyRelu { alpha: slopes[0] });
        return one(element(import, &call.name, &x, op)?);
    }
    let below = Op::Clip {
        low: f32::NEG_INFINITY,
        high: 0.0,
    };
    let above = element(import, &format!("{}.above", call.name), &x, Op::RELU)?;
    let below = element(import, &format!("{}.clip", call.name), &x, below)?;
    let zeros = vec![0.0; slopes.len()];
    let below = affine(
        import,
        &format!("{}.below", call.name),
        &below,
        (slopes, zeros),
    )?;
    let parts = [above, below].map(|part| View::map(part.value, part.shape));
    let sum = import.push(&call.name, Op::Add, &[&parts[0], &parts[1]])?;
    one(x.of(sum.value))
}

pub(super) fn identity(_: &mut Import, call: &Call<'_>) -> Result<Vec<Known>, String> {
    if call.op_type() == "Dropout"
        && call
            .constant(2)?
            .is_some_and(|c| c.integers() != Some(&[0]))
    {
        return Err("dropout in training".to_owned());
    }
    one(call.view(0)?.clone())
}

pub(super) fn cast(import: &mut Import, call: &Call<'_>) -> Result<Vec<Known>, String> {
    let to = call.int("to", 0)?;
    match to {
        // float32, float16, float64: all of them are float32 here.
        1 | 10 | 11 => {
            import.element = to as i32;
            one(call.view(0)?.clone())
        }
        // Between a QuantizeLinear and a DequantizeLinear, on the way to a type that can be clipped and back.
        2..=6 if import.holds_codes(call.view(0)?.value, to as i32) => one(call.view(0)?.clone()),
        _ => Err(format!("to numbers of type {to}")),
    }
}

/// Classes have the order of their logits: at the end it is dropped.
pub(super) fn softmax(import: &mut Import, call: &Call<'_>) -> Result<Vec<Known>, String> {
    if call.output() != import.output {
        return Err("in the middle of a network".to_owned());
    }
    import.note(format!(
        "{} at the end dropped: logits come out",
        call.op_type()
    ));
    one(call.view(0)?.clone())
}
