//! The scales of all classes by the formulas of [`super`], region after region until none moves.
//!
//! Weights enter by the largest magnitude between an output and an input channel alone. The scales are float64 and the weights are
//! scaled once, when all is done.

use std::collections::BTreeMap;

use network::{Network, NodeId, Op, Topology, Value};

use super::channels::Channels;
use super::regions::Region;
use crate::quantize::Decision;

/// Sweeps at most.
const MOST: usize = 1000;
/// Where |ln s| stays below it, nothing moves any more.
const STILL: f64 = 1e-4;
/// No channel is divided or multiplied by more, so that biases stay finite.
const LARGEST: f64 = (1_u64 << 60) as f64;

/// What came out.
pub(super) struct Solved {
    /// By class; 1 where nothing is scaled.
    pub scale: Vec<f64>,
    /// How many times all regions were gone through.
    sweeps: usize,
    /// The largest |ln s| of the last sweep.
    moved: f64,
    /// By region: how far ranges of its makers' rows lie apart, largest by smallest, before and after.
    spread: Vec<[f64; 2]>,
}

/// A layer's weights as magnitudes, `[outputs, inputs of a group]`.
struct Magnitudes {
    read: Value,
    made: Value,
    outputs: usize,
    groups: usize,
    values: Vec<f64>,
}

pub(super) fn solve(
    network: &Network,
    channels: &Channels,
    regions: &[Region],
    dead: bool,
) -> Solved {
    let layers: Vec<Magnitudes> = (network.topology().layers())
        .map(|layer| Magnitudes::of(network, layer))
        .collect();
    let place: Vec<NodeId> = network.topology().layers().collect();
    let find = |layer: &NodeId| place.binary_search(layer).ok().map(|at| &layers[at]);
    let sides: Vec<[Vec<&Magnitudes>; 2]> = regions
        .iter()
        .map(|region| {
            [&region.makers, &region.readers].map(|side| {
                let voting = side.iter().filter(|&&layer| !region.is_inside(layer));
                voting.filter_map(find).collect()
            })
        })
        .collect();
    let mut scale = vec![1.0; channels.len()];
    let spread = |scale: &[f64]| -> Vec<f64> {
        let each = sides.iter();
        each.map(|[makers, _]| spread(makers, channels, scale))
            .collect()
    };
    let before = spread(&scale);
    let (mut sweeps, mut moved) = (0, f64::INFINITY);
    while sweeps < MOST && moved >= STILL {
        moved = sides.iter().fold(0.0, |moved: f64, [makers, readers]| {
            moved.max(step(makers, readers, channels, &mut scale, dead))
        });
        sweeps += 1;
    }
    let after = spread(&scale);
    let pairs = before.into_iter().zip(after);
    Solved {
        scale,
        sweeps,
        moved,
        spread: pairs.map(|(before, after)| [before, after]).collect(),
    }
}

/// One region's new scales; the largest |ln s|.
fn step(
    makers: &[&Magnitudes],
    readers: &[&Magnitudes],
    channels: &Channels,
    scale: &mut [f64],
    dead: bool,
) -> f64 {
    let rows = makers
        .iter()
        .map(|layer| (layer.made, layer.rows(channels, scale)));
    let rows = by_class(rows, channels);
    let columns = readers
        .iter()
        .map(|layer| (layer.read, layer.columns(channels, scale)));
    let columns = by_class(columns, channels);
    let both = rows
        .iter()
        .filter_map(|(class, r1)| Some((*class, *r1, *columns.get(class)?)));
    let both: Vec<(usize, f64, f64)> = both.collect();
    let living = both.iter().filter(|(_, r1, r2)| *r1 > 0.0 && *r2 > 0.0);
    let widest = living.map(|(_, r1, r2)| (r1 * r2).sqrt()).reduce(f64::max);
    let mut moved = 0.0_f64;
    for (class, r1, r2) in both {
        let s = match (r1 > 0.0, r2 > 0.0, widest.filter(|_| dead)) {
            (true, true, _) => (r1 * r2).sqrt() / r2,
            (false, true, Some(widest)) => (widest / r2).min(1.0),
            (true, false, Some(widest)) => (r1 / widest).max(1.0),
            _ => 1.0,
        };
        let next = (scale[class] * s).clamp(1.0 / LARGEST, LARGEST);
        moved = moved.max((next / scale[class]).ln().abs());
        scale[class] = next;
    }
    moved
}

/// The largest magnitude of each class that is free, from values and the magnitudes of their channels.
fn by_class(
    magnitudes: impl Iterator<Item = (Value, Vec<f64>)>,
    channels: &Channels,
) -> BTreeMap<usize, f64> {
    let mut found = BTreeMap::new();
    for (value, each) in magnitudes {
        for (&class, magnitude) in channels.of(value).iter().zip(each) {
            if !channels.is_fixed(class) {
                let most = found.entry(class).or_insert(0.0_f64);
                *most = most.max(magnitude);
            }
        }
    }
    found
}

/// The largest range of a row by the smallest above 0, over all makers.
fn spread(makers: &[&Magnitudes], channels: &Channels, scale: &[f64]) -> f64 {
    let each = makers.iter().map(|layer| {
        let rows = layer.rows(channels, scale);
        let living = || rows.iter().copied().filter(|&row| row > 0.0);
        let largest = living().fold(0.0, f64::max);
        living().map(|row| largest / row).fold(1.0, f64::max)
    });
    each.fold(1.0, f64::max)
}

impl Magnitudes {
    fn of(network: &Network, layer: NodeId) -> Self {
        let topology = network.topology();
        let node = topology.node(layer);
        let read = node.inputs[0];
        let inputs = topology.shape(read).channels;
        let (outputs, groups) = match node.op {
            Op::Conv {
                outputs, groups, ..
            } => (outputs, groups),
            _ => (topology.shape(Value::Node(layer)).channels, 1),
        };
        // A kernel's taps, or the pixels of a map that is flattened, lie together.
        let weights = network.tensor(layer, "weight");
        let weights = weights.map_or(&[][..], |weight| &weight.data);
        let taps = (weights.len() / (outputs * (inputs / groups))).max(1);
        let most = |taps: &[f32]| taps.iter().fold(0.0_f64, |m, &w| m.max(f64::from(w.abs())));
        Self {
            read,
            made: Value::Node(layer),
            outputs,
            groups,
            values: weights.chunks_exact(taps).map(most).collect(),
        }
    }

    /// The largest of each output channel.
    fn rows(&self, channels: &Channels, scale: &[f64]) -> Vec<f64> {
        let mut rows = vec![0.0_f64; self.outputs];
        self.each(channels, scale, |o, _, magnitude| {
            rows[o] = rows[o].max(magnitude)
        });
        rows
    }

    /// The largest of each input channel.
    fn columns(&self, channels: &Channels, scale: &[f64]) -> Vec<f64> {
        let mut columns = vec![0.0_f64; channels.of(self.read).len()];
        self.each(channels, scale, |_, i, magnitude| {
            columns[i] = columns[i].max(magnitude)
        });
        columns
    }

    /// Calls `visit` with output channel, input channel and magnitude, as scaled.
    fn each(&self, channels: &Channels, scale: &[f64], mut visit: impl FnMut(usize, usize, f64)) {
        let made = channels.of(self.made);
        let read = channels.of(self.read);
        let inputs = read.len() / self.groups;
        let outputs = self.outputs / self.groups;
        for (o, row) in self.values.chunks_exact(inputs).enumerate() {
            let first = o / outputs * inputs;
            for (i, magnitude) in row.iter().enumerate() {
                let i = first + i;
                visit(o, i, magnitude * scale[read[i]] / scale[made[o]]);
            }
        }
    }
}

impl Solved {
    /// A line for each region.
    pub fn decisions(&self, topology: &Topology, regions: &[Region]) -> Vec<Decision> {
        let names = |layers: &[NodeId]| {
            let names: Vec<_> = layers
                .iter()
                .map(|&id| topology.node(id).name.as_str())
                .collect();
            names.join(" ")
        };
        let ended = match self.moved < STILL {
            true => format!("{} sweeps", self.sweeps),
            false => format!("still moving after {} sweeps", self.sweeps),
        };
        let each = regions.iter().zip(&self.spread);
        each.map(|(region, [before, after])| {
            let first = &topology.node(region.makers[0]).name;
            let reason = format!(
                "{} into {}: ranges of channels differ by a factor of {before:.3e} before, {after:.3e} after; {ended}",
                names(&region.makers),
                names(&region.readers),
            );
            Decision::float(first, "equalized", reason)
        })
        .collect()
    }
}
