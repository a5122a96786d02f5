//! The fault matrix: breaks a running rover, and measures the effect on its clients.

use std::process::ExitCode;

fn main() -> ExitCode {
    roverline_tests::faults::main()
}
