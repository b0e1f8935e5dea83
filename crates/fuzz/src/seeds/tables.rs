//! Experiments, run folders, calibrations.

use anyhow::Result;
use bench::calibration::table::to_table;
use quant_core::Statistics;
use results::{
    Config, EpochRow, ManifestRow, MetricRow, PeerRow, PredictionRow, PublishedRow, Row, RunRow,
    SourceRow, Status, rows_text,
};

use super::{crates, with_ending};
use crate::mutate::joined;
use crate::readers::EXPERIMENT;

/// All of the repository, and one of every setting.
pub fn experiments() -> Result<Vec<Vec<u8>>> {
    let mut found = with_ending(&crates().join("../experiments"), ".toml")?;
    let all: Vec<_> = results::setting::settings().collect();
    for some in all.chunks(8) {
        let keys = some.iter().filter_map(|setting| setting.key);
        let lines = keys.map(|key| format!("{key} = 1\n"));
        let lines: String = lines.collect();
        found.push(format!("question = \"q\"\nexpects = \"e\"\n[fixed]\n{lines}").into_bytes());
    }
    Ok(found)
}

/// A float run and a quantized one, with every file that there can be.
pub fn runs() -> Result<Vec<Vec<u8>>> {
    let config = |bits| {
        let config = Config::default()
            .with("model_name", "m")
            .with("weights_bits", bits);
        config.with("method", if bits == 32 { "float" } else { "ptq" })
    };
    let mut files = Vec::new();
    let mut seeds = Vec::new();
    for (bits, hits) in [(32, 2), (4, 1)] {
        let row = RunRow::new(EXPERIMENT, config(bits), "w", "d", None);
        let id = row.run_id.clone();
        let metric = |layer: &str, metric: &str, value| MetricRow {
            run_id: id.clone(),
            layer: layer.into(),
            metric: metric.into(),
            value,
            n: 2,
            unit: "images".into(),
        };
        let prediction = |image: &str, top1| PredictionRow {
            image: image.into(),
            label: 1,
            top1,
        };
        let manifest = ManifestRow {
            run_id: id.clone(),
            tensor: "conv1.weight".into(),
            kind: "weight".into(),
            quantized: bits < 32,
            bits,
            reason: String::new(),
        };
        let metrics = [
            metric("", "top1_correct", hits.into()),
            metric("conv1", "sqnr_db", 20.5),
        ];
        let predictions = [
            prediction("a.png", 1),
            prediction("b.png", (hits == 2).into()),
        ];
        files.push((
            format!("{id}/run.csv"),
            rows_text(std::slice::from_ref(&row)),
        ));
        files.push((format!("{id}/metrics.csv"), rows_text(&metrics)));
        files.push((format!("{id}/predictions.csv"), rows_text(&predictions)));
        files.push((format!("{id}/manifest.csv"), rows_text(&[manifest])));
        seeds.push(joined(&files));
        if bits == 4 {
            let failed = RunRow {
                status: Status::Failed,
                error: Some("it was refused".into()),
                ..row
            };
            files[4].1 = rows_text(&[failed]);
            files.extend(beside(&id));
            seeds.push(joined(&files));
        }
    }
    Ok(seeds)
}

/// What can lie beside.
fn beside(id: &str) -> Vec<(String, String)> {
    fn header<R: Row>() -> String {
        rows_text::<R>(&[])
    }
    let published = format!("{}{id},69.8,table 2\n", header::<PublishedRow>());
    vec![
        ("published.csv".to_owned(), published),
        ("peers.csv".to_owned(), header::<PeerRow>()),
        (format!("{id}/epochs.csv"), header::<EpochRow>()),
        (
            "sensitivity.csv".to_owned(),
            header::<results::SensitivityRow>(),
        ),
        (
            "throughput.csv".to_owned(),
            header::<results::ThroughputRow>(),
        ),
        ("layers.csv".to_owned(), header::<results::LayerRow>()),
        ("sweeps.csv".to_owned(), header::<results::SweepTimeRow>()),
    ]
}

/// What three sites saw.
pub fn calibrations() -> Result<Vec<Vec<u8>>> {
    let mut seen = Vec::new();
    for (site, values) in [
        ("conv1", &[0.0, 0.5, 1.5, -2.0][..]),
        ("dead", &[0.0; 4]),
        ("fc", &[1e-20, 3e8]),
    ] {
        let mut statistics = Statistics::new();
        statistics.add(site, 0, values)?;
        statistics.add(site, 3, values)?;
        seen.push((site, statistics));
    }
    let source = SourceRow {
        model: "m".into(),
        ..SourceRow::default()
    };
    let table = to_table(
        source,
        seen.iter().map(|(site, statistics)| (*site, statistics)),
    );
    let files = [
        (results::SOURCE_FILE, rows_text(&[table.source])),
        (results::SITES_FILE, rows_text(&table.sites)),
        (results::HISTOGRAM_FILE, rows_text(&table.bins)),
        (results::BATCHES_FILE, rows_text(&table.batches)),
    ];
    Ok(vec![joined(&files)])
}
