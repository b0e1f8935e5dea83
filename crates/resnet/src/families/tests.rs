//! Tensors of published networks, made up by their papers' rules, are recognised and cost what the papers and torchvision say.

use super::*;
use network::Value;

type Tensors = BTreeMap<String, Vec<usize>>;

fn conv(all: &mut Tensors, name: &str, norm: &str, shape: [usize; 4]) {
    all.insert(format!("{name}.weight"), shape.to_vec());
    for part in ["weight", "bias", "running_mean", "running_var"] {
        all.insert(format!("{norm}.{part}"), vec![shape[0]]);
    }
}

/// A convolution of `block` with its BatchNorm.
fn part(all: &mut Tensors, block: &str, (own, norm): (&str, &str), shape: [usize; 4]) {
    conv(
        all,
        &format!("{block}.{own}"),
        &format!("{block}.{norm}"),
        shape,
    );
}

fn linear(all: &mut Tensors, name: &str, shape: [usize; 2]) {
    all.insert(format!("{name}.weight"), shape.to_vec());
    all.insert(format!("{name}.bias"), vec![shape[0]]);
}

/// torchvision's ResNeXt-50 32x4d.
fn resnext() -> Tensors {
    let mut all = Tensors::new();
    conv(&mut all, "conv1", "bn1", [64, 3, 7, 7]);
    let mut channels = 64;
    for (stage, blocks) in [(1, 3), (2, 4), (3, 6), (4, 3)] {
        let (width, to) = (128 << (stage - 1), 256 << (stage - 1));
        for i in 0..blocks {
            let block = format!("layer{stage}.{i}");
            let shapes = [
                [width, channels, 1, 1],
                [width, width / 32, 3, 3],
                [to, width, 1, 1],
            ];
            for (j, shape) in (1..).zip(shapes) {
                let names = (format!("conv{j}"), format!("bn{j}"));
                part(&mut all, &block, (&names.0, &names.1), shape);
            }
            if i == 0 {
                let way = ("downsample.0", "downsample.1");
                part(&mut all, &block, way, [to, channels, 1, 1]);
            }
            channels = to;
        }
    }
    linear(&mut all, "fc", [1000, 2048]);
    all
}

/// torchvision's MobileNetV2.
fn mobilenet() -> Tensors {
    let mut all = Tensors::new();
    conv(&mut all, "features.0.0", "features.0.1", [32, 3, 3, 3]);
    let (mut channels, mut block) = (32, 1);
    let rows = [
        (1, 16, 1),
        (6, 24, 2),
        (6, 32, 3),
        (6, 64, 4),
        (6, 96, 3),
        (6, 160, 3),
        (6, 320, 1),
    ];
    for (expand, to, times) in rows {
        for _ in 0..times {
            let part = |rest: &str| format!("features.{block}.conv.{rest}");
            let hidden = channels * expand;
            let mut step = 0;
            if expand > 1 {
                conv(
                    &mut all,
                    &part("0.0"),
                    &part("0.1"),
                    [hidden, channels, 1, 1],
                );
                step = 1;
            }
            let (own, norm) = (part(&format!("{step}.0")), part(&format!("{step}.1")));
            conv(&mut all, &own, &norm, [hidden, 1, 3, 3]);
            let (own, norm) = (part(&(step + 1).to_string()), part(&(step + 2).to_string()));
            conv(&mut all, &own, &norm, [to, hidden, 1, 1]);
            (channels, block) = (to, block + 1);
        }
    }
    conv(
        &mut all,
        "features.18.0",
        "features.18.1",
        [1280, 320, 1, 1],
    );
    linear(&mut all, "classifier.1", [1000, 1280]);
    all
}

/// torchvision's VGG-16 with BatchNorm, for images of 32 pixels as kuangliu has it if `small`.
fn vgg(small: bool) -> Tensors {
    let mut all = Tensors::new();
    let (mut channels, mut index) = (3, 0);
    for (to, times) in [(64, 2), (128, 2), (256, 3), (512, 3), (512, 3)] {
        for _ in 0..times {
            let (own, norm) = (
                format!("features.{index}"),
                format!("features.{}", index + 1),
            );
            conv(&mut all, &own, &norm, [to, channels, 3, 3]);
            all.insert(format!("{own}.bias"), vec![to]);
            (channels, index) = (to, index + 3);
        }
        index += 1;
    }
    match small {
        true => linear(&mut all, "classifier", [10, 512]),
        false => {
            linear(&mut all, "classifier.0", [4096, 512 * 49]);
            linear(&mut all, "classifier.3", [4096, 4096]);
            linear(&mut all, "classifier.6", [1000, 4096]);
        }
    }
    all
}

/// torchvision's SqueezeNet 1.1.
fn squeezenet() -> Tensors {
    let mut all = Tensors::new();
    let mut plain = |name: String, shape: [usize; 4]| {
        all.insert(format!("{name}.bias"), vec![shape[0]]);
        all.insert(format!("{name}.weight"), shape.to_vec());
    };
    plain("features.0".into(), [64, 3, 3, 3]);
    let mut channels = 64;
    for (i, squeeze, expand) in [
        (3, 16, 64),
        (4, 16, 64),
        (6, 32, 128),
        (7, 32, 128),
        (9, 48, 192),
        (10, 48, 192),
        (11, 64, 256),
        (12, 64, 256),
    ] {
        plain(format!("features.{i}.squeeze"), [squeeze, channels, 1, 1]);
        plain(format!("features.{i}.expand1x1"), [expand, squeeze, 1, 1]);
        plain(format!("features.{i}.expand3x3"), [expand, squeeze, 3, 3]);
        channels = 2 * expand;
    }
    plain("classifier.1".into(), [1000, 512, 1, 1]);
    all
}

/// Parameters and multiplications, in thousandths of a million.
fn cost(topology: &Topology, tensors: &Tensors) -> (usize, u64) {
    let trained = tensors.iter().filter(|(name, _)| !name.contains("running"));
    let parameters: usize = trained
        .map(|(_, shape)| shape.iter().product::<usize>())
        .sum();
    let all = (0..topology.nodes().len()).map(|id| topology.multiplications(id));
    (parameters, all.sum::<u64>() / 1_000_000)
}

#[test]
fn published_networks_have_their_parameters_and_multiplications() {
    // Parameters and GMACs as torchvision's documentation has them.
    for (family, tensors, parameters, millions) in [
        ("resnet", resnext(), 25_028_904, 4230),
        ("mobilenet_v2", mobilenet(), 3_504_872, 300),
        ("vgg", vgg(false), 138_365_992, 15470),
        ("squeezenet", squeezenet(), 1_235_496, 349),
    ] {
        let (found, topology) = recognise(&tensors).unwrap();
        assert_eq!(found, family);
        let (n, cost) = cost(&topology, &tensors);
        assert_eq!(n, parameters, "{family}");
        assert!(
            cost.abs_diff(millions) <= millions / 100 + 1,
            "{family}: {cost} million"
        );
        assert_eq!(topology.classes(), 1000);
    }
    let (_, small) = recognise(&vgg(true)).unwrap();
    assert_eq!((small.input().height, small.classes()), (32, 10));
}

#[test]
fn pruned_channels_and_small_stems_are_read_off_the_shapes() {
    let mut all = Tensors::new();
    conv(&mut all, "conv1", "bn1", [61, 3, 3, 3]);
    let mut channels = 61;
    for (stage, to) in [(1, 61), (2, 99)] {
        let block = format!("layer{stage}.0");
        let middle = 17 * stage;
        part(&mut all, &block, ("conv1", "bn1"), [middle, channels, 3, 3]);
        part(&mut all, &block, ("conv2", "bn2"), [to, middle, 3, 3]);
        if channels != to {
            let way = ("shortcut.0", "shortcut.1");
            part(&mut all, &block, way, [to, channels, 1, 1]);
        }
        channels = to;
    }
    linear(&mut all, "linear", [10, 99]);
    let (family, topology) = recognise(&all).unwrap();
    assert_eq!((family, topology.input().height), ("resnet", 32));
    let sum = topology.find("layer2.0.add").unwrap();
    assert_eq!(topology.shape(Value::Node(sum)).to_string(), "99x16x16");
}

#[test]
fn a_tensor_too_many_or_too_few_is_no_network_of_a_family() {
    for change in [
        |all: &mut Tensors| drop(all.remove("features.5.conv.1.1.running_var")),
        |all: &mut Tensors| drop(all.insert("extra".into(), vec![3])),
        |all: &mut Tensors| drop(all.insert("classifier.1.weight".into(), vec![1000, 1281])),
    ] {
        let mut all = mobilenet();
        change(&mut all);
        assert!(recognise(&all).is_none());
    }
}

/// PreActResNet-18 of kuangliu, and with `last` a BatchNorm behind the last sum.
fn preact(last: Option<&str>, way: &str) -> Tensors {
    let mut all = Tensors::new();
    let norm = |all: &mut Tensors, name: String, channels: usize| {
        for part in ["weight", "bias", "running_mean", "running_var"] {
            all.insert(format!("{name}.{part}"), vec![channels]);
        }
    };
    all.insert("conv1.weight".into(), vec![64, 3, 3, 3]);
    let mut channels = 64;
    for (stage, to) in [(1, 64), (2, 128), (3, 256), (4, 512)] {
        for i in 0..2 {
            let block = format!("layer{stage}.{i}");
            norm(&mut all, format!("{block}.bn1"), channels);
            norm(&mut all, format!("{block}.bn2"), to);
            for (conv, inputs) in [("conv1", channels), ("conv2", to)] {
                all.insert(format!("{block}.{conv}.weight"), vec![to, inputs, 3, 3]);
            }
            if channels != to {
                all.insert(format!("{block}.{way}.weight"), vec![to, channels, 1, 1]);
            }
            channels = to;
        }
    }
    if let Some(last) = last {
        norm(&mut all, last.into(), channels);
    }
    linear(&mut all, "linear", [10, 512]);
    all
}

#[test]
fn pre_activation_is_told_from_post_activation_and_its_shortcuts_by_their_names() {
    for (last, way, reads) in [
        (None, "shortcut.0", "layer2.0.bn1.relu"),
        (Some("bn1"), "shortcut.0", "layer1.1.add"),
        (Some("bn"), "downsample.0", "layer1.1.add"),
    ] {
        let tensors = preact(last, way);
        let (family, topology) = recognise(&tensors).unwrap();
        assert_eq!(family, "preact_resnet");
        let shortcut = topology.find(&format!("layer2.0.{way}")).unwrap();
        assert_eq!(topology.name(topology.node(shortcut).inputs[0]), reads);
        // 11,171,146 parameters, 556 million multiplications without BatchNorms.
        let (parameters, millions) = cost(&topology, &tensors);
        assert_eq!(
            parameters,
            11_171_146 + if last.is_some() { 1024 } else { 0 }
        );
        assert!((555..560).contains(&millions), "{millions}");
    }
}
