//! From the noise of logits to answers that change: what a network's margins say beforehand.
//!
//! An image whose largest logit is `m_j` above logit `j` keeps its answer under independent normal noise of each logit, of variance `v`,
//! with about the probability
//!
//! ```text
//! keep = prod_j Phi(m_j / sqrt(2 v))                                                              (1)
//! ```
//!
//! (the differences are taken as independent of each other, which they are not). It is then hit if it was a hit before; one that was none
//! becomes one when the label's logit, `d` below the largest, comes out above it: with `Phi(-d / sqrt(2 v))`, of which no more than
//! `1 - keep` counts. With images independent of each other, the number of hits has the variance `sum q (1 - q)`, `q` being each
//! image's probability.

use crate::sensitivity::first_largest;

/// The margins of a network's logits.
pub struct Margins {
    classes: usize,
    logits: Vec<f32>,
    labels: Vec<u16>,
}

/// What noise makes of all images, on average.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Expected {
    /// Answers that change.
    pub flips: f64,
    /// Hits.
    pub hits: f64,
    /// The standard deviation of hits.
    pub deviation: f64,
}

impl Margins {
    /// Those of `logits`, `[images, classes]`, with their labels.
    pub fn new(logits: Vec<f32>, labels: Vec<u16>) -> Self {
        let classes = logits.len() / labels.len().max(1);
        Self {
            classes,
            logits,
            labels,
        }
    }

    /// The logits, `[images, classes]`.
    pub fn logits(&self) -> &[f32] {
        &self.logits
    }

    /// How many images.
    pub fn images(&self) -> usize {
        self.labels.len()
    }

    /// Logits of one image.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// What logit noise of the power `noise` (equation 1 of [`crate::LogitError`]) does to the answers.
    pub fn expected(&self, noise: f64) -> Expected {
        let variance = noise / self.classes.saturating_sub(1).max(1) as f64;
        let scale = (2.0 * variance).sqrt();
        let mut expected = Expected {
            flips: 0.0,
            hits: 0.0,
            deviation: 0.0,
        };
        let mut spread = 0.0;
        let all = self.logits.chunks_exact(self.classes.max(1));
        for (logits, &label) in all.zip(&self.labels) {
            let top = first_largest(logits);
            let below = |j: usize| f64::from(logits[top]) - f64::from(logits[j]);
            let stays = |margin: f64| match scale > 0.0 {
                true => normal(margin / scale),
                false => 1.0,
            };
            let others = (0..logits.len()).filter(|&j| j != top);
            let keep: f64 = others.map(|j| stays(below(j))).product();
            let hit = match usize::from(label) {
                label if label == top => keep,
                label if label < logits.len() => (1.0 - stays(below(label))).min(1.0 - keep),
                _ => 0.0,
            };
            expected.flips += 1.0 - keep;
            expected.hits += hit;
            spread += hit * (1.0 - hit);
        }
        expected.deviation = spread.sqrt();
        expected
    }
}

/// The distribution function of the normal distribution, to 1e-7 (Abramowitz and Stegun, 26.2.17).
fn normal(x: f64) -> f64 {
    const B: [f64; 5] = [
        0.319_381_530,
        -0.356_563_782,
        1.781_477_937,
        -1.821_255_978,
        1.330_274_429,
    ];
    let t = 1.0 / (1.0 + 0.231_641_9 * x.abs());
    let series = B.iter().rev().fold(0.0, |sum, b| (sum + b) * t);
    let density = (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
    match x >= 0.0 {
        true => 1.0 - density * series,
        false => density * series,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_normal_distribution_has_its_table_s_values() {
        for (x, expected) in [(0.0, 0.5), (1.0, 0.841_344_7), (1.96, 0.975_002_1)] {
            assert!((normal(x) - expected).abs() < 1e-6, "{x}");
            assert!((normal(-x) - (1.0 - expected)).abs() < 1e-6, "{x}");
        }
    }

    #[test]
    fn no_noise_changes_nothing_and_much_noise_leaves_a_guess() {
        let margins = Margins::new(vec![3.0, 0.0, 1.0, 2.0], vec![0, 0]);
        let none = margins.expected(0.0);
        assert_eq!((none.flips, none.hits, none.deviation), (0.0, 1.0, 0.0));
        let much = margins.expected(1e12);
        assert!(
            (much.flips - 1.0).abs() < 1e-3 && (much.hits - 1.0).abs() < 1e-3,
            "{much:?}"
        );
    }

    #[test]
    fn flips_are_those_of_drawn_noise() {
        let logits = vec![1.5, 0.0, 0.25, 2.0];
        let margins = Margins::new(logits.clone(), vec![0, 0]);
        // Twelve uniform numbers make a normal one.
        let mut draw = 0;
        let mut normal = || {
            let twelve = (0..12).map(|_| {
                draw += 1;
                f64::from(quant_core::uniform(9, draw))
            });
            twelve.sum::<f64>() - 6.0
        };
        let (rounds, variance) = (20_000, 0.49_f64);
        let mut flips = 0;
        for image in logits.chunks(2) {
            for _ in 0..rounds {
                let noisy = [0, 1].map(|j| f64::from(image[j]) + variance.sqrt() * normal());
                flips += usize::from((noisy[1] > noisy[0]) != (image[1] > image[0]));
            }
        }
        // Of two logits the centred noise has the power of the one's variance.
        let expected = margins.expected(variance).flips;
        let found = flips as f64 / f64::from(rounds);
        assert!((expected - found).abs() < 0.02, "{expected} {found}");
    }
}
