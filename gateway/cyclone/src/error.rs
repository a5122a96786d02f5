//! Errors of the binding. Each text says what was wrong and what helps.

use std::net::IpAddr;

/// Why something could not be done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// RTPS derives ports from the domain id; higher ids have no ports.
    #[error("domain {0} does not exist: a DDS domain is a number from 0 to 232")]
    Domain(u16),
    /// Only IPv4 is spoken.
    #[error("{0} cannot be used: name an IPv4 address of this computer")]
    Network(IpAddr),
    /// A peer is no IPv4 address or host name, or the name has no IPv4 address.
    #[error(
        "the peer \"{peer}\" cannot be reached ({reason}): give an IPv4 address or a host name that resolves"
    )]
    Peer {
        /// As it was given.
        peer: String,
        /// The resolver's error.
        reason: String,
    },
    /// The library refused the configuration, or has no sockets.
    #[error("the DDS domain cannot be joined ({0}): check the interfaces and that a UDP port is free")]
    Join(String),
    /// A topic or type name that DDS does not carry.
    #[error(
        "\"{name}\" is no {what} name: it must have 1 to 255 characters of ASCII, without spaces, control characters \
         or any of *?[]\"'#$, and not begin with DCPS"
    )]
    Name {
        /// `topic` or `type`.
        what: &'static str,
        /// As it was given.
        name: String,
    },
    /// Too short to have the encapsulation header.
    #[error(
        "a message of {0} bytes has no encapsulation header: it must begin with the four bytes of CDR's header"
    )]
    Header(usize),
    /// Larger than the participant's limit.
    #[error("a message of {bytes} bytes is larger than {most}: raise the participant's max_sample_bytes")]
    Size {
        /// Of the message.
        bytes: usize,
        /// The limit.
        most: usize,
    },
    /// A time that RTPS cannot carry.
    #[error("{0} ns is no time that RTPS carries: it must lie between 1970 and 2106")]
    Time(i64),
    /// Some reliable reader has not acknowledged as many samples as the window has, so nothing was sent.
    #[error(
        "a subscriber has stopped acknowledging, and nothing was sent: write again later, or with a larger window"
    )]
    WindowFull,
    /// Anything else that the library reports.
    #[error("{what} failed in CycloneDDS: {reason}")]
    Library {
        /// The operation.
        what: &'static str,
        /// The library's text.
        reason: String,
    },
}
