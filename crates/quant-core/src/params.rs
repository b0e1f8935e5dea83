//! The scalar reference, all in float32 and with a true division by the scale:
//!
//! ```text
//! q = clamp(round(x / scale) + zero_point, quant_min, quant_max)      (1)
//! y = scale * (q - zero_point)                                        (2)
//! ```
//!
//! PyTorch's fake-quantize kernels multiply by a rounded 1/scale instead; the two differ by one step where x / scale is within a
//! few ulp of a tie. Every other path of this crate (slices, tensors) gives exactly the values of this one.

use crate::Rounding;
use crate::kernel::quantize_group;

/// One group's parameters. A `scale` of 0 marks a group that was left in float: [`QParams::fake_quant`] returns its input.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct QParams {
    /// The distance between neighbouring representable numbers; above 0 and finite, or 0 for a group that is left in float.
    pub scale: f32,
    /// The code of the number 0. Inside the codes, except under the `linear` preset.
    pub zero_point: i32,
    /// The smallest code.
    pub quant_min: i32,
    /// The largest code.
    pub quant_max: i32,
}

impl QParams {
    /// Whether the group was left in float.
    pub fn is_float(&self) -> bool {
        self.scale == 0.0
    }

    /// Equation (1) before the clamp. `index`: see [`Rounding::round`].
    fn unclamped(&self, x: f32, rounding: Rounding, index: u64) -> f32 {
        rounding.round(x / self.scale, index) + self.zero_point as f32
    }

    /// Equation (1): the code of `x`. `index` is the element's flat position in its tensor; only `stochastic` looks at it.
    pub fn quantize(&self, x: f32, rounding: Rounding, index: u64) -> i32 {
        if self.is_float() {
            return self.zero_point;
        }
        // Codes are below 2^24 in magnitude, so the clamped value is exact and the cast cannot saturate.
        self.unclamped(x, rounding, index)
            .max(self.quant_min as f32)
            .min(self.quant_max as f32) as i32
    }

    /// Equation (2): the number that the code `q` stands for.
    pub fn dequantize(&self, q: i32) -> f32 {
        self.scale * (q as f32 - self.zero_point as f32)
    }

    /// Equations (1) and (2) in a row: the representable number that stands for `x`.
    pub fn fake_quant(&self, x: f32, rounding: Rounding, index: u64) -> f32 {
        if self.is_float() {
            x
        } else {
            self.dequantize(self.quantize(x, rounding, index))
        }
    }

    /// [`QParams::fake_quant`] of all of `x`, whose first has the index 0: the same bits, some times as fast.
    pub fn fake_quant_all(&self, x: &[f32], rounding: Rounding) -> Vec<f32> {
        let mut y = x.to_vec();
        if !self.is_float() {
            let mut codes = vec![0; x.len()];
            quantize_group(self, rounding, 0, x, &mut y, &mut codes);
        }
        y
    }

    /// Whether the clamp of equation (1) changes the code of `x`.
    pub fn saturates(&self, x: f32, rounding: Rounding, index: u64) -> bool {
        let code = self.unclamped(x, rounding, index);
        !self.is_float() && (code < self.quant_min as f32 || code > self.quant_max as f32)
    }

    /// Bits that tell all codes apart.
    pub fn bits(&self) -> u32 {
        u32::BITS - self.quant_max.abs_diff(self.quant_min).leading_zeros()
    }

    /// The smallest representable number.
    pub fn lowest(&self) -> f32 {
        self.dequantize(self.quant_min)
    }

    /// The largest representable number.
    pub fn highest(&self) -> f32 {
        self.dequantize(self.quant_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const Q: QParams = QParams {
        scale: 0.5,
        zero_point: 2,
        quant_min: 0,
        quant_max: 7,
    };

    #[test]
    fn codes_follow_equation_1_and_clamp() {
        let codes = [-9.0, -1.0, -0.25, 0.0, 0.25, 0.75, 2.5, 2.75, 9.0]
            .map(|x| Q.quantize(x, Rounding::HalfEven, 0));
        assert_eq!(codes, [0, 0, 2, 2, 2, 4, 7, 7, 7]);
        assert_eq!((Q.lowest(), Q.highest(), Q.bits()), (-1.0, 2.5, 3));
        assert!(!Q.saturates(2.5, Rounding::HalfEven, 0));
        assert!(Q.saturates(2.75, Rounding::HalfEven, 0)); // 5.5 rounds to 6, and 6 + 2 is past 7
    }

    #[test]
    fn negative_zero_comes_back_as_zero() {
        assert_eq!(Q.fake_quant(-0.0, Rounding::HalfEven, 0).to_bits(), 0);
        assert_eq!(Q.fake_quant(-1e-8, Rounding::HalfEven, 0).to_bits(), 0);
    }

    #[test]
    fn scale_0_leaves_a_number_as_it_is() {
        let float = QParams { scale: 0.0, ..Q };
        assert_eq!(float.fake_quant(1.25, Rounding::HalfEven, 0), 1.25);
        assert!(!float.saturates(1.25, Rounding::HalfEven, 0));
    }
}
