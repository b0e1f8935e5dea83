//! The network that is trained, and what it begins with.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use burn::tensor::Device;
use dataset::Dataset;
use network::StateDict;
use network::{Network, Topology};
use resnet::Arch;

use crate::cli::is_path;

/// A network to be trained.
pub struct Subject {
    /// Its name, in files and in lines about it.
    pub name: String,
    /// What it computes, for the images' size and classes.
    pub topology: Topology,
    /// Whether its tensors alone, under their names, say what it computes.
    named: bool,
}

impl Subject {
    /// The network `arch`, a name or a file whose network is meant and not its numbers, for the images of `train`.
    pub fn new(arch: &str, train: &Dataset) -> Result<Self> {
        let classes = train.classes().len();
        let said = format!("--arch {arch}");
        let (name, topology) = if is_path(arch) {
            of_file(Path::new(arch), classes, &said)?
        } else {
            let topology = resnet::topology_named(arch)?;
            (arch.to_owned(), for_classes(topology, classes, &said)?)
        };
        let size = [train.height(), train.width()];
        let [height, width] = size;
        let topology = topology
            .at(size)
            .with_context(|| format!("{said}: images of {height} x {width} pixels"))?;
        let input = topology.input();
        if input.channels != 3 {
            bail!("{said}: it reads {input}, and images have 3 channels");
        }
        Ok(Self {
            name,
            topology,
            named: Arch::parse(arch).is_ok(),
        })
    }

    /// Random weights, from `seed`.
    pub fn random(&self, device: &Device, seed: u64) -> Result<StateDict> {
        device.seed(seed);
        Ok(train::initial(&self.topology, device)?)
    }

    /// The numbers of the file `path`, which must be those of this network.
    pub fn of(&self, path: &Path) -> Result<StateDict> {
        let said = || format!("--init {}", path.display());
        let arch = Arch::parse(&self.name).ok();
        let found = resnet::load(path, arch.as_ref()).with_context(said)?;
        if found.folded && self.topology.has_norms() {
            bail!(
                "{}: its BatchNorm is folded, so it cannot be trained",
                said()
            );
        }
        let (has, wants) = (found.classes(), self.topology.classes());
        if has != wants {
            bail!("{}: it has {has} classes, the image set {wants}", said());
        }
        let (_, tensors) = found.network.into_parts();
        let network = Network::new(self.topology.clone(), tensors);
        Ok(network.with_context(said)?.into_parts().1)
    }

    /// Fails where the file `out` could not be read as this network.
    pub fn check_out(&self, out: &Path, begin: &StateDict) -> Result<()> {
        if is_onnx(out) || self.named || resnet::is_told_by_tensors(&self.topology, begin) {
            return Ok(());
        }
        bail!(
            "--out {}: a file of tensors does not say what {} computes; name it .onnx",
            out.display(),
            self.name
        )
    }

    /// Writes the network with `weights`: as ONNX, or its tensors alone.
    pub fn save(
        &self,
        weights: &StateDict,
        out: &Path,
        metadata: &BTreeMap<String, String>,
    ) -> Result<()> {
        let file = if is_onnx(out) {
            let network = Network::new(self.topology.clone(), weights.clone())?;
            quantize::float_onnx(&network, metadata)?
        } else {
            resnet::to_safetensors(weights, metadata)?
        };
        results::write_whole(out, &file).with_context(|| format!("--out {}", out.display()))
    }
}

fn is_onnx(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension == "onnx")
}

/// The network of a file for so many classes, and its name: the file's, and what tells it from others of that name.
fn of_file(path: &Path, classes: usize, said: &str) -> Result<(String, Topology)> {
    let found = resnet::load(path, None).with_context(|| said.to_owned())?;
    let (topology, _) = found.network.into_parts();
    let topology = for_classes(topology, classes, said)?;
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let digest = topology.sha256();
    Ok((format!("{stem} {}", &digest[..12]), topology))
}

/// The network for so many classes.
fn for_classes(topology: Topology, classes: usize, said: &str) -> Result<Topology> {
    if topology.classes() == classes {
        return Ok(topology);
    }
    topology.with_classes(classes).with_context(|| {
        format!(
            "{said}: its result is no fully connected layer's, which could be given the {classes} classes of the image set"
        )
    })
}
