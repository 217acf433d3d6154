//! The number of a run.

use std::fmt;
use std::str::FromStr;

/// What a run is drawn from. Runs with one database and runs with a cluster are counted apart.
///
/// ```
/// use hitless_conformance::sim::Seed;
///
/// assert_eq!("17".parse(), Ok(Seed::Database(17)));
/// assert_eq!("c17".parse(), Ok(Seed::Cluster(17)));
/// assert_eq!(Seed::Cluster(17).to_string(), "c17");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Seed {
    /// One database, behind several endpoints.
    Database(u64),
    /// A cluster.
    Cluster(u64),
}

impl Seed {
    /// One seed, or those of a range as `17..20` or `c17..c20`; `None` if the text is something else.
    #[must_use]
    pub fn several(text: &str) -> Option<Vec<Self>> {
        let Some((begin, end)) = text.split_once("..") else {
            return text.parse().ok().map(|seed| vec![seed]);
        };
        match (begin.parse().ok()?, end.parse().ok()?) {
            (Self::Database(begin), Self::Database(end)) => Some((begin..end).map(Self::Database).collect()),
            (Self::Cluster(begin), Self::Cluster(end)) => Some((begin..end).map(Self::Cluster).collect()),
            _ => None,
        }
    }
}

impl fmt::Display for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Database(number) => write!(f, "{number}"),
            Self::Cluster(number) => write!(f, "c{number}"),
        }
    }
}

impl FromStr for Seed {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix('c') {
            Some(number) => number.parse().map(Self::Cluster),
            None => text.parse().map(Self::Database),
        }
    }
}
