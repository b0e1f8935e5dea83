//! What `fetch` does with a name: download, verify, put in place, unpack.
//!
//! The rule: whatever has its final name is whole and has the registry's SHA-256, at every moment, whatever ends the
//! process and however many of them run. Bytes arrive in `FILE.part`; only a part with the right size and checksum is
//! flushed and renamed. A file that is there and verifies is left alone; one that does not is never replaced unasked.
//!
//! `item` reads the registries, `transfer` speaks HTTP, `disk` keeps parts and locks, `archive` unpacks.

pub mod archive;
pub mod disk;
mod error;
pub mod item;
mod range;
pub mod transfer;

use std::time::Duration;

use anyhow::{Result, anyhow, bail};

use archive::Unpacked;
use disk::{Part, lock};
pub use item::{Item, State};
use transfer::Policy;

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

/// Brings the item to its place. `force` replaces what is there and does not verify.
pub fn fetch(item: &Item, policy: &Policy, force: bool, watch: &dyn Fn(Event)) -> Result<Outcome> {
    if item.is_whole()? {
        return Ok(Outcome::Present);
    }
    let _lock = lock(&item.file, || watch(Event::Waiting))?;
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
    let kept = if Part::of(&item.file).len_from(&item.url) > 0 {
        "; what arrived is kept, the same command goes on from there"
    } else {
        ""
    };
    match error.downcast_ref::<E>() {
        Some(E::Unreachable { .. } | E::GaveUp { .. }) => {
            anyhow!("{error}{kept}; {}", item.by_hand())
        }
        Some(E::Refused { .. } | E::Size { .. }) => anyhow!(
            "{error}; a copy from elsewhere at {} serves as well, if its {}",
            item.file.display(),
            item.sha256.describe()
        ),
        _ => error,
    }
}
