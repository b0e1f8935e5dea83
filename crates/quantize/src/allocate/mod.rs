//! Where the bits should go: a number of bits for each layer's weights and for each activation site, chosen so that the network keeps
//! as much as possible of its answers within a budget.
//!
//! ```text
//! minimise  sum_i harm_i(b_i)    subject to  cost(b) <= budget                                    (1)
//! ```
//!
//! What harm is, is the [`Method`]; what costs, is [`Cost`]. Harms are measured with everything else in float and added up, which is
//! what all published methods of this kind do and no network promises ([`Predictor`] says how far off it was); [`Method::Greedy`]
//! measures again after every step instead. (1) is solved exactly ([`exact`]).
//!
//! What must have the same bits is one choice: sites that share a scale, and the two summands of an addition.

mod cost;
mod curvature;
mod exact;
mod greedy;
mod knobs;
mod lin;
mod margins;
mod measured;
mod subject;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use quant_core::{Bits, uniform, words};

use crate::error::Error;
pub use cost::{Cost, Latencies};
use exact::{Choice, least};
pub use greedy::{Steps, greedy};
use knobs::{Assignment, Group};
pub use knobs::{Kind, Knobs};
pub use lin::kappa;
pub use margins::{Expected, Margins};
pub use measured::{Measured, Predictor, Row, measure};
pub use subject::{Rounded, Subject, Widths};

/// What says how much a layer or a site is harmed by few bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// The same bits everywhere: the most that the budget allows.
    Uniform,
    /// Nothing: bits are raised in an order that is drawn, as long as they fit.
    Random,
    /// Noise through signal of the values themselves (Lin et al. 2016).
    Sqnr,
    /// The closed form of the same paper, for which only what a bit costs differs from layer to layer.
    Lin,
    /// The divergence of the network's answers with that layer or site alone at so few bits.
    Sensitivity,
    /// The trace of the loss's Hessian times the weights' squared error (HAWQ-v2).
    Hessian,
    /// The same with the Fisher information, which needs no labels.
    Fisher,
    /// The divergence, measured again after every step down.
    Greedy,
}

words!(
    Method, "allocate.method": Uniform = "uniform", Random = "random", Sqnr = "sqnr", Lin = "lin", Sensitivity = "sensitivity",
    Hessian = "hessian", Fisher = "fisher", Greedy = "greedy",
);

impl Method {
    /// What predicts its harm, if that is measured beforehand.
    pub fn predictor(self) -> Option<Predictor> {
        match self {
            Self::Sqnr => Some(Predictor::Sqnr),
            Self::Sensitivity => Some(Predictor::Sensitivity),
            Self::Hessian => Some(Predictor::Hessian),
            Self::Fisher => Some(Predictor::Fisher),
            Self::Uniform | Self::Random | Self::Lin | Self::Greedy => None,
        }
    }
}

/// What gets bits of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Of {
    /// Layers' weights.
    Weights,
    /// Activation sites.
    Activations,
    /// Both: together where the cost is that of their products, each within the budget where it is not.
    Both,
}

words!(Of, "allocate.of": Weights = "weights", Activations = "activations", Both = "both");

/// How bits are allocated.
#[derive(Clone, Debug, PartialEq)]
pub struct Allocation {
    /// By what.
    pub method: Method,
    /// To what.
    pub of: Of,
    /// What the budget is spent on.
    pub cost: Cost,
    /// The bits that would cost as much everywhere.
    pub budget: f64,
    /// What may be given, without order.
    pub bits: Vec<Bits>,
    /// Calibration images that harm is measured on.
    pub images: usize,
    /// Of what is drawn.
    pub seed: u64,
    /// What layers take, for [`Cost::Latency`].
    pub latencies: Option<Latencies>,
}

/// Bits by layer and by site.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Allocated {
    /// Of weights, by layer: of those that were allocated.
    pub weights: BTreeMap<String, Bits>,
    /// Of activations, by site.
    pub activations: BTreeMap<String, Bits>,
}

impl Allocation {
    /// The bits of `knobs` by harm that was `measured`; [`Method::Greedy`] is another function's ([`greedy`]).
    ///
    /// # Errors
    /// [`Error::Budget`] for one that the fewest bits exceed.
    pub fn choose(&self, knobs: &Knobs, measured: &Measured) -> Result<Allocated, Error> {
        let mut assignment = knobs.fixed();
        for of in self.parts() {
            let part = knobs.part(of);
            let budget = part.budget(self.cost, self.budget, &assignment);
            let found = match self.method.predictor() {
                Some(predictor) => {
                    let groups = part.groups(self.cost, &assignment, &|kind, name, bits| {
                        measured.harm(predictor, kind, name, bits)
                    });
                    let choices: Vec<Vec<Choice>> =
                        groups.iter().map(|group| group.choices()).collect();
                    least(&choices, budget).map(|chosen| Group::assigned(&groups, &chosen))
                }
                None if self.method == Method::Random => self.drawn(&part, budget, &assignment),
                None if self.method == Method::Lin => {
                    lin::closed_form(&part, measured, (self.cost, budget), &assignment)
                }
                None => self.uniform(&part, budget, &assignment),
            };
            match found {
                Some(found) => assignment.extend(found),
                None => return Err(self.too_small(&part, &assignment)),
            }
        }
        Ok(knobs.allocated(&assignment))
    }

    /// What is chosen together.
    fn parts(&self) -> Vec<Of> {
        match (self.of, self.cost) {
            (Of::Both, Cost::Size) => vec![Of::Weights, Of::Activations],
            (of, _) => vec![of],
        }
    }

    /// The most bits that everything can have.
    fn uniform(&self, part: &Knobs, budget: u64, so_far: &Assignment) -> Option<Assignment> {
        let mut bits: Vec<u32> = self.bits.iter().map(|bits| bits.get()).collect();
        bits.sort_unstable_by(|a, b| b.cmp(a));
        let all = bits.into_iter().map(|bits| part.all_at(bits));
        let mut fitting = all.filter(|all| part.cost(self.cost, all, so_far) <= budget);
        fitting.next()
    }

    /// One after the other is raised by a step, as long as that fits.
    fn drawn(&self, part: &Knobs, budget: u64, so_far: &Assignment) -> Option<Assignment> {
        let mut now = part.fewest();
        if part.cost(self.cost, &now, so_far) > budget {
            return None;
        }
        let mut open = part.free();
        for draw in 0.. {
            if open.is_empty() {
                break;
            }
            let place = uniform(self.seed, draw) * open.len() as f32;
            let place = (place as usize).min(open.len() - 1);
            let raised = part.stepped(&now, open[place], true);
            match raised.filter(|raised| part.cost(self.cost, raised, so_far) <= budget) {
                Some(raised) => now = raised,
                None => drop(open.remove(place)),
            }
        }
        Some(now)
    }

    fn too_small(&self, part: &Knobs, so_far: &Assignment) -> Error {
        Error::Budget {
            budget: self.budget,
            least: part.average(self.cost, &part.fewest(), so_far),
        }
    }
}
