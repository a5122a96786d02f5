//! The fault matrix: breaks a running rover, and measures what its clients notice.

use std::process::ExitCode;

fn main() -> ExitCode {
    roverline_tests::faults::main()
}
