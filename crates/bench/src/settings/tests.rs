//! Settings to cells.

use quantize::{AdaRound, Gram};

use super::*;

fn cell(pairs: &[(&str, Scalar)]) -> Result<Cell> {
    let mut settings: Settings = pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), value.clone()))
        .collect();
    settings
        .entry("model.name".to_owned())
        .or_insert_with(|| text("m"));
    Cell::new(&settings)
}

fn text(word: &str) -> Scalar {
    Scalar::Text(word.to_owned())
}

fn bits(bits: i64) -> (&'static str, Scalar) {
    ("weights.bits", Scalar::Integer(bits))
}

fn error(pairs: &[(&str, Scalar)]) -> String {
    format!("{:#}", cell(pairs).unwrap_err())
}

#[test]
fn every_float_cell_is_the_same_run_whatever_else_it_says() {
    let plain = cell(&[bits(32)]).unwrap();
    let other = cell(&[
        bits(32),
        ("weights.mapping", text("symmetric")),
        ("weights.granularity", text("channel")),
        ("bn", text("folded")),
        ("method", text("linear")),
        ("seed", Scalar::Integer(3)),
    ])
    .unwrap();
    assert!(plain.quantization.is_none());
    assert_eq!(plain.config, other.config);
    assert_eq!(cell(&[bits(4)]).unwrap().baseline().config, plain.config);
}

#[test]
fn winograd_is_another_run_where_real_numbers_are_convolved_and_none_elsewhere() {
    let winograd = ("convolution", text("winograd"));
    let eight = ("activations.bits", Scalar::Integer(8));
    for said in [
        vec![bits(32)],
        vec![bits(4)],
        vec![bits(4), ("bn", text("folded"))],
    ] {
        let direct = cell(&said).unwrap();
        let word = ("convolution", text("direct"));
        let as_said = cell(&[said.clone(), vec![word]].concat()).unwrap();
        assert_eq!(as_said.config, direct.config);
        assert_eq!(direct.config.text("convolution"), "");
        assert_eq!(direct.convolution, Algorithm::Direct);
        let other = cell(&[said, vec![winograd.clone()]].concat()).unwrap();
        assert_eq!(other.convolution, Algorithm::Winograd);
        assert_eq!(other.config.text("convolution"), "winograd");
        assert_eq!(
            other.baseline().config,
            direct.baseline().config.with("convolution", "winograd")
        );
    }
    // Sums of codes are exact: the same run, beside the same float run.
    for bits_of in [4, 32].map(bits) {
        let codes = cell(&[bits_of.clone(), eight.clone()]).unwrap();
        let other = cell(&[bits_of, eight.clone(), winograd.clone()]).unwrap();
        assert_eq!(other.config, codes.config);
        assert_eq!(other.convolution, Algorithm::Direct);
        assert_eq!(other.baseline().config, codes.baseline().config);
    }
    // In training there are no codes yet.
    let trained = cell(&[
        bits(4),
        eight.clone(),
        ("method", text("qat")),
        winograd.clone(),
    ]);
    let trained = trained.unwrap();
    assert_eq!(trained.config.text("convolution"), "winograd");
    let Some(Source::Training(training)) = trained.quantization.map(|how| how.source) else {
        panic!("a training");
    };
    assert_eq!(training.convolution, Algorithm::Winograd);
    let float = cell(&[("method", text("float")), eight, winograd.clone()]).unwrap();
    assert_eq!(float.convolution, Algorithm::Winograd);
    let wrong = error(&[bits(4), winograd, ("device", text("flex"))]);
    assert!(wrong.contains("set device = engine"), "{wrong}");
    let wrong = error(&[bits(4), ("convolution", text("fft"))]);
    assert!(
        wrong.contains("direct") && wrong.contains("winograd"),
        "{wrong}"
    );
}

#[test]
fn linear_is_the_original_method() {
    let cell = cell(&[bits(5), ("method", text("linear"))]).unwrap();
    let how = cell.quantization.unwrap();
    let how = how.weights;
    let linear = quant_core::Scheme::linear(Bits::new(5).unwrap());
    assert_eq!(how.scheme, Some(linear));
    assert_eq!((how.bias, how.bn), (BiasPolicy::Same, BnMode::Kept));
    let wrong = error(&[
        bits(5),
        ("method", text("linear")),
        ("weights.mapping", text("symmetric")),
    ]);
    assert!(wrong.contains("weights.mapping"), "{wrong}");
}

#[test]
fn defaults_are_those_that_the_help_names() {
    let config = cell(&[]).unwrap().config;
    assert_eq!(config.weights_bits(), 8);
    assert_eq!(config.text("method"), "ptq");
    assert_eq!(config.text("weights_mapping"), "affine");
    assert_eq!(config.text("weights_granularity"), "tensor");
    assert_eq!(config.text("weights_range"), "minmax");
    assert_eq!(config.text("weights_rounding"), "half_even");
    assert_eq!(config.text("bias"), "float");
    assert_eq!(config.text("bn"), "kept");
    let group = cell(&[("weights.granularity", text("group"))])
        .unwrap()
        .config;
    assert_eq!(group.text("weights_group_size"), "64");
}

#[test]
fn every_word_that_a_setting_takes_is_read_and_defaults_are_those_of_the_library() {
    for setting in results::setting::settings() {
        for word in setting.takes.words() {
            let key = setting.key.unwrap();
            if let Err(error) = cell(&[(key, text(word))]) {
                assert!(is_combination(&error), "{key} = {word}: {error:#}");
            }
        }
    }
    let with = |rounding: &str| {
        let all = [
            ("weights.rounding", text(rounding)),
            ("equalize", text("cross_layer")),
            ("reconstruct", text("block")),
        ];
        cell(&all).unwrap().quantization.unwrap()
    };
    let [gram, adaround] = ["gram", "adaround"].map(with);
    assert_eq!(gram.equalization, Some(Equalization::default()));
    let (reconstruction, _) = gram.reconstruction.unwrap();
    assert_eq!(reconstruction, Reconstruction::default());
    let choice = |by_layer: Option<ByLayer>| by_layer.unwrap().how.choice;
    assert_eq!(choice(gram.by_layer), Choice::Gram(Gram::default()));
    let usual = Choice::AdaRound(AdaRound::default());
    assert_eq!(choice(adaround.by_layer), usual);
}

#[test]
fn a_training_of_steps_begins_at_the_least_error_and_few_bits_have_defaults_of_their_own() {
    let config = |bits: i64, method: &str, more: &[(&str, Scalar)]| {
        let settings = [
            ("weights.bits", Scalar::Integer(bits)),
            ("activations.bits", Scalar::Integer(bits)),
            ("method", text("qat")),
            ("qat.method", text(method)),
        ];
        cell(&[&settings, more].concat()).unwrap().config
    };
    for (method, range) in [
        ("lsq", "mse"),
        ("lsq_plus", "mse"),
        ("pact", "minmax"),
        ("minmax", "minmax"),
    ] {
        let found = config(4, method, &[]);
        assert_eq!(found.text("weights_range"), range, "{method}");
        assert_eq!(found.text("calibration_method"), range, "{method}");
        assert_eq!(found.text("qat_revision"), "2");
    }
    let said = config(
        2,
        "lsq",
        &[
            ("weights.range", text("minmax")),
            ("qat.freeze", Scalar::Float(0.5)),
        ],
    );
    assert_eq!(said.text("weights_range"), "minmax");
    assert_eq!(
        (said.text("qat_freeze"), said.get("qat_weight_decay")),
        ("0.5", Some(3e-5))
    );
    let of = |bits| {
        let found = config(bits, "lsq", &[]);
        (found.get("qat_freeze"), found.get("qat_weight_decay"))
    };
    assert_eq!(of(4), (Some(0.7), Some(1e-4)));
    assert_eq!(of(3), (Some(0.9), Some(3e-5)));
}

#[test]
fn a_setting_that_does_not_apply_is_refused_by_name() {
    for (key, value, with) in [
        (
            "weights.group_size",
            Scalar::Integer(8),
            ("weights.granularity", text("tensor")),
        ),
        (
            "weights.percentile",
            Scalar::Float(99.0),
            ("weights.range", text("mse")),
        ),
        (
            "weights.mse_exponent",
            Scalar::Float(2.4),
            ("weights.range", text("minmax")),
        ),
        (
            "weights.narrow",
            Scalar::Bool(true),
            ("weights.mapping", text("affine")),
        ),
    ] {
        let message = error(&[(key, value), with]);
        assert!(
            message.contains(key.rsplit('.').next().unwrap()),
            "{key}: {message}"
        );
    }
}

#[test]
fn values_out_of_range_and_wrong_words_say_what_is_allowed() {
    assert!(error(&[bits(0)]).contains("1 to 16, or 32"));
    assert!(error(&[bits(20)]).contains("16"));
    assert!(error(&[("weights.mapping", text("afine"))]).contains("power_of_two"));
    assert!(error(&[("bias", text("int32"))]).contains("activations"));
    assert!(error(&[("activations.bits", Scalar::Integer(20))]).contains("16"));
    assert!(error(&[("execution", text("integer"))]).contains("activations.bits"));
    assert!(error(&[("method", text("qad"))]).contains("ptq, qat"));
    assert!(error(&[bits(1), ("weights.mapping", text("symmetric"))]).contains("2 bits"));
    assert!(error(&[("model.weights", text("a.pth"))]).contains("two models"));
}

#[test]
fn a_text_where_a_number_belongs_is_told_from_the_number() {
    for key in ["weights.bits", "activations.bits"] {
        let quoted = error(&[(key, text("8"))]);
        let says = format!("{key} = \"8\" (a text; write 8 without quotes): expected 1 to 16");
        assert!(quoted.starts_with(&says), "{quoted}");
        for bits in [0, 17, 31, 33, -1] {
            let message = error(&[(key, Scalar::Integer(bits))]);
            let says = format!("{key} = {bits}: expected 1 to 16, or 32 for float");
            assert_eq!(message, says);
        }
    }
    let word = error(&[("images", text("many"))]);
    assert!(
        word.starts_with("images = \"many\": expected a whole"),
        "{word}"
    );
    let share = error(&[("qat.freeze", text("0.5"))]);
    assert!(share.contains("write 0.5 without quotes"), "{share}");
    let momentum = error(&[("qat.momentum", Scalar::Float(1.0))]);
    assert!(momentum.contains("from 0 to below 1"), "{momentum}");
}

#[test]
fn a_combination_that_cannot_be_is_told_from_a_word_that_is_wrong_anywhere() {
    let combination = |pairs: &[(&str, Scalar)]| is_combination(&cell(pairs).unwrap_err());
    let symmetric = ("weights.mapping", text("symmetric"));
    for pairs in [
        vec![bits(1), symmetric.clone()],
        vec![("weights.group_size", Scalar::Integer(8))],
        vec![("weights.percentile", Scalar::Float(99.0))],
        vec![("weights.narrow", Scalar::Bool(true))],
        vec![("method", text("linear")), symmetric],
        vec![("bias", text("int32"))],
        vec![("execution", text("integer"))],
        vec![
            ("method", text("qat")),
            bits(32),
            ("activations.bits", Scalar::Integer(8)),
        ],
        vec![("method", text("qat")), ("bn", text("kept"))],
        vec![
            ("method", text("qat")),
            ("weights.granularity", text("group")),
        ],
    ] {
        assert!(combination(&pairs), "{pairs:?}");
    }
    for pairs in [
        vec![bits(17)],
        vec![("weights.bits", text("8"))],
        vec![("weights.mapping", text("afine"))],
        vec![("weights.range", text("max"))],
        vec![("method", text("qad"))],
        vec![("no.such", Scalar::Integer(1))],
        vec![("model.weights", text("a.pth"))],
    ] {
        assert!(!combination(&pairs), "{pairs:?}");
    }
}

#[test]
fn a_tilde_is_the_home_folder_in_every_setting_that_is_a_path() {
    let home = std::env::var("HOME").unwrap();
    let calibration = ("calibration.dataset", text("~/c"));
    let activations = ("activations.bits", Scalar::Integer(8));
    let of = cell(&[("dataset", text("~/images")), calibration, activations]).unwrap();
    assert_eq!(of.dataset, Some(format!("{home}/images")));
    let calibration = of.quantization.unwrap().activations.unwrap().calibration;
    assert_eq!(calibration.dataset, Some(format!("{home}/c")));
    let mut settings = Settings::from([("model.weights".to_owned(), text("~/net.pth"))]);
    let named = Cell::new(&settings).unwrap().model;
    assert!(
        matches!(named.file, ModelFile::File { path, .. } if path == format!("{home}/net.pth"))
    );
    settings.insert("model.weights".into(), text("~other/net.pth"));
    let message = format!("{:#}", Cell::new(&settings).unwrap_err());
    assert!(
        message.starts_with("model.weights: ~other/net.pth: "),
        "{message}"
    );
}

#[test]
fn what_integers_cannot_do_is_refused_before_anything_runs() {
    let activations = ("activations.bits", Scalar::Integer(8));
    for (key, value, says) in [
        ("activations.bits", Scalar::Integer(9), "give 1 to 8"),
        ("activations.bits", Scalar::Integer(32), "give 1 to 8"),
        ("weights.bits", Scalar::Integer(16), "give 1 to 8"),
        ("weights.bits", Scalar::Integer(32), "give 1 to 8"),
        ("first.bits", Scalar::Integer(9), "give 1 to 8"),
        ("last.bits", Scalar::Integer(12), "give 1 to 8"),
        ("weights.granularity", text("group"), "tensor or channel"),
        ("bias", text("float"), "bias = int32"),
        ("bias", text("same"), "bias = int32"),
        ("method", text("linear"), "bias = int32"),
        ("shortcut", text("float"), "rescale or shared"),
        ("shortcut", text("identity_float"), "rescale or shared"),
        ("device", text("flex"), "device = engine"),
    ] {
        let integer = ("execution", text("integer"));
        // Of a key given twice the last counts.
        let message = error(&[activations.clone(), integer, (key, value.clone())]);
        assert!(
            message.starts_with("execution = integer: ") && message.contains(says),
            "{key} = {value}: {message}"
        );
    }
    for kind in ["tensor", "channel"] {
        let able = [
            activations.clone(),
            ("execution", text("integer")),
            ("weights.granularity", text(kind)),
        ];
        assert!(cell(&able).is_ok(), "{kind}");
    }
}

#[test]
fn who_leaves_the_execution_open_has_the_simulated_run() {
    let eight = ("activations.bits", Scalar::Integer(8));
    let left = cell(std::slice::from_ref(&eight)).unwrap();
    let said = |word: &str| cell(&[eight.clone(), ("execution", text(word))]).unwrap();
    for (word, execution) in [("auto", Execution::Auto), ("simulate", Execution::Simulate)] {
        let said = said(word);
        assert_eq!(said.quantization.unwrap().execution, execution);
        assert_eq!(said.config, left.config);
    }
    assert_eq!(left.config.text("execution"), "simulate");
    assert_eq!(left.quantization.unwrap().execution, Execution::Auto);
    assert_ne!(said("integer").config, left.config);
    // What integers cannot do is no fault of a cell that does not ask for them.
    assert!(
        cell(&[
            ("activations.bits", Scalar::Integer(16)),
            ("bias", text("float"))
        ])
        .is_ok()
    );
}

#[test]
fn a_training_is_part_of_the_run_and_of_no_other() {
    let pairs = |method: &str, lr: f64| {
        cell(&[
            bits(4),
            ("activations.bits", Scalar::Integer(4)),
            ("method", text(method)),
            ("bn", text("folded")),
            ("qat.method", text("lsq_plus")),
            ("qat.lr", Scalar::Float(lr)),
        ])
        .unwrap()
        .config
    };
    let config = pairs("qat", 0.02);
    assert_eq!(config.text("qat_method"), "lsq_plus");
    assert_eq!(
        (config.text("qat_lr"), config.text("qat_scale_lr")),
        ("0.02", "0.02")
    );
    assert_ne!(config, pairs("qat", 0.03));
    assert_eq!(pairs("ptq", 0.02), pairs("ptq", 0.03));
}

#[test]
fn what_cannot_be_trained_says_why() {
    let refused = |more: &[(&'static str, Scalar)]| {
        let mut pairs = vec![bits(4), ("method", text("qat"))];
        pairs.extend(more.iter().cloned());
        error(&pairs)
    };
    assert!(refused(&[("bn", text("kept"))]).contains("qat.bn"));
    assert!(refused(&[("weights.granularity", text("group"))]).contains("channel"));
    assert!(refused(&[("qat.method", text("lsd"))]).contains("lsq_plus"));
    assert!(refused(&[("qat.epochs", Scalar::Integer(0))]).contains("from 1"));
    assert!(refused(&[("qat.freeze", Scalar::Float(1.5))]).contains("from 0 to 1"));
    let bias = refused(&[("bias", text("same"))]);
    assert!(bias.contains("int32"), "{bias}");
}

#[test]
fn equalization_and_correction_fold_are_columns_and_refuse_what_they_cannot_precede() {
    let cross = ("equalize", text("cross_layer"));
    let analytic = ("bias_correction", text("analytic"));
    let made = cell(&[cross.clone(), analytic.clone()]).unwrap().config;
    assert_eq!(made.text("bn"), "folded");
    assert_eq!(made.text("equalize"), "cross_layer");
    assert_eq!(made.text("equalize_reach"), "regions");
    assert_eq!(made.text("bias_correction"), "analytic");
    let none = [
        ("equalize", text("none")),
        ("bias_correction", text("none")),
    ];
    assert_eq!(cell(&none).unwrap().config, cell(&[]).unwrap().config);

    let refused = |more: &[(&'static str, Scalar)]| {
        let mut pairs = vec![cross.clone(), analytic.clone()];
        pairs.extend(more.iter().cloned());
        error(&pairs)
    };
    assert!(refused(&[("bn", text("kept"))]).contains("set bn = folded"));
    assert!(refused(&[("bias", text("same"))]).contains("set bias = float or int32"));
    assert!(refused(&[("method", text("qat"))]).contains("leave it out"));
    assert!(refused(&[("equalize.clip", text("cut"))]).contains("scale, replace, keep"));
    assert!(error(&[("equalize", text("layers"))]).contains("none, cross_layer"));
    assert!(error(&[("bias_correction", text("all"))]).contains("none, analytic"));
}

#[test]
fn gram_rounding_has_columns_of_its_own_and_images_and_sets_biases_itself() {
    let gram = ("weights.rounding", text("gram"));
    let made = cell(&[gram.clone(), ("seed", Scalar::Integer(7))]).unwrap();
    let config = &made.config;
    assert_eq!(config.text("weights_rounding"), "gram");
    assert_eq!(config.text("gram_order"), "descent");
    assert_eq!(config.text("gram_target"), "corrected");
    assert_eq!(
        (config.text("gram_refit"), config.text("gram_positions")),
        ("true", "64")
    );
    assert_eq!(
        (config.text("calibration_images"), config.text("seed")),
        ("512", "7")
    );
    assert_eq!(
        (config.text("bn"), config.text("bias")),
        ("folded", "float")
    );
    // Only feedback has an order, and the usual one has no name.
    let ordered = |order: &str, is_ordered: bool| {
        let more = [
            ("gram.order", text(order)),
            ("gram.activation_order", Scalar::Bool(is_ordered)),
        ];
        let made = cell(&[std::slice::from_ref(&gram), more.as_slice()].concat()).unwrap();
        made.config.get("gram_activation_order")
    };
    assert_eq!(ordered("feedback", true), Some(true));
    assert_eq!(ordered("feedback", false), None);
    assert_eq!(ordered("descent", true), None);
    // Axes of the cells beside this one.
    let beside = [
        ("gram.order", text("feedback")),
        ("calibration.images", Scalar::Integer(9)),
    ];
    assert_eq!(cell(&beside).unwrap().config, cell(&[]).unwrap().config);
    let empirical = cell(&[("bias_correction", text("empirical"))]).unwrap();
    assert_eq!(empirical.config.text("calibration_images"), "512");

    let refused = |more: &[(&'static str, Scalar)]| {
        let mut pairs = vec![gram.clone()];
        pairs.extend(more.iter().cloned());
        error(&pairs)
    };
    assert!(refused(&[("bn", text("kept"))]).contains("set bn = folded"));
    assert!(refused(&[("bias", text("same"))]).contains("bias = float or int32"));
    assert!(refused(&[("bias_correction", text("empirical"))]).contains("by itself"));
    assert!(refused(&[("method", text("linear"))]).contains("set method = ptq"));
    assert!(refused(&[("method", text("qat"))]).contains("set method = ptq"));
    assert!(refused(&[("gram.order", text("random"))]).contains("nearest, feedback, descent"));
    assert!(refused(&[("gram.damping", Scalar::Float(-1.0))]).contains("from 0 to"));
    assert!(refused(&[("calibration.images", Scalar::Integer(0))]).contains("at least one"));
}

#[test]
fn adaptive_rounding_has_columns_of_its_own_and_is_refused_where_gram_is() {
    let adaround = ("weights.rounding", text("adaround"));
    let made = cell(&[adaround.clone(), ("adaround.batch", Scalar::Integer(99))]).unwrap();
    let config = &made.config;
    assert_eq!(config.text("weights_rounding"), "adaround");
    assert_eq!(
        (
            config.text("adaround_iterations"),
            config.text("adaround_batch")
        ),
        ("1000", "99")
    );
    assert_eq!(
        (
            config.text("adaround_rate"),
            config.text("adaround_penalty")
        ),
        ("0.01", "0.01")
    );
    assert_eq!(
        (config.text("gram_order"), config.text("calibration_images")),
        ("", "512")
    );
    let beside = [("adaround.rate", Scalar::Float(0.1))];
    assert_eq!(cell(&beside).unwrap().config, cell(&[]).unwrap().config);
    let refused = |key, value| error(&[adaround.clone(), (key, value)]);
    let kept = refused("bn", text("kept"));
    assert!(
        kept.contains("weights.rounding = adaround") && kept.contains("set bn = folded"),
        "{kept}"
    );
    assert!(refused("method", text("qat")).contains("set method = ptq"));
    assert!(refused("adaround.iterations", Scalar::Integer(0)).contains("from 1 to"));
    assert!(refused("adaround.rate", Scalar::Float(0.0)).contains("adaround.rate = 0"));
    assert!(refused("calibration.images", Scalar::Integer(0)).contains("at least one"));
}

#[test]
fn ranges_of_least_output_error_go_with_every_rounding_and_have_images() {
    let range = ("weights.range", text("output_mse"));
    for rounding in ["half_even", "gram", "adaround"] {
        let made = cell(&[range.clone(), ("weights.rounding", text(rounding))]).unwrap();
        let config = &made.config;
        assert_eq!(config.text("weights_range"), "output_mse");
        assert_eq!(config.text("weights_rounding"), rounding);
        assert_eq!(config.text("calibration_images"), "512");
        assert_eq!(config.text("bn"), "folded");
    }
    for correction in ["analytic", "empirical"] {
        assert!(cell(&[range.clone(), ("bias_correction", text(correction))]).is_ok());
    }
    let refused = |key, value| error(&[range.clone(), (key, value)]);
    let kept = refused("bn", text("kept"));
    assert!(
        kept.contains("weights.range = output_mse") && kept.contains("set bn = folded"),
        "{kept}"
    );
    assert!(refused("method", text("qat")).contains("set method = ptq"));
    assert!(refused("method", text("stored")).contains("leave"));
    assert!(refused("weights.mse_exponent", Scalar::Integer(2)).contains("mse"));
    assert!(refused("calibration.images", Scalar::Integer(0)).contains("at least one"));
}

#[test]
fn the_seed_matters_to_stochastic_rounding_alone() {
    let seeded = |rounding: &str, seed: i64| {
        cell(&[
            ("weights.rounding", text(rounding)),
            ("seed", Scalar::Integer(seed)),
        ])
        .unwrap()
        .config
    };
    assert_eq!(seeded("half_even", 1), seeded("half_even", 2));
    assert_ne!(seeded("stochastic", 1), seeded("stochastic", 2));
}

#[test]
fn an_assignment_is_a_key_and_values_and_bare_words_are_texts() {
    let (key, values) = parse_assignment("weights.bits = [8, 4]").unwrap();
    assert_eq!(key, "weights.bits");
    assert_eq!(values, [Scalar::Integer(8), Scalar::Integer(4)]);
    let (_, values) = parse_assignment("model.weights=/a/b.pth").unwrap();
    assert_eq!(values, [text("/a/b.pth")]);
    let (_, values) = parse_assignment("model.weights=[a/c.pth, 'b c.pth', 8]").unwrap();
    assert_eq!(
        values,
        [text("a/c.pth"), text("b c.pth"), Scalar::Integer(8)]
    );
    assert!(parse_assignment("weights.bits").is_err());
    assert!(parse_assignment("weights.bits=[]").is_err());
    assert!(parse_assignment("bits=4").is_err());
}

#[test]
fn reconstruction_has_columns_and_images_and_needs_biases_that_may_move() {
    let by_block = ("reconstruct", text("block"));
    let made = cell(&[by_block.clone(), ("seed", Scalar::Integer(7))]).unwrap();
    let config = &made.config;
    for (column, expected) in [
        ("reconstruct", "block"),
        ("reconstruct_iterations", "1000"),
        ("reconstruct_rate", "0.01"),
        ("calibration_images", "512"),
        ("seed", "7"),
        ("bn", "folded"),
        ("bias", "float"),
    ] {
        assert_eq!(config.text(column), expected, "{column}");
    }
    // An axis of the cells beside this one.
    let beside = [("reconstruct.iterations", Scalar::Integer(9))];
    assert_eq!(cell(&beside).unwrap().config, cell(&[]).unwrap().config);
    let refused = |more: (&'static str, Scalar)| error(&[by_block.clone(), more]);
    assert!(refused(("bn", text("kept"))).contains("set bn = folded"));
    assert!(refused(("bias", text("same"))).contains("bias = float or int32"));
    assert!(refused(("method", text("linear"))).contains("set method = ptq"));
    assert!(refused(("method", text("stored"))).contains("reconstruct"));
    assert!(refused(("reconstruct.drop", Scalar::Float(2.0))).contains("from 0 to 1"));
    assert!(refused(("calibration.images", Scalar::Integer(0))).contains("at least one"));
    let of_two = error(&[
        by_block.clone(),
        ("activations.bits", Scalar::Integer(4)),
        ("activations.mapping", text("power_of_two")),
    ]);
    assert!(of_two.contains("no power of two"), "{of_two}");
    let unknown = error(&[("reconstruct", text("blocks"))]);
    assert!(unknown.contains("layer, block, network"), "{unknown}");
}

#[test]
fn ranges_of_sites_by_layers_outputs_take_no_parameter_and_no_training() {
    let given = [
        ("activations.bits", Scalar::Integer(4)),
        ("calibration.method", text("output_mse")),
    ];
    let made = cell(&given).unwrap();
    assert_eq!(made.config.text("calibration_method"), "output_mse");
    assert_eq!(made.config.text("calibration_mse_exponent"), "");
    let refused = |key, value| {
        let all: Vec<_> = given.iter().cloned().chain([(key, value)]).collect();
        error(&all)
    };
    assert!(refused("calibration.mse_exponent", Scalar::Integer(2)).contains("mse"));
    assert!(refused("method", text("qat")).contains("set method = ptq"));
}

#[test]
fn an_allocation_says_what_it_needs_and_leaves_older_ids_alone() {
    let plain = cell(&[bits(8)]).unwrap().config;
    assert_eq!(plain.text("allocate_method"), "");
    assert_eq!(plain.text("allocate_budget"), "");
    let method = |word: &str| ("allocate.method", text(word));
    let budget = |budget: f64| ("allocate.budget", Scalar::Float(budget));
    let own = cell(&[bits(8), method("hessian"), ("allocate.bits", text("8 2,4"))]).unwrap();
    assert_eq!(own.config.text("allocate_bits"), "2 4 8");
    assert_eq!(own.config.text("allocate_budget"), "4");
    for (wrong, says) in [
        (
            vec![
                bits(32),
                ("activations.bits", Scalar::Integer(8)),
                method("sqnr"),
            ],
            "weights.bits = 32",
        ),
        (
            vec![bits(8), method("sqnr"), ("allocate.of", text("both"))],
            "activations.bits = 32",
        ),
        (
            vec![bits(8), method("sqnr"), budget(1.5)],
            "the fewest of allocate.bits are 2",
        ),
        (
            vec![bits(8), method("sqnr"), ("allocate.bits", text("0 4"))],
            "numbers of bits from 1 to 16",
        ),
        (
            vec![
                bits(8),
                ("activations.bits", Scalar::Integer(8)),
                method("fisher"),
                ("allocate.of", text("both")),
            ],
            "curvature is that of weights",
        ),
        (
            vec![
                bits(8),
                ("activations.bits", Scalar::Integer(8)),
                ("weights.mapping", text("symmetric")),
                ("execution", text("integer")),
                method("sqnr"),
                ("allocate.bits", text("4 12")),
            ],
            "allocate.bits has 12",
        ),
        (
            vec![
                bits(8),
                ("activations.bits", Scalar::Integer(8)),
                method("lin"),
                ("allocate.of", text("both")),
                ("allocate.cost", text("bit_operations")),
            ],
            "allocate.method = lin",
        ),
        (
            vec![bits(8), method("sqnr"), ("allocate.cost", text("latency"))],
            "give allocate.latencies",
        ),
        (
            vec![
                bits(8),
                method("sqnr"),
                ("allocate.latencies", text("no/such.csv")),
            ],
            "allocate.latencies = no/such.csv",
        ),
        (vec![bits(8), method("stored")], "allowed are none, uniform"),
        (vec![("method", text("stored")), method("sqnr")], "allocate"),
    ] {
        let error = error(&wrong);
        assert!(error.contains(says) && !error.contains('\n'), "{error}");
    }
}
