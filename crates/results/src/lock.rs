//! Locks between processes: one per run, so that several may share a results folder, and for whatever else has a file.
//!
//! A lock is the operating system's advisory lock on a file made for it (a run's is
//! `results/<experiment>/.locks/<run_id>.lock`): it goes with its process, even by `kill -9`. The file is removed by the holder before it lets go. A process that waited on the removed
//! file then holds a lock that nobody can see, so after every acquisition the file under the name is compared with the
//! file that was locked, and a difference means: try again.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::error::Error;

/// The right to work on something; dropped, or its process gone, another process may have it.
#[derive(Debug)]
#[must_use = "the lock is free again as soon as this is dropped"]
pub struct FileLock {
    file: File,
    path: PathBuf,
}

/// Name of the folder in an experiment's folder that holds its runs' locks.
pub(crate) const LOCKS: &str = ".locks";

/// Whether to wait for another holder.
#[derive(Clone, Copy, PartialEq)]
pub enum Wait {
    /// Until it lets go.
    Yes,
    /// Not at all.
    No,
}

impl FileLock {
    /// Locks `path`, creating it and its folder. `None` when another holds it and `wait` is [`Wait::No`].
    ///
    /// # Errors
    /// [`Error::Io`] where the file or its folder cannot be made or locked.
    pub fn acquire(path: &Path, wait: Wait) -> Result<Option<FileLock>, Error> {
        let folder = path.parent().unwrap_or(Path::new("."));
        loop {
            match fs::create_dir_all(folder) {
                Ok(()) => {}
                // It was there, and the last holder took it away while it was looked at.
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists && !folder.is_file() => continue,
                Err(e) => return Err(Error::io("create", folder)(e)),
            }
            let file = match File::options().create(true).append(true).open(path) {
                Ok(file) => file,
                // The last holder took the folder away between the two steps.
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(e) => return Err(Error::io("open the lock", path)(e)),
            };
            if wait == Wait::Yes {
                file.lock().map_err(Error::io("lock", path))?;
            } else {
                match file.try_lock() {
                    Ok(()) => {}
                    Err(TryLockError::WouldBlock) => return Ok(None),
                    Err(TryLockError::Error(e)) => return Err(Error::io("lock", path)(e)),
                }
            }
            if still_named(&file, path) {
                return Ok(Some(FileLock {
                    file,
                    path: path.to_path_buf(),
                }));
            }
        }
    }

    /// Locks `path` as soon as nobody else holds it, creating it and its folder.
    ///
    /// # Errors
    /// As [`FileLock::acquire`].
    pub fn wait(path: &Path) -> Result<FileLock, Error> {
        loop {
            if let Some(lock) = Self::acquire(path, Wait::Yes)? {
                return Ok(lock);
            }
        }
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        // Removed while held: whoever opens the name from now on gets another file. What fails here costs nothing but an
        // empty file, which the next holder takes over.
        if REMOVE
            && fs::remove_file(&self.path).is_ok()
            && let Some(folder) = self.path.parent()
            && folder.ends_with(LOCKS)
        {
            // A folder made for locks alone. Succeeds for the last of them, since it must be empty.
            let _ = fs::remove_dir(folder);
        }
        let _ = self.file.unlock();
    }
}

/// Whether lock files are removed: only where the comparison of [`still_named`] can be made.
const REMOVE: bool = cfg!(unix);

#[cfg(unix)]
fn still_named(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata(), fs::metadata(path)) {
        (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => false,
    }
}

#[cfg(not(unix))]
fn still_named(_: &File, _: &Path) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn a_second_holder_is_refused_until_the_first_lets_go() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".locks/a.lock");
        let first = FileLock::acquire(&path, Wait::No).unwrap();
        assert!(first.is_some());
        assert!(FileLock::acquire(&path, Wait::No).unwrap().is_none());
        drop(first);
        assert!(!REMOVE || !folder.path().join(".locks").exists());
        assert!(FileLock::acquire(&path, Wait::No).unwrap().is_some());
    }

    #[test]
    fn there_is_one_holder_at_a_time_though_the_file_comes_and_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".locks/a.lock");
        let (inside, entries) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let (path, inside, entries) = (&path, &inside, &entries);
                scope.spawn(move || {
                    for _ in 0..100 {
                        let wait = if thread % 2 == 0 { Wait::Yes } else { Wait::No };
                        let Some(lock) = FileLock::acquire(path, wait).unwrap() else {
                            continue;
                        };
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        entries.fetch_add(1, Ordering::SeqCst);
                        std::thread::yield_now();
                        assert_eq!(inside.fetch_sub(1, Ordering::SeqCst), 1);
                        drop(lock);
                    }
                });
            }
        });
        assert!(entries.load(Ordering::SeqCst) >= 400);
    }
}
