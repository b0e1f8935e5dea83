//! Files that are there whole or not at all.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use crate::folder::{TEMPORARY, sync, temporary};

/// Writes `bytes` to `path`: beside it as `.NAME.<process>-<n>.tmp`, flushed to the disk and renamed; then the folder is flushed, too.
/// What was at `path` before is there until the new file is whole. A process that is killed meanwhile leaves the temporary file, which is
/// in nobody's way.
///
/// # Errors
/// The folder cannot be written, or is full; then nothing is left there.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = folder_of(path);
    let name = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
    let made = temporary(folder, name, |path| File::create_new(path));
    let (temporary, mut file) = made.map_err(|(_, error)| error)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    drop(file);
    written
        .and_then(|()| fs::rename(&temporary, path))
        .inspect_err(|_| drop(fs::remove_file(&temporary)))?;
    sync(folder)
}

/// Removes what processes that were killed in [`write_whole`] have left of `path`. Nobody may be writing it meanwhile.
///
/// # Errors
/// The folder cannot be read, or the file not removed.
pub fn remove_unfinished(path: &Path) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let start = format!(".{name}.");
    for entry in fs::read_dir(folder_of(path))? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(&start) && name.ends_with(TEMPORARY) && entry.path().is_file() {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn folder_of(path: &Path) -> &Path {
    let folder = path.parent();
    let named = folder.filter(|folder| !folder.as_os_str().is_empty());
    named.unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_a_failure_leaves_what_was_there_and_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let names = || -> Vec<_> {
            let entries = fs::read_dir(folder.path()).unwrap();
            entries.map(|entry| entry.unwrap().file_name()).collect()
        };
        let path = folder.path().join("net.onnx");
        write_whole(&path, b"first").unwrap();
        write_whole(&path, b"second").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
        assert_eq!(names(), ["net.onnx"]);
        // A folder in its place cannot be renamed over.
        let taken = folder.path().join("taken");
        fs::create_dir(&taken).unwrap();
        fs::write(taken.join("kept"), b"").unwrap();
        assert!(write_whole(&taken, b"third").is_err());
        assert!(taken.join("kept").is_file());
        assert_eq!(names().len(), 2);
    }

    #[test]
    fn what_a_killed_process_left_is_in_nobodys_way_and_can_be_removed() {
        let folder = tempfile::tempdir().unwrap();
        let names = || fs::read_dir(folder.path()).unwrap().count();
        let path = folder.path().join("net.onnx");
        let left = |name: String| fs::write(folder.path().join(name), b"torn").unwrap();
        left(format!(".net.onnx.{}-0.tmp", std::process::id()));
        left(".net.onnx.1-7.tmp".to_owned());
        left(".other.onnx.1-7.tmp".to_owned());
        write_whole(&path, b"whole").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"whole");
        assert_eq!(names(), 4);
        remove_unfinished(&path).unwrap();
        assert_eq!(names(), 2);
        assert!(folder.path().join(".other.onnx.1-7.tmp").is_file());
    }

    #[test]
    fn a_path_without_a_name_is_an_error() {
        assert!(write_whole(Path::new("/"), b"").is_err());
    }
}
