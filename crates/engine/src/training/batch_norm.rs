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
//! Sums are those of `sums.rs` within a plane, and in float64 from there on, in the order of images. A plane's squares are taken
//! from the plane's own mean and then moved (Chan, Golub and LeVeque 1983, equation 2.1), so that a mean that is large beside the
//! deviation costs no digits. What was cut off is found by computing (1) again.

use std::ops::Range;

use rayon::prelude::*;

use super::clip::{clipped, masked};
use super::images_per_task;
use super::sums::{sum_of, sums_of};
use crate::error::Error;
use crate::error::expect;
use crate::kernel::{Body, Isa, wide};

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
        let isa = Isa::best();
        let statistics = self.statistics(x);
        let channels = self.channels(&statistics, gamma, beta);
        let image = self.channels * self.pixels;
        let task = images_per_task(self.images) * image;
        y.par_chunks_mut(task)
            .zip(x.par_chunks(task))
            .for_each(|(y, x)| {
                let planes = y.chunks_mut(self.pixels).zip(x.chunks(self.pixels));
                for ((y, x), &channel) in planes.zip(channels.iter().cycle()) {
                    wide(isa, (self, Work::Normalize(channel, x, y)));
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
        let isa = Isa::best();
        let channels = self.channels(statistics, gamma, beta);
        let sums = self.each_plane(|channel, range| {
            let (x, dy) = (&x[range.clone()], &gradient[range]);
            wide(isa, (self, Work::Sums(channels[channel], x, dy)))
        });
        let m = (self.images * self.pixels) as f64;
        let mut gradients = BatchNormGradients::default();
        // Slope and constant of dx = scale dy + slope (x - mean) + constant.
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
                for ((dy, x), (&channel, &line)) in planes.zip(channels.iter().zip(&lines).cycle())
                {
                    wide(isa, (self, Work::Back(channel, line, x, dy)));
                }
            });
        Ok(gradients)
    }

    /// Equation (1) of a plane.
    #[inline(always)]
    fn normalize(&self, channel: Channel, x: &[f32], y: &mut [f32]) {
        let values = y.iter_mut().zip(x);
        match self.ends {
            Some(ends) => values.for_each(|(y, &x)| *y = clipped(channel.apply(x), ends)),
            None => values.for_each(|(y, &x)| *y = channel.apply(x)),
        }
    }

    /// A plane's part of the sums of (2), the second without r.
    #[inline(always)]
    fn sums(&self, channel: Channel, x: &[f32], dy: &[f32]) -> [f64; 2] {
        let center = channel.mean;
        // The two cases are two loops, each of which compiles to vectors.
        match self.ends {
            Some(ends) => sums_of(x, dy, |x, dy| {
                let dy = masked(channel.apply(x), dy, ends);
                [dy, dy * (x - center)]
            }),
            None => sums_of(x, dy, |x, dy| [dy, dy * (x - center)]),
        }
    }

    /// Equation (3) of a plane, as scale dy + slope (x - mean) + constant.
    #[inline(always)]
    fn back(&self, channel: Channel, (slope, constant): (f32, f32), x: &[f32], dy: &mut [f32]) {
        let dx = |x: f32, dy: f32| channel.scale * dy + slope * (x - channel.mean) + constant;
        let values = dy.iter_mut().zip(x);
        match self.ends {
            Some(ends) => {
                values.for_each(|(dy, &x)| *dy = dx(x, masked(channel.apply(x), *dy, ends)));
            }
            None => values.for_each(|(dy, &x)| *dy = dx(x, *dy)),
        }
    }

    /// A plane's mean, and the sum of squares around it.
    #[inline(always)]
    fn moments(&self, x: &[f32]) -> [f64; 2] {
        let pixels = self.pixels as f64;
        let mean = sum_of(x, |x| x) / pixels;
        let center = mean as f32;
        // Second term: what the rounding of the center costs.
        let offset = mean - f64::from(center);
        let squares = sum_of(x, |x| (x - center) * (x - center));
        [mean, (squares - pixels * offset * offset).max(0.0)]
    }

    /// Mean and biased variance of every channel.
    fn statistics(&self, x: &[f32]) -> Statistics {
        let pixels = self.pixels as f64;
        let isa = Isa::best();
        let planes = self.each_plane(|_, range| wide(isa, (self, Work::Moments(&x[range]))));
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

    /// What `measure` says of each plane (its channel, its values' places), in the order of images and channels.
    fn each_plane(
        &self,
        measure: impl Fn(usize, Range<usize>) -> [f64; 2] + Sync,
    ) -> Vec<[f64; 2]> {
        let mut planes = vec![[0.0; 2]; self.images * self.channels];
        let task = images_per_task(self.images) * self.channels;
        planes
            .par_chunks_mut(task)
            .enumerate()
            .for_each(|(k, planes)| {
                for (i, plane) in planes.iter_mut().enumerate() {
                    let place = (k * task + i) * self.pixels;
                    let channel = (k * task + i) % self.channels;
                    *plane = measure(channel, place..place + self.pixels);
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

/// What is done with a plane.
enum Work<'a> {
    /// Equation (1).
    Normalize(Channel, &'a [f32], &'a mut [f32]),
    Moments(&'a [f32]),
    Sums(Channel, &'a [f32], &'a [f32]),
    /// Equation (3).
    Back(Channel, (f32, f32), &'a [f32], &'a mut [f32]),
}

impl Body for (&BatchNorm, Work<'_>) {
    type Out = [f64; 2];

    #[inline(always)]
    fn run(self) -> [f64; 2] {
        let (norm, work) = self;
        match work {
            Work::Normalize(channel, x, y) => norm.normalize(channel, x, y),
            Work::Moments(x) => return norm.moments(x),
            Work::Sums(channel, x, dy) => return norm.sums(channel, x, dy),
            Work::Back(channel, line, x, dy) => norm.back(channel, line, x, dy),
        }
        [0.0; 2]
    }
}
