//! `table`: from run folders to the table, the plots and the pages that show them.
//!
//! The same run folders give the same bytes, so that `--check` can tell whether everything is up to date.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, bail};
use report::{Output, outputs, splice};

use super::pages::{check, read_pages};

/// Print the accuracy table of experiments, and write table.md, table.csv, table.tex, accuracy.svg, sqnr.svg and what
/// else there is to draw beside their runs.
#[derive(clap::Args)]
pub struct Arguments {
    /// Experiments: names of folders in the results folder; all of them when none is given.
    experiments: Vec<String>,
    /// Results folder; results/reference holds the committed runs.
    #[arg(
        long,
        env = "QUANTLAB_RESULTS",
        default_value = "results",
        value_name = "DIR"
    )]
    results: PathBuf,
    /// Put each table between `<!-- EXPERIMENT:begin -->` and `<!-- EXPERIMENT:end -->` of these pages, or its wide form
    /// alone between `<!-- EXPERIMENT/wide:begin -->` and `<!-- EXPERIMENT/wide:end -->`; `draws`, `pareto` and `predictors` in
    /// place of `wide` are the other tables beside the runs. A folder stands for its `.md` files. An experiment that was named must have its markers in one of them; of the others, those without are left out.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pages: Vec<PathBuf>,
    /// Write nothing; fail when a file or a page is not up to date.
    #[arg(long)]
    check: bool,
}

/// Runs it.
///
/// # Errors
/// What a person is told in one line.
pub fn run(arguments: Arguments) -> Result<ExitCode> {
    make(&arguments).map(|()| ExitCode::SUCCESS)
}

fn make(args: &Arguments) -> Result<()> {
    if !args.results.exists() {
        bail!(nothing_in(&args.results));
    }
    let store = results::Store::existing(&args.results)?;
    let named = !args.experiments.is_empty();
    let experiments = if named {
        args.experiments.clone()
    } else {
        store.experiments()?
    };
    if experiments.is_empty() {
        bail!(nothing_in(&args.results));
    }
    let mut pages = read_pages(&args.pages)?;
    let mut files: Vec<Output> = Vec::new();
    for experiment in &experiments {
        if store.runs(experiment)?.is_empty() {
            bail!(nothing_in(&store.experiment_dir(experiment)?));
        }
        let (table, written) = outputs(&args.results, experiment)?;
        let markdown = table.markdown();
        if !args.check {
            println!("## {experiment}\n\n{markdown}");
        }
        let wide = format!("{experiment}/wide");
        let mut shown = false;
        for page in &mut pages {
            let (has_table, has_wide) = (page.has(experiment), page.has(&wide));
            shown |= has_table || has_wide;
            if has_table {
                page.text = splice(&page.text, experiment, &markdown)?;
            }
            if has_wide {
                let content = table.markdown_wide().unwrap_or_else(|| markdown.clone());
                page.text = splice(&page.text, &wide, &content)?;
            }
        }
        // What else was made of the runs, by the name of its file.
        for file in &written {
            let part = file.path.file_stem().unwrap_or_default().to_string_lossy();
            let marker = format!("{experiment}/{part}");
            let is_text = file
                .path
                .extension()
                .is_some_and(|extension| extension == "md");
            let Some(text) = file.text.as_ref().filter(|_| is_text) else {
                continue;
            };
            for page in pages.iter_mut().filter(|page| page.has(&marker)) {
                shown = true;
                page.text = splice(&page.text, &marker, text)?;
            }
        }
        if named && !shown && !pages.is_empty() {
            bail!(
                "no page has the markers `<!-- {experiment}:begin -->` and `<!-- {experiment}:end -->`"
            );
        }
        files.extend(written);
    }
    files.extend(pages.into_iter().map(|page| Output {
        path: page.path,
        text: Some(page.text),
    }));
    if args.check {
        return check(&files, "table");
    }
    files
        .iter()
        .try_for_each(|file| file.write().map_err(Into::into))
}

fn nothing_in(folder: &Path) -> String {
    let (folder, reference) = (folder.display(), crate::reference::DEFAULT);
    format!(
        "no runs in {folder}; `sweep` puts them there, `--results {reference}` shows the committed ones"
    )
}

#[cfg(test)]
mod tests {
    use std::fs;

    use results::{Config, MetricRow, PredictionRow, Run, RunRow, Store, metric};

    use super::*;

    fn write_run(root: &Path, experiment: &str, bits: u32) {
        write_mapped(root, experiment, bits, None);
    }

    fn write_mapped(root: &Path, experiment: &str, bits: u32, mapping: Option<&str>) {
        let config = Config::default()
            .with("weights_bits", bits)
            .with("activations_bits", 32)
            .with("weights_mapping", mapping)
            .with("method", "linear");
        let row = RunRow::new(experiment, config, "w", "d", None);
        let value = MetricRow {
            run_id: row.run_id.clone(),
            layer: String::new(),
            metric: metric::TOP1_CORRECT.into(),
            value: 1.0,
            n: 1,
            unit: metric::IMAGES.into(),
        };
        let prediction = PredictionRow {
            image: "0".into(),
            label: 1,
            top1: 1,
        };
        let run = Run {
            row,
            metrics: vec![value],
            predictions: vec![prediction],
            manifest: Vec::new(),
            epochs: Vec::new(),
        };
        Store::open(root).unwrap().write(&run).unwrap();
    }

    fn args(folder: &Path, experiments: &[&str], check: bool) -> Arguments {
        Arguments {
            experiments: experiments.iter().map(|e| e.to_string()).collect(),
            results: folder.join("results"),
            pages: vec![folder.join("README.md")],
            check,
        }
    }

    #[test]
    fn the_readme_gets_its_tables_and_check_tells_when_it_is_old() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        write_run(&folder.join("results"), "a", 4);
        write_run(&folder.join("results"), "b", 4);
        fs::write(
            folder.join("README.md"),
            "# T\n<!-- a:begin -->\n<!-- a:end -->\n",
        )
        .unwrap();
        let error = make(&args(folder, &[], true)).unwrap_err().to_string();
        assert!(
            error.contains("table.md") && error.contains("README.md"),
            "{error}"
        );
        assert!(!folder.join("results/a/table.md").exists());

        make(&args(folder, &[], false)).unwrap();
        let readme = fs::read_to_string(folder.join("README.md")).unwrap();
        assert!(readme.contains("| 4 | 1 | 1 | 100.00 |"), "{readme}");
        make(&args(folder, &[], true)).unwrap();

        write_run(&folder.join("results"), "a", 3);
        assert!(make(&args(folder, &["a"], true)).is_err());
        let error = make(&args(folder, &["b"], false)).unwrap_err().to_string();
        assert!(error.contains("<!-- b:begin -->"), "{error}");
    }

    #[test]
    fn a_long_table_can_be_in_the_readme_in_its_wide_form() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        for bits in [8, 4] {
            for mapping in ["affine", "symmetric"] {
                write_mapped(&folder.join("results"), "a", bits, Some(mapping));
            }
        }
        let markers = "<!-- a/wide:begin -->\n<!-- a/wide:end -->\n";
        fs::write(folder.join("README.md"), markers).unwrap();
        make(&args(folder, &["a"], false)).unwrap();
        let readme = fs::read_to_string(folder.join("README.md")).unwrap();
        assert!(
            readme.contains("| mapping | float | 8 bit | 4 bit |"),
            "{readme}"
        );
        assert!(!readme.contains("| 8 | 1 |") && readme.contains("n = 1 images"));
        make(&args(folder, &["a"], true)).unwrap();
    }

    #[test]
    fn a_folder_of_pages_gets_each_table_where_its_markers_are() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        write_run(&folder.join("results"), "a", 4);
        write_run(&folder.join("results"), "b", 3);
        let docs = folder.join("docs");
        fs::create_dir(&docs).unwrap();
        let page = |name: &str, experiment: &str| {
            let text = format!("<!-- {experiment}:begin -->\n<!-- {experiment}:end -->\n");
            fs::write(folder.join(name), text).unwrap();
        };
        page("README.md", "a");
        page("docs/b.md", "b");
        fs::write(docs.join("notes.txt"), "<!-- a:begin -->").unwrap();
        let mut args = args(folder, &["a", "b"], false);
        args.pages.push(docs.clone());
        make(&args).unwrap();
        let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
        assert!(read("README.md").contains("| 4 | 1 | 1 | 100.00 |"));
        assert!(read("docs/b.md").contains("| 3 | 1 | 1 | 100.00 |"));
        assert_eq!(read("docs/notes.txt"), "<!-- a:begin -->");
        args.check = true;
        make(&args).unwrap();
        args.pages.remove(0);
        let error = make(&args).unwrap_err().to_string();
        assert!(error.contains("<!-- a:begin -->"), "{error}");
    }

    #[test]
    fn nothing_to_show_is_an_error_that_says_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let mut args = args(folder.path(), &[], false);
        args.pages.clear();
        assert!(make(&args).unwrap_err().to_string().contains("results"));
        fs::create_dir(folder.path().join("results")).unwrap();
        assert!(make(&args).unwrap_err().to_string().contains("sweep"));
        // The committed runs beside them are not a user's own.
        write_run(&folder.path().join("results/reference"), "a", 4);
        for experiments in [vec![], vec!["a".to_owned()]] {
            args.experiments = experiments;
            let error = make(&args).unwrap_err().to_string();
            assert!(error.contains("sweep"), "{error}");
            assert!(error.contains("--results results/reference"), "{error}");
        }
        args.results = folder.path().join("results/reference");
        make(&args).unwrap();
    }
}
