//! The encapsulation of serialized messages (DDSI-RTPS 2.5, 10.2).

/// The encapsulation header ahead of every serialized message: representation identifier and options.
pub(in crate::dds) const HEADER: usize = 4;

/// The required encoding of a message, for the error message.
pub(in crate::dds) const REQUIRED_ENCODING: &str =
    "the message is not plain little-endian CDR (XCDR version 1, header 00 01 00 00): encode it as that";

/// Whether a message can be written: it must have the one encapsulation that our writers announce.
pub(in crate::dds) fn is_plain_little_endian(payload: &[u8]) -> bool {
    payload.len() >= HEADER && payload[..2] == [0, 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_little_endian_cdr_is_written() {
        assert!(!is_plain_little_endian(&[0, 1, 0]));
        assert!(!is_plain_little_endian(&[0, 0, 0, 0]));
        assert!(is_plain_little_endian(&[0, 1, 0, 0]));
    }
}
