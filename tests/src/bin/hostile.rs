//! The hostile acts: attacks a gateway, and measures what clients with rights notice.

use std::process::ExitCode;

fn main() -> ExitCode {
    roverline_tests::hostile::main()
}
