//! A layer's weights as signed codes, `scale (code - zero point)`, with a scale and a zero point for each group of weights, output
//! channel, or the whole tensor.

use quant_core::{Granularity, Layout};

use super::stored::same;
use crate::quantize::{QuantizedNet, WeightCodes, WeightGrids};
use network::HostTensor;

/// The scale of a group that is zeros alone: any gives zeros.
const SCALE_OF_ZEROS: f32 = 1.0;

/// See the module.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct SignedWeights {
    /// In the tensor's order, from -2^(bits - 1) to 2^(bits - 1) - 1.
    pub codes: Vec<i32>,
    /// One for each group of `layout`.
    pub scales: Vec<f32>,
    /// One for each group of `layout`, in the numbers of codes.
    pub zeros: Vec<i32>,
    /// Which weights share a scale.
    pub layout: Layout,
}

impl SignedWeights {
    /// Those of `layer` in codes of `bits`; none where it has none, or a group that is not zero stayed in float.
    pub fn new(net: &QuantizedNet, layer: &str, weight: &HostTensor, bits: u32) -> Option<Self> {
        match (net.codes.get(layer), net.grids.get(layer)) {
            (Some(weights), _) => Some(Self::of_channels(weights, &weight.shape, bits)),
            (None, Some(grids)) => Self::of_groups(weight, grids, bits),
            (None, None) => None,
        }
    }

    fn of_channels(weights: &WeightCodes, shape: &[usize], bits: u32) -> Self {
        let channels = Layout::new(shape, Granularity::Channel);
        let mut all = Self::of((&weights.codes, weights.scale.clone()), channels, bits);
        if same(&all.scales) && same(&all.zeros) {
            all.layout = Layout::new(shape, Granularity::Tensor);
            all.scales.truncate(1);
            all.zeros.truncate(1);
        }
        all
    }

    fn of_groups(
        weight: &HostTensor,
        WeightGrids { layout, params }: &WeightGrids,
        bits: u32,
    ) -> Option<Self> {
        let mut scales = Vec::with_capacity(params.len());
        let mut from_zero = Vec::with_capacity(weight.len());
        for (range, grid) in layout.groups().zip(params) {
            let values = &weight.data[range];
            if !grid.is_float() {
                let code = |w: &f32| (w / grid.scale).round_ties_even() as i32;
                from_zero.extend(values.iter().map(code));
                scales.push(grid.scale);
            } else if values.iter().all(|&w| w == 0.0) {
                from_zero.extend(values.iter().map(|_| 0));
                scales.push(SCALE_OF_ZEROS);
            } else {
                return None;
            }
        }
        let is_coded = params.iter().any(|grid| !grid.is_float());
        is_coded.then(|| Self::of((&from_zero, scales), *layout, bits))
    }

    /// Weights that are `from_zero`, as codes less zero points, times the scales of `layout`'s groups.
    fn of((from_zero, scales): (&[i32], Vec<f32>), layout: Layout, bits: u32) -> Self {
        let zeros = zero_points(from_zero, &scales, layout, bits);
        let groups = layout.groups().zip(&zeros);
        let codes = groups.flat_map(|(range, zero)| from_zero[range].iter().map(move |q| q + zero));
        Self {
            codes: codes.collect(),
            scales,
            zeros,
            layout,
        }
    }

    /// Whether zero is at code 0 everywhere.
    pub fn is_symmetric(&self) -> bool {
        self.zeros.iter().all(|&zero| zero == 0)
    }

    /// What a table of scales looks like beside weights of `shape`: `[1]`, `[out, 1, ...]` or `[out, groups]`.
    pub fn extents(&self, shape: &[usize]) -> Vec<usize> {
        let per_channel = self.layout.groups_per_channel();
        match self.scales.len() {
            1 => vec![1],
            n if per_channel > 1 => vec![n / per_channel, per_channel],
            n => {
                let mut extents = vec![1; shape.len()];
                extents[0] = n;
                extents
            }
        }
    }
}

/// Zero points of groups whose codes are to be signed and of `bits`: 0 everywhere where that does, one for all where they have one scale
/// and few enough codes, else each group's own.
fn zero_points(from_zero: &[i32], scales: &[f32], layout: Layout, bits: u32) -> Vec<i32> {
    let half = 1_i64 << (bits - 1);
    let ends = |codes: &[i32]| {
        let least = codes.iter().copied().min().unwrap_or(0);
        let most = codes.iter().copied().max().unwrap_or(0);
        (i64::from(least), i64::from(most))
    };
    // The least code stands for the least value, or for zero where there is room, which is then a code itself.
    let zero = |(least, most): (i64, i64)| match most - least.min(0) < 2 * half {
        true => -half - least.min(0),
        false => -half - least,
    };
    let all = ends(from_zero);
    if -half <= all.0 && all.1 < half {
        return vec![0; scales.len()];
    }
    if same(scales) && all.1 - all.0 < 2 * half {
        return vec![zero(all) as i32; scales.len()];
    }
    let groups = layout.groups();
    groups
        .map(|group| zero(ends(&from_zero[group])) as i32)
        .collect()
}

#[cfg(test)]
mod tests {
    use quant_core::QParams;

    use super::*;

    fn channels(codes: &[i32], scale: [f32; 2]) -> SignedWeights {
        let weights = WeightCodes {
            codes: codes.to_vec(),
            scale: scale.to_vec(),
        };
        SignedWeights::of_channels(&weights, &[2, codes.len() / 2], 4)
    }

    #[test]
    fn zero_is_a_code_where_the_values_reach_it_and_one_does_for_all_where_it_can() {
        for (codes, scale, zeros) in [
            ([-8, 7, 0, 3], [1.0, 2.0], vec![0, 0]),
            ([-8, 7, 0, 3], [1.0, 1.0], vec![0]),
            ([-5, 10, 0, 3], [1.0, 1.0], vec![-3]),
            ([-5, 10, -15, 0], [1.0, 2.0], vec![-3, 7]),
            // Positive alone, and far from zero.
            ([3, 15, -15, -3], [1.0, 2.0], vec![-8, 7]),
            ([20, 30, 0, 3], [1.0, 2.0], vec![-28, -8]),
        ] {
            let made = channels(&codes, scale);
            assert_eq!(made.zeros, zeros, "{codes:?}");
            assert_eq!(made.scales.len(), zeros.len());
            assert!(made.codes.iter().all(|q| (-8..8).contains(q)), "{codes:?}");
            for (i, (code, own)) in made.codes.iter().zip(codes).enumerate() {
                assert_eq!(code - made.zeros[(i / 2).min(zeros.len() - 1)], own);
            }
        }
    }

    #[test]
    fn a_group_of_zeros_is_coded_and_one_in_float_leaves_the_layer_in_float() {
        let grid = |scale| QParams {
            scale,
            zero_point: 0,
            quant_min: -8,
            quant_max: 7,
        };
        let layout = Layout::new(&[1, 5], Granularity::named("group", Some(2)).unwrap());
        let of = |data: [f32; 5], scales: [f32; 3]| {
            let weight = HostTensor::new(vec![1, 5], data.to_vec()).unwrap();
            let params = scales.map(grid).to_vec();
            SignedWeights::of_groups(&weight, &WeightGrids { layout, params }, 4)
        };
        let made = of([0.5, -1.0, 0.0, 0.0, 0.75], [0.5, 0.0, 0.25]).unwrap();
        assert_eq!(made.codes, [1, -2, 0, 0, 3]);
        assert_eq!(made.extents(&[1, 5]), [1, 3]);
        assert_eq!(of([0.5, -1.0, 0.3, 0.3, 0.75], [0.5, 0.0, 0.25]), None);
        assert_eq!(of([0.0; 5], [0.0; 3]), None);
    }
}
