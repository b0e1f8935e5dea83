//! An experiment as one HTML file that needs no network and no server: its question and what came of it, the table, the plots, and
//! every run.
//!
//! ```text
//! shell (HTML, CSS, script: files of this folder)  +  data (one JSON)  =  index.html
//! ```
//!
//! All that varies is data: it goes into the page as JSON in which `<`, `>` and `&` are escaped, and the script puts it there as text,
//! never as HTML, so no word of an experiment can close a tag. The page forbids itself every address but its own (a content
//! security policy). The same run folders and the same images give the same bytes.
//!
//! In reading order: [`Page`] (what is asked for and put together), `seen` (predictions: confusions and flips), `columns` (the
//! table, settings, provenance), `plots` (what the pictures of this crate show, as numbers), `detail` (layers and manifest of a run),
//! `pool` (what many runs share is written once), `shell` (into HTML), [`index`] (all experiments).

mod columns;
mod detail;
pub mod index;
mod plots;
mod pool;
mod seen;
mod shell;
mod summary;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::accuracy::{AccuracyTable, TableRow};
use crate::axes::scheme_label;
use crate::canvas::palette;
use crate::error::Error;
use crate::grid::Grid;
use crate::load::Loaded;
use crate::output::Output;
use crate::pareto::pareto;
use crate::predictors::predictors;

use columns::{Column, Said};
use detail::Detail;
use plots::Plot;
use pool::Pool;
use seen::{Confusion, Flips, Seen};

/// File of a page.
pub const PAGE_FILE: &str = "index.html";

/// Flipped images that are shown of a run.
pub const SHOWN_FLIPS: usize = 24;

/// Pictures in a page, of all runs together.
pub const MOST_PICTURES: usize = 240;

/// What an experiment's file says beside its plan.
#[derive(Clone, Debug, Default, Serialize)]
pub struct About {
    /// What is asked.
    pub question: String,
    /// What was expected before the first run.
    pub expects: String,
    /// Whether it came so, written after the runs; empty where nobody has.
    pub found: String,
    /// Counts that had to come out, with the runs that answer.
    pub checks: Vec<Check>,
    /// Of them, those that no run answers.
    pub unanswered: usize,
    /// Why there is none of this; empty where there is.
    pub missing: String,
}

/// A count that had to come out of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// The run.
    pub run: String,
    /// Of the whole network.
    pub metric: String,
    /// What it had to be, and how far off it might be.
    pub expected: f64,
    /// How far off it might be.
    pub tolerance: f64,
    /// What it is.
    pub value: f64,
    /// Whether that is near enough.
    pub holds: bool,
}

/// A test set of which a page wants pictures.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// A run on it.
    pub run_id: String,
    /// Its images, as the predictions name them.
    pub images: Vec<String>,
}

/// What there is of a test set.
#[derive(Clone, Debug, Default)]
pub struct Pictures {
    /// Names of the classes, by label.
    pub classes: Vec<String>,
    /// PNG files of images, by name.
    pub png: BTreeMap<String, Vec<u8>>,
    /// Why there are none; empty where there are.
    pub missing: String,
}

/// An experiment's runs, read and checked, for its page.
pub struct Page {
    loaded: Loaded,
    table: AccuracyTable,
    seen: Seen,
    details: Vec<Detail>,
}

/// The JSON of a page.
#[derive(Serialize)]
struct Data<'a> {
    experiment: &'a str,
    about: &'a About,
    summary: Vec<String>,
    palette: Vec<String>,
    columns: Vec<Column>,
    runs: Vec<Shown>,
    notes: Vec<String>,
    grids: Vec<Titled>,
    plots: Vec<Plot>,
    settings: Vec<Said>,
    provenance: Vec<Said>,
    sets: Vec<Set>,
    /// PNG files as base64.
    pictures: Vec<String>,
    most: [usize; 2],
    pool: Vec<pool::Stored>,
}

/// A run in the JSON, where it is not in columns.
#[derive(Serialize)]
struct Shown {
    id: String,
    label: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    failed: Option<String>,
    /// The place of the float run that it is compared with.
    #[serde(skip_serializing_if = "Option::is_none")]
    float: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    set: Option<usize>,
    #[serde(flatten)]
    detail: detail::Stored,
    #[serde(skip_serializing_if = "Option::is_none")]
    confusion: Option<Confusion>,
    #[serde(skip_serializing_if = "Option::is_none")]
    flips: Option<Flips>,
}

/// A grid with its title.
#[derive(Serialize)]
struct Titled {
    id: &'static str,
    title: String,
    heads: Vec<String>,
    text: usize,
    rows: Vec<Vec<String>>,
}

/// A test set in the JSON.
#[derive(Serialize)]
struct Set {
    classes: Vec<String>,
    missing: String,
}

impl Page {
    /// Reads an experiment's runs, whole.
    ///
    /// # Errors
    /// Those of [`crate::accuracy_table`], and a manifest that cannot be read.
    pub fn open(results_root: &Path, experiment: &str) -> Result<Page, Error> {
        let loaded = Loaded::open(results_root, experiment)?;
        let table = AccuracyTable::new(&loaded)?;
        let seen = Seen::read(&table, &loaded)?;
        let details = table.runs.iter().map(|run| Detail::read(run, &loaded));
        let details = details.collect::<Result<_, _>>()?;
        Ok(Page {
            loaded,
            table,
            seen,
            details,
        })
    }

    /// The ids of the runs, in the order of the table.
    pub fn runs(&self) -> impl Iterator<Item = &str> {
        self.table.rows.iter().map(|row| row.run_id.as_str())
    }

    /// A run's configuration.
    pub fn config(&self, run_id: &str) -> Option<&results::Config> {
        self.table.row(run_id).map(|row| &row.config)
    }

    /// A metric of a run's whole network.
    pub fn metric(&self, run_id: &str, metric: &str) -> Option<f64> {
        self.loaded.network(run_id, metric).map(|(value, _)| value)
    }

    /// The test sets, each with the images that the page would show.
    pub fn wanted(&self) -> Vec<Wanted> {
        self.seen.wanted()
    }

    /// The page, with `pictures` for each of [`Page::wanted`], in its order.
    pub fn output(&self, about: &About, pictures: &[Pictures]) -> Output {
        Output {
            path: self.path(),
            text: Some(self.html(about, pictures)),
        }
    }

    fn path(&self) -> PathBuf {
        self.loaded.folder.join(PAGE_FILE)
    }

    fn html(&self, about: &About, pictures: &[Pictures]) -> String {
        let table = &self.table;
        let mut pool = Pool::default();
        let place = |id: &String| table.rows.iter().position(|row| row.run_id == *id);
        let (png, flips) = self.seen.flips(pictures);
        let runs = table.rows.iter().zip(&self.details).enumerate();
        let runs = runs.map(|(i, (row, detail))| Shown {
            id: row.run_id.clone(),
            label: self.label(row),
            failed: row.failed.clone(),
            float: row.float_run.as_ref().and_then(place),
            set: self.seen.set(i),
            detail: detail.stored(&mut pool),
            confusion: self.seen.confusion(i),
            flips: flips[i].clone(),
        });
        let sets = pictures.iter().map(|set| Set {
            classes: set.classes.clone(),
            missing: set.missing.clone(),
        });
        let data = Data {
            experiment: &table.experiment,
            about,
            summary: summary::summary(table, |row| self.label(row)),
            palette: palette(),
            columns: columns::table(table),
            runs: runs.collect(),
            notes: table
                .notes()
                .into_iter()
                .filter(|n| !n.is_empty())
                .collect(),
            grids: self.grids(),
            plots: plots::all(table, &self.loaded),
            settings: columns::settings(&table.runs),
            provenance: columns::provenance(&table.runs),
            sets: sets.collect(),
            pictures: png,
            most: [SHOWN_FLIPS, MOST_PICTURES],
            pool: Vec::new(),
        };
        let data = Data {
            pool: pool.into_stored(),
            ..data
        };
        let title = format!("{}: {}", table.experiment, about.question);
        shell::page(title.trim_end_matches([':', ' ']), &data)
    }

    /// Bits and scheme, as far as the runs differ in them.
    fn label(&self, row: &TableRow) -> String {
        let table = &self.table;
        let bits = match row.bits().label(table.activations) {
            bits if table.activations || bits == "float" => bits,
            bits => format!("{bits} bits"),
        };
        let mut axes = table.axes.clone();
        axes.retain(|axis| axis.title != "method" || !row.config.is_float());
        let subject: Vec<String> = axes
            .iter()
            .filter(|axis| !axis.is_scheme())
            .map(|axis| axis.value(&row.config))
            .filter(|value| !value.is_empty())
            .collect();
        let scheme = match row.config.is_float() || axes.iter().all(|axis| !axis.is_scheme()) {
            true => String::new(),
            false => scheme_label(&row.config, &axes),
        };
        let words = subject.into_iter().chain([bits, scheme]);
        let words: Vec<String> = words.filter(|word| !word.is_empty()).collect();
        words.join(", ")
    }

    fn grids(&self) -> Vec<Titled> {
        let titled = |id, title: &str, grid: Grid| Titled {
            id,
            title: title.to_owned(),
            heads: grid.heads,
            text: grid.text_columns,
            rows: grid.rows,
        };
        let wide = self.table.wide();
        let wide = wide.map(|wide| titled("wide", &wide.title, wide.grid));
        let draws = self.table.draws();
        let draws = draws.map(|grid| titled("draws", "Draws: median (highest less lowest)", grid));
        let fronts = pareto(&self.table, &self.loaded);
        let fronts = fronts.map(|(grid, _)| titled("pareto", "Fronts of accuracy and cost", grid));
        let said = predictors(&self.table, &self.loaded);
        let said = said.map(|(grid, _)| titled("predictors", "How well it was predicted", grid));
        let first = wide.into_iter().chain(draws);
        first.chain(fronts).chain(said).collect()
    }
}

#[cfg(test)]
mod tests {
    use results::{
        Config, EpochRow, ManifestRow, MetricRow, PredictionRow, Run, RunRow, Status, Store, metric,
    };
    use serde_json::Value;

    use super::*;

    /// A run whose image i has the label `i % classes` and the answer `answer(i)`.
    fn run(config: Config, images: usize, classes: u16, answer: impl Fn(u16) -> u16) -> Run {
        let row = RunRow::new("e", config, "w", "d", None);
        let id = row.run_id.clone();
        let prediction = |i: usize| {
            let label = i as u16 % classes;
            PredictionRow {
                image: format!("<b>/{i}"),
                label,
                top1: answer(i as u16),
            }
        };
        let predictions: Vec<PredictionRow> = (0..images).map(prediction).collect();
        let hits = predictions.iter().filter(|row| row.label == row.top1);
        let value = |layer: &str, metric: &str, value: f64, n: u64| MetricRow {
            run_id: id.clone(),
            layer: layer.into(),
            metric: metric.into(),
            value,
            n,
            unit: String::new(),
        };
        let metrics = vec![
            value("", metric::TOP1_CORRECT, hits.count() as f64, images as u64),
            value("conv", metric::WEIGHT_SQNR, 12.345_678, 9),
        ];
        let manifest = vec![ManifestRow {
            run_id: id.clone(),
            tensor: "conv.weight".into(),
            kind: "weight".into(),
            quantized: true,
            bits: 4,
            reason: "said".into(),
        }];
        Run {
            row,
            metrics,
            predictions,
            manifest,
            epochs: Vec::new(),
        }
    }

    fn config(bits: u32, method: &str) -> Config {
        Config::default()
            .with("weights_bits", bits)
            .with("activations_bits", 32)
            .with("method", method)
    }

    fn page(runs: &[Run]) -> (tempfile::TempDir, Page) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        for run in runs {
            store.write(run).unwrap();
        }
        let page = Page::open(folder.path(), "e").unwrap();
        (folder, page)
    }

    fn data(page: &Page, pictures: &[Pictures]) -> Value {
        let html = page.html(&About::default(), pictures);
        let (_, rest) = html.split_once("id=\"data\">").unwrap();
        serde_json::from_str(rest.split_once("</script>").unwrap().0).unwrap()
    }

    #[test]
    fn a_failed_run_and_a_training_have_their_place_and_few_classes_a_matrix() {
        let float = run(config(32, "float"), 40, 4, |i| i % 4);
        let mut trained = run(config(4, "qat"), 40, 4, |i| if i < 3 { 3 } else { i % 4 });
        trained.epochs = vec![EpochRow {
            run_id: trained.row.run_id.clone(),
            epoch: 1,
            lr: 0.01,
            train_loss: 0.5,
            train_top1: 0.75,
            test_top1: Some(0.9),
            images_per_second: 10.0,
            seconds: 4.0,
        }];
        let mut failed = run(config(2, "ptq"), 40, 4, |_| 0);
        failed.row.status = Status::Failed;
        failed.row.error = Some("it </script> broke".into());
        failed.metrics.clear();
        failed.predictions.clear();
        let (_folder, page) = page(&[float, trained.clone(), failed.clone()]);
        let page = data(&page, &[Pictures::default()]);
        let of = |run: &Run| {
            let runs = page["runs"].as_array().unwrap();
            let found = runs.iter().find(|own| own["id"] == run.row.run_id.as_str());
            found.unwrap().clone()
        };
        assert_eq!(of(&failed)["failed"], "it </script> broke");
        assert_eq!(of(&failed)["confusion"], Value::Null);
        let own = of(&trained);
        assert_eq!(
            own["epochs"][0],
            serde_json::json!([1, 0.01, 0.5, 0.75, 0.9])
        );
        // 0, 1 and 2 were taken for 3.
        assert_eq!(own["confusion"]["matrix"][3], 1);
        assert_eq!(own["confusion"]["matrix"][15], 10);
        assert_eq!(own["flips"]["total"], 3);
        assert_eq!(own["flips"]["lost"], 3);
        assert_eq!(own["flips"]["shown"][0][0], "<b>/0");
        let plots = page["plots"].as_array().unwrap().iter();
        let ids: Vec<&str> = plots.map(|plot| plot["id"].as_str().unwrap()).collect();
        assert_eq!(ids, ["accuracy", "epochs", "sqnr"]);
        let summary = page["summary"].to_string();
        assert!(
            summary.contains("3 runs, 1 of them float, 1 failed"),
            "{summary}"
        );
        // Three images that were lost and none won: p = 0.25.
        assert!(summary.contains("1 cannot be told from it"), "{summary}");
    }

    #[test]
    fn many_classes_have_their_most_frequent_confusions_and_pictures_their_bound() {
        let images = 40 * MOST_PICTURES;
        let float = run(config(32, "float"), images, 40, |i| i % 40);
        let runs: Vec<Run> = (1..=12)
            .map(|bits| {
                // Image i flips in the runs of more than i % 12 bits.
                let answer = move |i: u16| match u32::from(i % 12) < bits {
                    true => (i + 1) % 40,
                    false => i % 40,
                };
                run(config(bits, "ptq"), images, 40, answer)
            })
            .collect();
        let mut all = runs.clone();
        all.push(float);
        let (_folder, page) = page(&all);
        let wanted = page.wanted();
        assert_eq!(wanted.len(), 1);
        // Those that flip in all of the runs are the same everywhere.
        assert_eq!(wanted[0].images.len(), SHOWN_FLIPS);
        assert_eq!(wanted[0].images[..2], ["<b>/0", "<b>/12"]);
        let png = wanted[0]
            .images
            .iter()
            .map(|name| (name.clone(), vec![1, 2, 3]));
        let pictures = Pictures {
            png: png.collect(),
            ..Pictures::default()
        };
        let page = data(&page, &[pictures]);
        assert_eq!(page["pictures"].as_array().unwrap().len(), SHOWN_FLIPS);
        let one = page["runs"].as_array().unwrap();
        let one = one
            .iter()
            .find(|own| own["id"] == runs[11].row.run_id.as_str());
        let own = one.unwrap();
        assert_eq!(own["flips"]["total"], images);
        assert_eq!(own["flips"]["shown"].as_array().unwrap().len(), SHOWN_FLIPS);
        assert_eq!(own["flips"]["shown"][0][4], 0);
        let pairs = own["confusion"]["pairs"].as_array().unwrap();
        assert_eq!(pairs.len(), 30);
        assert_eq!(pairs[0], serde_json::json!([0, 1, images / 40]));
    }
}
