//! The input log: the command log that distributes clients' inputs to the rover of every process.

use std::sync::Arc;

use crate::PublishError;
use crate::command_log::{Command, CommandLog, CommandLogError, CommandLogReader};
use crate::sim::input::PendingInput;

/// Maximum commands per run, and maximum emergency stops; later ones are ignored.
const MAX_INPUTS: usize = 50_000;

/// The inputs of a run, from clients.
pub(super) type InputLog = CommandLog<PendingInput>;

impl Command for PendingInput {
    const MAX_LINE_BYTES: usize = 512;
    /// An emergency stop, which is vital, still fits after hours of manual driving.
    const MAX_FILE_BYTES: u64 = 8 * 1024 * 1024;

    fn is_vital(&self) -> bool {
        self.is_emergency_stop()
    }
}

/// Appends an input to the log.
pub(super) fn submit(input_log: &InputLog, input: PendingInput) -> Result<(), PublishError> {
    input_log.append(|| input).map_err(|error| match error {
        CommandLogError::Pending(pending) => PublishError::Busy(pending),
        error => PublishError::Failed(format!("the rover's input log {error}")),
    })
}

/// Reads the inputs of a run from its beginning.
#[derive(Debug)]
pub(super) struct InputLogReader {
    reader: CommandLogReader<PendingInput>,
    /// Number of commands and of vital inputs so far.
    counts: [usize; 2],
}

impl InputLogReader {
    pub(super) fn new(input_log: Arc<InputLog>) -> InputLogReader {
        InputLogReader { reader: CommandLogReader::new(input_log), counts: [0; 2] }
    }

    /// The inputs since the last call, without those beyond the limits of a run.
    pub(super) fn read(&mut self) -> Vec<PendingInput> {
        let mut inputs = self.reader.read();
        inputs.retain(|input| {
            let count = &mut self.counts[usize::from(input.is_vital())];
            *count += 1;
            if *count == MAX_INPUTS + 1 {
                tracing::warn!(
                    limit = MAX_INPUTS,
                    "the rover accepts no more inputs of this kind in this run"
                );
            }
            *count <= MAX_INPUTS
        });
        inputs
    }
}
