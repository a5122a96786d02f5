//! Points in time as RFC 3339 writes them, in seconds since the Unix epoch.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The last second of the year 9999: later ones cannot be written.
const LATEST_S: i64 = 253_402_300_799;

/// Parses `2027-03-01T12:00:00Z`, or the same with an offset.
pub fn parse_utc(text: &str) -> Option<i64> {
    OffsetDateTime::parse(text, &Rfc3339).ok().map(OffsetDateTime::unix_timestamp)
}

/// `2027-03-01T12:00:00Z`.
pub fn format_utc(unix_s: i64) -> String {
    let at =
        OffsetDateTime::from_unix_timestamp(unix_s.clamp(0, LATEST_S)).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    // Every year from 1970 to 9999 can be written.
    at.format(&Rfc3339).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_they_are_written() {
        assert_eq!(parse_utc("2027-03-01T12:00:00Z"), Some(1_803_902_400));
        assert_eq!(parse_utc("2027-03-01T13:00:00+01:00"), Some(1_803_902_400));
        assert_eq!(format_utc(1_803_902_400), "2027-03-01T12:00:00Z");
        assert_eq!(format_utc(i64::MAX), "9999-12-31T23:59:59Z");
        for wrong in ["", "2027-03-01", "2027-02-30T12:00:00Z", "30d", "2027-03-01 12:00"] {
            assert_eq!(parse_utc(wrong), None, "{wrong}");
        }
    }
}
