//! ONNX files of other tools: what ONNX Runtime computes of them, and what is refused.

#[path = "../../../testing/data.rs"]
mod data;
mod program;
mod shipped;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bench::agreement::compare;
use bench::calibration::collect;
use bench::device::Target;
use bench::evaluate::{self, Outcome};
use bench::executable::Executable;
use bench::experiment::Scalar;
use bench::quantized::{Around, quantized};
use bench::settings::{Cell, Quantization, Settings};
use dataset::cifar;
use dataset::synthetic::Split;
use dataset::{Dataset, Record, Sampling, Source};
use engine::{Execution, IntegerArithmetic, Isa, Multiplier, Options, Program, Requantize};
use network::Network;
use network::onnx::{self, Imported};
use program::quantlab;
use quantize::{
    BiasPolicy, Epilogue, Equalization, Form, QuantizedNet, Reach, Sites, StoredQuantizers,
};
use safetensors::SafeTensors;
use tempfile::TempDir;

/// The folder of references, beside the data folder.
fn golden(part: &str) -> Option<PathBuf> {
    let folder = data::data(&[])?.join("../golden/onnx").join(part);
    match folder.is_dir() {
        true => Some(folder),
        false => data::data(&[&format!("../golden/onnx/{part}")]),
    }
}

/// Tensors of a `.safetensors` file: extents and numbers, bytes as they are.
fn tensors(path: &Path) -> BTreeMap<String, (Vec<usize>, Vec<f32>)> {
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let numbers = |view: &safetensors::tensor::TensorView<'_>| match view.dtype() {
        safetensors::Dtype::F32 => {
            let words = view.data().as_chunks::<4>().0;
            Some(words.iter().map(|w| f32::from_le_bytes(*w)).collect())
        }
        safetensors::Dtype::U8 => Some(view.data().iter().map(|&b| f32::from(b)).collect()),
        _ => None,
    };
    let all = file.iter().filter_map(|(name, view)| {
        Some((name.to_owned(), (view.shape().to_vec(), numbers(&view)?)))
    });
    all.collect()
}

/// What a network makes of images, `[n, c, h, w]` or `[n, features]`.
fn run(network: &Network, images: &[f32], n: usize) -> Vec<f32> {
    let input = network.topology().input();
    let size = [input.height, input.width];
    let graph = quantize::lower(network.clone(), size, Epilogue::Fused).unwrap();
    run_program(&Program::new(graph, Options::default()).unwrap(), images, n)
}

fn run_program(program: &Program, images: &[f32], n: usize) -> Vec<f32> {
    let each = program.output().len();
    let mut results = vec![0.0; n * each];
    let mut workspace = program.workspace();
    let group = program.group();
    let images = images.chunks(group * (images.len() / n));
    for (some, results) in images.zip(results.chunks_mut(group * each)) {
        program.run(&mut workspace, some, results).unwrap();
    }
    results
}

/// The largest distance, by the largest number.
fn distance(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(1e-9_f32, |m, v| m.max(v.abs()));
    let far = found.iter().zip(expected).map(|(a, b)| (a - b).abs());
    far.fold(0.0, |m, d| if d > m || d.is_nan() { d } else { m }) / largest
}

fn rows(path: &Path) -> Vec<BTreeMap<String, String>> {
    let mut reader = csv::Reader::from_path(path).unwrap();
    reader.deserialize().map(Result::unwrap).collect()
}

#[test]
fn networks_of_every_family_have_onnx_runtimes_logits() {
    let Some(zoo) = golden("zoo") else { return };
    let mut failures = Vec::new();
    for row in rows(&zoo.join("list.csv")) {
        let (name, file) = (&row["network"], &row["file"]);
        let folder = zoo.join(name);
        let found = onnx::read(&folder.join(file));
        if name == "convnext" {
            let error = found.unwrap_err().to_string();
            assert!(
                error.contains("LayerNormalization") || error.contains("ReduceMean"),
                "{error}"
            );
            continue;
        }
        let Imported { network, .. } = match found {
            Ok(found) => found,
            Err(error) => {
                failures.push(format!("{name} {file}: {error}"));
                continue;
            }
        };
        let io = tensors(&folder.join("io.safetensors"));
        let (shape, pixels) = &io["pixels"];
        let images: Vec<f32> = pixels.iter().map(|p| (p - 128.0) / 64.0).collect();
        let key = format!("logits_ort_{}", file.trim_end_matches(".onnx"));
        let found = run(&network, &images, shape[0]);
        let far = distance(&found, &io[&key].1);
        let equalized = equalized(&network);
        let moved = distance(&run(&equalized, &images, shape[0]), &found);
        if moved.is_nan() || moved > 1e-5 {
            failures.push(format!("{name} {file}: {moved:e} away when equalized"));
        }
        if far.is_nan() || far > 1e-4 {
            failures.push(format!("{name} {file}: {far:e} away"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// `network` with its BatchNorms folded and its layers equalized.
fn equalized(network: &Network) -> Network {
    let how = Equalization {
        reach: Reach::Sums,
        ..Equalization::default()
    };
    quantize::equalize(network, &how).unwrap().network
}

/// Quantized forms that integers do not run: its result is real.
const NOT_STORED: [&str; 1] = ["qdq-int16"];

/// Operators that are left out.
const NOT_READ: [&str; 8] = [
    "Erf",
    "Gelu",
    "InstanceNormalization",
    "LRN",
    "LayerNormalization",
    "Mish",
    "Selu",
    "Softplus",
];

fn softmax(z: &mut [f32], log: bool) {
    let largest = z.iter().fold(f32::NEG_INFINITY, |m, &z| m.max(z));
    let sum: f32 = z.iter().map(|z| (z - largest).exp()).sum();
    z.iter_mut().for_each(|z| {
        let log_share = *z - largest - sum.ln();
        *z = if log { log_share } else { log_share.exp() };
    });
}

#[test]
fn every_form_of_an_operator_gives_its_output_or_is_refused_by_name() {
    let Some(micro) = golden("micro") else { return };
    let io = tensors(&micro.join("io.safetensors"));
    let mut failures = Vec::new();
    for row in rows(&micro.join("list.csv")) {
        let name = &row["name"];
        // A quantized file is read in float; what its codes are is not compared.
        if name.starts_with("qdq") || name.starts_with("qop") {
            continue;
        }
        let found = onnx::read(&micro.join(format!("{name}.onnx")));
        match found {
            Err(error) => {
                let error = error.to_string();
                // A map with channels last comes out: no classifier.
                if name == "transpose-nhwc-nchw" && error.starts_with("the result") {
                    continue;
                }
                let named = NOT_READ.iter().any(|op| error.starts_with(op));
                if !named || error.lines().count() != 1 {
                    failures.push(format!("{name}: {error}"));
                }
            }
            Ok(Imported { network, .. }) => {
                let (shape, images) = &io[&format!("{name}.input")];
                let Some((_, expected)) = io.get(&format!("{name}.output")) else {
                    failures.push(format!("{name}: no output"));
                    continue;
                };
                let mut found = run(&network, images, shape[0]);
                if name.contains("softmax") {
                    // Dropped at the end of a file.
                    let classes = found.len() / shape[0];
                    found
                        .chunks_mut(classes)
                        .for_each(|z| softmax(z, name.starts_with("log")));
                }
                if found.len() != expected.len() {
                    failures.push(format!(
                        "{name}: {} numbers, not {}",
                        found.len(),
                        expected.len()
                    ));
                    continue;
                }
                let far = distance(&found, expected);
                if far.is_nan() || far > 1e-5 {
                    failures.push(format!("{name}: {far:e} away"));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// By their own quantizers: every code is ONNX Runtime's.
#[test]
fn every_quantized_form_of_an_operator_gives_its_output_in_integers() {
    let Some(micro) = golden("micro") else { return };
    let io = tensors(&micro.join("io.safetensors"));
    let mut seen = 0;
    for row in rows(&micro.join("list.csv")) {
        let name = &row["name"];
        let is_quantized = name.starts_with("qdq") || name.starts_with("qop");
        if !is_quantized || NOT_STORED.contains(&name.as_str()) {
            continue;
        }
        let read = onnx::read(&micro.join(format!("{name}.onnx"))).unwrap();
        let topology = read.network.topology();
        let sites = Sites::new(topology).sites.into_iter();
        let codes = sites.filter_map(|site| {
            let code = read.codes.get(topology.name(site.value))?;
            Some((site.name, *code))
        });
        let quantizers = StoredQuantizers::with(read.weights, &codes.collect());
        let net = quantizers.network(&read.network).unwrap();
        let size = [topology.input().height, topology.input().width];
        let graph = quantize::lower_quantized(net, size, Epilogue::Fused).unwrap();
        let (shape, images) = &io[&format!("{name}.input")];
        let (_, expected) = &io[&format!("{name}.output")];
        let program = Program::new(graph, Options::default()).unwrap();
        let far = distance(&run_program(&program, images, shape[0]), expected);
        assert!(far < 1e-5, "{name}: {far:e} away");
        seen += 1;
    }
    assert!(seen > 0);
}

#[test]
fn hostile_files_are_refused_in_one_line_or_run_right() {
    let Some(hostile) = golden("hostile") else {
        return;
    };
    let io = tensors(&hostile.join("run.safetensors"));
    let mut failures = Vec::new();
    for row in rows(&hostile.join("list.csv")) {
        let (name, expect) = (&row["name"], row["expect"].as_str());
        let path = hostile.join(format!("{name}.onnx"));
        match (resnet::load(&path, None).map(|read| read.network), expect) {
            (Err(error), "refuse" | "either") => {
                let line = error.to_string();
                if line.lines().count() != 1 || line.len() > 300 {
                    failures.push(format!("{name}: {line}"));
                }
                eprintln!("{name}: {line}");
            }
            (Err(error), _) => failures.push(format!("{name} should run: {error}")),
            (Ok(_), "refuse") => failures.push(format!("{name} should be refused: {}", row["why"])),
            (Ok(network), _) => {
                // Quantized files are read in float.
                if name.starts_with("qdq") {
                    continue;
                }
                if let Some((shape, images)) = io.get(&format!("{name}.input")) {
                    let far = distance(
                        &run(&network, images, shape[0]),
                        &io[&format!("{name}.output")].1,
                    );
                    if far.is_nan() || far > 1e-4 {
                        failures.push(format!("{name}: {far:e} away"));
                    }
                } else {
                    eprintln!("{name}: read");
                }
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// What a zoo network was made for: its pixels as images, of as many classes as it tells apart.
fn images(io: &BTreeMap<String, (Vec<usize>, Vec<f32>)>, classes: usize) -> Dataset {
    let (shape, pixels) = &io["pixels"];
    let each = shape[1] * shape[2] * shape[3];
    let record = |i: usize| Record {
        offset: i * each,
        label: (i % classes) as u16,
        digest: None,
        id: None,
    };
    let source = Source {
        name: "zoo".into(),
        preprocessing: "none".into(),
        classes: (0..classes).map(|class| class.to_string()).collect(),
        height: shape[2],
        width: shape[3],
        normalization: "half".parse().unwrap(),
        sampling: Sampling::First,
    };
    let bytes: Vec<u8> = pixels.iter().map(|&p| p as u8).collect();
    Dataset::new(source, Arc::new(bytes), (0..shape[0]).map(record).collect()).unwrap()
}

fn eight_bits() -> Quantization {
    bits_of(8)
}

/// Weights and activations of so many bits, in integers where those hold them.
fn bits_of(bits: i64) -> Quantization {
    let text = |word: &str| Scalar::Text(word.to_owned());
    let settings = [
        ("model.weights", text("net.onnx")),
        ("method", text("ptq")),
        ("bn", text("folded")),
        ("weights.bits", Scalar::Integer(bits)),
        ("weights.mapping", text("symmetric")),
        ("weights.granularity", text("channel")),
        ("activations.bits", Scalar::Integer(bits)),
        (
            "execution",
            text(if bits > 8 { "simulate" } else { "integer" }),
        ),
    ];
    let settings = settings.map(|(key, value)| (key.to_owned(), value));
    let cell = Cell::new(&Settings::from(settings)).unwrap();
    cell.quantization.unwrap()
}

#[test]
fn integers_have_the_codes_of_the_simulation_whatever_the_kernels_and_the_device_the_engines_logits()
 {
    let Some(zoo) = golden("zoo") else { return };
    let running = AtomicBool::new(false);
    let how = eight_bits();
    let mut failures = Vec::new();
    for row in rows(&zoo.join("list.csv")) {
        let (name, file) = (&row["network"], &row["file"]);
        let folder = zoo.join(name);
        if name == "convnext" {
            continue;
        }
        let mut checkpoint = resnet::load(&folder.join(file), None).unwrap();
        if file == "ts13.onnx" {
            checkpoint.network = equalized(&checkpoint.network);
        }
        let io = tensors(&folder.join("io.safetensors"));
        let data = images(&io, checkpoint.classes());
        let size = [data.height(), data.width()];
        let seen = collect(&checkpoint.network, &data, 2, &running).unwrap();
        let net = quantized(&checkpoint, &how, Some(&seen), &Around::alone()).unwrap();
        let found = compare(&net, how.execution, &data, 2, &running).unwrap();
        let compared: u64 = found.iter().map(|node| node.n).sum();
        let differ: u64 = found.iter().map(|node| node.differ).sum();
        if differ > 0 || compared == 0 {
            failures.push(format!(
                "{name} {file}: {differ} of {compared} codes differ"
            ));
        }
        let mut pixels = vec![0.0; data.len() * data.image_len()];
        data.write_batch(0..data.len(), &mut pixels);
        let logits = |isa| {
            let graph = quantize::lower_quantized(net.clone(), size, Epilogue::Fused).unwrap();
            let options = Options {
                isa,
                execution: how.execution,
                ..Options::default()
            };
            let program = Program::new(graph, options).unwrap();
            let mut results = vec![0.0; data.len() * program.output().len()];
            let mut workspace = program.workspace();
            program.run(&mut workspace, &pixels, &mut results).unwrap();
            results
        };
        let plain = logits(Isa::Portable);
        if Isa::available().into_iter().any(|isa| logits(isa) != plain) {
            failures.push(format!("{name} {file}: kernels differ"));
        }
        let float = run(&checkpoint.network, &pixels, data.len());
        let target = Target::open("flex").unwrap();
        let device = Executable::new(
            &target,
            checkpoint.network.clone(),
            size,
            Options::default(),
        )
        .unwrap();
        let on_device = evaluate::logits(&device, &data, 1, &|_| {}, &running).unwrap();
        let far = distance(&on_device, &float);
        if far.is_nan() || far > 1e-4 {
            failures.push(format!("{name} {file}: on the device {far:e} away"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// The same networks as PyTorch's tensors alone, without the graph: what computes with them is read off names and shapes.
#[test]
fn families_are_recognised_by_their_tensors_and_have_pytorchs_logits() {
    let Some(zoo) = golden("zoo") else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut failures = Vec::new();
    for (name, family) in [
        ("resnext", "resnet"),
        ("resnet-cifar-stem", "resnet"),
        ("resnet18-basic", "resnet"),
        ("resnet50-bottleneck", "resnet"),
        ("mobilenet-v2", "mobilenet_v2"),
        ("vgg", "vgg"),
        ("vgg-bn", "vgg"),
        ("squeezenet", "squeezenet"),
    ] {
        let Imported { network, .. } = onnx::read(&zoo.join(name).join("ts13.onnx")).unwrap();
        let path = folder.path().join(format!("{name}.safetensors"));
        std::fs::write(
            &path,
            resnet::to_safetensors(network.tensors(), &BTreeMap::new()).unwrap(),
        )
        .unwrap();
        let read = match resnet::load(&path, None) {
            Ok(read) => read,
            Err(error) => {
                failures.push(format!("{name}: {error}"));
                continue;
            }
        };
        assert_eq!(read.architecture, family, "{name}");
        if name == "mobilenet-v2" {
            // Made smaller with strides of its own, which tensors do not tell.
            continue;
        }
        let io = tensors(&zoo.join(name).join("io.safetensors"));
        let (shape, pixels) = &io["pixels"];
        let images: Vec<f32> = pixels.iter().map(|p| (p - 128.0) / 64.0).collect();
        let (topology, numbers) = read.network.into_parts();
        let topology = topology.at([shape[2], shape[3]]).unwrap();
        let network = Network::new(topology, numbers).unwrap();
        let far = distance(&run(&network, &images, shape[0]), &io["logits_torch"].1);
        if far.is_nan() || far > 1e-4 {
            failures.push(format!("{name}: {far:e} away"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Codes by value, counted from the code of zero: a file may count them from another end.
fn steps(
    net: &QuantizedNet,
    pixels: &[f32],
    size: [usize; 2],
    execution: Execution,
) -> BTreeMap<String, Vec<i32>> {
    let graph = quantize::lower_quantized(net.clone(), size, Epilogue::Separate).unwrap();
    let options = Options {
        execution,
        large: engine::WHOLE_GROUPS,
        ..Options::default()
    };
    let program = Program::new(graph, options).unwrap();
    let n = pixels.len() / program.input().len();
    let names: Vec<String> = program.nodes().map(|node| node.name.to_owned()).collect();
    let zeros: BTreeMap<String, i32> = (net.activations.iter())
        .flat_map(|(codes, _)| codes.iter().map(|(site, q)| (site.clone(), q.zero_point)))
        .collect();
    let sites = Sites::new(&net.topology);
    let site_of = |name: &str| {
        let id = net.topology.find(name).unwrap();
        quantize::Units::new(&net.topology)
            .site(&net.topology, network::Value::Node(id))
            .to_owned()
    };
    assert!(!sites.sites.is_empty());
    let mut all = BTreeMap::new();
    let mut results = vec![0.0; n * program.output().len()];
    let mut workspace = program.workspace();
    program
        .run_observed(&mut workspace, pixels, &mut results, &mut |seen| {
            let name = &names[seen.node];
            let zero = zeros[&site_of(name)];
            let codes = seen.to_codes().unwrap();
            all.insert(name.clone(), codes.iter().map(|q| q - zero).collect());
        })
        .unwrap();
    all
}

#[test]
fn what_is_exported_and_read_as_stored_has_the_same_codes_everywhere() {
    let Some(zoo) = golden("zoo") else { return };
    let running = AtomicBool::new(false);
    let folder = tempfile::tempdir().unwrap();
    let mut failures = Vec::new();
    let shipped = shipped::checkpoint();
    let mut cases = vec![(
        "shipped".to_owned(),
        shipped,
        shipped::images(Split::Test, 8),
    )];
    for row in rows(&zoo.join("list.csv")) {
        if row["network"] != "convnext" && row["file"] == "ts17.onnx" {
            let path = zoo.join(&row["network"]).join("ts17.onnx");
            let checkpoint = resnet::load(&path, None).unwrap();
            let io = tensors(&path.with_file_name("io.safetensors"));
            let data = images(&io, checkpoint.classes());
            if row["network"] == "mobilenet-v2" {
                let mut equalized_too = resnet::load(&path, None).unwrap();
                equalized_too.network = equalized(&checkpoint.network);
                let name = "mobilenet-v2, equalized".to_owned();
                cases.push((name, equalized_too, images(&io, checkpoint.classes())));
            }
            cases.push((row["network"].clone(), checkpoint, data));
        }
    }
    for (name, checkpoint, data) in cases {
        let size = [data.height(), data.width()];
        let seen = collect(&checkpoint.network, &data, 2, &running).unwrap();
        for (bits, form) in [
            (8, Form::Qdq),
            (4, Form::Qdq),
            (4, Form::Qdq21),
            (10, Form::Qdq21),
            (8, Form::Qonnx),
            (3, Form::Qonnx),
            (10, Form::Qonnx),
        ] {
            let how = bits_of(bits);
            let net = quantized(&checkpoint, &how, Some(&seen), &Around::alone()).unwrap();
            let name = format!("{name}, {form:?}, {bits} bits");
            let file = match quantize::to_onnx(&net, form, &BTreeMap::new()) {
                Ok(file) => file,
                Err(error) => {
                    failures.push(format!("{name}: {error}"));
                    continue;
                }
            };
            let path = folder.path().join("net.onnx");
            std::fs::write(&path, file).unwrap();
            let read = match resnet::load(&path, None) {
                Ok(read) => read,
                Err(error) => {
                    failures.push(format!("{name}: {error}"));
                    continue;
                }
            };
            let stored = read.quantizers.network(&read.network);
            let stored = match stored {
                Ok(stored) if stored.activations.is_some() => stored,
                other => {
                    failures.push(format!("{name}: not read as stored: {:?}", other.err()));
                    continue;
                }
            };
            let mut pixels = vec![0.0; data.len() * data.image_len()];
            data.write_batch(0..data.len(), &mut pixels);
            let codes = |net: &QuantizedNet| steps(net, &pixels, size, how.execution);
            let (ours, theirs) = (codes(&net), codes(&stored));
            // A copy may be one node here and two there.
            let copies = |name: &str| {
                let id = net.topology.find(name);
                id.is_some_and(|id| net.topology.node(id).op.is_copy())
            };
            let found: BTreeSet<&Vec<i32>> = theirs.values().collect();
            let mut made = ours.iter().filter(|(name, _)| !copies(name));
            if let Some((value, _)) = made.find(|(_, codes)| !found.contains(codes)) {
                failures.push(format!("{name}: codes of {value} differ"));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// A Quant node's formula, which our reader carries out on constants, gives the weights that it was written for.
#[test]
fn the_quant_nodes_of_weights_give_exactly_the_weights() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("net.onnx");
    let shipped = shipped::checkpoint();
    for mapping in ["affine", "symmetric", "power_of_two"] {
        for (granularity, bits) in [
            ("tensor", 2),
            ("channel", 1),
            ("channel", 5),
            ("tensor", 8),
            ("channel", 13),
        ] {
            let mut settings = vec![
                ("model.name", Scalar::Text("shipped".into())),
                ("bn", Scalar::Text("folded".into())),
                ("weights.bits", Scalar::Integer(bits)),
                ("weights.mapping", Scalar::Text(mapping.into())),
                ("weights.granularity", Scalar::Text(granularity.into())),
            ];
            if mapping != "affine" {
                settings.push(("weights.narrow", Scalar::Bool(bits > 5)));
            }
            let settings = settings
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value));
            let how = Cell::new(&settings.collect())
                .unwrap()
                .quantization
                .unwrap();
            let net = quantized(&shipped, &how, None, &Around::alone()).unwrap();
            let file = quantize::to_onnx(&net, Form::Qonnx, &BTreeMap::new()).unwrap();
            std::fs::write(&path, file).unwrap();
            let read = resnet::load(&path, None).unwrap();
            assert!(!read.quantizers.is_empty());
            for (name, tensor) in net.state.iter() {
                let found = read.network.tensors().get(name);
                assert!(
                    found == Some(tensor),
                    "{mapping}, {granularity}, {bits} bits: {name}"
                );
            }
        }
    }
}

#[test]
fn operator_set_13_refuses_more_than_8_bits_and_names_the_forms_that_have_them() {
    let shipped = shipped::checkpoint();
    let data = shipped::images(Split::Test, 8);
    let seen = collect(&shipped.network, &data, 2, &AtomicBool::new(false)).unwrap();
    let net = quantized(&shipped, &bits_of(9), Some(&seen), &Around::alone()).unwrap();
    let refused = quantize::to_onnx(&net, Form::Qdq, &BTreeMap::new()).unwrap_err();
    let line = refused.to_string();
    assert!(line.contains("qdq21") && line.contains("qonnx"), "{line}");
}

#[test]
fn a_float_file_has_the_rounded_weights_as_they_are() {
    let both = bits_of(4);
    let mut weights_alone = bits_of(4);
    weights_alone.activations = None;
    weights_alone.weights.bias = BiasPolicy::Float;
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("net.onnx");
    let shipped = shipped::checkpoint();
    let data = shipped::images(Split::Test, 8);
    let net = quantized(&shipped, &weights_alone, None, &Around::alone()).unwrap();
    std::fs::write(
        &path,
        quantize::to_onnx(&net, Form::Float, &BTreeMap::new()).unwrap(),
    )
    .unwrap();
    let read = resnet::load(&path, None).unwrap();
    assert!(read.quantizers.is_empty());
    for (name, tensor) in net.state.iter() {
        assert_eq!(read.network.tensors().get(name), Some(tensor), "{name}");
    }
    let seen = collect(&shipped.network, &data, 2, &AtomicBool::new(false)).unwrap();
    let net = quantized(&shipped, &both, Some(&seen), &Around::alone()).unwrap();
    let refused = quantize::to_onnx(&net, Form::Float, &BTreeMap::new()).unwrap_err();
    assert!(
        refused.to_string().contains("activations.bits"),
        "{refused}"
    );
}

/// ONNX Runtime's own static quantization of the CIFAR-10 ResNet-20: 9168 of 10,000 in its integers as QDQ, 9163 as operators on
/// integers. With its arithmetic each prediction is its prediction, with the exact one nearly each.
#[test]
fn a_network_that_onnx_runtime_quantized_runs_as_it_does_there() {
    let Some(folder) = golden("ort-qdq") else {
        return;
    };
    let Some(data) = data::data(&["cifar10/test_batch.bin"]) else {
        return;
    };
    let tested = cifar::open_test(cifar::Kind::Ten, &data.join("cifar10")).unwrap();
    let size = [tested.height(), tested.width()];
    let rows = rows(&folder.join("predictions.csv"));
    let ort = Execution::Integer(IntegerArithmetic {
        requantize: Requantize::OnnxRuntime,
        multiplier: Multiplier::Float,
        ..IntegerArithmetic::default()
    });
    let others = |device: &Executable, tested: &Dataset, column: &str| {
        let running = AtomicBool::new(false);
        let found = evaluate::evaluate(device, tested, 2, &|_, _| {}, &running).unwrap();
        let pairs = found.iter().zip(&rows);
        let is_other = |(one, row): &(&Outcome, &BTreeMap<String, String>)| {
            one.top1 != row[column].parse::<u16>().unwrap()
        };
        pairs.filter(is_other).count()
    };
    for (file, column) in [
        ("resnet20-qdq.onnx", "qdq_all"),
        ("resnet20-qoperator.onnx", "qoperator_all"),
    ] {
        let read = resnet::load(&folder.join(file), None).unwrap();
        for (execution, most) in [(eight_bits().execution, 20), (ort, 0)] {
            let net = read.quantizers.network(&read.network).unwrap();
            let device = Executable::quantized(&Target::Engine, net, size, execution).unwrap();
            let other = others(&device, &tested, column);
            assert!(
                other <= most,
                "{file}, {execution:?}: {other} predictions are others"
            );
        }
    }
    // Its ReLUs are in the quantizers, and back in the network.
    let read = resnet::load(&folder.join("resnet20-qoperator.onnx"), None).unwrap();
    let device = Executable::new(&Target::Engine, read.network, size, Options::default()).unwrap();
    let other = others(&device, &tested.subset(1000), "float_all");
    assert!(other <= 20, "in float: {other} predictions are others");
}

/// The programs that users run, on the shipped model; the table of a network's graph needs no test set.
#[test]
fn an_exported_file_can_be_looked_at_and_a_wrong_path_is_refused_before_the_work() {
    let scratch = TempDir::new().unwrap();
    let run = |command: &str, arguments: &[&str]| {
        quantlab(command)
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."))
            .args(arguments)
            .arg("--cache")
            .arg(scratch.path())
            .env_remove("QUANTLAB_DATA")
            .output()
            .unwrap()
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let file = scratch.path().join("net.onnx");
    let file = file.to_str().unwrap();
    let settings = [
        "method=ptq",
        "bn=folded",
        "weights.mapping=symmetric",
        "activations.bits=4",
    ];
    let set = |settings: &[&'static str]| -> Vec<&'static str> {
        settings.iter().flat_map(|one| ["--set", one]).collect()
    };
    let export = "export";
    let done = run(export, &[&[file], &set(&settings)[..]].concat());
    assert!(done.status.success(), "{}", text(&done.stderr));
    assert!(text(&done.stdout).contains("20 layers of quantized weights, 20 int32 biases"));
    let model = format!("model.weights={file}");
    let graph = run("inspect", &["--graph", "--set", &model]);
    assert!(graph.status.success(), "{}", text(&graph.stderr));
    let table = text(&graph.stdout);
    assert!(
        table.lines().any(|line| line.starts_with("layer3.2.add ")),
        "{table}"
    );
    let nowhere = scratch.path().join("none").join("net.onnx");
    let refused = run(export, &[nowhere.to_str().unwrap()]);
    assert!(!refused.status.success());
    assert_eq!(text(&refused.stderr).lines().count(), 1);
    assert!(text(&refused.stderr).contains("there is no folder"));
}
