//! Claims about run folders: whole or absent, replaced or kept, shared by processes that may be killed.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use results::{
    Config, EpochRow, Error, ManifestRow, MetricRow, PUBLISHED_FILE, PredictionRow, PublishedRow,
    Run, RunRow, Status, Store,
};

const EXPERIMENT: &str = "weight-bits";

fn run(bits: u32) -> Run {
    let config = Config::default()
        .with("model_arch", "cifar-resnet20")
        .with("dataset", "synthetic")
        .with("images", 2)
        .with("weights_bits", bits)
        .with("activations_bits", 32)
        .with("method", "linear");
    let row = RunRow::new(EXPERIMENT, config, "aa", "bb", None);
    let run_id = row.run_id.clone();
    let metric = |layer: &str, metric: &str, value, unit: &str| MetricRow {
        run_id: run_id.clone(),
        layer: layer.into(),
        metric: metric.into(),
        value,
        n: 2,
        unit: unit.into(),
    };
    let prediction = |image: &str, top1| PredictionRow {
        image: image.into(),
        label: 3,
        top1,
    };
    Run {
        metrics: vec![
            metric("", "top1_correct", 1.0, "images"),
            metric("conv1", "weight_sqnr", 20.25, "dB"),
        ],
        predictions: vec![prediction("a/é \"1\".png", 3), prediction("b\n2", 4)],
        manifest: vec![ManifestRow {
            run_id,
            tensor: "conv1.weight".into(),
            kind: "weight".into(),
            quantized: true,
            bits,
            reason: "linear".into(),
        }],
        epochs: Vec::new(),
        row,
    }
}

fn failed(bits: u32, error: &str) -> Run {
    let mut run = run(bits);
    run.row.status = Status::Failed;
    run.row.error = Some(error.into());
    run.metrics.clear();
    run.predictions.clear();
    run
}

/// Everything below a folder that is not a run folder's file.
fn litter(root: &Path) -> Vec<String> {
    let entries = fs::read_dir(root.join(EXPERIMENT))
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap());
    entries.filter(|name| !results::is_run_id(name)).collect()
}

#[test]
fn a_run_comes_back_as_it_was_written_and_leaves_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let run = run(4);
    let id = run.row.run_id.clone();
    assert!(!store.is_complete(EXPERIMENT, &id).unwrap());
    assert!(store.runs(EXPERIMENT).unwrap().is_empty());
    let path = store.write(&run).unwrap();
    assert_eq!(path, folder.path().join(EXPERIMENT).join(&id));
    assert!(store.is_complete(EXPERIMENT, &id).unwrap());
    assert_eq!(store.read(EXPERIMENT, &id).unwrap(), run);
    assert_eq!(store.runs(EXPERIMENT).unwrap(), [id]);
    assert_eq!(store.experiments().unwrap(), [EXPERIMENT]);
    assert!(
        litter(folder.path()).is_empty(),
        "{:?}",
        litter(folder.path())
    );
}

#[test]
fn the_same_run_gives_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = ["a", "b"].map(|name| {
        let path = Store::open(folder.path().join(name))
            .unwrap()
            .write(&run(4))
            .unwrap();
        ["run.csv", "metrics.csv", "predictions.csv", "manifest.csv"]
            .map(|f| fs::read(path.join(f)).unwrap())
    });
    assert_eq!(bytes[0], bytes[1]);
}

#[test]
fn the_epochs_of_a_training_come_back_and_are_checked() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let mut run = run(4);
    let run_id = run.row.run_id.clone();
    let epoch = |epoch, test_top1| EpochRow {
        run_id: run_id.clone(),
        epoch,
        lr: 1e-7,
        train_loss: 0.25,
        train_top1: 0.5,
        test_top1,
        images_per_second: 100.0,
        seconds: 2.5,
    };
    run.epochs = vec![epoch(1, None), epoch(3, Some(0.75))];
    let error = store.write(&run).unwrap_err().to_string();
    assert!(error.contains("epoch 3 stands where 2 does"), "{error}");
    run.epochs[1].epoch = 2;
    let path = store.write(&run).unwrap();
    let text = fs::read_to_string(path.join("epochs.csv")).unwrap();
    let expected = format!("{run_id},1,0.0000001,0.25,0.5,,100,2.5");
    assert_eq!(text.lines().nth(1), Some(expected.as_str()));
    assert_eq!(store.read(EXPERIMENT, &run_id).unwrap(), run);
}

#[test]
fn a_failed_run_is_a_row_and_is_replaced_and_a_finished_one_never_is() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let good = run(3);
    let id = good.row.run_id.clone();
    for error in ["no memory\nat all", "again, \"differently\""] {
        store.write(&failed(3, error)).unwrap();
        assert!(!store.is_complete(EXPERIMENT, &id).unwrap());
        assert_eq!(
            store.read(EXPERIMENT, &id).unwrap().row.error.as_deref(),
            Some(error)
        );
    }
    let lock = store.lock(EXPERIMENT, &id).unwrap();
    store.write(&good).unwrap();
    drop(lock);
    for run in [failed(3, "late"), good.clone()] {
        assert!(matches!(
            store.write(&run),
            Err(Error::AlreadyComplete { .. })
        ));
    }
    assert_eq!(store.read(EXPERIMENT, &id).unwrap(), good);
    assert!(
        litter(folder.path()).is_empty(),
        "{:?}",
        litter(folder.path())
    );
}

#[test]
fn a_run_that_contradicts_itself_is_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    type Change = fn(&mut Run);
    let cases: [(&str, Change); 8] = [
        ("give the run id", |r| r.row.config.set("weights_bits", 5)),
        ("give the run id", |r| r.row.weights_sha256 = "cc".into()),
        ("status failed without", |r| r.row.status = Status::Failed),
        ("status ok with", |r| r.row.error = Some("x".into())),
        ("belongs to run", |r| r.metrics[0].run_id = "0".into()),
        ("is NaN", |r| r.metrics[0].value = f64::NAN),
        ("is there twice", |r| r.metrics.push(r.metrics[0].clone())),
        ("predicted twice", |r| {
            r.predictions.push(r.predictions[0].clone())
        }),
    ];
    for (message, change) in cases {
        let mut run = run(4);
        change(&mut run);
        let error = store.write(&run).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
    assert!(!folder.path().join(EXPERIMENT).exists());
}

#[test]
fn a_damaged_folder_is_an_error_that_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let id = run(4).row.run_id;
    let path = store.write(&run(4)).unwrap();
    let text = fs::read_to_string(path.join("run.csv")).unwrap();

    fs::write(path.join("run.csv"), text.replace(",4,", ",5,")).unwrap();
    assert!(
        store
            .read(EXPERIMENT, &id)
            .unwrap_err()
            .to_string()
            .contains("give the run id")
    );

    let last = text.lines().last().unwrap();
    fs::write(path.join("run.csv"), format!("{text}{last}\n")).unwrap();
    assert!(matches!(
        store.is_complete(EXPERIMENT, &id),
        Err(Error::RowCount { found: 2, .. })
    ));

    fs::write(path.join("run.csv"), &text[..text.len() - 40]).unwrap();
    assert!(
        store
            .is_complete(EXPERIMENT, &id)
            .unwrap_err()
            .to_string()
            .contains("run.csv")
    );

    fs::write(path.join("run.csv"), text.replace(&id, "0123456789ab")).unwrap();
    assert!(matches!(
        store.is_complete(EXPERIMENT, &id),
        Err(Error::Folder { .. })
    ));

    fs::remove_file(path.join("metrics.csv")).unwrap();
    let error = store.is_complete(EXPERIMENT, &id).unwrap_err().to_string();
    assert!(
        error.contains("metrics.csv is missing") && error.contains("delete the folder"),
        "{error}"
    );
}

#[test]
fn names_cannot_lead_out_of_the_results_folder() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    for experiment in ["", "..", ".hidden", "a/b", "a\\b", "a b", "reference"] {
        assert!(
            matches!(store.runs(experiment), Err(Error::Name { .. })),
            "{experiment}"
        );
    }
    for run_id in ["", "../../../etc", "0123456789AB", "0123456789abc"] {
        assert!(
            matches!(store.is_complete("e", run_id), Err(Error::Name { .. })),
            "{run_id}"
        );
    }
}

#[test]
fn the_reference_is_no_experiment_of_the_folder_that_it_lies_in() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    // Even an experiment of the reference that is called like a run does not make it one.
    let mut run = run(4);
    let reference = Store::open(folder.path().join(results::REFERENCE)).unwrap();
    run.row.experiment = "0123456789ab".into();
    reference.write(&run).unwrap();
    assert!(store.experiments().unwrap().is_empty());
    assert_eq!(reference.experiments().unwrap(), ["0123456789ab"]);
}

#[test]
fn a_place_that_cannot_be_written_fails_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(Store::open(&file).unwrap_err().to_string().contains("file"));
    assert!(Store::existing(folder.path().join("absent")).is_err());
}

#[test]
fn many_writers_of_one_run_leave_one_whole_folder() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    store.write(&failed(4, "first try")).unwrap();
    let written = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| store.write(&run(4))))
            .collect();
        threads
            .into_iter()
            .map(|t| t.join().unwrap())
            .filter(Result::is_ok)
            .count()
    });
    assert!(written >= 1);
    assert_eq!(store.read(EXPERIMENT, &run(4).row.run_id).unwrap(), run(4));
    store.clean(EXPERIMENT).unwrap();
    assert!(
        litter(folder.path()).is_empty(),
        "{:?}",
        litter(folder.path())
    );
}

#[test]
fn a_run_of_another_version_is_refused_in_one_line_and_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let path = store.write(&run(4)).unwrap().join("run.csv");
    let text = fs::read_to_string(&path).unwrap();
    let id = run(4).row.run_id;
    // A later version: another schema; the same one with a column that is not known here; both.
    let column = text.replacen("schema,", "schema,of_later,", 1);
    let column = column.replacen("\n2,", "\n2,x,", 1);
    let both = column.replacen("\n2,", "\n3,", 1);
    for (later, says) in [
        (text.replacen("\n2,", "\n3,", 1), "schema version `3`"),
        (column, "column `of_later` is unknown"),
        (both, "schema version `3`"),
    ] {
        fs::write(&path, &later).unwrap();
        for error in [
            store.is_complete(EXPERIMENT, &id).unwrap_err(),
            store.read(EXPERIMENT, &id).unwrap_err(),
            store.write(&run(4)).unwrap_err(),
        ] {
            let message = error.to_string();
            assert!(
                message.contains(says) && !message.contains('\n'),
                "{message}"
            );
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), later);
        // The other runs of the folder are nobody's business.
        let other = store.write(&run(6)).unwrap();
        assert!(store.is_complete(EXPERIMENT, &run(6).row.run_id).unwrap());
        fs::remove_dir_all(other).unwrap();
    }
    assert!(
        litter(folder.path()).is_empty(),
        "{:?}",
        litter(folder.path())
    );
}

/// Files of at most so many bytes can be written, as on a disk that is full from there on.
#[cfg(unix)]
#[test]
fn a_disk_that_is_full_leaves_no_half_run_and_a_run_that_is_there() {
    const FULL: &str = "RESULTS_TEST_FULL_FOLDER";
    let mut long = run(5);
    let row = long.predictions[0].clone();
    long.predictions = (0..5000)
        .map(|n| PredictionRow {
            image: format!("image {n}"),
            ..row.clone()
        })
        .collect();
    if let Some(folder) = std::env::var_os(FULL) {
        let store = Store::open(&folder).unwrap();
        let message = store.write(&long).unwrap_err().to_string();
        let is_line = message.starts_with("cannot ") && !message.contains('\n');
        assert!(is_line && message.contains("predictions.csv"), "{message}");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    store.write(&run(4)).unwrap();
    // Without the trap, the system would end the process where it now refuses to write.
    let child = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 16; exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "a_disk_that_is_full_leaves_no_half_run_and_a_run_that_is_there",
        ])
        .env(FULL, folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout) + String::from_utf8_lossy(&child.stderr);
    assert!(
        child.status.success() && said.contains("1 passed"),
        "{said}"
    );
    assert!(store.is_complete(EXPERIMENT, &run(4).row.run_id).unwrap());
    assert_eq!(store.runs(EXPERIMENT).unwrap().len(), 1);
    assert!(
        litter(folder.path()).is_empty(),
        "{:?}",
        litter(folder.path())
    );
    store.write(&long).unwrap();
    assert_eq!(store.runs(EXPERIMENT).unwrap().len(), 2);
}

const CHILD_FOLDER: &str = "RESULTS_TEST_CHILD_FOLDER";

/// Not a claim: the other process of the tests below, which run this binary again with the variable set.
#[test]
fn child_process() {
    let Some(folder) = std::env::var_os(CHILD_FOLDER) else {
        return;
    };
    let store = Store::open(&folder).unwrap();
    let id = run(2).row.run_id;
    let _lock = store.lock(EXPERIMENT, &id).unwrap();
    let half = Path::new(&folder)
        .join(EXPERIMENT)
        .join(format!(".{id}.1-0.tmp"));
    fs::create_dir(&half).unwrap();
    fs::write(half.join("run.csv"), "schema,run_").unwrap();
    fs::write(Path::new(&folder).join("ready"), "").unwrap();
    std::thread::sleep(Duration::from_secs(60));
}

fn child(folder: &Path) -> Child {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_process"])
        .env(CHILD_FOLDER, folder)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let start = Instant::now();
    while !folder.join("ready").exists() {
        assert!(
            start.elapsed() < Duration::from_secs(30),
            "the other process did not start"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
    child
}

#[test]
fn a_killed_process_frees_its_run_and_its_half_folder_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let id = run(2).row.run_id;
    let mut other = child(folder.path());
    assert!(store.try_lock(EXPERIMENT, &id).unwrap().is_none());
    assert_eq!(store.clean(EXPERIMENT).unwrap(), 0);
    assert_eq!(
        litter(folder.path()).len(),
        2,
        "{:?}",
        litter(folder.path())
    );
    assert!(store.runs(EXPERIMENT).unwrap().is_empty());

    other.kill().unwrap();
    other.wait().unwrap();
    assert!(litter(folder.path()).len() == 2);
    assert_eq!(store.clean(EXPERIMENT).unwrap(), 1);
    assert!(
        litter(folder.path()).is_empty(),
        "{:?}",
        litter(folder.path())
    );

    let lock = store.lock(EXPERIMENT, &id).unwrap();
    store.write(&run(2)).unwrap();
    drop(lock);
    assert!(store.is_complete(EXPERIMENT, &id).unwrap());
}

#[test]
fn what_is_published_of_before_there_were_papers_is_read_and_what_is_written_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    store.write(&run(2)).unwrap();
    let file = store
        .experiment_dir(EXPERIMENT)
        .unwrap()
        .join(PUBLISHED_FILE);
    let id = run(2).row.run_id;
    fs::write(
        &file,
        format!("run_id,top1_percent,source\n{id},69.8,\"S 2018, table 2\"\n"),
    )
    .unwrap();
    let old = store.published(EXPERIMENT).unwrap().remove(0);
    assert_eq!(
        (old.top1_percent, old.source.as_str(), old.paper.as_str()),
        (69.8, "S 2018, table 2", "")
    );
    assert_eq!(
        (old.float_percent, old.images, old.differs.as_deref()),
        (None, None, None)
    );
    let new = PublishedRow {
        paper: "P, 2021".into(),
        paper_row: "W8".into(),
        float_percent: Some(71.9),
        tolerance_points: Some(0.5),
        images: Some(50_000),
        differs: Some("training".into()),
        ..old
    };
    store
        .publish(EXPERIMENT, &[&id], vec![new.clone()])
        .unwrap();
    assert_eq!(store.published(EXPERIMENT).unwrap(), [new]);
}
