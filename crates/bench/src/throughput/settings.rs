//! What is asked for on the command line, and what of it is allowed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use clap::builder::ArgPredicate;
use engine::Isa;

use crate::checkout;

use super::model::{self, Model};

/// The part of the command line that decides what is measured.
#[derive(Clone, Debug, clap::Args)]
pub struct Request {
    /// Networks, by comma: names, which get random weights (`resnet18`, `mobilenet_v2`, `vgg16`, `squeezenet1_1`, `resnet20` for
    /// `cifar-resnet20`, ...; a wrong one is answered with all), and ONNX models or checkpoints (`net.onnx`, `net.pth`).
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "NETWORKS",
        default_value = "resnet18,resnet50,cifar-resnet20"
    )]
    pub models: Vec<String>,
    /// Instead of networks: whole sweeps, by comma, experiments by their names in `experiments` or their files. Beside ours, with
    /// --peers, the same cells in PyTorch.
    #[arg(long, value_delimiter = ',', value_name = "EXPERIMENTS", conflicts_with_all = ["models", "seconds", "isa"])]
    pub sweeps: Vec<String>,
    /// Override a setting of the sweeps, as in `sweep`. May be repeated.
    #[arg(long, value_name = "KEY=VALUE", requires = "sweeps")]
    pub set: Vec<String>,
    /// Threads; default: one for each processor.
    #[arg(long)]
    pub threads: Option<u16>,
    /// Rounds; the median is reported. Of sweeps one, unless it is said.
    #[arg(
        long,
        default_value_t = 5,
        default_value_if("sweeps", ArgPredicate::IsPresent, "1")
    )]
    pub rounds: usize,
    /// How long a round lasts, about.
    #[arg(long, default_value_t = 2.0)]
    pub seconds: f64,
    /// Kernels: avx512, avx2, neon or portable; default: the fastest that the processor has.
    #[arg(long)]
    pub isa: Option<String>,
    /// Measure PyTorch and ONNX Runtime in turn with quantlab, through this Python, which has the packages onnx and
    /// onnxruntime and, for networks by name and for PyTorch, torch and torchvision.
    #[arg(long, value_name = "PYTHON")]
    pub peers: Option<PathBuf>,
}

/// A [`Request`] that can be carried out.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Networks, none twice.
    pub models: Vec<Model>,
    /// The files of the experiments whose sweeps are measured instead, if there are any.
    pub sweeps: Vec<PathBuf>,
    /// What is set in them.
    pub set: Vec<String>,
    /// Threads, at least 1.
    pub threads: usize,
    /// Rounds, at least 1.
    pub rounds: usize,
    /// Length of a round, more than none.
    pub round: Duration,
    /// Kernels that the processor has.
    pub isa: Isa,
    /// A Python with the peers' packages.
    pub peers: Option<PathBuf>,
}

const MOST_THREADS: u16 = 1024;
const LONGEST: f64 = 600.0;

impl Settings {
    /// Checks `request`.
    ///
    /// # Errors
    /// A network that is not known or cannot be read, kernels that the processor lacks, a number out of its range; each says
    /// what is allowed.
    pub fn new(request: &Request) -> Result<Self> {
        let models = model::parse_all(&request.models).context("--models")?;
        if let Some(threads) = request.threads
            && !(1..=MOST_THREADS).contains(&threads)
        {
            bail!("--threads {threads}: allowed are 1 to {MOST_THREADS}");
        }
        if request.rounds == 0 {
            bail!("--rounds 0: at least one");
        }
        let seconds = request.seconds;
        // Written so that NaN is refused too.
        if !(seconds > 0.0 && seconds <= LONGEST) {
            bail!("--seconds {seconds}: more than 0, at most {LONGEST}");
        }
        let isa = match &request.isa {
            None => Isa::best(),
            Some(name) => Isa::parse(name)
                .ok_or_else(|| {
                    anyhow!(
                        "--isa {name}: known are {}",
                        Isa::ALL.map(Isa::name).join(", ")
                    )
                })?
                .check()
                .context("--isa")?,
        };
        let sweeps = request.sweeps.iter();
        Ok(Self {
            models,
            sweeps: sweeps
                .map(|text| checkout::experiment(Path::new(text.trim())))
                .collect(),
            set: request.set.clone(),
            threads: crate::cli::threads(request.threads),
            rounds: request.rounds,
            round: Duration::from_secs_f64(seconds),
            isa,
            peers: request.peers.clone(),
        })
    }

    /// The command that measures the same on another machine: of paths the names alone.
    pub fn command(&self) -> String {
        let models: Vec<_> = self.models.iter().map(Model::spelled).collect();
        let peers = self.peers.as_deref().and_then(Path::file_name);
        let peers = peers.map(|name| format!(" --peers {}", name.to_string_lossy()));
        if !self.sweeps.is_empty() {
            let stem = |file: &PathBuf| Some(file.file_stem()?.to_string_lossy().into_owned());
            let names: Vec<_> = self.sweeps.iter().filter_map(stem).collect();
            let set = self.set.iter().map(|set| format!(" --set {set}"));
            return format!(
                "cargo throughput --sweeps {}{} --threads {} --rounds {}{}",
                names.join(","),
                set.collect::<String>(),
                self.threads,
                self.rounds,
                peers.unwrap_or_default()
            );
        }
        format!(
            "cargo throughput --models {} --threads {} --rounds {} --seconds {} --isa {}{}",
            models.join(","),
            self.threads,
            self.rounds,
            self.round.as_secs_f64(),
            self.isa,
            peers.unwrap_or_default()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Request {
        Request {
            models: vec!["resnet50".into()],
            sweeps: Vec::new(),
            set: Vec::new(),
            threads: Some(2),
            rounds: 5,
            seconds: 0.5,
            isa: Some("portable".into()),
            peers: None,
        }
    }

    fn refused(change: impl Fn(&mut Request)) -> String {
        let mut request = request();
        change(&mut request);
        format!("{:#}", Settings::new(&request).unwrap_err())
    }

    #[test]
    fn what_cannot_be_measured_is_refused_by_name_with_what_is_allowed() {
        let model = refused(|r| r.models.push("vgg12".into()));
        assert!(
            model.contains("vgg12") && model.contains("cifar-resnet20"),
            "{model}"
        );
        for empty in [vec![], vec!["".into()]] {
            let empty = refused(|r| r.models = empty.clone());
            assert!(empty.contains("--models"), "{empty}");
        }
        assert!(refused(|r| r.threads = Some(0)).contains("1 to 1024"));
        assert!(refused(|r| r.threads = Some(5000)).contains("5000"));
        assert!(refused(|r| r.rounds = 0).contains("--rounds"));
        for seconds in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e9] {
            assert!(refused(|r| r.seconds = seconds).contains("--seconds"));
        }
        let mmx = refused(|r| r.isa = Some("mmx".into()));
        assert!(mmx.contains(&Isa::ALL.map(Isa::name).join(", ")), "{mmx}");
        for isa in Isa::ALL
            .into_iter()
            .filter(|isa| !Isa::available().contains(isa))
        {
            let lacks = refused(|r| r.isa = Some(isa.name().into()));
            assert!(
                lacks.contains(isa.name()) && lacks.contains("cannot run"),
                "{lacks}"
            );
        }
    }

    #[test]
    fn the_command_says_what_was_measured_and_no_folder_of_this_machine() {
        let mut request = request();
        request.peers = Some("/home/somebody/venv/bin/python3".into());
        let settings = Settings::new(&request).unwrap();
        assert_eq!(
            settings.command(),
            "cargo throughput --models resnet50 --threads 2 --rounds 5 --seconds 0.5 --isa portable --peers python3"
        );
        request.sweeps = vec!["weight-bits".into(), "/home/somebody/own.toml".into()];
        request.set = vec!["images=64".into()];
        let settings = Settings::new(&request).unwrap();
        assert!(settings.sweeps[0].ends_with("experiments/weight-bits.toml"));
        assert_eq!(
            settings.command(),
            "cargo throughput --sweeps weight-bits,own --set images=64 --threads 2 --rounds 5 --peers python3"
        );
    }
}
