//! Bounds-checked reader for CDR payloads of either byte order.

use crate::cdr::{HEADER_BYTES, padding};

/// Byte order of a payload, from its encapsulation header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endian {
    /// `00 00`
    Big,
    /// `00 01`
    Little,
}

/// Why bytes could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The payload ends before the value does.
    #[error("needs {needs} bytes, {left} are left")]
    Truncated {
        /// Bytes that the value takes.
        needs: u64,
        /// Bytes that the payload still has.
        left: usize,
    },
    /// Shorter than the encapsulation header.
    #[error("{0} bytes are too few for a CDR header")]
    NoHeader(usize),
    /// An encapsulation that ROS 2 does not use for its messages.
    #[error("encapsulation {0:02x} {1:02x} is not plain CDR (00 00 or 00 01)")]
    Encapsulation(u8, u8),
}

/// A cursor over one payload.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    /// The payload after its header; alignment counts from here.
    body: &'a [u8],
    position: usize,
    endian: Endian,
}

/// One method for each fixed-size number.
macro_rules! number {
    ($($name:ident: $ty:ty, $doc:literal;)*) => {$(
        #[doc = $doc]
        ///
        /// # Errors
        /// When too few bytes are left.
        #[inline]
        pub fn $name(&mut self) -> Result<$ty, ReadError> {
            let bytes = self.fixed::<{ size_of::<$ty>() }>()?;
            Ok(match self.endian {
                Endian::Little => <$ty>::from_le_bytes(bytes),
                Endian::Big => <$ty>::from_be_bytes(bytes),
            })
        }
    )*};
}

#[expect(clippy::len_without_is_empty, reason = "`len` reads a count, it does not describe the cursor")]
impl<'a> Reader<'a> {
    /// Checks the header and positions the reader at the first field.
    ///
    /// # Errors
    /// When there is no header or it does not declare plain CDR.
    pub fn new(cdr: &'a [u8]) -> Result<Self, ReadError> {
        let (header, body) = cdr.split_at_checked(HEADER_BYTES).ok_or(ReadError::NoHeader(cdr.len()))?;
        let endian = match (header[0], header[1]) {
            (0, 0) => Endian::Big,
            (0, 1) => Endian::Little,
            (a, b) => return Err(ReadError::Encapsulation(a, b)),
        };
        Ok(Self { body, position: 0, endian })
    }

    /// The byte order that the header declared.
    #[must_use]
    pub fn endian(&self) -> Endian {
        self.endian
    }

    /// Bytes that have not been read yet.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.body.len() - self.position
    }

    number! {
        u8: u8, "Reads a `uint8`, `byte` or `char`.";
        i8: i8, "Reads an `int8`.";
        u16: u16, "Reads a `uint16`.";
        i16: i16, "Reads an `int16`.";
        u32: u32, "Reads a `uint32`.";
        i32: i32, "Reads an `int32`.";
        u64: u64, "Reads a `uint64`.";
        i64: i64, "Reads an `int64`.";
        f32: f32, "Reads a `float32`.";
        f64: f64, "Reads a `float64`.";
    }

    /// Reads a `bool`; any non-zero byte is true.
    ///
    /// # Errors
    /// When no byte is left.
    #[inline]
    pub fn bool(&mut self) -> Result<bool, ReadError> {
        Ok(self.u8()? != 0)
    }

    /// Reads the element count of a sequence. The count is not trustworthy: check it against
    /// [`Reader::remaining`] before allocating.
    ///
    /// # Errors
    /// When too few bytes are left for the count itself.
    #[inline]
    pub fn len(&mut self) -> Result<u32, ReadError> {
        self.u32()
    }

    /// Reads a `string` without its terminator; the bytes need not be UTF-8.
    ///
    /// # Errors
    /// When the payload ends inside it.
    #[inline]
    pub fn string_bytes(&mut self) -> Result<&'a [u8], ReadError> {
        let bytes = self.bytes_seq()?;
        // The terminator is counted. Some writers omit it from an empty string.
        Ok(bytes.strip_suffix(&[0]).unwrap_or(bytes))
    }

    /// Reads a `wstring` as Fast CDR writes it; lone surrogates become U+FFFD.
    ///
    /// # Errors
    /// When the payload ends inside it.
    pub fn wstring(&mut self) -> Result<String, ReadError> {
        let units = self.u32()? as usize;
        let bytes = self.take(units.saturating_mul(4))?;
        let little = self.endian == Endian::Little;
        let units = bytes.chunks_exact(4).map(|c| {
            let wide = [c[0], c[1], c[2], c[3]];
            let wide = if little { u32::from_le_bytes(wide) } else { u32::from_be_bytes(wide) };
            u16::try_from(wide).unwrap_or(0xfffd)
        });
        Ok(char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect())
    }

    /// Reads a `uint8[]` or `byte[]`.
    ///
    /// # Errors
    /// When the payload ends inside it.
    #[inline]
    pub fn bytes_seq(&mut self) -> Result<&'a [u8], ReadError> {
        let count = self.u32()? as usize;
        self.take(count)
    }

    /// Takes the next `count` bytes verbatim.
    ///
    /// # Errors
    /// When fewer are left; nothing is consumed then.
    #[inline]
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], ReadError> {
        let rest = &self.body[self.position..];
        let Some(taken) = rest.get(..count) else {
            return Err(ReadError::Truncated { needs: count as u64, left: rest.len() });
        };
        self.position += count;
        Ok(taken)
    }

    /// Skips to the next multiple of `align` (1, 2, 4 or 8). The payload may end before it; the
    /// next read then reports the error.
    #[inline]
    pub fn align(&mut self, align: usize) {
        let pad = padding(self.position, align);
        self.position = (self.position + pad).min(self.body.len());
    }

    #[inline]
    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], ReadError> {
        self.align(N);
        let rest = &self.body[self.position..];
        let Some(bytes) = rest.first_chunk::<N>() else {
            return Err(ReadError::Truncated { needs: N as u64, left: rest.len() });
        };
        self.position += N;
        Ok(*bytes)
    }
}
