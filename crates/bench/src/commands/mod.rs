//! The program's commands, a file each: what may stand on its command line, and what that does with the rest of this crate.

mod compare;
mod export;
mod fetch;
mod inspect;
mod page;
mod pages;
mod sensitivity;
mod sweep;
mod table;
mod throughput;
#[cfg(feature = "burn")]
mod train;

use std::io::Write;
use std::process::ExitCode;

use anyhow::Result;
use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use crate::cli::exit_code;

/// Find out, with numbers that hold, what quantization does to a convolutional network.
#[derive(Parser)]
#[command(name = "quantlab", version)]
struct Quantlab {
    #[command(subcommand)]
    command: Command,
}

// One is alive at a time, and for as long as the program.
#[allow(clippy::large_enum_variant)]
#[derive(Subcommand)]
enum Command {
    Sweep(sweep::Arguments),
    Table(table::Arguments),
    Compare(compare::Arguments),
    Page(page::Arguments),
    Inspect(inspect::Arguments),
    Sensitivity(sensitivity::Arguments),
    Export(export::Arguments),
    #[cfg(feature = "burn")]
    Train(train::Arguments),
    /// Says which build trains.
    #[cfg(not(feature = "burn"))]
    #[command(hide = true, disable_help_flag = true)]
    Train {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        _any: Vec<std::ffi::OsString>,
    },
    Fetch(fetch::Arguments),
    Throughput(throughput::Arguments),
    /// Print what completes these commands in a shell: `source <(quantlab completions bash)`.
    Completions {
        /// Which.
        shell: Shell,
    },
}

/// Runs what the command line asks for; an error is one line on stderr and status 1.
pub fn main() -> ExitCode {
    exit_code(run(Quantlab::parse().command))
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Sweep(arguments) => sweep::run(arguments),
        Command::Table(arguments) => table::run(arguments),
        Command::Compare(arguments) => compare::run(arguments),
        Command::Page(arguments) => page::run(arguments),
        Command::Inspect(arguments) => inspect::run(arguments),
        Command::Sensitivity(arguments) => sensitivity::run(arguments),
        Command::Export(arguments) => export::run(arguments),
        #[cfg(feature = "burn")]
        Command::Train(arguments) => train::run(arguments),
        #[cfg(not(feature = "burn"))]
        Command::Train { .. } => anyhow::bail!("train: {}", crate::device::WITHOUT_BURN),
        Command::Fetch(arguments) => fetch::run(arguments),
        Command::Throughput(arguments) => throughput::run(arguments),
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Quantlab::command(), "quantlab", &mut text);
            std::io::stdout().write_all(&text)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_line_is_consistent() {
        Quantlab::command().debug_assert();
    }
}
