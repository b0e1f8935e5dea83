//! Where a measurement is written: a folder of its files, and a page that shows its table.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use report::{LayerBar, Output, layer_plot, splice};
use results::rows_text;

use super::layers::LayerTime;
use super::measure::{Measured, ModelResult};
use super::subject::Precision;
use super::sweeps::SweepTimes;

/// Names of the markers in a page.
const MARKERS: [&str; 2] = ["throughput", "sweeps"];

/// Places that can be written to.
#[derive(Clone, Debug, Default)]
pub struct Place {
    folder: Option<PathBuf>,
    page: Option<PathBuf>,
    marker: &'static str,
}

impl Place {
    /// Makes `folder` if it is not there, whole sweeps or networks being measured; tries both places, so that a measurement of minutes does not end with a file
    /// that cannot be written.
    ///
    /// # Errors
    /// If a file cannot be written there, or `page` lacks its markers.
    pub fn open(folder: Option<PathBuf>, page: Option<PathBuf>, sweeps: bool) -> Result<Self> {
        let marker = MARKERS[usize::from(sweeps)];
        if let Some(folder) = &folder {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("--out: cannot make the folder {}", folder.display()))?;
            try_folder(folder)
                .with_context(|| format!("--out: cannot write to {}", folder.display()))?;
        }
        if let Some(page) = &page {
            spliced(page, marker, "")?;
            let parent = page
                .parent()
                .filter(|parent| !parent.as_os_str().is_empty());
            try_folder(parent.unwrap_or(Path::new(".")))
                .with_context(|| format!("--readme: cannot write {}", page.display()))?;
        }
        Ok(Self {
            folder,
            page,
            marker,
        })
    }

    /// Writes `throughput.csv`, `layers.csv`, `throughput.md` and `layers-MODEL-PRECISION.svg` into the folder, and the
    /// table into the page; what was written.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn write(&self, measured: &Measured) -> Result<Vec<PathBuf>> {
        let texts = [
            ("throughput.csv", rows_text(&measured.throughput_rows())),
            ("layers.csv", rows_text(&measured.layer_rows())),
            ("throughput.md", measured.markdown()),
        ];
        let texts = texts.map(|(name, text)| (name.to_owned(), text));
        let texts = texts.into_iter().chain(pictures(measured));
        self.write_texts(texts, &measured.markdown())
    }

    /// Writes `sweeps.csv` and `sweeps.md` into the folder, and the table into the page; what was written.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn write_sweeps(&self, times: &SweepTimes) -> Result<Vec<PathBuf>> {
        let texts = [
            ("sweeps.csv", rows_text(&times.rows())),
            ("sweeps.md", times.markdown()),
        ];
        let texts = texts.map(|(name, text)| (name.to_owned(), text));
        self.write_texts(texts.into_iter(), &times.markdown())
    }

    fn write_texts(
        &self,
        texts: impl Iterator<Item = (String, String)>,
        table: &str,
    ) -> Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        if let Some(folder) = &self.folder {
            files.extend(texts.map(|(name, text)| Output {
                path: folder.join(name),
                text: Some(text),
            }));
        }
        if let Some(page) = &self.page {
            files.push(Output {
                path: page.clone(),
                text: Some(spliced(page, self.marker, table)?),
            });
        }
        files.iter().try_for_each(Output::write)?;
        Ok(files.into_iter().map(|file| file.path).collect())
    }
}

fn try_folder(folder: &Path) -> std::io::Result<()> {
    tempfile::NamedTempFile::new_in(folder).map(drop)
}

/// The page with `text` between its markers.
fn spliced(page: &Path, marker: &str, text: &str) -> Result<String> {
    let old = std::fs::read_to_string(page)
        .with_context(|| format!("--readme: cannot read {}", page.display()))?;
    splice(&old, marker, text).with_context(|| format!("--readme: {}", page.display()))
}

/// Name and SVG of every network's layers.
fn pictures(measured: &Measured) -> impl Iterator<Item = (String, String)> {
    let layers = measured
        .models
        .iter()
        .flat_map(|model| model.layers.iter().map(move |layers| (model, layers)));
    layers.filter_map(|(model, (precision, layers))| {
        let name = format!("layers-{}-{}.svg", model.model, precision.name());
        Some((name, picture(measured, model, *precision, layers)?))
    })
}

fn picture(
    measured: &Measured,
    model: &ModelResult,
    precision: Precision,
    layers: &[LayerTime],
) -> Option<String> {
    let bars: Vec<_> = layers
        .iter()
        .map(|layer| LayerBar {
            layer: layer.layer.clone(),
            gflops: layer.gflops(),
            share: layer.share,
        })
        .collect();
    let threads = measured.settings.threads;
    let title = format!(
        "{}, {}, {threads} thread{}, {}",
        model.model,
        precision.name(),
        if threads == 1 { "" } else { "s" },
        measured.settings.isa
    );
    let peak = (precision == Precision::Float32).then_some(measured.peak.all);
    layer_plot(&title, &bars, peak)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::throughput::tables::tests::measured;

    #[test]
    fn a_place_that_cannot_be_written_is_refused_before_there_is_anything_to_write() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let refused = |out: Option<PathBuf>, page: Option<PathBuf>| {
            format!("{:#}", Place::open(out, page, false).unwrap_err())
        };
        let message = refused(Some(file.join("below")), None);
        assert!(
            message.contains("--out") && message.contains("below"),
            "{message}"
        );
        let message = refused(Some(file.clone()), None);
        assert!(message.contains("--out"), "{message}");
        let message = refused(None, Some(file));
        assert!(message.contains("<!-- throughput:begin -->"), "{message}");
        let message = refused(None, Some(folder.path().join("none.md")));
        assert!(message.contains("none.md"), "{message}");
    }

    #[test]
    fn all_files_are_written_and_nothing_else_of_the_page_changes() {
        let folder = tempfile::tempdir().unwrap();
        let page = folder.path().join("README.md");
        std::fs::write(
            &page,
            "a\n<!-- throughput:begin -->\n<!-- throughput:end -->\nb\n",
        )
        .unwrap();
        let out = folder.path().join("new/folder");
        let place = Place::open(Some(out.clone()), Some(page.clone()), false).unwrap();
        let written = place.write(&measured()).unwrap();
        let mut names: Vec<_> = std::fs::read_dir(out)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(
            names,
            [
                "layers-cifar-resnet20-float32.svg",
                "layers-resnet152-float32.svg",
                "layers.csv",
                "throughput.csv",
                "throughput.md"
            ]
        );
        assert_eq!(written.len(), 6);
        let text = std::fs::read_to_string(page).unwrap();
        assert!(
            text.starts_with("a\n<!-- throughput:begin -->\n\n| model |"),
            "{text}"
        );
        assert!(text.ends_with("\n\n<!-- throughput:end -->\nb\n"), "{text}");
    }
}
