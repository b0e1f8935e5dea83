//! Pools of windows and of whole maps.

use engine::{Padding, Window};

use super::layers::{pair, window, without_border};
use super::{Call, one};
use crate::onnx::import::{Import, Known};
use crate::onnx::view::View;
use crate::op::Op;

pub(super) fn max(import: &mut Import, call: &Call<'_>) -> Result<Vec<Known>, String> {
    call.at_most(1)?;
    let x = import.as_map(&call.name, call.view(0)?)?;
    let window = widened(call, &x, said(call, &x)?)?;
    one(import.push(&call.name, Op::MaxPool(window), &[&x])?)
}

pub(super) fn average(import: &mut Import, call: &Call<'_>) -> Result<Vec<Known>, String> {
    call.at_most(1)?;
    let x = import.as_map(&call.name, call.view(0)?)?;
    let include = call.int("count_include_pad", 0)? != 0;
    let whole = x.shape;
    // Zeros that were put around the map count, as they are a part of what is averaged.
    let (inner, outside) = without_border(import, x.clone());
    let window = said(call, &x)?;
    let asked = match include {
        true => window.padding,
        false => Padding::default(),
    };
    let exact = widened(call, &x, window)?;
    if outside == Padding::default() {
        let op = Op::AvgPool {
            window: exact,
            counted: asked,
        };
        return one(import.push(&call.name, op, &[&x])?);
    }
    let window = Window {
        padding: exact.padding + outside,
        ..exact
    };
    let (x, window, counted) = match window.exceeds_padding() && inner.shape != whole {
        true => (inner, window, asked + outside),
        false => (x, exact, asked),
    };
    one(import.push(&call.name, Op::AvgPool { window, counted }, &[&x])?)
}

/// A pool's window, padded as `pads` say.
fn said(call: &Call<'_>, x: &View) -> Result<Window, String> {
    let kernel = pair(call, "kernel_shape")?.ok_or("kernel_shape is missing")?;
    window(call, kernel, x.shape, false)
}

/// The window with its padding widened at the end to what `ceil_mode` reads.
fn widened(call: &Call<'_>, x: &View, mut window: Window) -> Result<Window, String> {
    if call.int("ceil_mode", 0)? != 0 {
        let sides = [
            (
                x.shape.height,
                window.padding.top,
                &mut window.padding.bottom,
            ),
            (
                x.shape.width,
                window.padding.left,
                &mut window.padding.right,
            ),
        ];
        for (dimension, (size, before, behind)) in sides.into_iter().enumerate() {
            let (kernel, stride) = (window.kernel[dimension], window.stride[dimension]);
            let room = (size + before + *behind).saturating_sub(kernel);
            let mut count = room.div_ceil(stride) + 1;
            // The last window begins inside the map or in front of it.
            if (count - 1) * stride >= size + before {
                count -= 1;
            }
            *behind = (*behind).max(((count - 1) * stride + kernel).saturating_sub(size + before));
        }
    }
    Ok(window)
}

pub(super) fn global_average(import: &mut Import, call: &Call<'_>) -> Result<Vec<Known>, String> {
    call.at_most(1)?;
    let x = import.as_map(&call.name, call.view(0)?)?;
    one(import.push(&call.name, Op::GlobalAvgPool, &[&x])?)
}

pub(super) fn global_max(import: &mut Import, call: &Call<'_>) -> Result<Vec<Known>, String> {
    call.at_most(1)?;
    let x = import.as_map(&call.name, call.view(0)?)?;
    one(import.push(&call.name, Op::MaxPool(Window::whole(x.shape)), &[&x])?)
}

pub(super) fn reduce_mean(import: &mut Import, call: &Call<'_>) -> Result<Vec<Known>, String> {
    reduce(import, call, |_| Op::GlobalAvgPool)
}

pub(super) fn reduce_max(import: &mut Import, call: &Call<'_>) -> Result<Vec<Known>, String> {
    reduce(import, call, |x| Op::MaxPool(Window::whole(x.shape)))
}

/// A pool of the whole map, by its axes.
fn reduce(
    import: &mut Import,
    call: &Call<'_>,
    op: impl Fn(&View) -> Op,
) -> Result<Vec<Known>, String> {
    call.at_most(2)?;
    let x = call.view(0)?.clone();
    let rank = x.extents().len() + 1;
    let axes = call
        .ints_of("axes", 1)?
        .ok_or("over all axes, images included")?;
    let axes = super::axes(&axes, rank)?;
    if axes.contains(&0) {
        return Err("over the images".to_owned());
    }
    let behind: Vec<usize> = axes.iter().map(|axis| axis - 1).collect();
    if !x.is_spatial(&behind) || x.channel_axis().is_none_or(|axis| behind.contains(&axis)) {
        return Err(format!(
            "over axes {axes:?} of [n, {:?}]; over rows and columns is read",
            x.extents()
        ));
    }
    let whole = View::map(x.value, x.shape);
    let y = import.push(&call.name, op(&x), &[&whole])?;
    let keep = call.int("keepdims", 1)? != 0;
    let extents = x.extents();
    let left = extents
        .iter()
        .enumerate()
        .filter_map(|(i, &extent)| match behind.contains(&i) {
            true => keep.then_some(1),
            false => Some(extent),
        });
    let left: Vec<usize> = left.collect();
    let view = y.reshaped(&left);
    one(view.ok_or_else(|| format!("to [n, {left:?}]"))?)
}
