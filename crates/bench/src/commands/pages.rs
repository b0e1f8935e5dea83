//! Pages that generated tables are put into, and whether they are up to date.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use report::Output;

/// A page that tables are put into.
pub(super) struct Page {
    pub path: PathBuf,
    pub text: String,
}

impl Page {
    pub fn has(&self, marker: &str) -> bool {
        self.text.contains(&format!("<!-- {marker}:"))
    }
}

/// The files, and the `.md` files of the folders, in the order of their names.
pub(super) fn read_pages(paths: &[PathBuf]) -> Result<Vec<Page>> {
    let cannot = |path: &Path| format!("cannot read {}", path.display());
    let mut pages = Vec::new();
    for path in paths {
        let mut files = vec![path.clone()];
        if path.is_dir() {
            let entries = fs::read_dir(path).with_context(|| cannot(path))?;
            files = entries
                .map(|entry| entry.map(|entry| entry.path()))
                .collect::<Result<_, _>>()
                .with_context(|| cannot(path))?;
            files.retain(|file| file.extension().is_some_and(|extension| extension == "md"));
            files.sort();
        }
        for path in files {
            let text = fs::read_to_string(&path).with_context(|| cannot(&path))?;
            pages.push(Page { path, text });
        }
    }
    Ok(pages)
}

/// Fails where a file is not as it should be; `command` makes them.
pub(super) fn check(files: &[Output], command: &str) -> Result<()> {
    let mut stale = Vec::new();
    for file in files {
        if file.is_stale()? {
            stale.push(file.path.display().to_string());
        }
    }
    if stale.is_empty() {
        println!(
            "{} files are up to date",
            files.iter().filter(|file| file.text.is_some()).count()
        );
        return Ok(());
    }
    bail!(
        "not up to date: {}; run `{command}` without --check",
        stale.join(", ")
    )
}
