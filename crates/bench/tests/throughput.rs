//! `throughput` as a user meets it: a process, its files, its errors, its peers.

#![cfg(unix)]

mod program;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use program::quantlab;
use results::{LayerRow, SweepTimeRow, ThroughputRow, read_rows};

const SHORT: [&str; 8] = [
    "--models",
    "resnet20",
    "--rounds",
    "1",
    "--seconds",
    "0.05",
    "--threads",
    "1",
];

fn command(arguments: &[&str]) -> Command {
    let mut command = quantlab("throughput");
    command
        .args(SHORT)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn run(arguments: &[&str]) -> Output {
    command(arguments).output().unwrap()
}

/// The one line of an error that ended the program with status 1.
fn error(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.starts_with("error: "), "{text}");
    text
}

fn peer(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/throughput");
    folder.join(name).to_str().unwrap().to_owned()
}

fn text(path: PathBuf) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn one_command_measures_a_network_and_leaves_its_files() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let output = run(&["--out", out.to_str().unwrap()]);
    assert!(output.status.success(), "{output:?}");
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(
        printed.lines().all(|line| line.chars().count() <= 80),
        "{printed}"
    );
    for word in [
        "cifar-resnet20",
        "quantlab",
        "layer3.2.conv2",
        "GFLOP/s",
        "peak memory",
    ] {
        assert!(printed.contains(word), "{word} in {printed}");
    }
    let rows: Vec<ThroughputRow> = read_rows(&out.join("throughput.csv")).unwrap();
    let rate = rows
        .iter()
        .find(|row| row.metric == "images_per_second")
        .unwrap();
    assert_eq!(
        (rate.model.as_str(), rate.n, rate.threads),
        ("cifar-resnet20", 1, 1)
    );
    assert!(rate.value > 1.0 && rate.precision == "float32");
    let peak = rows.iter().find(|row| row.metric == "peak").unwrap();
    assert!(peak.value > 0.1 && peak.unit == "GFLOP/s");
    if cfg!(target_os = "linux") {
        assert!(
            rows.iter()
                .any(|row| row.metric == "peak_memory" && row.value > 1e6)
        );
    }
    let layers: Vec<LayerRow> = read_rows(&out.join("layers.csv")).unwrap();
    assert_eq!(layers.first().unwrap().layer, "conv1");
    assert_eq!(layers.last().unwrap().layer, "linear");
    for precision in ["float32", "int8"] {
        let rows = layers.iter().filter(|row| row.precision == precision);
        let sum: f64 = rows.map(|row| row.share).sum();
        assert!((sum - 1.0).abs() < 1e-6, "{precision}: {sum}");
    }
    let markdown = text(out.join("throughput.md"));
    assert!(
        markdown.starts_with("| model |")
            && markdown.contains("cargo throughput --models cifar-resnet20")
    );
    let picture = text(out.join("layers-cifar-resnet20-float32.svg"));
    assert!(picture.starts_with("<svg") && picture.contains("layer1.0.conv1"));
}

#[test]
fn peers_take_turns_with_us_and_ratios_are_printed() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("README.md");
    std::fs::write(&page, "<!-- throughput:begin --><!-- throughput:end -->\n").unwrap();
    let peer = peer("peer.sh");
    let output = quantlab("throughput")
        .args([
            "--models",
            "resnet20",
            "--rounds",
            "3",
            "--seconds",
            "0.02",
            "--threads",
            "2",
        ])
        .args(["--peers", &peer, "--readme", page.to_str().unwrap()])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let page = text(page);
    let row = page
        .lines()
        .find(|line| line.contains("| pytorch |"))
        .unwrap();
    let cells: Vec<_> = row.split('|').map(str::trim).collect();
    assert_eq!(
        cells[2..9],
        ["pytorch", "float32", "2", "50.00", "50.00", "50.00", "3"]
    );
    let ratio: f64 = cells[11].parse().unwrap();
    assert!(ratio > 0.0, "{row}");
    assert!(
        page.contains("fake 1.0 with 2 threads") && page.contains("--peers peer.sh"),
        "{page}"
    );
}

#[test]
fn a_file_is_measured_under_its_name_beside_those_that_read_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("my net.safetensors");
    let arch = resnet::Arch::parse("cifar-resnet20").unwrap();
    let state = resnet::random_state(&arch, 3);
    std::fs::write(
        &file,
        resnet::to_safetensors(&state, &Default::default()).unwrap(),
    )
    .unwrap();
    let out = folder.path().join("out");
    let output = run(&[
        "--models",
        file.to_str().unwrap(),
        "--peers",
        &peer("peer.sh"),
        "--out",
        out.to_str().unwrap(),
    ]);
    assert!(output.status.success(), "{output:?}");
    let rows: Vec<ThroughputRow> = read_rows(&out.join("throughput.csv")).unwrap();
    let of = |model: &str, who: &str, metric: &str| {
        let mut rows = rows.iter();
        rows.find(|row| (&*row.model, &*row.who, &*row.metric) == (model, who, metric))
            .map(|row| row.value)
    };
    // The peer's own batch, and no PyTorch for a file.
    assert_eq!(of("my net", "onnxruntime", "images_at_once"), Some(1.0));
    assert_eq!(of("my net", "pytorch", "images_at_once"), None);
    assert_eq!(
        of("cifar-resnet20", "pytorch", "images_at_once"),
        Some(128.0)
    );
    let layers: Vec<LayerRow> = read_rows(&out.join("layers.csv")).unwrap();
    assert!(layers.iter().any(|row| row.model == "my net"));
    let markdown = text(out.join("throughput.md"));
    assert!(
        markdown.contains("--models cifar-resnet20,my net.safetensors"),
        "{markdown}"
    );
    assert!(out.join("layers-my net-int8.svg").is_file());
}

#[test]
fn what_cannot_be_done_is_one_line_and_status_1() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    assert!(error(&["--out", file.to_str().unwrap()]).contains("--out"));
    assert!(error(&["--readme", file.to_str().unwrap()]).contains("throughput:begin"));
    let known = engine::Isa::ALL.map(engine::Isa::name).join(", ");
    assert!(error(&["--isa", "mmx"]).contains(&known));
    let missing = if cfg!(target_arch = "x86_64") {
        "neon"
    } else {
        "avx2"
    };
    assert!(error(&["--isa", missing]).contains("cannot run"));
    assert!(error(&["--peers", "/no/such/python"]).contains("/no/such/python"));
    assert!(error(&["--peers", &peer("bare_peer.sh")]).contains("pip install"));
    assert!(error(&["--peers", &peer("mortal_peer.sh")]).contains("out of memory"));
}

#[test]
fn networks_and_numbers_that_make_no_sense_are_one_line_and_status_1() {
    for (option, value, word) in [
        ("--models", "vgg12", "vgg16_bn"),
        ("--models", "none.onnx", "none.onnx"),
        ("--threads", "0", "1 to 1024"),
        ("--rounds", "0", "at least one"),
        ("--seconds", "nan", "--seconds"),
    ] {
        let output = quantlab("throughput")
            .args([option, value])
            .output()
            .unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.lines().count() == 1 && text.contains(word), "{text}");
    }
}

#[test]
fn ctrl_c_ends_the_peers_too_and_says_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let pid = folder.path().join("pid");
    let child = command(&["--peers", &peer("slow_peer.sh")])
        .env("PEER_PID", &pid)
        .spawn()
        .unwrap();
    let written = wait_for(|| {
        std::fs::read_to_string(&pid)
            .ok()
            .filter(|pid| pid.ends_with('\n'))
    });
    let peer = written.trim().to_owned();
    assert!(signal("-0", &peer));
    assert!(signal("-INT", &child.id().to_string()));
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
    assert!(!signal("-0", &peer), "the peer is still there");
}

fn wait_for<T>(mut poll: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = poll() {
            return found;
        }
        assert!(start.elapsed() < Duration::from_secs(60), "not in a minute");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Whether the process was there to get it.
fn signal(signal: &str, pid: &str) -> bool {
    let status = Command::new("kill")
        .args([signal, pid])
        .stderr(Stdio::null())
        .status();
    status.unwrap().success()
}

/// An experiment of two cells on the shipped network, in a folder of its own.
fn sweeps(folder: &Path, vary: &str, arguments: &[&str]) -> Output {
    let experiment = format!(
        "question = 'test'\nexpects = 'nothing'\n[fixed]\nmodel.name = 'resnet20-synthetic'\nimages = 64\nmethod = 'linear'\n[vary]\n{vary}\n"
    );
    let file = folder.join("two.toml");
    std::fs::write(&file, experiment).unwrap();
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data");
    quantlab("throughput")
        .args(["--sweeps", file.to_str().unwrap(), "--threads", "2"])
        .arg("--data")
        .arg(data)
        .arg("--cache")
        .arg(folder.join("cache"))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

#[test]
fn a_whole_sweep_is_timed_cell_by_cell_beside_the_same_cells_of_a_peer() {
    let folder = tempfile::tempdir().unwrap();
    let (out, page) = (folder.path().join("out"), folder.path().join("page.md"));
    std::fs::write(&page, "<!-- sweeps:begin --><!-- sweeps:end -->\n").unwrap();
    let peer = peer("sweep_peer.sh");
    let output = sweeps(
        folder.path(),
        "weights.bits = [32, 8]",
        &[
            "--rounds",
            "2",
            "--peers",
            &peer,
            "--out",
            out.to_str().unwrap(),
            "--readme",
            page.to_str().unwrap(),
        ],
    );
    assert!(output.status.success(), "{output:?}");
    let rows: Vec<SweepTimeRow> = read_rows(&out.join("sweeps.csv")).unwrap();
    let keys = rows.iter().map(|row| {
        let who = (row.cell.as_str(), row.who.as_str());
        (who.0, who.1, row.top1_correct.is_some(), row.n)
    });
    let expected = [
        ("float", "quantlab", true, 2),
        ("float", "pytorch", true, 2),
        ("bits=8", "quantlab", true, 2),
        ("bits=8", "pytorch", true, 2),
        ("", "quantlab", false, 2),
        ("", "pytorch", false, 2),
    ];
    assert_eq!(keys.collect::<Vec<_>>(), expected);
    let hits = |cell: &str, who: &str| {
        let mut found = rows.iter().filter(|row| row.cell == cell && row.who == who);
        found.next().unwrap().top1_correct.unwrap()
    };
    assert_eq!(
        (hits("float", "pytorch"), hits("bits=8", "pytorch")),
        (32, 8)
    );
    assert!(hits("float", "quantlab") > 50);
    let seconds = |cell: &str| {
        let ours = rows.iter().filter(|row| row.who == "quantlab");
        ours.filter(|row| (row.cell.is_empty()) == cell.is_empty())
            .map(|row| row.seconds)
            .sum::<f64>()
    };
    assert!(
        seconds("") >= seconds("cells"),
        "the whole is its cells and more"
    );
    let page = text(page);
    let whole = page.lines().find(|line| line.contains("the whole process"));
    let cells: Vec<_> = whole.unwrap().split('|').map(str::trim).collect();
    assert_eq!(cells.len(), 10);
    assert!(cells[8].parse::<f64>().unwrap() > 0.0, "{cells:?}");
    assert!(
        page.contains("fake 2.0 with 2 threads") && page.contains("--sweeps two "),
        "{page}"
    );
}

#[test]
fn a_sweep_that_cannot_be_measured_is_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let peer = peer("sweep_peer.sh");
    let one_line = |output: Output| {
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        text
    };
    let refused = one_line(sweeps(
        folder.path(),
        "weights.bits = [4]",
        &["--peers", &peer],
    ));
    assert!(
        refused.contains("bits=4") && refused.contains("ValueError"),
        "{refused}"
    );
    let several = one_line(sweeps(
        folder.path(),
        "weights.bits = [8]",
        &["--set", "images=[64, 32]", "--peers", &peer],
    ));
    assert!(several.contains("one set of images"), "{several}");
    let nowhere = quantlab("throughput")
        .args(["--sweeps", "no-such-experiment"])
        .output();
    let nowhere = one_line(nowhere.unwrap());
    assert!(nowhere.contains("no-such-experiment"), "{nowhere}");
}
