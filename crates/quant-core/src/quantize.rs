//! A tensor quantized: codes, the numbers they stand for, the parameters, and for each group whether it was quantized at all.

use crate::fit::fit;
use crate::kernel::quantize_group;
use crate::{Layout, QParams, Reason, Scheme, Values};

/// What happened to one group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It was quantized.
    Quantized {
        /// How many of its values the clamp changed.
        saturated: usize,
    },
    /// It was left in float, its values unchanged, its codes 0 and its `scale` 0.
    Float(Reason),
}

/// A quantized tensor.
#[derive(Debug, Clone, PartialEq)]
pub struct Quantized {
    /// The number that stands for each element.
    pub values: Vec<f32>,
    /// Its code (0 in a group that was left in float).
    pub codes: Vec<i32>,
    /// The parameters of each group, in order; `scale` 0 where the group was left in float.
    pub params: Vec<QParams>,
    /// What happened to each group, in the same order.
    pub outcomes: Vec<Outcome>,
    /// Which elements belong to which group.
    pub layout: Layout,
    /// Elements per group (the last group of a channel may be short).
    pub group_len: usize,
    /// How many values the clamp changed, over all groups.
    pub saturated: usize,
    /// The scheme.
    pub scheme: Scheme,
}

impl Quantized {
    /// How many groups were left in float.
    pub fn float_groups(&self) -> usize {
        self.outcomes
            .iter()
            .filter(|o| matches!(o, Outcome::Float(_)))
            .count()
    }

    /// Whether at least one group was quantized.
    pub fn is_quantized(&self) -> bool {
        self.float_groups() < self.outcomes.len()
    }

    /// Why the first group that was left in float was.
    pub fn first_reason(&self) -> Option<Reason> {
        self.outcomes.iter().find_map(|outcome| match outcome {
            Outcome::Float(reason) => Some(*reason),
            Outcome::Quantized { .. } => None,
        })
    }
}

/// Quantizes `values` under `scheme`.
pub fn quantize(values: &Values, scheme: &Scheme) -> Quantized {
    quantize_groups(values, scheme, |_, group| fit(group, scheme))
}

/// Quantizes `values` by parameters that are known, one for each group of `scheme`'s granularity, in order. The scheme's own
/// way to find them is not used; a group without parameters, or with a scale of 0, stays in float.
pub fn quantize_by(values: &Values, scheme: &Scheme, params: &[QParams]) -> Quantized {
    quantize_groups(values, scheme, |index, _| match params.get(index) {
        Some(params) if !params.is_float() => Ok(*params),
        _ => Err(Reason::ScaleUnderflow),
    })
}

fn quantize_groups(
    values: &Values,
    scheme: &Scheme,
    params_of: impl Fn(usize, &[f32]) -> Result<QParams, Reason>,
) -> Quantized {
    let data = values.data();
    let layout = Layout::new(values.shape(), scheme.granularity());
    let mut out = Quantized {
        values: vec![0.0; data.len()],
        codes: vec![0; data.len()],
        params: Vec::with_capacity(layout.group_count()),
        outcomes: Vec::with_capacity(layout.group_count()),
        layout,
        group_len: layout.group_len(),
        saturated: 0,
        scheme: *scheme,
    };
    for (index, range) in layout.groups().enumerate() {
        let start = range.start as u64;
        let group = &data[range.clone()];
        let (params, outcome) = match params_of(index, group) {
            Ok(params) => {
                let (values, codes) = (&mut out.values[range.clone()], &mut out.codes[range]);
                let saturated =
                    quantize_group(&params, scheme.rounding(), start, group, values, codes);
                out.saturated += saturated;
                (params, Outcome::Quantized { saturated })
            }
            Err(reason) => {
                out.values[range].copy_from_slice(group);
                (left_in_float(scheme), Outcome::Float(reason))
            }
        };
        out.params.push(params);
        out.outcomes.push(outcome);
    }
    out
}

/// The parameters that [`quantize`] uses, one per group, without the values: `scale` 0 where a group is left in float.
pub fn parameters(values: &Values, scheme: &Scheme) -> Vec<QParams> {
    let groups = Layout::new(values.shape(), scheme.granularity()).groups();
    groups
        .map(|range| fit(&values.data()[range], scheme).unwrap_or(left_in_float(scheme)))
        .collect()
}

/// What stands for the parameters of a group that was left in float.
fn left_in_float(scheme: &Scheme) -> QParams {
    let (quant_min, quant_max) = scheme.quant_bounds();
    QParams {
        scale: 0.0,
        zero_point: 0,
        quant_min,
        quant_max,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Bits, CodeRange, Granularity, Mapping, RangeMethod, Rounding};

    #[test]
    fn a_range_far_from_zero_is_quantized_by_the_letter_of_linear() {
        // The zero point is past 2^24 here, where float32 addition rounds; the formula of the preset is the rule all the same.
        // Neighbours in float32, whose spacing here is 1/128.
        let w = [0, 1, 2, 3].map(|k| 65_536.0 + k as f32 / 128.0);
        let values = Values::new("w", &w, &[4]).unwrap();
        let linear = Scheme::linear(Bits::new(10).unwrap());
        let out = quantize(&values, &linear);
        let (lo, hi) = (w[0], w[3]);
        let s = (hi - lo) / 1023.0;
        let z = (-lo / s).round_ties_even();
        assert!(z.abs() > 16_777_216.0);
        for (x, y) in w.iter().zip(&out.values) {
            let q = ((x / s).round_ties_even() + z).clamp(0.0, 1023.0);
            assert_eq!(*y, s * (q - z));
        }
    }

    #[test]
    fn each_group_says_whether_it_was_quantized() {
        let w = [0.0, 0.0, 1.0, -3.0, 0.0, 0.5];
        let values = Values::new("w", &w, &[3, 2]).unwrap();
        let bits = Bits::new(3).unwrap();
        let scheme = Scheme::new(
            bits,
            Mapping::Symmetric,
            CodeRange::Narrow,
            Granularity::Channel,
            RangeMethod::MinMax,
            Rounding::HalfEven,
        )
        .unwrap();
        let out = quantize(&values, &scheme);
        assert_eq!(out.outcomes[0], Outcome::Float(Reason::AllZero));
        assert_eq!(out.outcomes[1], Outcome::Quantized { saturated: 0 });
        assert_eq!(
            (out.float_groups(), out.is_quantized(), out.first_reason()),
            (1, true, Some(Reason::AllZero))
        );
        assert_eq!(out.codes, [0, 0, 1, -3, 0, 3]);
        assert_eq!(out.params, parameters(&values, &scheme));
        assert!(out.params[0].is_float());
        let again = quantize_by(&values, &scheme, &out.params);
        assert_eq!((&again.codes, &again.values), (&out.codes, &out.values));
        let other = QParams {
            scale: 0.5,
            ..out.params[1]
        };
        let wider = quantize_by(&values, &scheme, &[other; 3]);
        assert_eq!(wider.codes, [0, 0, 2, -3, 0, 1]);
    }
}
