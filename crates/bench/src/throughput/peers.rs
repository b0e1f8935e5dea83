//! A Python process that times what one would use instead, on request.
//!
//! The script is part of this program; it speaks the line protocol that `peers.py` describes at its top. It waits while
//! we measure, and we wait while it does. Everything that goes wrong there comes back as one line.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};

use super::model::Model;
use super::subject::peer_batch;

const SCRIPT: &str = include_str!("peers.py");

/// A hold on the process, for whoever has to end it: a handler of Ctrl-C, or the end of the measurement.
#[derive(Clone, Default)]
pub struct Hold(Arc<Mutex<Held>>);

#[derive(Default)]
struct Held {
    child: Option<Child>,
    // Set by an end that may come before the start.
    over: bool,
}

impl Hold {
    /// Ends the process, if there is one, and lets none start. What it ended with, or was ended with.
    pub fn stop(&self) -> Option<String> {
        let mut held = self.0.lock().ok()?;
        held.over = true;
        let mut child = held.child.take()?;
        // It fails where the process has ended already.
        let _ = child.kill();
        child.wait().ok().map(|status| status.to_string())
    }

    /// Starts the process. Nobody can come between its start and the hold on it.
    fn start(&self, command: &mut Command) -> std::io::Result<Pipes> {
        let stopped = || std::io::Error::other("it was stopped before it started");
        let mut held = self.0.lock().map_err(|_| stopped())?;
        if held.over {
            return Err(stopped());
        }
        let child = held.child.insert(command.spawn()?);
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        match pipes {
            (Some(requests), Some(answers), Some(complaints)) => {
                Ok((requests, answers, complaints))
            }
            _ => Err(std::io::Error::other("it has no pipes")),
        }
    }
}

type Pipes = (ChildStdin, ChildStdout, ChildStderr);

/// The process, ready for requests.
pub struct Peers {
    hold: Hold,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
    complaints: Option<JoinHandle<String>>,
    /// The peers' versions, in words.
    pub versions: String,
}

impl Peers {
    /// Starts `python` with the script; the peers will use `threads` threads. `hold` gets the process.
    ///
    /// # Errors
    /// If `python` cannot be started or lacks a package.
    pub fn start(python: &Path, threads: usize, hold: &Hold) -> Result<Self> {
        let mut command = Command::new(python);
        // A Ctrl-C in the terminal reaches us alone: we end the process, and do not take its death for a fault.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        command
            .arg("-c")
            .arg(SCRIPT)
            .arg(threads.to_string())
            .env("OMP_NUM_THREADS", threads.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let (requests, answers, complaints) = hold.start(&mut command).with_context(|| {
            format!(
                "--peers: cannot start `{}` (a Python with onnx and onnxruntime, better torch and torchvision too)",
                python.display()
            )
        })?;
        let mut peers = Self {
            hold: hold.clone(),
            requests,
            answers: BufReader::new(answers),
            complaints: Some(std::thread::spawn(move || last_line(complaints))),
            versions: String::new(),
        };
        let hello = peers.answer()?;
        peers.versions = peers.expect("hello", &hello)?.to_owned();
        Ok(peers)
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
        let ready = self.ask(&request)?;
        let ready = self.expect("ready", &ready)?;
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
        let answer = self.ask(&format!("time {name} {}", time.as_secs_f64()))?;
        match answer.parse() {
            Ok(rate) if f64::is_finite(rate) && rate > 0.0 => Ok(rate),
            _ => bail!("--peers: {name} answered `{answer}`, which is no speed"),
        }
    }

    fn ask(&mut self, request: &str) -> Result<String> {
        if writeln!(self.requests, "{request}").is_err() {
            return Err(self.ended());
        }
        self.answer()
    }

    fn answer(&mut self) -> Result<String> {
        let mut line = String::new();
        match self.answers.read_line(&mut line) {
            Ok(0) | Err(_) => return Err(self.ended()),
            Ok(_) => {}
        }
        let line = line.trim();
        match line.strip_prefix("error ") {
            Some(problem) => bail!("--peers: {problem}"),
            None => Ok(line.to_owned()),
        }
    }

    /// What follows `word` in an answer.
    fn expect<'a>(&self, word: &str, answer: &'a str) -> Result<&'a str> {
        let rest = answer.strip_prefix(word).map(str::trim);
        rest.ok_or_else(|| anyhow!("--peers: expected `{word} ...`, found `{answer}`"))
    }

    /// The error of a process that is no more, with the last thing it said.
    fn ended(&mut self) -> anyhow::Error {
        let status = self.hold.stop().unwrap_or_else(|| "stopped".to_owned());
        let said = self.complaints.take().and_then(|thread| thread.join().ok());
        let said = said.filter(|said| !said.is_empty());
        let said = said.map_or_else(String::new, |said| format!(": {said}"));
        anyhow!("--peers: the process ended ({status}){said}")
    }
}

/// A path as a request takes it.
fn one_line(path: &Path) -> Result<&str> {
    let text = path.to_str().filter(|path| !path.contains('\n'));
    text.ok_or_else(|| anyhow!("--peers: cannot name the file {path:?}: give it another name"))
}

impl Drop for Peers {
    fn drop(&mut self) {
        self.hold.stop();
    }
}

/// The last line with something in it, read to the end so that the process never waits for its reader.
fn last_line(stderr: ChildStderr) -> String {
    let mut last = String::new();
    for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line);
        if !line.trim().is_empty() {
            last = line.trim().to_owned();
        }
    }
    last
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
        resnet::save_safetensors(network.tensors(), &file, &Default::default()).unwrap();
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
