//! Equations (1) to (3) of the module's header on an autodiff tensor. What the scale's gradient is, is the grid's choice:
//!
//! ```text
//!                    inside                below       above
//! Learns::Step  dy/ds  round(v) - v    quant_min - z   quant_max - z      (4)  Esser et al. 2020, equation 3
//! Learns::Clip  dy/ds  0               quant_min - z   quant_max - z      (5)  Choi et al. 2018, equation 2, by the chain rule
//! either        dy/dz  0                    -s              -s            (6)
//! ```
//!
//! times a factor, which slows the steps down to the pace of the weights. Inside and outside are told by the rounded code, as
//! PyTorch's learnable fake-quantize does: a value up to half a step past the last code still is inside. Equation 3 of the paper
//! is inside for -Q_N < v < Q_P alone.
//!
//! These are operations of burn, for every device. A device with one operation for all of it, as training has on the CPU, is held to
//! them.
//!
//! Two identities keep the values exact where autodiff is made to see another derivative: `v + (round(v) - v)` is round(v) in
//! float32, since the difference is exact (Sterbenz for |v| >= 1/2, trivial below), and `c + (t - c) f` is c where c = t.

use burn::tensor::{Bool, Tensor, TensorData};

use super::{Learns, Stays};

/// The codes and the numbers they stand for, as tensors.
#[derive(Debug, Clone)]
pub struct Grid {
    /// `[1]`, or `[channels]` for the channels of axis 0; above 0.
    pub scale: Tensor<1>,
    /// Of the scale's shape, whole numbers; none is 0.
    pub zero_point: Option<Tensor<1>>,
    /// The smallest code.
    pub quant_min: i32,
    /// The largest code.
    pub quant_max: i32,
    /// Which gradients the scale and the zero point get.
    pub learns: Learns,
}

/// The fake-quantized `x`. On a plain device the values alone; on an autodiff device with the gradients of the header. The
/// grid's tensors live on `x`'s device.
pub fn fake_quant<const D: usize>(x: Tensor<D>, grid: &Grid) -> Tensor<D> {
    let mut shape = [1; D];
    shape[0] = grid.scale.dims()[0];
    let (low, high) = (grid.quant_min as f32, grid.quant_max as f32);
    let zero_point = grid.zero_point.clone().map(|z| z.reshape(shape));
    let scale = grid.scale.clone().reshape(shape);
    match grid.learns {
        Learns::Nothing => {
            let (scale, zero_point) = (constant(scale), zero_point.map(constant));
            let steps = steps(round(x / scale.clone()), zero_point, (low, high));
            steps * scale
        }
        Learns::Step { factor } => {
            let scale = slowed(scale, factor);
            let zero_point = zero_point.map(|z| slowed(z, factor));
            let steps = steps(round(x / scale.clone()), zero_point, (low, high));
            steps * scale
        }
        Learns::Clip { factor } => {
            let slow = slowed(scale.clone(), factor);
            let scale = constant(scale);
            let zero_point = zero_point.map(|z| slowed(z, factor));
            let rounded = round(x / scale.clone());
            let clipped = steps(rounded.clone(), zero_point.clone(), (low, high));
            // The steps of what was clipped, 0 elsewhere: the derivative (5), on a term whose value is 0.
            let free = match zero_point {
                Some(z) => constant(rounded) + constant(z),
                None => constant(rounded),
            };
            let inside = free.clone().clamp(low, high).equal(free);
            let ends = constant(clipped.clone()).mask_fill(inside, 0.0);
            clipped * scale.clone() + (slow - scale) * ends
        }
    }
}

/// [`fake_quant`] of those numbers that do not stay as they are.
pub fn fake_quant_in_part<const D: usize>(x: Tensor<D>, grid: &Grid, stays: Stays) -> Tensor<D> {
    let mut mask = vec![false; x.dims().iter().product()];
    stays.each(0, mask.len(), |i, stays| mask[i] = stays);
    let device = x.clone().inner().device();
    let mask = Tensor::<D, Bool>::from_data(TensorData::new(mask, x.dims()), &device);
    fake_quant(x.clone(), grid).mask_where(mask, x)
}

/// `q - z`.
fn steps<const D: usize>(
    rounded: Tensor<D>,
    zero_point: Option<Tensor<D>>,
    (low, high): (f32, f32),
) -> Tensor<D> {
    match zero_point {
        Some(z) => (rounded + z.clone()).clamp(low, high) - z,
        None => rounded.clamp(low, high),
    }
}

/// round(v), half to even, with the derivative 1.
pub(super) fn round<const D: usize>(v: Tensor<D>) -> Tensor<D> {
    let plain = constant(v.clone());
    let difference = plain.clone().round() - plain;
    v + difference
}

/// `t`, whose gradient is multiplied by `factor`.
fn slowed<const D: usize>(t: Tensor<D>, factor: f32) -> Tensor<D> {
    let plain = constant(t.clone());
    // A factor of infinity or NaN would show up as a value; the factors here are finite.
    plain.clone() + (t - plain) * factor
}

/// `t` without its gradient. `detach` would keep a leaf a leaf, which costs a backward step for nothing.
pub(super) fn constant<const D: usize>(t: Tensor<D>) -> Tensor<D> {
    t.inner()
}
