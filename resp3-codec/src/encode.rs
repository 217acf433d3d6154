//! Frames to bytes.

use std::fmt;
use std::io::Write;

use bytes::{BufMut, BytesMut};

use crate::frame::Frame;

impl Frame {
    /// Appends the frame as it goes over the wire: the RESP3 types as RESP3, the nulls of RESP2 as RESP2.
    ///
    /// A line end inside a simple string, error or big number would end it early; it is written as a space, as
    /// redis-server does.
    pub fn encode(&self, buf: &mut BytesMut) {
        match self {
            Self::Simple(text) => line(buf, b'+', text),
            Self::Error(text) => line(buf, b'-', text),
            Self::BigNumber(text) => line(buf, b'(', text),
            Self::Integer(number) => integer(buf, *number),
            Self::Bulk(text) => blob(buf, b'$', text),
            Self::BlobError(text) => blob(buf, b'!', text),
            Self::Double(number) => double(buf, *number),
            Self::Boolean(true) => buf.put_slice(b"#t\r\n"),
            Self::Boolean(false) => buf.put_slice(b"#f\r\n"),
            Self::Verbatim { format, text } => {
                head(buf, b'=', text.len() + 4);
                buf.put_slice(format);
                buf.put_u8(b':');
                buf.put_slice(text);
                buf.put_slice(b"\r\n");
            }
            Self::Null => buf.put_slice(b"_\r\n"),
            Self::NullBulk => buf.put_slice(b"$-1\r\n"),
            Self::NullArray => buf.put_slice(b"*-1\r\n"),
            Self::Array(items) => elements(buf, b'*', items),
            Self::Set(items) => elements(buf, b'~', items),
            Self::Push(items) => elements(buf, b'>', items),
            Self::Map(entries) => pairs(buf, b'%', entries),
            Self::Attribute { attributes, value } => {
                pairs(buf, b'|', attributes);
                value.encode(buf);
            }
        }
    }
}

/// Ends a streamed aggregate.
const END: &[u8] = b".\r\n";

impl Frame {
    /// Appends the frame without announcing lengths wherever RESP3 allows that: bulk strings in chunks of `chunk`
    /// bytes, arrays, sets and maps with an end mark. For servers that do not know them in advance, and for testing
    /// clients.
    ///
    /// # Panics
    ///
    /// When `chunk` is 0.
    pub fn encode_streamed(&self, buf: &mut BytesMut, chunk: usize) {
        match self {
            Self::Bulk(text) => {
                buf.put_slice(b"$?\r\n");
                text.chunks(chunk).for_each(|chunk| blob(buf, b';', chunk));
                buf.put_slice(b";0\r\n");
            }
            Self::Array(items) => streamed_elements(buf, b'*', items, chunk),
            Self::Set(items) => streamed_elements(buf, b'~', items, chunk),
            Self::Map(entries) => {
                buf.put_slice(b"%?\r\n");
                streamed_pairs(buf, entries, chunk);
                buf.put_slice(END);
            }
            Self::Push(items) => {
                head(buf, b'>', items.len());
                items.iter().for_each(|item| item.encode_streamed(buf, chunk));
            }
            Self::Attribute { attributes, value } => {
                head(buf, b'|', attributes.len());
                streamed_pairs(buf, attributes, chunk);
                value.encode_streamed(buf, chunk);
            }
            _ => self.encode(buf),
        }
    }
}

fn streamed_elements(buf: &mut BytesMut, tag: u8, items: &[Frame], chunk: usize) {
    buf.put_slice(&[tag, b'?', b'\r', b'\n']);
    items.iter().for_each(|item| item.encode_streamed(buf, chunk));
    buf.put_slice(END);
}

fn streamed_pairs(buf: &mut BytesMut, entries: &[(Frame, Frame)], chunk: usize) {
    for (key, value) in entries {
        key.encode_streamed(buf, chunk);
        value.encode_streamed(buf, chunk);
    }
}

fn elements(buf: &mut BytesMut, tag: u8, items: &[Frame]) {
    head(buf, tag, items.len());
    for item in items {
        item.encode(buf);
    }
}

fn pairs(buf: &mut BytesMut, tag: u8, entries: &[(Frame, Frame)]) {
    head(buf, tag, entries.len());
    for (key, value) in entries {
        key.encode(buf);
        value.encode(buf);
    }
}

fn line(buf: &mut BytesMut, tag: u8, text: &[u8]) {
    buf.reserve(text.len() + 3);
    buf.put_u8(tag);
    let from = buf.len();
    buf.put_slice(text);
    for byte in &mut buf[from..] {
        if matches!(byte, b'\r' | b'\n') {
            *byte = b' ';
        }
    }
    buf.put_slice(b"\r\n");
}

fn blob(buf: &mut BytesMut, tag: u8, text: &[u8]) {
    buf.reserve(text.len() + MAX_HEAD + 2);
    head(buf, tag, text.len());
    buf.put_slice(text);
    buf.put_slice(b"\r\n");
}

fn integer(buf: &mut BytesMut, number: i64) {
    buf.put_u8(b':');
    if number < 0 {
        buf.put_u8(b'-');
    }
    decimal(buf, number.unsigned_abs());
    buf.put_slice(b"\r\n");
}

fn double(buf: &mut BytesMut, number: f64) {
    buf.put_u8(b',');
    float(buf, number);
    buf.put_slice(b"\r\n");
}

/// The shortest text that reads back as the same `f64` or `f32`; `inf`, `-inf`, `nan`.
pub(crate) fn float(buf: &mut impl BufMut, number: impl fmt::Debug) {
    let mut text = [0u8; 40];
    let mut rest = &mut text[..];
    // `{:?}` switches to exponents where `{}` would write hundreds of zeros. Forty bytes hold any f64.
    let _ = write!(rest, "{number:?}");
    let len = 40 - rest.len();
    match &text[..len] {
        b"NaN" => buf.put_slice(b"nan"),
        text => buf.put_slice(text.strip_suffix(b".0").unwrap_or(text)),
    }
}

/// The longest `head`: tag, twenty digits, CR LF.
pub(crate) const MAX_HEAD: usize = 23;

/// `tag`, a number, CR LF.
#[inline(always)]
pub(crate) fn head(buf: &mut impl BufMut, tag: u8, number: usize) {
    match number {
        0..10 => buf.put_slice(&[tag, b'0' + number as u8, b'\r', b'\n']),
        10..100 => {
            let (tens, ones) = (number as u8 / 10, number as u8 % 10);
            buf.put_slice(&[tag, b'0' + tens, b'0' + ones, b'\r', b'\n']);
        }
        _ => long_head(buf, tag, number),
    }
}

fn long_head(buf: &mut impl BufMut, tag: u8, number: usize) {
    buf.put_u8(tag);
    decimal(buf, number as u64);
    buf.put_slice(b"\r\n");
}

pub(crate) fn decimal(buf: &mut impl BufMut, number: u64) {
    let mut digits = [0; 20];
    buf.put_slice(decimal_digits(&mut digits, number));
}

/// The decimal digits of `number`, at the end of `digits`.
pub(crate) fn decimal_digits(digits: &mut [u8; 20], mut number: u64) -> &[u8] {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &digits[at..];
        }
    }
}
