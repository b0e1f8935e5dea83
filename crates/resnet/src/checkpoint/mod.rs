//! Checkpoints: PyTorch's `.pth` (zip and legacy container) and `.safetensors` in, `.safetensors` out.
//!
//! A checkpoint comes from the internet and may be damaged or hostile, so the order of work is fixed:
//! 1. the file itself (regular, of sane size, kind by content): `file`;
//! 2. containers are checked, and pickles read within a budget: `zip`, `legacy`, `pickle`;
//! 3. names, shapes and types come out of them, no values: `contents`, `pytorch`, `safetensors`; what is no plain tensor
//!    is called by its name: `unread`;
//! 4. the network is found by content and compared with its architecture, every difference named: `entries`,
//!    `candidates`, `select`, `structure`, `differences`;
//! 5. types and the sum of all sizes are checked against the file's size, and only then are values read: `source`,
//!    `values`.
//!
//! Memory is bounded by the file's size times a small factor plus a constant, whatever the file declares. Nothing in a
//! file is ever executed.

mod candidates;
mod contents;
mod differences;
mod entries;
mod family;
mod file;
mod legacy;
mod onnx;
mod ordinals;
mod pickle;
mod pytorch;
mod reading;
mod safetensors;
mod save;
mod select;
mod source;
mod structure;
mod unread;
mod values;
mod zip;

use std::collections::BTreeMap;
use std::path::Path;

pub use reading::{Extra, Reading, Rename};
pub use save::to_safetensors;

use crate::arch::{Arch, Family};
use crate::error::{Error, quoted};
use crate::families::settle;
use network::{HostTensor, Network, StateDict, Topology};
use quantize::Decision;
use quantize::{StoredQuantizers, is_quantizer};
use select::Failure;
use source::{Listing, Source};

/// A network's weights as read from a file.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    /// The architecture, with the class count of the file's classifier; none where the file says what is computed itself.
    pub arch: Option<Arch>,
    /// The architecture's name, or that of the family, or `onnx`.
    pub architecture: String,
    /// The network, its tensors under PyTorch's names without wrapper prefixes (`Arch::expected`, or `Arch::expected_folded`
    /// when [`Self::folded`]). All values are finite.
    pub network: Network,
    /// [`StateDict::sha256`]: the same for the same weights, whatever file they came from.
    pub sha256: String,
    /// SHA-256 of the file's bytes.
    pub file_sha256: String,
    /// Whether BatchNorm is folded into the convolutions: they have biases and there is no BatchNorm.
    pub folded: bool,
    /// What the file says of quantizers, where the network was trained with them; then part of `sha256`.
    pub quantizers: StoredQuantizers,
    /// What the file does not say and was taken to be so, a sentence each, to be shown with every result.
    pub assumptions: Vec<String>,
    /// Names in the file of tensors beside the network that [`Extra::Ignore`] left alone.
    pub ignored: Vec<String>,
    /// Where shapes and order decided which layer is which: the layers' names in the file and PyTorch's, in order of
    /// execution. Empty where the names were known.
    pub taken: Vec<(String, String)>,
}

impl Checkpoint {
    /// How many classes the network tells apart.
    pub fn classes(&self) -> usize {
        self.network.topology().classes()
    }

    /// The network's tensors.
    pub fn tensors(&self) -> &StateDict {
        self.network.tensors()
    }

    /// Lines for the manifest of a run: what beside the network was left alone, and what layers are called in the file
    /// where that is something else.
    pub fn notes(&self) -> impl Iterator<Item = Decision> + '_ {
        let ignored = self.ignored.iter().map(|name| {
            Decision::float(name, "ignored", "beside the network (model.extra = ignore)")
        });
        let taken = self.taken.iter().filter(|(theirs, ours)| theirs != ours);
        let taken = taken.map(|(theirs, ours)| {
            let reason = format!("{} in the file, by shapes and order", quoted(theirs));
            Decision::float(ours, "name", reason)
        });
        ignored.chain(taken)
    }
}

/// [`load_as`] with nothing said about the file.
///
/// # Errors
/// As [`load_as`].
pub fn load(path: &Path, arch: Option<&Arch>) -> Result<Checkpoint, Error> {
    load_as(path, arch, &Reading::default())
}

/// Reads the network in `path`: a `.pth`, `.th` or `.pt` file of `torch.save` (either container; a state dict or a
/// whole model, at the root or under some key; keys with or without the parts that wrappers such as `module.` put in) or
/// a `.safetensors` file, or an ONNX model, which says what is computed itself; values of float32, float16, bfloat16 or float64; pruned weights times their masks. The kind is
/// found by content.
///
/// `arch` is the architecture to expect, of any class count; with `None` it is recognised from names and shapes, or, where
/// names are others, from shapes and order ([`Checkpoint::taken`]). `reading` chooses where a file leaves a choice.
///
/// # Errors
/// Every tensor that is missing, unused or misshapen is named ([`Error::TensorsDiffer`] in [`Error::InFile`];
/// `num_batches_tracked` is expected and ignored); so are tensors of integers, tensors with NaN or infinity, and negative
/// variances. Several networks are [`Error::AmbiguousStateDict`]. Files that are damaged, hostile or something else
/// altogether give one line that says what they are.
pub fn load_as(path: &Path, arch: Option<&Arch>, reading: &Reading) -> Result<Checkpoint, Error> {
    if network::onnx::looks_like(path) {
        return onnx::load(path, arch, reading);
    }
    let mut source = Source::open(path)?;
    let all = std::mem::take(&mut source.listing.infos);
    let (of_quantizers, of_network) = all.into_iter().partition(|(name, _)| is_quantizer(name));
    source.listing.infos = of_network;
    let wanted = arch.map(|arch| arch.recognised());
    let selected = select::select(&source.listing, wanted.as_ref(), reading);
    // What no architecture is may be a network of a family.
    let family = match (&selected, arch) {
        (Err(Failure::Error(_)), None) => family::find(&source.listing, reading),
        _ => Ok(None),
    };
    let failed = |failure: Failure, source: &Source| match failure {
        Failure::Ambiguous(keys) => Error::AmbiguousStateDict {
            path: path.to_owned(),
            candidates: keys.join(", "),
        },
        Failure::Error(error) => explained(source, error),
    };
    let mut read = Read::default();
    let (known, ignored, taken) = match family.map_err(|failure| failed(failure, &source))? {
        Some(found) => {
            read.tensors = found.tensors;
            let name = found.family.to_owned();
            (Known::Family(name, found.topology), Vec::new(), Vec::new())
        }
        None => {
            let found = selected.map_err(|failure| failed(failure, &source))?;
            read.tensors = found.tensors;
            let passed_over = (found.passed_over, found.ordered);
            let known = Known::Arch(found.arch, found.folded, passed_over);
            (known, found.ignored, found.taken)
        }
    };
    source.listing.infos.extend(of_quantizers.clone());
    read.all(&mut source, of_quantizers.into_keys().collect())?;
    let Read {
        state,
        quantizers,
        masked,
        ..
    } = read;
    let all = state.iter().chain(&quantizers);
    let all: StateDict = all.map(|(n, t)| (n.clone(), t.clone())).collect();
    let sha256 = all.sha256();
    let file_sha256 = source.file.sha256()?;
    let (arch, architecture, network, folded, assumptions) = match known {
        Known::Arch(found, folded, (passed_over, ordered)) => {
            let assumed = assumptions(arch, &found, (&taken, ordered), masked, &passed_over);
            // Tensors do not say where a bottleneck has its stride; whoever named the network did.
            let arch = arch.map_or(found, |arch| arch.with_classes(found.classes()));
            let network = crate::network(&arch, state)?;
            (Some(arch), arch.name(), network, folded, assumed)
        }
        Known::Family(name, topology) => {
            let folded = !topology.has_norms();
            let input = topology.input();
            let mut state = state;
            settle(&topology, &mut state)?;
            let network = Network::new(topology, state)?;
            let assumed = vec![format!(
                "by its tensors a {name} for images of {} pixels; strides and pools are the family's usual ones",
                input.height
            )];
            (None, name, network, folded, assumed)
        }
    };
    Ok(Checkpoint {
        assumptions,
        network,
        arch,
        architecture,
        sha256,
        file_sha256,
        folded,
        quantizers: StoredQuantizers::new(quantizers),
        ignored,
        taken,
    })
}

/// What a file's network is, before its numbers are read.
enum Known {
    /// With whether BatchNorm is folded, what was passed over, and whether the order of layers is the file's.
    Arch(Arch, bool, (Vec<String>, bool)),
    Family(String, Topology),
}

/// Tensors to be read, and what was read.
#[derive(Default)]
struct Read {
    tensors: BTreeMap<String, Vec<String>>,
    state: StateDict,
    quantizers: StateDict,
    /// Weights that were multiplied by a mask.
    masked: usize,
}

impl Read {
    fn all(&mut self, source: &mut Source, of_quantizers: Vec<String>) -> Result<(), Error> {
        let read = self.tensors.values().flatten().chain(&of_quantizers);
        source.check_claims(read.map(String::as_str))?;
        let several = |stored: &&Vec<String>| stored.len() > 1;
        self.masked = self.tensors.values().filter(several).count();
        for (name, stored) in std::mem::take(&mut self.tensors) {
            let tensor = product(source, &stored)?;
            no_negative_variance(&name, &tensor).map_err(|error| source.file.inside(error))?;
            self.state.insert(name, tensor);
        }
        for name in of_quantizers {
            let tensor = source.read(&name)?;
            self.quantizers.insert(name, tensor);
        }
        Ok(())
    }
}

/// A tensor, or the product of a pruned weight and its mask.
fn product(source: &mut Source, stored: &[String]) -> Result<HostTensor, Error> {
    let (first, masks) = stored
        .split_first()
        .ok_or_else(|| source.file.error("a tensor without a name"))?;
    let mut tensor = source.read(first)?;
    for mask in masks {
        let mask = source.read(mask)?;
        for (value, factor) in tensor.data.iter_mut().zip(&mask.data) {
            *value *= factor;
        }
    }
    Ok(tensor)
}

/// A variance below zero has no root; averaging checkpoints may leave one.
fn no_negative_variance(name: &str, tensor: &HostTensor) -> Result<(), Error> {
    let below = |&value: &f32| value < 0.0;
    match tensor.data.iter().position(below) {
        Some(index) if name.ends_with(".running_var") => Err(Error::NegativeVariance {
            tensor: quoted(name),
            index,
            value: tensor.data[index],
        }),
        _ => Ok(()),
    }
}

/// An error of the selection, or what the file holds in place of weights where that is the reason.
fn explained(source: &Source, error: Error) -> Error {
    let Listing { infos, unread, .. } = &source.listing;
    let parameters = [
        "weight",
        "bias",
        "running_mean",
        "running_var",
        "_packed_params",
    ];
    let is_parameter = |name: &str| parameters.contains(&name.rsplit('.').next().unwrap_or(name));
    let nothing = matches!(error, Error::Unrecognised { .. });
    let weights: Vec<_> = (unread.iter())
        .filter(|(name, _)| infos.is_empty() || is_parameter(name))
        .cloned()
        .collect();
    let reason = unread::tensor_unread(&weights)
        .or_else(|| unread::computed(infos.keys().map(String::as_str)))
        .or_else(|| unread::object_unread(unread).filter(|_| nothing && infos.is_empty()));
    match reason {
        Some(reason) => source.file.error(reason),
        None => source.file.inside(error),
    }
}

/// What the file leaves open, in sentences.
fn assumptions(
    named: Option<&Arch>,
    arch: &Arch,
    (taken, ordered): (&[(String, String)], bool),
    masked: usize,
    passed_over: &[String],
) -> Vec<String> {
    const NAMED: usize = 3;
    let mut sentences = Vec::new();
    if !taken.is_empty() {
        // The ends of the network say the most: the stem, the first layers, the classifier.
        let others = taken.iter().filter(|(theirs, ours)| theirs != ours);
        let others: Vec<_> = others.collect();
        let shown = others
            .iter()
            .take(NAMED - 1)
            .chain(others.iter().skip(NAMED - 1).last());
        let shown: Vec<String> = shown
            .map(|(theirs, ours)| format!("{} as {ours}", quoted(theirs)))
            .collect();
        let order = if ordered {
            "their order in the file"
        } else {
            "the numbers in their names"
        };
        sentences.push(format!(
            "layers are taken for what they are by shapes and {order}: {} ({} of {} layers have other names)",
            shown.join(", "),
            others.len(),
            taken.len()
        ));
    }
    if let Some(first) = passed_over.first() {
        sentences.push(format!(
            "the network that fits is taken; {} holds another (model.key chooses)",
            quoted(first)
        ));
    }
    if masked > 0 {
        sentences.push(format!(
            "{masked} pruned weights are taken times their masks"
        ));
    }
    match arch.family() {
        Family::CifarA => sentences.push(
            "shortcuts without weights are taken as option A: every second pixel, zero channels evenly on both sides"
                .to_owned(),
        ),
        Family::ImageNetBottleneck if named.is_none() => sentences.push(format!(
            "the stride of bottlenecks is taken to be in their 3x3 convolution (v1.5, as torchvision), not in the first 1x1; \
             model.arch = {arch}-v1 changes it"
        )),
        _ => {}
    }
    sentences
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
