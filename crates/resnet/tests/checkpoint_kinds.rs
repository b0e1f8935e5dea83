//! Files as people have them: what training code, wrappers, pruning and averaging leave in a checkpoint. Every one is
//! read as the network that it holds, or refused in one line that says what it is and what to do.

mod support;

use std::path::{Path, PathBuf};

use network::StateDict;
use resnet::{Arch, Checkpoint, Extra, Reading, load, load_as, read_tensors};
use support::{Declared, archive, call, dict, legacy, tensor_dict, torch_archive, whole};

/// A network's tensors under names of their own, with values that tell them apart.
struct Network {
    tensors: Vec<(String, Vec<usize>)>,
    first_key: usize,
    shift: f32,
}

impl Network {
    fn new(arch: &str) -> Self {
        Self {
            tensors: Arch::parse(arch).unwrap().expected(),
            first_key: 0,
            shift: 0.0,
        }
    }

    fn named(mut self, name: impl Fn(&str) -> String) -> Self {
        self.tensors.iter_mut().for_each(|(n, _)| *n = name(n));
        self
    }

    /// The same with other values, in storages of its own.
    fn other(arch: &str) -> Self {
        Self {
            first_key: 1000,
            shift: 0.5,
            ..Self::new(arch)
        }
    }

    fn pickle(&self) -> Vec<u8> {
        let declared = self.tensors.iter().enumerate();
        let declared: Vec<Declared> = declared
            .map(|(at, (name, shape))| Declared::contiguous(name, self.first_key + at, shape))
            .collect();
        tensor_dict(&declared)
    }

    fn values(&self, at: usize) -> Vec<f32> {
        let count: usize = self.tensors[at].1.iter().product();
        let value = |n: usize| ((at + n) % 512) as f32 / 64.0 + self.shift;
        (0..count).map(value).collect()
    }

    fn storages(&self) -> Vec<(String, Vec<u8>)> {
        let bytes = |at| {
            self.values(at)
                .iter()
                .flat_map(|v| v.to_le_bytes())
                .collect()
        };
        let all = 0..self.tensors.len();
        all.map(|at| (format!("data/{}", self.first_key + at), bytes(at)))
            .collect()
    }

    /// As [`Arch::expected`] names them.
    fn state(arch: &str, shift: f32) -> StateDict {
        let network = Self {
            shift,
            ..Self::new(arch)
        };
        let tensors = network.tensors.iter().enumerate();
        let tensor = |(at, (name, shape)): (usize, &(String, Vec<usize>))| {
            let tensor = network::HostTensor::new(shape.clone(), network.values(at)).unwrap();
            (name.clone(), tensor)
        };
        tensors.map(tensor).collect()
    }
}

/// PyTorch's container around an object and the storages of networks.
fn file(folder: &str, object: &[u8], networks: &[&Network]) -> Vec<u8> {
    let pickle = whole(object);
    let mut entries = vec![(format!("{folder}/data.pkl"), pickle)];
    entries.push((format!("{folder}/byteorder"), b"little".to_vec()));
    for network in networks {
        let storages = network.storages();
        entries.extend(
            storages
                .into_iter()
                .map(|(name, bytes)| (format!("{folder}/{name}"), bytes)),
        );
    }
    let entries: Vec<(&str, &[u8])> = entries
        .iter()
        .map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
        .collect();
    torch_archive(&entries)
}

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn read(
        &self,
        object: &[u8],
        networks: &[&Network],
        reading: &Reading,
    ) -> Result<Checkpoint, String> {
        let path = self.write("net.pth", &file("net", object, networks));
        load_as(&path, None, reading).map_err(|error| {
            let message = error.to_string();
            assert!(
                message.contains("net.pth") && !message.contains('\n') && message.len() < 700,
                "{message}"
            );
            message
        })
    }
}

fn refusal(path: &Path) -> String {
    load(path, None).unwrap_err().to_string()
}

const SMALL: &str = "cifar-resnet20";

#[test]
fn a_file_loads_whatever_the_length_of_its_stem() {
    let place = Place::new();
    let tensors = [
        Declared::contiguous("a.weight", 0, &[2, 3]),
        Declared::contiguous("a.bias", 1, &[3]),
        Declared::contiguous("b.weight", 2, &[1]),
    ];
    let pickle = whole(&tensor_dict(&tensors));
    let storages: Vec<Vec<u8>> = [6usize, 3, 1]
        .iter()
        .map(|&count| (0..count).flat_map(|n| (n as f32).to_le_bytes()).collect())
        .collect();
    let mut first = None;
    for len in 1..=80 {
        let stem = "s".repeat(len);
        let names = [
            "data.pkl",
            "byteorder",
            "data/0",
            "data/1",
            "data/2",
            "version",
        ];
        let names = names.map(|name| format!("{stem}/{name}"));
        let contents: [&[u8]; 6] = [
            &pickle,
            b"little",
            &storages[0],
            &storages[1],
            &storages[2],
            b"3\n",
        ];
        let entries: Vec<(&str, &[u8])> = names.iter().map(String::as_str).zip(contents).collect();
        for bytes in [
            torch_archive(&entries),
            archive(&entries, support::Method::Stored),
        ] {
            let path = place.write(&format!("{stem}.pth"), &bytes);
            let state = read_tensors(&path).unwrap_or_else(|error| panic!("{len}: {error}"));
            assert_eq!(state.get("a.bias").unwrap().data, [0.0, 1.0, 2.0]);
            assert_eq!(*first.get_or_insert(state.clone()), state);
        }
    }
    let network = Network::new(SMALL);
    let stem = "resnet18_cifar10_best";
    let path = place.write(
        "resnet18_cifar10_best.pth",
        &file(stem, &network.pickle(), &[&network]),
    );
    assert_eq!(
        load(&path, None).unwrap().tensors(),
        &Network::state(SMALL, 0.0)
    );
}

#[test]
fn of_several_networks_none_is_taken_unless_it_is_chosen() {
    let place = Place::new();
    let (net, ema) = (Network::new(SMALL), Network::other(SMALL));
    let averaged = tensor_dict(&[Declared::contiguous("n_averaged", 0, &[])]);
    let mut with_counter = averaged.clone();
    with_counter.extend(&ema.pickle()[1..]);
    for (object, named) in [
        (
            dict(&[
                ("state_dict", net.pickle()),
                ("state_dict_ema", ema.pickle()),
            ]),
            "'state_dict_ema' (cifar-resnet20)",
        ),
        (
            dict(&[("model", net.pickle()), ("model_ema", with_counter)]),
            "'model_ema' (cifar-resnet20, 1 tensor more)",
        ),
        // Identical twins.
        (
            dict(&[("model", net.pickle()), ("model_ema", net.pickle())]),
            "'model' (cifar-resnet20), 'model_ema' (cifar-resnet20)",
        ),
    ] {
        let message = place
            .read(&object, &[&net, &ema], &Reading::default())
            .unwrap_err();
        assert!(
            message.contains(named) && message.contains("model.key"),
            "{message}"
        );
    }
    let object = dict(&[
        ("state_dict", net.pickle()),
        ("state_dict_ema", ema.pickle()),
    ]);
    for (key, shift) in [("state_dict", 0.0), ("state_dict_ema", 0.5)] {
        let reading = Reading {
            key: Some(key.to_owned()),
            ..Reading::default()
        };
        let read = place.read(&object, &[&net, &ema], &reading).unwrap();
        assert_eq!(read.tensors(), &Network::state(SMALL, shift), "{key}");
    }
}

#[test]
fn extra_tensors_are_named_and_ignored_on_request() {
    let place = Place::new();
    let mut network = Network::new(SMALL);
    network.tensors.push(("conv1.act_alpha".to_owned(), vec![]));
    network.tensors.push(("val_acc.tp".to_owned(), vec![1]));
    let object = network.pickle();
    let message = place
        .read(&object, &[&network], &Reading::default())
        .unwrap_err();
    assert!(
        message.contains("'conv1.act_alpha', 'val_acc.tp'") && message.contains("model.extra"),
        "{message}"
    );
    let reading = Reading {
        extra: Extra::Ignore,
        ..Reading::default()
    };
    let read = place.read(&object, &[&network], &reading).unwrap();
    assert_eq!(read.ignored, ["conv1.act_alpha", "val_acc.tp"]);
    assert_eq!(read.tensors(), &Network::state(SMALL, 0.0));
    let notes: Vec<_> = read.notes().map(|note| (note.tensor, note.kind)).collect();
    assert_eq!(notes[1], ("val_acc.tp".to_owned(), "ignored"));
}

#[test]
fn wrappers_parts_are_taken_out_wherever_they_stand() {
    let place = Place::new();
    for wrap in [
        "_orig_mod",
        "module",
        "_checkpoint_wrapped_module",
        "_fsdp_wrapped_module",
    ] {
        let network = Network::new(SMALL).named(|name| {
            let name = name.replacen("layer1.", &format!("layer1.{wrap}."), 1);
            format!(
                "{wrap}.{}",
                name.replacen(".conv2.", &format!(".{wrap}.conv2."), 1)
            )
        });
        let read = place
            .read(&network.pickle(), &[&network], &Reading::default())
            .unwrap();
        assert_eq!(read.tensors(), &Network::state(SMALL, 0.0), "{wrap}");
        assert_eq!(read.taken, []);
    }
}

#[test]
fn objects_of_unknown_classes_are_passed_over() {
    let place = Place::new();
    let network = Network::new(SMALL);
    let recipe = tensor_dict(&[Declared::contiguous("layer1.0.conv1.weight", 0, &[3])]);
    let object = dict(&[
        (
            "thinning_recipes",
            call("distiller.thinning", "ThinningRecipe", &recipe),
        ),
        (
            "log",
            call("collections", "Counter", &dict(&[("a", b"K\x01".to_vec())])),
        ),
        ("state_dict", network.pickle()),
    ]);
    let read = place
        .read(&object, &[&network], &Reading::default())
        .unwrap();
    assert_eq!(read.tensors(), &Network::state(SMALL, 0.0));
    // In place of the network it is called by its name.
    let message = place.read(
        &call("utils.ema", "Average", &network.pickle()),
        &[&network],
        &Reading::default(),
    );
    assert!(
        message
            .unwrap_err()
            .contains("an object of class 'utils.ema.Average'")
    );
}

#[test]
fn tensors_in_other_forms_are_called_what_they_are() {
    let place = Place::new();
    let network = Network::new(SMALL).named(|name| name.replace("conv1.weight", "conv1.gone"));
    for (module, name, what) in [
        ("torch._utils", "_rebuild_qtensor", "a quantized tensor"),
        ("torch._utils", "_rebuild_sparse_tensor", "a sparse tensor"),
        (
            "torch._utils",
            "_rebuild_device_tensor_from_numpy",
            "an XLA device",
        ),
        ("numpy.core.multiarray", "_reconstruct", "a NumPy array"),
    ] {
        let mut object = dict(&[("conv1.weight", call(module, name, b"N"))]);
        object.extend(&network.pickle()[1..]);
        let message = place
            .read(&object, &[&network], &Reading::default())
            .unwrap_err();
        assert!(
            message.contains("'conv1.weight' is ") && message.contains(what),
            "{message}"
        );
    }
    for (part, what) in [
        ("weight_g", "remove_weight_norm"),
        (
            "parametrizations.weight.original0",
            "remove_parametrizations",
        ),
    ] {
        let network = Network::new(SMALL)
            .named(|name| name.replace("conv2.weight", &format!("conv2.{part}")));
        let message = place
            .read(&network.pickle(), &[&network], &Reading::default())
            .unwrap_err();
        assert!(
            message.contains(what) && message.contains("conv2.weight'"),
            "{message}"
        );
    }
}

#[test]
fn pruned_weights_are_the_product_with_their_masks() {
    let place = Place::new();
    let mut network = Network::new(SMALL).named(|name| match name {
        "conv1.weight" => "conv1.weight_orig".to_owned(),
        name => name.to_owned(),
    });
    network
        .tensors
        .push(("conv1.weight_mask".to_owned(), vec![16, 3, 3, 3]));
    let at = network.tensors.len() - 1;
    let read = place
        .read(&network.pickle(), &[&network], &Reading::default())
        .unwrap();
    let (plain, mask) = (network.values(0), network.values(at));
    let product: Vec<f32> = plain.iter().zip(&mask).map(|(a, b)| a * b).collect();
    assert_eq!(read.tensors().get("conv1.weight").unwrap().data, product);
    assert!(
        read.assumptions[0].contains("1 pruned weights"),
        "{:?}",
        read.assumptions
    );
}

#[test]
fn other_names_give_the_same_state_and_say_what_was_taken_for_what() {
    let place = Place::new();
    let names = |name: &str| {
        let name = name
            .replace("linear", "classifier")
            .replace("layer", "stage_");
        name.replace("conv1", "conv_a")
            .replace("conv2", "conv_b")
            .replace("bn1", "bn_a")
            .replace("bn2", "bn_b")
    };
    let network = Network::new(SMALL).named(names);
    let read = place
        .read(&network.pickle(), &[&network], &Reading::default())
        .unwrap();
    assert_eq!(read.tensors(), &Network::state(SMALL, 0.0));
    assert_eq!(read.taken.len(), 20);
    let said = &read.assumptions[0];
    assert!(
        said.contains("'conv_a' as conv1") && said.contains("'classifier' as linear"),
        "{said}"
    );
    assert!(said.contains("their order in the file"), "{said}");
    // As safetensors, which is sorted by name, its ordinals say the same.
    let sorted: StateDict = (read.tensors().iter())
        .map(|(name, tensor)| (names(name), tensor.clone()))
        .collect();
    let path = place.0.path().join("sorted.safetensors");
    std::fs::write(
        &path,
        resnet::to_safetensors(&sorted, &Default::default()).unwrap(),
    )
    .unwrap();
    let again = load(&path, None).unwrap();
    assert_eq!(again.sha256, read.sha256);
    assert!(again.assumptions[0].contains("the numbers in their names"));
    // And so do rules.
    let reading = Reading {
        rename: "classifier=linear, stage_1=layer1, stage_2=layer2, stage_3=layer3, conv_a=conv1, conv_b=conv2, bn_a=bn1, bn_b=bn2"
            .parse()
            .unwrap(),
        ..Reading::default()
    };
    let again = load_as(&path, None, &reading).unwrap();
    assert_eq!((again.sha256, again.taken.len()), (read.sha256, 0));
}

#[test]
fn what_no_file_says_is_said() {
    let place = Place::new();
    for (arch, what) in [
        (SMALL, Some("option A")),
        ("cifar-resnet20-b", None),
        ("resnet18", None),
    ] {
        let network = Network::new(arch);
        let read = place
            .read(&network.pickle(), &[&network], &Reading::default())
            .unwrap();
        assert_eq!(
            read.assumptions.len(),
            usize::from(what.is_some()),
            "{arch}"
        );
        assert!(what.is_none_or(|what| read.assumptions[0].contains(what)));
    }
}

#[test]
fn a_negative_variance_is_refused_when_it_is_read() {
    let place = Place::new();
    let network = Network {
        shift: -0.5,
        ..Network::new(SMALL)
    };
    let message = place
        .read(&network.pickle(), &[&network], &Reading::default())
        .unwrap_err();
    assert!(
        message.contains("running_var'") && message.contains("never negative"),
        "{message}"
    );
}

#[test]
fn damage_is_seen_by_checksum_and_none_is_asked_for_where_there_is_none() {
    let place = Place::new();
    let network = Network::new(SMALL);
    let mut bytes = file("net", &network.pickle(), &[&network]);
    let storage = bytes
        .windows(10)
        .position(|window| window == b"net/data/0")
        .unwrap();
    bytes[storage + 40] ^= 1;
    let message = refusal(&place.write("net.pth", &bytes));
    assert!(message.contains("a checksum is wrong"), "{message}");
    // torch.save(compute_crc32=False) writes 0.
    let checksum = bytes
        .windows(4)
        .rposition(|window| window == b"PK\x01\x02")
        .unwrap();
    assert!(checksum > storage);
    let mut at = storage;
    while let Some(next) = bytes[at..]
        .windows(4)
        .position(|window| window == b"PK\x01\x02")
    {
        at += next + 4;
        bytes[at + 12..at + 16].fill(0);
    }
    assert!(load(&place.write("net.pth", &bytes), None).is_ok());
}

#[test]
fn programs_and_other_formats_are_called_what_they_are() {
    let place = Place::new();
    let entries: [(&str, &[u8]); 3] = [
        ("m/data.pkl", b"\x80\x02}."),
        ("m/code/m.py", b"def"),
        ("m/constants.pkl", b"\x80\x02)."),
    ];
    // TorchScript compresses its code.
    for method in [support::Method::Stored, support::Method::Deflated] {
        let message = refusal(&place.write("m.pt", &archive(&entries, method)));
        assert!(
            message.contains("a TorchScript archive") && message.contains("torch.jit.load"),
            "{message}"
        );
    }
    let message = refusal(&place.write(
        "a.npz",
        &archive(&[("a.npy", b"")], support::Method::Stored),
    ));
    assert!(message.contains("a NumPy archive"), "{message}");
    let message = refusal(&place.write(
        "net.pth",
        b"\x08\x06\x12\x07pytorch\x1a\x031.8:\x02\x0a\x00",
    ));
    assert!(message.contains("an ONNX model"), "{message}");
}

#[test]
fn both_containers_give_the_same_network_under_other_names() {
    let place = Place::new();
    let network = Network::new("cifar-resnet20-b").named(|name| {
        name.replace("shortcut", "downsample")
            .replace("linear", "fc")
    });
    let values: Vec<Vec<f32>> = (0..network.tensors.len())
        .map(|at| network.values(at))
        .collect();
    let keys: Vec<String> = (0..values.len()).map(|key| key.to_string()).collect();
    let storages: Vec<(&str, &[f32])> = keys
        .iter()
        .map(String::as_str)
        .zip(values.iter().map(Vec::as_slice))
        .collect();
    let path = place.write("net.th", &legacy(&whole(&network.pickle()), &storages));
    let old = load(&path, None).unwrap();
    let new = place
        .read(&network.pickle(), &[&network], &Reading::default())
        .unwrap();
    assert_eq!((old.sha256, old.taken), (new.sha256, new.taken));
}
