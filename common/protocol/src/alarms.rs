//! Alarms: which values are conditions (`limit`, `debounce`), and what becomes of a condition and of what operators
//! do about it (`record`). Pure: time is an argument.
//!
//! Every endpoint evaluates conditions from its own samples; the records are shared. A record is a join
//! semilattice: two that were changed independently merge to the same one in any order.

pub mod debounce;
pub mod id;
pub mod limit;
pub mod list;
pub mod record;
pub mod rule;
pub mod setting;
#[cfg(test)]
mod tests;

/// Most alarms of a gateway; what is raised beyond is counted and not listed.
pub const MAX_ALARMS: usize = 256;
/// The ROS topic of alarms, a diagnostic_msgs/msg/DiagnosticArray.
pub const ALARMS_TOPIC: &str = "/roverline/alarms";
/// Most characters of a name or a text of an alarm.
pub const ALARM_TEXT_CHARS: usize = 200;
