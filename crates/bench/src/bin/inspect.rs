//! `inspect`: what quantization does to every layer of a network, on real images; and a picture of a layer's weights
//! with the quantization grid on it.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow, bail};
use bench::cli::{Folders, decoding_bar, exit_code};
use bench::experiment::Scalar;
use bench::inspect::{Error, Inspection, LayerErrors, inspect};
use bench::plan::{PlannedRun, plan_cell};
use bench::registry::Registry;
use bench::settings::{Settings, parse_assignment};
use bench::sources::Sources;
use clap::Parser;
use indicatif::ProgressBar;
use quant_core::Values;

/// Compare each layer of a quantized network with the float one: weights, its output alone, its output in the network.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// A setting, as in an experiment's file; default: the shipped model, 64 images, `method=linear`, 8 bits.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    #[command(flatten)]
    folders: Folders,
    /// Only these layers, by PyTorch name, such as `layer1.0.conv2`.
    #[arg(long = "layer", value_name = "NAME")]
    layers: Vec<String>,
    /// Write the numbers as CSV.
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Write the test set's first images as one PNG, a column for each class, and stop.
    #[arg(long, value_name = "FILE.png")]
    contact_sheet: Option<PathBuf>,
    /// Draw the weights of the layer named by --layer, with the quantization grid, as SVG.
    #[arg(long, value_name = "FILE", requires = "layers")]
    picture: Option<PathBuf>,
}

/// A contact sheet shows at most this many classes,
const SHEET_COLUMNS: usize = 10;
/// and this many images of each.
const SHEET_ROWS: usize = 5;

fn main() -> ExitCode {
    exit_code(run())
}

fn run() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let planned = open(&arguments)?;
    if let Some(path) = &arguments.contact_sheet {
        let set = &planned.set.data;
        dataset::contact_sheet(set, SHEET_COLUMNS.min(set.classes().len()), SHEET_ROWS, 2)
            .write_png(path)?;
        eprintln!("wrote {}", path.display());
        return Ok(ExitCode::SUCCESS);
    }
    let checkpoint = &planned.model.checkpoint;
    let how = planned.cell.quantization.as_ref().map(|how| &how.weights);
    let (how, scheme) = how
        .and_then(|how| Some((how, how.scheme?)))
        .ok_or_else(|| {
            anyhow!("weights.bits = 32 quantizes nothing, so there is nothing to compare")
        })?;
    let reference = match how.bn {
        resnet::BnMode::Kept => checkpoint.state.clone(),
        resnet::BnMode::Folded => resnet::fold(&checkpoint.arch, &checkpoint.state)?,
    };
    let quantized = resnet::quantize(&checkpoint.arch, &checkpoint.state, how)?;
    if let Some(unknown) = arguments
        .layers
        .iter()
        .find(|layer| !reference.contains(&format!("{layer}.weight")))
    {
        let known: Vec<_> = quantized.layers.iter().map(|l| l.layer.as_str()).collect();
        bail!("no layer `{unknown}`; there are {}", known.join(", "));
    }
    if let (Some(path), Some(layer)) = (&arguments.picture, arguments.layers.first()) {
        let name = format!("{layer}.weight");
        let tensor = reference.require(&name)?;
        let values = Values::new(&name, &tensor.data, &tensor.shape)?;
        let picture = bench::inspect::picture(layer, &values, &scheme)?;
        std::fs::write(path, picture)
            .with_context(|| format!("cannot write {}", path.display()))?;
        eprintln!("wrote {}", path.display());
    }

    let target = bench::device::Target::open(&planned.config.device)?;
    let bar = ProgressBar::new(planned.set.data.len() as u64);
    let mut inspection = inspect(
        &checkpoint.arch,
        &reference,
        &quantized.state,
        &planned.set.data,
        &target,
        &|images| bar.inc(images as u64),
    )?;
    bar.finish_and_clear();
    if !arguments.layers.is_empty() {
        inspection
            .layers
            .retain(|errors| arguments.layers.contains(&errors.layer));
    }
    println!(
        "{} on {} images of {}: {}, bias {}, bn {}",
        planned.model.name, inspection.images, planned.set.name, scheme, how.bias, how.bn
    );
    print(&inspection);
    if let Some(path) = &arguments.csv {
        std::fs::write(path, csv(&inspection))
            .with_context(|| format!("cannot write {}", path.display()))?;
        eprintln!("wrote {}", path.display());
    }
    Ok(ExitCode::SUCCESS)
}

fn open(arguments: &Arguments) -> Result<PlannedRun> {
    let text = |word: &str| Scalar::Text(word.to_owned());
    let mut settings = Settings::from([("images".to_owned(), Scalar::Integer(64))]);
    for assignment in &arguments.set {
        let (key, values) = parse_assignment(assignment)?;
        let [value] = &values[..] else {
            return Err(anyhow!("--set {assignment}: one value, not a list"));
        };
        settings.insert(key, value.clone());
    }
    if !settings.contains_key("model.weights") {
        settings
            .entry("model.name".to_owned())
            .or_insert_with(|| text("resnet20-synthetic"));
    }
    settings
        .entry("method".to_owned())
        .or_insert_with(|| text("linear"));
    let mut sources = Sources::new(
        Registry::open(&arguments.folders.data)?,
        &arguments.folders.cache,
        false,
        decoding_bar(),
    );
    plan_cell(&settings, &mut sources, "inspect")?
        .pop()
        .ok_or_else(|| anyhow!("the settings describe no run"))
}

/// A part of [`LayerErrors`] with its name and heading.
type Part = (&'static str, &'static str, fn(&LayerErrors) -> &Error);

const PARTS: [Part; 3] = [
    ("weights", "weights", |errors| &errors.weights),
    (
        "layer",
        "output of the layer alone, on float inputs",
        |errors| &errors.alone,
    ),
    (
        "network",
        "output of the layer inside the quantized network",
        |errors| &errors.network,
    ),
];

/// Three tables that fit 80 columns.
fn print(inspection: &Inspection) {
    for (_, heading, part) in PARTS {
        println!("\n{heading}");
        println!(
            "{:<22}{:>11}{:>11}{:>11}{:>11}{:>9}",
            "layer", "values", "max |d|", "mean |d|", "MSE", "SQNR dB"
        );
        for errors in &inspection.layers {
            let error = part(errors);
            println!(
                "{:<22}{:>11}{:>11}{:>11}{:>11}{:>9}",
                errors.layer,
                error.n,
                short(error.max_abs),
                short(error.mean_abs()),
                short(error.mse()),
                error
                    .sqnr_db()
                    .map_or_else(|| "exact".to_owned(), |db| format!("{db:.2}"))
            );
        }
    }
    println!(
        "\n{} of {} images keep the class that the float network gives them",
        inspection.unchanged, inspection.images
    );
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

fn csv(inspection: &Inspection) -> String {
    let mut text = String::from("layer,part,n,max_abs,mean_abs,mse,sqnr_db\n");
    for errors in &inspection.layers {
        for (name, _, part) in PARTS {
            let error = part(errors);
            let sqnr = error
                .sqnr_db()
                .map_or_else(String::new, |db| db.to_string());
            text += &format!(
                "{},{name},{},{},{},{},{sqnr}\n",
                errors.layer,
                error.n,
                error.max_abs,
                error.mean_abs(),
                error.mse()
            );
        }
    }
    text
}
