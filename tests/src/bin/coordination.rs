//! Breaks processes that share a store, and checks that the store kept its word.

use std::process::ExitCode;

fn main() -> ExitCode {
    roverline_tests::coordination::main()
}
