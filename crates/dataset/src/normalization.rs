//! From 8-bit values to what a network sees:
//!
//! ```text
//! y = (v / scale - mean) / std      (1)
//! ```
//!
//! all in f32 and in this order, which with a scale of 255 is what torchvision's `ToTensor` and `Normalize` compute. A
//! channel has only 256 different inputs, so (1) is a table.
//!
//! In words: `imagenet`, `cifar10`, `half`, `unit` (0..1) and `bytes` (0..255), or written out as `MEAN / STD` with one
//! number for each of R, G and B, or one for all. A mean or standard deviation above 1 can only be meant for values of
//! 0..255: then the scale is 1.

use std::fmt;
use std::str::FromStr;

/// How a channel is shifted and scaled; channels in the order R, G, B.
#[derive(Clone, Copy, Debug, PartialEq, serde::Deserialize)]
#[serde(try_from = "String")]
pub struct Normalization {
    /// What 8-bit values are divided by before anything else: 255, or 1 where the rest is for values of 0..255.
    pub scale: f32,
    /// Subtracted first.
    pub mean: [f32; 3],
    /// Divided by second.
    pub std: [f32; 3],
}

/// What has a name, and which.
const NAMED: [(&str, Normalization); 5] = [
    ("imagenet", Normalization::IMAGENET),
    ("cifar10", Normalization::CIFAR10),
    ("half", Normalization::HALF),
    ("unit", Normalization::UNIT),
    ("bytes", Normalization::BYTES),
];

/// Largest magnitude of a number that is written out.
const LARGEST: f32 = 1e4;
/// Smallest standard deviation that is written out.
const SMALLEST_STD: f32 = 1e-4;

/// A text that is no normalization.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error(
    "`{text}` is no normalization ({problem}); allowed are imagenet, cifar10, half, unit (0..1), bytes (0..255), or mean / \
     std written out as \"0.4914 0.4822 0.4465 / 0.2023 0.1994 0.2010\""
)]
pub struct NormalizationError {
    text: String,
    problem: &'static str,
}

impl Normalization {
    /// The ImageNet statistics, with which torchvision's and most CIFAR-10 checkpoints were trained.
    pub const IMAGENET: Normalization = Normalization {
        scale: 255.0,
        mean: [0.485, 0.456, 0.406],
        std: [0.229, 0.224, 0.225],
    };

    /// The statistics of the CIFAR-10 training images.
    pub const CIFAR10: Normalization = Normalization {
        scale: 255.0,
        mean: [0.4914, 0.4822, 0.4465],
        std: [0.247, 0.2435, 0.2616],
    };

    /// To -1..1: mean and standard deviation 0.5.
    pub const HALF: Normalization = Normalization {
        scale: 255.0,
        mean: [0.5; 3],
        std: [0.5; 3],
    };

    /// To 0..1.
    pub const UNIT: Normalization = Normalization {
        scale: 255.0,
        mean: [0.0; 3],
        std: [1.0; 3],
    };

    /// As stored, 0..255.
    pub const BYTES: Normalization = Normalization {
        scale: 1.0,
        ..Normalization::UNIT
    };

    /// Equation (1) for a value of channel 0 (R), 1 (G) or 2 (B).
    pub fn of(&self, value: u8, channel: usize) -> f32 {
        (f32::from(value) / self.scale - self.mean[channel]) / self.std[channel]
    }
}

impl FromStr for Normalization {
    type Err = NormalizationError;

    fn from_str(text: &str) -> Result<Normalization, NormalizationError> {
        let word = text.trim();
        if let Some((_, named)) = NAMED.iter().find(|(name, _)| *name == word) {
            return Ok(*named);
        }
        let fail = |problem| {
            Err(NormalizationError {
                text: text.to_owned(),
                problem,
            })
        };
        let Some((mean, std)) = word.split_once('/') else {
            return fail("neither a known name nor two parts with a / between them");
        };
        let (Some(mean), Some(std)) = (channels(mean), channels(std)) else {
            return fail("mean and std are one number each, or three");
        };
        if !mean.iter().all(|value| value.abs() <= LARGEST) {
            return fail("a mean is no ordinary number");
        }
        if !std
            .iter()
            .all(|value| (SMALLEST_STD..=LARGEST).contains(value))
        {
            return fail("a std is not positive");
        }
        let bytes = mean.iter().chain(&std).any(|value| *value > 1.0);
        let scale = if bytes { 1.0 } else { 255.0 };
        let found = Normalization { scale, mean, std };
        Ok(found)
    }
}

/// One number for all channels, or one for each; blanks or commas between them.
fn channels(text: &str) -> Option<[f32; 3]> {
    let numbers: Vec<f32> = text
        .split(|c: char| c.is_whitespace() || c == ',')
        .filter(|word| !word.is_empty())
        .map(|word| word.parse().ok())
        .collect::<Option<_>>()?;
    match numbers[..] {
        [all] => Some([all; 3]),
        [r, g, b] => Some([r, g, b]),
        _ => None,
    }
}

/// The name, where it has one, else `MEAN / STD`; equal texts exactly where normalizations are equal.
impl fmt::Display for Normalization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMED.iter().find(|(_, named)| named == self) {
            Some((name, _)) => f.write_str(name),
            None => f.write_str(&self.numbers()),
        }
    }
}

impl Normalization {
    /// `MEAN / STD`, each one number where that is the same for all channels.
    pub fn numbers(&self) -> String {
        let numbers = |of: [f32; 3]| match of {
            [r, g, b] if r == g && g == b => r.to_string(),
            [r, g, b] => format!("{r} {g} {b}"),
        };
        format!("{} / {}", numbers(self.mean), numbers(self.std))
    }
}

impl TryFrom<String> for Normalization {
    type Error = NormalizationError;

    fn try_from(text: String) -> Result<Normalization, NormalizationError> {
        text.parse()
    }
}

/// Equation (1) for each of the 256 values of each channel.
pub(crate) struct Table([[f32; 256]; 3]);

impl Table {
    pub fn new(of: Normalization) -> Table {
        Table(std::array::from_fn(|c| {
            std::array::from_fn(|v| of.of(v as u8, c))
        }))
    }

    /// Interleaved `[h, w, 3]` to planar `[3, h, w]`; both slices have `3 h w` values.
    pub fn apply(&self, image: &[u8], out: &mut [f32]) {
        let plane = out.len() / 3;
        let (red, rest) = out.split_at_mut(plane);
        let (green, blue) = rest.split_at_mut(plane);
        let [of_red, of_green, of_blue] = &self.0;
        for (p, rgb) in image.chunks_exact(3).enumerate() {
            red[p] = of_red[usize::from(rgb[0])];
            green[p] = of_green[usize::from(rgb[1])];
            blue[p] = of_blue[usize::from(rgb[2])];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Normalization {
        text.parse().unwrap()
    }

    #[test]
    fn names_and_numbers_mean_what_they_say_and_are_written_back() {
        for (name, named) in NAMED {
            assert_eq!(read(name), named);
            assert_eq!(named.to_string(), name);
        }
        let own = read("0.4914 0.4822 0.4465 / 0.2023 0.1994 0.2010");
        assert_eq!(own.mean, [0.4914, 0.4822, 0.4465]);
        assert_eq!(own.std, [0.2023, 0.1994, 0.201]);
        assert_eq!(
            own.to_string(),
            "0.4914 0.4822 0.4465 / 0.2023 0.1994 0.201"
        );
        assert_eq!(read(&own.to_string()), own);
        assert_eq!(read("0.44/.22").to_string(), "0.44 / 0.22");
        // The same numbers are the same normalization, whatever the spelling.
        assert_eq!(read("0.5, 0.5, 0.5 / 0.5").to_string(), "half");
        assert_eq!(
            read("0.485 0.456 0.406/0.229 0.224 0.225").to_string(),
            "imagenet"
        );
    }

    #[test]
    fn values_go_where_the_name_says_to_the_bit() {
        let ends = |text: &str| [read(text).of(0, 0), read(text).of(255, 2)];
        assert_eq!(ends("unit"), [0.0, 1.0]);
        assert_eq!(ends("half"), [-1.0, 1.0]);
        for v in 0..=255 {
            assert_eq!(read("bytes").of(v, 1), f32::from(v));
            let torchvision = (f32::from(v) / 255.0 - 0.456) / 0.224;
            assert_eq!(read("imagenet").of(v, 1), torchvision);
        }
    }

    #[test]
    fn numbers_above_one_are_for_values_up_to_255() {
        let caffe = read("123.675 116.28 103.53 / 58.395 57.12 57.375");
        assert_eq!(caffe.scale, 1.0);
        for v in 0..=255 {
            let difference = caffe.of(v, 0) - Normalization::IMAGENET.of(v, 0);
            assert!(difference.abs() < 1e-5, "{v}: {difference}");
        }
        assert_eq!(read("0 / 255").of(255, 0), 1.0);
        assert_eq!(read("0 / 1"), Normalization::UNIT);
    }

    #[test]
    fn what_is_no_normalization_is_refused_with_what_is_allowed() {
        for text in [
            "",
            "Imagenet1k",
            "0.5",
            "0.5 0.5 / 0.5",
            "0.5 / 0",
            "0.5 / -1",
            "nan / 1",
            "0 / inf",
            "a b c / 1",
            "1e9 / 1",
            "0.5 / 0.5 / 0.5",
        ] {
            let error = text.parse::<Normalization>().unwrap_err().to_string();
            assert!(
                error.contains("imagenet, cifar10") && !error.contains('\n'),
                "{error}"
            );
        }
    }
}
