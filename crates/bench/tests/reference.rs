//! `sweep` beside the reference: the shipped experiment on few images, and a part of the committed results made again.

mod program;

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use program::quantlab;
use results::{PREDICTIONS_FILE, PredictionRow, Store, read_rows, write_rows};
use tempfile::TempDir;

const EXPERIMENT: &str = "weight-bits";
/// The arguments of all sweeps here: three runs.
const FEW: [&str; 4] = ["--set", "images=64", "--set", "weights.bits=[32, 8, 4]"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The shipped experiment on the shipped model, from a folder that has no results yet and stands for the project's.
fn sweep(folder: &Path, arguments: &[&str]) -> Output {
    quantlab("sweep")
        .current_dir(folder)
        .arg(root().join("experiments/weight-bits.toml"))
        .arg("--data")
        .arg(root().join("data"))
        .args(arguments)
        .env("QUANTLAB_HOME", folder)
        .env_remove("QUANTLAB_RESULTS")
        .env_remove("QUANTLAB_REFERENCE")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// A folder whose `results/reference` has the three runs of [`FEW`].
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(TempDir::new().unwrap());
        let made = place.sweep(&["--results", "results/reference"]);
        assert!(made.status.success(), "{}", stderr(&made));
        place
    }

    fn sweep(&self, arguments: &[&str]) -> Output {
        sweep(self.0.path(), &[FEW.as_slice(), arguments].concat())
    }

    fn reference(&self) -> Store {
        Store::existing(self.0.path().join("results/reference")).unwrap()
    }

    /// The folder of the reference's run with so many bits.
    fn run(&self, bits: u32) -> PathBuf {
        let store = self.reference();
        let runs = store.runs(EXPERIMENT).unwrap();
        let bits_of = |id: &str| {
            store
                .read_row(EXPERIMENT, id)
                .unwrap()
                .config
                .weights_bits()
        };
        let id = runs.iter().find(|id| bits_of(id) == bits).unwrap();
        store.run_dir(EXPERIMENT, id).unwrap()
    }

    fn edit(&self, bits: u32, change: impl FnOnce(&mut Vec<PredictionRow>)) {
        let file = self.run(bits).join(PREDICTIONS_FILE);
        let mut rows = read_rows(&file).unwrap();
        change(&mut rows);
        std::fs::remove_file(&file).unwrap();
        write_rows(&file, &rows).unwrap();
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Says it and succeeds in a plain sweep; is the one error with `--verify`.
fn said_and_failed_if_asked(place: &Place, expected: &[&str]) {
    let plain = place.sweep(&[]);
    let verified = place.sweep(&["--verify"]);
    assert_eq!(plain.status.code(), Some(0), "{}", stderr(&plain));
    assert_eq!(verified.status.code(), Some(1), "{}", stderr(&verified));
    for text in [stderr(&plain), stderr(&verified)] {
        for part in expected {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
    let text = stderr(&verified);
    let errors = text.lines().filter(|line| line.starts_with("error: "));
    assert_eq!(errors.count(), 1, "{text}");
    assert!(!stderr(&plain).contains("error:"), "{}", stderr(&plain));
}

#[test]
fn runs_that_agree_end_with_a_line_that_says_so_and_where_the_reference_was_made() {
    let place = Place::new();
    let first = place.sweep(&[]);
    let text = stderr(&first);
    assert!(first.status.success(), "{text}");
    assert!(
        text.contains("3 runs made, 0 were there already, 0 failed"),
        "{text}"
    );
    let last = text.lines().last().unwrap();
    let same = "the same predictions as the reference in all 3 runs (made on ";
    assert!(last.starts_with(same), "{text}");
    let ids = place.reference().runs(EXPERIMENT).unwrap();
    let row = place.reference().read_row(EXPERIMENT, &ids[0]).unwrap();
    assert!(last.contains(&row.started_at[..10]), "{text}");
    let folder = place.0.path().to_str().unwrap();
    assert!(!text.contains(folder), "{text}");

    // What is there already is compared, too; so is a share, and a plan cut short.
    for arguments in [
        vec!["--verify"],
        vec!["--verify", "--shard", "2/2"],
        vec!["--verify", "--set", "weights.bits=8"],
        vec![
            "--verify",
            "--results",
            "elsewhere",
            "--set",
            "weights.bits=8",
        ],
    ] {
        let output = place.sweep(&arguments);
        let text = stderr(&output);
        assert!(output.status.success(), "{arguments:?}: {text}");
        let runs = if arguments.len() == 1 { "3" } else { "2" };
        let line = format!("reference in all {runs} runs");
        assert!(text.contains(&line), "{arguments:?}: {text}");
    }
}

#[test]
fn one_changed_prediction_is_counted_and_fails_only_where_asked() {
    let place = Place::new();
    place.edit(8, |rows| rows[0].top1 = (rows[0].top1 + 1) % 10);
    let one = "the same predictions as the reference in 2 of 3 runs, 1 differs (made on ";
    let id = place.run(8).file_name().unwrap().to_owned();
    let line = format!(
        "{} bits=8: 1 of 64 predictions differ, ",
        id.to_str().unwrap()
    );
    said_and_failed_if_asked(&place, &[one, &line]);
}

#[test]
fn rows_of_other_images_are_no_agreement() {
    let place = Place::new();
    place.edit(4, |rows| rows[3].image = "other".into());
    place.edit(8, |rows| drop(rows.pop()));
    let said = [
        "bits=4: 0 of 64 predictions differ, rows of other images: 1",
        "bits=8: 0 of 64 predictions differ, rows of other images: 1",
        "in 1 of 3 runs, 2 differ (",
    ];
    said_and_failed_if_asked(&place, &said);
}

#[test]
fn runs_that_the_reference_lacks_are_counted() {
    let place = Place::new();
    std::fs::remove_dir_all(place.run(4)).unwrap();
    said_and_failed_if_asked(&place, &["in 2 of 3 runs, 1 is not in it (made on "]);
    let list = place.sweep(&["--list"]);
    let text = String::from_utf8_lossy(&list.stdout).into_owned();
    let counts = "3 runs, 3 done, 0 due; 2 are in the reference";
    assert!(text.contains(counts), "{text}");
}

#[test]
fn a_reference_that_cannot_be_read_is_said_and_fails_only_where_asked() {
    let place = Place::new();
    std::fs::remove_file(place.run(8).join(PREDICTIONS_FILE)).unwrap();
    said_and_failed_if_asked(&place, &["predictions.csv is missing"]);
}

#[test]
fn without_a_reference_a_sweep_is_silent_and_verify_fails_before_the_work() {
    let folder = TempDir::new().unwrap();
    let few = |arguments: &[&str]| sweep(folder.path(), &[FEW.as_slice(), arguments].concat());
    let refused = |arguments: &[&str], expected: &str| {
        let output = few(arguments);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {text}");
        assert!(text.contains(expected), "{arguments:?}: {text}");
        assert_eq!(text.lines().count(), 1, "{arguments:?}: {text}");
        assert!(!folder.path().join("results/weight-bits").exists());
    };
    refused(&["--verify"], "there is no results/reference");
    refused(&["--reference", "nowhere"], "nowhere");
    std::fs::create_dir_all(folder.path().join("results/reference")).unwrap();
    refused(
        &["--verify"],
        "results/reference has no run of this plan of weight-bits",
    );

    let plain = few(&[]);
    assert!(plain.status.success(), "{}", stderr(&plain));
    assert!(!stderr(&plain).contains("reference"), "{}", stderr(&plain));
}

#[test]
fn the_reference_is_not_compared_with_itself() {
    let place = Place::new();
    let results = ["--results", "results/../results/reference"];
    let plain = place.sweep(&results);
    let text = stderr(&plain);
    assert!(plain.status.success(), "{text}");
    assert!(text.contains("compared with nothing"), "{text}");
    assert!(!text.contains("the same predictions"), "{text}");
    let verified = place.sweep(&[results.as_slice(), &["--verify"]].concat());
    assert_eq!(verified.status.code(), Some(1));
    assert!(
        stderr(&verified).contains("is the reference itself"),
        "{}",
        stderr(&verified)
    );
}

#[test]
fn two_runs_of_the_committed_reference_are_made_again_to_the_last_prediction() {
    let folder = TempDir::new().unwrap();
    let reference = root().join("results/reference");
    let output = sweep(
        folder.path(),
        &[
            "--verify",
            "--reference",
            reference.to_str().unwrap(),
            "--set",
            "weights.bits=[32, 8]",
        ],
    );
    let text = stderr(&output);
    // Float sums of another kind of processor may differ; then the sweep says so.
    if text.contains("; these on ") {
        eprintln!("not compared: {text}");
        return;
    }
    assert!(output.status.success(), "{text}");
    assert!(text.contains("reference in all 2 runs (made on "), "{text}");
}
