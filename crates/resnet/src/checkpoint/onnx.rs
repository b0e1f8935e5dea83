//! An ONNX model as a checkpoint: the file says what is computed, and is recognised as no architecture.

use std::path::Path;

use network::Value;
use network::onnx::{self, Imported};

use super::{Checkpoint, Reading};
use crate::arch::Arch;
use crate::error::Error;
use crate::qat::StoredQuantizers;

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
    } = found;
    let topology = network.topology();
    let result = topology.shape(Value::Node(topology.output()));
    if (result.height, result.width) != (1, 1) {
        return Err(fail(format!(
            "its result is a map of {result}, not one number for each class"
        )));
    }
    let normalized = topology
        .layers()
        .any(|layer| topology.norm(layer).is_some());
    Ok(Checkpoint {
        arch: None,
        architecture: "onnx".to_owned(),
        sha256: network.sha256(),
        file_sha256,
        folded: !normalized,
        quantizers: StoredQuantizers::default(),
        assumptions: notes,
        ignored: Vec::new(),
        taken: Vec::new(),
        network,
    })
}
