//! Batch normalisation by the statistics of the batch, with the clipping behind it where some follows.
//!
//! ```text
//! mean = sum x / m      variance = sum (x - mean)^2 / m      r = 1 / sqrt(variance + epsilon)       m = n h w
//! y  = (x - mean) gamma r + beta                                  or min(max(that, low), high)      (1)
//! dbeta = sum dy        dgamma = r sum dy (x - mean)              dy = 0 where (1) was cut off      (2)
//! dx = gamma r (dy - dbeta / m - (x - mean) r dgamma / m)                                           (3)
//! ```
//!
//! for each channel (Ioffe and Szegedy 2015, arXiv 1502.03167, section 3). The variance is the biased one.
//!
//! Sums: in float32 within 1024 values of a plane, in sixteen interleaved parts; in float64 from there on, in the order of
//! images. A plane's squares are taken from the plane's own mean and then moved (Chan, Golub and LeVeque 1983, equation 2.1),
//! so that a mean that is large beside the deviation costs no digits. What was cut off is found by computing (1) again.

use rayon::prelude::*;

use super::images_per_task;
use crate::error::Error;
use crate::error::expect;
use crate::graph::Clip;

/// Values whose sum is made in float32.
const RUN: usize = 1024;
/// Interleaved parts of it.
const LANES: usize = 16;

/// Batch normalisation of `[images, channels, pixels]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchNorm {
    /// n.
    pub images: usize,
    /// Channels.
    pub channels: usize,
    /// h w.
    pub pixels: usize,
    /// What is added to the variance.
    pub epsilon: f32,
    /// What results are cut off at, below and above, where clipping follows: 0 and infinity for a ReLU. At an end itself nothing
    /// flows back.
    pub ends: Option<[f32; 2]>,
}

/// A batch's statistics, one value per channel.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Statistics {
    /// Mean.
    pub mean: Vec<f32>,
    /// Biased variance.
    pub variance: Vec<f32>,
}

/// Gradients of scale and shift, one value per channel.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BatchNormGradients {
    /// Of the scale.
    pub gamma: Vec<f32>,
    /// Of the shift.
    pub beta: Vec<f32>,
}

/// A channel's part of equation (1).
#[derive(Clone, Copy)]
struct Channel {
    mean: f32,
    /// gamma r.
    scale: f32,
    beta: f32,
}

impl Channel {
    #[inline(always)]
    fn apply(self, x: f32) -> f32 {
        (x - self.mean) * self.scale + self.beta
    }
}

impl BatchNorm {
    /// Equation (1): `x` to `y`, both `[n, c, h w]`.
    ///
    /// # Errors
    /// [`Error::Length`] where a slice is not as long as the shape says.
    pub fn forward(
        &self,
        x: &[f32],
        gamma: &[f32],
        beta: &[f32],
        y: &mut [f32],
    ) -> Result<Statistics, Error> {
        self.check(x, y, [gamma, beta])?;
        if x.is_empty() {
            return Ok(Statistics::default());
        }
        let statistics = self.statistics(x);
        let channels = self.channels(&statistics, gamma, beta);
        let image = self.channels * self.pixels;
        let task = images_per_task(self.images) * image;
        y.par_chunks_mut(task)
            .zip(x.par_chunks(task))
            .for_each(|(y, x)| {
                let planes = y.chunks_mut(self.pixels).zip(x.chunks(self.pixels));
                for ((y, x), channel) in planes.zip(channels.iter().cycle()) {
                    let channel = *channel;
                    let values = y.iter_mut().zip(x);
                    match self.ends {
                        Some(ends) => {
                            values.for_each(|(y, &x)| *y = clipped(channel.apply(x), ends));
                        }
                        None => values.for_each(|(y, &x)| *y = channel.apply(x)),
                    }
                }
            });
        Ok(statistics)
    }

    /// Equations (2) and (3): `gradient` is dy and becomes dx.
    ///
    /// # Errors
    /// As [`BatchNorm::forward`].
    pub fn backward(
        &self,
        x: &[f32],
        gamma: &[f32],
        beta: &[f32],
        statistics: &Statistics,
        gradient: &mut [f32],
    ) -> Result<BatchNormGradients, Error> {
        self.check(x, gradient, [gamma, beta])?;
        self.check(x, gradient, [&statistics.mean, &statistics.variance])?;
        if x.is_empty() {
            return Ok(BatchNormGradients {
                gamma: vec![0.0; self.channels],
                beta: vec![0.0; self.channels],
            });
        }
        let channels = self.channels(statistics, gamma, beta);
        let sums = self.each_plane(x, Some(gradient), |channel, x, dy| {
            let channel = channels[channel];
            let dy = dy.unwrap_or_default();
            // The two cases are two loops, each of which compiles to vectors.
            let center = channel.mean;
            match self.ends {
                Some(ends) => {
                    let masked = |x: f32, dy: f32| masked(channel.apply(x), dy, ends);
                    [
                        sum_of(x, dy, masked),
                        sum_of(x, dy, |x, dy| masked(x, dy) * (x - center)),
                    ]
                }
                None => [
                    sum_of(x, dy, |_, dy| dy),
                    sum_of(x, dy, |x, dy| dy * (x - center)),
                ],
            }
        });
        let m = (self.images * self.pixels) as f64;
        let mut gradients = BatchNormGradients::default();
        // dx = scale dy + slope (x - mean) + constant
        let mut lines = Vec::with_capacity(self.channels);
        for (c, channel) in channels.iter().enumerate() {
            let [mut dbeta, mut products] = [0.0_f64; 2];
            for image in sums.chunks(self.channels) {
                dbeta += image[c][0];
                products += image[c][1];
            }
            let r = self.deviation(statistics.variance[c]);
            gradients.beta.push(dbeta as f32);
            gradients.gamma.push((products * r) as f32);
            let scale = f64::from(channel.scale);
            let slope = -scale * r * r * products / m;
            lines.push((slope as f32, (-scale * dbeta / m) as f32));
        }
        let image = self.channels * self.pixels;
        let task = images_per_task(self.images) * image;
        gradient
            .par_chunks_mut(task)
            .zip(x.par_chunks(task))
            .for_each(|(dy, x)| {
                let planes = dy.chunks_mut(self.pixels).zip(x.chunks(self.pixels));
                for ((dy, x), (channel, line)) in planes.zip(channels.iter().zip(&lines).cycle()) {
                    let (channel, (slope, constant)) = (*channel, *line);
                    let dx = |x: f32, dy: f32| {
                        channel.scale * dy + slope * (x - channel.mean) + constant
                    };
                    let values = dy.iter_mut().zip(x);
                    match self.ends {
                        Some(ends) => values
                            .for_each(|(dy, &x)| *dy = dx(x, masked(channel.apply(x), *dy, ends))),
                        None => values.for_each(|(dy, &x)| *dy = dx(x, *dy)),
                    }
                }
            });
        Ok(gradients)
    }

    /// Mean and biased variance of every channel.
    fn statistics(&self, x: &[f32]) -> Statistics {
        let pixels = self.pixels as f64;
        let planes = self.each_plane(x, None, |_, x, _| {
            let mean = sum(x) / pixels;
            let center = mean as f32;
            // Second term: what the rounding of the center costs.
            let offset = mean - f64::from(center);
            let squares = sum_of(x, x, |x, _| (x - center) * (x - center));
            [mean, (squares - pixels * offset * offset).max(0.0)]
        });
        let mut statistics = Statistics::default();
        for c in 0..self.channels {
            let of_channel = || planes.chunks(self.channels).map(|image| image[c]);
            let mean = of_channel().map(|[mean, _]| mean).sum::<f64>() / self.images as f64;
            let squares: f64 = of_channel()
                .map(|[own, squares]| squares + pixels * (own - mean) * (own - mean))
                .sum();
            statistics.mean.push(mean as f32);
            let m = self.images as f64 * pixels;
            statistics.variance.push((squares / m) as f32);
        }
        statistics
    }

    /// What `measure` says of each plane (its channel, its values, those of `other`), in the order of images and channels.
    fn each_plane(
        &self,
        x: &[f32],
        other: Option<&[f32]>,
        measure: impl Fn(usize, &[f32], Option<&[f32]>) -> [f64; 2] + Sync,
    ) -> Vec<[f64; 2]> {
        let mut planes = vec![[0.0; 2]; self.images * self.channels];
        let task = images_per_task(self.images) * self.channels;
        planes
            .par_chunks_mut(task)
            .enumerate()
            .for_each(|(k, planes)| {
                for (i, plane) in planes.iter_mut().enumerate() {
                    let place = (k * task + i) * self.pixels;
                    let range = place..place + self.pixels;
                    let other = other.map(|other| &other[range.clone()]);
                    *plane = measure((k * task + i) % self.channels, &x[range], other);
                }
            });
        planes
    }

    fn channels(&self, statistics: &Statistics, gamma: &[f32], beta: &[f32]) -> Vec<Channel> {
        let parts = statistics.mean.iter().zip(&statistics.variance);
        parts
            .zip(gamma.iter().zip(beta))
            .map(|((&mean, &variance), (&gamma, &beta))| Channel {
                mean,
                scale: (f64::from(gamma) * self.deviation(variance)) as f32,
                beta,
            })
            .collect()
    }

    /// r.
    fn deviation(&self, variance: f32) -> f64 {
        1.0 / (f64::from(variance) + f64::from(self.epsilon)).sqrt()
    }

    fn check(&self, x: &[f32], y: &[f32], each: [&[f32]; 2]) -> Result<(), Error> {
        let len = self.images * self.channels * self.pixels;
        expect("the input", x.len(), len)?;
        expect("the output", y.len(), len)?;
        for values in each {
            expect("a channel's values", values.len(), self.channels)?;
        }
        Ok(())
    }
}

/// 0 for what is below it; a NaN stays one.
#[inline(always)]
pub fn clipped(y: f32, [low, high]: [f32; 2]) -> f32 {
    Clip { low, high }.of(y)
}

/// The gradient before a clipping that was given `y` or made it.
#[inline(always)]
pub fn masked(y: f32, dy: f32, [low, high]: [f32; 2]) -> f32 {
    // Both compared: a short circuit would be a branch.
    if (y > low) & (y < high) { dy } else { 0.0 }
}

/// The sum of `x`, as the module's header says.
pub(super) fn sum(x: &[f32]) -> f64 {
    sum_of(x, x, |x, _| x)
}

/// The sum of `term` over pairs, likewise.
#[inline(always)]
fn sum_of(x: &[f32], y: &[f32], term: impl Fn(f32, f32) -> f32) -> f64 {
    let mut total = 0.0;
    for (x, y) in x.chunks(RUN).zip(y.chunks(RUN)) {
        let mut lanes = [0.0_f32; LANES];
        let (xs, ys) = (x.chunks_exact(LANES), y.chunks_exact(LANES));
        let rest = xs.remainder().iter().zip(ys.remainder());
        for (x, y) in xs.zip(ys) {
            for i in 0..LANES {
                lanes[i] += term(x[i], y[i]);
            }
        }
        for (lane, (&x, &y)) in lanes.iter_mut().zip(rest) {
            *lane += term(x, y);
        }
        total += lanes.iter().map(|&lane| f64::from(lane)).sum::<f64>();
    }
    total
}
