//! Numbers in JSON.

/// Appends a float in the fewest digits that read back as the same value.
#[inline]
pub(super) fn write_f64(v: f64, out: &mut Vec<u8>) {
    // Telemetry is full of zeros: unset covariances above all.
    if v.to_bits() == 0 {
        out.extend_from_slice(b"0.0");
    } else if v.is_finite() {
        out.extend_from_slice(zmij::Buffer::new().format_finite(v).as_bytes());
    } else {
        out.extend_from_slice(b"null");
    }
}

/// Appends an integer.
#[inline]
pub(super) fn write_integer<I: itoa::Integer>(v: I, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(v).as_bytes());
}
