//! How images and labels reach a network: what the settings say, else the model's entry in `models.toml`, else what is usual
//! for networks of its kind.
//!
//! Usual is: the normalization of the set (ImageNet's, but for synthetic images); of class folders the shorter side resized to
//! 256 and the middle 224 x 224 pixels for networks made for 224, and 32 for those made for 32; labels as the folders have
//! them. A given size without a resize comes with the usual proportion, 8 : 7 for networks made for 224.
//!
//! Images of CIFAR and synthetic ones are what they are, 32 x 32 pixels with labels: settings that would change that are
//! refused where they are settings, and not looked at where they stand in the model's entry.

use std::path::PathBuf;

use anyhow::{Result, bail};
use dataset::{Dataset, FolderOptions, Normalization};
use results::Config;

use crate::settings::Input;
use crate::sources::Model;

/// Shorter side after the resize, and side of the crop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Shorter side.
    pub resize: usize,
    /// Side of the crop.
    pub size: usize,
}

/// How sets are read for a network.
#[derive(Clone, Debug, PartialEq)]
pub struct Preparation {
    /// `None`: the set's own.
    pub normalization: Option<Normalization>,
    /// Of class folders.
    pub geometry: Geometry,
    /// The classes of class folders.
    pub class_list: Option<PathBuf>,
    /// How many outputs the network has.
    pub outputs: usize,
    /// What is added to labels.
    pub offset: i32,
    /// The side that the network is made for.
    side: usize,
    /// A setting that only class folders can follow.
    of_folders: Option<&'static str>,
}

/// The columns of a run that say how its images were read; empty where all is usual.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Columns {
    normalization: Option<String>,
    geometry: Option<(u64, u64)>,
    offset: Option<i64>,
}

impl Preparation {
    /// What `input` and the entry of `model` say.
    ///
    /// # Errors
    /// A resize to less than is cut out of it.
    pub fn new(input: &Input, model: &Model) -> Result<Self> {
        let checkpoint = &model.checkpoint;
        let side = checkpoint.network.topology().input().height;
        let all = input.or(&model.input);
        let of_folders = [
            ("input.resize", input.resize.is_some()),
            ("input.size", input.size.is_some()),
            ("labels.class_list", input.class_list.is_some()),
        ];
        let of_folders = of_folders.into_iter().find(|(_, said)| *said);
        Ok(Self {
            normalization: all.normalization,
            geometry: geometry(side, all.resize, all.size)?,
            class_list: all.class_list.map(PathBuf::from),
            outputs: checkpoint.classes(),
            offset: all.offset.unwrap_or(0),
            side,
            of_folders: of_folders.map(|(key, _)| key),
        })
    }

    /// Fails for a set that is no folder of class folders, where something was said that only those can follow.
    pub fn check_fixed(&self, name: &str) -> Result<()> {
        match self.of_folders {
            Some(key) => bail!(
                "{key} is about folders of images; those of {name} have their size and their labels: leave it out"
            ),
            None => Ok(()),
        }
    }

    /// How a class folder is read.
    pub fn folder(&self) -> FolderOptions {
        // Outputs that are classes of the set: the offset leaves the others in front, or takes labels that have none.
        let classes = self.outputs as i64 - i64::from(self.offset);
        FolderOptions {
            class_list: self.class_list.clone(),
            outputs: usize::try_from(classes).ok(),
            resize: self.geometry.resize,
            crop: self.geometry.size,
            ..FolderOptions::default()
        }
    }

    /// The images as the network is to see them, with labels that are its outputs.
    pub fn labelled(&self, data: Dataset) -> Result<Dataset> {
        let data = self.normalized(data);
        Ok(match self.offset {
            0 => data,
            offset => data.with_label_offset(offset, self.outputs)?,
        })
    }

    /// The images as the network is to see them.
    pub fn normalized(&self, data: Dataset) -> Dataset {
        match self.normalization {
            Some(normalization) => data.with_normalization(normalization),
            None => data,
        }
    }

    /// The columns of a run on `data` as it was before.
    pub fn columns(&self, data: &Dataset, class_folders: bool) -> Columns {
        let other = self.normalization.filter(|n| *n != data.normalization());
        let usual = usual(self.side, self.side);
        let Geometry { resize, size } = self.geometry;
        let crops = class_folders && self.geometry != usual;
        Columns {
            normalization: other.map(|normalization| normalization.to_string()),
            geometry: crops.then_some((resize as u64, size as u64)),
            offset: Some(i64::from(self.offset)).filter(|offset| *offset != 0),
        }
    }
}

impl Columns {
    /// `config` with these columns.
    pub fn fill(&self, config: Config) -> Config {
        config
            .with("input_normalization", self.normalization.as_ref())
            .with("input_resize", self.geometry.map(|(resize, _)| resize))
            .with("input_size", self.geometry.map(|(_, size)| size))
            .with("labels_offset", self.offset)
    }
}

/// What is resized to for a crop of `size`, by a network made for `side`.
fn usual(side: usize, size: usize) -> Geometry {
    let resize = if side == 224 { size * 8 / 7 } else { size };
    Geometry { resize, size }
}

fn geometry(side: usize, resize: Option<usize>, size: Option<usize>) -> Result<Geometry> {
    match (resize, size) {
        (Some(resize), Some(size)) => Ok(Geometry { resize, size }),
        (None, size) => Ok(usual(side, size.unwrap_or(side))),
        (Some(resize), None) if resize < side => bail!(
            "input.resize = {resize}: the middle {side} x {side} pixels would have a black border; give input.size, too"
        ),
        (Some(resize), None) => Ok(Geometry { resize, size: side }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_comes_with_its_usual_resize_and_a_resize_with_the_usual_size() {
        let of = |side, resize, size| {
            geometry(side, resize, size).map(|Geometry { resize, size }| (resize, size))
        };
        assert_eq!(of(224, None, None).unwrap(), (256, 224));
        assert_eq!(of(224, None, Some(288)).unwrap(), (329, 288));
        assert_eq!(of(224, Some(232), None).unwrap(), (232, 224));
        assert_eq!(of(224, Some(96), Some(224)).unwrap(), (96, 224));
        assert_eq!(of(32, None, None).unwrap(), (32, 32));
        assert_eq!(of(32, None, Some(64)).unwrap(), (64, 64));
        let black = of(224, Some(160), None).unwrap_err().to_string();
        assert!(black.contains("input.size"), "{black}");
    }
}
