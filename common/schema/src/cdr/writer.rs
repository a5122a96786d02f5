//! Writer for little-endian CDR payloads.

use crate::cdr::{HEADER_BYTES, padding};

/// Writes one message, field by field, in declaration order.
///
/// ```
/// let mut w = roverline_schema::cdr::Writer::new();
/// w.i32(12).u32(500).string("map");
/// assert_eq!(w.finish().len(), 4 + 4 + 4 + 4 + 4);
/// ```
#[derive(Clone, Debug)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Default for Writer {
    fn default() -> Self {
        Self::new()
    }
}

/// One method for each fixed-size number: align to its own size, then append it.
macro_rules! number {
    ($($name:ident: $ty:ty, $doc:literal;)*) => {$(
        #[doc = $doc]
        #[inline]
        pub fn $name(&mut self, v: $ty) -> &mut Self {
            self.align(size_of::<$ty>());
            self.bytes.extend_from_slice(&v.to_le_bytes());
            self
        }
    )*};
}

impl Writer {
    /// Starts a message with the little-endian plain CDR header.
    #[must_use]
    pub fn new() -> Self {
        Self::with_capacity(60)
    }

    /// Like [`Writer::new`], with capacity for `payload` bytes after the header.
    #[must_use]
    pub fn with_capacity(payload: usize) -> Self {
        let mut bytes = Vec::with_capacity(HEADER_BYTES + payload);
        bytes.extend_from_slice(&[0, 1, 0, 0]);
        Self { bytes }
    }

    number! {
        u8: u8, "Appends a `uint8`, `byte` or `char`.";
        i8: i8, "Appends an `int8`.";
        u16: u16, "Appends a `uint16`.";
        i16: i16, "Appends an `int16`.";
        u32: u32, "Appends a `uint32`.";
        i32: i32, "Appends an `int32`.";
        u64: u64, "Appends a `uint64`.";
        i64: i64, "Appends an `int64`.";
        f32: f32, "Appends a `float32`.";
        f64: f64, "Appends a `float64`.";
    }

    /// Appends a `bool`.
    pub fn bool(&mut self, v: bool) -> &mut Self {
        self.u8(u8::from(v))
    }

    /// Appends the element count that precedes the elements of a sequence.
    pub fn len(&mut self, count: u32) -> &mut Self {
        self.u32(count)
    }

    /// Appends a `string`: its length with the terminator, its bytes, the terminator.
    pub fn string(&mut self, v: &str) -> &mut Self {
        self.count(v.len().saturating_add(1));
        self.bytes.extend_from_slice(v.as_bytes());
        self.u8(0)
    }

    /// Appends a `wstring` as Fast CDR writes it: the number of UTF-16 units, then four bytes each.
    pub fn wstring(&mut self, v: &str) -> &mut Self {
        self.count(v.encode_utf16().count());
        for unit in v.encode_utf16() {
            self.u32(u32::from(unit));
        }
        self
    }

    /// Appends a `uint8[]` or `byte[]`.
    pub fn bytes_seq(&mut self, v: &[u8]) -> &mut Self {
        self.count(v.len()).raw(v)
    }

    /// Appends bytes verbatim, with neither count nor alignment (a `uint8[N]`).
    pub fn raw(&mut self, v: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(v);
        self
    }

    /// Appends a `float64[]`.
    pub fn f64_seq(&mut self, v: &[f64]) -> &mut Self {
        self.count(v.len());
        for x in v {
            self.f64(*x);
        }
        self
    }

    /// Appends a `float32[]`.
    pub fn f32_seq(&mut self, v: &[f32]) -> &mut Self {
        self.count(v.len());
        for x in v {
            self.f32(*x);
        }
        self
    }

    /// Appends a `string[]`.
    pub fn string_seq<S: AsRef<str>>(&mut self, v: &[S]) -> &mut Self {
        self.count(v.len());
        for s in v {
            self.string(s.as_ref());
        }
        self
    }

    /// The finished payload, header included.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }

    /// A count as the wire represents it. Nothing in memory that the gateway accepts is 4 GiB long,
    /// so saturation is unreachable in practice, and readers would report it as truncation.
    fn count(&mut self, n: usize) -> &mut Self {
        self.u32(u32::try_from(n).unwrap_or(u32::MAX))
    }

    /// Pads to a multiple of `align` (1, 2, 4 or 8).
    pub(crate) fn align_to(&mut self, align: usize) -> &mut Self {
        self.align(align);
        self
    }

    /// Bytes written so far, header included.
    pub(crate) fn written(&self) -> usize {
        self.bytes.len()
    }

    #[inline]
    fn align(&mut self, align: usize) {
        let pad = padding(self.bytes.len() - HEADER_BYTES, align);
        self.bytes.extend_from_slice(&[0_u8; 8][..pad]);
    }
}
