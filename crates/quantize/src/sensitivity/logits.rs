//! What a change does to a network's answers, image by image, against the float network's logits.
//!
//! With the float network's logits `z` and the changed one's `z'`, both `[classes]`, `p = softmax(z)`, `p' = softmax(z')` and the
//! label `y`:
//!
//! ```text
//! signal = sum_j (z_j - mean z)^2              noise = sum_j (e_j - mean e)^2,  e = z' - z        (1)
//! KL     = sum_j p_j (log p_j - log p'_j)      loss  = -log p'_y                                  (2)
//! ```
//!
//! in float64. What is added to all logits alike changes no answer and is no noise in (1). The logit SQNR is
//! `10 log10(sum of signals / sum of noises)`.

use quant_core::sqnr_db;

/// Sums of (1) and (2) over images.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LogitError {
    /// How many images.
    pub images: usize,
    /// Of (1).
    pub signal: f64,
    /// Of (1).
    pub noise: f64,
    /// Of (2), in nats.
    pub kl: f64,
    /// Of (2), in nats.
    pub loss: f64,
    /// Images whose first largest logit is another one's.
    pub flips: usize,
    /// Images whose first largest logit is the label's.
    pub hits: usize,
}

impl LogitError {
    /// Takes in one image. A label that no logit has is never hit and has no loss.
    pub fn add(&mut self, float: &[f32], changed: &[f32], label: u16) {
        let (signal, noise) = powers(float, changed);
        let log_norms = [log_norm(float), log_norm(changed)];
        let kl: f64 = (float.iter().zip(changed))
            .map(|(&z, &changed)| {
                let log_p = f64::from(z) - log_norms[0];
                log_p.exp() * (log_p - (f64::from(changed) - log_norms[1]))
            })
            .sum();
        let found = first_largest(changed);
        self.images += 1;
        self.signal += signal;
        self.noise += noise;
        // Rounding makes it a little negative where nothing changed.
        self.kl += kl.max(0.0);
        self.flips += usize::from(first_largest(float) != found);
        self.hits += usize::from(found == usize::from(label));
        if let Some(&of_label) = changed.get(usize::from(label)) {
            self.loss += log_norms[1] - f64::from(of_label);
        }
    }

    /// Takes in what others saw. Sums depend on the order.
    pub fn merge(&mut self, other: &Self) {
        self.images += other.images;
        self.signal += other.signal;
        self.noise += other.noise;
        self.kl += other.kl;
        self.loss += other.loss;
        self.flips += other.flips;
        self.hits += other.hits;
    }

    /// The divergence of an image on average, in nats.
    pub fn mean_kl(&self) -> f64 {
        self.kl / self.images.max(1) as f64
    }

    /// The logit SQNR in dB; none without noise.
    pub fn sqnr_db(&self) -> Option<f64> {
        sqnr_db(self.signal, self.noise)
    }
}

/// The signal and the noise of (1).
fn powers(float: &[f32], changed: &[f32]) -> (f64, f64) {
    let n = float.len().max(1) as f64;
    let error = |i: usize| f64::from(changed[i]) - f64::from(float[i]);
    let mean = float.iter().map(|&z| f64::from(z)).sum::<f64>() / n;
    let shift = (0..float.len()).map(error).sum::<f64>() / n;
    let signal = float.iter().map(|&z| (f64::from(z) - mean).powi(2)).sum();
    let noise = (0..float.len()).map(|i| (error(i) - shift).powi(2)).sum();
    (signal, noise)
}

/// `log sum_j exp z_j`.
pub(crate) fn log_norm(logits: &[f32]) -> f64 {
    let largest = logits
        .iter()
        .fold(f64::NEG_INFINITY, |most, &z| most.max(f64::from(z)));
    let sum: f64 = logits.iter().map(|&z| (f64::from(z) - largest).exp()).sum();
    largest + sum.ln()
}

/// The first class with the largest logit.
pub fn first_largest(logits: &[f32]) -> usize {
    let better = |best: usize, class: usize| match logits[class] > logits[best] {
        true => class,
        false => best,
    };
    (1..logits.len()).fold(0, better)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shift_of_all_logits_is_no_noise_and_no_divergence() {
        let float = [1.0, 4.0, -2.0];
        let mut found = LogitError::default();
        found.add(&float, &float.map(|z| z + 8.0), 1);
        assert!(found.noise < 1e-12 && found.kl < 1e-12, "{found:?}");
        assert_eq!((found.images, found.flips, found.hits), (1, 0, 1));
        assert_eq!(found.sqnr_db(), None);
    }

    #[test]
    fn measures_are_those_of_the_definitions() {
        let mut found = LogitError::default();
        found.add(&[0.0, 2.0], &[1.0, 1.0], 0);
        // Equal logits: the first class; the loss is log 2.
        assert_eq!((found.flips, found.hits), (1, 1));
        assert!((found.loss - 2f64.ln()).abs() < 1e-12);
        assert_eq!((found.signal, found.noise), (2.0, 2.0));
        assert_eq!(found.sqnr_db(), Some(0.0));
        let p = 1.0 / (1.0 + 2f64.exp());
        let kl = p * (p * 2.0).ln() + (1.0 - p) * ((1.0 - p) * 2.0).ln();
        assert!((found.kl - kl).abs() < 1e-12);
        let mut twice = found;
        twice.merge(&found);
        assert_eq!((twice.images, twice.kl), (2, 2.0 * found.kl));
    }

    #[test]
    fn a_label_without_a_logit_is_never_hit() {
        let mut found = LogitError::default();
        found.add(&[0.0, 2.0], &[0.0, 2.0], 7);
        assert_eq!((found.hits, found.loss), (0, 0.0));
    }
}
