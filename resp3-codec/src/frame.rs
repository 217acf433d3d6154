use bytes::Bytes;

use crate::line;

/// One RESP value, of either version of the protocol.
///
/// Not `#[non_exhaustive]`: the types of RESP are a closed set, and a `match` that covers them all should stay one.
///
/// Strings are slices of the read buffer they arrived in, so a frame keeps that buffer alive, but never one much
/// larger than itself and 64 KiB; [`Frame::compact`] lets go of it.
///
/// `Debug` shows the values, because `unwrap`, `assert_eq!` and `main` print them. It is for developers, and cut to a
/// bounded length; do not log it where replies hold secrets.
#[derive(PartialEq)]
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
    pub fn compact(mut self) -> Self {
        self.copy_strings();
        self
    }

    /// The frame without its attributes, if it has any.
    pub fn without_attributes(mut self) -> Self {
        while let Self::Attribute { value, .. } = self {
            self = *value;
        }
        self
    }

    /// The frame as it would be without attributes: itself, if it has none. All that follow look at this one.
    #[inline]
    pub fn value(&self) -> &Self {
        let mut frame = self;
        while let Self::Attribute { value, .. } = frame {
            frame = value;
        }
        frame
    }

    /// The bytes of any string: simple, bulk, error, big number, text of a verbatim string.
    pub fn into_bytes(self) -> Option<Bytes> {
        match self.without_attributes() {
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
        match self.without_attributes() {
            Self::Array(items) | Self::Set(items) | Self::Push(items) => Some(items),
            _ => None,
        }
    }

    /// Whether this is one of the three nulls.
    pub fn is_null(&self) -> bool {
        matches!(self.value(), Self::Null | Self::NullBulk | Self::NullArray)
    }

    /// Whether this is an error of either kind.
    #[inline]
    pub fn is_error(&self) -> bool {
        self.as_error().is_some()
    }

    /// Whether this is something that the server says on its own.
    #[inline]
    pub fn is_push(&self) -> bool {
        matches!(self.value(), Self::Push(_))
    }

    /// The text of an error of either kind, its code being the first word.
    #[inline]
    pub fn as_error(&self) -> Option<&[u8]> {
        match self.value() {
            Self::Error(text) | Self::BlobError(text) => Some(text),
            _ => None,
        }
    }

    /// The bytes of any string: simple, bulk, error, big number, text of a verbatim string.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self.value() {
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
        match self.value() {
            Self::Integer(number) => Some(*number),
            _ => self.as_str()?.parse().ok(),
        }
    }

    /// A double, an integer, or a string that is the text of one, as a server that speaks RESP2 sends doubles.
    pub fn as_f64(&self) -> Option<f64> {
        match self.value() {
            Self::Double(number) => Some(*number),
            Self::Integer(number) => Some(*number as f64),
            _ => line::double(self.as_bytes()?),
        }
    }

    /// The elements of an array, a set or a push.
    pub fn as_array(&self) -> Option<&[Self]> {
        match self.value() {
            Self::Array(items) | Self::Set(items) | Self::Push(items) => Some(items),
            _ => None,
        }
    }

    /// The pairs of a map, which only a server that speaks RESP3 sends. [`Frame::pairs`] reads what others send in its place as well.
    pub fn as_map(&self) -> Option<&[(Self, Self)]> {
        match self.value() {
            Self::Map(pairs) => Some(pairs),
            _ => None,
        }
    }

    /// The pairs of what stands for a map: a map, an array of an even number of elements (HGETALL in RESP2), or an array of arrays of
    /// two (ZRANGE WITHSCORES in RESP3, XREAD in RESP2). `None` for everything else. That an array is meant to be pairs only the caller
    /// knows: any list of even length reads as some.
    ///
    /// ```
    /// use resp3_codec::Frame;
    ///
    /// let [name, ann] = [Frame::bulk("name"), Frame::bulk("ann")];
    /// let resp2 = Frame::Array(vec![name.clone(), ann.clone()]);
    /// let resp3 = Frame::Map(vec![(name.clone(), ann.clone())]);
    /// for reply in [resp2, resp3] {
    ///     let pairs: Vec<_> = reply.pairs().into_iter().flatten().collect();
    ///     assert_eq!(pairs, [(&name, &ann)]);
    /// }
    /// ```
    pub fn pairs(&self) -> Option<impl Iterator<Item = (&Self, &Self)>> {
        let (pairs, items): (&[(Self, Self)], &[Self]) = match self.value() {
            Self::Map(pairs) => (pairs, &[]),
            Self::Array(items) => (&[], items),
            _ => return None,
        };
        let nested = || items.iter().filter_map(Self::as_pair);
        let is_nested = nested().count() == items.len();
        let flat = if is_nested { &[] } else { items };
        let pairs = pairs
            .iter()
            .map(|(key, value)| (key, value))
            .chain(flat.chunks_exact(2).map(|pair| (&pair[0], &pair[1])));
        flat.len().is_multiple_of(2).then(|| pairs.chain(nested().filter(move |_| is_nested)))
    }

    fn as_pair(&self) -> Option<(&Self, &Self)> {
        match self.value() {
            Self::Array(items) => match &items[..] {
                [key, value] => Some((key, value)),
                _ => None,
            },
            _ => None,
        }
    }

    fn copy_strings(&mut self) {
        match self {
            Self::Simple(text)
            | Self::Error(text)
            | Self::Bulk(text)
            | Self::BlobError(text)
            | Self::BigNumber(text)
            | Self::Verbatim { text, .. } => *text = Bytes::copy_from_slice(text),
            Self::Array(items) | Self::Set(items) | Self::Push(items) => {
                for item in items {
                    item.copy_strings();
                }
            }
            Self::Map(pairs) => Self::copy_strings_of_pairs(pairs),
            Self::Attribute { attributes, value } => {
                Self::copy_strings_of_pairs(attributes);
                value.copy_strings();
            }
            Self::Integer(_)
            | Self::Double(_)
            | Self::Boolean(_)
            | Self::Null
            | Self::NullBulk
            | Self::NullArray => {}
        }
    }

    fn copy_strings_of_pairs(pairs: &mut [(Self, Self)]) {
        for (key, value) in pairs {
            key.copy_strings();
            value.copy_strings();
        }
    }
}

/// Not derived: in a debug build, what is derived takes a kilobyte of stack for each level of nesting.
impl Clone for Frame {
    fn clone(&self) -> Self {
        match self {
            Self::Simple(text) => Self::Simple(text.clone()),
            Self::Error(text) => Self::Error(text.clone()),
            Self::Integer(number) => Self::Integer(*number),
            Self::Bulk(text) => Self::Bulk(text.clone()),
            Self::BlobError(text) => Self::BlobError(text.clone()),
            Self::Double(number) => Self::Double(*number),
            Self::BigNumber(text) => Self::BigNumber(text.clone()),
            Self::Boolean(truth) => Self::Boolean(*truth),
            Self::Verbatim { format, text } => Self::Verbatim { format: *format, text: text.clone() },
            Self::Null => Self::Null,
            Self::NullBulk => Self::NullBulk,
            Self::NullArray => Self::NullArray,
            Self::Array(items) => Self::Array(clone_items(items)),
            Self::Map(pairs) => Self::Map(clone_pairs(pairs)),
            Self::Set(items) => Self::Set(clone_items(items)),
            Self::Push(items) => Self::Push(clone_items(items)),
            Self::Attribute { attributes, value } => {
                Self::Attribute { attributes: clone_pairs(attributes), value: value.clone() }
            }
        }
    }
}

fn clone_items(items: &[Frame]) -> Vec<Frame> {
    let mut clones = Vec::with_capacity(items.len());
    for item in items {
        clones.push(item.clone());
    }
    clones
}

fn clone_pairs(pairs: &[(Frame, Frame)]) -> Vec<(Frame, Frame)> {
    let mut clones = Vec::with_capacity(pairs.len());
    for (key, value) in pairs {
        clones.push((key.clone(), value.clone()));
    }
    clones
}

const _: () = assert!(size_of::<Frame>() == 40 && size_of::<Option<Frame>>() == 40);
