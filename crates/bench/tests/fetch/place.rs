//! A data folder, and the `fetch` process in it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::server::Server;

use crate::program::quantlab;

/// A data folder whose registry knows one model, `net`, and one test set, `pictures`.
pub struct Place(TempDir);

impl Place {
    pub fn new() -> Self {
        let place = Self(TempDir::new().unwrap());
        std::fs::write(place.path("models.toml"), "").unwrap();
        std::fs::write(
            place.path("datasets.toml"),
            "[private]\nformat = 'image-folder'\npath = 'p'\nlicence = 'none'\nsource = 'ask the owner'\n",
        )
        .unwrap();
        place
    }

    /// The registry's `net`; `rest` is more lines of its download.
    pub fn with_net(url: &str, sha256: &str, rest: &str) -> Self {
        let place = Self::new();
        let text = format!(
            "[net]\narch = 'resnet18'\ndataset = 'imagenet'\nfile = 'weights/net.pth'\nlicence = 'MIT'\n\
             source = 'here'\n[net.download]\nurl = '{url}'\nsha256 = '{sha256}'\n{rest}\n"
        );
        std::fs::write(place.path("models.toml"), text).unwrap();
        place
    }

    /// `net` is what the server serves, by size and whole checksum.
    pub fn serving(server: &Server, body: &[u8]) -> Self {
        let rest = format!("size = {}", body.len());
        Self::with_net(&server.url("file"), &sha256(body), &rest)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = quantlab("fetch");
        command
            .args(arguments)
            .arg("--data")
            .arg(self.0.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
            command.env_remove(name).env_remove(name.to_lowercase());
        }
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    #[track_caller]
    pub fn succeeds(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// What it says on stderr, in one exit status 1.
    #[track_caller]
    pub fn fails(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    /// Names below a folder, sorted.
    pub fn names(&self, folder: &str) -> Vec<String> {
        let entries = self.path(folder).read_dir().unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Bytes that differ everywhere, so that a shifted or doubled piece is seen.
pub fn bytes(length: usize) -> Vec<u8> {
    (0..length as u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect()
}

pub fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

pub fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "waited in vain for {what}"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}
