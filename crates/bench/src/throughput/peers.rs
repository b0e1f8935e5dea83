//! What one would use instead, timed on request in a Python process ([`crate::python`]) that speaks the protocol which `peers.py` describes
//! at its top.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};

use super::model::Model;
use super::subject::peer_batch;
use crate::python::{Hold, Python, Script, expect};

const SCRIPT: Script = Script {
    text: include_str!("peers.py"),
    packages: "onnx and onnxruntime, better torch and torchvision too",
};

/// The process, ready for requests.
pub struct Peers {
    process: Python,
    /// The peers' versions, in words.
    pub versions: String,
}

impl Peers {
    /// Starts `python` with the script; the peers will use `threads` threads. `hold` gets the process.
    ///
    /// # Errors
    /// If `python` cannot be started or lacks a package.
    pub fn start(python: &Path, threads: usize, hold: &Hold) -> Result<Self> {
        let process = Python::start(python, SCRIPT, threads, hold)?;
        Ok(Self {
            versions: process.versions.clone(),
            process,
        })
    }

    /// Builds `model` for every peer that can have it: how many images they take at once, and their names. One that ends in
    /// `-int8` computes with integers.
    ///
    /// # Errors
    /// If the process fails at it or has ended; if the model cannot be given to it.
    pub fn load(&mut self, model: &Model) -> Result<(usize, Vec<String>)> {
        let batch = peer_batch(model.input);
        // Lives until the peers have read it.
        let file = model.onnx().context("--peers")?;
        let request = match &file {
            None => format!("load {model} {} {batch}", model.input.height),
            Some(file) => format!("load_file {batch} {}", one_line(&file.path)?),
        };
        let ready = self.process.ask(&request)?;
        let ready = expect("ready", &ready)?;
        let mut words = ready.split_whitespace();
        let batch = words.next().and_then(|batch| batch.parse().ok());
        let batch = batch.ok_or_else(|| anyhow!("--peers: `ready {ready}` says no batch"))?;
        Ok((batch, words.map(str::to_owned).collect()))
    }

    /// Images per second of the peer called `name`, from runs that last about `time`.
    ///
    /// # Errors
    /// If the process fails at it or has ended.
    pub fn time(&mut self, name: &str, time: Duration) -> Result<f64> {
        let request = format!("time {name} {}", time.as_secs_f64());
        let answer = self.process.ask(&request)?;
        match answer.parse() {
            Ok(rate) if f64::is_finite(rate) && rate > 0.0 => Ok(rate),
            _ => bail!("--peers: {name} answered `{answer}`, which is no speed"),
        }
    }
}

/// A path as a request takes it.
fn one_line(path: &Path) -> Result<&str> {
    let text = path.to_str().filter(|path| !path.contains('\n'));
    text.ok_or_else(|| anyhow!("--peers: cannot name the file {path:?}: give it another name"))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    /// A shell script that takes Python's place.
    fn fake(name: &str) -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/throughput/{name}.sh"))
    }

    fn model() -> Model {
        Model::parse("cifar-resnet20").unwrap()
    }

    fn start(name: &str) -> Result<Peers> {
        Peers::start(&fake(name), 3, &Hold::default())
    }

    #[test]
    fn a_peer_is_asked_for_what_is_wanted_and_its_answer_is_the_rate() {
        let mut peers = start("peer").unwrap();
        assert_eq!(peers.versions, "fake 1.0 with 3 threads");
        let (batch, names) = peers.load(&model()).unwrap();
        assert_eq!(batch, 128);
        assert_eq!(names, ["pytorch", "onnxruntime-int8"]);
        let rate = peers.time("pytorch", Duration::from_millis(250)).unwrap();
        assert_eq!(rate, 50.0);
        let error = peers
            .time("nobody", Duration::ZERO)
            .unwrap_err()
            .to_string();
        assert_eq!(error, "--peers: KeyError: 'nobody'");
    }

    #[test]
    fn a_file_is_named_to_the_peers_and_timed_by_those_that_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("my net.safetensors");
        let network = model().network().unwrap();
        std::fs::write(
            &file,
            resnet::to_safetensors(network.tensors(), &Default::default()).unwrap(),
        )
        .unwrap();
        let mut peers = start("peer").unwrap();
        let model = Model::parse(file.to_str().unwrap()).unwrap();
        let (batch, names) = peers.load(&model).unwrap();
        assert_eq!((batch, names), (1, vec!["onnxruntime".to_owned()]));
        assert!(one_line(Path::new("a\nb")).is_err());
    }

    #[test]
    fn a_process_that_dies_gives_its_status_and_its_last_words() {
        let mut peers = start("mortal_peer").unwrap();
        peers.load(&model()).unwrap();
        let error = peers
            .time("pytorch", Duration::ZERO)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("ended (") && error.ends_with(": out of memory"),
            "{error}"
        );
        let again = peers
            .time("pytorch", Duration::ZERO)
            .unwrap_err()
            .to_string();
        assert!(again.contains("ended"), "{again}");
    }

    #[test]
    fn no_python_no_package_and_no_protocol_are_one_line_each() {
        let error = |name: &Path| {
            let error = Peers::start(name, 1, &Hold::default()).err().unwrap();
            format!("{error:#}")
        };
        let missing = error(Path::new("/no/such/python"));
        assert!(
            missing.contains("/no/such/python") && missing.contains("onnxruntime"),
            "{missing}"
        );
        let bare = error(&fake("bare_peer"));
        assert!(
            bare.contains("No module named 'onnxruntime'") && bare.contains("pip install"),
            "{bare}"
        );
        let stranger = error(Path::new("/bin/echo"));
        assert!(stranger.contains("expected `hello ...`"), "{stranger}");
        assert!(!(missing + &bare + &stranger).contains('\n'));
    }

    #[test]
    fn the_process_ends_with_its_owner() {
        let hold = Hold::default();
        let peers = Peers::start(&fake("peer"), 1, &hold).unwrap();
        drop(peers);
        assert_eq!(hold.stop(), None);
        // What was stopped does not start again: a Ctrl-C may come before the start.
        assert!(Peers::start(&fake("peer"), 1, &hold).is_err());
    }
}
