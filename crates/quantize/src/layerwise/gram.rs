//! Codes on Gram matrices: which codes, scales and order of them.

use network::HostTensor;
use quant_core::{Layout, Mapping, Outcome, QParams, Quantized, Scheme, Values};

use super::descent::Descent;
use super::problem::Problem;
use super::scales::Scales;
use crate::error::Error;

/// How codes are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Order {
    /// The nearest to the target.
    Nearest,
    /// One after the other with what was lost so far.
    Feedback,
    /// By coordinate descent from the nearest.
    Descent,
}

quant_core::words!(Order, "gram.order": Nearest = "nearest", Feedback = "feedback", Descent = "descent");

/// What weights are moved towards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// The float weights.
    Float,
    /// Those that make up for what the layers before have lost.
    Corrected,
}

quant_core::words!(Target, "gram.target": Float = "float", Corrected = "corrected");

/// Rounding on Gram matrices.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gram {
    /// How codes are found.
    pub order: Order,
    /// Whether feedback goes over the weights by what they read, the largest first, not as they lie.
    pub activation_order: bool,
    /// What they stand for.
    pub target: Target,
    /// Whether scales are fitted once codes are there, and codes to them again.
    pub refit: bool,
    /// Output pixels of an image that take part; 0 for all.
    pub positions: usize,
    /// Added to the diagonal, in units of its mean.
    pub damping: f64,
}

impl Default for Gram {
    fn default() -> Self {
        Self {
            order: Order::Descent,
            activation_order: false,
            target: Target::Corrected,
            refit: true,
            positions: 64,
            damping: 1e-2,
        }
    }
}

/// Passes over all codes after the start, and after each of so many refits.
const SWEEPS: usize = 4;
const REFITS: usize = 3;
const SWEEPS_AFTER: usize = 2;

/// Codes for the weights of a layer.
pub(super) fn solve(
    (name, weight): (&str, &HostTensor),
    scheme: &Scheme,
    (problems, scales): (&[Problem], Scales),
    gram: &Gram,
) -> Result<Quantized, Error> {
    let best = problems.iter().flat_map(|problem| &problem.best);
    let best: Vec<f32> = best.map(|&w| w as f32).collect();
    let values = Values::new(name, &best, &weight.shape)?;
    let start = scales.start(&values, scheme, problems);
    if gram.order == Order::Nearest && !gram.refit {
        return Ok(start);
    }
    let layout = Layout::new(&weight.shape, scheme.granularity());
    let mut descent = Descent::new(problems, layout, start.params.clone(), &start.codes);
    match gram.order {
        Order::Nearest => {}
        Order::Feedback => descent.feedback(gram.activation_order),
        Order::Descent => (0..SWEEPS).for_each(|_| descent.sweep()),
    }
    if gram.refit && scheme.mapping() != Mapping::PowerOfTwo {
        for _ in 0..REFITS {
            descent.refit();
            (0..SWEEPS_AFTER).for_each(|_| descent.sweep());
        }
    }
    let codes = descent.rows.iter().flat_map(|row| &row.codes);
    let codes: Vec<i32> = codes.copied().collect();
    Ok(assembled(start, &descent.params, &codes))
}

/// `start` with other scales and codes, less their zero points.
pub(super) fn assembled(start: Quantized, params: &[QParams], codes: &[i32]) -> Quantized {
    let mut made = Quantized {
        params: params.to_vec(),
        ..start
    };
    let groups: Vec<_> = made.layout.groups().collect();
    for ((range, param), outcome) in groups.into_iter().zip(params).zip(&made.outcomes) {
        if let Outcome::Quantized { .. } = outcome {
            for i in range {
                made.codes[i] = codes[i] + param.zero_point;
                made.values[i] = param.dequantize(made.codes[i]);
            }
        }
    }
    made
}
