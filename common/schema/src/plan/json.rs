//! CDR to JSON, along the program.

use super::check_end;
use super::float::{write_f64, write_integer};
use super::program::{Count, Leaf, Op, OpKind, Program, Span};
use super::text::{write_base64, write_string};
use crate::DecodeError;
use crate::cdr::{Endian, ReadError, Reader};
use crate::error::DecodeErrorKind;
use crate::limits::MAX_JSON_BYTES;
use crate::model::Primitive;

/// JSON is this many times as long as CDR when it is mostly floats; saves growing in steps.
const USUAL_GROWTH: usize = 3;

/// Appends one message; on errors something may have been appended too.
pub(super) fn write(program: &Program, cdr: &[u8], out: &mut Vec<u8>) -> Result<(), DecodeError> {
    let mut reader = Reader::new(cdr)?;
    out.reserve(program.text.len() + USUAL_GROWTH * cdr.len());
    let max_len = out.len().saturating_add(MAX_JSON_BYTES);
    Job { reader: &mut reader, out, max_len }.program(program)?;
    check_end(&reader)
}

struct Job<'r, 'a> {
    reader: &'r mut Reader<'a>,
    out: &'r mut Vec<u8>,
    max_len: usize,
}

impl Job<'_, '_> {
    fn program(&mut self, program: &Program) -> Result<(), DecodeError> {
        for op in &program.ops {
            self.put(program, op.text);
            match &op.kind {
                OpKind::Run { align, bytes, leaves } => {
                    let leaves = &program.leaves[leaves.start as usize..leaves.end as usize];
                    self.run(program, usize::from(*align), *bytes as usize, leaves)?;
                }
                kind => self.varying(kind).map_err(|e| at(program, op, e))?,
            }
        }
        self.put(program, program.tail);
        Ok(())
    }

    #[inline]
    fn put(&mut self, program: &Program, span: Span) {
        self.out.extend_from_slice(&program.text[span.start as usize..span.end as usize]);
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
            if let Some(p) = leaf.primitive {
                write_primitive(p, &bytes[leaf.offset as usize..], endian, self.out);
            }
        }
        Ok(())
    }

    fn varying(&mut self, kind: &OpKind) -> Result<(), DecodeError> {
        match kind {
            OpKind::Run { .. } => {}
            OpKind::String => write_string(self.reader.string_bytes()?, self.out),
            OpKind::WString => write_string(self.reader.wstring()?.as_bytes(), self.out),
            OpKind::Base64(count) => {
                let count = self.count(*count, 1)?;
                write_base64(self.reader.take(count)?, self.out);
            }
            OpKind::Primitives(p, count) => self.primitives(*p, *count)?,
            OpKind::Strings(count) => self.each(*count, 4, |job| {
                write_string(job.reader.string_bytes()?, job.out);
                Ok(())
            })?,
            OpKind::WStrings(count) => self.each(*count, 4, |job| {
                write_string(job.reader.wstring()?.as_bytes(), job.out);
                Ok(())
            })?,
            OpKind::Messages(body, count, min_bytes) => {
                self.each(*count, *min_bytes, |job| job.program(body))?;
            }
        }
        if self.out.len() > self.max_len {
            return Err(DecodeErrorKind::TooMuchJson(MAX_JSON_BYTES).into());
        }
        Ok(())
    }

    fn primitives(&mut self, p: Primitive, count: Count) -> Result<(), DecodeError> {
        let count = self.count(count, p.bytes() as u64)?;
        self.out.push(b'[');
        // The wire has no padding in front of nothing.
        if count > 0 {
            self.reader.align(p.bytes());
            let bytes = self.reader.take(count.saturating_mul(p.bytes()))?;
            let endian = self.reader.endian();
            for (i, element) in bytes.chunks_exact(p.bytes()).enumerate() {
                if i > 0 {
                    self.out.push(b',');
                }
                write_primitive(p, element, endian, self.out);
            }
        }
        self.out.push(b']');
        Ok(())
    }

    fn each(
        &mut self,
        count: Count,
        min_bytes: u64,
        mut element: impl FnMut(&mut Self) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError> {
        let count = self.count(count, min_bytes)?;
        self.out.push(b'[');
        for i in 0..count {
            if i > 0 {
                self.out.push(b',');
            }
            element(self).map_err(|e| e.within_index(i))?;
            if self.out.len() > self.max_len {
                return Err(DecodeErrorKind::TooMuchJson(MAX_JSON_BYTES).into());
            }
        }
        self.out.push(b']');
        Ok(())
    }

    /// How many elements follow. Claims that the rest of the payload cannot hold end here.
    fn count(&mut self, count: Count, min_bytes: u64) -> Result<usize, ReadError> {
        let count = match count {
            Count::Fixed(n) => n,
            Count::Read => self.reader.len()?,
        };
        super::decode::check_room(u64::from(count).saturating_mul(min_bytes), self.reader)?;
        Ok(count as usize)
    }
}

#[cold]
fn at(program: &Program, op: &Op, error: DecodeError) -> DecodeError {
    error.within(&program.paths[op.path as usize])
}

/// Finds out which value of a run the payload ends in.
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
fn write_primitive(p: Primitive, bytes: &[u8], endian: Endian, out: &mut Vec<u8>) {
    macro_rules! number {
        ($ty:ty) => {{
            let bytes = first(bytes);
            if endian == Endian::Little { <$ty>::from_le_bytes(bytes) } else { <$ty>::from_be_bytes(bytes) }
        }};
    }
    match p {
        Primitive::Bool => {
            out.extend_from_slice(if first::<1>(bytes) == [0] { b"false" } else { b"true" });
        }
        Primitive::Byte | Primitive::U8 => write_integer(number!(u8), out),
        Primitive::I8 => write_integer(number!(i8), out),
        Primitive::U16 => write_integer(number!(u16), out),
        Primitive::I16 => write_integer(number!(i16), out),
        Primitive::U32 => write_integer(number!(u32), out),
        Primitive::I32 => write_integer(number!(i32), out),
        Primitive::U64 => write_integer(number!(u64), out),
        Primitive::I64 => write_integer(number!(i64), out),
        // As the double that a client's parser makes of it, not the shortest single.
        Primitive::F32 => write_f64(number!(f32).into(), out),
        Primitive::F64 => write_f64(number!(f64), out),
    }
}
