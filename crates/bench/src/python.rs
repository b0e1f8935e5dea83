//! A Python process that answers requests: each is a line, and so is its answer.
//!
//! The script is part of this program. It begins with `hello` and its versions, waits while we work, and we wait while it does.
//! Everything that goes wrong there comes back as one line.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use anyhow::{Context, Result, anyhow, bail};

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
        self.0.lock().ok()?.over = true;
        self.end()
    }

    /// Ends the process, if there is one; another may start. The lock is kept to the end: whoever asks at the same time, and then leaves the
    /// program, leaves no process behind that is dying still.
    fn end(&self) -> Option<String> {
        let mut held = self.0.lock().ok()?;
        let mut child = held.child.take()?;
        // It fails where the process has ended already.
        let _ = child.kill();
        let status = child.wait().ok().map(|status| status.to_string());
        drop(held);
        status
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

/// What stands in front of every script.
const ANSWERS: &str = include_str!("python/answers.py");

/// What a process runs.
#[derive(Clone, Copy, Debug)]
pub struct Script {
    /// The program.
    pub text: &'static str,
    /// The packages that it imports, for people.
    pub packages: &'static str,
}

/// The process, ready for requests.
pub struct Python {
    hold: Hold,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
    complaints: Option<JoinHandle<String>>,
    /// The versions of its packages, in words.
    pub versions: String,
}

impl Python {
    /// Starts `python` with `script`, which may use `threads` threads and gets their number. `hold` gets the process.
    ///
    /// # Errors
    /// If `python` cannot be started or lacks a package.
    pub fn start(python: &Path, script: Script, threads: usize, hold: &Hold) -> Result<Self> {
        let mut command = Command::new(python);
        // A Ctrl-C in the terminal reaches us alone: we end the process, and do not take its death for a fault.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        command
            .arg("-c")
            .arg(format!("{ANSWERS}{}", script.text))
            .arg(threads.to_string())
            .env("OMP_NUM_THREADS", threads.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let (requests, answers, complaints) = hold.start(&mut command).with_context(|| {
            format!(
                "--peers: cannot start `{}` (a Python with {})",
                python.display(),
                script.packages
            )
        })?;
        let mut process = Self {
            hold: hold.clone(),
            requests,
            answers: BufReader::new(answers),
            complaints: Some(std::thread::spawn(move || last_line(complaints))),
            versions: String::new(),
        };
        let hello = process.answer()?;
        process.versions = expect("hello", &hello)?.to_owned();
        Ok(process)
    }

    /// The answer to a request.
    ///
    /// # Errors
    /// If the process fails at it or has ended.
    pub fn ask(&mut self, request: &str) -> Result<String> {
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

    /// The error of a process that is no more, with the last thing it said.
    fn ended(&mut self) -> anyhow::Error {
        let status = self.hold.stop().unwrap_or_else(|| "stopped".to_owned());
        let said = self.complaints.take().and_then(|thread| thread.join().ok());
        let said = said.filter(|said| !said.is_empty());
        let said = said.map_or_else(String::new, |said| format!(": {said}"));
        anyhow!("--peers: the process ended ({status}){said}")
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        self.hold.end();
    }
}

/// What follows `word` in an answer.
///
/// # Errors
/// Another answer.
pub fn expect<'a>(word: &str, answer: &'a str) -> Result<&'a str> {
    let rest = answer.strip_prefix(word).map(str::trim);
    rest.ok_or_else(|| anyhow!("--peers: expected `{word} ...`, found `{answer}`"))
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

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn whoever_ends_a_process_finds_it_gone() {
        for _ in 0..50 {
            let hold = Hold::default();
            let mut sleep = Command::new("sleep");
            sleep.arg("600").stdin(Stdio::piped());
            sleep.stdout(Stdio::piped()).stderr(Stdio::piped());
            let _pipes = hold.start(&mut sleep).unwrap();
            let id = hold.0.lock().unwrap().child.as_ref().unwrap().id();
            let process = Path::new("/proc").join(id.to_string());
            assert!(process.exists());
            let both = Barrier::new(2);
            std::thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| {
                        both.wait();
                        hold.end();
                        assert!(!process.exists(), "it is dying still");
                    });
                }
            });
        }
    }
}
