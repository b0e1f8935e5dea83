//! An ONNX model as a checkpoint: the file says what is computed, and is recognised as no architecture.

use std::collections::BTreeMap;
use std::path::Path;

use engine::Code;
use network::onnx::{self, Imported};
use network::{Topology, Value, hex};
use sha2::{Digest, Sha256};

use super::{Checkpoint, Reading};
use crate::arch::Arch;
use crate::error::Error;
use quantize::StoredQuantizers;
use quantize::{Site, Sites};

pub(super) fn load(
    path: &Path,
    arch: Option<&Arch>,
    reading: &Reading,
) -> Result<Checkpoint, Error> {
    let fail = |reason: String| Error::File {
        path: path.to_owned(),
        reason,
    };
    if arch.is_some() {
        return Err(fail(
            "an ONNX model says what is computed itself: leave model.arch out".to_owned(),
        ));
    }
    if *reading != Reading::default() {
        return Err(fail(
            "an ONNX model has one network and its own names: leave model.key, model.extra and model.rename out"
                .to_owned(),
        ));
    }
    let found = onnx::read(path).map_err(|error| fail(error.to_string()))?;
    let Imported {
        network,
        notes,
        file_sha256,
        codes,
        weights,
    } = found;
    let topology = network.topology();
    let result = topology.shape(Value::Node(topology.output()));
    if (result.height, result.width) != (1, 1) {
        return Err(fail(format!(
            "its result is a map of {result}, not one number for each class"
        )));
    }
    let quantizers = quantizers(topology, &codes, weights);
    let sha256 = match quantizers.is_empty() {
        true => network.sha256(),
        // Both in one.
        false => {
            let both = [network.sha256(), quantizers.tensors().sha256()].concat();
            hex(&Sha256::digest(both))
        }
    };
    Ok(Checkpoint {
        arch: None,
        architecture: "onnx".to_owned(),
        sha256,
        file_sha256,
        folded: !topology.has_norms(),
        quantizers,
        assumptions: notes,
        ignored: Vec::new(),
        taken: Vec::new(),
        network,
    })
}

/// The file's own quantizers, if every layer has one.
fn quantizers(
    topology: &Topology,
    codes: &BTreeMap<String, Code>,
    weights: BTreeMap<String, (Vec<f32>, u32)>,
) -> StoredQuantizers {
    let whole = topology
        .layers()
        .all(|layer| weights.contains_key(&topology.node(layer).name));
    if !whole {
        return StoredQuantizers::default();
    }
    let sites = Sites::new(topology);
    let rounded = |site: &Site| {
        let code = codes.get(topology.name(site.value))?;
        Some((site.name.clone(), *code))
    };
    let codes = sites.sites.iter().filter_map(rounded).collect();
    StoredQuantizers::with(weights, &codes)
}
