//! `~` in front of a path. A shell leaves it alone behind `=` (`--set model.weights=~/net.pth`, `--data=~/images`), and in an
//! experiment's file there is no shell.

use std::ffi::{OsStr, OsString};
use std::path::{Component, Path, PathBuf};

use anyhow::{Result, bail};

/// `path` with a leading `~` as the home folder (`HOME`).
///
/// # Errors
/// Another person's `~name`; no `HOME`. A folder that is called so is written `./~name`.
pub fn expand(path: &Path) -> Result<PathBuf> {
    beneath(std::env::var_os("HOME"), path)
}

fn beneath(home: Option<OsString>, path: &Path) -> Result<PathBuf> {
    let mut parts = path.components();
    let Some(Component::Normal(first)) = parts.next() else {
        return Ok(path.to_owned());
    };
    if first != OsStr::new("~") {
        if first.as_encoded_bytes().starts_with(b"~") {
            bail!(
                "{}: only ~/ is known here; write the folder out, or ./ in front of a name that begins with ~",
                path.display()
            );
        }
        return Ok(path.to_owned());
    }
    match home.filter(|home| !home.is_empty()) {
        Some(home) => Ok(Path::new(&home).join(parts.as_path())),
        None => bail!("{}: HOME is not set, so there is no ~", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leading_tilde_is_the_home_folder_and_no_other_is() {
        let expanded = |path: &str| beneath(Some("/home/me".into()), Path::new(path));
        for (path, expected) in [
            ("~/net.pth", "/home/me/net.pth"),
            ("~", "/home/me"),
            ("~/a/../b", "/home/me/a/../b"),
            ("/data/~/x", "/data/~/x"),
            ("./~", "./~"),
            ("synthetic", "synthetic"),
            ("back~up", "back~up"),
            ("", ""),
        ] {
            assert_eq!(expanded(path).unwrap(), Path::new(expected), "{path}");
        }
        let other = expanded("~you/net.pth").unwrap_err().to_string();
        assert!(other.starts_with("~you/net.pth: "), "{other}");
        let none = beneath(None, Path::new("~/net.pth")).unwrap_err();
        assert_eq!(
            none.to_string(),
            "~/net.pth: HOME is not set, so there is no ~"
        );
    }
}
