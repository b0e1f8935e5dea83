//! Codes as integers of a type that a file has: the smallest that holds them, and where zero lies in it.

use engine::Code;
use network::onnx::Integer;

use super::Form;
use crate::quantize::WeightCodes;

/// A layer's weights, `scale[c] * (codes[w] - zeros[c])`.
pub(super) struct StoredWeights {
    pub kind: Integer,
    pub codes: Vec<i32>,
    /// One for each output channel.
    pub zeros: Vec<i32>,
}

impl StoredWeights {
    /// In the first of the form's types that holds them: as they are, zero at 0, where it is signed; else with the smallest of each channel
    /// at 0, as affine codes need it. None where no type does.
    pub fn new(weights: &WeightCodes, form: Form) -> Option<Self> {
        use Integer::{Int4, Int8, Int16, Uint4, Uint8, Uint16};
        let kinds: &[Integer] = match form {
            Form::Qdq21 => &[Int4, Uint4, Int8, Uint8, Int16, Uint16],
            _ => &[Int8, Uint8],
        };
        let rows = rows(weights);
        let lowest = |row: &[i32]| row.iter().copied().min().unwrap_or(0).min(0);
        kinds.iter().find_map(|&kind| {
            let (low, high) = kind.range();
            let zero = |row: &[i32]| if low < 0 { 0 } else { -lowest(row) };
            let zeros: Vec<i32> = rows.clone().map(zero).collect();
            let codes = rows.clone().zip(&zeros);
            let codes: Vec<i32> = codes
                .flat_map(|(row, zero)| row.iter().map(move |q| q + zero))
                .collect();
            let fits = codes.iter().chain(&zeros).all(|q| (low..=high).contains(q));
            fits.then_some(Self { kind, codes, zeros })
        })
    }
}

/// The codes of each output channel.
pub(super) fn rows(weights: &WeightCodes) -> std::slice::Chunks<'_, i32> {
    let each = weights.codes.len() / weights.scale.len().max(1);
    weights.codes.chunks(each.max(1))
}

/// The smallest code of each channel; that of all where they have one scale and are no more than 2^`bits` together, so that one zero point
/// does for the whole tensor.
pub(super) fn lowest(weights: &WeightCodes, bits: u32) -> Vec<i32> {
    let ends = |codes: &[i32]| {
        let least = codes.iter().copied().min().unwrap_or(0);
        (least, codes.iter().copied().max().unwrap_or(0))
    };
    let (least, most) = ends(&weights.codes);
    let span = i64::from(most) - i64::from(least);
    if same(&weights.scale) && span < 1 << bits {
        return vec![least; weights.scale.len()];
    }
    rows(weights).map(|row| ends(row).0).collect()
}

/// Whether there is one value for all.
pub(super) fn same<T: PartialEq>(all: &[T]) -> bool {
    !all.is_empty() && all.windows(2).all(|pair| pair[0] == pair[1])
}

/// The type of an activation's codes, and what is added to them; none where the form has none for them. A runtime fuses 8 bits where
/// they are unsigned; signed codes of 16 bits keep their zero.
pub(super) fn activation(code: Code, form: Form) -> Option<(Integer, i32)> {
    let signed = code.quant_min < 0;
    let eight = (Integer::Uint8, if signed { 128 } else { 0 });
    let sixteen = match signed {
        true => (Integer::Int16, 0),
        false => (Integer::Uint16, 0),
    };
    let kinds: &[(Integer, i32)] = match form {
        Form::Qdq21 => &[eight, sixteen],
        _ => &[eight],
    };
    let fits = |&(kind, shift): &(Integer, i32)| {
        let (low, high) = kind.range();
        let inside = |q: i32| (low..=high).contains(&(q + shift));
        inside(code.quant_min) && inside(code.quant_max) && inside(code.zero_point)
    };
    kinds.iter().copied().find(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(codes: &[i32], form: Form) -> Option<(Integer, Vec<i32>)> {
        let weights = WeightCodes {
            codes: codes.to_vec(),
            scale: vec![1.0; 2],
        };
        let stored = StoredWeights::new(&weights, form)?;
        let back = rows(&weights).zip(stored.codes.chunks(codes.len() / 2));
        for ((own, stored_row), zero) in back.zip(&stored.zeros) {
            let shifted: Vec<i32> = stored_row.iter().map(|q| q - zero).collect();
            assert_eq!(own, shifted);
        }
        Some((stored.kind, stored.zeros))
    }

    #[test]
    fn weights_have_the_smallest_type_that_holds_them_and_signed_ones_zero_at_zero() {
        use Integer::{Int4, Int8, Int16, Uint4, Uint8, Uint16};
        let zero = vec![0, 0];
        for (codes, at_13, at_21) in [
            ([-8, 7, 0, 3], Some(Int8), Int4),
            ([-15, 0, 0, 15], Some(Int8), Uint4),
            ([-127, 127, 0, 3], Some(Int8), Int8),
            ([-255, 0, -3, 4], Some(Uint8), Uint8),
            ([-300, 300, 0, 3], None, Int16),
            ([-60_000, 5_000, 0, 3], None, Uint16),
        ] {
            assert_eq!(kind(&codes, Form::Qdq).map(|(kind, _)| kind), at_13);
            let (found, zeros) = kind(&codes, Form::Qdq21).unwrap();
            assert_eq!(found, at_21, "{codes:?}");
            assert_eq!(zeros == zero, found.range().0 < 0, "{codes:?}");
        }
        assert!(kind(&[-70_000, 1, 0, 0], Form::Qdq21).is_none());
    }

    #[test]
    fn one_scale_has_one_zero_point_where_the_codes_of_all_channels_allow_it() {
        let weights = |codes: [i32; 4], scale: [f32; 2]| WeightCodes {
            codes: codes.to_vec(),
            scale: scale.to_vec(),
        };
        let codes = [-3, 9, -5, 4];
        assert_eq!(lowest(&weights(codes, [1.0, 1.0]), 4), [-5, -5]);
        assert_eq!(lowest(&weights(codes, [1.0, 2.0]), 4), [-3, -5]);
        assert_eq!(lowest(&weights([-3, 12, -5, 4], [1.0, 1.0]), 4), [-3, -5]);
    }

    #[test]
    fn activations_of_more_than_8_bits_need_operator_set_21() {
        let code = |low, high, zero_point| Code {
            scale: 1.0,
            zero_point,
            quant_min: low,
            quant_max: high,
        };
        for (code, at_13, at_21) in [
            (
                code(0, 15, 3),
                Some((Integer::Uint8, 0)),
                (Integer::Uint8, 0),
            ),
            (
                code(-127, 127, 0),
                Some((Integer::Uint8, 128)),
                (Integer::Uint8, 128),
            ),
            (code(0, 511, 9), None, (Integer::Uint16, 0)),
            (code(-32_767, 32_767, 0), None, (Integer::Int16, 0)),
        ] {
            assert_eq!(activation(code, Form::Qdq), at_13);
            assert_eq!(activation(code, Form::Qdq21), Some(at_21));
        }
    }
}
