//! Quantizers as QONNX has them, for FINN, hls4ml and others that have a circuit for every width: a node `Quant` of the domain
//! `qonnx.custom_op.general` from real numbers to real numbers, with the number of bits as an input.
//!
//! ```text
//! y = scale * (round(clamp(x / scale + zeropt, min, max)) - zeropt),   min, max by bitwidth b, signed, narrow:
//!     signed   -2^(b-1) (narrow: one more) to 2^(b-1) - 1,   unsigned   0 to 2^b - 1 (narrow: one less)
//! ```
//!
//! Rounding is half to even (`ROUND`). Scale and zero point are scalars, or have the axes of x with an extent for each output channel.
//! Source: docs/qonnx-custom-ops/quant_op.md of fastmachinelearning/qonnx, where newer versions call the node `IntQuant` and read both.

use engine::Code;
use network::HostTensor;
use network::onnx::Attribute::{Int, Text};

use super::stored::{lowest, same};
use super::{Export, refused};
use crate::error::Error;
use crate::quantize::WeightCodes;

/// Of QONNX's operators.
pub(super) const DOMAIN: &str = "qonnx.custom_op.general";

/// Which integers a node rounds to, and what is added to codes to be among them.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Width {
    bits: u32,
    signed: bool,
    narrow: bool,
    shift: i32,
}

impl Width {
    /// Of the codes `low` to `high`; none where there are neither 2^b nor 2^b - 1 of them.
    fn of(low: i32, high: i32) -> Option<Self> {
        let n = u32::try_from(high.checked_sub(low)?).ok()?.checked_add(1)?;
        let narrow = !n.is_power_of_two();
        let all = if narrow { n + 1 } else { n };
        if !all.is_power_of_two() {
            return None;
        }
        let bits = all.trailing_zeros().max(1);
        let signed = low < 0;
        let first = match signed {
            true => -(1 << (bits - 1)) + i32::from(narrow),
            false => 0,
        };
        Some(Self {
            bits,
            signed,
            narrow,
            shift: first - low,
        })
    }

    /// Of weights of so many bits, `q - zero_point` of whatever zero point; with the last, the zero points of channels are to come.
    fn of_weights(weights: &WeightCodes, bits: u32) -> (Self, Vec<i32>) {
        let signed = |narrow| Self {
            bits,
            signed: true,
            narrow,
            shift: 0,
        };
        let high = (1_i64 << (bits - 1)) - 1;
        let within = |low: i64| {
            weights
                .codes
                .iter()
                .all(|&q| (low..=high).contains(&q.into()))
        };
        let zeros = vec![0; weights.scale.len()];
        if within(-high) {
            return (signed(true), zeros);
        }
        if within(-high - 1) {
            return (signed(false), zeros);
        }
        let unsigned = Self {
            bits,
            signed: false,
            narrow: false,
            shift: 0,
        };
        let zeros = lowest(weights, bits).into_iter().map(|q| -q);
        (unsigned, zeros.collect())
    }
}

impl Export<'_> {
    /// `raw` rounded to codes and back, in one node.
    pub(super) fn quant(&mut self, raw: &str, name: &str, code: Code) -> Result<(), Error> {
        let Some(width) = Width::of(code.quant_min, code.quant_max) else {
            return Err(refused(format!(
                "{name} has the codes {} to {}, and a Quant node has those of a number of bits",
                code.quant_min, code.quant_max
            )));
        };
        let zero = code.zero_point + width.shift;
        self.quant_node(raw, name, width, (&[], &[code.scale], &[zero as f32]));
        Ok(())
    }

    /// A layer's weights, of so many bits.
    pub(super) fn quant_weight(
        &mut self,
        name: &str,
        tensor: &HostTensor,
        weights: &WeightCodes,
        bits: u32,
    ) {
        let (width, zeros) = Width::of_weights(weights, bits);
        let zeros: Vec<f32> = zeros.iter().map(|&zero| zero as f32).collect();
        self.quant_constant(name, tensor, width, (&weights.scale, &zeros));
    }

    /// A bias of 32 bits in the scale of its sums.
    pub(super) fn quant_bias(&mut self, name: &str, tensor: &HostTensor, scales: &[f32]) {
        let width = Width {
            bits: 32,
            signed: true,
            narrow: false,
            shift: 0,
        };
        self.quant_constant(name, tensor, width, (scales, &vec![0.0; scales.len()]));
    }

    /// Numbers that lie on their grid already, one scale and zero point for each output channel, or one for all.
    fn quant_constant(
        &mut self,
        name: &str,
        tensor: &HostTensor,
        width: Width,
        (scales, zeros): (&[f32], &[f32]),
    ) {
        let numbers = format!("{name}.rounded");
        self.writer.floats(&numbers, &tensor.shape, &tensor.data);
        if same(scales) && same(zeros) {
            self.quant_node(&numbers, name, width, (&[], &scales[..1], &zeros[..1]));
            return;
        }
        let mut extents = vec![1; tensor.shape.len()];
        extents[0] = scales.len();
        self.quant_node(&numbers, name, width, (&extents, scales, zeros));
    }

    fn quant_node(
        &mut self,
        raw: &str,
        name: &str,
        width: Width,
        (extents, scales, zeros): (&[usize], &[f32], &[f32]),
    ) {
        let [scale, zero_point, bits] =
            ["scale", "zero_point", "bits"].map(|part| format!("{name}.{part}"));
        self.writer.floats(&scale, extents, scales);
        self.writer.floats(&zero_point, extents, zeros);
        self.writer.floats(&bits, &[], &[width.bits as f32]);
        let attributes = vec![
            ("signed", Int(width.signed.into())),
            ("narrow", Int(width.narrow.into())),
            ("rounding_mode", Text("ROUND")),
        ];
        let inputs = [raw, &scale, &zero_point, &bits];
        self.writer
            .node_of(DOMAIN, "Quant", &inputs, name, attributes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_a_number_of_bits_shifted_or_refused() {
        let width = |bits, signed, narrow, shift| {
            Some(Width {
                bits,
                signed,
                narrow,
                shift,
            })
        };
        assert_eq!(Width::of(0, 255), width(8, false, false, 0));
        assert_eq!(Width::of(-127, 127), width(8, true, true, 0));
        assert_eq!(Width::of(-128, 127), width(8, true, false, 0));
        assert_eq!(Width::of(0, 1), width(1, false, false, 0));
        assert_eq!(Width::of(-1, 0), width(1, true, false, 0));
        assert_eq!(Width::of(0, 254), width(8, false, true, 0));
        assert_eq!(Width::of(-3, 4), width(3, true, false, -1));
        assert_eq!(Width::of(0, 65_535), width(16, false, false, 0));
        assert_eq!(Width::of(0, 99), None);
        assert_eq!(Width::of(i32::MIN, i32::MAX), None);
    }

    #[test]
    fn affine_weights_are_unsigned_with_a_zero_point_for_each_channel() {
        let weights = |codes: &[i32]| WeightCodes {
            codes: codes.to_vec(),
            scale: vec![1.0; 2],
        };
        let (width, zeros) = Width::of_weights(&weights(&[-15, 0, -3, 12]), 4);
        assert_eq!((width.signed, zeros), (false, vec![15, 3]));
        let (width, zeros) = Width::of_weights(&weights(&[-8, 7, 0, 0]), 4);
        assert_eq!(
            (width.signed, width.narrow, zeros),
            (true, false, vec![0, 0])
        );
        let (width, _) = Width::of_weights(&weights(&[-7, 7, 0, 0]), 4);
        assert!(width.narrow);
    }
}
