//! `sensitivity` as a user meets it, on the shipped model.

#![cfg(unix)]

mod program;
mod shipped;

use std::path::{Path, PathBuf};
use std::process::Output;

use bench::executable::Executable;
use dataset::synthetic::Split;
use program::quantlab;
use quantize::{BiasPolicy, BnMode, WeightQuantization};
use results::{SensitivityRow, read_rows};
use tempfile::TempDir;

fn run(results: &Path, arguments: &[&str]) -> Output {
    quantlab("sensitivity")
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."))
        .env_remove("QUANTLAB_DATA")
        .args(["--data", "data", "--cache"])
        .arg(results.join("cache"))
        .arg("--results")
        .arg(results)
        .args(["--set", "images=1100", "--set", "weights.mapping=symmetric"])
        .args(["--set", "weights.granularity=channel", "--bits", "2,8"])
        .args(arguments)
        .output()
        .unwrap()
}

/// The one file of this name.
fn found(results: &Path, name: &str) -> PathBuf {
    let maps = std::fs::read_dir(results.join("sensitivity")).unwrap();
    let mut maps: Vec<PathBuf> = maps.map(|entry| entry.unwrap().path()).collect();
    assert_eq!(maps.len(), 1);
    maps.remove(0).join(name)
}

fn text(output: &Output) -> String {
    let both = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    both.join("\n")
}

#[test]
fn shares_rounds_and_threads_make_the_same_map_and_a_row_is_the_network_with_that_layer_quantized()
{
    let [whole, shared] = [(); 2].map(|()| TempDir::new().unwrap());
    let output = run(whole.path(), &["--threads", "2"]);
    assert!(output.status.success(), "{}", text(&output));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        said.contains("conv1") && said.lines().all(|line| line.chars().count() <= 80),
        "{said}"
    );
    // One thread, little memory, the second share first.
    for share in ["2/2", "1/2"] {
        let output = run(
            shared.path(),
            &["--shard", share, "--threads", "1", "--memory", "48"],
        );
        assert!(output.status.success(), "{}", text(&output));
    }
    let [one, other] = [&whole, &shared].map(|at| found(at.path(), "sensitivity.csv"));
    assert_eq!(std::fs::read(&one).unwrap(), std::fs::read(other).unwrap());
    assert!(one.with_extension("svg").is_file());
    let rows: Vec<SensitivityRow> = read_rows(&one).unwrap();
    assert_eq!(rows.len(), 20 * 2);
    let layer = "layer2.0.conv2";
    let row = rows
        .iter()
        .find(|row| row.layer == layer && row.bits == 2)
        .unwrap();
    let network = shipped::checkpoint().network;
    let how = WeightQuantization {
        scheme: Some(
            quant_core::Scheme::new(
                quant_core::Bits::new(2).unwrap(),
                quant_core::Mapping::Symmetric,
                quant_core::CodeRange::Narrow,
                quant_core::Granularity::Channel,
                quant_core::RangeMethod::MinMax,
                quant_core::Rounding::HalfEven,
            )
            .unwrap(),
        ),
        bias: BiasPolicy::Float,
        bn: BnMode::Kept,
        first_bits: None,
        last_bits: None,
        bits_of: Default::default(),
    };
    let rounded = quantize::quantize(&network, &how).unwrap();
    let (topology, mut tensors) = network.into_parts();
    let weight = format!("{layer}.weight");
    let own = rounded.state.require(&weight).unwrap().clone();
    tensors.insert(&weight, own);
    let changed = network::Network::new(topology, tensors).unwrap();
    let net = Executable::new(
        &bench::device::Target::Engine,
        changed,
        [32, 32],
        engine::Options::default(),
    )
    .unwrap();
    let data = shipped::images(Split::Test, 1100);
    let running = std::sync::atomic::AtomicBool::new(false);
    let outcomes = bench::evaluate::evaluate(&net, &data, 2, &|_, _| (), &running).unwrap();
    let hits = outcomes.iter().enumerate();
    let hits = hits
        .filter(|(i, outcome)| outcome.top1 == data.label(*i))
        .count();
    // Folded here and kept there: the last bits of sums may differ.
    assert!(
        row.top1_correct.abs_diff(hits as u64) <= 1,
        "{row:?} {hits}"
    );
    let loss: f64 = outcomes.iter().map(|outcome| outcome.loss).sum();
    assert!((row.loss_sum - loss).abs() < 1e-3 * loss, "{row:?} {loss}");
}

#[test]
fn all_but_one_is_a_map_of_its_own_beside_the_first() {
    let place = TempDir::new().unwrap();
    let with = [
        "--set",
        "activations.bits=8",
        "--set",
        "images=64",
        "--set",
        "calibration.images=32",
    ];
    for all_but in [&[][..], &["--all-but"]] {
        let output = run(place.path(), &[&with[..], all_but].concat());
        assert!(output.status.success(), "{}", text(&output));
    }
    let [alone, all_but] = ["sensitivity.csv", "all_but.csv"].map(|name| {
        let rows: Vec<SensitivityRow> = read_rows(&found(place.path(), name)).unwrap();
        assert_eq!(rows.len(), 2 * (20 + 31));
        rows
    });
    let harm = |rows: &[SensitivityRow]| -> f64 {
        let two = rows.iter().filter(|row| row.bits == 2);
        two.map(|row| row.kl_sum).sum()
    };
    // One layer at 2 bits is nothing to all others at 2 bits.
    assert!(harm(&alone) < harm(&all_but) / 2.0);
    assert!(
        all_but
            .iter()
            .all(|row| row.tried == "all_but" && row.images == 64)
    );
}

#[test]
fn what_cannot_be_mapped_is_refused_in_a_line() {
    let place = TempDir::new().unwrap();
    for (arguments, says) in [
        (&["--set", "weights.bits=32"][..], "weights.bits"),
        (&["--memory", "16", "--threads", "64"], "--memory"),
        (&["--set", "method=stored"], "method"),
        (&["--bits", "17"], "--bits"),
        (&["nothing.toml"], "nothing.toml"),
    ] {
        let output = run(place.path(), arguments);
        assert!(!output.status.success(), "{arguments:?}");
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(error.contains(says), "{arguments:?}: {error}");
        assert!(
            error.contains("error:") && !error.contains("panicked"),
            "{error}"
        );
    }
}
