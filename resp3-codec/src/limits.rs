/// What a peer may send before [`Decoder`](crate::Decoder) gives up on it.
///
/// A peer that exceeds a limit costs everybody the connection, so the defaults are beyond what Redis servers send, but
/// for the depth: a Lua script can nest about 8000 arrays, and what is safe on a small stack is less. Lower them where
/// the peer is not trusted: memory held for one frame never exceeds a small multiple of the bytes that arrived for it,
/// and the bytes never exceed `frame_bytes`.
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
    /// The deepest nesting that [`Limits::depth`] can be set to, and its default. Decoding takes no stack, but frames
    /// are dropped, cloned, compared and encoded recursively. At this depth, half a MiB of stack is enough for each of
    /// these, in a build without optimisation as well.
    pub const MAX_DEPTH: usize = 512;

    /// Aggregates inside aggregates, the outermost counting as 1; attributes and streamed strings count too.
    /// Default and maximum: [`Limits::MAX_DEPTH`]. Costs about 100 bytes of decoder state per level in use.
    pub fn depth(self, depth: usize) -> Self {
        Self { depth: depth.min(Self::MAX_DEPTH), ..self }
    }

    /// Bytes between a type byte and the line end that follows it: simple strings, simple errors, numbers and
    /// lengths. Default 512 MiB, as for bulk strings: scripts and modules write errors and statuses of any length.
    pub fn line_bytes(self, bytes: usize) -> Self {
        Self { line_bytes: bytes, ..self }
    }

    /// Bytes of one bulk string, blob error, verbatim string (its format included) or streamed string (in total).
    /// Default 512 MiB, Redis' own `proto-max-bulk-len`.
    pub fn bulk_bytes(self, bytes: usize) -> Self {
        // Nothing larger can be held, and sums with it must not overflow.
        Self { bulk_bytes: bytes.min(isize::MAX as usize / 2), ..self }
    }

    /// Elements within one frame, all levels together; a map entry counts as two. Default 2^32 - 1, as many as a list
    /// or a set of Redis can hold; an element costs 40 bytes of memory beyond its text.
    pub fn elements(self, elements: usize) -> Self {
        Self { elements, ..self }
    }

    /// Wire bytes of one outermost frame, its headers included. Default 1 TiB: a server holds a reply in memory until it
    /// is sent, and three strings of the largest size are more than 1 GiB.
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
            depth: Self::MAX_DEPTH,
            line_bytes: 512 << 20,
            bulk_bytes: 512 << 20,
            elements: u32::MAX as usize,
            frame_bytes: 1 << 40,
        }
    }
}
