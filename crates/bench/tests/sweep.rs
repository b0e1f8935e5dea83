//! `sweep` as a user meets it: a process, a results folder, a kill, a second process beside the first.

#![cfg(unix)]

mod place;
mod program;

use std::collections::BTreeMap;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use place::{EXPERIMENT, Place, stderr};
use program::quantlab;

#[test]
fn the_same_command_again_runs_nothing_and_changes_no_byte() {
    let place = Place::new();
    let first = place.run("results", &[]);
    assert!(first.status.success(), "{}", stderr(&first));
    // One float run stands for `weights.bits = 32` under both methods.
    assert!(
        stderr(&first).contains("7 runs made, 0 were there already, 0 failed"),
        "{}",
        stderr(&first)
    );
    let before = place.contents("results");
    let again = place.run("results", &[]);
    assert!(
        stderr(&again).contains("0 runs made, 7 were there already"),
        "{}",
        stderr(&again)
    );
    assert_eq!(before, place.contents("results"));
    assert_eq!(first.stdout, again.stdout);

    let changed = place.run("results", &["--set", "weights.bits=[32, 8, 4, 3]"]);
    assert!(
        stderr(&changed).contains("2 runs made, 5 were there already"),
        "{}",
        stderr(&changed)
    );
}

#[test]
fn of_two_networks_in_a_file_each_runs_under_its_own_name_and_what_is_ignored_is_told() {
    let place = Place::new();
    let state = resnet::load(&place.path("model.safetensors"), None)
        .unwrap()
        .tensors()
        .clone();
    let mut both: network::StateDict = ["plain", "ema"]
        .iter()
        .flat_map(|key| {
            state
                .iter()
                .map(move |(name, t)| (format!("{key}.{name}"), t.clone()))
        })
        .collect();
    let half = both.get_mut("ema.conv1.weight").unwrap();
    half.data.iter_mut().for_each(|weight| *weight *= 0.5);
    let counter = network::HostTensor::new(vec![], vec![7.0]).unwrap();
    both.insert("ema.n_averaged", counter);
    std::fs::write(
        place.path("both.safetensors"),
        resnet::to_safetensors(&both, &BTreeMap::new()).unwrap(),
    )
    .unwrap();
    let run = |results: &str, settings: &[&str]| {
        let fixed = [
            "model.weights=both.safetensors",
            "method=ptq",
            "weights.bits=32",
        ];
        let all = fixed.iter().chain(settings);
        let arguments: Vec<&str> = all.flat_map(|&setting| ["--set", setting]).collect();
        place.run(results, &arguments)
    };
    let refused = run("results", &[]);
    let said = stderr(&refused);
    assert!(
        !refused.status.success() && said.contains("'ema'") && said.contains("model.key"),
        "{said}"
    );
    let refused = run("results", &["model.key=ema"]);
    let said = stderr(&refused);
    assert!(
        !refused.status.success() && said.contains("model.extra"),
        "{said}"
    );
    let output = run(
        "results",
        &["model.key=[\"plain\", \"ema\"]", "model.extra=ignore"],
    );
    assert!(output.status.success(), "{}", stderr(&output));
    let found = place.contents("results");
    let all = |text: &str| found.values().filter(|file| file.contains(text)).count();
    assert_eq!(
        (
            all("model_name=both[plain]\n"),
            all("model_name=both[ema]\n")
        ),
        (1, 1)
    );
    assert_eq!(all("ema.n_averaged,ignored,false,32,"), 1);
}

#[test]
fn the_number_of_threads_changes_no_byte() {
    let place = Place::new();
    for threads in ["1", "2", "3"] {
        let output = place.run(&format!("results{threads}"), &["--threads", threads]);
        assert!(output.status.success(), "{}", stderr(&output));
    }
    assert_eq!(place.contents("results1"), place.contents("results2"));
    assert_eq!(place.contents("results1"), place.contents("results3"));
}

#[test]
fn killed_in_the_middle_and_started_again_it_ends_with_the_same_bytes() {
    let place = Place::new();
    assert!(place.run("whole", &[]).status.success());
    for runs in [1, 3] {
        let mut child = place.command("killed", &[]).spawn().unwrap();
        place.wait_for_runs("killed", runs, &mut child);
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(place.finished_runs("killed") < 7);
    let output = place.run("killed", &[]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(place.contents("whole"), place.contents("killed"));
    let leftovers = std::fs::read_dir(place.path("killed/e"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with('.') && name != ".locks")
        .count();
    assert_eq!(leftovers, 0);
}

#[test]
fn two_shards_at_once_fill_the_folder_that_one_process_fills() {
    let place = Place::new();
    assert!(place.run("whole", &[]).status.success());
    let mut shards: Vec<Child> = ["1/2", "2/2"]
        .iter()
        .map(|shard| {
            place
                .command("shared", &["--shard", shard])
                .spawn()
                .unwrap()
        })
        .collect();
    for shard in &mut shards {
        assert!(shard.wait().unwrap().success());
    }
    assert_eq!(place.contents("whole"), place.contents("shared"));
}

#[test]
fn two_whole_sweeps_at_once_make_every_run_once() {
    let place = Place::new();
    let children: Vec<Child> = (0..2)
        .map(|_| place.command("shared", &[]).spawn().unwrap())
        .collect();
    let made: usize = children
        .into_iter()
        .map(|child| {
            let output = child.wait_with_output().unwrap();
            let text = stderr(&output);
            assert!(output.status.success(), "{text}");
            let line = text
                .lines()
                .find(|line| line.contains("runs made"))
                .unwrap();
            line.split(' ').next().unwrap().parse::<usize>().unwrap()
        })
        .sum();
    assert_eq!(made, 7);
}

#[test]
fn ctrl_c_keeps_what_is_finished_and_says_how_to_go_on() {
    let place = Place::new();
    let mut child = place
        .command("results", &["--set", "images=2000"])
        .spawn()
        .unwrap();
    place.wait_for_runs("results", 1, &mut child);
    let pid = child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-INT", &pid])
            .status()
            .unwrap()
            .success()
    );
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("goes on from there"),
        "{}",
        stderr(&output)
    );
    assert!(place.finished_runs("results") < 7);
}

#[test]
fn list_prints_the_plan_and_runs_nothing() {
    let place = Place::new();
    let output = place.run("results", &["--list"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("7 runs, 0 done, 7 due"), "{text}");
    assert!(!place.path("results").exists());
}

#[test]
fn a_wrong_count_fails_the_sweep() {
    let place = Place::new();
    let check = "[[check]]\nwhere = { weights.bits = 8, method = 'linear' }\nexpected = 200\n";
    std::fs::write(place.path("e.toml"), format!("{EXPERIMENT}{check}")).unwrap();
    let output = place.run("results", &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("check failed:"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn bad_input_is_refused_in_one_line() {
    let place = Place::new();
    std::fs::write(place.path("short.safetensors"), b"\x10\0\0").unwrap();
    std::fs::write(place.path("picture.pth"), b"\xff\xd8\xff\xe0 not a model").unwrap();
    for (arguments, expected) in [
        (vec!["--set", "wieghts.bits=4"], "wieghts.bits"),
        (vec!["--set", "weights.bits=17"], "17"),
        (vec!["--set", "weights.mapping=afine"], "afine"),
        (vec!["--set", "model.weights=nowhere.pth"], "nowhere.pth"),
        (
            vec!["--set", "model.weights=short.safetensors"],
            "short.safetensors",
        ),
        (vec!["--set", "model.weights=picture.pth"], "picture.pth"),
        (vec!["--set", "model.name=resnet19"], "resnet19"),
        (vec!["--set", "dataset=nowhere"], "nowhere"),
        (
            vec!["--set", "images=10001", "--set", "dataset=cifar10"],
            "cifar10",
        ),
        (vec!["--set", "device=abacus"], "abacus"),
        (vec!["--data", "nowhere"], "nowhere"),
        (vec!["--shard", "3/2"], "3/2"),
    ] {
        let output = quantlab("sweep")
            .current_dir(place.0.path())
            .env("QUANTLAB_DATA", "data")
            .arg("e.toml")
            .args(&arguments)
            .output()
            .unwrap();
        let text = stderr(&output);
        let errors: Vec<_> = text
            .lines()
            .filter(|line| line.starts_with("error:"))
            .collect();
        assert!(!output.status.success(), "{arguments:?}");
        assert_eq!(errors.len(), 1, "{arguments:?}: {text}");
        assert!(errors[0].contains(expected), "{arguments:?}: {text}");
        assert!(!text.contains("panicked"), "{arguments:?}: {text}");
    }
}

#[test]
fn published_values_stand_beside_ours_until_the_experiment_says_others() {
    let place = Place::new();
    let published = |top1: &str| {
        let more = format!(
            "[[published]]\nwhere = {{ method = 'ptq', weights.bits = 4 }}\ntop1 = {top1}\nsource = 'Somebody 2018, table 2'\n"
        );
        std::fs::write(place.path("e.toml"), EXPERIMENT.to_owned() + &more).unwrap();
        let output = place.run("results", &["--set", "images=32"]);
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    let table = published("69.8");
    let cells = |table: &str| -> Vec<String> {
        let rows = table
            .lines()
            .filter(|line| line.contains("69.80") || line.contains("70.10"));
        rows.map(str::to_owned).collect()
    };
    assert!(
        table.contains("| published % |") && table.contains("Published: Somebody 2018, table 2.")
    );
    let rows = cells(&table);
    assert!(
        rows.len() == 1 && rows[0].contains("| ptq |") && rows[0].contains("| 4 |"),
        "{rows:?}"
    );
    // The runs are there already: only what is published of them is new.
    let rows = cells(&published("70.1"));
    assert!(rows.len() == 1 && rows[0].contains("70.10"), "{rows:?}");
    let file = place.path("results/e/published.csv");
    assert_eq!(std::fs::read_to_string(&file).unwrap().lines().count(), 2);
    std::fs::write(place.path("e.toml"), EXPERIMENT).unwrap();
    let output = place.run("results", &["--set", "images=32"]);
    assert!(output.status.success() && !file.exists());
}

#[test]
fn other_tools_stand_beside_the_runs_as_long_as_the_experiment_names_them() {
    let place = Place::new();
    let peer = "[[peer]]\nname = 'Tool 1.0'\nwhere = { weights.bits = 4 }\nhits = 9\nimages = 32\nseconds = 5\nsource = 'one run'\n";
    let files = ["results/e/peers.csv", "results/e/cost.svg"].map(|file| place.path(file));
    for (more, is_there) in [(peer, true), ("", false)] {
        std::fs::write(place.path("e.toml"), EXPERIMENT.to_owned() + more).unwrap();
        let output = place.run("results", &["--set", "images=32"]);
        assert!(output.status.success());
        let table = String::from_utf8(output.stdout).unwrap();
        assert_eq!(table.contains("Tool 1.0 (one run)"), is_there);
        assert!(files.iter().all(|file| file.exists() == is_there));
    }
}

const RECONSTRUCTION: &str = "question = 'test'\nexpects = 'nothing: the weights are random'\n\
    [fixed]\nmodel.weights = 'model.safetensors'\ndataset = 'synthetic'\nimages = 16\nmethod = 'ptq'\n\
    weights.bits = 3\nweights.granularity = 'channel'\nactivations.bits = 4\nexecution = 'integer'\n\
    calibration.images = 12\n'reconstruct.iterations' = 25\n'reconstruct.batch' = 8\n\
    [vary]\nreconstruct = ['block']\n";

#[test]
fn a_reconstruction_that_was_killed_goes_on_in_integers_that_are_the_simulation_and_the_same_bytes()
{
    let place = Place::new();
    std::fs::write(place.path("e.toml"), RECONSTRUCTION).unwrap();
    let whole = place.run("whole", &["--cache", "cache-whole", "--threads", "1"]);
    assert!(whole.status.success(), "{}", stderr(&whole));
    let pieces = |cache: &str| -> usize {
        let runs = std::fs::read_dir(place.path(cache).join("training"));
        let runs = runs.into_iter().flatten().flatten();
        let files = runs.map(|run| std::fs::read_dir(run.path().join("pieces")));
        files.flatten().flatten().flatten().count()
    };
    assert_eq!(pieces("cache-whole"), 11);
    let mut child = place
        .command("killed", &["--cache", "cache"])
        .spawn()
        .unwrap();
    let start = Instant::now();
    while pieces("cache") < 3 {
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "no piece in a minute"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!((3..11).contains(&pieces("cache")));
    let resumed = place.run("killed", &["--cache", "cache", "--threads", "3"]);
    assert!(resumed.status.success(), "{}", stderr(&resumed));
    // Tables tell how fast it was.
    let runs = |results: &str| -> BTreeMap<String, String> {
        let all = place.contents(results).into_iter();
        all.filter(|(file, _)| file.contains('/')).collect()
    };
    let found = runs("killed");
    assert!(found == runs("whole"));
    let metrics: Vec<&String> = found
        .iter()
        .filter_map(|(file, text)| file.ends_with("metrics.csv").then_some(text))
        .collect();
    let differ = metrics.iter().flat_map(|text| text.lines());
    let differ: Vec<&str> = differ
        .filter(|line| line.contains(",codes_differ,"))
        .collect();
    assert!(!differ.is_empty());
    for line in differ {
        assert_eq!(line.split(',').nth(3), Some("0"), "{line}");
    }
}
