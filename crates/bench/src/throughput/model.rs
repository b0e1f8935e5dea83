//! A network to be measured: one that has a name, with random weights, or one in a file.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use engine::Shape;
use network::{Network, Topology};
use tempfile::NamedTempFile;

use super::subject::SEED;
use crate::cli::is_path;

/// A network that there is.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// What it is called in tables and files: its own name, or the file's without the ending.
    pub name: String,
    /// One image.
    pub input: Shape,
    file: Option<PathBuf>,
}

/// A network as an ONNX file, for others to read.
pub struct OnnxFile {
    /// Where it lies, as long as this lives.
    pub path: PathBuf,
    _written: Option<NamedTempFile>,
}

impl Model {
    /// Finds what `text` names: a network that [`resnet::topology_named`] knows, the CIFAR family's also without the family, whose
    /// depths no other has; or a file that [`resnet::load`] reads, which is read to see whether it can be.
    ///
    /// # Errors
    /// A name that is not known, with those that are; a file that is no network, with what it is.
    pub fn parse(text: &str) -> Result<Self> {
        let path = Path::new(text);
        let unknown = match named(text) {
            Ok((name, topology)) => {
                return Ok(Self {
                    name,
                    input: topology.input(),
                    file: None,
                });
            }
            Err(unknown) => unknown,
        };
        // What has an ending or lies in a folder was meant to be a file, also where there is none.
        if !path.is_file() && !is_path(text) {
            return Err(unknown.into());
        }
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        let stem = stem.ok_or_else(|| anyhow!("{text} is not the name of a file"))?;
        Ok(Self {
            name: stem.to_owned(),
            input: read(path)?.topology().input(),
            file: Some(path.to_owned()),
        })
    }

    /// The network: a file's own weights, or random ones.
    ///
    /// # Errors
    /// If the file can no longer be read.
    pub fn network(&self) -> Result<Network> {
        match &self.file {
            Some(file) => read(file),
            None => Ok(resnet::random_network(named(&self.name)?.1, SEED)?),
        }
    }

    /// A file's network as ONNX: the very file, or, of a checkpoint, one that has its weights in float32; `None` for a network by name.
    ///
    /// # Errors
    /// If the network cannot be written.
    pub fn onnx(&self) -> Result<Option<OnnxFile>> {
        let Some(file) = &self.file else {
            return Ok(None);
        };
        if network::onnx::looks_like(file) {
            return Ok(Some(OnnxFile {
                path: file.clone(),
                _written: None,
            }));
        }
        let bytes = quantize::float_onnx(&read(file)?, &Default::default())
            .with_context(|| format!("{self} for ONNX Runtime"))?;
        let written = tempfile::Builder::new().suffix(".onnx").tempfile()?;
        std::fs::write(written.path(), bytes)?;
        Ok(Some(OnnxFile {
            path: written.path().to_owned(),
            _written: Some(written),
        }))
    }

    /// What names it in a command, without the folders of this machine.
    pub fn spelled(&self) -> String {
        let file = self.file.as_deref().and_then(Path::file_name);
        file.map_or_else(
            || self.name.clone(),
            |file| file.to_string_lossy().into_owned(),
        )
    }
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// None twice, and no two of the same name, which rows and pictures go by.
///
/// # Errors
/// Two files of one name, or an error of [`Model::parse`].
pub fn parse_all(texts: &[String]) -> Result<Vec<Model>> {
    let mut models: Vec<Model> = Vec::new();
    for text in texts {
        let model = Model::parse(text.trim())?;
        match models.iter().find(|other| other.name == model.name) {
            None => models.push(model),
            Some(other) if *other == model => {}
            Some(_) => bail!("two networks are called {model}: give one of the files another name"),
        }
    }
    if models.is_empty() {
        bail!("names no network");
    }
    Ok(models)
}

/// A network by its name, and the whole name.
fn named(name: &str) -> Result<(String, Topology), resnet::Error> {
    let whole = |name: String| resnet::topology_named(&name).map(|topology| (name, topology));
    whole(name.to_owned()).or_else(|unknown| whole(format!("cifar-{name}")).map_err(|_| unknown))
}

fn read(path: &Path) -> Result<Network> {
    Ok(resnet::load(path, None)?.network)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(texts: &[&str]) -> String {
        let texts: Vec<_> = texts.iter().map(|&text| text.to_owned()).collect();
        format!("{:#}", parse_all(&texts).unwrap_err())
    }

    /// A network of a file, read again from a checkpoint that has its weights.
    fn checkpoint(folder: &Path, file: &str) -> Model {
        let network = Model::parse("resnet20").unwrap().network().unwrap();
        let path = folder.join(file);
        std::fs::write(
            &path,
            resnet::to_safetensors(network.tensors(), &Default::default()).unwrap(),
        )
        .unwrap();
        Model::parse(path.to_str().unwrap()).unwrap()
    }

    #[test]
    fn networks_of_every_family_have_names_and_random_weights() {
        for (name, side, classes) in [
            ("resnet18", 224, 1000),
            ("cifar-resnet20", 32, 10),
            ("mobilenet_v2", 224, 1000),
            ("squeezenet1_1", 224, 1000),
            ("resnext50_32x4d", 224, 1000),
        ] {
            let model = Model::parse(name).unwrap();
            assert_eq!((model.input.height, model.input.width), (side, side));
            let network = model.network().unwrap();
            assert_eq!(network.topology().classes(), classes, "{name}");
            assert!(model.onnx().unwrap().is_none());
        }
    }

    #[test]
    fn a_checkpoint_is_called_as_its_file_and_others_get_it_as_onnx() {
        let folder = tempfile::tempdir().unwrap();
        let model = checkpoint(folder.path(), "mine.v2.safetensors");
        assert_eq!((model.name.as_str(), model.input.height), ("mine.v2", 32));
        assert_eq!(model.spelled(), "mine.v2.safetensors");
        let written = model.onnx().unwrap().unwrap();
        let again = Model::parse(written.path.to_str().unwrap()).unwrap();
        assert_eq!(again.input, model.input);
        // An ONNX file is handed on as it is.
        assert_eq!(again.onnx().unwrap().unwrap().path, written.path);
        drop(written);
        assert!(again.network().is_err(), "the file is gone with its owner");
    }

    #[test]
    fn short_names_mean_the_cifar_family_and_nothing_is_measured_twice() {
        let texts = ["resnet20", " resnet50", "cifar-resnet20"].map(String::from);
        let models = parse_all(&texts).unwrap();
        let names: Vec<_> = models.iter().map(|model| model.name.as_str()).collect();
        assert_eq!(names, ["cifar-resnet20", "resnet50"]);
    }

    #[test]
    fn what_is_no_network_is_one_line_that_names_it() {
        let unknown = refused(&["resnet18", "vgg12"]);
        assert!(
            unknown.contains("'vgg12'") && unknown.contains("mobilenet_v2, cifar-mobilenet, vgg11"),
            "{unknown}"
        );
        assert!(refused(&[""]).contains("unknown architecture"));
        assert!(refused(&["no/such/file"]).contains("no/such/file"));
        assert!(refused(&["nothing.onnx"]).contains("nothing.onnx"));
        let folder = tempfile::tempdir().unwrap();
        let text = folder.path().join("text.onnx");
        std::fs::write(&text, "text").unwrap();
        assert!(refused(&[text.to_str().unwrap()]).contains("text.onnx"));
        let one = checkpoint(folder.path(), "one.safetensors");
        std::fs::create_dir(folder.path().join("two")).unwrap();
        let two = checkpoint(&folder.path().join("two"), "one.safetensors");
        let paths = [one, two].map(|model| model.file.unwrap());
        let both = refused(&paths.each_ref().map(|path| path.to_str().unwrap()));
        assert!(both.contains("two networks are called one"), "{both}");
    }
}
