//! What a lookup or a socket failed with: kind, words and place.

use std::fmt;
use std::io;
use std::sync::Arc;

/// An error of the system, or of a connector or resolver of your own, as values: its kind and its words, and where it
/// happened.
///
/// Made from an [`io::Error`] it keeps the words, such as `Connection refused (os error 111)`; made from an
/// [`io::ErrorKind`] it has those of the kind. The machines add the place: the address that was dialled, or the host name
/// that was looked up.
///
/// ```
/// use std::io;
///
/// use hitless_core::error::SystemError;
///
/// let error = SystemError::from(io::Error::from_raw_os_error(24));
/// assert!(error.to_string().contains("open files"), "{error}");
/// assert_eq!(SystemError::from(io::ErrorKind::NotFound).kind(), io::ErrorKind::NotFound);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SystemError {
    kind: io::ErrorKind,
    /// `None` for the words of the kind.
    text: Option<Arc<str>>,
    place: Option<Arc<str>>,
}

impl SystemError {
    /// Says where it happened, unless that is known.
    pub(crate) fn at(&mut self, place: &impl fmt::Display) {
        self.place.get_or_insert_with(|| place.to_string().into());
    }

    /// What kind of error it is.
    #[must_use]
    pub fn kind(&self) -> io::ErrorKind {
        self.kind
    }

    /// The address that was dialled, or the host name that was looked up, once a machine knows of the error.
    #[must_use]
    pub fn place(&self) -> Option<&str> {
        self.place.as_deref()
    }
}

impl From<io::ErrorKind> for SystemError {
    fn from(kind: io::ErrorKind) -> Self {
        Self { kind, text: None, place: None }
    }
}

impl From<&io::Error> for SystemError {
    fn from(error: &io::Error) -> Self {
        let has_words = error.raw_os_error().is_some() || error.get_ref().is_some();
        Self { kind: error.kind(), text: has_words.then(|| error.to_string().into()), place: None }
    }
}

impl From<io::Error> for SystemError {
    fn from(error: io::Error) -> Self {
        Self::from(&error)
    }
}

impl fmt::Display for SystemError {
    /// The words alone.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.text {
            Some(text) => f.write_str(text),
            None => self.kind.fmt(f),
        }
    }
}

impl std::error::Error for SystemError {}
