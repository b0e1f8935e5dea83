//! The scripts of a sweep on a Slurm cluster: an array of tasks, and behind it a job that makes what is left and writes the tables.
//!
//! A task ends by itself when nothing is free any more. Preempted or requeued, it begins again and takes what is due then; asked to stop
//! (`--signal=B:TERM@60`, a minute before its time is up), it lets go of its run, whose training is kept to the last step. The job behind
//! begins when all tasks have ended, however they ended, and does alone what they left.

use std::ffi::OsString;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;

use anyhow::{Context, Result, anyhow, bail};
use results::write_whole;

use crate::checkout;
use crate::cli::Folders;

/// Most tasks of an array; clusters allow fewer, and say so.
const MOST: usize = 10_000;

/// How many tasks where nobody says: enough for a small cluster.
const USUAL: usize = 16;

/// The options that are about a cluster.
#[derive(Clone, Debug, clap::Args)]
pub struct Request {
    /// Write the scripts of a Slurm job array of N tasks that run the sweep, at most M at a time, and of the job behind them that
    /// writes the tables [default: a task for each run that is due, at most 16].
    #[arg(long, value_name = "N[%M]", num_args = 0..=1, default_missing_value = "auto")]
    pub slurm: Option<Tasks>,
    /// Submit them.
    #[arg(long, requires = "slurm")]
    pub submit: bool,
    /// An option of sbatch for the tasks, such as `--sbatch=--partition=long`; may be repeated.
    #[arg(
        long,
        value_name = "OPTION",
        requires = "slurm",
        allow_hyphen_values = true
    )]
    pub sbatch: Vec<String>,
}

/// Tasks of an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tasks {
    /// How many; as many as are due where absent.
    pub count: Option<usize>,
    /// How many at a time.
    pub at_once: Option<usize>,
}

impl FromStr for Tasks {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (count, at_once) = match text.split_once('%') {
            Some((count, at_once)) => (count, Some(at_once)),
            None => (text, None),
        };
        let number = |text: &str| -> Result<usize> {
            let number = text.parse().ok().filter(|n| (1..=MOST).contains(n));
            number.ok_or_else(|| anyhow!("write N or N%M, each from 1 to {MOST}"))
        };
        Ok(Self {
            count: match count {
                "auto" => None,
                _ => Some(number(count)?),
            },
            at_once: at_once.map(number).transpose()?,
        })
    }
}

/// A sweep for a cluster.
pub struct Job<'a> {
    /// The experiment's name.
    pub name: &'a str,
    /// Its file.
    pub experiment: &'a Path,
    /// Where networks and images come from.
    pub folders: &'a Folders,
    /// The results folder, which all machines share.
    pub results: &'a Path,
    /// What else of the command line a task shall have.
    pub arguments: Vec<OsString>,
    /// Threads of a task.
    pub threads: usize,
    /// What was asked of the cluster.
    pub request: &'a Request,
}

impl Job<'_> {
    /// Writes both scripts for `due` runs into `results/<experiment>/slurm`, and submits them if that is asked for. Gives what there is to
    /// tell.
    ///
    /// # Errors
    /// A folder that cannot be written; a cluster that is not there or refuses.
    pub fn write(&self, due: usize) -> Result<Vec<String>> {
        let folder = std::path::absolute(self.results)?
            .join(self.name)
            .join("slurm");
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        let tasks = self.request.slurm.unwrap_or(Tasks {
            count: None,
            at_once: None,
        });
        let count = tasks.count.unwrap_or(due.clamp(1, USUAL));
        let mut array = format!("1-{count}");
        if let Some(at_once) = tasks.at_once {
            write!(array, "%{at_once}")?;
        }
        let program = std::env::current_exe().context("where is this program?")?;
        let scripts = [
            ("array.sbatch", Some(array.as_str()), "%A_%a.out"),
            ("table.sbatch", None, "table_%j.out"),
        ];
        let mut paths = Vec::new();
        for (name, array, log) in scripts {
            let path = folder.join(name);
            let text = self.script(&program, array, &folder.join(log))?;
            write_whole(&path, text.as_bytes())
                .with_context(|| format!("cannot write {}", path.display()))?;
            paths.push(path);
        }
        if !self.request.submit {
            let [array, table] = [&paths[0], &paths[1]].map(|path| quoted(&path.to_string_lossy()));
            return Ok(vec![
                format!("{count} tasks for {due} runs; submit them by"),
                format!("    job=$(sbatch --parsable {array})"),
                format!("    sbatch --dependency=afterany:${{job%%;*}} {table}"),
            ]);
        }
        let job = submitted(&paths[0], &[])?;
        let table = submitted(&paths[1], &[format!("--dependency=afterany:{job}")])
            .with_context(|| format!("array job {job} is submitted, the job behind it is not"))?;
        Ok(vec![format!(
            "array job {job} of {count} tasks for {due} runs, and behind it job {table}, which writes the tables; \
             `sweep --status` tells how it goes, logs are in {}",
            folder.display()
        )])
    }

    fn script(&self, program: &Path, array: Option<&str>, log: &Path) -> Result<String> {
        let here = std::env::current_dir().context("where is this?")?;
        let name = format!(
            "quantlab-{}{}",
            self.name,
            if array.is_none() { "-table" } else { "" }
        );
        let mut options = vec![
            format!("--job-name={name}"),
            format!("--cpus-per-task={}", self.threads),
            format!("--chdir={}", here.display()),
            format!("--output={}", log.display()),
            "--open-mode=append".to_owned(),
            "--requeue".to_owned(),
            "--signal=B:TERM@60".to_owned(),
        ];
        options.extend(array.map(|array| format!("--array={array}")));
        options.extend(self.request.sbatch.iter().cloned());
        let mut text = String::from("#!/bin/bash\n");
        for option in options {
            if option.contains(['\n', '\r', '"']) {
                bail!("{option:?} cannot stand in a script for sbatch");
            }
            match option.split_once('=') {
                Some((key, value)) => writeln!(text, "#SBATCH {key}=\"{value}\"")?,
                None => writeln!(text, "#SBATCH {option}")?,
            }
        }
        let whole = |path: &Path| std::path::absolute(path).map(PathBuf::into_os_string);
        let mut words = vec![
            program.as_os_str().to_owned(),
            "sweep".into(),
            whole(&checkout::experiment(self.experiment))?,
            "--data".into(),
            whole(&self.folders.data)?,
            "--cache".into(),
            whole(&self.folders.cache)?,
            "--results".into(),
            whole(self.results)?,
        ];
        words.extend(self.arguments.iter().cloned());
        if array.is_some() {
            words.extend(["--shard".into(), "auto".into()]);
        }
        let words: Result<Vec<String>> = words
            .into_iter()
            .map(|word| {
                let word = word.into_string();
                let word = word.map_err(|word| anyhow!("{word:?} is not Unicode"))?;
                Ok(quoted(&word))
            })
            .collect();
        // In place of the shell, so that a signal for it reaches the sweep.
        write!(text, "exec {}", words?.join(" "))?;
        writeln!(
            text,
            " --threads \"${{SLURM_CPUS_PER_TASK:-{}}}\"",
            self.threads
        )?;
        Ok(text)
    }
}

/// Submits a script and gives the job's number.
fn submitted(script: &Path, options: &[String]) -> Result<String> {
    let output = Command::new("sbatch")
        .arg("--parsable")
        .args(options)
        .arg(script)
        .output()
        .with_context(|| {
            format!(
                "cannot run sbatch, is this a machine of the cluster? {} is written",
                script.display()
            )
        })?;
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if !output.status.success() {
        bail!("sbatch {}: {}", script.display(), said(&output.stderr));
    }
    // `number` or `number;cluster`.
    let said = said(&output.stdout);
    let number = said.split(';').next().unwrap_or_default();
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        bail!(
            "sbatch {}: it says {said:?}, which names no job",
            script.display()
        );
    }
    Ok(number.to_owned())
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,%+@".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_are_written_as_slurm_has_them() {
        let tasks = |text: &str| text.parse::<Tasks>().ok().map(|t| (t.count, t.at_once));
        assert_eq!(tasks("auto"), Some((None, None)));
        assert_eq!(tasks("12"), Some((Some(12), None)));
        assert_eq!(tasks("100%8"), Some((Some(100), Some(8))));
        for wrong in ["0", "1-5", "5%0", "%", "10001", "a"] {
            assert_eq!(tasks(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn words_survive_the_shell() {
        let words = [
            "plain-1.0",
            "a b",
            "it's",
            "$HOME `x` \"y\"",
            "",
            "weights.bits=[8, 4]",
        ];
        let line: Vec<String> = words.iter().map(|word| quoted(word)).collect();
        let output = Command::new("sh")
            .args(["-c", &format!("printf '%s\\n' {}", line.join(" "))])
            .output()
            .unwrap();
        let expected: String = words.iter().map(|word| format!("{word}\n")).collect();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
    }

    #[test]
    fn the_scripts_repeat_the_command_with_whole_paths() {
        let folder = tempfile::tempdir().unwrap();
        let request = Request {
            slurm: Some("6%2".parse().unwrap()),
            submit: false,
            sbatch: vec!["--partition=long".into(), "--exclusive".into()],
        };
        let folders = Folders {
            data: "data".into(),
            cache: "data/cache".into(),
        };
        let results = folder.path().join("my results");
        let job = Job {
            name: "weight-bits",
            experiment: Path::new("experiments/weight-bits.toml"),
            folders: &folders,
            results: &results,
            arguments: vec!["--set".into(), "weights.bits=[8, 4]".into()],
            threads: 4,
            request: &request,
        };
        let told = job.write(9).unwrap();
        assert!(told[0].contains("6 tasks for 9 runs"), "{told:?}");
        let read = |name: &str| {
            std::fs::read_to_string(results.join("weight-bits/slurm").join(name)).unwrap()
        };
        let (array, table) = (read("array.sbatch"), read("table.sbatch"));
        for line in [
            "#SBATCH --array=\"1-6%2\"\n",
            "#SBATCH --partition=\"long\"\n",
            "#SBATCH --exclusive\n",
            "#SBATCH --requeue\n",
            "'weights.bits=[8, 4]' --shard auto --threads",
            "/my results'",
        ] {
            assert!(array.contains(line), "{line} in {array}");
        }
        assert!(
            !table.contains("--array") && !table.contains("--shard"),
            "{table}"
        );
        let request = Request {
            sbatch: vec!["--comment=a\nrm".into()],
            ..request
        };
        let error = Job {
            request: &request,
            ..job
        }
        .write(9)
        .unwrap_err();
        assert!(
            error.to_string().contains("cannot stand in a script"),
            "{error}"
        );
    }
}
