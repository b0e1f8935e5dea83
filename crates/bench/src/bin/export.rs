//! Writes a quantized network as an ONNX file that integer runtimes execute.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result, bail};
use bench::calibration::collect;
use bench::cli::{Folders, exit_code, folder_of};
use bench::plan::Ranges;
use bench::quantized::quantized;
use bench::single;
use clap::{Parser, ValueEnum};
use resnet::Form;

/// Quantize a network as the settings say and write it as an ONNX file
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The file to write, such as net-w8a8.onnx.
    output: PathBuf,
    /// A setting, as in an experiment. May be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// How quantization stands in the file.
    #[arg(long, value_enum, default_value_t = Written::Qdq)]
    form: Written,
    #[command(flatten)]
    folders: Folders,
    /// Leave out images that cannot be decoded, instead of failing.
    #[arg(long)]
    skip_unreadable: bool,
    /// Worker threads; default: one for each processor.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Written {
    /// QuantizeLinear and DequantizeLinear, which runtimes fuse into integers.
    Qdq,
    /// Rounded weights as plain float32.
    Float,
}

impl From<Written> for Form {
    fn from(written: Written) -> Self {
        match written {
            Written::Qdq => Self::Qdq,
            Written::Float => Self::Float,
        }
    }
}

fn main() -> ExitCode {
    exit_code(run())
}

fn run() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    check(&arguments.output)?;
    let settings = single::settings(&arguments.set)?;
    let said = ("export", Ranges::Images);
    let planned = single::open(
        settings,
        said,
        &arguments.folders,
        arguments.skip_unreadable,
    )?;
    let how = (planned.cell.quantization.as_ref())
        .context("weights.bits = 32 and activations.bits = 32 quantize nothing; set one of them")?;
    bench::assumptions::tell(std::slice::from_ref(&planned));
    let checkpoint = &planned.model.checkpoint;
    let threads = bench::cli::threads(arguments.threads);
    let running = AtomicBool::new(false);
    let seen = planned
        .calibration
        .as_ref()
        .map(|images| collect(&checkpoint.network, &images.data, threads, &running))
        .transpose()?;
    let net = quantized(checkpoint, how, seen.as_ref())?;
    let metadata = BTreeMap::from([
        ("quantlab.run_id".to_owned(), planned.run_id.clone()),
        ("quantlab.model".to_owned(), planned.model.name.clone()),
        (
            "quantlab.weights_sha256".to_owned(),
            checkpoint.sha256.clone(),
        ),
        ("quantlab.settings".to_owned(), arguments.set.join("; ")),
    ]);
    let file = resnet::to_onnx(&net, arguments.form.into(), &metadata)?;
    let path = arguments.output.display();
    network::write_whole(&arguments.output, &file)
        .with_context(|| format!("cannot write {path}"))?;
    let layers = net.codes.len();
    let (sites, biases) = (
        net.activations.map_or(0, |(codes, _)| codes.len()),
        net.bias_codes.len(),
    );
    println!(
        "{path}: {layers} layers of quantized weights, {biases} int32 biases, {sites} quantized values, {} bytes",
        file.len()
    );
    Ok(ExitCode::SUCCESS)
}

/// Fails for a file that cannot be written, before the work.
fn check(path: &Path) -> Result<()> {
    let folder = folder_of(path);
    if path.is_dir() || path.file_name().is_none() {
        bail!("{} is no file to write", path.display());
    }
    if !folder.is_dir() {
        bail!("there is no folder {}", folder.display());
    }
    Ok(())
}
