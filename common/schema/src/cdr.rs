//! Plain CDR as ROS 2 uses it on the wire: a writer for building messages by hand and a
//! bounds-checked reader.
//!
//! Both count alignment from the first byte after the four-byte encapsulation header, as every ROS
//! 2 middleware does.

mod reader;
mod writer;

pub use crate::cdr::reader::{Endian, ReadError, Reader};
pub use crate::cdr::writer::Writer;

/// Bytes of the encapsulation header in front of every payload.
pub const HEADER_BYTES: usize = 4;

/// Bytes between `position` and the next multiple of `align` (a power of two).
#[inline]
pub(crate) const fn padding(position: usize, align: usize) -> usize {
    position.wrapping_neg() & (align - 1)
}
