//! Values put together and taken apart: along channels, rows and columns.

use engine::{Axis, Gather};

use super::layers::LARGEST;
use super::{Call, axis, one};
use crate::onnx::import::{Import, Known};
use crate::onnx::view::View;
use crate::op::Op;

pub(super) fn concat(import: &mut Import, call: &Call<'_>) -> Result<Vec<Known>, String> {
    let first = call.view(0)?.clone();
    let at = axis(call.int("axis", 1)?, first.extents().len() + 1)?;
    if call.operands.len() == 1 {
        return one(first);
    }
    let mut parts = Vec::new();
    for index in 0..call.operands.len() {
        let view = call.view(index)?;
        let alike = view.extents().len() == first.extents().len();
        let along = view.channel_axis().map(|axis| axis + 1) == Some(at);
        match alike && along && arranged(view, &first) {
            true => parts.push(View::map(view.value, view.shape)),
            false => {
                let map = import.as_map(&call.name, view)?;
                if at != 1 {
                    return Err(format!("along axis {at}; along channels is read"));
                }
                parts.push(map);
            }
        }
    }
    let operands: Vec<&View> = parts.iter().collect();
    let y = import.push(&call.name, Op::Concat, &operands)?;
    one(like(y, &first).ok_or("operands in an order that is no map")?)
}

/// Whether two views have their axes in one order.
fn arranged(a: &View, b: &View) -> bool {
    let kind = |view: &View| (view.is_map(), view.extents().len(), view.channel_axis());
    kind(a) == kind(b)
}

/// A map seen as another is: channels first, channels last, or one pixel's features.
fn like(y: View, other: &View) -> Option<View> {
    match (other.extents().len(), other.channel_axis()) {
        (3, Some(0)) => Some(y),
        (3, Some(2)) => Some(View::channels_last(y.value, y.shape)),
        (1, Some(0)) => Some(View::flat(y.value, y.shape)),
        _ => other.shuffled_channels().map(|_| y),
    }
}

/// Some places of an axis of a map, or of its features.
fn taken(
    import: &mut Import,
    call: &Call<'_>,
    (view, name): (&View, &str),
    changes: Vec<(usize, Axis)>,
    fill: f32,
) -> Result<View, String> {
    let is_features = view.extents().len() == 1 && view.shape.height * view.shape.width == 1;
    let x = match is_features {
        true => View::map(view.value, view.shape),
        false => import.as_map(&call.name, view)?,
    };
    let mut gather = Gather {
        fill,
        ..Gather::WHOLE
    };
    for (axis, places) in changes {
        match axis {
            1 => gather.channels = places,
            2 => gather.rows = places,
            3 => gather.columns = places,
            _ => return Err("along the images".to_owned()),
        }
    }
    let y = import.push(name, Op::Gather(gather), &[&x])?;
    Ok(if is_features {
        View::flat(y.value, y.shape)
    } else {
        y
    })
}

/// The attribute `axis` of one image's value, and how many places it has.
fn extent(call: &Call<'_>, view: &View) -> Result<(usize, usize), String> {
    let extents = view.extents();
    let at = axis(call.int("axis", 0)?, extents.len() + 1)?;
    let size = at.checked_sub(1).and_then(|i| extents.get(i));
    Ok((at, *size.ok_or("along the images")?))
}

pub(super) fn gather(import: &mut Import, call: &Call<'_>) -> Result<Vec<Known>, String> {
    call.at_most(2)?;
    let view = call.view(0)?.clone();
    let (at, size) = extent(call, &view)?;
    let indices = call.constant(1)?.ok_or("its indices are missing")?;
    let places = indices.integers().ok_or("indices that are no integers")?;
    if indices.shape.len() != 1 || places.is_empty() {
        return Err(format!("indices {:?}; a list is read", indices.shape));
    }
    let places: Vec<Option<usize>> = places
        .iter()
        .map(|&i| axis(i, size).map(Some))
        .collect::<Result<_, _>>()?;
    let changes = vec![(at, Axis::Of(places))];
    one(taken(import, call, (&view, &call.name), changes, 0.0)?)
}

pub(super) fn split(import: &mut Import, call: &Call<'_>) -> Result<Vec<Known>, String> {
    let view = call.view(0)?.clone();
    let (at, size) = extent(call, &view)?;
    let parts = match call.ints_of("split", 1)? {
        Some(parts) => parts,
        None => {
            let count = call.outputs().max(1);
            let each = size.div_ceil(count);
            let last = size.saturating_sub(each * (count - 1));
            let each = (each as i64, last as i64);
            (0..count)
                .map(|i| if i + 1 == count { each.1 } else { each.0 })
                .collect()
        }
    };
    let sane = parts.iter().all(|&part| part > 0) && parts.len() == call.outputs();
    if !sane || parts.iter().sum::<i64>() != size as i64 {
        return Err(format!("{parts:?} of {size}"));
    }
    let mut start = 0;
    let mut made = Vec::new();
    for (i, &part) in parts.iter().enumerate() {
        let places = Axis::range(start, start + part as usize);
        start += part as usize;
        let name = format!("{}.{i}", call.name);
        let part = taken(import, call, (&view, &name), vec![(at, places)], 0.0)?;
        made.push(Known::View(part));
    }
    Ok(made)
}

pub(super) fn slice(import: &mut Import, call: &Call<'_>) -> Result<Vec<Known>, String> {
    let view = call.view(0)?.clone();
    let extents = view.extents();
    let starts = call.ints_of("starts", 1)?.ok_or("its starts are missing")?;
    let ends = call.ints_of("ends", 2)?.ok_or("its ends are missing")?;
    let axes = call.ints_of("axes", 3)?;
    let axes = axes.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = match call.constant(4)? {
        Some(steps) => steps
            .integers()
            .ok_or("steps that are no integers")?
            .to_vec(),
        None => vec![1; starts.len()],
    };
    if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] {
        return Err("starts, ends, axes and steps of different lengths".to_owned());
    }
    let mut changes = Vec::new();
    for (i, &at) in axes.iter().enumerate() {
        let at = axis(at, extents.len() + 1)?;
        let size = if at == 0 { call.batch } else { extents[at - 1] };
        let places = places(size, starts[i], ends[i], steps[i])?;
        if places.iter().copied().eq(0..size) {
            continue;
        }
        changes.push((at, Axis::Of(places.into_iter().map(Some).collect())));
    }
    if changes.is_empty() {
        return one(view);
    }
    one(taken(import, call, (&view, &call.name), changes, 0.0)?)
}

/// The places of a slice of an axis of `size`.
pub(super) fn places(size: usize, start: i64, end: i64, step: i64) -> Result<Vec<usize>, String> {
    let n = size as i64;
    let from_front = |at: i64| if at < 0 { at.saturating_add(n) } else { at };
    let (start, end) = (from_front(start), from_front(end));
    let places: Vec<usize> = match step {
        1.. => (start.clamp(0, n)..end.clamp(0, n))
            .step_by(usize::try_from(step).unwrap_or(usize::MAX))
            .map(|at| at as usize)
            .collect(),
        0 => return Err("a step of 0".to_owned()),
        _ => {
            let (high, low) = (start.clamp(-1, n - 1), end.clamp(-1, n - 1));
            let back = usize::try_from(step.unsigned_abs()).unwrap_or(usize::MAX);
            ((low + 1)..=high)
                .rev()
                .step_by(back)
                .map(|at| at as usize)
                .collect()
        }
    };
    match places.is_empty() {
        true => Err("an empty slice".to_owned()),
        false => Ok(places),
    }
}

pub(super) fn pad(import: &mut Import, call: &Call<'_>) -> Result<Vec<Known>, String> {
    let view = call.view(0)?.clone();
    let extents = view.extents();
    let rank = extents.len() + 1;
    let pads = call.ints_of("pads", 1)?.ok_or("its pads are missing")?;
    let value = match call.constant(2)? {
        Some(value) => match value.floats() {
            Some(&[value]) => value,
            _ => return Err(format!("a value {:?}", value.shape)),
        },
        None => call.float("value", 0.0)?,
    };
    let axes: Vec<usize> = match call.constant(3)? {
        Some(axes) => {
            let axes = axes.integers().ok_or("axes that are no integers")?;
            super::axes(axes, rank)?
        }
        None => (0..rank).collect(),
    };
    if pads.len() != 2 * axes.len() || pads.iter().any(|pad| pad.abs() > LARGEST) {
        return Err(format!("pads {pads:?}"));
    }
    let mode = call.text("mode")?.unwrap_or_else(|| "constant".to_owned());
    let mut changes = Vec::new();
    for (i, &at) in axes.iter().enumerate() {
        let (before, behind) = (pads[i], pads[axes.len() + i]);
        if (before, behind) == (0, 0) {
            continue;
        }
        if at == 0 {
            return Err("around the images".to_owned());
        }
        let size = extents[at - 1] as i64;
        let place = |at: i64| -> Result<Option<usize>, String> {
            let inside = (0..size).contains(&at);
            let found = match mode.as_str() {
                _ if inside => Some(at),
                "constant" => None,
                "edge" => Some(at.clamp(0, size - 1)),
                "reflect" if size > 1 => {
                    let period = 2 * (size - 1);
                    let at = at.rem_euclid(period);
                    Some(at.min(period - at))
                }
                "wrap" => Some(at.rem_euclid(size)),
                other => return Err(format!("mode {}", crate::error::quoted(other))),
            };
            Ok(found.map(|at| at as usize))
        };
        let places = (-before..size + behind)
            .map(place)
            .collect::<Result<Vec<_>, _>>()?;
        if places.is_empty() {
            return Err("nothing is left".to_owned());
        }
        changes.push((at, Axis::Of(places)));
    }
    if changes.is_empty() {
        return one(view);
    }
    one(taken(import, call, (&view, &call.name), changes, value)?)
}
