//! What can be fetched: an entry of a registry that has a `download`, checked before the first byte is asked for.

use std::path::{Component, Path, PathBuf};

use anyhow::{Result, anyhow, bail};

use super::disk::{self, Checksum, Part};
use super::{archive, transfer};
use crate::registry::{Download, Registry};

/// Something that can be fetched.
#[derive(Clone, Debug)]
pub struct Item {
    /// Its name in `models.toml` or `datasets.toml`.
    pub name: String,
    /// Where it comes from.
    pub url: String,
    /// SHA-256, or the digits of it that are published.
    pub sha256: Checksum,
    /// Size in bytes, where known.
    pub size: Option<u64>,
    /// Where it goes.
    pub file: PathBuf,
    /// The files that come out of it, beside it; none for what is no archive.
    pub members: Vec<String>,
    /// Bytes of the members together.
    pub members_size: u64,
    /// Its licence.
    pub licence: String,
}

/// What a look at sizes and names tells, without reading the files.
#[derive(Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing is there.
    Absent,
    /// This many bytes of it.
    Partial(u64),
    /// A file of the right size, or all members.
    Present,
    /// A file of another size, or some members.
    Different,
}

/// Everything that can be fetched: models, then datasets, by name.
pub fn items(registry: &Registry) -> Result<Vec<Item>> {
    let models = registry
        .models
        .iter()
        .map(|(name, model)| (name, &model.download, Some(&model.file), &model.licence));
    let datasets = registry
        .datasets
        .iter()
        .map(|(name, set)| (name, &set.download, None, &set.licence));
    models
        .chain(datasets)
        .filter_map(|(name, download, file, licence)| {
            let download = download.as_ref()?;
            let item = Item::new(&registry.data, name, download, file, licence);
            Some(item.map_err(|e| anyhow!("`{name}`: {e}")))
        })
        .collect()
}

/// The item called `name`.
pub fn item(registry: &Registry, name: &str) -> Result<Item> {
    let items = items(registry)?;
    if let Some(item) = items.iter().find(|item| item.name == name) {
        return Ok(item.clone());
    }
    let model = registry.models.get(name).map(|model| &model.source);
    if let Some(source) = model.or(registry.datasets.get(name).map(|set| &set.source)) {
        bail!("`{name}` cannot be fetched: {source}");
    }
    let known: Vec<_> = items.iter().map(|item| item.name.as_str()).collect();
    bail!(
        "no `{name}` in models.toml or datasets.toml; there are {}",
        known.join(", ")
    )
}

impl Item {
    fn new(
        data: &Path,
        name: &str,
        download: &Download,
        file: Option<&String>,
        licence: &str,
    ) -> Result<Self> {
        let file = download
            .file
            .as_ref()
            .or(file)
            .ok_or_else(|| anyhow!("its download says no `file`"))?;
        if file.is_empty() || !Path::new(file).components().all(is_plain) {
            bail!("its file `{file}` is not inside the data folder");
        }
        if let Some(member) = download.members.iter().find(|name| !is_file_name(name)) {
            bail!("its member `{member}` is no file name");
        }
        Ok(Self {
            name: name.to_owned(),
            url: download.url.clone(),
            sha256: Checksum::parse(&download.sha256)?,
            size: download.size,
            file: data.join(file),
            members: download.members.clone(),
            members_size: download.members_size.unwrap_or(transfer::SIZE_LIMIT),
            licence: licence.to_owned(),
        })
    }

    /// The folder or file that the item is in the end.
    pub fn goes_to(&self) -> &Path {
        if self.members.is_empty() {
            &self.file
        } else {
            self.folder()
        }
    }

    /// What is there of it.
    pub fn state(&self) -> State {
        let partial = Part::of(&self.file).len_from(&self.url);
        let file = self.file.metadata().map(|m| m.len()).ok();
        let members = (self.members.iter())
            .filter(|name| self.folder().join(name).is_file())
            .count();
        if members > 0 {
            return if members == self.members.len() {
                State::Present
            } else {
                State::Different
            };
        }
        match file {
            // The archive alone is no test set yet.
            Some(length) if !self.members.is_empty() => State::Partial(length),
            Some(length) if self.size.is_none_or(|size| size == length) => State::Present,
            Some(_) => State::Different,
            None if partial > 0 => State::Partial(partial),
            None => State::Absent,
        }
    }

    /// What to do where no server can be reached.
    pub fn by_hand(&self) -> String {
        let unpacks = if self.members.is_empty() {
            String::new()
        } else {
            format!("; `fetch {}` then unpacks it", self.name)
        };
        format!(
            "to go on without network, get {} on another machine, see that its {}, and copy it to {}{unpacks}",
            self.url,
            self.sha256.describe(),
            self.file.display()
        )
    }

    /// Whether all of it is there and has the right checksum. Files have their final names only when whole, so this
    /// needs no lock and writes nothing.
    pub fn is_whole(&self) -> Result<bool> {
        if !self.members.is_empty() {
            let found = archive::inspect(self.folder(), &self.members, &self.sha256)?;
            return Ok(found == archive::Unpacked::Whole);
        }
        Ok(self.file.exists() && self.verify(&self.file)?.is_ok())
    }

    /// The folder of the file, and of an archive's members.
    pub fn folder(&self) -> &Path {
        self.file.parent().unwrap_or(Path::new("."))
    }

    /// The file's SHA-256 if size and checksum are right, else what is wrong.
    pub(super) fn verify(&self, path: &Path) -> Result<Result<String, String>> {
        let found = path
            .metadata()
            .map_err(|e| anyhow!("cannot read {}: {e}", path.display()))?
            .len();
        if let Some(size) = self.size.filter(|size| *size != found) {
            return Ok(Err(format!("has {found} bytes, {size} are expected")));
        }
        let hex = disk::sha256(path)?;
        Ok(if self.sha256.matches(&hex) {
            Ok(hex)
        } else {
            Err(format!(
                "has sha256 {hex}, expected is {}",
                self.sha256.digits()
            ))
        })
    }
}

fn is_plain(part: Component) -> bool {
    matches!(part, Component::Normal(_))
}

fn is_file_name(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    parts.next().is_some_and(is_plain) && parts.next().is_none()
}
