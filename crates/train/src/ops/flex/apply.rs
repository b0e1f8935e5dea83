//! Tensors of the flex device as arguments of an operation, and as slices.

use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::ops::{Backward, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, AutodiffBackend, Flex};
use burn::tensor::{DType, Tensor, TensorData};

use super::pool;

/// A tensor under autodiff.
pub(super) type Tracked = FloatTensor<Autodiff<Flex>>;

/// An argument of an operation, on the flex device.
#[derive(Clone, Debug)]
pub enum Argument {
    /// A constant.
    Plain(FlexTensor),
    /// Under autodiff.
    Tracked(Tracked),
}

impl Argument {
    /// `t` as an argument: float32, on the flex device, not under gradient checkpointing; otherwise none.
    pub fn of<const D: usize>(t: &Tensor<D>) -> Option<Self> {
        if t.dtype() != DType::F32 {
            return None;
        }
        if let Ok(plain) = t.clone().try_into_primitive::<Flex>() {
            return Some(Self::Plain(plain));
        }
        let tracked = t.clone().try_into_primitive::<Autodiff<Flex>>().ok()?;
        Some(Self::Tracked(tracked))
    }

    fn into_tracked(self) -> Tracked {
        match self {
            // A constant: nobody asks for its gradient.
            Self::Plain(t) => Autodiff::<Flex>::from_inner(t),
            Self::Tracked(t) => t,
        }
    }

    fn into_plain(self) -> FlexTensor {
        match self {
            Self::Plain(t) => t,
            Self::Tracked(t) => t.into_primitive(),
        }
    }
}

/// Applies an operation with the gradients of `backward`: `forward` makes the result, and what `backward` needs of the
/// operands where gradients are asked for. One tracked operand makes the result tracked.
pub fn apply<const D: usize, const N: usize, B, R>(
    operands: [Argument; N],
    backward: B,
    forward: impl FnOnce([FlexTensor; N], bool) -> (FlexTensor, Option<B::State>, R),
) -> (Tensor<D>, R)
where
    B: Backward<Flex, N>,
{
    if operands.iter().all(|t| matches!(t, Argument::Plain(_))) {
        let (made, _, rest) = forward(operands.map(Argument::into_plain), false);
        return (Tensor::from_primitive::<Flex>(made), rest);
    }
    let tracked = operands.map(Argument::into_tracked);
    let nodes = tracked.each_ref().map(|t| t.node());
    let prepared = backward.prepare::<NoCheckpointing>(nodes).compute_bound();
    let plain = tracked.map(|t| t.into_primitive());
    let (made, rest) = match prepared.stateful() {
        OpsKind::Tracked(prepared) => match forward(plain, true) {
            (made, Some(state), rest) => (prepared.finish(state, made), rest),
            (made, None, rest) => (Autodiff::<Flex>::from_inner(made), rest),
        },
        OpsKind::UnTracked(prepared) => {
            let (made, _, rest) = forward(plain, false);
            (prepared.finish(made), rest)
        }
    };
    (Tensor::from_primitive::<Autodiff<Flex>>(made), rest)
}

/// The values of a tensor, in order.
pub fn values(t: &FlexTensor) -> &[f32] {
    t.as_slice()
        .expect("tensors are made contiguous before they are read")
}

/// The tensor of some values.
pub fn tensor<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape))
}

/// The values of a tensor to write over: its own buffer where nobody else has it.
pub fn into_values(t: FlexTensor) -> Vec<f32> {
    // `to_contiguous` would leave a second owner behind.
    let t = match t.is_contiguous() {
        true => t,
        false => t.to_contiguous(),
    };
    if t.is_unique() && size_of_val(values(&t)) == t.bytes().len() {
        if let Ok(values) = t.into_data().try_into_vec() {
            return values;
        }
        unreachable!("the bytes of a float32 tensor are float32 values");
    }
    let mut copy = pool::take(values(&t).len());
    copy.copy_from_slice(values(&t));
    copy
}

/// Gives the buffer of a tensor back, if nobody else has it.
pub fn recycle(t: FlexTensor) {
    if t.is_unique()
        && let Ok(values) = t.into_data().try_into_vec()
    {
        pool::give(values);
    }
}
