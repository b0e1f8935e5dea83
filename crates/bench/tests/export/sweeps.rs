//! `sweep --export`.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use bench::device::Target;
use bench::evaluate::evaluate;
use bench::executable::Executable;
use dataset::Dataset;
use dataset::synthetic::Split;
use engine::Execution;
use results::RunRow;

use crate::place::{EXPERIMENT, Place, said, tells};
use crate::shipped;

/// The number of images that a file's own network gets right, in simulation.
fn hits_of(file: &Path, images: &Dataset) -> String {
    let read = resnet::load(file, None).unwrap();
    let net = read.quantizers.network(&read.network).unwrap();
    let size = [images.height(), images.width()];
    let device = Executable::quantized(&Target::Engine, net, size, Execution::Simulate).unwrap();
    let running = AtomicBool::new(false);
    let outcomes = evaluate(&device, images, 2, &|_, _| {}, &running).unwrap();
    let right = outcomes.iter().enumerate();
    let right = right.filter(|(i, outcome)| outcome.top1 == images.label(*i));
    right.count().to_string()
}

#[test]
fn a_sweep_exports_what_is_finished_now_or_before_and_says_what_the_form_cannot_hold() {
    let place = Place::new(&EXPERIMENT.replace("activations.bits = 8\n", ""));
    let both = ["--set", "activations.bits=[8, 9]", "--export", "out"];
    let done = place.sweep(&both);
    let line = said(&done);
    let lines: Vec<&str> = line
        .lines()
        .filter(|l| l.contains("not exported"))
        .collect();
    assert_eq!(lines.len(), 2, "{line}");
    assert!(
        lines[0].contains("activations.bits=9") && lines[0].contains("qdq21"),
        "{line}"
    );
    let images = shipped::images(Split::Test, 32);
    let file =
        |folder: &str, row: &RunRow| place.path(folder).join(format!("e-{}.onnx", row.run_id));
    for row in place.rows() {
        let own = file("out", &row);
        assert_eq!(own.is_file(), row.config.activations_bits() == 8);
        if own.is_file() {
            assert!(tells(&own, "quantlab.hits", &place.hits(&row.run_id)));
            assert_eq!(hits_of(&own, &images), place.hits(&row.run_id));
        }
    }
    // Nothing is due any more: the same files come of what is there.
    place.sweep(&["--set", "activations.bits=8", "--export", "again"]);
    for row in place
        .rows()
        .iter()
        .filter(|row| row.config.activations_bits() == 8)
    {
        let [one, other] = ["out", "again"].map(|folder| std::fs::read(file(folder, row)).unwrap());
        assert!(one == other, "{}", row.run_id);
    }
    std::fs::write(place.path("taken"), "").unwrap();
    let refused = place.run("sweep", &["e.toml", "--export", "taken"]);
    assert!(!refused.status.success());
    assert!(said(&refused).contains("--export"), "{}", said(&refused));
}

#[test]
fn a_trained_run_is_exported_as_its_training_left_it() {
    let experiment = EXPERIMENT
        .replace(
            "method = 'ptq'",
            "method = 'qat'\nqat.images = 32\nqat.batch = 16\nqat.epochs = 1",
        )
        .replace("[8, 4]", "[4]");
    let place = Place::new(&experiment);
    place.sweep(&["--cache", "cache", "--export", "out"]);
    let row = &place.rows()[0];
    let swept = place.path("out").join(format!("e-{}.onnx", row.run_id));
    let images = shipped::images(Split::Test, 32);
    assert_eq!(hits_of(&swept, &images), place.hits(&row.run_id));
    let by_id = ["--run", &row.run_id, "--cache"];
    let done = place.export(&[&by_id[..], &["cache"]].concat());
    assert!(done.status.success(), "{}", said(&done));
    let [one, other] =
        [swept, place.path("net.onnx")].map(|file| resnet::load(&file, None).unwrap());
    assert_eq!(one.sha256, other.sha256);
    std::fs::remove_file(place.path("net.onnx")).unwrap();
    let line = place.refused(&[&by_id[..], &["elsewhere"]].concat());
    assert!(line.contains("the trained network of run"), "{line}");
}
