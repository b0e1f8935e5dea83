//! The arithmetic of ONNX Runtime's integer kernels, which scale in float32 and round once, half to even.
//!
//! | node | rule | ONNX Runtime's file |
//! |---|---|---|
//! | convolution, linear layer | `round(float(sum + bias) * M)`, `M = s_in * scale / s_out` | `mlas/lib/quantize.cpp` |
//! | addition | `round(fma(a, A, fma(b, B, z_out - (A z_a + B z_b))))`, `A = s_a / s_out`, `B = s_b / s_out`, stored codes a and b | `mlas/lib/qladd.cpp` |
//! | average pool | `round(float(sum) * M)`, `M = s_in / (s_out * count)` | `mlas/lib/qlgavgpool.cpp` |
//! | product | `round(float(product) * M)`, `M = s_in * s_other / s_out` | `mlas/lib/qlmul.cpp` |
//!
//! Every step is float32 and rounded. The first summand is the node's own.

use crate::epilogue::{Coded, Surroundings, lengthen};
use crate::error::Error;
use crate::graph::{Code, Op};
use crate::kernel::VECTOR;
use crate::pool::Counts;

/// A node's arithmetic.
#[derive(Clone, Debug)]
pub(crate) struct OnnxRuntime {
    multiplier: Vec<f32>,
    /// [`Coded::first`].
    first: Option<[f32; 2]>,
    add: Option<Add>,
}

#[derive(Clone, Copy, Debug)]
struct Add {
    own: f32,
    other: f32,
    /// Stored zero points of the summands and of the sum.
    zeros: [f32; 3],
    last: [f32; 2],
}

impl OnnxRuntime {
    /// The arithmetic of a node all of whose values have codes; `stored` gives a code's zero point as it is stored.
    ///
    /// # Errors
    /// [`Error::Code`] for a value without codes.
    pub fn new(around: Surroundings<'_>, stored: impl Fn(Code) -> i32) -> Result<Self, Error> {
        let Surroundings { node, channels, .. } = around;
        let Coded {
            input,
            own,
            output,
            add,
            first,
            last,
        } = around.coded()?;
        let real = |ends: [i32; 2]| ends.map(|q| q as f32);
        let mut multiplier: Vec<f32> = match &node.op {
            Op::Conv(conv) => match &conv.scale {
                Some(scales) => {
                    let scale = |s: &f32| input.scale * s / own.scale;
                    scales.iter().map(scale).collect()
                }
                None => vec![input.scale / own.scale; channels],
            },
            Op::AvgPool { window, counted } => {
                let counts = Counts::new(window, *counted, around.shape).distinct;
                let share = |&count: &usize| input.scale / (own.scale * count as f32);
                counts.iter().map(share).collect()
            }
            Op::Multiply => vec![input.scale * around.must(around.other)?.scale / own.scale],
            _ => vec![input.scale / own.scale],
        };
        let add = add.map(|other| Add {
            own: own.scale / output.scale,
            other: other.scale / output.scale,
            zeros: [own, other, output].map(|code| stored(code) as f32),
            last: real(last),
        });
        lengthen(&mut multiplier);
        Ok(Self {
            multiplier,
            first: first.map(real),
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
        let mut value = sum as f32;
        if let Some([low, high]) = self.first {
            value = (value * self.multiplier[channel])
                .clamp(low, high)
                .round_ties_even();
        }
        if let (Some(add), Some(other)) = (self.add, other) {
            let [own_zero, other_zero, zero] = add.zeros;
            let constant = zero - (add.own * own_zero + add.other * other_zero);
            let (a, b) = (value + own_zero, other as f32 + other_zero);
            let sum = a.mul_add(add.own, b.mul_add(add.other, constant));
            let code = sum.round_ties_even() - zero;
            let [low, high] = add.last;
            value = code.clamp(low, high);
        }
        value as i32
    }
}
