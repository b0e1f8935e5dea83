//! Adam (Kingma and Ba 2015, arXiv 1412.6980, algorithm 1), in f32 on the host: the direction of a step, of which every parameter
//! takes as much as it wants.

const BETAS: [f32; 2] = [0.9, 0.999];
const EPSILON: f32 = 1e-8;

/// The moments of one tensor's gradients.
#[derive(Debug)]
pub(super) struct Adam {
    first: Vec<f32>,
    second: Vec<f32>,
    steps: i32,
}

impl Adam {
    /// Of `n` parameters, before the first step.
    pub fn new(n: usize) -> Self {
        Self {
            first: vec![0.0; n],
            second: vec![0.0; n],
            steps: 0,
        }
    }

    /// Moves `parameters` by `rate` against the direction that `gradient` gives.
    pub fn step(&mut self, parameters: &mut [f32], gradient: &[f32], rate: f32) {
        self.steps += 1;
        let [one, two] = BETAS.map(|beta| 1.0 - beta.powi(self.steps));
        let moments = self.first.iter_mut().zip(&mut self.second);
        for ((p, g), (first, second)) in parameters.iter_mut().zip(gradient).zip(moments) {
            *first = BETAS[0] * *first + (1.0 - BETAS[0]) * g;
            *second = BETAS[1] * *second + (1.0 - BETAS[1]) * g * g;
            *p -= rate * (*first / one) / ((*second / two).sqrt() + EPSILON);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constant_gradient_moves_by_the_rate_whatever_its_size() {
        for gradient in [1e-3, 5.0] {
            let mut adam = Adam::new(1);
            let mut p = [1.0];
            for _ in 0..3 {
                adam.step(&mut p, &[gradient], 0.1);
            }
            assert!((p[0] - 0.7).abs() < 1e-4, "{p:?}");
        }
    }
}
