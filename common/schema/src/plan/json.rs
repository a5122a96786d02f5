//! CDR to JSON writer: executes the program.

use crate::DecodeError;
use crate::cdr::{Endian, ReadError, Reader};
use crate::error::DecodeErrorKind;
use crate::limits::MAX_JSON_BYTES;
use crate::model::Primitive;
use crate::plan::check_end;
use crate::plan::json_string::{write_base64, write_string};
use crate::plan::program::{Count, Leaf, Op, OpKind, Program, Span};
use crate::plan::sink::{MAX_NUMBER_BYTES, Sink};

/// JSON is this many times as long as CDR when it consists mostly of floats; saves reallocations.
const USUAL_GROWTH: usize = 3;
/// Numbers for which space is reserved at once.
const NUMBERS_AT_ONCE: usize = 256;

/// Reads a number of a type from the front of bytes.
macro_rules! number {
    ($ty:ty, $bytes:expr, $endian:expr) => {{
        let bytes = first($bytes);
        if $endian == Endian::Little { <$ty>::from_le_bytes(bytes) } else { <$ty>::from_be_bytes(bytes) }
    }};
}

/// Appends one message; after an error, part of it may have been appended.
pub(super) fn write(program: &Program, cdr: &[u8], out: &mut Vec<u8>) -> Result<(), DecodeError> {
    let mut reader = Reader::new(cdr)?;
    let max_len = out.len().saturating_add(MAX_JSON_BYTES);
    out.reserve(program.text.len() + USUAL_GROWTH * cdr.len());
    let mut encoder = JsonEncoder { reader: &mut reader, out: Sink::new(out), max_len };
    encoder.program(program)?;
    encoder.out.finish();
    check_end(&reader)
}

struct JsonEncoder<'r, 'a> {
    reader: &'r mut Reader<'a>,
    out: Sink<'r>,
    max_len: usize,
}

impl JsonEncoder<'_, '_> {
    fn program(&mut self, program: &Program) -> Result<(), DecodeError> {
        for op in &program.ops {
            match &op.kind {
                OpKind::Run { align, bytes, leaves, json_bytes } => {
                    self.out.ensure(*json_bytes as usize);
                    let leaves = &program.leaves[leaves.start as usize..leaves.end as usize];
                    self.run(program, usize::from(*align), *bytes as usize, leaves)?;
                }
                kind => {
                    self.out.ensure(op.text.len());
                    self.put(program, op.text);
                    self.varying(kind).map_err(|e| at(program, op, e))?;
                }
            }
        }
        self.out.ensure(program.tail.len());
        self.put(program, program.tail);
        Ok(())
    }

    #[inline]
    fn put(&mut self, program: &Program, span: Span) {
        self.out.piece(&program.text, span.start as usize, span.len());
    }

    fn run(
        &mut self,
        program: &Program,
        align: usize,
        len: usize,
        leaves: &[Leaf],
    ) -> Result<(), DecodeError> {
        self.reader.align(align);
        let left = self.reader.remaining();
        let bytes = self.reader.take(len).map_err(|_| cut_short(program, leaves, left))?;
        let endian = self.reader.endian();
        for leaf in leaves {
            self.put(program, leaf.text);
            let bytes = &bytes[leaf.offset as usize..];
            match leaf.primitive {
                // Tested first: most of the data is float64.
                Some(Primitive::F64) => self.out.float(number!(f64, bytes, endian)),
                Some(p) => write_primitive(p, bytes, endian, &mut self.out),
                None => {}
            }
        }
        Ok(())
    }

    fn varying(&mut self, kind: &OpKind) -> Result<(), DecodeError> {
        match kind {
            OpKind::Run { .. } => {}
            OpKind::String => write_string(self.reader.string_bytes()?, &mut self.out),
            OpKind::WString => write_string(self.reader.wstring()?.as_bytes(), &mut self.out),
            OpKind::Base64(count) => {
                let count = self.count(*count, 1)?;
                write_base64(self.reader.take(count)?, &mut self.out);
            }
            OpKind::Primitives(p, count) => self.primitives(*p, *count)?,
            OpKind::Strings(count) => self.each(*count, 4, |encoder| {
                write_string(encoder.reader.string_bytes()?, &mut encoder.out);
                Ok(())
            })?,
            OpKind::WStrings(count) => self.each(*count, 4, |encoder| {
                write_string(encoder.reader.wstring()?.as_bytes(), &mut encoder.out);
                Ok(())
            })?,
            OpKind::Messages(body, count, min_bytes) => {
                self.each(*count, *min_bytes, |encoder| encoder.program(body))?;
            }
        }
        self.check_size()
    }

    fn primitives(&mut self, p: Primitive, count: Count) -> Result<(), DecodeError> {
        let count = self.count(count, p.bytes() as u64)?;
        self.out.ensure(2);
        self.out.byte(b'[');
        // The wire has no padding in front of an empty array.
        if count > 0 {
            self.reader.align(p.bytes());
            // Padding can use up the space of the last numbers; the error names the first one that is missing.
            let complete = self.reader.remaining() / p.bytes();
            let taken = self.reader.take(count.saturating_mul(p.bytes()));
            let bytes = taken.map_err(|error| DecodeError::from(error).within_index(complete))?;
            let endian = self.reader.endian();
            for some in bytes.chunks(NUMBERS_AT_ONCE * p.bytes()) {
                self.out.ensure(NUMBERS_AT_ONCE * (MAX_NUMBER_BYTES + 1));
                write_primitives(p, some, endian, &mut self.out);
                self.check_size()?;
            }
            // Removes the comma of the last number.
            self.out.back();
        }
        self.out.ensure(1);
        self.out.byte(b']');
        Ok(())
    }

    fn each(
        &mut self,
        count: Count,
        min_bytes: u64,
        mut element: impl FnMut(&mut Self) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError> {
        let count = self.count(count, min_bytes)?;
        self.out.ensure(1);
        self.out.byte(b'[');
        for i in 0..count {
            if i > 0 {
                self.out.ensure(1);
                self.out.byte(b',');
            }
            element(self).map_err(|e| e.within_index(i))?;
            self.check_size()?;
        }
        self.out.ensure(1);
        self.out.byte(b']');
        Ok(())
    }

    /// Number of elements that follow. Rejects counts that the rest of the payload cannot hold.
    fn count(&mut self, count: Count, min_bytes: u64) -> Result<usize, ReadError> {
        let count = match count {
            Count::Fixed(n) => n,
            Count::Read => self.reader.len()?,
        };
        crate::plan::decode::check_room(u64::from(count).saturating_mul(min_bytes), self.reader)?;
        Ok(count as usize)
    }

    #[inline]
    fn check_size(&self) -> Result<(), DecodeError> {
        if self.out.len() > self.max_len {
            return Err(DecodeErrorKind::TooMuchJson(MAX_JSON_BYTES).into());
        }
        Ok(())
    }
}

#[cold]
fn at(program: &Program, op: &Op, error: DecodeError) -> DecodeError {
    error.within(&program.paths[op.path as usize])
}

/// Finds the value of a run in which the payload ends.
#[cold]
fn cut_short(program: &Program, leaves: &[Leaf], left: usize) -> DecodeError {
    let first = leaves.iter().find(|l| (l.offset + l.bytes()) as usize > left);
    let (path, needs, offset) = first
        .map_or(("", 0, 0), |l| (&*program.paths[l.path as usize], u64::from(l.bytes()), l.offset as usize));
    DecodeError::at(path, ReadError::Truncated { needs, left: left.saturating_sub(offset) })
}

/// The first bytes of a slice. Slices are long enough by construction; zeros otherwise.
#[inline]
fn first<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.first_chunk().copied().unwrap_or([0; N])
}

#[inline]
fn write_primitive(p: Primitive, bytes: &[u8], endian: Endian, out: &mut Sink<'_>) {
    match p {
        Primitive::Bool if first::<1>(bytes) == [0] => out.block(b"false\0\0\0", 5),
        Primitive::Bool => out.block(b"true", 4),
        Primitive::Byte | Primitive::U8 => out.integer(number!(u8, bytes, endian)),
        Primitive::I8 => out.integer(number!(i8, bytes, endian)),
        Primitive::U16 => out.integer(number!(u16, bytes, endian)),
        Primitive::I16 => out.integer(number!(i16, bytes, endian)),
        Primitive::U32 => out.integer(number!(u32, bytes, endian)),
        Primitive::I32 => out.integer(number!(i32, bytes, endian)),
        Primitive::U64 => out.integer(number!(u64, bytes, endian)),
        Primitive::I64 => out.integer(number!(i64, bytes, endian)),
        // As the double that a client's parser makes of it, not the shortest single.
        Primitive::F32 => out.float(number!(f32, bytes, endian).into()),
        Primitive::F64 => out.float(number!(f64, bytes, endian)),
    }
}

/// Writes numbers with a comma after each.
fn write_primitives(p: Primitive, bytes: &[u8], endian: Endian, out: &mut Sink<'_>) {
    match p {
        // The most common type of long arrays gets a loop without branches.
        Primitive::F64 => {
            for element in bytes.as_chunks::<8>().0 {
                out.float(number!(f64, element, endian));
                out.byte(b',');
            }
        }
        _ => {
            for element in bytes.chunks_exact(p.bytes()) {
                write_primitive(p, element, endian, out);
                out.byte(b',');
            }
        }
    }
}
