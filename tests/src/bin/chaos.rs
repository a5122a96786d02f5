//! Chaos tests for coordination: breaks processes that share a store, and checks the store's guarantees.

use std::process::ExitCode;

fn main() -> ExitCode {
    roverline_tests::chaos::main()
}
