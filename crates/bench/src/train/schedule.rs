//! The learning rate: a linear warm-up, then a cosine down to zero (Loshchilov and Hutter 2017, arXiv 1608.03983, no
//! restarts). Step s of S, W of them warm-up, peak rate r:
//!
//! ```text
//! s <  W:  r (s + 1) / W
//! s >= W:  r (1 + cos(pi (s - W) / (S - W))) / 2
//! ```
//!
//! Or, behind the same warm-up, in steps: a tenth of the rate from the half on, a hundredth from three quarters on (He et al.
//! 2016, section 4.2).

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

/// How the rate falls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decay {
    /// As a cosine, to 0.
    #[default]
    Cosine,
    /// By ten, twice.
    Step,
}

quant_core::words!(Decay, "schedule": Cosine = "cosine", Step = "step");

#[cfg(feature = "burn")]
impl Decay {
    /// Whether it is the one that a configuration does not mention.
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// The rate as a function of the step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    peak: f64,
    warmup: usize,
    steps: usize,
    decay: Decay,
}

impl Schedule {
    /// `steps` steps in all, of which the first `warmup` (cut to at most half of them) climb to `peak`.
    pub fn new(peak: f64, warmup: usize, steps: usize) -> Self {
        Self {
            peak,
            warmup: warmup.min(steps / 2),
            steps,
            decay: Decay::Cosine,
        }
    }

    /// The same with another fall.
    pub fn with_decay(self, decay: Decay) -> Self {
        Self { decay, ..self }
    }

    /// The learning rate of step `step`, counted from 0 over the whole training; 0 from the end on.
    pub fn rate(&self, step: usize) -> f64 {
        if step < self.warmup {
            return self.peak * (step + 1) as f64 / self.warmup as f64;
        }
        if step >= self.steps {
            return 0.0;
        }
        if self.decay == Decay::Step {
            return match 4 * step / self.steps {
                0 | 1 => self.peak,
                2 => self.peak / 10.0,
                _ => self.peak / 100.0,
            };
        }
        let done = (step - self.warmup) as f64 / (self.steps - self.warmup) as f64;
        self.peak * (1.0 + (PI * done).cos()) / 2.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_climbs_to_the_peak_and_then_falls_to_nearly_zero() {
        let schedule = Schedule::new(0.4, 4, 104);
        assert!((schedule.rate(0) - 0.1).abs() < 1e-15);
        assert_eq!(schedule.rate(3), 0.4);
        assert_eq!(schedule.rate(4), 0.4);
        assert!((schedule.rate(54) - 0.2).abs() < 1e-12);
        assert!(schedule.rate(103) < 0.4 * 0.001);
        assert_eq!(schedule.rate(104), 0.0);
        for step in 4..103 {
            assert!(schedule.rate(step + 1) < schedule.rate(step));
        }
    }

    #[test]
    fn in_steps_it_falls_by_ten_at_the_half_and_at_three_quarters() {
        let schedule = Schedule::new(1.0, 2, 100).with_decay(Decay::Step);
        let rates = [0, 1, 49, 50, 74, 75, 99, 100].map(|step| schedule.rate(step));
        assert_eq!(rates, [0.5, 1.0, 1.0, 0.1, 0.1, 0.01, 0.01, 0.0]);
        assert_eq!("step".parse::<Decay>().unwrap(), Decay::Step);
        assert!("line".parse::<Decay>().is_err());
    }

    #[test]
    fn a_training_shorter_than_its_warm_up_still_reaches_the_peak() {
        let schedule = Schedule::new(1.0, 100, 4);
        assert_eq!([schedule.rate(0), schedule.rate(1)], [0.5, 1.0]);
        assert_eq!(Schedule::new(1.0, 5, 1).rate(0), 1.0);
    }
}
