//! What `fetch` does with a name: download, verify, put in place, unpack.
//!
//! The rule: whatever has its final name is whole and has the registry's SHA-256, at every moment, whatever ends the
//! process and however many of them run. Bytes arrive in `FILE.part`; only a part with the right size and checksum is
//! flushed and renamed. A file that is there and verifies is left alone; one that does not is never replaced unasked.
//!
//! `transfer` speaks HTTP, `disk` keeps parts and locks, `archive` unpacks.

pub mod archive;
pub mod disk;
pub mod transfer;

use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, anyhow, bail};

use crate::registry::{Download, Registry};
use archive::Unpacked;
use disk::{Checksum, Lock, Part};
use transfer::Policy;

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

/// What happens while fetching.
#[derive(Debug)]
pub enum Event<'a> {
    /// Another process works on the same file.
    Waiting,
    /// Bytes follow.
    Started {
        /// Where from.
        url: &'a str,
        /// Bytes that are there already.
        from: u64,
        /// Bytes of the whole, if known.
        total: Option<u64>,
    },
    /// This many bytes are there.
    Position(u64),
    /// The connection failed in a way that may pass.
    Retrying {
        /// How.
        reason: &'a str,
        /// When the next try comes.
        pause: Duration,
    },
    /// A resumed part turned out wrong; all of it comes once more.
    StartingOver,
    /// The archive is whole; its members come next.
    Unpacking,
}

/// What came of it.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was there and verifies.
    Present,
    /// It is there now. The file's SHA-256, all digits.
    Fetched(String),
    /// The archive's members are there now.
    Unpacked,
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
        let plain = |part| matches!(part, Component::Normal(_));
        if file.is_empty() || !Path::new(file).components().all(plain) {
            bail!("its file `{file}` is not inside the data folder");
        }
        let one = |name: &String| {
            let mut parts = Path::new(name).components();
            parts.next().is_some_and(plain) && parts.next().is_none()
        };
        if let Some(member) = download.members.iter().find(|name| !one(name)) {
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
        format!(
            "to go on without network, get {} on another machine, see that its {}, and copy it to {}{}",
            self.url,
            self.sha256.describe(),
            self.file.display(),
            if self.members.is_empty() {
                String::new()
            } else {
                format!("; `fetch {}` then unpacks it", self.name)
            }
        )
    }

    fn folder(&self) -> &Path {
        self.file.parent().unwrap_or(Path::new("."))
    }

    /// The file's SHA-256 if size and checksum are right, else what is wrong.
    fn verify(&self, path: &Path) -> Result<Result<String, String>> {
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

/// Brings the item to its place. `force` replaces what is there and does not verify.
pub fn fetch(item: &Item, policy: &Policy, force: bool, watch: &dyn Fn(Event)) -> Result<Outcome> {
    let _lock = Lock::on(&item.file, || watch(Event::Waiting))?;
    if item.members.is_empty() {
        return Ok(match fetch_file(item, policy, force, watch)? {
            (_, false) => Outcome::Present,
            (sha256, true) => Outcome::Fetched(sha256),
        });
    }
    let folder = item.folder();
    match archive::inspect(folder, &item.members, &item.sha256)? {
        Unpacked::Whole => return Ok(Outcome::Present),
        // With the archive at hand its bytes decide.
        Unpacked::Foreign(name) if !force && !item.file.exists() => bail!(
            "{} is there, and not as it was unpacked from {}; --force fetches that and replaces the file",
            folder.join(name).display(),
            item.url
        ),
        _ => {}
    }
    let (sha256, fetched) = fetch_file(item, policy, force, watch)?;
    watch(Event::Unpacking);
    archive::unpack(
        &item.file,
        &sha256,
        folder,
        &item.members,
        item.members_size,
        force,
    )?;
    if fetched {
        // SHA256SUMS verifies the members from now on. An archive that somebody put here stays.
        disk::remove(&item.file)?;
    }
    Ok(Outcome::Unpacked)
}

/// Brings the file itself to its place: its SHA-256, and whether it was not there before.
fn fetch_file(
    item: &Item,
    policy: &Policy,
    force: bool,
    watch: &dyn Fn(Event),
) -> Result<(String, bool)> {
    if item.file.exists() {
        match item.verify(&item.file)? {
            Ok(sha256) => return Ok((sha256, false)),
            Err(_) if force => {}
            Err(problem) => bail!(
                "{} is there, but {problem}; --force fetches it again and replaces it",
                item.file.display()
            ),
        }
    }
    let part = Part::of(&item.file);
    let mut excused = false;
    loop {
        let resumed = transfer::download(&item.url, item.size, &part, policy, watch)
            .map_err(|error| advise(item, error))?;
        match item.verify(part.path())? {
            Ok(sha256) => {
                part.publish(&item.file)?;
                return Ok((sha256, true));
            }
            Err(problem) => {
                part.discard()?;
                // Bytes of two versions may have met in a resumed part; a part from one answer has no such excuse.
                if !resumed || excused {
                    bail!("what {} gives {problem}; it was removed", item.url);
                }
                excused = true;
                watch(Event::StartingOver);
            }
        }
    }
}

/// Adds what to do about it.
fn advise(item: &Item, error: anyhow::Error) -> anyhow::Error {
    use transfer::Error as E;
    match error.downcast_ref::<E>() {
        Some(E::Unreachable { .. } | E::GaveUp { .. } | E::Refused { .. }) => {
            let part = Part::of(&item.file);
            let kept = if part.len_from(&item.url) > 0 {
                "; what arrived is kept, the same command goes on from there"
            } else {
                ""
            };
            anyhow!("{error}{kept}; {}", item.by_hand())
        }
        _ => error,
    }
}
