//! Images as people have them, on the shipped network: whatever the folder looks like, the hits are those of the same images
//! from the set that they were taken from, or a sentence says what is missing.

mod program;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Output;

use dataset::synthetic::{self, Split};
use dataset::{Dataset, Picture};
use network::HostTensor;
use program::quantlab;
use tempfile::TempDir;

/// What the shipped network sees its images by.
const OWN: &str = "input.normalization=0.44 / 0.22";
const IMAGES: usize = 100;
const EXPERIMENT: &str = "question = 'test'\nexpects = 'the same hits'\n[fixed]\nmodel.weights = 'net.safetensors'\n\
    weights.bits = 32\nimages = 0\n";

/// A folder with the shipped network, an experiment and the registries.
struct Place {
    folder: TempDir,
    images: Dataset,
}

impl Place {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let place = Self {
            folder,
            images: synthetic::generate(2024, Split::Test, IMAGES),
        };
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data");
        std::fs::create_dir(place.path("data")).unwrap();
        for registry in ["models.toml", "datasets.toml"] {
            std::fs::copy(data.join(registry), place.path("data").join(registry)).unwrap();
        }
        let net = data.join("resnet20-synthetic.safetensors");
        std::fs::copy(net, place.path("net.safetensors")).unwrap();
        std::fs::write(place.path("e.toml"), EXPERIMENT).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The images in folders, that of label k called `names[k]`; no folder where the name is empty.
    fn folders(&self, root: &str, names: &[&str]) {
        for i in 0..self.images.len() {
            let class = names[usize::from(self.images.label(i))];
            let folder = self.path(root).join(class);
            std::fs::create_dir_all(&folder).unwrap();
            let picture = Picture {
                width: 32,
                height: 32,
                rgb: self.images.image(i).to_vec(),
            };
            picture
                .write_png(&folder.join(format!("{i:03}.png")))
                .unwrap();
        }
    }

    fn sweep(&self, set: &[&str]) -> Output {
        let mut command = quantlab("sweep");
        command
            .current_dir(self.folder.path())
            .args([
                "e.toml",
                "--data",
                "data",
                "--results",
                "results",
                "--cache",
                "cache",
            ])
            .env_remove("QUANTLAB_DATA");
        for assignment in set {
            command.args(["--set", assignment]);
        }
        command.output().unwrap()
    }

    /// Standard output and error of a sweep that succeeds.
    fn done(&self, set: &[&str]) -> [String; 2] {
        let output = self.sweep(set);
        let texts =
            [&output.stdout, &output.stderr].map(|t| String::from_utf8_lossy(t).into_owned());
        assert!(output.status.success(), "{set:?}: {}", texts[1]);
        texts
    }

    fn refused(&self, set: &[&str]) -> String {
        let output = self.sweep(set);
        assert!(!output.status.success(), "{set:?}");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let errors: Vec<&str> = text
            .lines()
            .filter(|line| line.starts_with("error:"))
            .collect();
        assert_eq!(errors.len(), 1, "{text}");
        errors[0].to_owned()
    }

    /// Hits of the float run on a set, and what was said on standard error. Every call has its own results.
    fn hits(&self, set: &[&str]) -> (usize, String) {
        let _ = std::fs::remove_dir_all(self.path("results"));
        let [_, said] = self.done(set);
        let line = said
            .lines()
            .find(|line| line.contains(" of 100)"))
            .unwrap_or_else(|| panic!("{said}"));
        let hits = line
            .split_once('(')
            .and_then(|(_, rest)| rest.split_once(" of "));
        (hits.unwrap().0.parse().unwrap(), said)
    }
}

#[test]
fn class_folders_of_any_naming_give_the_hits_of_the_set_they_were_made_of() {
    let place = Place::new();
    let first = format!("images={IMAGES}");
    let (expected, said) = place.hits(&["dataset=synthetic", &first]);
    assert!(expected > 80, "{expected}");
    // The set's own normalization is what the network was trained with, and yet nobody said so.
    assert!(
        said.contains("assumed: ") && said.contains("0.44 / 0.22"),
        "{said}"
    );
    assert!(!said.contains("warning:"), "{said}");

    let ids = [
        "n01440764",
        "n02102040",
        "n02979186",
        "n03000684",
        "n03028079",
        "n03394916",
        "n03417042",
        "n03425413",
        "n03445777",
        "n03888257",
    ];
    place.folders("ids", &ids);
    let (hits, said) = place.hits(&["dataset=ids", OWN]);
    assert_eq!(hits, expected);
    assert!(
        said.contains("10 folders") && said.contains("labels.class_list"),
        "{said}"
    );
    assert!(
        said.contains("32 pixels") && said.contains("input.resize"),
        "{said}"
    );
    assert!(!said.contains("normalized"), "{said}");

    // 1 to 10, where 10 stands before 2 in a text.
    place.folders(
        "counted",
        &["1", "2", "3", "4", "5", "6", "7", "8", "9", "10"],
    );
    let (hits, said) = place.hits(&["dataset=counted", OWN]);
    assert_eq!(hits, expected);
    assert!(said.contains("numbers"), "{said}");

    // Any names, in an order that a list says, with a byte order mark in front.
    let names = ["j", "i", "h", "g", "f", "e", "d", "c", "b", "a"];
    place.folders("named", &names);
    std::fs::write(
        place.path("list.txt"),
        format!("\u{feff}{}\r\n", names.join("\r\n")),
    )
    .unwrap();
    let (hits, said) = place.hits(&["dataset=named", "labels.class_list=list.txt", OWN]);
    assert_eq!(hits, expected);
    assert!(!said.contains("labels.class_list"), "{said}");
    // Without the list the order is the other way round, which is told by the hits alone.
    let (hits, said) = place.hits(&["dataset=named", OWN]);
    assert!(hits < 20, "{hits}");
    let warning = said
        .lines()
        .find(|line| line.starts_with("warning:"))
        .unwrap();
    assert!(warning.contains("labels.class_list"), "{warning}");
}

#[test]
fn a_check_finds_its_run_however_the_normalization_is_written() {
    let place = Place::new();
    let check = |normalization: &str, expected: usize| {
        let check = format!(
            "[[check]]\nwhere = {{ input.normalization = '{normalization}' }}\nexpected = {expected}\n"
        );
        std::fs::write(place.path("e.toml"), format!("{EXPERIMENT}{check}")).unwrap();
    };
    let (expected, _) = place.hits(&["dataset=synthetic", "images=100"]);
    check("0.44 0.440 0.44 / 0.22", expected);
    let [_, said] = place.done(&["dataset=synthetic", "images=100"]);
    assert!(said.contains("1 of 1 checks hold"), "{said}");
    check("half", 0);
    assert!(
        !place
            .sweep(&[
                "dataset=synthetic",
                "images=100",
                "input.normalization=0.5/0.5"
            ])
            .status
            .success()
    );
}

#[test]
fn what_is_missing_or_does_not_apply_is_said_in_one_line() {
    let place = Place::new();
    place.folders("flat", &["", "", "", "", "", "", "", "", "", ""]);
    assert!(
        place
            .refused(&["dataset=flat"])
            .contains("100 images lie in no class folder")
    );
    place.folders("nine", &["a", "b", "c", "d", "e", "f", "g", "h", "i", "i"]);
    let nine = place.refused(&["dataset=nine"]);
    assert!(
        nine.contains("labels.class_list") && nine.contains("labels.offset"),
        "{nine}"
    );
    let fixed = place.refused(&["dataset=synthetic", "images=100", "input.size=28"]);
    assert!(fixed.contains("input.size is about folders"), "{fixed}");
    let offset = place.refused(&["dataset=synthetic", "images=100", "labels.offset=1"]);
    assert!(
        offset.contains("label 9") && offset.contains("outputs 0 to 9"),
        "{offset}"
    );
    let wrong = place.refused(&[
        "dataset=synthetic",
        "images=100",
        "input.normalization=imagenett",
    ]);
    assert!(wrong.contains("imagenet, cifar10, half"), "{wrong}");
}

#[test]
fn a_flat_folder_calibrates_and_integers_take_every_normalization() {
    let place = Place::new();
    let train = synthetic::generate(2024, Split::Train, 40);
    let flat = Place {
        folder: TempDir::new().unwrap(),
        images: train,
    };
    flat.folders("flat", &["", "", "", "", "", "", "", "", "", ""]);
    let calibration = format!("calibration.dataset={}", flat.path("flat").display());
    let [table, said] = place.done(&[
        "dataset=synthetic",
        "images=100",
        "weights.bits=8",
        "activations.bits=8",
        "execution=integer",
        "calibration.images=32",
        &calibration,
        "input.normalization=[half, unit, bytes, imagenet, '0.44 0.44 0.44 / 0.22', '112 / 56']",
    ]);
    assert!(
        said.contains("12 runs made, 0 were there already, 0 failed"),
        "{said}"
    );
    assert!(table.contains("| normalization |"), "{table}");
    for name in ["half", "unit", "bytes", "default", "112 / 56"] {
        assert_eq!(
            table.matches(&format!("| {name} |")).count(),
            2,
            "{name}: {table}"
        );
    }
    // Of the integers' codes none differs, whatever images are scaled by.
    let rows = table.lines().filter(|line| line.contains("| W8A8 |"));
    let column = |line: &str| -> Vec<String> {
        line.split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    let heads = column(
        table
            .lines()
            .find(|line| line.contains("codes differ"))
            .unwrap(),
    );
    let at = heads
        .iter()
        .position(|head| head == "codes differ")
        .unwrap();
    let differ: Vec<String> = rows.map(|row| column(row)[at].clone()).collect();
    assert_eq!(differ, ["0"; 6]);
}

#[test]
fn two_networks_and_two_folders_of_one_name_are_told_apart_in_the_table() {
    let place = Place::new();
    let state = std::fs::read(place.path("net.safetensors")).unwrap();
    for name in ["a", "b"] {
        std::fs::create_dir(place.path(name)).unwrap();
        std::fs::write(place.path(name).join("ckpt.safetensors"), &state).unwrap();
    }
    // Another network of the same shape: one weight differs in its last bit.
    let mut other = state.clone();
    other[state.len() - 4] ^= 1;
    std::fs::write(place.path("b/ckpt.safetensors"), other).unwrap();
    let names = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];
    place.folders("a/val", &names);
    place.folders("b/val", &["1", "0", "2", "3", "4", "5", "6", "7", "8", "9"]);
    let [table, said] = place.done(&[
        "model.weights=[a/ckpt.safetensors, b/ckpt.safetensors]",
        "dataset=[a/val, b/val]",
        OWN,
    ]);
    assert!(said.contains("4 runs made"), "{said}");
    assert!(
        said.contains("float model.weights=a/ckpt.safetensors dataset=b/val"),
        "{said}"
    );
    for name in ["a/ckpt.safetensors", "b/ckpt.safetensors", "a/val", "b/val"] {
        assert_eq!(
            table.matches(&format!("| {name} |")).count(),
            2,
            "{name}: {table}"
        );
    }
    // The run ids know no path.
    let [moved, said] = place.done(&["model.weights=./a/ckpt.safetensors", "dataset=./a/val", OWN]);
    assert!(said.contains("0 runs made, 1 were there already"), "{said}");
    assert_eq!(moved, table);
}

#[test]
fn settings_of_images_vary_and_those_of_today_keep_their_runs() {
    let place = Place::new();
    let today = ["dataset=synthetic", "images=100"];
    place.done(&today);
    // What is the set's own is no other run, however it is written.
    let [_, said] = place.done(&[
        today[0],
        today[1],
        "input.normalization=0.44 0.44 0.44 / 0.22 0.22 0.22",
    ]);
    assert!(said.contains("0 runs made, 1 were there already"), "{said}");
    let [_, said] = place.done(&[today[0], today[1], "labels.offset=0"]);
    assert!(said.contains("0 runs made"), "{said}");
    place.folders("val", &["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
    let [table, said] = place.done(&["dataset=val", OWN, "input.size=[32, 24, 48]"]);
    assert!(said.contains("3 runs made"), "{said}");
    for cell in ["| image size |", "| 24 of 24 |", "| 48 of 48 |"] {
        assert!(table.contains(cell), "{cell}: {table}");
    }
}

/// The shipped network with one more output in front, which no image gets.
fn with_background(from: &Path, to: &Path) {
    let mut state = resnet::load(from, None).unwrap().tensors().clone();
    for (name, row) in [
        ("linear.weight", vec![0.0; 64]),
        ("linear.bias", vec![-1e3]),
    ] {
        let mut tensor = state.remove(name).unwrap();
        tensor.data.splice(0..0, row);
        tensor.shape[0] += 1;
        state.insert(name, HostTensor::new(tensor.shape, tensor.data).unwrap());
    }
    std::fs::write(
        to,
        resnet::to_safetensors(&state, &BTreeMap::new()).unwrap(),
    )
    .unwrap();
}

#[test]
fn a_network_with_a_background_class_has_its_labels_moved_by_one() {
    let place = Place::new();
    with_background(
        &place.path("net.safetensors"),
        &place.path("more.safetensors"),
    );
    let set = ["dataset=synthetic", "images=100"];
    let (expected, _) = place.hits(&set);
    let more = [set[0], set[1], "model.weights=more.safetensors"];
    let refused = place.refused(&more);
    assert!(refused.contains("labels.offset = 1"), "{refused}");
    let (hits, _) = place.hits(&[&more[..], &["labels.offset=1"]].concat());
    assert_eq!(hits, expected);
    // As many folders as there are outputs behind the background; numbers from 1 are the outputs themselves.
    let ids: Vec<String> = (0..10).map(|k| format!("n0000000{k}")).collect();
    place.folders("ids", &ids.iter().map(String::as_str).collect::<Vec<_>>());
    place.folders(
        "counted",
        &["1", "2", "3", "4", "5", "6", "7", "8", "9", "10"],
    );
    for set in [
        &["dataset=ids", "labels.offset=1"][..],
        &["dataset=counted"],
    ] {
        let (hits, said) = place.hits(&[&[more[2], OWN], set].concat());
        assert_eq!(hits, expected, "{said}");
    }
    // And the other way round: labels from 1 for a network that counts from 0.
    let (hits, said) = place.hits(&["dataset=counted", "labels.offset=-1", OWN]);
    assert_eq!(hits, expected, "{said}");
}

#[test]
fn an_entry_of_the_registry_says_what_its_network_sees() {
    let place = Place::new();
    place.folders("val", &["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
    let entry = |normalization: &str| {
        let text = format!(
            "[mine]\narch = 'cifar-resnet20'\ndataset = 'synthetic'\nfile = '../net.safetensors'\nlicence = ''\nsource = ''\n\
             normalization = '{normalization}'\nresize = 32\nsize = 32\n"
        );
        std::fs::write(place.path("data/models.toml"), text).unwrap();
    };
    entry("0.44 / 0.22");
    let (expected, _) = place.hits(&["dataset=val", OWN]);
    let named = ["model.name=mine", "dataset=val"];
    let (hits, said) = place.hits(&named);
    assert_eq!(hits, expected);
    assert!(!said.contains("normalized"), "{said}");
    // What stands in the experiment counts before the entry; fixed sets do not look at sizes in it.
    entry("bytes");
    let (worse, said) = place.hits(&named);
    assert!(worse < expected, "{said}");
    assert_eq!(place.hits(&[named[0], named[1], OWN]).0, expected);
    place.hits(&[named[0], "dataset=synthetic", "images=100"]);
    entry("bites");
    let refused = place.refused(&named);
    assert!(
        refused.contains("models.toml: line 7") && refused.contains("bytes"),
        "{refused}"
    );
}
