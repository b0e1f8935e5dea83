//! Convolutions and fully connected layers.

use engine::{Axis, Gather, Padding, Shape, Window};

use super::{Call, one};
use crate::onnx::constant::Constant;
use crate::onnx::import::{Import, Known};
use crate::onnx::view::View;
use crate::op::Op;
use crate::tensors::HostTensor;

/// An extent of a window, or of what is put around a map, that a file may ask for.
pub(super) const LARGEST: i64 = 1 << 15;

pub(super) fn conv(import: &mut Import, call: &Call<'_>) -> Result<Vec<Known>, String> {
    call.at_most(3)?;
    let x = import.as_map(&call.name, call.view(0)?)?;
    let weight = call.floats(1)?.clone();
    same_kind(import, &weight)?;
    let &[outputs, inputs, rows, columns] = &weight.shape[..] else {
        return Err(format!(
            "weights {:?}: only convolutions of images are read",
            weight.shape
        ));
    };
    if outputs * inputs * rows * columns == 0 {
        return Err(format!("weights {:?}", weight.shape));
    }
    if let Some(kernel) = call.ints("kernel_shape")?
        && kernel != [rows as i64, columns as i64]
    {
        return Err(format!(
            "kernel_shape {kernel:?}, but weights {:?}",
            weight.shape
        ));
    }
    let groups = call.int("group", 1)?;
    let groups = usize::try_from(groups).map_err(|_| format!("group {groups}"))?;
    let (x, outside) = without_border(import, x);
    let mut window = window(call, [rows, columns], x.shape, true)?;
    window.padding = window.padding + outside;
    if inputs.checked_mul(groups) != Some(x.shape.channels) {
        return Err(format!(
            "weights {:?} and {groups} groups for a map of {}",
            weight.shape, x.shape
        ));
    }
    let op = Op::Conv {
        outputs,
        groups,
        window,
    };
    let y = import.push(&call.name, op, &[&x])?;
    remember(import, &y, &weight, 0);
    let data = weight.floats().unwrap_or_default().to_vec();
    put(
        import,
        &y,
        "weight",
        vec![outputs, inputs, rows, columns],
        data,
    )?;
    if let Some(bias) = call.constant(2)? {
        same_kind(import, bias)?;
        let bias = bias.floats().unwrap_or_default().to_vec();
        put(import, &y, "bias", vec![outputs], bias)?;
    }
    one(y)
}

pub(super) fn gemm(import: &mut Import, call: &Call<'_>) -> Result<Vec<Known>, String> {
    call.at_most(3)?;
    if call.int("transA", 0)? != 0 {
        return Err("transA: images are no columns".to_owned());
    }
    let (alpha, beta) = (call.float("alpha", 1.0)?, call.float("beta", 1.0)?);
    let rows_are_outputs = call.int("transB", 0)? != 0;
    let weight = matrix(import, call, rows_are_outputs, alpha)?;
    let outputs = weight.shape[0];
    let bias = match call.constant(2)? {
        None => None,
        Some(bias) => {
            same_kind(import, bias)?;
            let values = bias.floats().ok_or("a bias of integers")?;
            let row = bias.shape.iter().rev().skip(1).all(|&extent| extent == 1);
            let values: Vec<f32> = match values {
                [value] => vec![beta * value; outputs],
                values if row && values.len() == outputs => {
                    values.iter().map(|value| beta * value).collect()
                }
                _ => return Err(format!("a bias {:?} for {outputs} outputs", bias.shape)),
            };
            Some(values)
        }
    };
    let plain = alpha == 1.0;
    linear(
        import,
        call,
        (weight, plain.then_some(rows_are_outputs)),
        bias,
    )
}

pub(super) fn matmul(import: &mut Import, call: &Call<'_>) -> Result<Vec<Known>, String> {
    call.at_most(2)?;
    let weight = matrix(import, call, false, 1.0)?;
    linear(import, call, (weight, Some(false)), None)
}

/// The second operand as `[outputs, inputs]`.
fn matrix(
    import: &Import,
    call: &Call<'_>,
    rows_are_outputs: bool,
    alpha: f32,
) -> Result<Constant, String> {
    let weight = call.floats(1)?;
    same_kind(import, weight)?;
    let &[a, b] = &weight.shape[..] else {
        return Err(format!("weights {:?}", weight.shape));
    };
    let values = weight.floats().unwrap_or_default();
    let scaled = |value: f32| if alpha == 1.0 { value } else { alpha * value };
    Ok(match rows_are_outputs {
        true => Constant::float(vec![a, b], values.iter().map(|&w| scaled(w)).collect()),
        false => {
            let turned = (0..b).flat_map(|o| (0..a).map(move |i| scaled(values[i * b + o])));
            Constant::float(vec![b, a], turned.collect())
        }
    })
}

fn linear(
    import: &mut Import,
    call: &Call<'_>,
    (weight, rows_are_outputs): (Constant, Option<bool>),
    bias: Option<Vec<f32>>,
) -> Result<Vec<Known>, String> {
    let x = call.view(0)?.clone();
    let extents = x.extents();
    let (outputs, inputs) = (weight.shape[0], weight.shape[1]);
    if extents != [inputs] || outputs == 0 {
        return Err(format!(
            "weights for {inputs} numbers behind [n, {}]",
            extents
                .iter()
                .map(usize::to_string)
                .collect::<Vec<_>>()
                .join(", ")
        ));
    }
    let mut values = weight.floats().unwrap_or_default().to_vec();
    if !x.is_flat() {
        // Weights in the order of the map, whatever the order in which the file flattens it.
        let order = x.order();
        if order.len() != x.shape.len() {
            return Err("an operand that is a part of a map".to_owned());
        }
        let mut ordered = vec![0.0; values.len()];
        for (row, to) in values
            .chunks_exact(inputs)
            .zip(ordered.chunks_exact_mut(inputs))
        {
            for (&w, &place) in row.iter().zip(&order) {
                to[place] = w;
            }
        }
        values = ordered;
    }
    let whole = View::map(x.value, x.shape);
    let y = import.push(&call.name, Op::Linear { outputs }, &[&whole])?;
    if let Some(rows_are_outputs) = rows_are_outputs {
        let given = call.floats(1)?.clone();
        remember(import, &y, &given, usize::from(!rows_are_outputs));
    }
    put(import, &y, "weight", vec![outputs, inputs], values)?;
    if let Some(bias) = bias {
        put(import, &y, "bias", vec![outputs], bias)?;
    }
    one(View::flat(y.value, y.shape))
}

/// Keeps the scales of a layer's weights, if there is one for all or one for each output channel, which lie along `axis`.
fn remember(import: &mut Import, of: &View, weight: &Constant, axis: usize) {
    let Some(grid) = &weight.grid else { return };
    let channels = weight.shape[axis];
    let scales = match &grid.scales[..] {
        [scale] => vec![*scale; channels],
        scales if grid.axis == axis && scales.len() == channels => scales.to_vec(),
        _ => return,
    };
    import.grids.insert(of.value, (scales, grid.bits));
}

/// Gives a node a tensor.
pub(super) fn put(
    import: &mut Import,
    of: &View,
    part: &str,
    shape: Vec<usize>,
    data: Vec<f32>,
) -> Result<(), String> {
    let tensor = HostTensor::new(shape, data).map_err(|e| format!("{part}: {e}"))?;
    import.set(of.value, part, tensor);
    Ok(())
}

/// Refuses weights of another type than the images have.
fn same_kind(import: &Import, constant: &Constant) -> Result<(), String> {
    match constant.kind == import.element {
        true => Ok(()),
        false => Err(format!(
            "numbers of types {} and {} in one operator",
            import.element, constant.kind
        )),
    }
}

/// An attribute of two extents, if it is there.
pub(super) fn pair(call: &Call<'_>, name: &str) -> Result<Option<[usize; 2]>, String> {
    match call.ints(name)?.as_deref() {
        None => Ok(None),
        Some(&[a, b]) if (1..=LARGEST).contains(&a) && (1..=LARGEST).contains(&b) => {
            Ok(Some([a as usize, b as usize]))
        }
        Some(other) => Err(format!("{name} {other:?}")),
    }
}

/// The window of a convolution or a pool over a map of shape `x`.
pub(super) fn window(
    call: &Call<'_>,
    kernel: [usize; 2],
    x: Shape,
    dilates: bool,
) -> Result<Window, String> {
    let steps = |name: &str| Ok::<_, String>(pair(call, name)?.unwrap_or([1, 1]));
    let (stride, dilation) = (steps("strides")?, steps("dilations")?);
    if !dilates && dilation != [1, 1] {
        return Err(format!("dilations {dilation:?} of a pool are not read"));
    }
    let mut padding = Padding::default();
    let auto = call.text("auto_pad")?.unwrap_or_default();
    match auto.as_str() {
        "" | "NOTSET" => {
            if let Some(pads) = call.ints("pads")? {
                let sane = pads.iter().all(|pad| (0..=LARGEST).contains(pad));
                let (&[top, left, bottom, right], true) = (&pads[..], sane) else {
                    return Err(format!("pads {pads:?}"));
                };
                let [top, bottom, left, right] = [top, bottom, left, right].map(|p| p as usize);
                padding = Padding {
                    top,
                    bottom,
                    left,
                    right,
                };
            }
        }
        "VALID" => {}
        "SAME_UPPER" | "SAME_LOWER" => {
            let whole = |axis: usize, size: usize| {
                let span = dilation[axis] * (kernel[axis] - 1) + 1;
                let last = (size.div_ceil(stride[axis]) - 1) * stride[axis];
                let pad = (last + span).saturating_sub(size);
                let (less, more) = (pad / 2, pad - pad / 2);
                if auto == "SAME_UPPER" {
                    (less, more)
                } else {
                    (more, less)
                }
            };
            (padding.top, padding.bottom) = whole(0, x.height);
            (padding.left, padding.right) = whole(1, x.width);
        }
        other => return Err(format!("auto_pad {}", crate::error::quoted(other))),
    }
    Ok(Window {
        kernel,
        stride,
        dilation,
        padding,
    })
}

/// What a map was before zeros were put around it, if that is all that was done to it and nobody else reads it so; and how many.
pub(super) fn without_border(import: &Import, x: View) -> (View, Padding) {
    let none = Padding::default();
    let Some(node) = import.own(x.value) else {
        return (x, none);
    };
    let Op::Gather(Gather {
        channels: Axis::Whole,
        rows,
        columns,
        fill: 0.0,
    }) = &node.op
    else {
        return (x, none);
    };
    let before = import.shape(node.inputs[0]);
    let (Some((top, bottom)), Some((left, right))) =
        (border(rows, before.height), border(columns, before.width))
    else {
        return (x, none);
    };
    let padding = Padding {
        top,
        bottom,
        left,
        right,
    };
    (View::map(node.inputs[0], before), padding)
}

/// How many places stand before and behind, if an axis is a whole one of `size` with nothing on its sides.
fn border(axis: &Axis, size: usize) -> Option<(usize, usize)> {
    let Axis::Of(places) = axis else {
        return Some((0, 0));
    };
    let before = places.iter().take_while(|place| place.is_none()).count();
    let behind = places.len().checked_sub(before + size)?;
    let inside = places[before..before + size].iter().enumerate();
    let straight = inside.fold(true, |all, (i, place)| all && *place == Some(i));
    let empty = places[before + size..].iter().all(Option::is_none);
    (straight && empty).then_some((before, behind))
}
