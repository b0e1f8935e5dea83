//! Claims about tables, on run folders made up for them.

mod made_up;

use std::fs;
use std::path::Path;

use made_up::{failed, first_right, float, linear, quantized, run, with, write};
use report::{Error, accuracy_table, outputs, write_all};
use results::{Config, Run, metric};

const E: &str = "weight-bits";

/// Float 8 of 10; 4 bits 7 of 10 with one image won and two lost; 2 bits 1 of 10.
fn three_runs() -> Vec<Run> {
    let mut four = first_right(10, 8);
    (four[0].2, four[1].2, four[9].2) = (5, 5, 9);
    let four = with(run(E, linear(10, 4), &four), "", metric::WEIGHT_SQNR, 18.04);
    let four = with(four, "", metric::TOP5_CORRECT, 9.0);
    let two = run(E, linear(10, 2), &first_right(10, 1));
    vec![run(E, float(10), &first_right(10, 8)), four, two]
}

fn error_after(change: impl Fn(&Path)) -> Error {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &three_runs());
    accuracy_table(folder.path(), E).unwrap();
    change(&folder.path().join(E));
    accuracy_table(folder.path(), E)
        .err()
        .expect("the change is refused")
}

fn ids() -> Vec<String> {
    three_runs().into_iter().map(|run| run.row.run_id).collect()
}

#[test]
fn the_table_shows_counts_and_what_they_are_worth() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &three_runs());
    let table = accuracy_table(folder.path(), E).unwrap();
    let [f, four, two] = ids().try_into().unwrap();
    // 2 bits lose 7 images and win none: p = 2 / 2^7. Intervals: statsmodels, method "wilson".
    let expected = format!(
        "| bits | n | top-1 hits | top-1 % | 95 % interval | Δ points | top-5 % | flips | p | SQNR dB | run |\n\
         | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n\
         | float | 10 | 8 | 80.00 | 49.02–94.33 |  |  |  |  |  | `{f}` |\n\
         | 4 | 10 | 7 | 70.00 | 39.68–89.22 | -10.00 | 90.00 | 3 | 1 | 18.0 | `{four}` |\n\
         | 2 | 10 | 1 | 10.00 | 1.79–40.42 | -70.00 |  | 7 | 0.016 |  | `{two}` |\n"
    );
    let markdown = table.markdown();
    assert!(markdown.starts_with(&expected), "{markdown}");
    let notes = &markdown[expected.len()..];
    for part in [
        "n = 10 images".to_string(),
        format!("Float run: `{f}` (8 hits, 80.00 %)"),
        "Wilson".into(),
        "McNemar's exact test against it, two-sided, not corrected for the 2 comparisons.".into(),
        "`318b680318`".into(),
        "resnet20-synthetic `ab12ab12`".into(),
        "synthetic `cd34cd34`".into(),
        "mapping affine, granularity tensor, range minmax".into(),
    ] {
        assert!(notes.contains(&part), "{part} in {notes}");
    }
    assert!(!markdown.contains("against bits:"));
}

#[test]
fn a_trained_networks_sqnr_has_a_column_of_its_own_and_lost_channels_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let trained = |bits, latent, lost| {
        let config = quantized(10, bits, bits)
            .with("method", "qat")
            .with("qat_method", "lsq");
        let run = run(E, config, &first_right(10, 7));
        let run = with(run, "", metric::LATENT_SQNR, latent);
        let run = with(run, "conv1", metric::LATENT_SQNR, latent + 1.0);
        with(run, "", metric::LOST_CHANNELS, lost)
    };
    let ptq = run(E, quantized(10, 4, 4), &first_right(10, 6));
    let ptq = with(ptq, "", metric::WEIGHT_SQNR, 18.04);
    let mut runs = vec![
        run(E, float(10), &first_right(10, 8)),
        ptq,
        trained(4, 15.26, 0.0),
    ];
    write(folder.path(), &runs);
    let healthy = accuracy_table(folder.path(), E).unwrap();
    assert!(!healthy.markdown().contains("lost channels"));
    runs.push(trained(2, 6.4, 3.0));
    write(folder.path(), &runs[3..]);
    let table = accuracy_table(folder.path(), E).unwrap();
    let markdown = table.markdown();
    let head = "| p | SQNR dB | latent SQNR dB | lost channels | run |";
    assert!(
        markdown.lines().next().unwrap().ends_with(head),
        "{markdown}"
    );
    for end in ["| 18.0 |  |  | `", "|  | 15.3 |  | `", "|  | 6.4 | 3 | `"] {
        assert!(markdown.contains(end), "{end} in {markdown}");
    }
    assert!(markdown.contains("Latent SQNR: ") && markdown.contains("Lost channels: "));
    let csv = table.csv();
    let heads = csv.lines().next().unwrap();
    assert!(
        heads.ends_with(",float_run_id,latent_sqnr_db,lost_channels"),
        "{heads}"
    );
    let latents: Vec<_> = csv
        .lines()
        .skip(1)
        .map(|l| l.rsplitn(3, ',').collect::<Vec<_>>())
        .collect();
    let latents: Vec<_> = latents.iter().map(|l| (l[1], l[0])).collect();
    assert_eq!(latents, [("", ""), ("", ""), ("15.26", "0"), ("6.40", "3")]);
}

#[test]
fn csv_has_one_number_a_field_and_latex_a_cell_a_column() {
    let folder = tempfile::tempdir().unwrap();
    let mut runs = three_runs();
    runs.push(failed(
        run(E, linear(10, 3), &[]),
        "no \"memory\", none\nat all",
    ));
    write(folder.path(), &runs);
    let table = accuracy_table(folder.path(), E).unwrap();
    let csv = table.csv();
    let [f, four, two] = ids().try_into().unwrap();
    let three = &runs[3].row.run_id;
    assert_eq!(
        csv,
        format!(
            "run_id,status,bits,n,top1_correct,top1_percent,top1_low_percent,top1_high_percent,difference_points,\
             top5_correct,top5_percent,flips,mcnemar_p,weight_sqnr_db,float_run_id\n\
             {f},ok,32,10,8,80.00,49.02,94.33,,,,,,,\n\
             {four},ok,4,10,7,70.00,39.68,89.22,-10.00,9,90.00,3,1,18.04,{f}\n\
             {three},failed,3,,,,,,,,,,,,\n\
             {two},ok,2,10,1,10.00,1.79,40.42,-70.00,,,7,0.016,,{f}\n"
        )
    );
    let latex = table.latex();
    let rows: Vec<&str> = latex
        .lines()
        .filter(|line| line.ends_with("\\\\"))
        .collect();
    assert_eq!(rows.len(), 5);
    assert!(
        rows.iter()
            .all(|row| row.matches(" & ").count() == rows[0].matches(" & ").count()),
        "{latex}"
    );
    assert!(latex.contains("\\begin{tabular}{rrrrrrrrrrr}") && latex.contains("\\toprule"));
    assert!(table.markdown().contains(&format!(
        "Failed: run `{three}` (3 bits): no \"memory\", none\n"
    )));
}

#[test]
fn only_axes_that_vary_have_a_column_and_several_schemes_a_wide_table() {
    let folder = tempfile::tempdir().unwrap();
    let mut runs = vec![run(E, float(10), &first_right(10, 9))];
    for (i, mapping) in ["symmetric", "affine"].into_iter().enumerate() {
        for bits in [4, 8] {
            let mut config = linear(10, bits);
            config.set("weights_mapping", mapping);
            config.set("weights_narrow", (mapping == "symmetric").then_some(true));
            runs.push(run(E, config, &first_right(10, 2 + i + bits as usize / 2)));
        }
    }
    write(folder.path(), &runs);
    let markdown = accuracy_table(folder.path(), E).unwrap().markdown();
    let cells = |line: &str| line.split(" | ").take(2).collect::<Vec<_>>().join(" ");
    let lines: Vec<String> = markdown.lines().take(7).map(cells).collect();
    assert_eq!(
        lines,
        [
            "| mapping bits",
            "| --- ---:",
            "|  float",
            "| affine 8",
            "| affine 4",
            "| symmetric narrow 8",
            "| symmetric narrow 4"
        ]
    );
    let wide = "| mapping | float | 8 bit | 4 bit |\n| --- | ---: | ---: | ---: |\n\
                | affine | 90.00 | 70.00 | 50.00 |\n| symmetric narrow | 90.00 | 60.00 | 40.00 |\n";
    assert!(markdown.ends_with(wide), "{markdown}");
}

#[test]
fn a_run_is_compared_with_the_float_run_that_is_most_like_it() {
    let folder = tempfile::tempdir().unwrap();
    let folded = |mut config: Config| {
        config.set("bn", "folded");
        config
    };
    let mut other_data = run(E, float(10), &first_right(10, 3));
    other_data.row.data_sha256 = "ef".repeat(32);
    other_data.row.run_id = results::run_id(
        &other_data.row.config,
        &other_data.row.weights_sha256,
        &other_data.row.data_sha256,
        None,
    );
    other_data.metrics[0].run_id = other_data.row.run_id.clone();
    let runs = [
        run(E, float(10), &first_right(10, 8)),
        run(E, folded(float(10)), &first_right(10, 9)),
        other_data,
        run(E, folded(linear(10, 4)), &first_right(10, 5)),
        run(E, linear(10, 4), &first_right(10, 4)),
    ];
    write(folder.path(), &runs);
    let table = accuracy_table(folder.path(), E).unwrap();
    for (quantized, float) in [(3, 1), (4, 0)] {
        let row = table.row(&runs[quantized].row.run_id).unwrap();
        assert_eq!(row.float_run.as_ref(), Some(&runs[float].row.run_id));
        assert_eq!(row.flips, Some(4));
    }
}

#[test]
fn without_a_float_run_the_recorded_flips_are_shown_and_no_test() {
    let folder = tempfile::tempdir().unwrap();
    write(
        folder.path(),
        &[with(
            run(E, linear(10, 4), &first_right(10, 5)),
            "",
            metric::FLIPS,
            6.0,
        )],
    );
    let table = accuracy_table(folder.path(), E).unwrap();
    let row = &table.rows[0];
    assert_eq!(
        (row.flips, row.p, row.difference, &row.float_run),
        (Some(6), None, None, &None)
    );
    assert!(table.markdown().contains("Float run: none"));
}

#[test]
fn images_are_joined_by_name_whatever_the_name() {
    let folder = tempfile::tempdir().unwrap();
    let names = [
        "",
        "100",
        "0100",
        "1e2",
        "a \"quoted\", name\nof two lines",
        "ü/東京.JPEG",
        "NaN",
        "null",
        "#",
        " x",
    ];
    let images = |right: usize| -> Vec<_> {
        first_right(10, right)
            .into_iter()
            .zip(names)
            .map(|((_, l, t), name)| (name.to_string(), l, t))
            .collect()
    };
    let mut shuffled = images(6);
    shuffled.reverse();
    let runs = [
        run(E, float(10), &images(9)),
        run(E, linear(10, 4), &shuffled),
    ];
    write(folder.path(), &runs);
    let table = accuracy_table(folder.path(), E).unwrap();
    let row = table.row(&runs[1].row.run_id).unwrap();
    assert_eq!((row.top1, row.flips, row.p), (Some(6), Some(3), Some(0.25)));
}

#[test]
fn run_ids_of_digits_stay_text() {
    // A run id such as 000000000012 or 123456e78901 read as a number would be another run.
    let folder = tempfile::tempdir().unwrap();
    let mut runs = Vec::new();
    let mut seed = 0;
    while runs.len() < 2 {
        let mut config = linear(10, 4);
        config.set("seed", seed);
        let candidate = run(E, config, &first_right(10, 5));
        if candidate
            .row
            .run_id
            .bytes()
            .filter(|b| !b.is_ascii_digit())
            .all(|b| b == b'e')
        {
            runs.push(candidate);
        }
        seed += 1;
    }
    write(folder.path(), &runs);
    assert_eq!(accuracy_table(folder.path(), E).unwrap().rows.len(), 2);
}

#[test]
fn a_metric_that_is_there_twice_is_refused() {
    let id = ids()[1].clone();
    let error = error_after(|folder| {
        let path = folder.join(&id).join("metrics.csv");
        let text = fs::read_to_string(&path).unwrap();
        let again = text.lines().last().unwrap();
        fs::write(&path, format!("{text}{again}\n")).unwrap();
    });
    assert!(
        matches!(&error, Error::Duplicate { run_id, rows: 2, .. } if *run_id == id),
        "{error}"
    );
    assert!(error.to_string().contains("top5_correct"), "{error}");
}

#[test]
fn files_of_another_schema_or_of_another_run_are_refused() {
    let id = ids()[1].clone();
    let edit = |file: &'static str, from: &'static str, to: &'static str| {
        let id = id.clone();
        let error = error_after(move |folder| {
            let path = folder.join(&id).join(file);
            let text = fs::read_to_string(&path).unwrap();
            assert!(text.contains(from), "{text}");
            fs::write(&path, text.replacen(from, to, 1)).unwrap();
        });
        let text = error.to_string();
        assert!(text.contains(file), "{text}");
        text
    };
    assert!(edit("metrics.csv", "unit", "units").contains("column `unit` is missing"));
    assert!(edit("predictions.csv", "top1", "best").contains("column `top1` is missing"));
    assert!(edit("run.csv", "host", "machine").contains("column `host` is missing"));
    assert!(edit("run.csv", "\n2,", "\n1,").contains("schema version `1`"));
    assert!(edit("run.csv", ",affine,", ",symmetric,").contains("give the run id"));
    assert!(
        edit("predictions.csv", "9,9,9", "9,9,8")
            .contains("6 of 10 right, but metrics.csv has 7 of 10")
    );
    assert!(edit("predictions.csv", "\n2,2,2", "\n3,2,2").contains("10 rows for 9 images"));
    assert!(
        edit("metrics.csv", "top1_correct", "top1").contains("without the metric top1_correct")
    );
    assert!(edit("metrics.csv", ",7,", ",seven,").contains("metrics.csv, line 2: column `value`"));
    assert!(
        edit("predictions.csv", "\n8,8,9", "\n8,8").contains("predictions.csv, line 10: 2 fields")
    );
}

#[test]
fn a_float_run_with_other_images_or_labels_is_no_float_run() {
    let id = ids()[1].clone();
    let edit = |from: &'static str, to: &'static str| {
        let id = id.clone();
        error_after(move |folder| {
            let path = folder.join(&id).join("predictions.csv");
            let text = fs::read_to_string(&path).unwrap();
            fs::write(&path, text.replacen(from, to, 1)).unwrap();
        })
        .to_string()
    };
    assert!(edit("\n2,2,2", "\nother,2,2").contains("10 images, 10 in float run"));
    assert!(edit("\n8,8,9", "\n8,7,9").contains("1 labels differ"));
}

#[test]
fn regenerating_gives_the_same_bytes_whatever_was_volatile() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (folder.path().join("a"), folder.path().join("b"));
    write(&a, &three_runs());
    let mut runs = three_runs();
    runs.reverse();
    for run in &mut runs {
        (run.row.host, run.row.started_at) = ("elsewhere".into(), "2031-01-01T00:00:00Z".into());
        (run.row.seconds, run.row.threads) = (99.5, 64);
    }
    write(&b, &runs);
    let texts = |root: &Path| {
        outputs(root, E)
            .unwrap()
            .1
            .into_iter()
            .map(|o| o.text)
            .collect::<Vec<_>>()
    };
    assert_eq!(texts(&a), texts(&b));
    assert_eq!(texts(&a), texts(&a));
}

#[test]
fn files_appear_beside_the_runs_and_go_when_there_is_nothing_to_show() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &three_runs());
    let names = |paths: Vec<std::path::PathBuf>| -> Vec<String> {
        paths
            .iter()
            .inspect(|p| assert!(p.is_file()))
            .map(|p| p.file_name().unwrap().to_str().unwrap().into())
            .collect()
    };
    let sqnr = folder.path().join(E).join("sqnr.svg");
    fs::write(&sqnr, "of runs that are gone").unwrap();
    let written = names(write_all(folder.path(), E).unwrap().1);
    assert_eq!(
        written,
        ["table.md", "table.csv", "table.tex", "accuracy.svg"]
    );
    assert!(!sqnr.exists());

    write(
        folder.path(),
        &[with(
            run(E, linear(10, 6), &first_right(10, 7)),
            "conv1",
            metric::WEIGHT_SQNR,
            30.0,
        )],
    );
    assert_eq!(names(write_all(folder.path(), E).unwrap().1).len(), 5);
    assert!(
        outputs(folder.path(), E)
            .unwrap()
            .1
            .iter()
            .all(|output| !output.is_stale().unwrap())
    );
}

#[test]
fn an_experiment_without_runs_is_an_error_that_names_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let error = accuracy_table(folder.path(), "nothing")
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.contains("nothing") && error.contains("sweep"),
        "{error}"
    );
    assert!(accuracy_table(&folder.path().join("absent"), E).is_err());
}

#[test]
fn only_failed_runs_still_make_a_table() {
    let folder = tempfile::tempdir().unwrap();
    write(
        folder.path(),
        &[failed(run(E, linear(10, 4), &[]), "no memory")],
    );
    let markdown = accuracy_table(folder.path(), E).unwrap().markdown();
    assert!(
        markdown.contains("| 4 | failed |") && markdown.contains("no memory"),
        "{markdown}"
    );
    assert_eq!(write_all(folder.path(), E).unwrap().1.len(), 3);
}
