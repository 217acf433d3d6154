use bytes::Bytes;

/// One RESP value, of either version of the protocol.
///
/// Not `#[non_exhaustive]`: the types of RESP are a closed set, and a `match` that covers them all should stay one.
///
/// Strings are slices of the read buffer they arrived in, so a frame keeps that buffer alive, but never one much
/// larger than itself and 64 KiB; [`Frame::compact`] lets go of it.
///
/// `Debug` shows the values, because `unwrap`, `assert_eq!` and `main` print them. It is for developers, and cut to a
/// bounded length; do not log it where replies hold secrets.
#[derive(Clone, PartialEq)]
#[repr(u32)]
pub enum Frame {
    /// `+`: a short text without line ends, such as `OK`.
    Simple(Bytes),
    /// `-`: an error, its code being the first word.
    Error(Bytes),
    /// `:`
    Integer(i64),
    /// `$`: a string of any bytes. The streamed form (`$?`) decodes to the same.
    Bulk(Bytes),
    /// `!`: an error of any bytes.
    BlobError(Bytes),
    /// `,`
    Double(f64),
    /// `(`: an integer of any size, in decimal digits with an optional sign.
    BigNumber(Bytes),
    /// `#`
    Boolean(bool),
    /// `=`: a text that says what it is.
    Verbatim {
        /// `txt`, `mkd` or another three bytes.
        format: [u8; 3],
        /// The text, without the format.
        text: Bytes,
    },
    /// `_`: the null of RESP3.
    Null,
    /// `$-1`: the null string of RESP2.
    NullBulk,
    /// `*-1`: the null array of RESP2.
    NullArray,
    /// `*`. The streamed form (`*?`) decodes to the same.
    Array(Vec<Self>),
    /// `%`: pairs in the order in which they arrived. The streamed form (`%?`) decodes to the same.
    Map(Vec<(Self, Self)>),
    /// `~`: elements in the order in which they arrived. The streamed form (`~?`) decodes to the same.
    Set(Vec<Self>),
    /// `>`: not a reply but something the server says on its own.
    Push(Vec<Self>),
    /// `|`: a frame, and what the server has to say about it.
    Attribute {
        /// What is said about the frame, in the order of arrival.
        attributes: Vec<(Self, Self)>,
        /// The frame as it would be without attributes.
        value: Box<Self>,
    },
}

impl Frame {
    /// A bulk string.
    pub fn bulk(text: impl Into<Bytes>) -> Self {
        Self::Bulk(text.into())
    }

    /// A simple string.
    pub fn simple(text: &'static str) -> Self {
        Self::Simple(Bytes::from_static(text.as_bytes()))
    }

    /// A simple error.
    pub fn error(text: impl Into<Bytes>) -> Self {
        Self::Error(text.into())
    }

    /// Copies every string out of the read buffer it is a slice of. Worth it for frames that are kept for long.
    pub fn compact(self) -> Self {
        let copy = |text: Bytes| Bytes::copy_from_slice(&text);
        let all = |items: Vec<Self>| items.into_iter().map(Self::compact).collect();
        let both =
            |pairs: Vec<(Self, Self)>| pairs.into_iter().map(|(k, v)| (k.compact(), v.compact())).collect();
        match self {
            Self::Simple(text) => Self::Simple(copy(text)),
            Self::Error(text) => Self::Error(copy(text)),
            Self::Bulk(text) => Self::Bulk(copy(text)),
            Self::BlobError(text) => Self::BlobError(copy(text)),
            Self::BigNumber(text) => Self::BigNumber(copy(text)),
            Self::Verbatim { format, text } => Self::Verbatim { format, text: copy(text) },
            Self::Array(items) => Self::Array(all(items)),
            Self::Set(items) => Self::Set(all(items)),
            Self::Push(items) => Self::Push(all(items)),
            Self::Map(pairs) => Self::Map(both(pairs)),
            Self::Attribute { attributes, value } => {
                Self::Attribute { attributes: both(attributes), value: Box::new(value.compact()) }
            }
            plain @ (Self::Integer(_)
            | Self::Double(_)
            | Self::Boolean(_)
            | Self::Null
            | Self::NullBulk
            | Self::NullArray) => plain,
        }
    }

    /// The frame without its attributes, if it has any.
    pub fn without_attributes(self) -> Self {
        match self {
            Self::Attribute { value, .. } => value.without_attributes(),
            other => other,
        }
    }

    /// The bytes of any string: simple, bulk, error, big number, text of a verbatim string.
    pub fn into_bytes(self) -> Option<Bytes> {
        match self {
            Self::Simple(text)
            | Self::Error(text)
            | Self::Bulk(text)
            | Self::BlobError(text)
            | Self::BigNumber(text)
            | Self::Verbatim { text, .. } => Some(text),
            _ => None,
        }
    }

    /// The elements of an array, a set or a push.
    pub fn into_array(self) -> Option<Vec<Self>> {
        match self {
            Self::Array(items) | Self::Set(items) | Self::Push(items) => Some(items),
            _ => None,
        }
    }

    /// Whether this is one of the three nulls.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null | Self::NullBulk | Self::NullArray)
    }

    /// Whether this is an error of either kind.
    pub fn is_error(&self) -> bool {
        matches!(self, Self::Error(_) | Self::BlobError(_))
    }

    /// The bytes of any string: simple, bulk, error, big number, text of a verbatim string.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Simple(text)
            | Self::Error(text)
            | Self::Bulk(text)
            | Self::BlobError(text)
            | Self::BigNumber(text)
            | Self::Verbatim { text, .. } => Some(text),
            _ => None,
        }
    }

    /// [`Frame::as_bytes`] where these are UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        str::from_utf8(self.as_bytes()?).ok()
    }

    /// An integer, or a string that is the decimal text of one.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            _ => self.as_str()?.parse().ok(),
        }
    }

    /// A double, an integer, or a string that is the decimal text of one.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Double(number) => Some(*number),
            Self::Integer(number) => Some(*number as f64),
            _ => self.as_str()?.parse().ok(),
        }
    }

    /// The elements of an array, a set or a push.
    pub fn as_array(&self) -> Option<&[Self]> {
        match self {
            Self::Array(items) | Self::Set(items) | Self::Push(items) => Some(items),
            _ => None,
        }
    }

    /// The pairs of a map.
    pub fn as_map(&self) -> Option<&[(Self, Self)]> {
        match self {
            Self::Map(pairs) => Some(pairs),
            _ => None,
        }
    }
}

const _: () = assert!(size_of::<Frame>() == 40 && size_of::<Option<Frame>>() == 40);
