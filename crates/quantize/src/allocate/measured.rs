//! What a network loses with one layer or one site alone at few bits, and what that predicts of any allocation.
//!
//! For layer or site `i` at `b` bits:
//!
//! ```text
//! own noise       |Q_b(x) - x|^2 / |x|^2 over its weights or values; noise through signal of layers adds up          (1)
//! logits          noise, divergence and flips of the logits with it alone so                                          (2)
//! curvature       1/2 (trace_i / n_i) |Q_b(w) - w|^2 of a layer's n_i weights                                         (3)
//! ```
//!
//! (1) is Lin et al. 2016, equations 5 to 9; (2) is measured on images; (3) is HAWQ-v2 (Dong et al. 2019), for the loss or, with the Fisher
//! information in place of the Hessian, for the divergence.

use std::collections::BTreeMap;

use quant_core::{QParams, Rounding, Statistics, words};

use super::curvature::{Curvature, curvature};
use super::knobs::{Assignment, Kind};
use super::subject::Subject;
use crate::error::Error;
use crate::sensitivity::{LogitError, Probe};
use crate::sites::SiteCodes;

/// What says beforehand how much bits harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Predictor {
    /// (1).
    Sqnr,
    /// (2).
    Sensitivity,
    /// (3) of the loss.
    Hessian,
    /// (3) of the divergence.
    Fisher,
}

words!(
    Predictor, "predictor": Sqnr = "sqnr", Sensitivity = "sensitivity", Hessian = "hessian", Fisher = "fisher",
);

/// A layer's weights or a site's values at one number of bits, all else in float.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Which.
    pub kind: Kind,
    /// The layer or the site.
    pub name: String,
    /// So many.
    pub bits: u32,
    /// (1).
    pub own_noise: f64,
    /// (2), sums over the images.
    pub logits: LogitError,
    /// (3) of the loss, in nats an image; none for sites.
    pub hessian: Option<f64>,
    /// (3) of the divergence.
    pub fisher: Option<f64>,
}

/// What was measured of a network.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// Every layer and site that may have few bits, at each that it may have.
    pub rows: Vec<Row>,
    /// Of one image on average: the float network's logits' power (equation 1 of [`LogitError`]).
    pub signal: f64,
    /// Of one image on average: `1 - sum_j p_j^2` of the float network's probabilities.
    pub doubt: f64,
}

/// Measures `subject` on `images`, `[n, c, height, width]`, with their labels, on all threads of the pool that it runs in; for any
/// number of them the same.
///
/// # Errors
/// Images that do not fit; a network that is not the same with other weights.
pub fn measure(
    subject: &Subject<'_>,
    (images, labels, size): (&[f32], &[u16], [usize; 2]),
) -> Result<Measured, Error> {
    let mut probe = Probe::new(subject.float.clone(), size, &SiteCodes::new())?;
    let mut keys: Vec<(Kind, String, u32)> = Vec::new();
    let tries = |kind: Kind, name: &str, bits: u32| {
        let mut all = subject.tried.iter();
        all.any(|(of, own, may)| *of == kind && own == name && may.contains(&bits))
    };
    for (bits, network) in &subject.rounded.weights {
        let added = probe.weights(network, &|name| tries(Kind::Weights, name, *bits))?;
        keys.extend(added.into_iter().map(|name| (Kind::Weights, name, *bits)));
    }
    for (bits, codes) in &subject.rounded.codes {
        for (site, code) in codes {
            if tries(Kind::Activations, site, *bits) {
                probe.site(site, Some(*code))?;
                keys.push((Kind::Activations, site.clone(), *bits));
            }
        }
    }
    let float = probe.logits(images)?;
    let (errors, _) = probe.errors((images, labels), &float)?;
    let has_weights = keys.iter().any(|(kind, ..)| *kind == Kind::Weights);
    let curvature = match has_weights {
        true => curvature(subject.float, (images, labels, size))?,
        false => Curvature::default(),
    };
    let classes = probe.classes();
    let (mut signal, mut doubt) = (0.0, 0.0);
    for logits in float.chunks_exact(classes) {
        let norm = crate::sensitivity::log_norm(logits);
        let squares = logits.iter().map(|&z| (2.0 * (f64::from(z) - norm)).exp());
        doubt += 1.0 - squares.sum::<f64>();
    }
    let count = labels.len().max(1) as f64;
    if let Some(any) = errors.first() {
        signal = any.signal / count;
    }
    let float = crate::fold(subject.float)?;
    let rows = keys
        .into_iter()
        .zip(errors)
        .map(|((kind, name, bits), logits)| {
            let moved = match kind {
                Kind::Weights => {
                    let weight = format!("{name}.weight");
                    let before = &float.tensors().require(&weight)?.data;
                    match subject.rounded.network(bits) {
                        Some(own) => moved(before, &own.tensors().require(&weight)?.data),
                        None => (0.0, 0.0),
                    }
                }
                Kind::Activations => {
                    let seen = subject.statistics.and_then(|all| all.get(&name));
                    let pair = seen.zip(subject.rounded.code(&name, bits));
                    pair.map_or((0.0, 0.0), |(seen, code)| lost(seen, code))
                }
            };
            let of_weights = |traces: &BTreeMap<String, f64>| {
                let trace = traces.get(&name).filter(|_| kind == Kind::Weights)?;
                Some(0.5 * trace * moved.1)
            };
            Ok(Row {
                kind,
                bits,
                own_noise: if moved.0 > 0.0 {
                    moved.1 / moved.0
                } else {
                    0.0
                },
                logits,
                hessian: of_weights(&curvature.hessian),
                fisher: of_weights(&curvature.fisher),
                name,
            })
        });
    Ok(Measured {
        rows: rows.collect::<Result<_, Error>>()?,
        signal,
        doubt: doubt / count,
    })
}

/// The sums of squares of `x` and of what it lost.
fn moved(x: &[f32], rounded: &[f32]) -> (f64, f64) {
    let square = |x: f64| x * x;
    let signal = x.iter().map(|&x| square(f64::from(x))).sum();
    let pairs = x.iter().zip(rounded);
    let noise = pairs
        .map(|(&x, &y)| square(f64::from(y) - f64::from(x)))
        .sum();
    (signal, noise)
}

/// The same of values as they were seen, each in the middle of its bin.
fn lost(seen: &Statistics, code: QParams) -> (f64, f64) {
    let mut sums = (0.0, 0.0);
    for bin in seen.histogram().bins() {
        let x = (bin.low + bin.high) / 2.0;
        let y = f64::from(code.fake_quant(x as f32, Rounding::HalfEven, 0));
        sums.0 += bin.count as f64 * x * x;
        sums.1 += bin.count as f64 * (y - x) * (y - x);
    }
    sums
}

impl Measured {
    fn row(&self, kind: Kind, name: &str, bits: u32) -> Option<&Row> {
        let mut rows = self.rows.iter();
        rows.find(|row| row.kind == kind && row.name == name && row.bits == bits)
    }

    /// What a predictor says that a layer or site at `bits` harms: noise through signal or nats. More bits harm less, a little at least,
    /// whatever was measured: noise of the measurement is no reason to save bits.
    pub fn harm(&self, by: Predictor, kind: Kind, name: &str, bits: u32) -> f64 {
        let own = |row: &&Row| row.kind == kind && row.name == name && row.bits >= bits;
        let mut rows: Vec<&Row> = self.rows.iter().filter(own).collect();
        rows.sort_by_key(|row| std::cmp::Reverse(row.bits));
        rows.into_iter().fold(0.0, |least: f64, row| {
            self.raw(by, row)
                .max(least * (1.0 + 1e-9) + f64::MIN_POSITIVE * 1e9)
        })
    }

    /// As it was measured, of one image on average.
    fn raw(&self, by: Predictor, row: &Row) -> f64 {
        match by {
            Predictor::Sqnr => row.own_noise,
            Predictor::Sensitivity => row.logits.mean_kl(),
            // Where the loss bends downwards, as it may on few images, few bits are still no gain.
            Predictor::Hessian => row.hessian.unwrap_or(0.0).max(0.0),
            Predictor::Fisher => row.fisher.unwrap_or(0.0).max(0.0),
        }
    }

    /// The noise of one image's logits (equation 1 of [`LogitError`]) that a predictor expects with all bits as in `assignment`; none
    /// where it has nothing to say of some of it.
    ///
    /// Divergences become noise by what equal independent noise of each logit would make of them: with its variance `v`,
    /// `KL = v/2 (1 - sum_j p_j^2)` on average, and the noise of all `c` logits is `(c - 1) v`.
    pub fn noise(&self, by: Predictor, assignment: &Assignment, classes: usize) -> Option<f64> {
        let mut sum = 0.0;
        for ((kind, name), &bits) in assignment {
            let row = self.row(*kind, name, bits)?;
            let images = row.logits.images.max(1) as f64;
            sum += match by {
                Predictor::Sqnr => row.own_noise * self.signal,
                Predictor::Sensitivity => row.logits.noise / images,
                Predictor::Hessian => row.hessian?.max(0.0),
                Predictor::Fisher => row.fisher?.max(0.0),
            };
        }
        Some(match by {
            Predictor::Sqnr | Predictor::Sensitivity => sum,
            Predictor::Hessian | Predictor::Fisher => {
                let variance = 2.0 * sum / self.doubt.max(f64::MIN_POSITIVE);
                variance * classes.saturating_sub(1) as f64
            }
        })
    }
}
