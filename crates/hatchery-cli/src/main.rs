//! The `hatchery` command.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    hatchery_cli::main()
}
