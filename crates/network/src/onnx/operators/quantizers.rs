//! Quantizers in a file: of weights they are carried out, of activations they are left out, so that the network is read in float.

use super::{Call, axis, one};
use std::rc::Rc;

use engine::{Padding, Window};

use crate::onnx::constant::{self, Constant, Data};
use crate::onnx::import::{Import, Known};
use crate::onnx::view::View;
use crate::onnx::write::Integer;
use crate::op::Op;

pub(super) fn quantize(import: &mut Import, call: &Call<'_>) -> Result<Vec<Known>, String> {
    let grid = grid(call, None)?;
    let view = call.view(0)?.clone();
    let (&[scale], &[zero_point]) = (&grid.scales[..], &grid.zero_points[..]) else {
        return Err("an activation with several scales".to_owned());
    };
    let (low, high) = codes_of(result_type(call)?)?;
    import.note("quantizers of activations count with method = stored alone".to_owned());
    let code = engine::Code {
        scale,
        zero_point: zero_point as i32,
        quant_min: low as i32,
        quant_max: high as i32,
    };
    let view = stepped(import, &call.name, view, &code)?;
    import.quantized(view.value, code);
    one(view)
}

/// What is rounded to `code`: `x`, or where that has only been moved since it was rounded to other steps, a node of its own that hands
/// it on (a pool of single pixels), as one value has one code.
fn stepped(import: &mut Import, name: &str, x: View, code: &engine::Code) -> Result<View, String> {
    let source = import.source(x.value);
    let before = import.code(source).filter(|_| source != x.value);
    let step = |code: &engine::Code| (code.scale, code.zero_point);
    if before.is_none_or(|before| step(&before) == step(code)) {
        return Ok(x);
    }
    let op = Op::AvgPool {
        window: Window::square(1, 1, 0),
        counted: Padding::default(),
    };
    let whole = View::map(x.value, x.shape);
    let y = import.push(&format!("{name}.again"), op, &[&whole])?;
    Ok(x.of(y.value))
}

/// Whether the least code of a QuantizeLinear stands for zero, so that nothing below it comes out.
pub(super) fn cuts_at_zero(call: &Call<'_>) -> Result<bool, String> {
    let (low, _) = codes_of(result_type(call)?)?;
    let zeros = call.constant(2)?.and_then(|zeros| zeros.integers());
    Ok(zeros.unwrap_or(&[0]) == [low])
}

/// The type of the codes that a QuantizeLinear makes: that of its zero points, else what it says, else u8.
fn result_type(call: &Call<'_>) -> Result<i32, String> {
    match call.constant(2)? {
        Some(zeros) => Ok(zeros.kind),
        None => Ok(call.int("output_dtype", 2)? as i32),
    }
}

/// The ends of a type's codes.
fn codes_of(kind: i32) -> Result<(i64, i64), String> {
    let found = Integer::ALL
        .into_iter()
        .find(|found| found.number() == kind);
    // Biases alone have 32 bits, and are no codes to round to.
    match found.filter(|found| *found != Integer::Int32) {
        Some(found) => Ok((found.range().0.into(), found.range().1.into())),
        None => Err(format!("codes of type {kind}")),
    }
}

/// Bits of a type; 32 for one that only biases have.
fn bits(kind: i32) -> u32 {
    codes_of(kind).map_or(32, |(low, high)| (high - low + 1).ilog2())
}

pub(super) fn dequantize(_: &mut Import, call: &Call<'_>) -> Result<Vec<Known>, String> {
    grid(call, None)?;
    one(call.view(0)?.clone())
}

/// `scale (q - zero_point)` of a constant.
pub(super) fn values(call: &Call<'_>) -> Result<Constant, String> {
    values_along(call, call.int("axis", 1)?)
}

/// The same where several scales lie along an axis that the node does not say.
pub(super) fn values_along(call: &Call<'_>, along: i64) -> Result<Constant, String> {
    let codes = call.constant(0)?.ok_or("operand 0 is missing")?;
    let integers = codes.integers().ok_or("operand 0 holds real numbers")?;
    let grid = grid(call, Some(codes.kind))?;
    let group = groups(&grid, &codes.shape, along)?;
    let value = |(i, &q): (usize, &i64)| {
        let group = group(i);
        (q - grid.zero_points[group]) as f32 * grid.scales[group]
    };
    let known = constant::Grid {
        scales: grid.scales.clone(),
        axis: axis(along, codes.shape.len().max(2)).unwrap_or(0),
        bits: bits(codes.kind),
    };
    Ok(Constant {
        kind: 1,
        shape: codes.shape.clone(),
        data: Data::Float(integers.iter().enumerate().map(value).collect()),
        grid: Some(Rc::new(known)),
    })
}

/// `clamp(round(x / scale) + zero_point)` of a constant, half to even.
pub(super) fn codes(call: &Call<'_>) -> Result<Constant, String> {
    let from = call.floats(0)?;
    let numbers = from.floats().unwrap_or_default();
    let kind = result_type(call)?;
    let (low, high) = codes_of(kind)?;
    let grid = grid(call, None)?;
    let group = groups(&grid, &from.shape, call.int("axis", 1)?)?;
    let code = |(i, &x): (usize, &f32)| {
        let group = group(i);
        let steps = (x / grid.scales[group]).round_ties_even() as i64;
        steps
            .saturating_add(grid.zero_points[group])
            .clamp(low, high)
    };
    Ok(Constant {
        kind,
        shape: from.shape.clone(),
        data: Data::Int(numbers.iter().enumerate().map(code).collect()),
        grid: None,
    })
}

/// The group of scale and zero point that each number belongs to.
fn groups(
    grid: &Grid,
    shape: &[usize],
    along: i64,
) -> Result<impl Fn(usize) -> usize + use<>, String> {
    let (n, inner) = match grid.scales.len() {
        1 => (1, 1),
        n => {
            let at = axis(along, shape.len())?;
            if shape[at] != n {
                return Err(format!("{n} scales along axis {at} of {shape:?}"));
            }
            (n, shape[at + 1..].iter().product::<usize>().max(1))
        }
    };
    Ok(move |i| i / inner % n)
}

struct Grid {
    scales: Vec<f32>,
    zero_points: Vec<i64>,
}

/// Scales that can be divided by, and as many zero points.
fn grid(call: &Call<'_>, codes: Option<i32>) -> Result<Grid, String> {
    call.at_most(3)?;
    if call.int("block_size", 0)? != 0 {
        return Err("scales by blocks are not read".to_owned());
    }
    let scale = call.floats(1)?;
    let scales = scale.floats().unwrap_or_default().to_vec();
    let usable = |s: &f32| s.is_normal() && *s > 0.0 && (1.0 / s).is_finite();
    if let Some(wrong) = scales.iter().find(|s| !usable(s)) {
        return Err(format!("a scale of {wrong:e}"));
    }
    let zero_points = match call.constant(2)? {
        None => vec![0; scales.len()],
        Some(zeros) => {
            if let Some(kind) = codes
                && kind != zeros.kind
            {
                return Err(format!(
                    "codes of type {kind} with zero points of type {}",
                    zeros.kind
                ));
            }
            zeros
                .integers()
                .ok_or("zero points that are no integers")?
                .to_vec()
        }
    };
    if zero_points.len() != scales.len() || scales.is_empty() {
        return Err(format!(
            "{} scales and {} zero points",
            scales.len(),
            zero_points.len()
        ));
    }
    Ok(Grid {
        scales,
        zero_points,
    })
}
