//! What `sweep` refuses, what it leaves out and what it goes on with, each in one line: networks whose numbers overflow, dead
//! branches, cells that cannot be, names that cannot be folders.

mod program;
mod shipped;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Output};

use network::StateDict;
use program::quantlab;
use tempfile::TempDir;

/// A folder with an experiment on the shipped images and a network of one's own.
struct Place(TempDir);

impl Place {
    /// `change` is done to the shipped network.
    fn new(change: impl Fn(&mut StateDict)) -> Self {
        let place = Self(TempDir::new().unwrap());
        let mut state = shipped::checkpoint().tensors().clone();
        change(&mut state);
        let file = place.path("model.safetensors");
        std::fs::write(
            &file,
            resnet::to_safetensors(&state, &BTreeMap::new()).unwrap(),
        )
        .unwrap();
        let text = "question = 'test'\nexpects = 'nothing'\n[fixed]\nmodel.weights = 'model.safetensors'\n\
            dataset = 'synthetic'\nimages = 16\ncalibration.images = 16\nmethod = 'ptq'\n";
        std::fs::write(place.path("e.toml"), text).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn sweep(&self, arguments: &[&str]) -> Output {
        self.sweep_of("e.toml", arguments)
    }

    fn sweep_of(&self, file: &str, arguments: &[&str]) -> Output {
        self.command(file, arguments).output().unwrap()
    }

    fn command(&self, file: &str, arguments: &[&str]) -> Command {
        let mut command = quantlab("sweep");
        command
            .current_dir(self.0.path())
            .arg(file)
            .arg("--data")
            .arg(shipped::data())
            .args(["--results", "results"])
            .args(arguments);
        command
    }

    /// Files of this name of all runs, one after the other.
    fn all(&self, name: &str) -> String {
        let folder = std::fs::read_dir(self.path("results/e")).unwrap();
        let files = folder.map(|run| run.unwrap().path().join(name));
        files
            .filter_map(|file| std::fs::read_to_string(file).ok())
            .collect()
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What a person reads last; before an error may stand what was assumed.
fn last_line(output: &Output) -> String {
    let text = stderr(output);
    text.lines().last().unwrap_or_default().to_owned()
}

/// The one line of a refusal.
fn refusal(output: &Output) -> String {
    let text = stderr(output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.starts_with("error: "), "{text}");
    text
}

#[test]
fn a_network_whose_logits_are_not_finite_fails_and_names_its_layer_on_every_device() {
    let place = Place::new(|state| {
        let gamma = state.get_mut("layer2.0.bn1.weight").unwrap();
        gamma.data.fill(f32::MAX);
    });
    for device in ["engine", "flex"] {
        let device = format!("device={device}");
        let output = place.sweep(&["--set", "weights.bits=[32, 8]", "--set", &device]);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(
            text.contains("0 runs made, 0 were there already, 2 failed"),
            "{text}"
        );
        assert!(text.contains("layer2.0.conv1 is the first layer"), "{text}");
    }
    let rows = place.all("run.csv");
    assert_eq!(
        rows.matches("layer2.0.conv1 is the first layer").count(),
        2,
        "{rows}"
    );
    assert_eq!(rows.matches(",failed,").count(), 4, "{rows}");
    assert!(!place.all("predictions.csv").contains("65535"));
}

/// In a build for a GPU, on a machine without one (the Vulkan loader is told of no driver, CUDA of no card).
#[cfg(any(feature = "cuda", feature = "vulkan"))]
#[test]
fn a_gpu_that_is_not_there_is_refused() {
    let place = Place::new(|_| {});
    let built = [
        ("cuda", cfg!(feature = "cuda")),
        ("vulkan", cfg!(feature = "vulkan")),
    ];
    for (device, _) in built.into_iter().filter(|(_, built)| *built) {
        let output = place
            .command("e.toml", &["--set", &format!("device={device}")])
            .env("VK_DRIVER_FILES", "none.json")
            .env("VK_ICD_FILENAMES", "none.json")
            .env("CUDA_VISIBLE_DEVICES", "")
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        let text = last_line(&output);
        assert!(
            text.starts_with(&format!("error: device = {device}: no ")),
            "{text}"
        );
        assert!(!place.path("results/e").exists());
    }
}

#[test]
fn a_dead_branch_runs_in_integers_as_in_simulation_and_is_noted() {
    let place = Place::new(|state| {
        for part in ["weight", "bias"] {
            let tensor = state.get_mut(&format!("layer2.1.bn1.{part}")).unwrap();
            tensor.data.fill(0.0);
        }
    });
    let output = place.sweep(&[
        "--set",
        "activations.bits=8",
        "--set",
        "weights.mapping=symmetric",
        "--set",
        "execution=[\"simulate\", \"integer\"]",
        "--set",
        "activations.mapping=[\"affine\", \"symmetric\", \"power_of_two\"]",
    ]);
    let text = stderr(&output);
    assert!(output.status.success(), "{text}");
    assert!(
        text.contains("7 runs made, 0 were there already, 0 failed"),
        "{text}"
    );
    let manifest = place.all("manifest.csv");
    let noted = manifest
        .lines()
        .filter(|line| line.contains("every value was zero in calibration"));
    let noted: Vec<&str> = noted.collect();
    assert_eq!(noted.len(), 6, "{manifest}");
    assert!(
        noted
            .iter()
            .all(|line| line.contains("layer2.1.conv1,activation,true,8,")),
        "{noted:?}"
    );
    let metrics = place.all("metrics.csv");
    let differ: Vec<&str> = metrics
        .lines()
        .filter(|line| line.contains(",,codes_differ,"))
        .collect();
    assert_eq!(differ.len(), 3, "{metrics}");
    assert!(
        differ.iter().all(|line| line.contains(",codes_differ,0,")),
        "{differ:?}"
    );
}

#[test]
fn cells_of_a_product_that_cannot_be_are_left_out_and_said() {
    let place = Place::new(|_| {});
    let symmetric = ["--list", "--set", "weights.mapping=symmetric"];
    let with = |more: &[&str]| place.sweep(&[&symmetric[..], more].concat());
    let output = with(&["--set", "weights.bits=[1, 2]"]);
    let text = stderr(&output);
    assert!(output.status.success(), "{text}");
    let said = text.lines().filter(|line| !line.starts_with("assumed: "));
    assert_eq!(said.count(), 1, "{text}");
    assert!(
        text.starts_with("1 of 2 cells left out: bits=1: symmetric with narrow codes at 1 bit"),
        "{text}"
    );
    let plan = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        plan.contains("bits=2") && plan.ends_with("2 runs, 0 done, 2 due\n"),
        "{plan}"
    );
    // With codes that 1 bit has, nothing is left out.
    let output = with(&[
        "--set",
        "weights.bits=[1, 2]",
        "--set",
        "weights.narrow=[true, false]",
    ]);
    let text = stderr(&output);
    assert!(
        text.starts_with("1 of 4 cells left out: bits=1 narrow=true: "),
        "{text}"
    );
    let several = [
        "--set",
        "weights.bits=[1, 2]",
        "--set",
        "bn=[\"kept\", \"folded\"]",
    ];
    let text = stderr(&with(&several));
    assert!(
        text.starts_with("2 of 4 cells left out, the first: bits=1 bn=kept: "),
        "{text}"
    );
    // Nothing left to run, in one cell or in many.
    assert!(refusal(&with(&["--set", "weights.bits=1"])).contains("at 1 bit"));
    let all = [
        "--set",
        "weights.bits=1",
        "--set",
        "bn=[\"kept\", \"folded\"]",
    ];
    assert!(refusal(&with(&all)).contains("bn=kept: symmetric with narrow codes"));
    // A word that is wrong beside any other is no cell to leave out.
    let wrong = ["--set", "weights.range=[\"mse\", \"msd\"]"];
    assert!(refusal(&with(&wrong)).contains("range=msd"));
    assert!(refusal(&with(&["--set", "weights.bits=[2, 17]"])).contains("1 to 16, or 32"));
}

#[test]
fn names_and_keys_that_cannot_be_are_one_line_before_anything_is_opened() {
    let place = Place::new(|_| {});
    std::fs::copy(place.path("e.toml"), place.path("a,b.toml")).unwrap();
    let comma = refusal(&place.sweep_of("a,b.toml", &["--set", "model.weights=no/such.pth"]));
    assert!(
        comma.contains("a,b.toml: rename the file: experiment `a,b`"),
        "{comma}"
    );
    let key = refusal(&place.sweep(&["--set", "weight.bits=4"]));
    assert!(key.contains("did you mean weights.bits?"), "{key}");
    let user = refusal(&place.sweep(&["--set", "model.weights=~nobody/net.pth"]));
    assert!(user.contains("~nobody/net.pth: only ~/ is known"), "{user}");
    let home = quantlab("sweep")
        .current_dir(place.0.path())
        .env("HOME", place.0.path())
        .args([
            "e.toml",
            "--list",
            "--set",
            "model.weights=~/model.safetensors",
        ])
        .arg("--data=~/data")
        .output()
        .unwrap();
    let text = refusal(&home);
    let data = place.path("data");
    assert!(text.contains(&data.display().to_string()), "{text}");
}

/// The program's command behind limits of the shell.
#[cfg(unix)]
fn behind(limits: &str, place: &Place, arguments: &[&str]) -> Output {
    let program = quantlab("sweep");
    Command::new("sh")
        .args(["-c", &format!("{limits}; exec \"$0\" \"$@\"")])
        .arg(program.get_program())
        .args(program.get_args())
        .current_dir(place.0.path())
        .arg("e.toml")
        .arg("--data")
        .arg(shipped::data())
        .args(arguments)
        .output()
        .unwrap()
}

#[cfg(unix)]
#[test]
fn a_full_disk_and_a_folder_that_cannot_be_written_end_in_one_line_and_lose_nothing() {
    let place = Place::new(|_| {});
    let arguments = ["--results", "results", "--set", "weights.bits=8"];
    assert!(behind(":", &place, &arguments).status.success());
    let before = place.all("run.csv");
    // From here on no file takes a byte; without the trap the system would end the process.
    let full = "trap '' XFSZ; ulimit -f 0";
    let other = ["--results", "results", "--set", "weights.bits=4"];
    let output = behind(full, &place, &other);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let last = last_line(&output);
    assert!(last.starts_with("error: cannot "), "{}", stderr(&output));
    assert_eq!(place.all("run.csv"), before);
    assert!(behind(":", &place, &other).status.success());
    assert!(
        place
            .all("run.csv")
            .contains(before.lines().last().unwrap())
    );
    if cfg!(target_os = "linux") {
        let nowhere = behind(":", &place, &["--results", "/proc/results"]);
        let text = stderr(&nowhere);
        assert_eq!(nowhere.status.code(), Some(1), "{text}");
        // What was assumed of the images may stand before it.
        let last = last_line(&nowhere);
        assert!(
            last.starts_with("error: cannot create /proc/results"),
            "{text}"
        );
    }
}

#[test]
fn a_run_of_a_later_version_is_refused_in_one_line_and_kept() {
    let place = Place::new(|_| {});
    let arguments = ["--set", "weights.bits=8"];
    assert!(place.sweep(&arguments).status.success());
    let runs = std::fs::read_dir(place.path("results/e")).unwrap();
    let files = runs.map(|run| run.unwrap().path().join("run.csv"));
    let files: Vec<_> = files.filter(|file| file.is_file()).collect();
    assert!(!files.is_empty());
    for file in &files {
        let text = std::fs::read_to_string(file).unwrap();
        std::fs::write(file, text.replacen("\n2,", "\n3,", 1)).unwrap();
    }
    let before = place.all("run.csv");
    let output = place.sweep(&arguments);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let last = last_line(&output);
    assert!(
        last.contains("schema version `3`, this version reads 2"),
        "{}",
        stderr(&output)
    );
    assert_eq!(place.all("run.csv"), before);
}

#[test]
fn the_help_lists_every_setting_by_subject_in_80_columns() {
    let output = quantlab("sweep").arg("--help").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let at = |title: &str| {
        text.find(&format!("\n{title}:\n"))
            .unwrap_or_else(|| panic!("{title}: {text}"))
    };
    let order = [
        "Model",
        "Images",
        "Weights",
        "Activations",
        "Calibration",
        "Integers",
    ]
    .map(at);
    assert!(order.is_sorted(), "{order:?}");
    for line in text
        .lines()
        .skip_while(|line| !line.starts_with("Settings"))
    {
        assert!(line.chars().count() <= 80, "{line}");
    }
}
