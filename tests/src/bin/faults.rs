//! Breaks a running rover in every way it should survive, and measures what its clients notice.

use std::process::ExitCode;

fn main() -> ExitCode {
    roverline_tests::faults::main()
}
