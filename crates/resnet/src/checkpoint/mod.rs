//! Checkpoints: PyTorch's `.pth` (zip and legacy container) and `.safetensors` in, `.safetensors` out.
//!
//! A checkpoint comes from the internet and may be damaged or hostile, so the order of work is fixed:
//! 1. the file itself (regular, of sane size, kind by content): `file`;
//! 2. containers are checked, and pickles read within a budget: `zip`, `legacy`, `pickle`;
//! 3. names, shapes and types come out of them, no values: `contents`, `pytorch`, `safetensors`; what is no plain tensor
//!    is called by its name: `unread`;
//! 4. the network is found by content and compared with its architecture, every difference named: `select`,
//!    `differences`;
//! 5. types and the sum of all sizes are checked against the file's size, and only then are values read: `source`,
//!    `values`.
//!
//! Memory is bounded by the file's size times a small factor plus a constant, whatever the file declares. Nothing in a
//! file is ever executed.

mod contents;
mod differences;
mod file;
mod legacy;
mod pickle;
mod pytorch;
mod safetensors;
mod save;
mod select;
mod source;
mod unread;
mod values;
mod zip;

use std::path::Path;

pub use save::save_safetensors;

use crate::arch::Arch;
use crate::error::Error;
use crate::qat::{StoredQuantizers, is_quantizer};
use crate::state_dict::StateDict;
use select::{Failure, Selection};
use source::Source;

/// A network's weights as read from a file.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    /// The architecture, with the class count of the file's classifier.
    pub arch: Arch,
    /// Every tensor of the architecture (`Arch::expected`, or `Arch::expected_folded` when [`Self::folded`]) and no
    /// other, under PyTorch's names without wrapper prefixes, as float32. All values are finite.
    pub state: StateDict,
    /// [`StateDict::sha256`]: the same for the same weights, whatever file they came from.
    pub sha256: String,
    /// SHA-256 of the file's bytes.
    pub file_sha256: String,
    /// Whether BatchNorm is folded into the convolutions: they have biases and there is no BatchNorm.
    pub folded: bool,
    /// What the file says of quantizers, where the network was trained with them; then part of `sha256`.
    pub quantizers: StoredQuantizers,
}

/// Reads the network in `path`: a `.pth`, `.th` or `.pt` file of `torch.save` (either container; a state dict or a
/// whole model, at the root or under some key; keys with or without `module.` and `_orig_mod.`) or a `.safetensors`
/// file; values of float32, float16, bfloat16 or float64. The kind is found by content.
///
/// `arch` is the architecture to expect, of any class count; with `None` it is recognised from names and shapes.
///
/// # Errors
/// Every tensor that is missing, unused or misshapen is named ([`Error::TensorsDiffer`] in [`Error::InFile`];
/// `num_batches_tracked` is expected and ignored); so are tensors of integers and tensors with NaN or infinity. Files that are damaged, hostile
/// or something else altogether give one line that says what they are.
pub fn load(path: &Path, arch: Option<&Arch>) -> Result<Checkpoint, Error> {
    let mut source = Source::open(path)?;
    let of_quantizers: Vec<String> = source
        .listing
        .infos
        .keys()
        .filter(|name| is_quantizer(name))
        .cloned()
        .collect();
    let mut infos = source.listing.infos.clone();
    infos.retain(|name, _| !is_quantizer(name));
    let Selection {
        arch,
        folded,
        names,
    } = select::select(&infos, arch).map_err(|failure| match failure {
        Failure::Ambiguous(keys) => Error::AmbiguousStateDict {
            path: path.to_owned(),
            candidates: keys.join(", "),
        },
        Failure::Error(error) => source.file.inside(error),
    })?;
    source.check_claims(names.values().chain(&of_quantizers).map(String::as_str))?;
    let mut state = StateDict::new();
    for (name, flat) in names {
        state.insert(name, source.read(&flat)?);
    }
    let mut quantizers = StateDict::new();
    for name in of_quantizers {
        let tensor = source.read(&name)?;
        quantizers.insert(name, tensor);
    }
    let all = state.iter().chain(&quantizers);
    let all: StateDict = all.map(|(n, t)| (n.clone(), t.clone())).collect();
    let sha256 = all.sha256();
    let file_sha256 = source.file.sha256()?;
    Ok(Checkpoint {
        arch,
        state,
        sha256,
        file_sha256,
        folded,
        quantizers: StoredQuantizers::new(quantizers),
    })
}

/// Reads every tensor of a file, whatever network it belongs to, under its flat name (the keys that lead to it, joined
/// by dots). The formats are those of [`load`]; `num_batches_tracked` is left out.
///
/// # Errors
/// As [`load`], less the comparison with an architecture. Any other tensor that is not of floats is an error.
pub fn read_tensors(path: &Path) -> Result<StateDict, Error> {
    let mut source = Source::open(path)?;
    let is_counter = |name: &String| name.split('.').next_back() == Some("num_batches_tracked");
    if let Some(reason) = unread::tensor_unread(&source.listing.unread) {
        return Err(source.file.error(reason));
    }
    let names: Vec<String> = source
        .listing
        .infos
        .keys()
        .filter(|name| !is_counter(name))
        .cloned()
        .collect();
    source.check_claims(names.iter().map(String::as_str))?;
    names
        .into_iter()
        .map(|name| source.read(&name).map(|tensor| (name, tensor)))
        .collect()
}
