//! Bits taken away one step after the other, each where it harms least for what it saves, as measured in the network as it is by then.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use super::knobs::{Assignment, Kind, Knobs};
use super::subject::Subject;
use super::{Allocated, Allocation};
use crate::error::Error;
use crate::sensitivity::Probe;
use crate::sites::SiteCodes;

/// What steps harm, as measured so far: of one subject on the same images. Smaller budgets begin with the steps of larger ones.
#[derive(Debug, Default)]
pub struct Steps(Mutex<ByBits>);

/// By the bits of everything, and the bits that a step takes what it is about to.
type ByBits = BTreeMap<Assignment, BTreeMap<Vec<(Kind, String, u32)>, f64>>;

impl Steps {
    fn known(&self, all: &Assignment, step: &[(Kind, String, u32)]) -> Option<f64> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(all)?.get(step).copied()
    }

    fn learn(&self, all: &Assignment, step: Vec<(Kind, String, u32)>, harm: f64) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.entry(all.clone()).or_default().insert(step, harm);
    }
}

/// The bits of `knobs`: from the most bits everywhere downwards until the budget is met. A step's harm is the divergence that it adds
/// on `images`. Since that changes little from step to step, what was found before is trusted as a bound of order, not as a number:
/// the most promising step is measured again, and taken if it is still the most promising. What `steps` have of it is not measured
/// again; they keep the rest.
///
/// # Errors
/// [`Error::Budget`]; images that do not fit.
pub fn greedy(
    allocation: &Allocation,
    knobs: &Knobs,
    subject: &Subject<'_>,
    (images, labels, size): (&[f32], &[u16], [usize; 2]),
    steps: &Steps,
) -> Result<Allocated, Error> {
    let mut assignment = knobs.fixed();
    let mut reference: Option<Vec<f32>> = None;
    for of in allocation.parts() {
        let part = knobs.part(of);
        let budget = part.budget(allocation.cost, allocation.budget, &assignment);
        if part.cost(allocation.cost, &part.fewest(), &assignment) > budget {
            return Err(allocation.too_small(&part, &assignment));
        }
        let mut now = part.most();
        let mut known: BTreeMap<usize, f64> = BTreeMap::new();
        let mut measure = |now: &Assignment, wanted: &[usize]| -> Result<Vec<f64>, Error> {
            let all: Assignment = assignment
                .iter()
                .chain(now)
                .map(|(k, b)| (k.clone(), *b))
                .collect();
            let taken = |knob: usize| step(&part, now, knob);
            let is_new = |knob: &usize| steps.known(&all, &taken(*knob)).is_none();
            let new: Vec<usize> = wanted.iter().copied().filter(is_new).collect();
            if !new.is_empty() {
                if reference.is_none() {
                    let float = Probe::new(subject.float.clone(), size, &SiteCodes::new())?;
                    reference = Some(float.logits(images)?);
                }
                let images = (
                    images,
                    labels,
                    reference.as_deref().unwrap_or_default(),
                    size,
                );
                let found = harms(&part, (&all, now), &new, subject, images)?;
                for (knob, harm) in new.into_iter().zip(found) {
                    steps.learn(&all, taken(knob), harm);
                }
            }
            let harm = |knob: &usize| steps.known(&all, &taken(*knob)).unwrap_or_default();
            Ok(wanted.iter().map(harm).collect())
        };
        while part.cost(allocation.cost, &now, &assignment) > budget {
            let open: Vec<usize> = (part.free().into_iter())
                .filter(|&knob| part.stepped(&now, knob, false).is_some())
                .collect();
            let fresh: Vec<usize> = (open.iter().copied())
                .filter(|knob| !known.contains_key(knob))
                .collect();
            if !fresh.is_empty() {
                known.extend(fresh.iter().copied().zip(measure(&now, &fresh)?));
            }
            let saved = |knob: usize| {
                let less = part.stepped(&now, knob, false)?;
                let costs = [&now, &less].map(|own| part.cost(allocation.cost, own, &assignment));
                Some((costs[0] - costs[1]) as f64)
            };
            let price = |knob: usize, harm: f64| harm / saved(knob).unwrap_or(0.0).max(1.0);
            let best = |known: &BTreeMap<usize, f64>| {
                let all = open
                    .iter()
                    .filter_map(|&knob| Some((knob, *known.get(&knob)?)));
                all.map(|(knob, harm)| (knob, price(knob, harm)))
                    .reduce(|best, other| if other.1 < best.1 { other } else { best })
            };
            let Some((mut first, _)) = best(&known) else {
                break;
            };
            // What was measured of the network as it is now; the others are of an earlier step.
            let mut current: BTreeSet<usize> = fresh.into_iter().collect();
            while current.insert(first) {
                let again = measure(&now, &[first])?;
                known.insert(first, again[0]);
                match best(&known) {
                    Some((other, _)) => first = other,
                    None => break,
                }
            }
            if let Some(less) = part.stepped(&now, first, false) {
                now = less;
            }
            known.remove(&first);
        }
        assignment.extend(now);
    }
    Ok(knobs.allocated(&assignment))
}

/// What a step down of a choice gives the bits that it has then.
fn step(part: &Knobs, now: &Assignment, knob: usize) -> Vec<(Kind, String, u32)> {
    let (kind, names) = part.names(knob);
    let less = part.stepped(now, knob, false);
    let less = less.unwrap_or_else(|| now.clone());
    let bits = |name: &String| less.get(&(kind, name.clone())).copied().unwrap_or(32);
    let each = names.iter().map(|name| (kind, name.clone(), bits(name)));
    each.collect()
}

/// The divergence that a step down of each choice adds to the network with bits as in `all`.
fn harms(
    part: &Knobs,
    (all, now): (&Assignment, &Assignment),
    wanted: &[usize],
    subject: &Subject<'_>,
    (images, labels, reference, size): (&[f32], &[u16], &[f32], [usize; 2]),
) -> Result<Vec<f64>, Error> {
    let (network, codes) = subject.at(all)?;
    let mut harms = Vec::new();
    let mut probe = Probe::new(network, size, &codes)?;
    let mut numbers: Vec<Vec<usize>> = Vec::new();
    for &knob in wanted {
        let mut own = Vec::new();
        for (kind, name, bits) in step(part, now, knob) {
            own.push(probe.changes());
            match kind {
                Kind::Weights => {
                    if let Some(rounded) = subject.rounded.network(bits) {
                        probe.weights(rounded, &|layer| layer == name)?;
                    }
                }
                Kind::Activations => probe.site(&name, subject.rounded.code(&name, bits))?,
            }
        }
        numbers.push(own);
    }
    let (changed, base) = probe.errors((images, labels), reference)?;
    let base = base.mean_kl();
    for own in numbers {
        let added = own.iter().filter_map(|&number| changed.get(number));
        // Of sites that go together, one after the other: what they add is added up.
        harms.push(added.map(|error| (error.mean_kl() - base).max(0.0)).sum());
    }
    Ok(harms)
}
