//! The settings that name a checkpoint, and those that say how it is read: `model.*`.

use anyhow::{Result, bail};
use resnet::Reading;

use super::reader::Reader;

/// Which checkpoint a cell runs, and how it is read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ModelChoice {
    /// The file.
    pub file: ModelFile,
    /// What is chosen where the file leaves a choice.
    pub reading: Reading,
}

/// Where a checkpoint lies.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ModelFile {
    /// An entry of `data/models.toml`.
    Named(String),
    /// A file.
    File {
        /// Its path as given.
        path: String,
        /// The architecture, where it should not be recognised.
        arch: Option<String>,
    },
}

impl ModelChoice {
    /// What a network of the file `name` is called: with the key that chooses one of several.
    pub fn called(&self, name: String) -> String {
        match &self.reading.key {
            Some(key) => format!("{name}[{key}]"),
            None => name,
        }
    }
}

impl Reader {
    /// The checkpoint.
    pub fn model(&mut self) -> Result<ModelChoice> {
        let file = match (self.given("model.name")?, self.path("model.weights")?) {
            (Some(_), Some(_)) => bail!("model.name and model.weights name two models; give one"),
            (None, None) => bail!("no model: give model.name or model.weights"),
            (Some(name), None) => {
                if self.given::<String>("model.arch")?.is_some() {
                    bail!("model.arch goes with model.weights; a named model has its architecture");
                }
                ModelFile::Named(name)
            }
            (None, Some(path)) => ModelFile::File {
                path,
                arch: self.given("model.arch")?,
            },
        };
        let rename: Option<String> = self.given("model.rename")?;
        let rename = rename.map(|rename| rename.parse()).transpose()?;
        let reading = Reading {
            key: self.given("model.key")?,
            extra: self.value("model.extra")?,
            rename: rename.unwrap_or_default(),
        };
        Ok(ModelChoice { file, reading })
    }
}

#[cfg(test)]
mod tests {
    use crate::experiment::Scalar;
    use crate::settings::{Cell, ModelChoice, Settings};

    fn model(settings: &[(&str, &str)]) -> Result<ModelChoice, String> {
        let text = |value: &str| Scalar::Text(value.to_owned());
        let settings = settings
            .iter()
            .map(|(key, value)| ((*key).to_owned(), text(value)));
        let all: Settings = settings
            .chain([("model.weights".to_owned(), text("x.pth"))])
            .collect();
        Cell::new(&all)
            .map(|cell| cell.model)
            .map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn a_file_is_read_as_the_settings_say() {
        let plain = model(&[]).unwrap();
        assert_eq!(plain.reading, resnet::Reading::default());
        assert_eq!(plain.called("x".to_owned()), "x");
        let chosen = model(&[
            ("model.key", "state_dict_ema"),
            ("model.extra", "ignore"),
            ("model.rename", "classifier=linear, stage_1=layer1"),
        ])
        .unwrap();
        assert_eq!(chosen.called("x".to_owned()), "x[state_dict_ema]");
        assert_eq!(chosen.reading.extra, resnet::Extra::Ignore);
        assert_ne!(chosen.reading.rename, plain.reading.rename);
    }

    #[test]
    fn words_that_are_none_are_named_with_those_that_are() {
        let error = model(&[("model.extra", "drop")]).unwrap_err();
        assert_eq!(error, "model.extra = drop: allowed are refuse, ignore");
        let error = model(&[("model.rename", "classifier")]).unwrap_err();
        assert!(
            error.starts_with("model.rename = 'classifier': allowed are FILE=OURS"),
            "{error}"
        );
    }
}
