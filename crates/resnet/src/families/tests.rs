//! Published networks are recognised by their tensors and cost what the papers and torchvision say.

use super::standard::Tensors;
use super::*;
use network::Value;

/// The tensors of a network that has a name.
fn tensors(name: &str) -> BTreeMap<String, Vec<usize>> {
    standard(name).unwrap()
}

/// Parameters and multiplications, in thousandths of a million.
fn cost(topology: &Topology, tensors: &BTreeMap<String, Vec<usize>>) -> (usize, u64) {
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
    for (family, name, parameters, millions) in [
        ("resnet", "resnext50_32x4d", 25_028_904, 4230),
        ("resnet", "resnext101_32x8d", 88_791_336, 16414),
        ("resnet", "wide_resnet50_2", 68_883_240, 11398),
        ("mobilenet_v2", "mobilenet_v2", 3_504_872, 300),
        ("vgg", "vgg11", 132_863_336, 7609),
        ("vgg", "vgg16", 138_357_544, 15470),
        ("vgg", "vgg16_bn", 138_365_992, 15470),
        ("vgg", "vgg19_bn", 143_678_248, 19630),
        ("squeezenet", "squeezenet1_0", 1_248_424, 819),
        ("squeezenet", "squeezenet1_1", 1_235_496, 349),
    ] {
        let tensors = tensors(name);
        let (found, topology) = recognise(&tensors).unwrap();
        assert_eq!(found, family);
        let (n, cost) = cost(&topology, &tensors);
        assert_eq!(n, parameters, "{name}");
        assert!(
            cost.abs_diff(millions) <= millions / 100 + 1,
            "{name}: {cost} million"
        );
        assert_eq!(topology.classes(), 1000);
        assert_eq!(topology.input().height, 224);
    }
}

#[test]
fn every_network_with_a_name_is_one_of_its_family() {
    for family in FAMILIES {
        for (name, _) in family.standard {
            let (found, _) = recognise(&tensors(name)).unwrap();
            assert_eq!(found, family.name, "{name}");
        }
    }
    assert!(standard("vgg12").is_none());
}

#[test]
fn a_vgg_for_images_of_32_pixels_says_so_by_its_classifier() {
    // As kuangliu has it.
    let mut all = tensors("vgg16_bn");
    all.retain(|name, _| !name.starts_with("classifier"));
    all.insert("classifier.weight".into(), vec![10, 512]);
    all.insert("classifier.bias".into(), vec![10]);
    let (_, small) = recognise(&all).unwrap();
    assert_eq!((small.input().height, small.classes()), (32, 10));
}

#[test]
fn pruned_channels_and_small_stems_are_read_off_the_shapes() {
    let mut all = Tensors::default();
    all.weight("conv1", [61, 3, 3, 3]);
    all.norm("bn1", 61);
    let mut channels = 61;
    for (stage, to) in [(1, 61), (2, 99)] {
        let block = format!("layer{stage}.0");
        let middle = 17 * stage;
        all.normalized(&block, ["conv1", "bn1"], [middle, channels, 3, 3]);
        all.normalized(&block, ["conv2", "bn2"], [to, middle, 3, 3]);
        if channels != to {
            let way = ["shortcut.0", "shortcut.1"];
            all.normalized(&block, way, [to, channels, 1, 1]);
        }
        channels = to;
    }
    all.linear("linear", [10, 99]);
    let (family, topology) = recognise(&all.0).unwrap();
    assert_eq!((family, topology.input().height), ("resnet", 32));
    let sum = topology.find("layer2.0.add").unwrap();
    assert_eq!(topology.shape(Value::Node(sum)).to_string(), "99x16x16");
}

#[test]
fn a_tensor_too_many_or_too_few_is_no_network_of_a_family() {
    for change in [
        |all: &mut BTreeMap<String, Vec<usize>>| {
            drop(all.remove("features.5.conv.1.1.running_var"))
        },
        |all: &mut BTreeMap<String, Vec<usize>>| drop(all.insert("extra".into(), vec![3])),
        |all: &mut BTreeMap<String, Vec<usize>>| {
            drop(all.insert("classifier.1.weight".into(), vec![1000, 1281]))
        },
    ] {
        let mut all = tensors("mobilenet_v2");
        change(&mut all);
        assert!(recognise(&all).is_none());
    }
}

/// PreActResNet-18 of kuangliu, and with `last` a BatchNorm behind the last sum.
fn preact(last: Option<&str>, way: &str) -> BTreeMap<String, Vec<usize>> {
    let mut all = Tensors::default();
    all.weight("conv1", [64, 3, 3, 3]);
    let mut channels = 64;
    for (stage, to) in [(1, 64), (2, 128), (3, 256), (4, 512)] {
        for i in 0..2 {
            let block = format!("layer{stage}.{i}");
            all.norm(&format!("{block}.bn1"), channels);
            all.norm(&format!("{block}.bn2"), to);
            for (conv, inputs) in [("conv1", channels), ("conv2", to)] {
                all.weight(&format!("{block}.{conv}"), [to, inputs, 3, 3]);
            }
            if channels != to {
                all.weight(&format!("{block}.{way}"), [to, channels, 1, 1]);
            }
            channels = to;
        }
    }
    if let Some(last) = last {
        all.norm(last, channels);
    }
    all.linear("linear", [10, 512]);
    all.0
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
