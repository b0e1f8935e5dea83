//! ONNX Runtime in a Python process ([`crate::python`]), and the folder that both sides exchange numbers in.

use std::path::Path;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::python::{Hold, Python, Script, expect};

const SCRIPT: Script = Script {
    text: include_str!("onnxruntime.py"),
    packages: "onnx and onnxruntime",
};

/// A mode of optimization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mode {
    /// The script's name for it.
    pub name: String,
    /// Nodes that compute in integers: of the file, and where codes are results, too.
    pub integers: [usize; 2],
}

impl Mode {
    pub fn in_words(&self) -> String {
        match self.name.as_str() {
            "all" => "all optimizations".to_owned(),
            "precise" => "all, x64quantprecision = 1".to_owned(),
            "none" => "no optimizations".to_owned(),
            other => other.to_owned(),
        }
    }
}

/// A process that has read the file.
pub(super) struct Session {
    process: Python,
    folder: TempDir,
    pub modes: Vec<Mode>,
    /// The values that codes can be had of.
    pub values: Vec<String>,
}

impl Session {
    /// Starts `python` and has it read `file`.
    pub fn start(python: &Path, threads: usize, file: &[u8]) -> Result<Self> {
        let folder = TempDir::new().context("no folder for temporary files")?;
        std::fs::write(folder.path().join("net.onnx"), file).context("a temporary file")?;
        let mut process = Python::start(python, SCRIPT, threads, &Hold::default())?;
        let answer = process.ask(&format!("load {}", folder.path().display()))?;
        let (modes, values) = ready(&answer)?;
        Ok(Self {
            process,
            folder,
            modes,
            values,
        })
    }

    pub fn versions(&self) -> &str {
        &self.process.versions
    }

    /// Runs images `[n, c, h, w]`; their classes in each mode.
    pub fn run(&mut self, images: &[f32], shape: [usize; 4]) -> Result<Vec<Vec<u16>>> {
        let bytes: Vec<u8> = images.iter().flat_map(|v| v.to_le_bytes()).collect();
        std::fs::write(self.folder.path().join("images"), bytes).context("a temporary file")?;
        let n = shape[0];
        let shape = shape.map(|extent| extent.to_string()).join(" ");
        let answer = self.process.ask(&format!("run {shape}"))?;
        let mut words = expect("top1", &answer)?.split_whitespace();
        let mut found = Vec::new();
        for mode in &self.modes {
            let named = words.next() == Some(&mode.name);
            let classes = words.by_ref().take(n).map(str::parse);
            match classes.collect::<Result<Vec<u16>, _>>() {
                Ok(classes) if named && classes.len() == n => found.push(classes),
                _ => bail!("--peers: no class for each of {n} images"),
            }
        }
        Ok(found)
    }

    /// The codes of a value of the images that ran last, `[n, c, h, w]`, counted from their zero point.
    pub fn codes(&self, mode: usize, value: usize, n: usize) -> Result<Vec<i32>> {
        let name = format!("{}.{value}", self.modes[mode].name);
        let bytes = std::fs::read(self.folder.path().join(name)).context("--peers: no codes")?;
        let (words, rest) = bytes.as_chunks::<4>();
        if words.len() != n || !rest.is_empty() {
            bail!(
                "--peers: {} has {} codes in ONNX Runtime and {n} here",
                self.values[value],
                words.len()
            );
        }
        Ok(words.iter().map(|word| i32::from_le_bytes(*word)).collect())
    }
}

/// What `ready MODE INTEGERS WATCHED ... values NAME ...` says.
fn ready(answer: &str) -> Result<(Vec<Mode>, Vec<String>)> {
    let mut words = expect("ready", answer)?.split_whitespace();
    let mut modes = Vec::new();
    while let Some(name) = words.next().filter(|word| *word != "values") {
        let mut count = || words.next().and_then(|word| word.parse().ok());
        let (Some(plain), Some(watched)) = (count(), count()) else {
            bail!("--peers: a mode without its numbers in `{answer}`");
        };
        modes.push(Mode {
            name: name.to_owned(),
            integers: [plain, watched],
        });
    }
    Ok((modes, words.map(str::to_owned).collect()))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn modes_and_values_are_read_and_what_is_neither_is_one_line() {
        let (modes, values) = ready("ready all 30 29 none 0 0 values conv1 fc").unwrap();
        let names: Vec<String> = modes.iter().map(Mode::in_words).collect();
        assert_eq!(names, ["all optimizations", "no optimizations"]);
        assert_eq!(modes[0].integers, [30, 29]);
        assert_eq!(values, ["conv1", "fc"]);
        for wrong in ["ready all 30", "hello", "ready all many 1"] {
            let error = ready(wrong).unwrap_err().to_string();
            assert!(
                error.starts_with("--peers: ") && !error.contains('\n'),
                "{error}"
            );
        }
    }

    #[test]
    fn a_python_that_is_none_is_named_with_what_it_needs() {
        let error = Session::start(Path::new("/no/such/python"), 1, b"")
            .err()
            .unwrap();
        let line = format!("{error:#}");
        assert!(
            line.contains("/no/such/python") && line.contains("onnxruntime"),
            "{line}"
        );
        let error = Session::start(Path::new("/bin/echo"), 1, b"")
            .err()
            .unwrap();
        assert!(
            error.to_string().contains("expected `hello ...`"),
            "{error}"
        );
    }
}
