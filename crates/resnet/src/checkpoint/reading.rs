//! How a file is read where it does not say enough itself: which of its networks, what beside the network is left alone,
//! and what its names mean.

use std::str::FromStr;

use crate::error::{Error, quoted};

/// The choices of whoever reads a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reading {
    /// The keys that lead to the network, joined by dots, such as `state_dict_ema`; `.` is the file's outermost dictionary.
    pub key: Option<String>,
    /// What becomes of tensors beside a complete network.
    pub extra: Extra,
    /// What parts of names mean.
    pub rename: Rename,
}

/// What becomes of tensors beside a complete network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Extra {
    /// The file is refused, and they are named.
    #[default]
    Refuse,
    /// They are left alone, and named among [`super::Checkpoint::ignored`].
    Ignore,
}

quant_core::words!(Extra, "model.extra": Refuse = "refuse", Ignore = "ignore");

/// Parts of a file's names and what stands for them: `classifier=linear, stage_1=layer1`. A part is what lies between
/// dots; several in a row may be written with their dots (`body.conv1=conv1`), and nothing on the right takes them out
/// (`backbone=`). Where several fit, the one of most parts counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rename(Vec<(Vec<String>, Vec<String>)>);

impl FromStr for Rename {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = |rule: &str| Error::Setting {
            key: "model.rename",
            value: quoted(rule),
            allowed: "FILE=OURS, such as classifier=linear, separated by commas",
        };
        let parts = |text: &str| -> Vec<String> {
            let parts = text.split('.').filter(|part| !part.is_empty());
            parts.map(str::to_owned).collect()
        };
        let mut rules = Vec::new();
        for rule in text.split(',').map(str::trim) {
            let (from, to) = rule.split_once('=').ok_or_else(|| wrong(rule))?;
            let (from, to) = (parts(from.trim()), parts(to.trim()));
            if from.is_empty() || rules.iter().any(|(other, _)| *other == from) {
                return Err(wrong(rule));
            }
            rules.push((from, to));
        }
        rules.sort_by_key(|(from, _)| std::cmp::Reverse(from.len()));
        Ok(Self(rules))
    }
}

/// Parts of names that PyTorch's wrappers put in, wherever the wrapped module lies: DataParallel, `torch.compile`,
/// activation checkpointing, fully sharded training.
const WRAPPERS: [&str; 4] = [
    "module",
    "_orig_mod",
    "_checkpoint_wrapped_module",
    "_fsdp_wrapped_module",
];

/// A name without the wrappers' parts, and with the parts that are renamed.
pub(super) fn plain(name: &str, rename: &Rename) -> String {
    let parts: Vec<&str> = name
        .split('.')
        .filter(|part| !WRAPPERS.contains(part))
        .collect();
    let mut out: Vec<&str> = Vec::with_capacity(parts.len());
    let mut rest = parts.as_slice();
    while let Some((first, behind)) = rest.split_first() {
        let rule = rename.0.iter().find(|(from, _)| {
            rest.len() >= from.len() && from.iter().zip(rest).all(|(a, b)| a == b)
        });
        match rule {
            Some((from, to)) => {
                out.extend(to.iter().map(String::as_str));
                rest = &rest[from.len()..];
            }
            None => {
                out.push(first);
                rest = behind;
            }
        }
    }
    out.join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrappers_are_taken_out_as_whole_parts_anywhere() {
        let none = Rename::default();
        for (name, wanted) in [
            ("module._orig_mod.conv1.weight", "conv1.weight"),
            ("layer1._orig_mod.0.conv1.weight", "layer1.0.conv1.weight"),
            (
                "layer1.0._checkpoint_wrapped_module.conv1.weight",
                "layer1.0.conv1.weight",
            ),
            (
                "_fsdp_wrapped_module.layer1._fsdp_wrapped_module.0.bn1.bias",
                "layer1.0.bn1.bias",
            ),
            ("my_module.conv1.weight", "my_module.conv1.weight"),
            ("modules.conv1.weight", "modules.conv1.weight"),
        ] {
            assert_eq!(plain(name, &none), wanted);
        }
    }

    #[test]
    fn parts_are_renamed_whole_and_the_longest_rule_counts() {
        let rename: Rename =
            "classifier=linear, stage_1=layer1, body.conv1=conv1, body=, backbone="
                .parse()
                .unwrap();
        for (name, wanted) in [
            ("module.classifier.weight", "linear.weight"),
            ("stage_1.0.body.conv1.weight", "layer1.0.conv1.weight"),
            ("backbone.stage_1.0.body.bn1.bias", "layer1.0.bn1.bias"),
            ("stage_10.0.weight", "stage_10.0.weight"),
        ] {
            assert_eq!(plain(name, &rename), wanted);
        }
    }

    #[test]
    fn a_rule_that_is_none_is_named() {
        for text in ["classifier", "=linear", "a=b, a=c", "a=b,"] {
            let error = text.parse::<Rename>().unwrap_err().to_string();
            assert!(error.starts_with("model.rename = '"), "{error}");
        }
        assert!(
            "all"
                .parse::<Extra>()
                .unwrap_err()
                .to_string()
                .contains("refuse, ignore")
        );
        assert_eq!("ignore".parse::<Extra>().unwrap(), Extra::Ignore);
    }
}
