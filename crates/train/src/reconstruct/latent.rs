//! Weights on their way from code to code: numbers between the codes that are rounded in every pass, as in training with quantizers
//! (Jacob et al. 2018; layer by layer on few images: AdaQuant, Hubara et al. 2021, arXiv 2006.10518).
//!
//! ```text
//! w = s f (q - z)      q = clamp(round(u), quant_min, quant_max)                                     (1)
//! dw/du = s f where quant_min <= round(u) <= quant_max, else 0          dw/df = s (q - z)            (2)
//! ```
//!
//! u belongs to a weight and f, which begins at 1, to a scale. Where a weight already has a code, u begins where the float weight
//! lies, but no further from the code than what rounds to it: whatever found the codes is where this begins.

use quant_core::{Layout, QParams};

use super::adam::Adam;

/// The weights of a layer.
#[derive(Debug)]
pub(super) struct Latent {
    layout: Layout,
    grids: Vec<QParams>,
    /// Weights that stay as they are, where a group has no codes.
    plain: Vec<f32>,
    places: Vec<f32>,
    factors: Vec<f32>,
    of_places: Adam,
    of_factors: Adam,
}

impl Latent {
    /// Of the float weights `original`, whose quantized ones are `current`.
    pub fn new(original: &[f32], current: &[f32], layout: Layout, grids: &[QParams]) -> Self {
        let mut places = vec![0.0; original.len()];
        for (range, grid) in layout
            .groups()
            .zip(grids)
            .filter(|(_, grid)| !grid.is_float())
        {
            for i in range {
                let code = (current[i] / grid.scale).round();
                let wanted = original[i] / grid.scale;
                let place = code + (wanted - code).clamp(-0.499, 0.499);
                places[i] = place + grid.zero_point as f32;
            }
        }
        Self {
            layout,
            grids: grids.to_vec(),
            plain: current.to_vec(),
            of_places: Adam::new(places.len()),
            of_factors: Adam::new(grids.len()),
            places,
            factors: vec![1.0; grids.len()],
        }
    }

    /// The grids with the scales that they have now.
    pub fn grids(&self) -> Vec<QParams> {
        let pairs = self.grids.iter().zip(&self.factors);
        let scaled = pairs.map(|(grid, factor)| QParams {
            scale: grid.scale * factor,
            ..*grid
        });
        scaled.collect()
    }

    /// Equation (1).
    pub fn weights(&self) -> Vec<f32> {
        let mut weights = self.plain.clone();
        for (range, grid) in self.layout.groups().zip(self.grids()) {
            if grid.is_float() {
                continue;
            }
            for i in range {
                weights[i] = grid.dequantize(code(self.places[i], &grid) as i32);
            }
        }
        weights
    }

    /// One step against the gradient of the weights, by equations (2): `rate` codes and, where scales may move, `slower` of a scale.
    pub fn step(&mut self, gradient: &[f32], rate: f32, slower: Option<f32>) {
        let mut of_places = vec![0.0; gradient.len()];
        let mut of_factors = vec![0.0; self.grids.len()];
        let groups = self.layout.groups().zip(&self.grids).enumerate();
        for (group, (range, grid)) in groups.filter(|(_, (_, grid))| !grid.is_float()) {
            let mut sum = 0.0;
            for i in range {
                let place = self.places[i];
                let q = code(place, grid);
                sum += f64::from(gradient[i] * (q - grid.zero_point as f32));
                let inside = place.round_ties_even() == q;
                of_places[i] = if inside {
                    gradient[i] * grid.scale
                } else {
                    0.0
                };
            }
            of_factors[group] = (sum * f64::from(grid.scale)) as f32;
        }
        self.of_places.step(&mut self.places, &of_places, rate);
        if let Some(slower) = slower {
            self.of_factors.step(&mut self.factors, &of_factors, slower);
            let bounded = |f: &mut f32| *f = f.clamp(0.5, 2.0);
            self.factors.iter_mut().for_each(bounded);
        }
    }
}

fn code(place: f32, grid: &QParams) -> f32 {
    let [low, high] = [grid.quant_min, grid.quant_max].map(|code| code as f32);
    place.round_ties_even().clamp(low, high)
}

#[cfg(test)]
mod tests {
    use quant_core::Granularity;

    use super::*;

    fn grid(scale: f32, zero_point: i32) -> QParams {
        QParams {
            scale,
            zero_point,
            quant_min: 0,
            quant_max: 3,
        }
    }

    fn latent(original: &[f32], current: &[f32]) -> Latent {
        let layout = Layout::new(&[2, 2], Granularity::Channel);
        Latent::new(original, current, layout, &[grid(0.5, 1), grid(0.25, 2)])
    }

    #[test]
    fn it_begins_at_the_codes_that_are_there_on_the_side_of_the_float_weights() {
        // The first two are not the nearest codes.
        let current = [0.0, 0.5, 0.0, -0.5];
        let mut latent = latent(&[0.3, 5.0, -0.1, -9.0], &current);
        assert_eq!(latent.weights(), current);
        // Less than a hundredth of a code up for all: the first two are at the edge of theirs.
        latent.step(&[-1.0; 4], 0.01, None);
        assert_eq!(latent.weights(), [0.5, 1.0, 0.0, -0.5]);
    }

    #[test]
    fn a_weight_goes_on_to_the_next_code_and_no_further_than_the_last() {
        let mut latent = latent(&[0.0; 4], &[0.0; 4]);
        (0..40).for_each(|_| latent.step(&[-1.0, 1.0, -1.0, 1.0], 0.1, None));
        assert_eq!(latent.weights(), [1.0, -0.5, 0.25, -0.5]);
        let before = latent.grids();
        latent.step(&[1.0; 4], 0.0, Some(0.01));
        assert!(latent.grids()[0].scale < before[0].scale);
    }
}
