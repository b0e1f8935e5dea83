//! Operators on constants alone, as exporters write them: shapes that are computed, weights behind a transpose or a quantizer.

use super::{Call, axes, axis, parts, permutation, quant, quantizers};
use crate::onnx::constant::{Constant, Data, elements};

/// The result of a node whose operands are constants; none where it is no operator for constants.
pub(super) fn fold(call: &Call<'_>) -> Option<Result<Constant, String>> {
    let operator: fn(&Call<'_>) -> Result<Constant, String> = match call.op_type() {
        "Constant" => constant,
        "ConstantOfShape" => constant_of_shape,
        "Identity" | "Dropout" => |call| given(call, 0),
        "Cast" => cast,
        "Shape" => shape,
        "Gather" => gather,
        "Slice" => slice,
        "Concat" => concat,
        "Reshape" => reshape,
        "Flatten" => flatten,
        "Squeeze" => squeeze,
        "Unsqueeze" => unsqueeze,
        "Transpose" => transpose,
        "Add" => |call| binary(call, |a, b| a + b, |a, b| a.checked_add(b)),
        "Sub" => |call| binary(call, |a, b| a - b, |a, b| a.checked_sub(b)),
        "Mul" => |call| binary(call, |a, b| a * b, |a, b| a.checked_mul(b)),
        "Div" => |call| binary(call, |a, b| a / b, |a, b| a.checked_div(b)),
        "Sqrt" => |call| real(call, f32::sqrt),
        "Neg" => |call| real(call, |x| -x),
        "Expand" => expand,
        "DequantizeLinear" => quantizers::values,
        "QuantizeLinear" => quantizers::codes,
        "IntQuant" | "Quant" => quant::values,
        _ => return None,
    };
    Some(operator(call))
}

fn given(call: &Call<'_>, index: usize) -> Result<Constant, String> {
    let found = call
        .constant(index)?
        .ok_or_else(|| format!("operand {index} is missing"))?;
    Ok(Constant::clone(found))
}

fn integers(call: &Call<'_>, index: usize) -> Result<Vec<i64>, String> {
    let found = given(call, index)?;
    found
        .integers()
        .map(<[i64]>::to_vec)
        .ok_or_else(|| format!("operand {index} holds no integers"))
}

fn constant(call: &Call<'_>) -> Result<Constant, String> {
    if let Some(tensor) = call.tensor("value")? {
        return Constant::read(tensor, call.folder).map_err(|e| e.to_string());
    }
    if call.has("value_float") {
        return Ok(Constant::float(
            Vec::new(),
            vec![call.float("value_float", 0.0)?],
        ));
    }
    if let Some(floats) = call.floats_attribute("value_floats")? {
        return Ok(Constant::float(vec![floats.len()], floats));
    }
    if call.has("value_int") {
        let value = Constant::ints(vec![call.int("value_int", 0)?]);
        return Ok(Constant {
            shape: Vec::new(),
            ..value
        });
    }
    match call.ints("value_ints")? {
        Some(ints) => Ok(Constant::ints(ints)),
        None => Err("a constant of a kind that is not read".to_owned()),
    }
}

/// A shape from integers.
fn extents(call: &Call<'_>, values: &[i64]) -> Result<Vec<usize>, String> {
    let shape: Option<Vec<usize>> = values.iter().map(|&v| usize::try_from(v).ok()).collect();
    let shape = shape.filter(|shape| within(call, shape).is_some());
    shape.ok_or_else(|| {
        let shown = &values[..values.len().min(8)];
        format!("extents {shown:?}, more numbers than there can be, or none")
    })
}

/// [`elements`], if there may be so many more.
fn within(call: &Call<'_>, shape: &[usize]) -> Option<usize> {
    elements(shape).filter(|&n| n <= call.most)
}

fn constant_of_shape(call: &Call<'_>) -> Result<Constant, String> {
    let shape = extents(call, &integers(call, 0)?)?;
    let value = match call.tensor("value")? {
        Some(tensor) => Constant::read(tensor, call.folder).map_err(|e| e.to_string())?,
        None => Constant::float(vec![1], vec![0.0]),
    };
    let n = elements(&shape).unwrap_or(0);
    let data = match &value.data {
        Data::Float(values) => Data::Float(vec![*values.first().ok_or("an empty value")?; n]),
        Data::Int(values) => Data::Int(vec![*values.first().ok_or("an empty value")?; n]),
    };
    Ok(Constant {
        kind: value.kind,
        shape,
        data,
        grid: None,
    })
}

fn cast(call: &Call<'_>) -> Result<Constant, String> {
    let from = given(call, 0)?;
    let to = call.int("to", 0)? as i32;
    let data = match (to, from.data) {
        (1 | 10 | 11, Data::Float(values)) => Data::Float(values),
        (1 | 10 | 11, Data::Int(values)) => Data::Float(values.iter().map(|&v| v as f32).collect()),
        (2..=7 | 9, Data::Int(values)) => Data::Int(values),
        (2..=7 | 9, Data::Float(values)) => Data::Int(values.iter().map(|&v| v as i64).collect()),
        _ => return Err(format!("to numbers of type {to}")),
    };
    Ok(Constant {
        kind: to,
        shape: from.shape,
        data,
        grid: None,
    })
}

fn shape(call: &Call<'_>) -> Result<Constant, String> {
    let shape = given(call, 0)?.shape;
    Ok(Constant::ints(
        shape.iter().map(|&extent| extent as i64).collect(),
    ))
}

/// The numbers at `places` of a constant, with another shape.
fn picked(from: &Constant, shape: Vec<usize>, places: impl Iterator<Item = usize>) -> Constant {
    let data = match &from.data {
        Data::Float(values) => Data::Float(places.map(|i| values[i]).collect()),
        Data::Int(values) => Data::Int(places.map(|i| values[i]).collect()),
    };
    Constant {
        kind: from.kind,
        shape,
        data,
        grid: None,
    }
}

/// The flat place of every element of an array of extents `shape`, each axis at the places that `along` lists.
fn grid(shape: &[usize], along: &[Vec<usize>]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis];
    }
    along
        .iter()
        .zip(&strides)
        .fold(vec![0], |all, (places, stride)| {
            let each = all.iter();
            each.flat_map(|&start| places.iter().map(move |place| start + place * stride))
                .collect()
        })
}

fn whole(shape: &[usize]) -> Vec<Vec<usize>> {
    shape.iter().map(|&extent| (0..extent).collect()).collect()
}

fn gather(call: &Call<'_>) -> Result<Constant, String> {
    let from = given(call, 0)?;
    let at = axis(call.int("axis", 0)?, from.shape.len())?;
    let indices = given(call, 1)?;
    let size = from.shape[at];
    let wanted = indices.integers().ok_or("indices that are no integers")?;
    let wanted: Vec<usize> = wanted
        .iter()
        .map(|&i| axis(i, size))
        .collect::<Result<_, _>>()?;
    let mut along = whole(&from.shape);
    along[at] = wanted;
    let mut shape = from.shape.clone();
    shape.splice(at..=at, indices.shape.iter().copied());
    if within(call, &shape).is_none() {
        return Err(format!("to {shape:?}"));
    }
    Ok(picked(&from, shape, grid(&from.shape, &along).into_iter()))
}

fn slice(call: &Call<'_>) -> Result<Constant, String> {
    let from = given(call, 0)?;
    let starts = call.ints_of("starts", 1)?.ok_or("its starts are missing")?;
    let ends = call.ints_of("ends", 2)?.ok_or("its ends are missing")?;
    let axes = call
        .ints_of("axes", 3)?
        .unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = match call.constant(4)? {
        Some(_) => integers(call, 4)?,
        None => vec![1; starts.len()],
    };
    if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] {
        return Err("starts, ends, axes and steps of different lengths".to_owned());
    }
    let mut along = whole(&from.shape);
    for (i, &at) in axes.iter().enumerate() {
        let at = axis(at, from.shape.len())?;
        along[at] = parts::places(from.shape[at], starts[i], ends[i], steps[i])?;
    }
    let shape = along.iter().map(Vec::len).collect();
    Ok(picked(&from, shape, grid(&from.shape, &along).into_iter()))
}

fn concat(call: &Call<'_>) -> Result<Constant, String> {
    let all: Vec<Constant> = (0..call.operands.len())
        .map(|i| given(call, i))
        .collect::<Result<_, _>>()?;
    let first = all.first().ok_or("nothing to put together")?;
    let at = axis(call.int("axis", 0)?, first.shape.len())?;
    let mut shape = first.shape.clone();
    shape[at] = 0;
    for part in &all {
        let alike = part.shape.len() == shape.len()
            && (0..shape.len()).all(|axis| axis == at || part.shape[axis] == shape[axis]);
        if !alike || part.kind != first.kind {
            return Err(format!("{:?} behind {:?}", part.shape, first.shape));
        }
        shape[at] += part.shape[at];
    }
    within(call, &shape).ok_or_else(|| format!("to {shape:?}"))?;
    let outer: usize = shape[..at].iter().product();
    let inner = |part: &Constant| part.shape[at..].iter().product::<usize>();
    let runs = (0..outer).flat_map(|o| {
        all.iter()
            .map(move |part| (part, o * inner(part), inner(part)))
    });
    let data = match first.data {
        Data::Float(_) => Data::Float(
            runs.flat_map(|(p, at, n)| p.floats().unwrap_or_default()[at..at + n].to_vec())
                .collect(),
        ),
        Data::Int(_) => Data::Int(
            runs.flat_map(|(p, at, n)| p.integers().unwrap_or_default()[at..at + n].to_vec())
                .collect(),
        ),
    };
    Ok(Constant {
        kind: first.kind,
        shape,
        data,
        grid: None,
    })
}

fn reshaped(from: Constant, target: &[i64], keeps_zeros: bool) -> Result<Constant, String> {
    let fail = || format!("{:?} to {target:?}", from.shape);
    let mut shape = Vec::new();
    let mut open = None;
    for (i, &extent) in target.iter().enumerate() {
        shape.push(match extent {
            -1 if open.is_none() => {
                open = Some(i);
                1
            }
            0 if !keeps_zeros => *from.shape.get(i).ok_or_else(fail)?,
            extent => usize::try_from(extent).map_err(|_| fail())?,
        });
    }
    let known = elements(&shape).ok_or_else(fail)?;
    if let (Some(open), 1..) = (open, known) {
        shape[open] = from.len() / known;
    }
    match elements(&shape) == Some(from.len()) {
        true => Ok(Constant { shape, ..from }),
        false => Err(fail()),
    }
}

fn reshape(call: &Call<'_>) -> Result<Constant, String> {
    let target = call.ints_of("shape", 1)?.ok_or("its shape is missing")?;
    reshaped(given(call, 0)?, &target, call.int("allowzero", 0)? != 0)
}

fn flatten(call: &Call<'_>) -> Result<Constant, String> {
    let from = given(call, 0)?;
    let at = call.int("axis", 1)?;
    let at = if at == from.shape.len() as i64 {
        from.shape.len()
    } else {
        axis(at, from.shape.len())?
    };
    let (a, b) = from.shape.split_at(at);
    let shape = vec![a.iter().product(), b.iter().product()];
    Ok(Constant { shape, ..from })
}

fn squeeze(call: &Call<'_>) -> Result<Constant, String> {
    let from = given(call, 0)?;
    let rank = from.shape.len();
    let gone: Vec<usize> = match call.ints_of("axes", 1)? {
        Some(given) => axes(&given, rank)?,
        None => (0..rank).filter(|&i| from.shape[i] == 1).collect(),
    };
    if gone.iter().any(|&i| from.shape[i] != 1) {
        return Err(format!("axes {gone:?} of {:?}", from.shape));
    }
    let shape = (0..rank)
        .filter(|i| !gone.contains(i))
        .map(|i| from.shape[i])
        .collect();
    Ok(Constant { shape, ..from })
}

fn unsqueeze(call: &Call<'_>) -> Result<Constant, String> {
    let from = given(call, 0)?;
    let given = call.ints_of("axes", 1)?.ok_or("its axes are missing")?;
    let mut axes = axes(&given, from.shape.len() + given.len())?;
    axes.sort_unstable();
    let mut shape = from.shape.clone();
    for axis in axes {
        if axis > shape.len() {
            return Err(format!("axis {axis}"));
        }
        shape.insert(axis, 1);
    }
    Ok(Constant { shape, ..from })
}

fn transpose(call: &Call<'_>) -> Result<Constant, String> {
    let from = given(call, 0)?;
    let rank = from.shape.len();
    let order = permutation(call, rank)?;
    let mut seen = order.clone();
    seen.sort_unstable();
    if !seen.iter().copied().eq(0..rank) {
        return Err(format!("perm {order:?} of {rank} axes"));
    }
    let mut strides = vec![1; rank];
    for axis in (1..rank).rev() {
        strides[axis - 1] = strides[axis] * from.shape[axis];
    }
    let shape: Vec<usize> = order.iter().map(|&axis| from.shape[axis]).collect();
    let places = order.iter().fold(vec![0], |all, &axis| {
        let each = all.iter();
        let (extent, stride) = (from.shape[axis], strides[axis]);
        each.flat_map(|&start| (0..extent).map(move |i| start + i * stride))
            .collect()
    });
    Ok(picked(&from, shape, places.into_iter()))
}

fn real(call: &Call<'_>, f: fn(f32) -> f32) -> Result<Constant, String> {
    let from = given(call, 0)?;
    let values = from
        .floats()
        .ok_or("of integers")?
        .iter()
        .map(|&x| f(x))
        .collect();
    Ok(Constant {
        kind: from.kind,
        ..Constant::float(from.shape, values)
    })
}

fn binary(
    call: &Call<'_>,
    reals: fn(f32, f32) -> f32,
    whole: fn(i64, i64) -> Option<i64>,
) -> Result<Constant, String> {
    let (a, b) = (given(call, 0)?, given(call, 1)?);
    let shape = broadcast(call, &a.shape, &b.shape)?;
    let (left, right) = (spread(&a.shape, &shape), spread(&b.shape, &shape));
    let pairs = left.into_iter().zip(right);
    let data = match (&a.data, &b.data) {
        (Data::Float(a), Data::Float(b)) => {
            Data::Float(pairs.map(|(i, j)| reals(a[i], b[j])).collect())
        }
        (Data::Int(a), Data::Int(b)) => {
            let all: Option<Vec<i64>> = pairs.map(|(i, j)| whole(a[i], b[j])).collect();
            Data::Int(all.ok_or("integers that overflow, or a division by 0")?)
        }
        _ => return Err("integers beside real numbers".to_owned()),
    };
    Ok(Constant {
        kind: a.kind,
        shape,
        data,
        grid: None,
    })
}

fn expand(call: &Call<'_>) -> Result<Constant, String> {
    let from = given(call, 0)?;
    let target = extents(call, &integers(call, 1)?)?;
    let shape = broadcast(call, &from.shape, &target)?;
    let places = spread(&from.shape, &shape);
    Ok(picked(&from, shape, places.into_iter()))
}

/// The shape of two arrays broadcast against each other.
fn broadcast(call: &Call<'_>, a: &[usize], b: &[usize]) -> Result<Vec<usize>, String> {
    let rank = a.len().max(b.len());
    let extent =
        |shape: &[usize], i: usize| (i + shape.len()).checked_sub(rank).map_or(1, |i| shape[i]);
    let joint = (0..rank).map(|i| match (extent(a, i), extent(b, i)) {
        (x, y) if x == y || y == 1 => Some(x),
        (1, y) => Some(y),
        _ => None,
    });
    let joint: Option<Vec<usize>> = joint.collect();
    joint
        .filter(|shape| within(call, shape).is_some())
        .ok_or_else(|| format!("{a:?} beside {b:?}"))
}

/// For each element of `to` the place in an array of shape `from` that is broadcast to it.
fn spread(from: &[usize], to: &[usize]) -> Vec<usize> {
    let offset = to.len() - from.len();
    let padded: Vec<usize> = (0..to.len())
        .map(|i| i.checked_sub(offset).map_or(1, |i| from[i]))
        .collect();
    let along: Vec<Vec<usize>> = (padded.iter().zip(to))
        .map(|(&own, &extent)| (0..extent).map(|i| if own == 1 { 0 } else { i }).collect())
        .collect();
    grid(&padded, &along)
}
