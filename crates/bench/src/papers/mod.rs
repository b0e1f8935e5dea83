//! What is published beside what came out, over all experiments that say so ([`crate::experiment::Published`]).
//!
//! A run stands beside a value if it is one that the experiment's file asks for, setting for setting, defaults included, and the
//! value's `where` holds. Under which experiment it was made does not matter: a run id is the same run everywhere. Runs of the
//! experiment's own folder that differ in the network or the images alone are shown as such and judged by nobody. Draws of one thing
//! (`seed`) are one line, by the median of their hits.

mod judge;
mod shown;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use results::{METHOD_FLOAT, METRICS_FILE, MetricRow, RunRow, Status, Store, metric, read_rows};

use crate::experiment::{Differs, Experiment, Published};
use crate::registry::{Format, Registry};
use crate::settings::{Cell, ModelFile, Settings, Source};

pub use judge::{Ours, Verdict, judge};
pub use shown::{csv, markdown, text};

/// The folder of papers among the experiments.
pub const PAPERS: &str = "papers";

/// Columns that are filled in when files are open; what they say is compared by itself.
const FILLED: [&str; 11] = [
    "model_name",
    "model_arch",
    "dataset",
    "images",
    "input_normalization",
    "input_resize",
    "input_size",
    "labels_offset",
    "calibration_dataset",
    "qat_images",
    "qat_train_sha256",
];

/// A published value and what came out.
#[derive(Clone, Debug)]
pub struct Line {
    /// The experiment.
    pub experiment: String,
    /// What makes its runs: `sweep` and how that calls the file.
    pub sweep: String,
    /// What is published.
    pub published: Published,
    /// What came out; absent where no run is there.
    pub ours: Option<Ours>,
    /// How they compare.
    pub verdict: Verdict,
}

/// Something that a run needs and the project does not ship.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// The network or the set.
    pub name: String,
    /// Whether `fetch` gets it.
    pub fetched: bool,
}

/// A finished run and where it lies.
struct Finished {
    store: usize,
    experiment: String,
    row: RunRow,
}

/// Runs of several results folders.
pub struct Runs {
    stores: Vec<Store>,
    finished: Vec<Finished>,
}

impl Runs {
    /// Reads what is finished in `folders`; what both have of an experiment counts where it comes first.
    ///
    /// # Errors
    /// A folder that is damaged.
    pub fn read(folders: &[PathBuf]) -> Result<Self> {
        let stores = folders.iter().map(Store::existing);
        let stores: Vec<Store> = stores.collect::<Result<_, _>>()?;
        let mut seen = BTreeSet::new();
        let mut finished = Vec::new();
        for (store, folder) in stores.iter().enumerate() {
            for experiment in folder.experiments()? {
                for id in folder.runs(&experiment)? {
                    let row = folder.read_row(&experiment, &id)?;
                    // In each experiment that has it: a run of other images counts in the experiment's own folder alone.
                    let place = (experiment.clone(), id);
                    if row.status == Status::Ok && seen.insert(place) {
                        let experiment = experiment.clone();
                        finished.push(Finished {
                            store,
                            experiment,
                            row,
                        });
                    }
                }
            }
        }
        Ok(Self { stores, finished })
    }

    /// Hits and images of a run.
    fn hits(&self, run: &Finished) -> Result<(u64, u64)> {
        let folder = self.stores[run.store].run_dir(&run.experiment, &run.row.run_id)?;
        let rows: Vec<MetricRow> = read_rows(&folder.join(METRICS_FILE))?;
        let mut whole = rows.iter().filter(|row| row.layer.is_empty());
        let hits = whole.find(|row| row.metric == metric::TOP1_CORRECT);
        let hits =
            hits.ok_or_else(|| anyhow!("run {} has no {}", run.row.run_id, metric::TOP1_CORRECT))?;
        Ok((hits.value as u64, hits.n))
    }

    /// Hits and images of the float run of `run`; none where it is not there.
    fn float(&self, run: &RunRow) -> Result<Option<(u64, u64)>> {
        let same = |other: &RunRow| {
            other.config.text("method") == METHOD_FLOAT
                && other.config.text("device") == run.config.text("device")
                && other.weights_sha256 == run.weights_sha256
                && other.data_sha256 == run.data_sha256
        };
        let float = self.finished.iter().find(|other| same(&other.row));
        float.map(|float| self.hits(float)).transpose()
    }
}

/// All experiments in `folder` and in its folder of papers that have published values, as `sweep` calls them.
///
/// # Errors
/// A file that cannot be read.
pub fn experiments(folder: &Path) -> Result<Vec<(String, Experiment)>> {
    let mut found = Vec::new();
    for (prefix, folder) in [
        (String::new(), folder.to_owned()),
        (format!("{PAPERS}/"), folder.join(PAPERS)),
    ] {
        if !folder.is_dir() {
            continue;
        }
        let cannot = || format!("cannot read {}", folder.display());
        let entries = std::fs::read_dir(&folder).with_context(cannot)?;
        let files = entries.map(|entry| entry.map(|entry| entry.path()));
        let mut files: Vec<PathBuf> = files.collect::<Result<_, _>>().with_context(cannot)?;
        files.retain(|file| file.extension().is_some_and(|ending| ending == "toml"));
        files.sort();
        for file in files {
            let experiment = Experiment::read(&file)?;
            if !experiment.published.is_empty() {
                found.push((format!("{prefix}{}", experiment.name), experiment));
            }
        }
    }
    Ok(found)
}

/// The lines of an experiment, which `sweep` calls `file`, in the order of its values.
///
/// # Errors
/// Runs that cannot be read.
pub fn compare(
    file: &str,
    experiment: &Experiment,
    registry: &Registry,
    runs: &Runs,
) -> Result<Vec<Line>> {
    let cells: Vec<(Settings, Cell)> = (experiment.cells()?.into_iter())
        .filter_map(|settings| Cell::new(&settings).ok().map(|cell| (settings, cell)))
        .collect();
    let trains = |cell: &Cell| {
        let how = cell.quantization.as_ref();
        how.is_some_and(|how| {
            matches!(how.source, Source::Training(_)) || how.reconstruction.is_some()
        })
    };
    // Which program: the one with training, where a cell trains.
    let sweep = match cells.iter().any(|(_, cell)| trains(cell)) {
        true => "sweep-all",
        false => "sweep",
    };
    // Each run that some cell asks for, with what else it is.
    let asked: Vec<(&Finished, Option<Differs>)> = (runs.finished.iter())
        .filter_map(|run| {
            let own = run.experiment == experiment.name;
            let differs = cells
                .iter()
                .filter_map(|cell| is_of(cell, &run.row, registry));
            let differs = differs.min_by_key(|differs| rank(*differs))?;
            (own || differs.is_none()).then_some((run, differs))
        })
        .collect();
    let mut lines = Vec::new();
    for published in &experiment.published {
        let line = |ours: Option<Ours>, verdict| Line {
            experiment: experiment.name.clone(),
            sweep: format!("{sweep} {file}"),
            published: published.clone(),
            ours,
            verdict,
        };
        let draws = beside(published, &asked);
        if draws.is_empty() {
            let verdict = Verdict::Missing(needs(published, &cells, registry));
            lines.push(line(None, verdict));
        }
        for (differs, draws) in draws {
            let mut counted = Vec::new();
            for run in &draws {
                counted.push((runs.hits(run)?, run.row.run_id.as_str(), *run));
            }
            counted.sort_by_key(|&((hits, _), id, _)| (hits, id));
            let ((hits, images), id, run) = counted[(counted.len() - 1) / 2];
            let ours = Ours {
                run_id: id.to_owned(),
                hits,
                images,
                float: runs.float(&run.row)?,
                draws: draws.len(),
            };
            let verdict = judge(published, &ours, differs);
            lines.push(line(Some(ours), verdict));
        }
    }
    Ok(lines)
}

/// The runs that stand beside a value: those that are most like what was asked for and have the most images, draws of one thing together.
fn beside<'r>(
    published: &Published,
    asked: &[(&'r Finished, Option<Differs>)],
) -> Vec<(Option<Differs>, Vec<&'r Finished>)> {
    let images = |run: &Finished| run.row.config.get::<u64>("images").unwrap_or(0);
    // Where a value does not say so, it is about what is quantized.
    let float =
        ["method", "weights.bits"].map(|key| published.condition.settings().contains_key(key));
    let float = float.contains(&true);
    let holding = asked.iter().filter(|(run, _)| {
        let config = &run.row.config;
        published.condition.holds(config) && (float || config.text("method") != METHOD_FLOAT)
    });
    let mut holding: Vec<(&Finished, Option<Differs>)> = holding
        .map(|&(run, differs)| {
            let fewer = published.images.is_some_and(|n| n != images(run));
            (run, differs.or(fewer.then_some(Differs::Data)))
        })
        .collect();
    let key = |&(run, differs): &(&Finished, Option<Differs>)| {
        (rank(differs), std::cmp::Reverse(images(run)))
    };
    let best = holding.iter().map(key).min();
    holding.retain(|one| Some(key(one)) == best);
    let mut groups: BTreeMap<String, (Option<Differs>, Vec<&Finished>)> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for (run, differs) in holding {
        // The same run may have been made for several experiments.
        if !seen.insert(run.row.run_id.as_str()) {
            continue;
        }
        let config = run.row.config.clone().with("seed", "");
        let what = format!("{}{}", config.canonical(), run.row.data_sha256);
        let group = groups.entry(what).or_insert_with(|| (differs, Vec::new()));
        group.1.push(run);
    }
    groups.into_values().collect()
}

/// The nearer, the lower.
fn rank(differs: Option<Differs>) -> u8 {
    match differs {
        None => 0,
        Some(Differs::Method) => 1,
        Some(Differs::Training) => 2,
        Some(Differs::Data) => 3,
        Some(Differs::Network) => 4,
    }
}

/// Whether a run is the cell's or its float run, but perhaps for network and images; none where it is not.
fn is_of(
    (settings, cell): &(Settings, Cell),
    row: &RunRow,
    registry: &Registry,
) -> Option<Option<Differs>> {
    let float = cell.baseline();
    let config = match row.config.text("method") {
        METHOD_FLOAT => &float.config,
        _ => &cell.config,
    };
    let said = |column: &str| match column {
        // Where nobody says it, it is what the file has.
        "bn" => settings.contains_key("bn"),
        _ => !FILLED.contains(&column),
    };
    let columns = row.config.columns();
    let mut compared = columns.iter().filter(|(column, _)| said(column));
    if !compared.all(|(column, text)| config.text(column) == text) {
        return None;
    }
    let called = |path: &str| {
        let stem = Path::new(path).file_stem().and_then(|stem| stem.to_str());
        stem.unwrap_or(path).to_owned()
    };
    let name = match &cell.model.file {
        ModelFile::Named(name) => name.clone(),
        ModelFile::File { path, .. } => called(path),
    };
    if row.config.text("model_name") != cell.model.called(name.clone()) {
        return Some(Some(Differs::Network));
    }
    let set = cell.dataset.clone();
    let set = set.or_else(|| {
        registry
            .models
            .get(&name)
            .map(|model| model.dataset.clone())
    });
    let own = row.config.text("dataset");
    let other = set.is_some_and(|set| set != own && called(&set) != called(own));
    let images: u64 = row.config.get("images").unwrap_or(0);
    let other = other || (cell.images != 0 && cell.images != images);
    Some(other.then_some(Differs::Data))
}

/// What a run of the value needs and does not ship.
fn needs(published: &Published, cells: &[(Settings, Cell)], registry: &Registry) -> Vec<Need> {
    let wanted = published.condition.settings();
    let agrees = |settings: &Settings, only: &dyn Fn(&str) -> bool| {
        let mut both = wanted.iter().filter(|(key, _)| only(key));
        both.all(|(key, value)| settings.get(key).is_none_or(|own| own == value))
    };
    let found = cells
        .iter()
        .find(|(settings, _)| agrees(settings, &|_| true));
    // A float run has settings that no cell has.
    let of_model = |key: &str| key.starts_with("model.");
    let found = found.or_else(|| cells.iter().find(|(s, _)| agrees(s, &of_model)));
    let Some((_, cell)) = found else {
        return Vec::new();
    };
    let mut needs = Vec::new();
    let mut dataset = cell.dataset.clone();
    match &cell.model.file {
        ModelFile::File { path, .. } => needs.push(Need {
            name: path.clone(),
            fetched: false,
        }),
        ModelFile::Named(name) => match registry.models.get(name) {
            Some(entry) => {
                dataset = dataset.or_else(|| Some(entry.dataset.clone()));
                // What ships lies in the data folder itself, what is fetched in a folder of it.
                let ships = !entry.file.contains('/');
                needs.extend((!ships).then(|| Need {
                    name: name.clone(),
                    fetched: entry.download.is_some(),
                }));
            }
            None => needs.push(Need {
                name: name.clone(),
                fetched: false,
            }),
        },
    }
    let calibration = cell.quantization.as_ref().and_then(|how| how.calibration());
    let calibration = calibration.and_then(|choice| choice.dataset.clone());
    for set in [dataset, calibration].into_iter().flatten() {
        let entry = registry.datasets.get(&set);
        if entry.is_some_and(|entry| entry.format == Format::Synthetic) {
            continue;
        }
        let fetched = entry.is_some_and(|entry| entry.download.is_some());
        needs.push(Need { name: set, fetched });
    }
    needs
}

#[cfg(test)]
mod tests {
    use results::{Config, PredictionRow, Run};

    use super::*;
    use crate::checkout;

    const TEXT: &str = "question = 'q'\nexpects = 'e'\n[fixed]\nmodel.name = 'resnet20-cifar10'\nmethod = 'ptq'\n\
        weights.rounding = 'stochastic'\n[vary]\nweights.bits = [8, 4]\nseed = [0, 1, 2]\n\
        [paper]\nname = 'P'\nimages = 10\n\
        [[published]]\nwhere = { weights.bits = 4 }\ntop1 = 50\n";

    /// A run of the settings, with so many hits of so many images.
    fn run(experiment: &str, settings: &Settings, hits: usize, images: usize) -> Run {
        let cell = Cell::new(settings).unwrap();
        let config: Config = (cell.config.clone())
            .with("model_name", "resnet20-cifar10")
            .with("dataset", "cifar10")
            .with("images", images);
        written(experiment, config, hits, images)
    }

    fn written(experiment: &str, config: Config, hits: usize, images: usize) -> Run {
        let row = RunRow::new(experiment, config, "w", "d", None);
        let value = MetricRow {
            run_id: row.run_id.clone(),
            layer: String::new(),
            metric: metric::TOP1_CORRECT.into(),
            value: hits as f64,
            n: images as u64,
            unit: metric::IMAGES.into(),
        };
        let prediction = |i: usize| PredictionRow {
            image: i.to_string(),
            label: 1,
            top1: u16::from(i < hits),
        };
        Run {
            row,
            metrics: vec![value],
            predictions: (0..images).map(prediction).collect(),
            manifest: Vec::new(),
            epochs: Vec::new(),
        }
    }

    fn lines(experiment: &Experiment, runs: &[Run]) -> Vec<Line> {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        for run in runs {
            store.write(run).unwrap();
        }
        let runs = Runs::read(&[folder.path().to_owned()]).unwrap();
        let data = checkout::root().join("data");
        let registry = Registry::read(&data).unwrap();
        compare("papers/e", experiment, &registry, &runs).unwrap()
    }

    fn experiment() -> (Experiment, Vec<Settings>) {
        let experiment = Experiment::parse("e", TEXT).unwrap();
        let four = experiment.cells().unwrap().split_off(3);
        (experiment, four)
    }

    #[test]
    fn a_run_stands_beside_a_value_whoever_made_it_and_draws_are_one_line_by_their_median() {
        let (experiment, cells) = experiment();
        let runs = [
            run("other", &cells[0], 3, 10),
            run("e", &cells[1], 9, 10),
            run("e", &cells[2], 5, 10),
            // The same in eight bits has nothing to do with it.
            run("e", &experiment.cells().unwrap()[0], 1, 10),
        ];
        let [line] = lines(&experiment, &runs).try_into().unwrap();
        let ours = line.ours.unwrap();
        assert_eq!(
            (ours.hits, ours.images, ours.draws, ours.float),
            (5, 10, 3, None)
        );
        assert_eq!(ours.run_id, runs[2].row.run_id);
        assert_eq!(line.verdict, Verdict::Reproduces);
    }

    #[test]
    fn a_value_of_any_quantized_run_is_none_of_a_float_run() {
        let (_, cells) = experiment();
        let any = TEXT.replace(
            "where = { weights.bits = 4 }",
            "where = { model.name = 'resnet20-cifar10' }",
        );
        let any = Experiment::parse("e", &any).unwrap();
        let mut float = cells[0].clone();
        float.insert(
            "weights.bits".to_owned(),
            crate::experiment::Scalar::Integer(32),
        );
        let [line] = lines(&any, &[run("e", &float, 5, 10)]).try_into().unwrap();
        assert!(line.ours.is_none());
        let said = TEXT.replace("weights.bits = 4", "weights.bits = 32");
        let said = Experiment::parse("e", &said).unwrap();
        let [line] = lines(&said, &[run("e", &float, 5, 10)]).try_into().unwrap();
        assert_eq!(line.verdict, Verdict::Reproduces);
    }

    #[test]
    fn another_setting_is_no_run_of_the_cell_and_what_is_missing_says_what_it_needs() {
        let (experiment, mut cells) = experiment();
        let folded = crate::experiment::Scalar::Text("folded".to_owned());
        let cell = &mut cells[0];
        cell.insert(
            "first.bits".to_owned(),
            crate::experiment::Scalar::Integer(8),
        );
        cell.insert("bn".to_owned(), folded);
        let [line] = lines(&experiment, &[run("e", cell, 5, 10)])
            .try_into()
            .unwrap();
        let need = |name: &str| Need {
            name: name.to_owned(),
            fetched: true,
        };
        let needs = ["resnet20-cifar10", "cifar10"].map(need).to_vec();
        assert!(line.ours.is_none());
        assert_eq!(line.verdict, Verdict::Missing(needs));
    }

    #[test]
    fn other_images_and_another_network_are_shown_from_the_experiments_own_folder_alone() {
        let (experiment, cells) = experiment();
        let few = |name: &str| run(name, &cells[0], 2, 4);
        let other = |name: &str| {
            let config = few(name).row.config.with("model_name", "resnet56-cifar10");
            written(name, config.with("images", 10), 6, 10)
        };
        let verdict = |runs: &[Run]| {
            let [line] = lines(&experiment, runs).try_into().unwrap();
            line.verdict
        };
        assert_eq!(verdict(&[other("e")]), Verdict::Another(Differs::Network));
        assert!(matches!(verdict(&[other("x")]), Verdict::Missing(_)));
        // The nearest counts, and the most images of what is as near.
        assert_eq!(
            verdict(&[other("e"), few("e")]),
            Verdict::Another(Differs::Data)
        );
        assert_eq!(
            verdict(&[few("e"), run("e", &cells[1], 5, 10)]),
            Verdict::Reproduces
        );
    }

    #[test]
    fn lines_are_shown_in_eighty_columns_as_tables_and_as_csv_and_counted() {
        let (experiment, cells) = experiment();
        let mut all = lines(&experiment, &[run("e", &cells[0], 9, 10)]);
        all.extend(lines(&experiment, &[]));
        all[1].published.row =
            "a row, whose name is much longer than the columns that there are".into();
        let text = text(&all, 80);
        assert!(
            text.lines().all(|line| line.chars().count() <= 80),
            "{text}"
        );
        assert!(
            text.contains("differs by +40.00") && text.contains("  missing\n"),
            "{text}"
        );
        assert!(
            text.contains("just fetch resnet20-cifar10 cifar10, just sweep papers/e"),
            "{text}"
        );
        let last = "2 published values, 1 with a run: 0 reproduce, 1 differ, 0 are of another network, training, method or data; 1 missing.\n";
        let markdown = markdown(&all);
        assert!(markdown.ends_with(last), "{markdown}");
        assert!(markdown.contains("| differs by +40.00 | `"), "{markdown}");
        let csv = csv(&all);
        let mut fields = csv.lines();
        let columns = fields.next().unwrap().split(',').count();
        assert_eq!(fields.next().unwrap().split(',').count(), columns);
        assert!(fields.next().unwrap().contains("\"a row, whose"), "{csv}");
    }
}
