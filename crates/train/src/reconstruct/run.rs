//! The pieces one after the other.

use std::collections::BTreeMap;

use burn::tensor::Device;
use engine::INPUT;
use network::{Network, StateDict, Topology, Value};
use quant_core::Mapping;
use quantize::{
    Block, Epilogue, Extent, QuantizedNet, ShortcutPolicy, SiteCodes, Sites, Stream, Units,
    WeightQuantization, blocks, fold, lower, lower_quantized, names,
};

use super::latent::Latent;
use super::pass::{Piece, Site};
use super::search::{SHARDS, Search, Seen};
use super::{At, Reconstruction};
use crate::error::Error;
use crate::qat::vector;
use crate::workers::Workers;

/// What surrounds a reconstruction: what an earlier process has finished, who is told how it goes.
pub trait Course: Sync {
    /// What was [`Course::finished`] of the piece that ends in the value `name`.
    fn found(&self, name: &str) -> Option<StateDict>;

    /// A piece is finished.
    ///
    /// # Errors
    /// In words, where it cannot be kept.
    fn finished(&self, name: &str, tensors: &StateDict) -> Result<(), String>;

    /// An iteration is made.
    fn iteration(&self, at: &At);

    /// Whether to stop.
    fn is_cancelled(&self) -> bool;
}

/// The part of a piece's tensors that has its error before and after.
const ERRORS: &str = "errors";

/// `net`, quantized from `network`, with its pieces reconstructed by `images`, `[n, c, height, width]`. Biases are not rounded yet, and
/// activations are rounded to `codes`; the codes that come out belong to the network that comes out.
///
/// # Errors
/// As [`quantize::quantize_by_layer`]; a device that fails; [`Error::Stopped`].
pub fn reconstruct(
    (network, mut net): (&Network, QuantizedNet),
    (how, reconstruction): (&WeightQuantization, &Reconstruction),
    mut codes: Option<(SiteCodes, ShortcutPolicy)>,
    (images, size): (&[f32], [usize; 2]),
    (device, threads): (&Device, usize),
    course: &dyn Course,
) -> Result<(QuantizedNet, Option<SiteCodes>), Error> {
    let float = fold(network)?;
    let topology = float
        .topology()
        .clone()
        .at(size)
        .map_err(quantize::Error::from)?;
    let images = quantize::held(&topology, images);
    let (units, sites) = (Units::new(&topology), Sites::new(&topology));
    let workers = Workers::new(SHARDS, threads).map_err(|e| Error::Device {
        reason: e.to_string(),
    })?;
    let graph = |net: &QuantizedNet, codes: &Option<(SiteCodes, ShortcutPolicy)>| {
        let mut net = net.clone();
        net.activations = codes.clone();
        lower_quantized(net, size, Epilogue::Separate)
    };
    let lowered = lower(float.clone(), size, Epilogue::Separate)?;
    let mut exact = Stream::new(lowered, images)?;
    let mut rounded = Stream::new(graph(&net, &codes)?, images)?;
    let mut learned: Vec<String> = Vec::new();
    let mut before: Option<[Vec<f32>; 2]> = None;
    let all = blocks(&topology, reconstruction.extent);
    for (number, block) in all.iter().enumerate() {
        let tail = topology.node(block.tail()).name.clone();
        let first = &topology.node(block.nodes[0]).name;
        let [rounded_in, float_in] = match before.take() {
            Some(values) => values,
            None => [rounded.input_of(first)?, exact.input_of(first)?],
        };
        let target = exact.value_of(&engine_node((&topology, &units, &sites), block, false))?;
        let from = topology.shape(block.input);
        let seen = Seen::new(
            [from.channels, from.height, from.width],
            [rounded_in, float_in, target],
            topology.shape(Value::Node(block.tail())).channels,
        );
        let piece = piece(
            (&topology, &units, &sites),
            (block, reconstruction.extent),
            codes.as_ref(),
            &learned,
        )?;
        let found = match course.found(&tail) {
            Some(found) => found,
            None => {
                let mut search = Search {
                    latent: latent((&topology, &float, &net), block)?,
                    state: start((&topology, &net), block, &piece)?,
                    piece: &piece,
                    seen: &seen,
                    how: reconstruction,
                    device,
                    workers: &workers,
                    // A power of two stays one.
                    scales: how
                        .scheme
                        .is_some_and(|scheme| scheme.mapping() != Mapping::PowerOfTwo),
                    drops: codes.is_some() && reconstruction.drop > 0.0,
                    name: &tail,
                };
                let old = search.state.clone();
                let error = search.error()?;
                search.run((number, all.len()), course)?;
                let mut errors = [error, search.error()?];
                // A search that ran into NaN is no better, either.
                let is_better = errors[1] < errors[0];
                if !is_better {
                    search.state = old;
                    search.latent = latent((&topology, &float, &net), block)?;
                    errors[1] = errors[0];
                }
                let mut found = search.state;
                for (layer, latent) in search.latent {
                    let scales = latent.grids().iter().map(|grid| grid.scale).collect();
                    found.insert(names::weight(&layer, "step"), vector(scales));
                }
                let errors = errors.map(|error| error as f32);
                found.insert(ERRORS, vector(errors.to_vec()));
                let kept = course.finished(&tail, &found);
                kept.map_err(|reason| Error::Device { reason })?;
                found
            }
        };
        take((&topology, &float, &mut net), (block, how), &found)?;
        if let Some((codes, shortcut)) = &mut codes {
            let own = piece.sites.iter();
            let own = own.filter(|(name, site)| **name == site.owner && !site.is_fixed);
            let own: Vec<String> = own.map(|(name, _)| name.clone()).collect();
            for site in own {
                let step = found.require(&names::site(&site, "step"))?.data[0];
                let mut same = sites.partners(&site, *shortcut);
                same.push(site);
                for site in same {
                    if let Some(code) = codes.get_mut(&site) {
                        code.scale = step;
                    }
                    learned.push(site);
                }
            }
        }
        rounded.renew_from(graph(&net, &codes)?)?;
        if reconstruction.extent == Extent::Block {
            let node = engine_node((&topology, &units, &sites), block, codes.is_some());
            before = Some([rounded.value_of(&node)?, seen.target]);
        }
    }
    Ok((net, codes.map(|(codes, _)| codes)))
}

/// The node of an executed graph that makes the value of `block`.
fn engine_node(
    (topology, units, sites): (&Topology, &Units, &Sites),
    block: &Block,
    is_quantized: bool,
) -> String {
    let head = units.of(Value::Node(block.tail())).map(|unit| unit.head);
    let node = topology.node(head.unwrap_or(block.tail()));
    match node.op.is_copy() {
        true => node.name.clone(),
        false => sites.node(&node.name, is_quantized).to_owned(),
    }
}

/// The piece, and what its sites are rounded to. Sites that share a scale have one step.
fn piece(
    (topology, units, sites): (&Topology, &Units, &Sites),
    (block, extent): (&Block, Extent),
    codes: Option<&(SiteCodes, ShortcutPolicy)>,
    learned: &[String],
) -> Result<Piece, Error> {
    let part = topology.part(block.input, &block.nodes)?;
    let mut piece = Piece {
        topology: part,
        output: units.site(topology, Value::Node(block.tail())).to_owned(),
        sites: BTreeMap::new(),
    };
    let Some((codes, shortcut)) = codes else {
        return Ok(piece);
    };
    let mut put = |name: &str, site: &str| {
        let code = codes.get(site);
        let code = code.filter(|_| !sites.is_unrounded(site, *shortcut));
        let Some(code) = code.copied() else { return };
        let partners = sites.partners(site, *shortcut);
        let owner = piece.sites.iter().find(|(own, _)| partners.contains(own));
        let site = Site {
            code,
            owner: owner.map_or(name, |(_, site)| &site.owner).to_owned(),
            is_forked: sites.is_forked(site, *shortcut),
            is_fixed: name == INPUT || learned.iter().any(|found| found == site),
        };
        piece.sites.insert(name.to_owned(), site);
    };
    let own = sites.sites.iter().filter(|site| match site.value {
        Value::Node(id) => block.nodes.contains(&id),
        Value::Input => false,
    });
    for site in own {
        put(&site.name, &site.name);
    }
    // What comes in is rounded already, unless an addition takes it as it is.
    if let (Extent::Block, Value::Node(_)) = (extent, block.input) {
        let from = units.site(topology, block.input);
        if sites.is_forked(from, *shortcut) {
            put(INPUT, from);
        }
    }
    Ok(piece)
}

/// The layers of a block.
fn layers<'a>(topology: &'a Topology, block: &'a Block) -> impl Iterator<Item = (usize, &'a str)> {
    let layers = block
        .nodes
        .iter()
        .filter(|&&id| topology.node(id).op.is_layer());
    layers.map(|&id| (id, topology.node(id).name.as_str()))
}

/// The weights of a block's quantized layers.
fn latent(
    (topology, float, net): (&Topology, &Network, &QuantizedNet),
    block: &Block,
) -> Result<BTreeMap<String, Latent>, Error> {
    let mut all = BTreeMap::new();
    for (_, layer) in layers(topology, block) {
        let Some(grids) = net.grids.get(layer) else {
            continue;
        };
        let name = format!("{layer}.weight");
        let original = float.tensors().require(&name)?;
        let current = net.state.require(&name)?;
        let latent = Latent::new(&original.data, &current.data, grids.layout, &grids.params);
        all.insert(layer.to_owned(), latent);
    }
    Ok(all)
}

/// What a search begins with.
fn start(
    (topology, net): (&Topology, &QuantizedNet),
    block: &Block,
    piece: &Piece,
) -> Result<StateDict, Error> {
    let mut state = piece.steps();
    for (id, layer) in layers(topology, block) {
        let name = format!("{layer}.weight");
        state.insert(name.clone(), net.state.require(&name)?.clone());
        let name = format!("{layer}.bias");
        let outputs = topology.shape(Value::Node(id)).channels;
        let bias = net.state.get(&name).cloned();
        state.insert(name, bias.unwrap_or_else(|| vector(vec![0.0; outputs])));
    }
    Ok(state)
}

/// Puts what was found into the network.
fn take(
    (topology, float, net): (&Topology, &Network, &mut QuantizedNet),
    (block, how): (&Block, &WeightQuantization),
    found: &StateDict,
) -> Result<(), Error> {
    let errors = &found.require(ERRORS)?.data;
    for (id, layer) in layers(topology, block) {
        let name = format!("{layer}.weight");
        let weights = found.require(&name)?;
        if let Some(scheme) = how.scheme_of(topology, id)? {
            let original = float.tensors().require(&name)?;
            let grids = net.grids.get(layer);
            let mut grids = grids.map_or_else(Vec::new, |grids| grids.params.clone());
            let scales = &found.require(&names::weight(layer, "step"))?.data;
            for (grid, scale) in grids.iter_mut().zip(scales) {
                grid.scale = *scale;
            }
            let words = format!(
                "reconstructed up to {}: {:.2e} of the outputs' variance lost, before {:.2e}",
                topology.node(block.tail()).name,
                errors[1],
                errors[0],
            );
            let grids = (&scheme, grids);
            net.recode(layer, original, grids, &weights.data, &words)?;
        }
        net.put_bias(layer, found.require(&format!("{layer}.bias"))?.data.clone())?;
    }
    Ok(())
}
