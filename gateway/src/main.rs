//! The `roverline-gateway` binary.

fn main() -> std::process::ExitCode {
    roverline_gateway::cli::main()
}
