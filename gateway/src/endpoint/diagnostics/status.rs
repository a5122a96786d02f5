//! One status of a diagnostic array.

use roverline_schema::cdr;

/// Levels of diagnostic_msgs/msg/DiagnosticStatus.
pub(crate) const OK: u8 = 0;
pub(crate) const WARN: u8 = 1;
pub(crate) const ERROR: u8 = 2;

/// A diagnostic_msgs/msg/DiagnosticStatus.
#[derive(Debug, PartialEq)]
pub(crate) struct Status {
    pub(crate) level: u8,
    pub(crate) name: String,
    pub(crate) message: String,
    pub(crate) values: Vec<(String, String)>,
}

impl Status {
    /// A status whose level is the worst of its findings.
    pub(super) fn of_findings(
        name: String,
        findings: Vec<(u8, String)>,
        values: Vec<(String, String)>,
    ) -> Status {
        let level = findings.iter().map(|(level, _)| *level).max().unwrap_or(OK);
        let texts: Vec<String> = findings.into_iter().map(|(_, text)| text).collect();
        let message = if texts.is_empty() { "ok".to_owned() } else { texts.join("; ") };
        Status { level, name, message, values }
    }

    pub(super) fn write(&self, writer: &mut cdr::Writer, hardware_id: &str) {
        writer.u8(self.level).string(&self.name).string(&self.message).string(hardware_id);
        writer.len(self.values.len() as u32);
        for (key, value) in &self.values {
            writer.string(key).string(value);
        }
    }
}
