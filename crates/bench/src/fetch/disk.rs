//! Files that are whole or not there: the `.part` file of a download, the lock beside it, checksums.
//!
//! ```text
//! FILE               the download, only ever whole and verified
//! FILE.part          what has arrived so far
//! FILE.part.source   where it came from: the URL, and the server's ETag on a second line where it gave one
//! FILE.lock          held by the process that works on FILE; the system frees it when that process dies
//! ```

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use results::{FileLock, Wait};
use sha2::{Digest, Sha256};

/// SHA-256 as published: all 64 hex digits, or at least the first 8 where no more is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checksum(String);

impl Checksum {
    /// Takes 8 to 64 hex digits, in either case.
    pub fn parse(digits: &str) -> Result<Self> {
        if !(8..=64).contains(&digits.len()) || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            bail!("sha256 `{digits}`: 8 to 64 hex digits are wanted");
        }
        Ok(Self(digits.to_ascii_lowercase()))
    }

    /// Whether `hex`, all 64 digits in lower case, begins with the published digits.
    pub fn matches(&self, hex: &str) -> bool {
        hex.starts_with(&self.0)
    }

    /// The published digits and whether they are all: `sha256 is 12...` or `sha256 begins with 12...`.
    pub fn describe(&self) -> String {
        let verb = if self.0.len() == 64 {
            "is"
        } else {
            "begins with"
        };
        format!("sha256 {verb} {}", self.0)
    }

    /// The published digits.
    pub fn digits(&self) -> &str {
        &self.0
    }
}

/// SHA-256 of a file, 64 hex digits.
pub fn sha256(path: &Path) -> Result<String> {
    let failed = || format!("cannot read {}", path.display());
    let mut file = File::open(path).with_context(failed)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer).with_context(failed)? {
            0 => return Ok(hex(hasher)),
            n => hasher.update(&buffer[..n]),
        }
    }
}

/// The digest in hex.
pub fn hex(hasher: Sha256) -> String {
    hasher
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// `path` with `suffix` after its file name.
pub fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// What has arrived of a file.
#[derive(Clone, Debug)]
pub struct Part {
    path: PathBuf,
    source: PathBuf,
}

impl Part {
    /// The part of `file`; touches nothing.
    pub fn of(file: &Path) -> Self {
        let path = beside(file, ".part");
        Self {
            source: beside(&path, ".source"),
            path,
        }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes so far; 0 where there is none, or where it was begun from another URL.
    pub fn len_from(&self, url: &str) -> u64 {
        if self.remembered().is_some_and(|(from, _)| from != url) {
            return 0;
        }
        self.path.metadata().map_or(0, |m| m.len())
    }

    /// The ETag under which the server gave the bytes so far.
    pub fn etag(&self) -> Option<String> {
        self.remembered()?.1
    }

    fn remembered(&self) -> Option<(String, Option<String>)> {
        let text = std::fs::read_to_string(&self.source).ok()?;
        let mut lines = text.lines().map(str::to_owned);
        Some((lines.next().unwrap_or_default(), lines.next()))
    }

    /// Empties it and notes where the bytes to come are from.
    pub fn start(&self, url: &str, etag: Option<&str>) -> io::Result<File> {
        // In this order, so that a kill between the two never leaves old bytes under a new source.
        let file = File::create(&self.path)?;
        std::fs::write(&self.source, format!("{url}\n{}", etag.unwrap_or_default()))?;
        Ok(file)
    }

    /// Opens it for the bytes that follow.
    pub fn append(&self) -> io::Result<File> {
        OpenOptions::new().append(true).open(&self.path)
    }

    /// Removes it.
    pub fn discard(&self) -> Result<()> {
        for path in [&self.path, &self.source] {
            remove(path)?;
        }
        Ok(())
    }

    /// Gives it its final name, once its bytes are on the disk.
    pub fn publish(&self, file: &Path) -> Result<()> {
        let flush = || File::open(&self.path)?.sync_all();
        flush().with_context(|| format!("cannot write {}", self.path.display()))?;
        rename(&self.path, file)?;
        remove(&self.source)
    }
}

/// Removes a file that may not be there.
pub fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            Err(e).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Renames within a folder, and makes the new name last through a power cut.
pub fn rename(from: &Path, to: &Path) -> Result<()> {
    std::fs::rename(from, to)
        .with_context(|| format!("cannot rename {} to {}", from.display(), to.display()))?;
    if cfg!(unix)
        && let Some(folder) = to.parent()
    {
        // A folder that cannot be flushed (some network file systems) has the new name all the same.
        let _ = File::open(folder).and_then(|folder| folder.sync_all());
    }
    Ok(())
}

/// The right to work on `file`, kept until dropped. Waits until no other process has it; `waiting` is called if one does.
pub fn lock(file: &Path, waiting: impl FnOnce()) -> Result<FileLock> {
    let path = beside(file, ".lock");
    if let Some(lock) = FileLock::acquire(&path, Wait::No)? {
        return Ok(lock);
    }
    waiting();
    Ok(FileLock::wait(&path)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_is_8_to_64_hex_digits_and_matches_what_begins_with_them() {
        let whole = "12fca82f0bebc4135bf1f32f6e3710e61d5108578464b84fd6d7f5c1b04036c8";
        for digits in ["12fca82f", "12FCA82F0BEB", whole] {
            assert!(Checksum::parse(digits).unwrap().matches(whole), "{digits}");
        }
        assert!(!Checksum::parse("12fca820").unwrap().matches(whole));
        for wrong in ["", "12fca82", "12fca82g", &format!("{whole}0")] {
            assert!(Checksum::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_part_begun_from_another_address_counts_for_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let part = Part::of(&folder.path().join("net.pth"));
        assert_eq!(part.len_from("http://a/"), 0);
        part.start("http://a/", Some("\"1\"")).unwrap();
        std::fs::write(part.path(), b"1234").unwrap();
        assert_eq!(part.len_from("http://a/"), 4);
        assert_eq!(part.etag().as_deref(), Some("\"1\""));
        assert_eq!(part.len_from("http://b/"), 0);
    }

    #[test]
    fn one_lock_at_a_time_and_no_trace_of_it_afterwards() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("net.pth");
        let inside = std::sync::atomic::AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..20 {
                        let _lock = lock(&file, || ()).unwrap();
                        assert_eq!(inside.fetch_add(1, std::sync::atomic::Ordering::SeqCst), 0);
                        std::thread::yield_now();
                        inside.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                    }
                });
            }
        });
        #[cfg(unix)]
        assert_eq!(folder.path().read_dir().unwrap().count(), 0);
    }
}
