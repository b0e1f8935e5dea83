//! Which networks are found in a file, and which of them is taken.

use super::*;
use crate::checkpoint::source::Info;
use crate::checkpoint::values::Element;

type Tensors = Vec<(String, Vec<usize>)>;

/// A file of these groups: dictionary path, prefix inside the dictionary's keys, tensors.
fn file(groups: &[(&str, &str, Tensors)]) -> Listing {
    let mut infos = BTreeMap::new();
    for (path, prefix, tensors) in groups {
        for (name, shape) in tensors {
            let info = Info {
                shape: shape.clone(),
                element: Element::F32,
                holder: path.len(),
                position: infos.len(),
            };
            infos.insert(format!("{path}{prefix}{name}"), info);
        }
    }
    Listing {
        infos,
        ordered: true,
        unread: Vec::new(),
    }
}

fn arch(name: &str) -> Arch {
    Arch::parse(name).unwrap()
}

fn select(listing: &Listing, wanted: Option<&Arch>) -> Result<Selection, Failure> {
    super::select(listing, wanted, &Reading::default())
}

fn reason(listing: &Listing, wanted: Option<&Arch>) -> String {
    match select(listing, wanted).unwrap_err() {
        Failure::Ambiguous(keys) => keys.join(", "),
        Failure::Error(error) => error.to_string(),
    }
}

#[test]
fn every_architecture_is_found_wherever_its_tensors_lie() {
    for arch in Arch::all() {
        for (path, prefix) in [
            ("", ""),
            ("", "module."),
            ("state_dict.", ""),
            ("a.b.", "module._orig_mod."),
            ("", "net."),
        ] {
            for (folded, tensors) in [(false, arch.expected()), (true, arch.expected_folded())] {
                let count = tensors.len();
                let found = select(&file(&[(path, prefix, tensors)]), None).unwrap();
                assert_eq!(
                    (found.arch, found.folded, found.tensors.len()),
                    (arch, folded, count)
                );
            }
        }
    }
}

#[test]
fn optimizer_state_and_counters_are_left_alone() {
    let tensors = arch("resnet18").expected();
    let counters: Vec<_> = tensors
        .iter()
        .filter_map(|(name, _)| {
            Some((
                name.strip_suffix(".running_mean")?.to_owned() + TRACKED,
                vec![],
            ))
        })
        .collect();
    assert_eq!(counters.len(), 20);
    let momentum = vec![
        ("0.momentum_buffer".to_owned(), vec![64, 3, 7, 7]),
        ("step".to_owned(), vec![]),
    ];
    let infos = file(&[
        ("model.", "", tensors),
        ("model.", "", counters),
        ("optimizer.state.", "", momentum),
    ]);
    let found = select(&infos, None).unwrap();
    assert_eq!(found.tensors.len(), arch("resnet18").expected().len());
    assert_eq!(found.tensors["fc.bias"], ["model.fc.bias"]);
}

#[test]
fn the_class_count_is_read_off_the_classifier() {
    let infos = file(&[("", "", arch("resnet18").with_classes(37).expected())]);
    assert_eq!(select(&infos, None).unwrap().arch.classes(), 37);
    assert_eq!(
        select(&infos, Some(&arch("resnet18")))
            .unwrap()
            .arch
            .classes(),
        37
    );
}

#[test]
fn two_networks_in_one_file_are_ambiguous_unless_one_is_asked_for() {
    let (small, large) = (arch("resnet18"), arch("resnet34"));
    let infos = file(&[
        ("student.", "", small.expected()),
        ("teacher.", "", large.expected()),
    ]);
    let reason = reason(&infos, None);
    assert!(
        reason.contains("'student' (resnet18)") && reason.contains("'teacher' (resnet34)"),
        "{reason}"
    );
    assert_eq!(
        select(&infos, Some(&large)).unwrap().tensors["conv1.weight"],
        ["teacher.conv1.weight"]
    );
}

#[test]
fn missing_unused_and_misshapen_tensors_are_named() {
    for wanted in [None, Some(arch("resnet18"))] {
        let mut tensors = arch("resnet18").expected();
        tensors.retain(|(name, _)| name != "layer3.0.conv2.weight" && name != "bn1.bias");
        tensors.push(("layer9.weight".to_owned(), vec![3]));
        tensors
            .iter_mut()
            .filter(|(name, _)| name == "fc.bias")
            .for_each(|(_, shape)| shape[0] = 999);
        let reason = reason(&file(&[("", "module.", tensors)]), wanted.as_ref());
        assert!(reason.starts_with("resnet18"), "{reason}");
        assert!(
            reason.contains("2 tensors missing: 'bn1.bias', 'layer3.0.conv2.weight'"),
            "{reason}"
        );
        assert!(
            reason.contains("1 tensor unused: 'layer9.weight'"),
            "{reason}"
        );
        assert!(
            reason.contains("1 tensor misshapen: 'fc.bias' is [999], not [1000]"),
            "{reason}"
        );
    }
}

#[test]
fn a_tensor_beside_the_network_in_the_same_dictionary_is_unused() {
    let head = vec![("head.weight".to_owned(), vec![10, 512])];
    let infos = file(&[
        ("state_dict.", "net.", arch("resnet18").expected()),
        ("state_dict.", "", head),
    ]);
    assert!(reason(&infos, None).contains("1 tensor unused: 'head.weight'"));
}

#[test]
fn another_architecture_than_the_one_asked_for_is_refused_in_a_bounded_line() {
    let infos = file(&[("", "", arch("resnet34").expected())]);
    let reason = reason(&infos, Some(&arch("resnet18")));
    assert!(
        reason.contains("and ") && reason.contains(" more") && reason.len() < 1000,
        "{reason}"
    );
    assert!(select(&infos, Some(&arch("cifar-resnet20"))).is_err());
}

#[test]
fn names_that_meet_without_their_prefix_are_refused() {
    let tensors = arch("cifar-resnet20").expected();
    let twice = vec![("module.conv1.weight".to_owned(), vec![16, 3, 3, 3])];
    let reason = reason(&file(&[("", "", tensors), ("", "", twice)]), None);
    assert!(
        reason.contains("'conv1.weight'") && reason.contains("'module.conv1.weight'"),
        "{reason}"
    );
}

#[test]
fn tensors_of_something_else_are_not_recognised() {
    let infos = file(&[("", "", vec![("encoder.weight".to_owned(), vec![8, 8])])]);
    assert!(reason(&infos, None).contains("of 1 tensors none"));
    assert!(reason(&Listing::default(), None).contains("of 0 tensors none"));
}

/// A state dict in the order of its modules, with other names.
fn under_names(arch: &str, name: impl Fn(&str) -> String) -> Tensors {
    let tensors = self::arch(arch).expected();
    tensors
        .into_iter()
        .map(|(n, shape)| (name(&n), shape))
        .collect()
}

#[test]
fn a_network_with_one_tensor_more_is_one_of_two_networks() {
    let network = arch("cifar-resnet20").expected();
    let counter = vec![("n_averaged".to_owned(), vec![])];
    let infos = file(&[
        ("model.", "", network.clone()),
        ("model_ema.", "", counter),
        ("model_ema.", "module.", network),
    ]);
    assert_eq!(
        reason(&infos, None),
        "'model' (cifar-resnet20), 'model_ema' (cifar-resnet20, 1 tensor more)"
    );
    let mut reading = Reading {
        key: Some("model_ema".to_owned()),
        ..Reading::default()
    };
    let error = super::select(&infos, None, &reading).unwrap_err();
    assert!(matches!(error, Failure::Error(error) if error.to_string().contains("'n_averaged'")));
    reading.extra = Extra::Ignore;
    let found = super::select(&infos, None, &reading).unwrap();
    assert_eq!(
        found.tensors["linear.bias"],
        ["model_ema.module.linear.bias"]
    );
    assert_eq!(found.ignored, ["model_ema.n_averaged"]);
    reading.key = Some("model".to_owned());
    let found = super::select(&infos, None, &reading).unwrap();
    assert_eq!(found.tensors["linear.bias"], ["model.linear.bias"]);
}

#[test]
fn a_small_student_beside_a_large_teacher_is_seen_in_one_dictionary_too() {
    let (small, large) = (
        arch("cifar-resnet20").expected(),
        arch("cifar-resnet110").expected(),
    );
    let infos = file(&[("", "student.", small), ("", "teacher.", large)]);
    assert_eq!(
        reason(&infos, None),
        "'teacher' (cifar-resnet110), 'student' (cifar-resnet20)"
    );
    for (key, arch) in [
        ("student", "cifar-resnet20"),
        ("teacher", "cifar-resnet110"),
    ] {
        let reading = Reading {
            key: Some(key.to_owned()),
            ..Reading::default()
        };
        let found = super::select(&infos, None, &reading).unwrap();
        assert_eq!(found.arch.to_string(), arch);
    }
}

#[test]
fn the_outermost_dictionary_is_chosen_by_a_dot() {
    let network = || arch("cifar-resnet20").expected();
    for infos in [
        file(&[("", "", network()), ("", "ema.", network())]),
        file(&[("", "", network()), ("ema.", "", network())]),
    ] {
        assert_eq!(
            reason(&infos, None),
            "'.' (cifar-resnet20), 'ema' (cifar-resnet20)"
        );
        for (key, conv) in [(".", "conv1.weight"), ("ema", "ema.conv1.weight")] {
            let reading = Reading {
                key: Some(key.to_owned()),
                ..Reading::default()
            };
            let found = super::select(&infos, None, &reading).unwrap();
            assert_eq!(found.tensors["conv1.weight"], [conv]);
            assert_eq!(found.ignored.len(), 0);
        }
    }
}

#[test]
fn a_key_that_leads_nowhere_is_refused_with_those_there_are() {
    let infos = file(&[("net.", "", arch("cifar-resnet20").expected())]);
    let reading = Reading {
        key: Some("model".to_owned()),
        ..Reading::default()
    };
    let Failure::Error(error) = super::select(&infos, None, &reading).unwrap_err() else {
        panic!("ambiguous")
    };
    let error = error.to_string();
    assert!(
        error.contains("'model'") && error.contains("'net'"),
        "{error}"
    );
}

#[test]
fn biases_of_convolutions_are_no_extra_tensors() {
    let mut tensors = arch("cifar-resnet20").expected();
    tensors.push(("layer1.0.conv1.bias".to_owned(), vec![16]));
    let reading = Reading {
        extra: Extra::Ignore,
        ..Reading::default()
    };
    let error = super::select(&file(&[("", "", tensors)]), None, &reading).unwrap_err();
    let Failure::Error(error) = error else {
        panic!("ambiguous")
    };
    let error = error.to_string();
    assert!(
        error.contains("'layer1.0.conv1.bias' (biases of convolutions"),
        "{error}"
    );
}

#[test]
fn other_names_are_taken_by_shapes_and_order_and_said() {
    let tensors = under_names("cifar-resnet20-b", |name| {
        name.replace("shortcut", "downsample")
            .replace("linear", "fc")
    });
    let mut sorted = tensors.clone();
    sorted.sort_by_key(|(name, _)| name.replace("fc", "linear"));
    for infos in [
        file(&[("state_dict.", "module.", tensors)]),
        // Somebody sorted it, and named the classifier then.
        file(&[("", "", sorted)]),
    ] {
        let found = select(&infos, None).unwrap();
        assert_eq!(found.arch, arch("cifar-resnet20-b"));
        let ours: Vec<_> = found.taken.iter().filter(|(a, b)| a != b).collect();
        assert_eq!(ours.len(), 3);
        assert_eq!(ours[2], &("fc".to_owned(), "linear".to_owned()));
    }
}

#[test]
fn a_network_without_a_known_name_is_found_beside_optimizer_state() {
    let tensors = under_names("cifar-resnet20", |name| {
        name.replace("layer", "stage")
            .replace("conv", "c")
            .replace("bn", "b")
            .replace("linear", "head")
    });
    let momentum = vec![("0.momentum_buffer".to_owned(), vec![16, 3, 3, 3])];
    let infos = file(&[("net.", "", tensors), ("optimizer.state.", "", momentum)]);
    let found = select(&infos, None).unwrap();
    assert_eq!(
        (found.arch, found.tensors.len()),
        (arch("cifar-resnet20"), 97)
    );
    assert_eq!(
        found.tensors["layer1.0.conv1.weight"],
        ["net.stage1.0.c1.weight"]
    );
}

#[test]
fn renamed_parts_make_known_names() {
    let tensors = under_names("cifar-resnet20", |name| {
        name.replace("linear", "head.out")
            .replace("layer", "blocks_")
            .replace('.', "/")
            .replacen('/', ".", 1)
    });
    let infos = file(&[("", "", tensors)]);
    assert!(select(&infos, None).is_err());
    let tensors = under_names("cifar-resnet20", |name| {
        name.replace("bn1", "norm").replace("bn2", "other")
    });
    let reading = Reading {
        rename: "norm=bn1, other=bn2".parse().unwrap(),
        ..Reading::default()
    };
    let found = super::select(&file(&[("", "", tensors)]), None, &reading).unwrap();
    assert_eq!(found.tensors["bn1.bias"], ["norm.bias"]);
    assert_eq!(found.taken, []);
}

#[test]
fn pruned_weights_are_read_with_their_masks() {
    let mut tensors = arch("cifar-resnet20").expected();
    for suffix in ["_orig", "_mask"] {
        tensors.push((format!("layer1.0.conv1.weight{suffix}"), vec![16, 16, 3, 3]));
    }
    tensors.retain(|(name, _)| name != "layer1.0.conv1.weight");
    let found = select(&file(&[("", "", tensors)]), None).unwrap();
    assert_eq!(
        found.tensors["layer1.0.conv1.weight"],
        ["layer1.0.conv1.weight_orig", "layer1.0.conv1.weight_mask"]
    );
}

#[test]
fn of_very_many_networks_some_are_named() {
    let network = || arch("cifar-resnet20").expected();
    let prefixes: Vec<String> = (0..40).map(|n| format!("net{n:02}.")).collect();
    for count in [8, 40] {
        let groups: Vec<_> = prefixes[..count]
            .iter()
            .map(|p| ("", p.as_str(), network()))
            .collect();
        let reason = reason(&file(&groups), None);
        let more = format!(", {} more", count - NAMED);
        assert!(
            reason.starts_with("'net00'") && reason.ends_with(&more),
            "{reason}"
        );
    }
}

#[test]
fn another_part_with_a_networks_names_is_told_when_it_is_passed_over() {
    let mut wide = arch("cifar-resnet20-b").expected();
    for (_, shape) in &mut wide {
        shape
            .iter_mut()
            .filter(|extent| **extent >= 16)
            .for_each(|extent| *extent *= 10);
    }
    let infos = file(&[
        ("student.", "", arch("cifar-resnet20").expected()),
        ("teacher.", "", wide),
    ]);
    let found = select(&infos, None).unwrap();
    assert_eq!(found.tensors["conv1.weight"], ["student.conv1.weight"]);
    assert_eq!(found.passed_over, ["teacher"]);
}
