//! What can have bits of its own, what must have the same, and what that costs.

use std::collections::BTreeMap;

use network::{Op, Topology, Value};
use quant_core::Bits;

use super::cost::{Cost, Latencies};
use super::exact::Choice;
use super::{Allocated, Of};
use crate::error::Error;
use crate::sites::{ShortcutPolicy, Sites};

/// A layer's weights or a site's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A layer's weights.
    Weights,
    /// A site's values.
    Activations,
}

impl Kind {
    /// As results have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Weights => "weight",
            Self::Activations => "activation",
        }
    }
}

/// Bits by what has them.
pub type Assignment = BTreeMap<(Kind, String), u32>;

/// One choice: a layer's weights, or some sites that have the same bits.
#[derive(Clone, Debug, PartialEq)]
struct Knob {
    kind: Kind,
    names: Vec<String>,
    /// What it may have, ascending; one where it is not open.
    bits: Vec<u32>,
}

#[derive(Clone, Debug)]
struct Layer {
    name: String,
    weights: u64,
    multiplications: u64,
    /// The site of what it reads.
    input: String,
}

/// The choices of a network, and what they cost.
#[derive(Clone, Debug)]
pub struct Knobs {
    layers: Vec<Layer>,
    /// Values of each site for one image, those that are rounded.
    sites: BTreeMap<String, u64>,
    knobs: Vec<Knob>,
    latencies: Option<Latencies>,
}

/// Bits for float.
const FLOAT: u32 = 32;

impl Knobs {
    /// Those of `topology`, which has the size of the images: `weights` and `activations` tell what a layer or a site can have,
    /// ascending; nothing for what stays in float, one number for what is not open. Sites that `policy` leaves as they are have none.
    pub fn new(
        topology: &Topology,
        policy: ShortcutPolicy,
        weights: &dyn Fn(&str) -> Vec<u32>,
        activations: &dyn Fn(&str) -> Vec<u32>,
    ) -> Self {
        let all = Sites::new(topology);
        let layers: Vec<Layer> = (topology.layers())
            .map(|id| {
                let node = topology.node(id);
                let to = topology.shape(Value::Node(id));
                let from = topology.shape(node.inputs[0]);
                let each = match &node.op {
                    Op::Conv { groups, window, .. } => {
                        from.channels / groups * window.kernel[0] * window.kernel[1]
                    }
                    _ => from.len(),
                };
                Layer {
                    name: node.name.clone(),
                    weights: (to.channels * each) as u64,
                    multiplications: topology.multiplications(id),
                    input: all.inputs.get(&node.name).cloned().unwrap_or_default(),
                }
            })
            .collect();
        let rounded = |name: &&str| !all.is_unrounded(name, policy);
        let values = |name: &str| {
            let site = all.sites.iter().find(|site| site.name == name);
            site.map_or(0, |site| topology.shape(site.value).len() as u64)
        };
        let sites: BTreeMap<String, u64> = (all.names().filter(rounded))
            .filter(|name| !activations(name).is_empty())
            .map(|name| (name.to_owned(), values(name)))
            .collect();
        let of_weights = layers.iter().map(|layer| Knob {
            kind: Kind::Weights,
            names: vec![layer.name.clone()],
            bits: weights(&layer.name),
        });
        let mut knobs: Vec<Knob> = of_weights.filter(|knob| !knob.bits.is_empty()).collect();
        let mut taken: Vec<String> = Vec::new();
        for site in all.names().filter(|name| sites.contains_key(*name)) {
            if taken.iter().any(|taken| taken == site) {
                continue;
            }
            // Summands have the same bits, whether or not they share a scale.
            let alike = all.partners(site, ShortcutPolicy::Shared);
            let is_alike = |name: &str| name == site || alike.iter().any(|other| other == name);
            let names: Vec<String> = (all.names())
                .filter(|name| sites.contains_key(*name) && is_alike(name))
                .map(str::to_owned)
                .collect();
            // What is not open for one of them is not for the others.
            let bits = names.iter().map(|name| activations(name));
            let bits = bits.min_by_key(Vec::len).unwrap_or_default();
            taken.extend(names.iter().cloned());
            knobs.push(Knob {
                kind: Kind::Activations,
                names,
                bits,
            });
        }
        Self {
            layers,
            sites,
            knobs,
            latencies: None,
        }
    }

    /// The same, with the time that layers take.
    ///
    /// # Errors
    /// [`Error::NoLatency`] names a layer that `latencies` has no time for, with the most bits that it may have.
    pub fn with_latencies(mut self, latencies: Latencies) -> Result<Self, Error> {
        let most = self.most();
        let nothing = Assignment::new();
        for layer in &self.layers {
            let own = self.bits(Kind::Weights, &layer.name, &most, &nothing);
            let read = self.bits(Kind::Activations, &layer.input, &most, &nothing);
            if latencies.of(&layer.name, own, read).is_none() {
                return Err(Error::NoLatency {
                    layer: layer.name.clone(),
                    weights: own,
                    activations: read,
                });
            }
        }
        self.latencies = Some(latencies);
        Ok(self)
    }

    /// All that has bits, with those that it may have.
    pub fn all(&self) -> impl Iterator<Item = (Kind, &str, &[u32])> {
        self.knobs.iter().flat_map(|knob| {
            let (kind, bits) = (knob.kind, &knob.bits[..]);
            knob.names
                .iter()
                .map(move |name| (kind, name.as_str(), bits))
        })
    }

    /// Those of `of`.
    pub(super) fn part(&self, of: Of) -> Self {
        let wanted = |knob: &&Knob| match of {
            Of::Weights => knob.kind == Kind::Weights,
            Of::Activations => knob.kind == Kind::Activations,
            Of::Both => true,
        };
        let all = self.knobs.iter();
        Self {
            knobs: all.filter(wanted).cloned().collect(),
            ..self.clone()
        }
    }

    /// Numbers of the choices that are open.
    pub(super) fn free(&self) -> Vec<usize> {
        let all = 0..self.knobs.len();
        all.filter(|&knob| self.knobs[knob].bits.len() > 1)
            .collect()
    }

    fn assigned(&self, bits: &dyn Fn(&Knob) -> u32) -> Assignment {
        let each = self.knobs.iter().flat_map(|knob| {
            let bits = bits(knob);
            let name = move |name: &String| ((knob.kind, name.clone()), bits);
            knob.names.iter().map(name)
        });
        each.collect()
    }

    /// What is not open.
    pub(super) fn fixed(&self) -> Assignment {
        let mut all = self.clone();
        all.knobs.retain(|knob| knob.bits.len() == 1);
        all.fewest()
    }

    /// Everything that is open at `bits`.
    pub(super) fn all_at(&self, bits: u32) -> Assignment {
        self.assigned(&|knob| match knob.bits[..] {
            [fixed] => fixed,
            _ => bits,
        })
    }

    /// Everything at its fewest bits.
    pub(super) fn fewest(&self) -> Assignment {
        self.assigned(&|knob| knob.bits[0])
    }

    /// Everything at its most bits.
    pub(super) fn most(&self) -> Assignment {
        self.assigned(&|knob| knob.bits[knob.bits.len() - 1])
    }

    /// The same with one choice a step up or down, if there is one.
    pub(super) fn stepped(&self, now: &Assignment, knob: usize, up: bool) -> Option<Assignment> {
        let bits = self.bits_of(knob, now)?;
        let knob = &self.knobs[knob];
        let place = knob.bits.iter().position(|&own| own == bits)?;
        let place = match up {
            true => place + 1,
            false => place.checked_sub(1)?,
        };
        let bits = *knob.bits.get(place)?;
        let mut next = now.clone();
        for name in &knob.names {
            next.insert((knob.kind, name.clone()), bits);
        }
        Some(next)
    }

    /// Of a choice, in `now`.
    pub(super) fn bits_of(&self, knob: usize, now: &Assignment) -> Option<u32> {
        let knob = &self.knobs[knob];
        now.get(&(knob.kind, knob.names[0].clone())).copied()
    }

    /// Layers or sites of a choice.
    pub(super) fn names(&self, knob: usize) -> (Kind, &[String]) {
        (self.knobs[knob].kind, &self.knobs[knob].names)
    }

    /// What `now` costs; what it says nothing of has the bits of `others`, or what it cannot choose, or is in float.
    pub(super) fn cost(&self, cost: Cost, now: &Assignment, others: &Assignment) -> u64 {
        match cost {
            Cost::Latency => (self.layers.iter())
                .map(|layer| {
                    let own = self.bits(Kind::Weights, &layer.name, now, others);
                    let read = self.bits(Kind::Activations, &layer.input, now, others);
                    self.product(cost, layer, own, read)
                })
                .sum(),
            Cost::Size | Cost::BitOperations => self.sum(cost, &|kind, name| {
                f64::from(self.bits(kind, name, now, others))
            }) as u64,
        }
    }

    /// The budget in what it is spent on: as if everything that has bits here had so many.
    pub(super) fn budget(&self, cost: Cost, bits: f64, others: &Assignment) -> u64 {
        if cost == Cost::Latency {
            return self.time_at(bits, others);
        }
        let nothing = Assignment::new();
        let all = self.sum(cost, &|kind, name| match self.has(kind, name) {
            true => bits,
            false => f64::from(self.bits(kind, name, &nothing, others)),
        });
        // Half a bit operation more, for what rounding of the sum takes from a budget that is met exactly.
        (all + 0.5) as u64
    }

    /// The bits that would cost as much everywhere.
    pub(super) fn average(&self, cost: Cost, now: &Assignment, others: &Assignment) -> f64 {
        let paid = self.cost(cost, now, others);
        if cost == Cost::Latency {
            let widths = self.widths();
            let mut fitting = widths.iter().rev();
            let fits = fitting.find(|&&bits| self.time_at(f64::from(bits), others) <= paid);
            let bits = fits.or(widths.first()).copied();
            return bits.map_or(0.0, f64::from);
        }
        let paid = paid as f64;
        let one = self.sum(cost, &|kind, name| match self.has(kind, name) {
            true => 1.0,
            false => f64::from(self.bits(kind, name, &Assignment::new(), others)),
        });
        let kinds = [Kind::Weights, Kind::Activations];
        let kinds = kinds.map(|kind| self.knobs.iter().any(|knob| knob.kind == kind));
        match (cost, kinds) {
            (Cost::BitOperations, [true, true]) => (paid / one).sqrt(),
            _ => paid / one,
        }
    }

    /// All numbers of bits that something open may have, ascending.
    fn widths(&self) -> Vec<u32> {
        let open = self.free().into_iter();
        let mut all: Vec<u32> = open
            .flat_map(|knob| self.knobs[knob].bits.clone())
            .collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// The time with everything that is open at `bits`: between two numbers of bits that can be had, in proportion.
    fn time_at(&self, bits: f64, others: &Assignment) -> u64 {
        let widths = self.widths();
        let below = widths.iter().rev().find(|&&own| f64::from(own) <= bits);
        let above = widths.iter().find(|&&own| f64::from(own) >= bits);
        let time = |bits: u32| self.cost(Cost::Latency, &self.all_at(bits), others) as f64;
        let all = match (below, above) {
            (Some(&low), Some(&high)) if low < high => {
                let share = (bits - f64::from(low)) / f64::from(high - low);
                (1.0 - share) * time(low) + share * time(high)
            }
            (Some(&one), _) | (None, Some(&one)) => time(one),
            (None, None) => self.cost(Cost::Latency, &self.fewest(), others) as f64,
        };
        (all + 0.5) as u64
    }

    fn has(&self, kind: Kind, name: &str) -> bool {
        let own = |knob: &&Knob| knob.kind == kind && knob.names.iter().any(|own| own == name);
        self.knobs.iter().find(own).is_some()
    }

    fn bits(&self, kind: Kind, name: &str, now: &Assignment, others: &Assignment) -> u32 {
        let key = (kind, name.to_owned());
        let found = now.get(&key).or_else(|| others.get(&key));
        found.copied().unwrap_or(FLOAT)
    }

    /// What `layer` costs by itself with `own` bits of weights and `read` bits of what it reads, where that is a matter of both.
    fn product(&self, cost: Cost, layer: &Layer, own: u32, read: u32) -> u64 {
        match cost {
            Cost::Size => 0,
            Cost::BitOperations => layer.multiplications * u64::from(own) * u64::from(read),
            Cost::Latency => {
                let latencies = self.latencies.as_ref();
                let time = latencies.and_then(|all| all.of(&layer.name, own, read));
                time.unwrap_or(0)
            }
        }
    }

    /// (1) or (2) of [`Cost`], with bits that need not be whole.
    fn sum(&self, cost: Cost, bits: &dyn Fn(Kind, &str) -> f64) -> f64 {
        match cost {
            Cost::Size => {
                let layers = self.layers.iter();
                let layers = layers.filter(|layer| self.has(Kind::Weights, &layer.name));
                let weights: f64 = layers
                    .map(|layer| layer.weights as f64 * bits(Kind::Weights, &layer.name))
                    .sum();
                let sites = self.sites.iter();
                let sites = sites.filter(|(name, _)| self.has(Kind::Activations, name));
                let values: f64 = sites
                    .map(|(name, &n)| n as f64 * bits(Kind::Activations, name))
                    .sum();
                weights + values
            }
            Cost::BitOperations | Cost::Latency => (self.layers.iter())
                .map(|layer| {
                    let own = bits(Kind::Weights, &layer.name);
                    let read = bits(Kind::Activations, &layer.input);
                    layer.multiplications as f64 * own * read
                })
                .sum(),
        }
    }

    /// What is chosen independently, so that costs and harms add up.
    pub(super) fn groups(
        &self,
        cost: Cost,
        others: &Assignment,
        harm: &dyn Fn(Kind, &str, u32) -> f64,
    ) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        let mut done: Vec<&str> = Vec::new();
        let sites = self
            .knobs
            .iter()
            .filter(|knob| knob.kind == Kind::Activations);
        for site in sites {
            let reads = |layer: &&Layer| site.names.contains(&layer.input);
            let readers: Vec<&Layer> = self.layers.iter().filter(reads).collect();
            let mut options = Vec::new();
            for &bits in &site.bits {
                let own: Assignment = (site.names.iter())
                    .map(|name| ((site.kind, name.clone()), bits))
                    .collect();
                let own_cost = match cost {
                    Cost::Size => site.names.iter().map(|name| self.sites[name]).sum::<u64>(),
                    Cost::BitOperations | Cost::Latency => 0,
                };
                let harmed = site
                    .names
                    .iter()
                    .map(|name| harm(site.kind, name, bits))
                    .sum();
                let start = Choice {
                    cost: own_cost * u64::from(bits),
                    score: harmed,
                };
                let mut made = vec![(own, start)];
                for layer in &readers {
                    // A layer whose weights are not chosen here multiplies by what they have.
                    let choices = match self.weights(&layer.name) {
                        Some(knob) if cost.is_of_products() => knob.bits.clone(),
                        _ => vec![self.bits(Kind::Weights, &layer.name, others, others)],
                    };
                    let is_chosen = cost.is_of_products() && self.weights(&layer.name).is_some();
                    made = (made.iter())
                        .flat_map(|(own, so_far)| choices.iter().map(move |&w| (own, so_far, w)))
                        .map(|(own, so_far, w)| {
                            let mut own = own.clone();
                            let mut choice = *so_far;
                            choice.cost += self.product(cost, layer, w, bits);
                            if is_chosen {
                                own.insert((Kind::Weights, layer.name.clone()), w);
                                choice.score += harm(Kind::Weights, &layer.name, w);
                            }
                            (own, choice)
                        })
                        .collect();
                    done.extend(is_chosen.then_some(layer.name.as_str()));
                }
                options.extend(made);
            }
            groups.push(Group { options });
        }
        let weights = self.knobs.iter().filter(|knob| knob.kind == Kind::Weights);
        for knob in weights.filter(|knob| !done.contains(&knob.names[0].as_str())) {
            let Some(layer) = self.layers.iter().find(|layer| layer.name == knob.names[0]) else {
                continue;
            };
            let read = self.bits(Kind::Activations, &layer.input, others, others);
            let own_cost = |bits: u32| match cost {
                Cost::Size => layer.weights * u64::from(bits),
                Cost::BitOperations | Cost::Latency => self.product(cost, layer, bits, read),
            };
            let option = |&bits: &u32| {
                let own = Assignment::from([((Kind::Weights, layer.name.clone()), bits)]);
                let choice = Choice {
                    cost: own_cost(bits),
                    score: harm(Kind::Weights, &layer.name, bits),
                };
                (own, choice)
            };
            groups.push(Group {
                options: knob.bits.iter().map(option).collect(),
            });
        }
        groups
    }

    fn weights(&self, layer: &str) -> Option<&Knob> {
        let mut all = self.knobs.iter();
        all.find(|knob| knob.kind == Kind::Weights && knob.names[0] == layer)
    }

    /// By layer and by site, what was open.
    pub(super) fn allocated(&self, assignment: &Assignment) -> Allocated {
        let mut found = Allocated::default();
        for knob in self.knobs.iter().filter(|knob| knob.bits.len() > 1) {
            for name in &knob.names {
                let bits = assignment.get(&(knob.kind, name.clone()));
                let Some(bits) = bits.and_then(|&bits| Bits::new(bits).ok()) else {
                    continue;
                };
                let list = match knob.kind {
                    Kind::Weights => &mut found.weights,
                    Kind::Activations => &mut found.activations,
                };
                list.insert(name.clone(), bits);
            }
        }
        found
    }

    /// Bits of weights and activations, everything that has some, in a network with bits as `allocated` says.
    pub fn complete(&self, allocated: &Allocated) -> Assignment {
        self.assigned(&|knob| {
            let list = match knob.kind {
                Kind::Weights => &allocated.weights,
                Kind::Activations => &allocated.activations,
            };
            let own = list.get(&knob.names[0]).map(|bits| bits.get());
            own.unwrap_or(knob.bits[knob.bits.len() - 1])
        })
    }

    /// The nanoseconds of all layers for one image, with everything as `complete` has it; none where nothing is known of times.
    pub fn latency(&self, complete: &Assignment) -> Option<u64> {
        self.latencies.as_ref()?;
        Some(self.cost(Cost::Latency, complete, &Assignment::new()))
    }

    /// The average bits of all weights, of all values of sites, and the bit operations for one image, with everything as `complete`
    /// has it.
    pub fn totals(&self, complete: &Assignment) -> [Option<f64>; 3] {
        let nothing = Assignment::new();
        let average = |of: Of| {
            let part = self.part(of);
            let has_any = !part.knobs.is_empty();
            has_any.then(|| part.average(Cost::Size, complete, &nothing))
        };
        let operations = self.cost(Cost::BitOperations, complete, &nothing) as f64;
        [
            average(Of::Weights),
            average(Of::Activations),
            Some(operations),
        ]
    }
}

/// What is chosen together: assignments with their cost and their harm.
pub(super) struct Group {
    options: Vec<(Assignment, Choice)>,
}

impl Group {
    pub(super) fn choices(&self) -> Vec<Choice> {
        self.options.iter().map(|&(_, choice)| choice).collect()
    }

    /// What `chosen` says, a number for each group.
    pub(super) fn assigned(groups: &[Self], chosen: &[usize]) -> Assignment {
        let all = groups.iter().zip(chosen);
        all.flat_map(|(group, &option)| group.options[option].0.clone())
            .collect()
    }
}
