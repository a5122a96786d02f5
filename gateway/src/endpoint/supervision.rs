//! The supervision of this process: whether a supervisor watches it. An endpoint serves on without one, but it is not restarted
//! when it fails, so its health says since when.

use parking_lot::Mutex;

/// The state of the link to the supervisor. An endpoint that was started by itself has none to lose.
#[derive(Debug, Default)]
pub struct Supervision {
    lost_unix_ns: Mutex<Option<i64>>,
}

impl Supervision {
    /// The supervisor is gone since `unix_ns`; the first loss counts until another supervisor is there.
    pub fn lost(&self, unix_ns: i64) {
        self.lost_unix_ns.lock().get_or_insert(unix_ns);
    }

    /// A supervisor watches this process.
    pub fn found(&self) {
        *self.lost_unix_ns.lock() = None;
    }

    /// Why the endpoint's health is degraded, if it is.
    pub fn reason(&self) -> Option<String> {
        let lost = (*self.lost_unix_ns.lock())?;
        Some(format!(
            "no supervisor since {}: this endpoint serves on, but nothing restarts it; \
             run `roverline-gateway up` again",
            utc(lost)
        ))
    }
}

/// `2026-03-01 12:00:05 UTC`, by the proleptic Gregorian calendar.
fn utc(unix_ns: i64) -> String {
    let seconds = unix_ns.div_euclid(1_000_000_000);
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Days since 1 March 0000, in eras of 400 years; a year that begins in March ends with the leap day.
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (year, month) = match month {
        0..=9 => (era * 400 + year, month + 3),
        _ => (era * 400 + year + 1, month - 9),
    };
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_people_read_them() {
        for (seconds, text) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_399, "2000-02-28 23:59:59 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (1_767_225_599, "2025-12-31 23:59:59 UTC"),
            (-1, "1969-12-31 23:59:59 UTC"),
        ] {
            assert_eq!(utc(seconds * 1_000_000_000), text);
        }
    }

    #[test]
    fn the_first_loss_counts_until_a_supervisor_is_there() {
        let supervision = Supervision::default();
        assert_eq!(supervision.reason(), None);
        supervision.lost(0);
        supervision.lost(86_400_000_000_000);
        assert!(supervision.reason().unwrap().starts_with("no supervisor since 1970-01-01 00:00:00 UTC"));
        supervision.found();
        assert_eq!(supervision.reason(), None);
    }
}
