use thiserror::Error;

/// The peer sent something that is not RESP, or more of it than the [`Limits`](crate::Limits) allow.
///
/// Always the peer's fault and fatal to the stream: where the next frame begins is unknown. Carries no payload, so
/// it may be logged.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{} (byte {} of the stream)", self.kind(), self.offset())]
pub struct DecodeError {
    // Boxed, for results that fit into registers where there is no error.
    fault: Box<(DecodeErrorKind, u64)>,
}

impl DecodeError {
    pub(crate) fn new(kind: DecodeErrorKind, offset: u64) -> Self {
        Self { fault: Box::new((kind, offset)) }
    }

    /// What was wrong.
    pub fn kind(&self) -> DecodeErrorKind {
        self.fault.0
    }

    /// Where: bytes of the stream before the one that was wrong; for a limit, the byte at which it is seen to be
    /// exceeded.
    pub fn offset(&self) -> u64 {
        self.fault.1
    }
}

/// What was wrong with the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeErrorKind {
    /// No RESP type begins with this byte.
    #[error("unknown type byte 0x{0:02x}")]
    UnknownType(u8),
    /// A line holds a CR or LF that is not part of its end, or does not end where it must.
    #[error("expected CR LF at the end of a line")]
    LineEnd,
    /// A bulk string, blob error, verbatim string or chunk is not followed by CR LF.
    #[error("expected CR LF after a string of announced length")]
    StringEnd,
    /// Not a decimal integer.
    #[error("expected a decimal integer")]
    Integer,
    /// An integer that does not fit into 64 bits, signed.
    #[error("integer out of the 64-bit range")]
    IntegerRange,
    /// Not a length: negative where no null exists, or not decimal.
    #[error("expected a length")]
    Length,
    /// Not a floating-point number, an infinity or NaN.
    #[error("expected a floating-point number")]
    Double,
    /// Neither `t` nor `f`.
    #[error("expected a boolean, `t` or `f`")]
    Boolean,
    /// A big number that is not an optional sign and decimal digits.
    #[error("expected the decimal digits of a big number")]
    BigNumber,
    /// A verbatim string without the three bytes and the colon that name its format.
    #[error("expected the format of a verbatim string")]
    Verbatim,
    /// `.` where no streamed aggregate is open, or between a key and its value.
    #[error("end of a streamed aggregate where none can end")]
    End,
    /// `;` outside a streamed string, or something else inside one.
    #[error("a chunk of a streamed string outside one, or none inside")]
    Chunk,
    /// The frame is larger than the decoder was told to accept.
    #[error("limit exceeded: {limit}, at most {allowed}")]
    Limit {
        /// Which limit.
        limit: Limit,
        /// Its setting.
        allowed: u64,
    },
}

/// The limits of [`Limits`](crate::Limits), as named in an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum Limit {
    /// [`Limits::depth`](crate::Limits::depth).
    #[error("nesting depth")]
    Depth,
    /// [`Limits::line_bytes`](crate::Limits::line_bytes).
    #[error("bytes of a line")]
    LineBytes,
    /// [`Limits::bulk_bytes`](crate::Limits::bulk_bytes).
    #[error("bytes of a bulk string")]
    BulkBytes,
    /// [`Limits::elements`](crate::Limits::elements).
    #[error("elements of a frame")]
    Elements,
    /// [`Limits::frame_bytes`](crate::Limits::frame_bytes).
    #[error("bytes of a frame")]
    FrameBytes,
}
