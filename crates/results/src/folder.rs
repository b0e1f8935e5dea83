//! Folders that appear whole: filled under a name that starts with a dot, synced, renamed, and the folder above synced too.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::error::Error;

/// Ending of a folder or a file that is being filled.
pub(crate) const TEMPORARY: &str = ".tmp";

/// Number of the next such name.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// What `make` makes under a name that nobody else has, `.<name>.<process>-<n>.tmp`, and where.
///
/// # Errors
/// Those of `make`, but that something is there already.
pub(crate) fn temporary<T>(
    parent: &Path,
    name: &OsStr,
    make: impl Fn(&Path) -> io::Result<T>,
) -> Result<(PathBuf, T), (PathBuf, io::Error)> {
    loop {
        // Never the same again in this process: a name that somebody cleared away must not be made by another while its first owner fills it.
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let mut own = OsString::from(".");
        own.push(name);
        own.push(format!(".{}-{n}{TEMPORARY}", std::process::id()));
        let path = parent.join(own);
        match make(&path) {
            Ok(made) => return Ok((path, made)),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err((path, e)),
        }
    }
}

/// A new empty `.<name>.<process>-<n>.tmp`.
pub(crate) fn new_folder(parent: &Path, name: &str) -> Result<PathBuf, Error> {
    match temporary(parent, OsStr::new(name), |path| fs::create_dir(path)) {
        Ok((path, ())) => Ok(path),
        Err((path, error)) => Err(Error::io("create", &path)(error)),
    }
}

/// Makes a rename in this folder last.
pub(crate) fn sync_folder(folder: &Path) -> Result<(), Error> {
    sync(folder).map_err(Error::io("sync", folder))
}

/// The same. Other systems than Unix have no such call, and need none.
pub(crate) fn sync(folder: &Path) -> io::Result<()> {
    match cfg!(unix) {
        true => File::open(folder)?.sync_all(),
        false => Ok(()),
    }
}
