//! The arithmetic of gemmlowp and TensorFlow Lite's reference kernels for int8, which round more than once.
//!
//! | node | rule | TensorFlow Lite's file |
//! |---|---|---|
//! | convolution, linear layer | `MultiplyByQuantizedMultiplier(sum + bias, s_in * scale / s_out)` | `reference/integer_ops/conv.h` |
//! | addition | both inputs times 2^20, scaled to twice the larger scale, added, scaled to the output | `reference/integer_ops/add.h` |
//! | average pool, same codes in and out | sum of the codes / count, half away from zero | `reference/integer_ops/pooling.h` |
//!
//! All multipliers have 31 bits; see [`FixedPoint::multiply_gemmlowp`].

use quant_core::FixedPoint;

use crate::epilogue::{Coded, Surroundings, lengthen, no_form};
use crate::error::Error;
use crate::graph::{Code, Op};
use crate::kernel::VECTOR;
use crate::pool::Counts;

/// A node's arithmetic.
#[derive(Clone, Debug)]
pub(crate) struct Gemmlowp {
    multiplier: Vec<FixedPoint>,
    /// For a pool that keeps its codes: how many are averaged, and their zero point.
    mean: Option<(Vec<i32>, i32)>,
    /// [`Coded::first`].
    first: Option<[i32; 2]>,
    add: Option<Add>,
}

#[derive(Clone, Copy, Debug)]
struct Add {
    own: FixedPoint,
    other: FixedPoint,
    output: FixedPoint,
    last: [i32; 2],
}

/// Places that an addition's inputs are shifted to the left.
const ADD_SHIFT: i32 = 20;

impl Gemmlowp {
    /// The arithmetic of a node all of whose values have codes.
    ///
    /// # Errors
    /// [`Error::Code`] for a multiplier that does not fit, and for a value without codes.
    pub fn new(around: Surroundings<'_>) -> Result<Self, Error> {
        let Surroundings { node, channels, .. } = around;
        let form = |value: f64| FixedPoint::new(value).ok_or_else(|| no_form(&node.name, value));
        let Coded {
            input,
            own,
            output,
            add,
            first,
            last,
        } = around.coded()?;
        let scale = |code: Code| f64::from(code.scale);
        let (scales, mean) = match &node.op {
            Op::Conv(conv) => {
                let scales = match &conv.scale {
                    Some(scales) => scales.iter().map(|&s| f64::from(s)).collect(),
                    None => vec![1.0; channels],
                };
                (scales, None)
            }
            Op::AvgPool { window, counted } => {
                let counts = Counts::new(window, *counted, around.shape).distinct;
                let shares = counts.iter().map(|&count| 1.0 / count as f64).collect();
                let whole = counts.iter().map(|&count| count as i32).collect();
                (
                    shares,
                    (input == output).then_some((whole, input.zero_point)),
                )
            }
            Op::Multiply => (vec![scale(around.must(around.other)?)], None),
            _ => (vec![1.0], None),
        };
        let mut multiplier = scales
            .iter()
            .map(|s| form(scale(input) * s / scale(own)))
            .collect::<Result<Vec<_>, _>>()?;
        let add = match add {
            None => None,
            Some(other) => {
                let other = scale(other);
                let own = scale(own);
                let twice = 2.0 * own.max(other);
                let raised = f64::from(1 << ADD_SHIFT);
                Some(Add {
                    own: form(own / twice)?,
                    other: form(other / twice)?,
                    output: form(twice / (raised * scale(output)))?,
                    last,
                })
            }
        };
        lengthen(&mut multiplier);
        Ok(Self {
            multiplier,
            mean,
            first,
            add,
        })
    }

    /// Whether `channels` channels and the rest of their last vector can be read.
    pub fn covers(&self, channels: usize) -> bool {
        self.multiplier.len() >= channels + VECTOR
    }

    /// Whether something is added.
    pub fn adds(&self) -> bool {
        self.add.is_some()
    }

    /// `q - zero_point` of the result, from a sum of `q - zero_point`, weighted and with its bias or not, and what is added
    /// likewise.
    pub fn apply(&self, sum: i32, channel: usize, other: Option<i32>) -> i32 {
        let mut value = sum;
        if let Some([low, high]) = self.first {
            value = match &self.mean {
                Some((counts, zero)) => {
                    let count = counts[channel];
                    let codes = sum + count * zero;
                    // Division truncates.
                    (codes + codes.signum() * (count / 2)) / count - zero
                }
                None => self.multiplier[channel].multiply_gemmlowp(sum),
            };
            value = value.clamp(low, high);
        }
        if let (Some(add), Some(other)) = (self.add, other) {
            let own = add.own.multiply_gemmlowp(value << ADD_SHIFT);
            let other = add.other.multiply_gemmlowp(other << ADD_SHIFT);
            let sum = add.output.multiply_gemmlowp(own + other);
            let [low, high] = add.last;
            value = sum.clamp(low, high);
        }
        value
    }
}
