//! `roverline`.

fn main() -> std::process::ExitCode {
    roverline_tui::cli::main()
}
