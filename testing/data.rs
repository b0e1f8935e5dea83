//! Where the tests of all crates find what the repository does not hold: public networks, images and golden files.
//!
//! `QUANTLAB_DATA` names the data folder; a relative one is meant from the repository's root, whatever folder a test runs
//! in. A test that finds nothing says so and is skipped; under `QUANTLAB_REQUIRE_DATA=1` it fails instead, so that a
//! green run means that everything was compared.
//!
//! Every crate includes this file by `#[path]`: a crate of its own would be an arrow in the map of imports.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// The data folder, if it is there and holds all of `needed` (relative to it). Otherwise it says on stderr what is missing.
///
/// # Panics
/// Something is missing under `QUANTLAB_REQUIRE_DATA=1`.
pub fn data(needed: &[&str]) -> Option<PathBuf> {
    let [folder, required] = ["QUANTLAB_DATA", "QUANTLAB_REQUIRE_DATA"].map(std::env::var_os);
    look(folder.as_deref(), required.as_deref(), needed).unwrap_or_else(|missing| {
        panic!("{missing}; QUANTLAB_REQUIRE_DATA is set, so it must be there")
    })
}

/// As [`data`], with the two variables as they are set; an error where data is required.
///
/// # Errors
/// What is missing.
pub fn look(
    folder: Option<&OsStr>,
    required: Option<&OsStr>,
    needed: &[&str],
) -> Result<Option<PathBuf>, String> {
    let found = match folder.filter(|folder| !folder.is_empty()) {
        None => Err("QUANTLAB_DATA is not set".to_owned()),
        Some(folder) => {
            let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
            let folder = root.join(folder);
            let missing = needed.iter().find(|part| !folder.join(part).exists());
            match missing {
                None => Ok(folder),
                Some(part) => Err(format!("{} has no {part}", folder.display())),
            }
        }
    };
    let required = required.is_some_and(|word| !word.is_empty() && word != "0");
    match found {
        Err(missing) if required => Err(missing),
        Err(missing) => {
            eprintln!("skipped: {missing}");
            Ok(None)
        }
        Ok(folder) => Ok(Some(folder)),
    }
}
