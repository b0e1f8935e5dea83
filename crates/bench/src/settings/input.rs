//! The settings of what reaches a network: `input.*` of its images, `labels.*` of their labels.

use anyhow::Result;
use dataset::Normalization;

use super::reader::Reader;

/// What is said about images and labels; `None` where nothing is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Input {
    /// From 8-bit values to what the network sees.
    pub normalization: Option<Normalization>,
    /// Shorter side of an image after the resize.
    pub resize: Option<usize>,
    /// Side of the square cut out of its centre.
    pub size: Option<usize>,
    /// A file with the names of all classes, one a line.
    pub class_list: Option<String>,
    /// What is added to a label for the network's output.
    pub offset: Option<i32>,
}

impl Input {
    /// This, and where it says nothing what `other` says.
    pub fn or(&self, other: &Self) -> Self {
        Self {
            normalization: self.normalization.or(other.normalization),
            resize: self.resize.or(other.resize),
            size: self.size.or(other.size),
            class_list: self.class_list.clone().or_else(|| other.class_list.clone()),
            offset: self.offset.or(other.offset),
        }
    }
}

impl Reader {
    /// What the settings say of images and labels.
    pub fn input(&mut self) -> Result<Input> {
        Ok(Input {
            normalization: self.given("input.normalization")?,
            resize: self.given("input.resize")?,
            size: self.given("input.size")?,
            class_list: self.path("labels.class_list")?,
            offset: self.given("labels.offset")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Cell, Settings};
    use super::*;
    use crate::experiment::Scalar;

    fn read(key: &str, value: Scalar) -> Result<Input> {
        let model = ("model.name".to_owned(), Scalar::Text("m".into()));
        let settings = Settings::from([model, (key.to_owned(), value)]);
        Ok(Cell::new(&settings)?.input)
    }

    #[test]
    fn what_is_said_is_read_and_what_is_wrong_says_what_is_allowed() {
        let text = |word: &str| Scalar::Text(word.to_owned());
        let half = read("input.normalization", text("0.5 / 0.5")).unwrap();
        assert_eq!(half.normalization, Some(Normalization::HALF));
        let offset = read("labels.offset", Scalar::Integer(-1)).unwrap();
        assert_eq!(offset.offset, Some(-1));
        let size = read("input.size", Scalar::Integer(288)).unwrap();
        assert_eq!((size.size, size.resize), (Some(288), None));
        assert_eq!(size.or(&half).normalization, half.normalization);
        for (key, value, says) in [
            (
                "input.normalization",
                text("image_net"),
                "imagenet, cifar10",
            ),
            ("input.resize", Scalar::Integer(0), "from 1 to 8192"),
            ("labels.offset", text("one"), "from -65535 to 65535"),
        ] {
            let error = format!("{:#}", read(key, value).unwrap_err());
            assert!(error.contains(key) && error.contains(says), "{error}");
        }
    }
}
