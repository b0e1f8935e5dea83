//! The program, at one of its commands.

use std::process::Command;

pub fn quantlab(command: &str) -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_quantlab"));
    program.arg(command);
    program
}
