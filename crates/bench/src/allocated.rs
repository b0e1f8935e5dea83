//! From a cell that allocates bits to one that has them, layer by layer and site by site.
//!
//! Harm is measured on the first calibration images, with weights rounded as the run rounds them: by the same method, every layer at
//! every width it may have. Methods that look at what the quantized network hands a layer (`gram.target = corrected`) look at the float
//! network here, since a layer is tried alone.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, anyhow};
use engine::INPUT;
use network::Network;
use quant_core::Bits;
use quantize::{
    Allocation, Choice, Cost, Kind, Knobs, Measured, Method, Of, Rounded, ShortcutPolicy,
    SiteCodes, SiteStatistics, Sites, Steps, Subject, Target, Widths, fold, greedy, measure,
};
use resnet::Checkpoint;

use crate::quantized::{Around, float, quantized};
use crate::settings::{Quantization, Source};

/// What was measured so far, by what of a cell it depends on.
#[derive(Default)]
pub struct Known(Mutex<HashMap<String, Arc<Found>>>);

/// The network at the widths that are tried, what each of them harms alone, and what greedy steps harm.
type Found = (Rounded, Measured, Steps);

/// What became of an allocation.
pub struct Outcome {
    found: Arc<Found>,
    /// Whose bits they are.
    pub method: Method,
    /// What there was to choose.
    pub knobs: Knobs,
    /// The bits of everything that is quantized.
    pub bits: BTreeMap<(Kind, String), u32>,
}

impl Outcome {
    /// What layers and sites harm.
    pub fn measured(&self) -> &Measured {
        &self.found.1
    }
}

/// `how` with the bits that its allocation comes to, which the outcome tells; itself where it has none. `statistics` are those of the
/// network that it quantizes.
///
/// # Errors
/// A budget that is too small; as [`quantized`].
pub fn allocated<'a>(
    checkpoint: &Checkpoint,
    how: &'a Quantization,
    statistics: Option<&SiteStatistics>,
    around: &Around<'_>,
) -> Result<(Cow<'a, Quantization>, Option<Outcome>)> {
    let Some((allocation, _)) = &how.allocation else {
        return Ok((Cow::Borrowed(how), None));
    };
    let network = float(checkpoint, how)?;
    let (pixels, labels, size) = around.first(allocation.images)?;
    let images = (&pixels[..], &labels[..], size);
    let knobs = knobs(&network, how, allocation, size)?;
    let tried: Vec<_> = (knobs.all())
        .map(|(kind, name, bits)| (kind, name.to_owned(), bits.to_vec()))
        .collect();
    let set = around.images.map(dataset::Dataset::sha256);
    let key = format!(
        "{} {} {tried:?} {} {set:?}",
        checkpoint.sha256,
        depends_on(how),
        labels.len()
    );
    let known = || {
        let known = around.known.map(|known| known.0.lock());
        known.transpose().map_err(|_| anyhow!("a worker died"))
    };
    let found = known()?.and_then(|known| known.get(&key).cloned());
    let pool = around.pool()?;
    let found = match found {
        Some(found) => found,
        None => {
            let rounded = rounded(checkpoint, &network, how, (statistics, &knobs), around)?;
            let subject = Subject {
                float: &network,
                rounded: &rounded,
                statistics,
                tried: tried.clone(),
            };
            let measured = pool.install(|| measure(&subject, images))?;
            let found = Arc::new((rounded, measured, Steps::default()));
            if let Some(mut known) = known()? {
                known.insert(key, found.clone());
            }
            found
        }
    };
    let (rounded, measured, steps) = &*found;
    let bits = match allocation.method {
        Method::Greedy => {
            let subject = Subject {
                float: &network,
                rounded,
                statistics,
                tried,
            };
            pool.install(|| greedy(allocation, &knobs, &subject, images, steps))?
        }
        _ => allocation.choose(&knobs, measured)?,
    };
    let complete = knobs.complete(&bits);
    let mut own = how.clone();
    own.allocation = None;
    own.weights.bits_of = bits.weights;
    if let Some(activations) = &mut own.activations {
        activations.how.bits_of = bits.activations;
    }
    let outcome = Outcome {
        found,
        method: allocation.method,
        knobs,
        bits: complete,
    };
    Ok((Cow::Owned(own), Some(outcome)))
}

/// `network` at each of some widths, first and last layer at the bits that are said of them, and what may have which.
///
/// # Errors
/// As [`quantized`].
pub fn tried(
    checkpoint: &Checkpoint,
    network: &Network,
    how: &Quantization,
    (widths, statistics): (&[Bits], Option<&SiteStatistics>),
    around: &Around<'_>,
    size: [usize; 2],
) -> Result<(Rounded, Vec<Widths>)> {
    let all = Allocation {
        method: Method::Uniform,
        of: Of::Both,
        cost: Cost::Size,
        budget: 16.0,
        bits: widths.to_vec(),
        images: 0,
        seed: 0,
        latencies: None,
    };
    let knobs = knobs(network, how, &all, size)?;
    let rounded = rounded(checkpoint, network, how, (statistics, &knobs), around)?;
    let mut tried: Vec<Widths> = (knobs.all())
        .map(|(kind, name, bits)| (kind, name.to_owned(), bits.to_vec()))
        .collect();
    // In execution order, where sites that are chosen together stand apart.
    let sites = Sites::new(network.topology());
    let place = |site: &str| sites.names().position(|own| own == site);
    tried.sort_by_key(|(kind, name, _)| match kind {
        Kind::Weights => (*kind, None),
        Kind::Activations => (*kind, place(name)),
    });
    Ok((rounded, tried))
}

/// What there is to choose for `how`: first and last layer have the bits that are said of them.
fn knobs(
    network: &Network,
    how: &Quantization,
    allocation: &Allocation,
    size: [usize; 2],
) -> Result<Knobs> {
    let topology = network.topology().clone().at(size)?;
    let sites = Sites::new(&topology);
    let mut open: Vec<u32> = allocation.bits.iter().map(|bits| bits.get()).collect();
    open.sort_unstable();
    let policy = how.activations.as_ref().map(|own| own.how.shortcut);
    let weights = |layer: &str| -> Vec<u32> {
        let id = topology.find(layer);
        let scheme = id.and_then(|id| how.weights.scheme_of(&topology, id).ok().flatten());
        let is_first = id.is_some_and(|id| topology.node(id).inputs[0] == network::Value::Input);
        let is_last = id.is_some() && id == topology.layers().next_back();
        let ends = [
            how.weights.first_bits.filter(|_| is_first),
            how.weights.last_bits.filter(|_| is_last),
        ];
        match scheme {
            None => Vec::new(),
            Some(_) if allocation.of != Of::Activations && ends == [None, None] => open.clone(),
            Some(scheme) => vec![scheme.bits().get()],
        }
    };
    let activations = |site: &str| -> Vec<u32> {
        let Some(own) = &how.activations else {
            return Vec::new();
        };
        let own = &own.how;
        let ends = [
            own.first_bits.filter(|_| site == INPUT),
            own.last_bits.filter(|_| sites.is_last(site)),
        ];
        match sites.scheme(site, own) {
            Ok(_) if allocation.of != Of::Weights && ends == [None, None] => open.clone(),
            Ok(scheme) => vec![scheme.bits().get()],
            Err(_) => Vec::new(),
        }
    };
    let policy = policy.unwrap_or(ShortcutPolicy::Rescale);
    let knobs = Knobs::new(&topology, policy, &weights, &activations);
    match &allocation.latencies {
        Some(latencies) => (knobs.with_latencies(latencies.clone())).context("allocate.latencies"),
        None => Ok(knobs),
    }
}

/// `network` at every width that something of it may have.
fn rounded(
    checkpoint: &Checkpoint,
    network: &Network,
    how: &Quantization,
    (statistics, knobs): (Option<&SiteStatistics>, &Knobs),
    around: &Around<'_>,
) -> Result<Rounded> {
    let widths = |of: Kind| -> Vec<u32> {
        let own = knobs.all().filter(|(kind, ..)| *kind == of);
        let mut all: Vec<u32> = own.flat_map(|(.., bits)| bits.to_vec()).collect();
        all.sort_unstable();
        all.dedup();
        all
    };
    let mut weights = Vec::new();
    for width in widths(Kind::Weights) {
        let mut own = alone(how);
        let scheme = own.weights.scheme.context("weights in float")?;
        own.weights.scheme = Some(scheme.with_bits(Bits::new(width)?)?);
        let net = quantized(checkpoint, &own, None, around)?;
        weights.push((width, fold(&net.network()?)?));
    }
    let mut codes: Vec<(u32, SiteCodes)> = Vec::new();
    let sites = Sites::new(network.topology());
    if let (Some(own), Some(statistics)) = (&how.activations, statistics) {
        for width in widths(Kind::Activations) {
            let mut own = own.how.clone();
            own.scheme = own.scheme.with_bits(Bits::new(width)?)?;
            (own.first_bits, own.last_bits) = (None, None);
            codes.push((width, sites.fit(statistics, &own)?));
        }
    }
    Ok(Rounded { weights, codes })
}

/// `how` for weights that are tried with everything else in float.
fn alone(how: &Quantization) -> Quantization {
    let mut own = how.clone();
    (own.allocation, own.reconstruction, own.activations) = (None, None, None);
    (own.weights.first_bits, own.weights.last_bits) = (None, None);
    own.source = Source::PostTraining;
    if let Some(by_layer) = &mut own.by_layer
        && let Choice::Gram(gram) = &mut by_layer.how.choice
    {
        gram.target = Target::Float;
    }
    own
}

/// What the measurement of a cell depends on beside weights and images.
fn depends_on(how: &Quantization) -> String {
    let mut own = alone(how);
    own.weights.scheme = None;
    let scheme = how
        .weights
        .scheme
        .and_then(|scheme| scheme.with_bits(Bits::new(8).ok()?).ok());
    let mut activations = how.activations.clone();
    if let Some(own) = &mut activations {
        (own.how.first_bits, own.how.last_bits) = (None, None);
        own.how.scheme = Bits::new(8)
            .ok()
            .and_then(|bits| own.how.scheme.with_bits(bits).ok())
            .unwrap_or(own.how.scheme);
    }
    format!("{own:?} {scheme:?} {activations:?}")
}
