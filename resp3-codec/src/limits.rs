/// What a peer may send before [`Decoder`](crate::Decoder) gives up on it.
///
/// The defaults accept whatever a Redis server with its own default limits can send. Lower them where the peer is
/// not trusted: memory held for one frame never exceeds a small multiple of the bytes that arrived for it, and the
/// bytes never exceed `frame_bytes`.
///
/// ```
/// use resp3_codec::Limits;
///
/// let limits = Limits::default().bulk_bytes(1 << 20).depth(8);
/// assert_eq!(limits.max_depth(), 8);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub(crate) depth: usize,
    pub(crate) line_bytes: usize,
    pub(crate) bulk_bytes: usize,
    pub(crate) elements: usize,
    pub(crate) frame_bytes: u64,
}

impl Limits {
    /// The deepest nesting that [`Limits::depth`] can be set to: frames are dropped, compared and encoded
    /// recursively, so deeper ones could exhaust the stack of a small thread.
    pub const MAX_DEPTH: usize = 512;

    /// Aggregates inside aggregates, the outermost counting as 1; attributes and streamed strings count too.
    /// Default 64; more costs about 100 bytes of decoder state per level in use. Clamped to [`Limits::MAX_DEPTH`].
    pub fn depth(self, depth: usize) -> Self {
        Self { depth: depth.min(Self::MAX_DEPTH), ..self }
    }

    /// Bytes between a type byte and the line end that follows it: simple strings, simple errors, numbers and
    /// lengths. Default 64 KiB, the longest line that redis-server writes or reads.
    pub fn line_bytes(self, bytes: usize) -> Self {
        Self { line_bytes: bytes, ..self }
    }

    /// Bytes of one bulk string, blob error, verbatim string (its format included) or streamed string (in total).
    /// Default 512 MiB, Redis' own `proto-max-bulk-len`.
    pub fn bulk_bytes(self, bytes: usize) -> Self {
        // Nothing larger can be held, and sums with it must not overflow.
        Self { bulk_bytes: bytes.min(isize::MAX as usize / 2), ..self }
    }

    /// Elements within one frame, all levels together; a map entry counts as two. Default 16 Mi; an element costs
    /// 40 bytes of memory beyond its text.
    pub fn elements(self, elements: usize) -> Self {
        Self { elements, ..self }
    }

    /// Wire bytes of one outermost frame, its headers included. Default 1 GiB.
    pub fn frame_bytes(self, bytes: u64) -> Self {
        Self { frame_bytes: bytes, ..self }
    }

    /// The setting of [`Limits::depth`].
    pub fn max_depth(&self) -> usize {
        self.depth
    }

    /// The setting of [`Limits::line_bytes`].
    pub fn max_line_bytes(&self) -> usize {
        self.line_bytes
    }

    /// The setting of [`Limits::bulk_bytes`].
    pub fn max_bulk_bytes(&self) -> usize {
        self.bulk_bytes
    }

    /// The setting of [`Limits::elements`].
    pub fn max_elements(&self) -> usize {
        self.elements
    }

    /// The setting of [`Limits::frame_bytes`].
    pub fn max_frame_bytes(&self) -> u64 {
        self.frame_bytes
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            depth: 64,
            line_bytes: 64 << 10,
            bulk_bytes: 512 << 20,
            elements: 16 << 20,
            frame_bytes: 1 << 30,
        }
    }
}
