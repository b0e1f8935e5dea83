//! A file's tensors under plain names: without wrappers, with renamed parts, masks multiplied in, and only those under
//! the key that is asked for.

use std::collections::BTreeMap;

use super::reading::{Reading, plain};
use super::source::Info;
use crate::error::{Error, quoted};

/// What is read for a tensor: its flat name, or those of a pruned weight and its mask, whose product it is.
pub(super) type Stored = Vec<String>;

/// A tensor of the file.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub stored: Stored,
    pub shape: Vec<usize>,
    /// Length of the part of the plain name that leads to the dictionary that the tensor lies in.
    pub holder: usize,
    /// Its place in the file.
    pub position: usize,
}

/// The tensors by plain name.
pub(super) struct Entries {
    tensors: BTreeMap<String, Entry>,
    root: bool,
}

impl Entries {
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.tensors
            .iter()
            .map(|(name, entry)| (name.as_str(), entry))
    }

    /// Those whose names begin with `prefix`, and which lie in a dictionary that leads there or stands below it.
    pub fn under<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a Entry)> {
        self.tensors
            .range(prefix.to_owned()..)
            .map(|(name, entry)| (name.as_str(), entry))
            .take_while(move |(name, _)| name.starts_with(prefix))
    }

    /// Whether the file's outermost dictionary was asked for.
    pub fn is_root_chosen(&self) -> bool {
        self.root
    }
}

/// The tensors that may be the network's.
///
/// # Errors
/// Two have one plain name; none lies under the key asked for.
pub(super) fn entries(infos: &BTreeMap<String, Info>, reading: &Reading) -> Result<Entries, Error> {
    let root = reading.key.as_deref() == Some(".");
    let key = reading.key.as_deref().filter(|_| !root);
    let key = key.map(|key| format!("{}.", key.trim_matches('.')));
    let mut tensors: BTreeMap<String, Entry> = BTreeMap::new();
    for (flat, info) in infos {
        let (holder, own) = flat.split_at(info.holder);
        let mut holder = holder.to_owned();
        let mut own = plain(own, &reading.rename);
        if let Some(key) = &key {
            let whole = format!("{holder}{own}");
            if whole.starts_with(key) {
                if key.len() > holder.len() {
                    own = whole[key.len()..].to_owned();
                    holder = key.clone();
                }
            } else if let Some(behind) = flat.strip_prefix(key.as_str()) {
                own = plain(behind, &reading.rename);
                holder = key.clone();
            } else {
                continue;
            }
        }
        let entry = Entry {
            stored: vec![flat.clone()],
            shape: info.shape.clone(),
            holder: holder.len(),
            position: info.position,
        };
        let name = format!("{holder}{own}");
        if let Some(other) = tensors.get(&name) {
            return Err(Error::TensorsDiffer {
                arch: "checkpoint".to_owned(),
                differences: format!(
                    "{} and {} are both {}",
                    quoted(&other.stored[0]),
                    quoted(flat),
                    quoted(&own)
                ),
            });
        }
        tensors.insert(name, entry);
    }
    if let (true, Some(key)) = (tensors.is_empty(), &reading.key) {
        return Err(Error::NoSuchKey {
            key: quoted(key),
            known: outermost(infos),
        });
    }
    multiply_masks(&mut tensors);
    Ok(Entries { tensors, root })
}

/// The first parts of all names, a few of them.
fn outermost(infos: &BTreeMap<String, Info>) -> String {
    const NAMED: usize = 8;
    let mut keys: Vec<&str> = infos
        .keys()
        .filter_map(|name| name.split('.').next())
        .collect();
    keys.dedup();
    let more = if keys.len() > NAMED {
        " and others"
    } else {
        ""
    };
    let named: Vec<String> = keys.iter().take(NAMED).map(|key| quoted(key)).collect();
    format!("{}{more}", named.join(", "))
}

/// `weight_orig` and `weight_mask` of `torch.nn.utils.prune` become the `weight` that the module computes with.
fn multiply_masks(tensors: &mut BTreeMap<String, Entry>) {
    const ORIGINAL: &str = "_orig";
    let masked: Vec<(String, String)> = tensors
        .keys()
        .filter_map(|name| {
            let weight = name.strip_suffix(ORIGINAL)?;
            let mask = format!("{weight}_mask");
            let same = tensors.get(&mask)?.shape == tensors[name].shape;
            (same && !tensors.contains_key(weight)).then(|| (weight.to_owned(), mask))
        })
        .collect();
    for (weight, mask) in masked {
        let original = tensors.remove(&format!("{weight}{ORIGINAL}"));
        if let (Some(mut entry), Some(mask)) = (original, tensors.remove(&mask)) {
            entry.stored.extend(mask.stored);
            tensors.insert(weight, entry);
        }
    }
}
