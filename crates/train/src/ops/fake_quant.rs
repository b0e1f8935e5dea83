//! Fake quantization with straight-through gradients; the equations are those of [`engine::training::FakeQuant`].

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops};
use burn::backend::flex::FlexTensor;
use burn::backend::{Flex, TensorMetadata};
use burn::tensor::{Tensor, TensorData};
use engine::training::{self, StepGrid};
use quant_core::qat::{self, Grid, Learns, Stays};

use super::flex::pool;
use super::flex::{Argument, LENGTHS, apply, into_values, recycle, tensor, values};

/// The fake-quantized `x`: [`qat::fake_quant`].
pub fn fake_quant<const D: usize>(x: Tensor<D>, grid: &Grid) -> Tensor<D> {
    on_flex(&x, grid, None).unwrap_or_else(|| qat::fake_quant(x, grid))
}

/// [`fake_quant`] of those numbers that do not stay as they are: [`qat::fake_quant_in_part`].
pub fn fake_quant_in_part<const D: usize>(x: Tensor<D>, grid: &Grid, stays: Stays) -> Tensor<D> {
    on_flex(&x, grid, Some(stays)).unwrap_or_else(|| qat::fake_quant_in_part(x, grid, stays))
}

/// Both for `x` on the flex device; `None` where it is on another, or the shapes do not fit. Scale and zero point have one value
/// each, or one for each channel of x's axis 0; the scale is above 0.
pub(super) fn on_flex<const D: usize>(
    x: &Tensor<D>,
    grid: &Grid,
    stays: Option<Stays>,
) -> Option<Tensor<D>> {
    let [groups] = grid.scale.dims();
    let zero_point = grid.zero_point.as_ref();
    let fits =
        (groups == 1 || groups == x.dims()[0]) && zero_point.is_none_or(|z| z.dims() == [groups]);
    let (x, s) = (Argument::of(x)?, Argument::of(&grid.scale)?);
    if !fits {
        return None;
    }
    Some(match zero_point {
        None => {
            apply([x, s], FakeQuant, |[x, s], tracked| {
                forward((grid, stays), x, s, None, tracked)
            })
            .0
        }
        Some(z) => {
            let z = Argument::of(z)?;
            apply([x, s, z], FakeQuant, |[x, s, z], tracked| {
                forward((grid, stays), x, s, Some(z), tracked)
            })
            .0
        }
    })
}

#[derive(Clone, Debug)]
struct State {
    quant: training::FakeQuant,
    x: FlexTensor,
}

fn forward(
    (grid, stays): (&Grid, Option<Stays>),
    x: FlexTensor,
    scale: FlexTensor,
    zero_point: Option<FlexTensor>,
    tracked: bool,
) -> (FlexTensor, Option<State>, ()) {
    let (x, scale) = (x.to_contiguous(), scale.to_contiguous());
    let zero_point = zero_point.map(|z| z.to_contiguous());
    let zero_points = zero_point.as_ref().map(values);
    let scales = values(&scale).iter().enumerate();
    let quant = training::FakeQuant {
        grids: scales
            .map(|(group, &scale)| StepGrid {
                scale,
                zero_point: zero_points.map_or(0.0, |z| z[group]),
            })
            .collect(),
        low: grid.quant_min as f32,
        high: grid.quant_max as f32,
        learns: grid.learns,
        stays,
    };
    let mut y = pool::take(values(&x).len());
    quant.forward(values(&x), &mut y).expect(LENGTHS);
    let y = FlexTensor::from_data(TensorData::new(y, x.shape()));
    (y, tracked.then_some(State { quant, x }), ())
}

/// Operands: x, scale, and a zero point or none.
#[derive(Debug)]
struct FakeQuant;

impl<const N: usize> Backward<Flex, N> for FakeQuant {
    type State = State;

    fn backward(self, ops: Ops<State, N>, grads: &mut Gradients, _: &mut Checkpointer) {
        let mut gradient = into_values(grads.consume::<Flex>(&ops.node));
        let State { quant, x } = ops.state;
        let of_grids = quant.backward(values(&x), &mut gradient).expect(LENGTHS);
        let shape = x.shape();
        recycle(x);
        if quant.learns != Learns::Nothing {
            for (which, node) in ops.parents.iter().skip(1).enumerate() {
                if let Some(node) = node {
                    let values: Vec<f32> = of_grids.iter().map(|of| of[which]).collect();
                    let len = values.len();
                    grads.register::<Flex>(node.id, tensor(values, [len]));
                }
            }
        }
        match &ops.parents[0] {
            Some(node) => {
                let gradient = FlexTensor::from_data(TensorData::new(gradient, shape));
                grads.register::<Flex>(node.id, gradient);
            }
            None => pool::give(gradient),
        }
    }
}
