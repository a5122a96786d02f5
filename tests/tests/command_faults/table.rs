//! The table: what the rover did, beside what the clients were told.

use std::fmt;
use std::time::Duration;

use roverline_protocol::api::commands::CommandState;

use crate::campaign::Command;
use crate::fault::Fault;
use crate::rover::Arrivals;

/// The names of the columns.
pub(crate) const HEAD: &str = "fault            faults  sent  done once  done twice  expired  failed  lost without answer  done after TTL  false answers";
/// What they mean.
pub(crate) const LEGEND: &str = "done: calls that reached the rover's node. expired: not done, and said so. failed: said so; the rover may have \
     done it (it is counted where it belongs). lost: a client got no answer within 60 s. after TTL: later than the time to live \
     after the first sending, by more than 50 ms for the way through DDS. false answers: verified and not done, expired and \
     done, or two clients with different results.";

/// The result of one campaign.
pub(crate) struct Row {
    fault: Fault,
    faults: usize,
    sent: usize,
    pub(crate) done_once: usize,
    done_twice: usize,
    expired: usize,
    failed: usize,
    lost: usize,
    late: usize,
    false_answers: usize,
}

impl Row {
    /// Compares what the rover did with what its clients were told.
    pub(crate) fn new(
        fault: Fault,
        faults: usize,
        commands: &[Command],
        arrivals: &Arrivals,
        tolerance: Duration,
    ) -> Row {
        let mut row = Row {
            fault,
            faults,
            sent: commands.len(),
            done_once: 0,
            done_twice: 0,
            expired: 0,
            failed: 0,
            lost: 0,
            late: 0,
            false_answers: 0,
        };
        for command in commands {
            let times = arrivals.get(&command.number()).map_or(&[][..], Vec::as_slice);
            row.done_once += usize::from(times.len() == 1);
            row.done_twice += usize::from(times.len() > 1);
            let deadline_ns = command.deadline_ns() + tolerance.as_nanos() as u64;
            row.late += usize::from(times.iter().any(|at_ns| *at_ns > deadline_ns));
            let answers: Vec<_> = command.answers.iter().filter_map(std::sync::OnceLock::get).collect();
            row.lost += usize::from(answers.len() < command.answers.len());
            let is = |state| answers.iter().any(|answer| answer.state == state);
            let (verified, expired) = (is(CommandState::Verified), is(CommandState::Expired));
            row.expired += usize::from(expired);
            row.failed += usize::from(is(CommandState::Failed));
            let results: Vec<_> = answers.iter().filter_map(|answer| answer.result.as_ref()).collect();
            let is_false = (verified && times.is_empty())
                || (expired && !times.is_empty())
                || (verified && expired)
                || results.windows(2).any(|pair| pair[0] != pair[1]);
            row.false_answers += usize::from(is_false);
        }
        row
    }

    /// What must not have happened.
    pub(crate) fn violations(&self) -> Vec<String> {
        let counts = [
            ("done twice", self.done_twice),
            ("lost without an answer", self.lost),
            ("done after their time to live", self.late),
            ("answered falsely", self.false_answers),
        ];
        let bad = counts.into_iter().filter(|(_, count)| *count > 0);
        bad.map(|(what, count)| format!("{}: {count} {what}", self.fault.name())).collect()
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:<16} {:>6} {:>5} {:>10} {:>11} {:>8} {:>7} {:>20} {:>15} {:>14}",
            self.fault.name(),
            self.faults,
            self.sent,
            self.done_once,
            self.done_twice,
            self.expired,
            self.failed,
            self.lost,
            self.late,
            self.false_answers
        )
    }
}
