//! Inspections as text of 80 columns, and as CSV.

use super::activations::{SiteErrors, SiteInspection};
use super::{Error, Inspection, LayerErrors};

/// A part of [`LayerErrors`] with its name and heading.
type Part = (&'static str, &'static str, fn(&LayerErrors) -> &Error);

/// What is nearest to the logits first; weights can be near to the float ones and ruin the network all the same.
const PARTS: [Part; 3] = [
    (
        "network",
        "output of the layer inside the network with quantized weights",
        |errors| &errors.network,
    ),
    (
        "layer",
        "output of the layer alone, on float inputs",
        |errors| &errors.alone,
    ),
    ("weights", "weights", |errors| &errors.weights),
];

/// A part of [`SiteErrors`] with its name.
type SitePart = (&'static str, fn(&SiteErrors) -> Option<&Error>);

const SITE_PARTS: [SitePart; 4] = [
    ("site", |errors| errors.own.as_ref()),
    ("site_network", |errors| Some(&errors.network)),
    ("site_logits", |errors| errors.logits.as_ref()),
    ("layer_logits", |errors| errors.weights.as_ref()),
];

/// What may be to blame.
const COSTS: [SitePart; 2] = [
    ("activations", |errors| errors.logits.as_ref()),
    ("weights", |errors| errors.weights.as_ref()),
];

/// Who is to blame, the worst layer first, and then three tables in execution order, of weights and what they do to the
/// outputs of layers.
pub fn layers_text(inspection: &Inspection) -> String {
    let mut text = blame_text(&inspection.layers);
    for (_, heading, part) in PARTS {
        text += &format!(
            "\n{heading}\n{:<22}{:>11}{:>11}{:>11}{:>11}{:>9}\n",
            "layer", "values", "max |d|", "mean |d|", "MSE", "SQNR dB"
        );
        for errors in &inspection.layers {
            let error = part(errors);
            text += &format!(
                "{:<22}{:>11}{:>11}{:>11}{:>11}{:>9}\n",
                errors.layer,
                error.n,
                short(error.max_abs),
                short(error.mean_abs()),
                short(error.mse()),
                decibel(Some(error))
            );
        }
    }
    text += "\n";
    text + &kept("quantized weights", inspection.unchanged, inspection.images)
}

/// The layers in the order of what they cost: at the logits where that was measured, else at their own output.
fn blame_text(layers: &[LayerErrors]) -> String {
    let cost = |errors: &LayerErrors| errors.logits.unwrap_or(errors.alone);
    let mut worst: Vec<&LayerErrors> = layers.iter().collect();
    // Stable: layers that cost the same stay in execution order.
    worst.sort_by(|one, other| rank(&cost(one)).total_cmp(&rank(&cost(other))));
    let mut text = format!(
        "\nwhat each layer's weights cost, the worst first: SQNR in dB\n{:<22}{:>14}{:>14}{:>14}{:>14}\n",
        "", "logits, with", "its output,", "its output in", ""
    );
    text += &format!(
        "{:<22}{:>14}{:>14}{:>14}{:>14}\n",
        "layer", "only it", "with only it", "the network", "its weights"
    );
    for errors in worst {
        text += &format!(
            "{:<22}{:>14}{:>14}{:>14}{:>14}\n",
            errors.layer,
            decibel(errors.logits.as_ref()),
            decibel(Some(&errors.alone)),
            decibel(Some(&errors.network)),
            decibel(Some(&errors.weights))
        );
    }
    text
}

/// What an error sorts by, the worst first: without signal before any, without noise after all.
fn rank(error: &Error) -> f64 {
    match error.sqnr_db() {
        Some(db) => db,
        None if error.mse() == 0.0 => f64::INFINITY,
        None => f64::NEG_INFINITY,
    }
}

/// Which sites and layers cost most, and one table, of activation sites in execution order; of those in `only`, where
/// there are any.
pub fn sites_text(inspection: &SiteInspection, only: &[String]) -> String {
    let mut text = String::from("\n");
    for (what, part) in COSTS {
        let cost = |errors: &SiteErrors| Some((part(errors)?.sqnr_db()?, errors.site.clone()));
        let costs = chosen(inspection, only).filter_map(cost);
        if let Some((db, site)) = costs.min_by(|(one, _), (other, _)| one.total_cmp(other)) {
            text += &format!("{what} that cost most at the logits: {site}, {db:.2} dB\n");
        }
    }
    text += &format!(
        "\nactivations: SQNR in dB against the float network\n{:<24}{:>5}{:>22}{:>26}\n",
        "", "", "at the site with", "at the logits with only"
    );
    text += &format!(
        "{:<24}{:>5}{:>11}{:>11}{:>13}{:>13}\n",
        "site", "bits", "only it", "everything", "the site", "its weights"
    );
    for errors in chosen(inspection, only) {
        let bits = errors
            .code
            .map_or_else(|| "float".to_owned(), |code| code.bits().to_string());
        text += &format!(
            "{:<24}{bits:>5}{:>11}{:>11}{:>13}{:>13}\n",
            errors.site,
            decibel(errors.own.as_ref()),
            decibel(Some(&errors.network)),
            decibel(errors.logits.as_ref()),
            decibel(errors.weights.as_ref())
        );
    }
    text += "\n";
    text + &kept(
        "everything quantized",
        inspection.unchanged,
        inspection.images,
    )
}

fn kept(with: &str, unchanged: usize, images: usize) -> String {
    format!("with {with}, {unchanged} of {images} images keep the float network's class\n")
}

fn chosen<'a>(
    inspection: &'a SiteInspection,
    only: &'a [String],
) -> impl Iterator<Item = &'a SiteErrors> {
    let sites = inspection.sites.iter();
    sites.filter(|errors| only.is_empty() || only.contains(&errors.site))
}

/// Two decimals; a dash for what was not measured.
fn decibel(error: Option<&Error>) -> String {
    match error {
        None => "-".to_owned(),
        Some(error) => match error.sqnr_db() {
            Some(db) => format!("{db:.2}"),
            None if error.mse() == 0.0 => "exact".to_owned(),
            None => "no signal".to_owned(),
        },
    }
}

/// Four significant digits.
fn short(value: f64) -> String {
    if value == 0.0 {
        "0".to_owned()
    } else if value.abs() >= 1e-3 && value.abs() < 1e5 {
        let digits = (3.0 - value.abs().log10().floor()).clamp(0.0, 6.0) as usize;
        format!("{value:.digits$}")
    } else {
        format!("{value:.3e}")
    }
}

/// Both inspections, as far as they were made: a row for each layer or site and each part of its errors.
pub fn csv(layers: Option<&Inspection>, sites: Option<&SiteInspection>, only: &[String]) -> String {
    let mut text = String::from("layer,part,n,max_abs,mean_abs,mse,sqnr_db\n");
    let mut row = |layer: &str, part: &str, error: &Error| {
        let sqnr = error
            .sqnr_db()
            .map_or_else(String::new, |db| db.to_string());
        text += &format!(
            "{layer},{part},{},{},{},{},{sqnr}\n",
            error.n,
            error.max_abs,
            error.mean_abs(),
            error.mse()
        );
    };
    for errors in layers.iter().flat_map(|inspection| &inspection.layers) {
        for (name, _, part) in PARTS {
            row(&errors.layer, name, part(errors));
        }
        // Where sites were inspected, theirs say it.
        if let (Some(error), None) = (&errors.logits, sites) {
            row(&errors.layer, "layer_logits", error);
        }
    }
    for errors in sites.iter().flat_map(|inspection| chosen(inspection, only)) {
        for (name, part) in SITE_PARTS {
            if let Some(error) = part(errors) {
                row(&errors.site, name, error);
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use quant_core::{QParams, compare};

    use super::*;

    fn error(x: f32, y: f32) -> Error {
        let mut error = Error::default();
        error.add(&compare(&[x; 7], &[y; 7]));
        error
    }

    fn sites() -> SiteInspection {
        let code = QParams {
            scale: 1.0,
            zero_point: 0,
            quant_min: -32767,
            quant_max: 32767,
        };
        SiteInspection {
            sites: vec![
                SiteErrors {
                    // The longest name of the longest network.
                    site: "layer3.35.downsample.0".into(),
                    code: Some(code),
                    own: Some(error(1.0, 1.0)),
                    network: error(-1.0, 1e5),
                    logits: Some(error(1.0, 1.0001)),
                    weights: None,
                },
                SiteErrors {
                    site: "layer1.0.conv2".into(),
                    network: error(0.0, 1.0),
                    weights: Some(error(1.0, 2.0)),
                    ..SiteErrors::default()
                },
            ],
            images: 50_000,
            unchanged: 49_999,
        }
    }

    fn layers() -> Inspection {
        let errors = |layer: &str| LayerErrors {
            layer: layer.into(),
            weights: error(1.0, 1.1),
            alone: error(3e9, 1e-9),
            network: error(-1.0, 1.0),
            logits: None,
        };
        Inspection {
            layers: vec![errors("layer3.35.downsample.0"), errors("fc")],
            images: 50_000,
            unchanged: 49_999,
        }
    }

    #[test]
    fn every_line_fits_80_columns() {
        for line in (layers_text(&layers()) + &sites_text(&sites(), &[])).lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }

    #[test]
    fn the_layer_that_costs_most_at_the_logits_comes_first_whatever_its_weights_say() {
        let layer = |layer: &str, weights: f32, logits: Option<f32>| LayerErrors {
            layer: layer.into(),
            weights: error(1.0, 1.0 + weights),
            alone: error(1.0, 1.1),
            network: error(1.0, 1.1),
            logits: logits.map(|noise| error(1.0, 1.0 + noise)),
        };
        let inspection = |layers| Inspection {
            layers,
            images: 1,
            unchanged: 1,
        };
        let shown = |inspection: &Inspection| -> Vec<String> {
            let text = layers_text(inspection);
            let rows = text.lines().skip(4).take(inspection.layers.len());
            rows.map(|row| row.split_whitespace().next().unwrap().to_owned())
                .collect()
        };
        let measured = vec![
            layer("conv1", 0.5, Some(0.01)),
            layer("ruined", 0.001, Some(2.0)),
            layer("exact", 0.5, Some(0.0)),
            layer("fc", 0.5, Some(0.1)),
        ];
        let order = ["ruined", "fc", "conv1", "exact"];
        assert_eq!(shown(&inspection(measured.clone())), order);
        let first = layers_text(&inspection(measured));
        let heading = first.lines().nth(1).unwrap();
        assert!(heading.contains("the worst first"), "{heading}");
        let mut not = vec![layer("conv1", 0.5, None), layer("fc", 0.5, None)];
        not[1].alone = error(1.0, 3.0);
        assert_eq!(shown(&inspection(not)), ["fc", "conv1"]);
    }

    #[test]
    fn what_was_not_measured_is_a_dash_and_no_row() {
        let text = sites_text(&sites(), &[]);
        let rows: Vec<Vec<&str>> = text
            .lines()
            .filter(|line| line.starts_with("layer"))
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(rows[0][1..5], ["16", "exact", "-100.00", "80.00"]);
        assert_eq!(rows[0][5..], ["-"]);
        assert_eq!(rows[1][1..], ["float", "-", "no", "signal", "-", "0.00"]);
        assert!(text.contains("activations that cost most at the logits: layer3.35."));
        assert!(text.contains("weights that cost most at the logits: layer1.0.conv2, 0.00 dB"));
        let csv = csv(None, Some(&sites()), &[]);
        let parts: Vec<_> = csv.lines().map(|line| line.split(',').nth(1)).collect();
        let expected = ["part", "site", "site_network", "site_logits"];
        assert_eq!(parts[..4], expected.map(Some));
        assert_eq!(parts[4..], ["site_network", "layer_logits"].map(Some));
    }

    #[test]
    fn chosen_sites_alone_are_shown() {
        let only = ["layer1.0.conv2".to_owned()];
        let shown = sites_text(&sites(), &only);
        assert!(shown.contains("layer1.0.conv2") && !shown.contains("downsample"));
        let rows = csv(Some(&layers()), Some(&sites()), &only);
        assert_eq!(rows.lines().count(), 1 + 2 * 3 + 2);
    }
}
