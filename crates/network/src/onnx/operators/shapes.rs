//! Operators that move no number: another shape, another order of axes.

use std::rc::Rc;

use super::{Call, axis, one, permutation};
use crate::onnx::constant::Constant;
use crate::onnx::import::{Import, Known};

pub(super) fn flatten(_: &mut Import, call: &Call<'_>) -> Result<Vec<Known>, String> {
    let x = call.view(0)?;
    let extents = x.extents();
    let at = call.int("axis", 1)?;
    let at = if at == extents.len() as i64 + 1 {
        extents.len() + 1
    } else {
        axis(at, extents.len() + 1)?
    };
    if at == 0 || extents[..at - 1].iter().any(|&extent| extent != 1) {
        return Err(format!(
            "at axis {at} of [n, {extents:?}]: images would be mixed"
        ));
    }
    let flat = x.reshaped(&[extents.iter().product()]);
    one(flat.ok_or("an operand without numbers")?)
}

pub(super) fn reshape(_: &mut Import, call: &Call<'_>) -> Result<Vec<Known>, String> {
    let x = call.view(0)?;
    let target = call.ints_of("shape", 1)?.ok_or("its shape is missing")?;
    let mut extents = vec![call.batch];
    extents.extend(x.extents());
    let total: usize = extents.iter().product();
    let keeps_zeros = call.int("allowzero", 0)? != 0;
    let mut found: Vec<usize> = Vec::new();
    let mut open = None;
    for (i, &extent) in target.iter().enumerate() {
        found.push(match extent {
            -1 if open.is_none() => {
                open = Some(i);
                1
            }
            0 if !keeps_zeros => *extents.get(i).ok_or("a 0 without an axis to copy")?,
            extent => usize::try_from(extent).map_err(|_| format!("extents {target:?}"))?,
        });
    }
    let known = found
        .iter()
        .try_fold(1_usize, |n, &extent| n.checked_mul(extent));
    if let (Some(open), Some(known @ 1..)) = (open, known) {
        found[open] = total / known;
    }
    let fail = || format!("{extents:?} to {target:?}");
    let (first, rest) = found.split_first().ok_or_else(fail)?;
    if *first != call.batch {
        return Err(format!("{}: images would be mixed", fail()));
    }
    one(x.reshaped(rest).ok_or_else(fail)?)
}

pub(super) fn transpose(_: &mut Import, call: &Call<'_>) -> Result<Vec<Known>, String> {
    let x = call.view(0)?;
    let rank = x.extents().len() + 1;
    let order = permutation(call, rank)?;
    let behind: Option<Vec<usize>> = match order.split_first() {
        Some((0, rest)) => rest.iter().map(|axis| axis.checked_sub(1)).collect(),
        _ => None,
    };
    let view = behind.and_then(|behind| x.transposed(&behind));
    one(view
        .ok_or_else(|| format!("perm {order:?} of {rank} axes, the first of which are images"))?)
}

pub(super) fn squeeze(_: &mut Import, call: &Call<'_>) -> Result<Vec<Known>, String> {
    let x = call.view(0)?;
    let extents = x.extents();
    let axes = call
        .ints_of("axes", 1)?
        .ok_or("without axes it would squeeze the images' too")?;
    let axes = super::axes(&axes, extents.len() + 1)?;
    if axes.iter().any(|&axis| axis == 0 || extents[axis - 1] != 1) {
        return Err(format!("axes {axes:?} of [n, {extents:?}]"));
    }
    let left = extents
        .iter()
        .enumerate()
        .filter(|(i, _)| !axes.contains(&(i + 1)));
    let left: Vec<usize> = left.map(|(_, &extent)| extent).collect();
    one(x.reshaped(&left).ok_or("an operand without numbers")?)
}

pub(super) fn unsqueeze(_: &mut Import, call: &Call<'_>) -> Result<Vec<Known>, String> {
    let x = call.view(0)?;
    let mut extents = x.extents();
    let axes = call.ints_of("axes", 1)?.ok_or("its axes are missing")?;
    let rank = extents.len() + 1 + axes.len();
    let mut axes = super::axes(&axes, rank)?;
    axes.sort_unstable();
    for axis in axes {
        if axis == 0 || axis > extents.len() + 1 {
            return Err("an axis in front of the images".to_owned());
        }
        extents.insert(axis - 1, 1);
    }
    one(x.reshaped(&extents).ok_or("an operand without numbers")?)
}

pub(super) fn shape(_: &mut Import, call: &Call<'_>) -> Result<Vec<Known>, String> {
    let mut extents = vec![call.batch as i64];
    extents.extend(call.view(0)?.extents().iter().map(|&extent| extent as i64));
    let rank = extents.len() as i64;
    let place = |at: i64| (if at < 0 { at + rank } else { at }).clamp(0, rank) as usize;
    let (start, end) = (place(call.int("start", 0)?), place(call.int("end", rank)?));
    let some = extents.get(start..end).unwrap_or_default().to_vec();
    Ok(vec![Known::Constant(Rc::new(Constant::ints(some)))])
}
