//! Folders that appear whole: filled under a name that starts with a dot, synced, renamed, and the folder above synced too.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::error::Error;

/// Ending of a folder that is being filled.
pub(crate) const TEMPORARY: &str = ".tmp";

/// A new empty `.<name>.<process>-<n>.tmp`.
pub(crate) fn new_folder(parent: &Path, name: &str) -> Result<PathBuf, Error> {
    let mut n = 0u32;
    loop {
        let path = parent.join(format!(".{name}.{}-{n}{TEMPORARY}", std::process::id()));
        match fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => n += 1,
            Err(e) => return Err(Error::io("create", &path)(e)),
        }
    }
}

/// Makes a rename in this folder last. Other systems than Unix have no such call, and need none.
pub(crate) fn sync_folder(folder: &Path) -> Result<(), Error> {
    if cfg!(unix) {
        File::open(folder)
            .and_then(|f| f.sync_all())
            .map_err(Error::io("sync", folder))?;
    }
    Ok(())
}
