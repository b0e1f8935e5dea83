//! Sums and products: of two values, or of a value and a number for each channel, which goes into the layer before where nothing else
//! reads that, and is a layer of its own (each channel seeing itself alone) elsewhere.

use engine::{Function, Shape, Window};

use super::layers::put;
use super::{Call, one};
use crate::onnx::constant::Constant;
use crate::onnx::import::{Import, Known};
use crate::onnx::view::View;
use crate::op::Op;
use crate::tensors::HostTensor;

pub(super) fn add(import: &mut Import, call: &Call<'_>) -> Result<Vec<Known>, String> {
    call.at_most(2)?;
    match operands(call, 0, 1)? {
        Operands::Values(a, b) => join(import, call, Op::Add, &a, &b),
        Operands::Number(x, values, _) => {
            let ones = vec![1.0; values.len()];
            one(affine(import, &call.name, &x, (ones, values))?)
        }
    }
}

pub(super) fn subtract(import: &mut Import, call: &Call<'_>) -> Result<Vec<Known>, String> {
    call.at_most(2)?;
    match operands(call, 0, 1)? {
        Operands::Values(a, b) => {
            let channels = b.shape.channels;
            let negative = (vec![-1.0; channels], vec![0.0; channels]);
            let b = affine(import, &format!("{}.negative", call.name), &b, negative)?;
            join(import, call, Op::Add, &a, &b)
        }
        Operands::Number(x, values, true) => {
            let scale = vec![-1.0; values.len()];
            one(affine(import, &call.name, &x, (scale, values))?)
        }
        Operands::Number(x, values, false) => {
            let ones = vec![1.0; values.len()];
            let negative = values.iter().map(|v| -v).collect();
            one(affine(import, &call.name, &x, (ones, negative))?)
        }
    }
}

pub(super) fn multiply(import: &mut Import, call: &Call<'_>) -> Result<Vec<Known>, String> {
    call.at_most(2)?;
    match operands(call, 0, 1)? {
        Operands::Values(a, b) => {
            if let Some(view) = gated(import, &a, &b).or_else(|| gated(import, &b, &a)) {
                return one(view);
            }
            // The gate of squeeze and excitation comes second.
            let is_gate =
                |gate: &View, x: &View| gate.shape != x.shape && gate.shape.len() < x.shape.len();
            match is_gate(&a, &b) {
                true => join(import, call, Op::Multiply, &b, &a),
                false => join(import, call, Op::Multiply, &a, &b),
            }
        }
        Operands::Number(x, values, _) => {
            let zeros = vec![0.0; values.len()];
            one(affine(import, &call.name, &x, (values, zeros))?)
        }
    }
}

pub(super) fn divide(import: &mut Import, call: &Call<'_>) -> Result<Vec<Known>, String> {
    call.at_most(2)?;
    match operands(call, 0, 1)? {
        Operands::Number(x, values, false) if values.iter().all(|&v| v != 0.0) => {
            let zeros = vec![0.0; values.len()];
            let inverse = values
                .iter()
                .map(|&v| (1.0 / f64::from(v)) as f32)
                .collect();
            one(affine(import, &call.name, &x, (inverse, zeros))?)
        }
        Operands::Number(..) => Err("a division of a number, or by zero".to_owned()),
        Operands::Values(..) => Err("a division of two values of the images".to_owned()),
    }
}

pub(super) fn sum(import: &mut Import, call: &Call<'_>) -> Result<Vec<Known>, String> {
    let mut sum = call.view(0)?.clone();
    for index in 1..call.operands.len() {
        let other = call.view(index)?.clone();
        let joined = join(import, call, Op::Add, &sum, &other)?;
        if let Some(Known::View(view)) = joined.into_iter().next() {
            sum = view;
        }
    }
    one(sum)
}

enum Operands {
    Values(View, View),
    /// A value, a number for each of its channels, and whether that is the first operand.
    Number(View, Vec<f32>, bool),
}

fn operands(call: &Call<'_>, first: usize, second: usize) -> Result<Operands, String> {
    match (call.known(first), call.known(second)) {
        (Some(Known::View(a)), Some(Known::View(b))) => Ok(Operands::Values(a.clone(), b.clone())),
        (Some(Known::View(x)), Some(Known::Constant(values))) => {
            Ok(Operands::Number(x.clone(), by_channel(x, values)?, false))
        }
        (Some(Known::Constant(values)), Some(Known::View(x))) => {
            Ok(Operands::Number(x.clone(), by_channel(x, values)?, true))
        }
        _ => Err("two operands, one of which depends on the images".to_owned()),
    }
}

/// A constant as a number for each channel of `x`, as broadcasting has it.
pub(super) fn by_channel(x: &View, constant: &Constant) -> Result<Vec<f32>, String> {
    let values = constant.floats().ok_or("integers beside real numbers")?;
    let channels = x.shape.channels;
    if let [value] = values {
        return Ok(vec![*value; channels]);
    }
    let fail = || {
        let extents = x.extents();
        format!(
            "numbers {:?} beside [n, {extents:?}] are not one for each channel",
            constant.shape
        )
    };
    let rank = x.extents().len() + 1;
    let axis = x.channel_axis().ok_or_else(fail)? + 1;
    // Aligned at the end; only the channels' axis may have an extent.
    let offset = rank.checked_sub(constant.shape.len()).ok_or_else(fail)?;
    let alone = constant.shape.iter().enumerate();
    let fits = alone.fold(true, |all, (i, &extent)| {
        all && extent == if i + offset == axis { channels } else { 1 }
    });
    match fits {
        true => Ok(values.to_vec()),
        false => Err(fail()),
    }
}

/// Two values in one.
fn join(
    import: &mut Import,
    call: &Call<'_>,
    op: Op,
    a: &View,
    b: &View,
) -> Result<Vec<Known>, String> {
    if a.shape == b.shape && a.lies_as(b) {
        let (x, y) = (View::map(a.value, a.shape), View::map(b.value, b.shape));
        let made = import.push(&call.name, op, &[&x, &y])?;
        return one(a.of(made.value));
    }
    let gate = Shape::new(a.shape.channels, 1, 1);
    if op == Op::Multiply && b.shape == gate && a.extents().len() == b.extents().len() {
        let (x, y) = (View::map(a.value, a.shape), View::map(b.value, gate));
        if a.channel_axis() == b.channel_axis() {
            let made = import.push(&call.name, op, &[&x, &y])?;
            return one(a.of(made.value));
        }
    }
    let (x, y) = (import.as_map(&call.name, a)?, import.as_map(&call.name, b)?);
    one(import.push(&call.name, op, &[&x, &y])?)
}

/// `x * sigmoid(x)` and `x * hard_sigmoid(x)` have names, where nobody else reads the gate.
fn gated(import: &mut Import, x: &View, gate: &View) -> Option<View> {
    let node = import.own(gate.value)?;
    let named = match node.op {
        Op::Function(Function::Sigmoid) => Function::Silu,
        Op::Function(Function::HardSigmoid { alpha, beta })
            if (alpha - 1.0 / 6.0).abs() < 1e-6 && beta == 0.5 =>
        {
            Function::HardSwish
        }
        _ => return None,
    };
    if node.inputs != [x.value] || !x.lies_as(gate) {
        return None;
    }
    import.node_mut(gate.value)?.op = Op::Function(named);
    Some(gate.clone())
}

/// `x * scale + shift`, a number of each for every channel.
pub(super) fn affine(
    import: &mut Import,
    name: &str,
    x: &View,
    (scale, shift): (Vec<f32>, Vec<f32>),
) -> Result<View, String> {
    let channels = x.shape.channels;
    if scale.iter().all(|&k| k == 1.0) && shift.iter().all(|&b| b == 0.0) {
        return Ok(x.clone());
    }
    if let Some(node) = import.own(x.value) {
        let of = node.name.clone();
        let by_channel = |import: &mut Import, part: &str, f: &dyn Fn(usize, f32) -> f32| {
            let tensor = import.tensors.get_mut(&format!("{of}.{part}"));
            if let Some(HostTensor { data, .. }) = tensor {
                let each = (data.len() / channels).max(1);
                for (c, group) in data.chunks_mut(each).enumerate() {
                    group.iter_mut().for_each(|v| *v = f(c, *v));
                }
            }
        };
        if node.op.is_layer() || matches!(node.op, Op::BatchNorm { .. }) {
            if import.tensors.get(&format!("{of}.bias")).is_none() {
                put(import, x, "bias", vec![channels], vec![0.0; channels])?;
            }
            if scale.iter().any(|&k| k != 1.0) {
                // Its codes are those of other numbers now.
                import.grids.remove(&x.value);
            }
            by_channel(import, "weight", &|c, w| w * scale[c]);
            by_channel(import, "bias", &|c, b| b * scale[c] + shift[c]);
            return Ok(x.clone());
        }
    }
    let op = Op::Conv {
        outputs: channels,
        groups: channels,
        window: Window::square(1, 1, 0),
    };
    let whole = View::map(x.value, x.shape);
    let y = import.push(name, op, &[&whole])?;
    put(import, &y, "weight", vec![channels, 1, 1, 1], scale)?;
    if shift.iter().any(|&b| b != 0.0) {
        put(import, &y, "bias", vec![channels], shift)?;
    }
    Ok(x.of(y.value))
}
