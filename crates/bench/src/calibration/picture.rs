//! Statistics and the codes chosen for them as pictures.

use anyhow::Result;
use quant_core::{ActivationScheme, QParams, Statistics, fit_activation};
use report::{BinnedCount, CodeGrid, SiteHistogram};

/// SVG of one site: its histogram with the codes that `scheme` gives it.
pub fn site_picture(
    site: &str,
    statistics: &Statistics,
    scheme: &ActivationScheme,
) -> Result<String> {
    let fitted = fit_activation(statistics, scheme);
    let bins = bins(statistics);
    let words = match fitted {
        Ok(_) if statistics.is_dead() => format!("{scheme}, every value was zero"),
        Ok(_) => scheme.to_string(),
        Err(reason) => format!("left in float, {reason}"),
    };
    Ok(report::site_histogram(&SiteHistogram {
        site,
        scheme: &words,
        bins: &bins,
        zeros: statistics.histogram().zeros(),
        grid: fitted.ok().map(grid),
    })?)
}

/// SVG of all sites on a page, each with the codes that it was given, if any.
pub fn page(title: &str, sites: &[(&str, &Statistics, Option<QParams>)]) -> Result<String> {
    let bins: Vec<Vec<BinnedCount>> = sites.iter().map(|(_, s, _)| bins(s)).collect();
    let panels: Vec<SiteHistogram<'_>> = sites
        .iter()
        .zip(&bins)
        .map(|((site, statistics, code), bins)| SiteHistogram {
            site,
            scheme: "",
            bins,
            zeros: statistics.histogram().zeros(),
            grid: code.map(grid),
        })
        .collect();
    Ok(report::site_histograms(title, &panels)?)
}

fn bins(statistics: &Statistics) -> Vec<BinnedCount> {
    let bins = statistics.histogram().bins();
    bins.map(|bin| BinnedCount {
        low: bin.low,
        high: bin.high,
        count: bin.count,
    })
    .collect()
}

fn grid(q: QParams) -> CodeGrid {
    CodeGrid {
        scale: q.scale,
        zero_point: q.zero_point,
        quant_min: q.quant_min,
        quant_max: q.quant_max,
    }
}

#[cfg(test)]
mod tests {
    use quant_core::{ActivationRange, Bits, CodeRange, Mapping, Rounding, uniform};

    use super::*;

    fn scheme(bits: u32, mapping: Mapping, range: &str) -> ActivationScheme {
        let range: ActivationRange = range.parse().unwrap();
        let bits = Bits::new(bits).unwrap();
        ActivationScheme::new(bits, mapping, CodeRange::Narrow, range, Rounding::HalfEven).unwrap()
    }

    /// A bell with one long tail, as the output of an addition.
    fn sum(n: u64) -> Statistics {
        let x: Vec<f32> = (0..n)
            .map(|i| (0..6).map(|k| uniform(3, 6 * i + k)).sum::<f32>() - 2.6)
            .map(|x| if x > 1.0 { x * x * x } else { x })
            .collect();
        let mut statistics = Statistics::new();
        statistics.add("sum", 0, &x).unwrap();
        statistics
    }

    /// `BENCH_PICTURES=DIR` keeps the files, to look at them.
    fn keep(name: &str, svg: &str) {
        if let Some(folder) = std::env::var_os("BENCH_PICTURES") {
            std::fs::write(std::path::Path::new(&folder).join(name), svg).unwrap();
        }
    }

    #[test]
    fn a_site_shows_its_codes_or_why_it_has_none() {
        for (bits, mapping, range) in [
            (8, Mapping::Affine, "mse"),
            (4, Mapping::Symmetric, "percentile"),
            (16, Mapping::PowerOfTwo, "minmax"),
        ] {
            let scheme = scheme(bits, mapping, range);
            let svg = site_picture("layer1.0.add", &sum(200_000), &scheme).unwrap();
            assert!(svg.contains(&format!("layer1.0.add: {scheme}")));
            keep(&format!("site-{bits}.svg"), &svg);
        }
        let mut dead = Statistics::new();
        dead.add("dead", 0, &[0.0; 100]).unwrap();
        let svg = site_picture("dead", &dead, &scheme(8, Mapping::Affine, "mse")).unwrap();
        assert!(svg.contains("every value was zero"));
        let svg =
            site_picture("fc", &Statistics::new(), &scheme(8, Mapping::Affine, "mse")).unwrap();
        assert!(svg.contains("fc: left in float, no value was seen in calibration"));
    }

    #[test]
    fn a_page_has_a_panel_for_every_site() {
        let scheme = scheme(8, Mapping::Affine, "mse");
        let mut relu = Statistics::new();
        let x: Vec<f32> = (0..100_000)
            .map(|i| (0..6).map(|k| uniform(3, 6 * i + k)).sum::<f32>() - 3.0)
            .collect();
        relu.add("relu", 0, &x.iter().map(|x| x.max(0.0)).collect::<Vec<_>>())
            .unwrap();
        let mut dead = Statistics::new();
        dead.add("dead", 0, &[0.0; 100]).unwrap();
        let sum = sum(50_000);
        let sites: Vec<_> = [
            ("conv1", &relu),
            ("layer1.0.add", &sum),
            ("dead", &dead),
            ("fc", &sum),
        ]
        .map(|(site, statistics)| (site, statistics, fit_activation(statistics, &scheme).ok()))
        .into();
        let svg = page(&format!("made up, {scheme}"), &sites).unwrap();
        for site in ["conv1", "layer1.0.add", "dead", "fc", "every value is 0"] {
            assert_eq!(svg.matches(&format!("\n{site}\n")).count(), 1, "{site}");
        }
        keep("page.svg", &svg);
    }
}
