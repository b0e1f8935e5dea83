//! The arithmetic of ONNX Runtime's integer kernels, which scale in float32 and round once, half to even.
//!
//! | node | rule | ONNX Runtime's file |
//! |---|---|---|
//! | convolution, linear layer | `round(float(sum + bias) * M)`, `M = s_in * scale / s_out` | `mlas/lib/quantize.cpp` |
//! | addition | `round(fma(a, A, fma(b, B, z_out - fma(A, z_a, B z_b))))`, `A = s_a / s_out`, `B = s_b / s_out`, stored codes a and b | `mlas/lib/qladd.cpp` |
//! | average pool | `round(float(sum) * M)`, `M = s_in / (s_out * count)` | `mlas/lib/qlgavgpool.cpp` |
//! | product | `round(float(product) * M)`, `M = s_in * s_other / s_out` | `mlas/lib/qlmul.cpp` |
//!
//! Every step is float32 and rounded.

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
    /// A and B, and the stored zero points of the summands and of the sum.
    scales: [f32; 2],
    zeros: [f32; 3],
    /// Whether a is what is added, and b the node's own.
    is_added_first: bool,
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
        let is_added_first = node.is_added_first;
        let add = add.map(|other| {
            let [a, b] = if is_added_first {
                [other, own]
            } else {
                [own, other]
            };
            Add {
                scales: [a, b].map(|code| code.scale / output.scale),
                zeros: [a, b, output].map(|code| stored(code) as f32),
                is_added_first,
                last: real(last),
            }
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
            let ([scale_a, scale_b], [zero_a, zero_b, zero]) = (add.scales, add.zeros);
            let constant = zero - scale_a.mul_add(zero_a, scale_b * zero_b);
            let other = other as f32;
            let [a, b] = if add.is_added_first {
                [other, value]
            } else {
                [value, other]
            };
            let sum = (a + zero_a).mul_add(scale_a, (b + zero_b).mul_add(scale_b, constant));
            let code = sum.round_ties_even() - zero;
            let [low, high] = add.last;
            value = code.clamp(low, high);
        }
        value as i32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stored codes of two summands and what QLinearAdd of ONNX Runtime 1.32 makes of them, from a MobileNetV2, where another
    /// order of the operands or another rounding of the constant gives another code.
    const SUMS: [[i32; 3]; 5] = [
        [82, 47, 23],
        [119, 113, 124],
        [143, 117, 145],
        [180, 183, 246],
        [58, 43, 3],
    ];

    #[test]
    fn a_sum_has_onnx_runtimes_code_whichever_summand_is_the_nodes_own() {
        let scales = [1_060_048_989, 1_066_585_808].map(f32::from_bits);
        let zeros = [131, 115, 135];
        for is_added_first in [false, true] {
            let arithmetic = OnnxRuntime {
                multiplier: Vec::new(),
                first: None,
                add: Some(Add {
                    scales,
                    zeros: zeros.map(|zero| zero as f32),
                    is_added_first,
                    last: [-135.0, 120.0],
                }),
            };
            for [a, b, sum] in SUMS {
                let (a, b) = (a - zeros[0], b - zeros[1]);
                let (own, other) = if is_added_first { (b, a) } else { (a, b) };
                let found = arithmetic.apply(own, 0, Some(other));
                assert_eq!(found + zeros[2], sum, "{a} + {b}");
            }
        }
    }
}
