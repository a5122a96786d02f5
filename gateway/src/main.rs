//! `roverline-gateway`.

fn main() -> std::process::ExitCode {
    roverline_gateway::cli::main()
}
