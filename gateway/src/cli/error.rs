//! Errors of commands and their exit codes.

/// Exit code of a failed run.
pub(super) const FAILED: u8 = 1;
/// Exit code of invalid flags or configuration.
pub(super) const USAGE: u8 = 2;

/// Why a command failed: an exit code and a message.
#[derive(Debug)]
pub(super) struct CliError {
    pub(super) code: u8,
    pub(super) message: String,
}

/// An error in the flags or the configuration. Takes its argument by value so that it fits `map_err`.
#[expect(clippy::needless_pass_by_value)]
pub(super) fn usage_error(message: impl ToString) -> CliError {
    CliError { code: USAGE, message: message.to_string() }
}

/// Any other error.
#[expect(clippy::needless_pass_by_value)]
pub(super) fn runtime_error(message: impl ToString) -> CliError {
    CliError { code: FAILED, message: message.to_string() }
}
