//! User and password, which nothing shows.

use std::fmt;
use std::sync::Arc;

/// A secret that no `Debug` output shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<str>);

impl Secret {
    /// The secret itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl<T: Into<Arc<str>>> From<T> for Secret {
    fn from(secret: T) -> Self {
        Self(secret.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// User and password. `Debug` shows neither.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The ACL user; `None` is the default user.
    pub user: Option<Arc<str>>,
    /// The password.
    pub password: Secret,
}

impl Credentials {
    /// User and password. `None` as user is the default user.
    #[must_use]
    pub fn new(user: Option<&str>, password: impl Into<Secret>) -> Self {
        Self { user: user.map(Arc::from), password: password.into() }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(..)")
    }
}
