//! `inspect`: what quantization does to every layer and activation site of a network, on real images; pictures of a
//! layer's weights and of what the sites were calibrated on, with the codes on them.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use indicatif::ProgressBar;
use quant_core::{Scheme, Values};
use quantize::{Decision, QuantizedNet};

use crate::calibration::options::CalibrationOptions;
use crate::cli::Folders;
use crate::device::Target;
use crate::inspect::activations::{SiteInspection, Subject};
use crate::inspect::blame::{Blame, take_over};
use crate::inspect::{Inspection, LayerErrors, graph, inspect, table};
use crate::plan::PlannedRun;
use crate::quantized::{Around, quantized};
use crate::settings::{Activations, Quantization};
use crate::single;

/// Compare each layer of a quantized network with the float one: weights, its output alone, its output in the network.
#[derive(clap::Args)]
pub struct Arguments {
    /// A setting, as in an experiment's file; default: the shipped model, 64 images, `method=linear`, 8 bits.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    #[command(flatten)]
    folders: Folders,
    /// Only these layers and activation sites, by PyTorch name, such as `layer1.0.conv2` (sums: `layer1.0.add`).
    #[arg(long = "layer", value_name = "NAME")]
    layers: Vec<String>,
    /// Write the numbers as CSV.
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Write the test set's first images as one PNG, a column for each class, and stop.
    #[arg(long, value_name = "FILE.png")]
    contact_sheet: Option<PathBuf>,
    /// Print the network as a table (what is computed of what, shapes, multiplications, parameters), and stop.
    #[arg(long)]
    graph: bool,
    /// Draw the weights of the layer named by --layer, with the quantization grid, as SVG.
    #[arg(long, value_name = "FILE", requires = "layers")]
    picture: Option<PathBuf>,
    #[command(flatten)]
    calibration: CalibrationOptions,
    /// Leave out images that cannot be decoded, instead of failing.
    #[arg(long)]
    skip_unreadable: bool,
    /// Worker threads; default: one for each processor.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
}

/// A contact sheet shows at most this many classes,
const SHEET_COLUMNS: usize = 10;
/// and this many images of each.
const SHEET_ROWS: usize = 5;

/// Runs it.
///
/// # Errors
/// What a person is told in one line.
pub fn run(arguments: Arguments) -> Result<ExitCode> {
    if arguments.graph {
        let model = single::model(&single::settings(&arguments.set)?, &arguments.folders)?;
        print!("{}", graph::text(&model.checkpoint.network));
        return Ok(ExitCode::SUCCESS);
    }
    let planned = open(&arguments)?;
    if let Some(path) = &arguments.contact_sheet {
        let set = &planned.set.data;
        dataset::contact_sheet(set, SHEET_COLUMNS.min(set.classes().len()), SHEET_ROWS, 2)
            .write_png(path)?;
        eprintln!("wrote {}", path.display());
        return Ok(ExitCode::SUCCESS);
    }
    let how = (planned.cell.quantization.as_ref())
        .context("weights.bits = 32 and activations.bits = 32 quantize nothing; set one of them")?;
    if how.equalization.is_some() {
        bail!(
            "equalize = cross_layer: inspect compares with the network as it is, whose weights an equalized one no longer has; leave it out"
        );
    }
    let checkpoint = &planned.model.checkpoint;
    let options = &arguments.calibration;
    let threads = crate::cli::threads(arguments.threads);
    let calibration = options.calibration(&planned, how.activations.as_ref(), threads)?;
    let statistics = calibration.as_ref().map(|seen| &seen.statistics);
    let around = Around::of(&planned, threads);
    let net = quantized(checkpoint, how, statistics, &around)?;
    let (scheme, source) = match (&how.activations, &calibration) {
        (Some(Activations { how, .. }), Some(seen)) => (
            how.scheme.to_string(),
            format!("shortcut {}, ranges from {}", how.shortcut, seen.images),
        ),
        _ => (
            "as stored with the model".to_owned(),
            "errors are differences to its weights with activations in float".to_owned(),
        ),
    };
    let sited = net.activations.is_some();
    let unknown = |name: &&String| !net.manifest.iter().any(|d| is_called(d, name, sited));
    if let Some(unknown) = arguments.layers.iter().find(unknown) {
        let topology = checkpoint.network.topology();
        let layers: Vec<_> = topology.layers().collect();
        let layers: Vec<_> = (layers.iter())
            .map(|&layer| topology.node(layer).name.as_str())
            .collect();
        bail!("no layer `{unknown}`; there are {}", layers.join(", "));
    }
    if let Some(calibration) = &calibration {
        let title = format!("{}: {scheme}, {source}", planned.model.name);
        options.draw(&title, &net, calibration)?;
    }
    let target = Target::open(planned.config.text("device"))?;
    let set = &planned.set;
    crate::assumptions::tell(std::slice::from_ref(&planned));
    println!(
        "{} on {} images of {}",
        planned.model.name,
        set.data.len(),
        set.name
    );
    let sites = match sited {
        true => Some(activations(&arguments, &planned, how, &net, &target)?),
        false => None,
    };
    let layers = match how.weights.scheme {
        Some(scheme) => {
            let sites = sites.as_ref();
            let found = weights(&arguments, &planned, how, &scheme, (&net, sites), &target)?;
            let (bias, bn) = (how.weights.bias, how.weights.bn);
            println!("\nweights {scheme}\nbias {bias}, bn {bn}");
            print!("{}", table::layers_text(&found));
            Some(found)
        }
        None if arguments.picture.is_some() => {
            bail!("--picture: there are no weights to quantize here, and so no grid to show")
        }
        None => None,
    };
    if let Some(sites) = &sites {
        println!("\nactivations {scheme}\n{source}");
        print!("{}", table::sites_text(sites, &arguments.layers));
    }
    if let Some(path) = &arguments.csv {
        write(
            path,
            &table::csv(layers.as_ref(), sites.as_ref(), &arguments.layers),
        )?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Weights, the outputs of layers, and what each costs at the logits, which `sites` may know; a picture where one is asked
/// for.
fn weights(
    arguments: &Arguments,
    planned: &PlannedRun,
    how: &Quantization,
    scheme: &Scheme,
    (net, sites): (&QuantizedNet, Option<&SiteInspection>),
    target: &Target,
) -> Result<Inspection> {
    let checkpoint = &planned.model.checkpoint;
    let reference = match how.weights.bn {
        quantize::BnMode::Kept => checkpoint.network.clone(),
        quantize::BnMode::Folded => quantize::fold(&checkpoint.network)?,
    };
    if let (Some(path), Some(layer)) = (&arguments.picture, arguments.layers.first()) {
        let name = format!("{layer}.weight");
        let tensor = reference.tensors().require(&name)?;
        let values = Values::new(&name, &tensor.data, &tensor.shape)?;
        write(path, &crate::inspect::picture(layer, &values, scheme)?)?;
    }
    let bar = ProgressBar::new(planned.set.data.len() as u64);
    let mut inspection = inspect(
        &reference,
        &net.network()?,
        &planned.set.data,
        target,
        &|images| bar.inc(images as u64),
    )?;
    if !arguments.layers.is_empty() {
        let chosen = |errors: &LayerErrors| arguments.layers.contains(&errors.layer);
        inspection.layers.retain(chosen);
    }
    match sites {
        Some(sites) => take_over(&mut inspection, sites),
        None => {
            let blame = Blame {
                float: &reference,
                quantized: &net.state,
                target,
                threads: crate::cli::threads(arguments.threads),
            };
            let data = &planned.set.data;
            bar.set_length((data.len() * (2 + inspection.layers.len())) as u64);
            blame.layers(&mut inspection, data, &|images| bar.inc(images as u64))?;
        }
    }
    bar.finish_and_clear();
    Ok(inspection)
}

/// What happens at activation sites.
fn activations(
    arguments: &Arguments,
    planned: &PlannedRun,
    how: &Quantization,
    net: &QuantizedNet,
    target: &Target,
) -> Result<SiteInspection> {
    let checkpoint = &planned.model.checkpoint;
    let subject = Subject {
        float: &checkpoint.network,
        how: &how.weights,
        net,
        execution: how.execution,
        target,
        threads: crate::cli::threads(arguments.threads),
        only: &arguments.layers,
    };
    let data = &planned.set.data;
    let bar = ProgressBar::new((subject.passes() * data.len()) as u64);
    let inspection = subject.inspect(data, &|images| bar.inc(images as u64))?;
    bar.finish_and_clear();
    Ok(inspection)
}

/// Whether a line of the manifest is about the layer's weights or, if `sited`, the activation site of that name.
fn is_called(decision: &Decision, name: &str, sited: bool) -> bool {
    match decision.kind {
        "weight" => decision.tensor.strip_suffix(".weight") == Some(name),
        "activation" => sited && decision.tensor == name,
        _ => false,
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    eprintln!("wrote {}", path.display());
    Ok(())
}

fn open(arguments: &Arguments) -> Result<PlannedRun> {
    let settings = single::settings(&arguments.set)?;
    let ranges = arguments.calibration.ranges(&settings)?;
    single::open(
        settings,
        ("inspect", ranges),
        &arguments.folders,
        arguments.skip_unreadable,
    )
}
