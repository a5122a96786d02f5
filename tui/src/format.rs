//! Formats numbers for people: fixed widths, units, no flicker.

use std::time::Duration;

pub use roverline_protocol::printable::printable;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// An age in at most five columns: `<1s`, `12s`, `3m05s`, `2h05m`, `5d03h`.
///
/// Whole seconds only: an age that changes ten times a second distracts.
pub fn age(age: Duration) -> String {
    let s = age.as_secs();
    match s {
        0 => "<1s".to_owned(),
        1..60 => format!("{s}s"),
        60..3_600 => format!("{}m{:02}s", s / 60, s % 60),
        3_600..86_400 => format!("{}h{:02}m", s / 3_600, s % 3_600 / 60),
        _ => format!("{}d{:02}h", (s / 86_400).min(99), s % 86_400 / 3_600),
    }
}

/// A short time: `0.42 ms`, `12.3 ms`, `123 ms`, `1.2 s`.
pub fn millis(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1e3;
    match ms {
        _ if ms < 10.0 => format!("{ms:.2} ms"),
        _ if ms < 100.0 => format!("{ms:.1} ms"),
        _ if ms < 1_000.0 => format!("{ms:.0} ms"),
        _ => format!("{:.1} s", ms / 1e3),
    }
}

/// A rate without its unit, which is in the column's heading.
pub fn rate(hz: f64) -> String {
    if !hz.is_finite() {
        return "–".to_owned();
    }
    if hz < 100.0 { format!("{hz:.1}") } else { format!("{hz:.0}") }
}

/// Bytes per second: `812 B/s`, `12.3 kB/s`, `1.2 MB/s`.
pub fn bandwidth(bytes_per_s: f64) -> String {
    if !bytes_per_s.is_finite() {
        return "–".to_owned();
    }
    format!("{}/s", bytes(bytes_per_s))
}

/// Bytes: `812 B`, `12.3 kB`, `1.2 MB`.
pub fn bytes(bytes: f64) -> String {
    match bytes {
        _ if bytes < 1e3 => format!("{bytes:.0} B"),
        _ if bytes < 1e6 => format!("{:.1} kB", bytes / 1e3),
        _ if bytes < 1e9 => format!("{:.1} MB", bytes / 1e6),
        _ => format!("{:.1} GB", bytes / 1e9),
    }
}

/// A number, or a dash for NaN and infinities.
pub fn number(value: f64, digits: usize, unit: &str) -> String {
    if !value.is_finite() {
        return "–".to_owned();
    }
    let text = format!("{value:.digits$}");
    // A standing rover turns at 0.0, not at -0.0.
    let zero = text.bytes().all(|b| matches!(b, b'-' | b'.' | b'0'));
    format!("{}{unit}", if zero { text.trim_start_matches('-') } else { &text })
}

/// A compass course: `087° E`.
pub fn compass(degrees: f64) -> String {
    const POINTS: [&str; 8] = ["N", "NE", "E", "SE", "S", "SW", "W", "NW"];
    if !degrees.is_finite() {
        return "–".to_owned();
    }
    let whole = degrees.rem_euclid(360.0).round() % 360.0;
    let point = (whole / 45.0).round() as usize % POINTS.len();
    format!("{whole:03.0}° {}", POINTS[point])
}

/// Whether an identity is only an address: that of a client without a token.
pub fn is_address(identity: &str) -> bool {
    identity.parse::<std::net::IpAddr>().is_ok()
}

/// An endpoint's address without the parts that all endpoints share.
pub fn address(url: &str) -> &str {
    url.strip_prefix("ws://").or_else(|| url.strip_prefix("wss://")).unwrap_or(url)
}

/// `sensor_msgs/msg/Imu` as `sensor_msgs/Imu`.
pub fn short_type(type_name: &str) -> String {
    type_name.replacen("/msg/", "/", 1)
}

/// Time of day, UTC: `14:03:59`.
pub fn clock(wall_ns: i64) -> String {
    let s = wall_ns.div_euclid(1_000_000_000).rem_euclid(86_400);
    format!("{:02}:{:02}:{:02}", s / 3_600, s % 3_600 / 60, s % 60)
}

/// Date and time, UTC: `2026-11-21 14:03:59`.
pub fn date(wall_ns: i64) -> String {
    // The Gregorian calendar repeats itself every 146 097 days; counted from a March, the leap day
    // is the last one of its year.
    let days = wall_ns.div_euclid(86_400_000_000_000) + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, later) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    format!("{:04}-{month:02}-{day:02} {}", era * 400 + year + later, clock(wall_ns))
}

/// Percent-encodes a path segment (RFC 3986, section 2.3).
pub fn escape(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => out += &format!("%{byte:02X}"),
        }
    }
    out
}

/// At most `width` columns; truncation is marked by `…`.
pub fn fit(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut used = 1; // the ellipsis
    for c in text.chars() {
        used += c.width().unwrap_or(0);
        if used > width {
            break;
        }
        out.push(c);
    }
    if width > 0 {
        out.push('…');
    }
    out
}

/// Exactly `width` columns, left-aligned.
pub fn left(text: &str, width: usize) -> String {
    let mut out = fit(text, width);
    out.extend(std::iter::repeat_n(' ', width.saturating_sub(out.width())));
    out
}

/// Exactly `width` columns, right-aligned.
pub fn right(text: &str, width: usize) -> String {
    let text = fit(text, width);
    let mut out = " ".repeat(width.saturating_sub(text.width()));
    out.push_str(&text);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (s, expected) in [
            (0, "1970-01-01 00:00:00"),
            (-1, "1969-12-31 23:59:59"),
            (951_782_399, "2000-02-28 23:59:59"),
            (951_782_400, "2000-02-29 00:00:00"),
            (951_868_800, "2000-03-01 00:00:00"),
            (1_735_689_599, "2024-12-31 23:59:59"),
            (1_795_269_600, "2026-11-21 14:00:00"),
            (4_107_542_400, "2100-03-01 00:00:00"),
        ] {
            assert_eq!(date(s * 1_000_000_000), expected);
        }
    }

    #[test]
    fn ages_fit_five_columns() {
        for (s, expected) in
            [(0, "<1s"), (59, "59s"), (60, "1m00s"), (3_599, "59m59s"), (7_500, "2h05m"), (442_800, "5d03h")]
        {
            assert_eq!(age(Duration::from_secs(s)), expected);
        }
        assert!(age(Duration::MAX).len() <= 6);
    }

    #[test]
    fn courses_wrap() {
        for (degrees, expected) in
            [(0.0, "000° N"), (359.6, "000° N"), (-90.0, "270° W"), (87.0, "087° E"), (f64::NAN, "–")]
        {
            assert_eq!(compass(degrees), expected);
        }
    }

    #[test]
    fn text_is_cut_by_columns_not_bytes() {
        assert_eq!(fit("日本語です", 5), "日本…");
        assert_eq!(left("日", 4), "日  ");
        assert_eq!(right("abc", 2), "a…");
        assert_eq!(fit("abc", 0), "");
        assert_eq!(number(-0.04, 1, " m"), "0.0 m");
        assert_eq!(number(-0.4, 1, ""), "-0.4");
        assert_eq!(printable("a\x1b[2Jb"), "a·[2Jb");
    }
}
