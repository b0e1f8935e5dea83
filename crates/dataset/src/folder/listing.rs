//! Which files a folder of class folders holds, in the order of torchvision's `ImageFolder`.
//!
//! Classes are the folders directly under the root, sorted. Below each, `sorted(os.walk(class, followlinks=True))`:
//! folders sorted by their whole path, then files by name, all by code point. A file counts if its name ends, in any
//! case, in one of torchvision's `IMG_EXTENSIONS`; what is really in it is for the decoder to say.
//! Links are followed; a link to a folder that it lies in would never end and is passed over.
//!
//! Images directly under the root are in no class; they are listed apart, for whoever needs no labels.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use crate::Error;

/// torchvision's list. Formats that are not decoded here stay in it, so that such a file is reported, not overlooked.
const EXTENSIONS: [&str; 9] = [
    ".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp",
];

/// Folders below one class, each counted as often as links lead to it.
const MOST_FOLDERS: usize = 100_000;

/// An image file.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Index of its class folder in [`Listing::folders`]; `None` directly under the root.
    pub(crate) folder: Option<usize>,
    /// Path relative to the root, with `/` on every system.
    pub(crate) path: String,
    /// Length in bytes; 0 if the operating system does not say.
    pub(crate) size: u64,
    /// Last change, nanoseconds since 1970; 0 if the operating system does not say.
    pub(crate) modified: u128,
}

/// What was found.
#[derive(Debug)]
pub(crate) struct Listing {
    /// Names of the class folders, sorted.
    pub(crate) folders: Vec<String>,
    /// The images, sorted by class folder, folder and name.
    pub(crate) entries: Vec<Entry>,
    /// The images directly under the root, sorted by name.
    pub(crate) loose: Vec<Entry>,
    /// Files and folders whose names are no UTF-8 text (shown with replacement characters), and that reason.
    pub(crate) misnamed: Vec<(String, String)>,
}

/// Lists the images below `root`.
///
/// # Errors
/// [`Error::Io`] if a folder cannot be read.
pub(crate) fn list(root: &Path) -> Result<Listing, Error> {
    let mut listing = Listing {
        folders: Vec::new(),
        entries: Vec::new(),
        loose: Vec::new(),
        misnamed: Vec::new(),
    };
    let mut loose = Vec::new();
    for found in read(root, "", &mut listing.misnamed)? {
        if found.is_folder {
            listing.folders.push(found.name);
        } else if is_image(&found.name) {
            loose.push(found.name);
        }
    }
    loose.sort();
    let entry = |name| entry(root, None, name);
    listing.loose = loose.into_iter().map(entry).collect();
    listing.folders.sort();
    for folder in 0..listing.folders.len() {
        walk(root, folder, &mut listing)?;
    }
    Ok(listing)
}

/// A folder still to be read.
struct Pending {
    /// Relative to the root, with `/`.
    path: String,
    /// Where it and the folders that it was reached through really are.
    ancestry: Vec<PathBuf>,
}

fn walk(root: &Path, folder: usize, listing: &mut Listing) -> Result<(), Error> {
    let top = listing.folders[folder].clone();
    let real = |path: &str| fs::canonicalize(root.join(path)).map_err(Error::io(&root.join(path)));
    let mut pending = vec![Pending {
        ancestry: vec![real(&top)?],
        path: top,
    }];
    let mut folders = Vec::new();
    let mut met = 0;
    while let Some(Pending { path, ancestry }) = pending.pop() {
        // Links of which each leads to two others make twice as many paths with every step.
        met += 1;
        if met > MOST_FOLDERS {
            return Err(Error::TooManyFolders {
                folder: root.join(&listing.folders[folder]),
                most: MOST_FOLDERS,
            });
        }
        let mut files = Vec::new();
        for found in read(root, &path, &mut listing.misnamed)? {
            if !found.is_folder {
                if is_image(&found.name) {
                    files.push(found.name);
                }
                continue;
            }
            let path = format!("{path}/{}", found.name);
            let at = real(&path)?;
            if !ancestry.contains(&at) {
                let ancestry = ancestry.iter().cloned().chain([at]).collect();
                pending.push(Pending { path, ancestry });
            }
        }
        files.sort();
        folders.push((path, files));
    }
    folders.sort();
    for (parent, files) in folders {
        for name in files {
            let path = format!("{parent}/{name}");
            listing.entries.push(entry(root, Some(folder), path));
        }
    }
    Ok(())
}

fn is_image(name: &str) -> bool {
    let name = name.to_lowercase();
    EXTENSIONS.iter().any(|extension| name.ends_with(extension))
}

fn entry(root: &Path, folder: Option<usize>, path: String) -> Entry {
    // A file that vanished or a dangling link stays in the list: reading it will say what is wrong.
    let (size, modified) = match fs::metadata(root.join(&path)) {
        Ok(data) => {
            let since = data
                .modified()
                .ok()
                .and_then(|time| time.duration_since(UNIX_EPOCH).ok());
            (data.len(), since.map_or(0, |time| time.as_nanos()))
        }
        Err(_) => (0, 0),
    };
    Entry {
        folder,
        path,
        size,
        modified,
    }
}

struct Found {
    name: String,
    is_folder: bool,
}

/// One folder's content, unsorted; links count as what they point to.
fn read(
    root: &Path,
    path: &str,
    misnamed: &mut Vec<(String, String)>,
) -> Result<Vec<Found>, Error> {
    let folder = root.join(path);
    let mut found = Vec::new();
    for entry in fs::read_dir(&folder).map_err(Error::io(&folder))? {
        let entry = entry.map_err(Error::io(&folder))?;
        let is_folder = fs::metadata(entry.path()).is_ok_and(|data| data.is_dir());
        match entry.file_name().into_string() {
            Ok(name) => found.push(Found { name, is_folder }),
            Err(name) => {
                let name = name.to_string_lossy();
                let path = if path.is_empty() {
                    name.into_owned()
                } else {
                    format!("{path}/{name}")
                };
                misnamed.push((path, "its name is not UTF-8 text: rename it".into()));
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touch(root: &Path, files: &[&str]) {
        for file in files {
            let path = root.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, b"x").unwrap();
        }
    }

    fn paths(root: &Path) -> Vec<String> {
        list(root)
            .unwrap()
            .entries
            .into_iter()
            .map(|entry| entry.path)
            .collect()
    }

    #[test]
    fn files_come_in_the_order_of_imagefolder() {
        // As Python's sorted(os.walk(..)): "b/a" < "b/a-b" < "b/a/c" as whole strings; upper case before lower case.
        let root = tempfile::tempdir().unwrap();
        touch(
            root.path(),
            &[
                "b/x.png",
                "b/a/c/1.png",
                "b/a-b/1.png",
                "b/a/B.JPEG",
                "b/a/é.jpg",
                "b/a/10.png",
                "b/a/b.jpg",
                "b/a/1.png",
            ],
        );
        touch(root.path(), &["Z/1.png", "loose.png"]);
        let expected = [
            "Z/1.png",
            "b/x.png",
            "b/a/1.png",
            "b/a/10.png",
            "b/a/B.JPEG",
            "b/a/b.jpg",
            "b/a/é.jpg",
            "b/a-b/1.png",
            "b/a/c/1.png",
        ];
        assert_eq!(paths(root.path()), expected);
        let loose = list(root.path()).unwrap().loose;
        assert_eq!(loose.len(), 1);
        assert_eq!(
            (loose[0].path.as_str(), loose[0].folder),
            ("loose.png", None)
        );
    }

    #[test]
    fn extensions_count_in_any_case_and_only_those_of_torchvision() {
        let root = tempfile::tempdir().unwrap();
        touch(
            root.path(),
            &[
                "a/1.JpEg",
                "a/2.PNG",
                "a/3.webp",
                "a/4.txt",
                "a/5.jpg.bak",
                "a/6",
                "a/7.gif",
                "a/.jpg",
            ],
        );
        assert_eq!(
            paths(root.path()),
            ["a/.jpg", "a/1.JpEg", "a/2.PNG", "a/3.webp"]
        );
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_and_a_loop_ends() {
        let root = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        touch(root.path(), &["a/sub/1.png"]);
        touch(elsewhere.path(), &["2.png"]);
        std::os::unix::fs::symlink(elsewhere.path(), root.path().join("b")).unwrap();
        std::os::unix::fs::symlink("..", root.path().join("a/sub/up")).unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), root.path().join("a/twice")).unwrap();
        std::os::unix::fs::symlink("nowhere", root.path().join("a/dangling.png")).unwrap();
        assert_eq!(
            paths(root.path()),
            ["a/dangling.png", "a/sub/1.png", "a/twice/2.png", "b/2.png"]
        );
    }

    #[cfg(unix)]
    #[test]
    fn links_that_double_the_paths_with_every_step_are_refused() {
        let root = tempfile::tempdir().unwrap();
        for step in 0..20 {
            let folder = root.path().join(format!("a/{step}"));
            fs::create_dir_all(&folder).unwrap();
            for name in ["x", "y"] {
                let next = root.path().join(format!("a/{}", step + 1));
                std::os::unix::fs::symlink(next, folder.join(name)).unwrap();
            }
        }
        fs::create_dir_all(root.path().join("a/20")).unwrap();
        let error = list(root.path()).unwrap_err().to_string();
        assert!(error.contains("more than 100000 folders"), "{error}");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn names_that_are_not_utf8_are_reported_and_the_rest_is_read() {
        use std::os::unix::ffi::OsStrExt;
        let root = tempfile::tempdir().unwrap();
        touch(root.path(), &["a/1.png"]);
        fs::write(
            root.path()
                .join("a")
                .join(std::ffi::OsStr::from_bytes(b"\xff.png")),
            b"x",
        )
        .unwrap();
        let listing = list(root.path()).unwrap();
        assert_eq!(listing.entries.len(), 1);
        assert_eq!(listing.misnamed.len(), 1);
        assert_eq!(listing.misnamed[0].0, "a/\u{fffd}.png");
    }
}
