//! The errors by which a node of a cluster says that it did not run a request.
//!
//! | code | means | then |
//! |---|---|---|
//! | `MOVED slot host:port` | the slot is that node's | there, at once; the map is patched |
//! | `ASK slot host:port` | this key has gone ahead of its slot | there, once, with ASKING |
//! | `TRYAGAIN` | some of the keys have gone ahead | here, a little later |
//! | `CLUSTERDOWN` | nobody serves the slot, or not at the moment | wherever the slot leads, a little later |
//! | `READONLY`, `LOADING`, `MASTERDOWN` | this node cannot take it now | the same |
//!
//! The host of MOVED and ASK may be empty (the same host, another port) or `?` (unknown), and IPv6 comes with and without brackets.

use resp3_codec::Frame;

use crate::endpoint::{Endpoint, Host};
use crate::error::ServerError;
use crate::notification::MAX_SLOT;

/// The codes of all of them.
const CODES: [&[u8]; 7] =
    [b"MOVED", b"ASK", b"TRYAGAIN", b"CLUSTERDOWN", b"READONLY", b"LOADING", b"MASTERDOWN"];

/// The errors of a server that is busy, word for word. Source: `clusterRedirectClient` in cluster.c of Redis 7 and Valkey 8.
const TEXTS: [(&str, &str); 4] = [
    ("TRYAGAIN", "Multiple keys request during rehashing of slot"),
    ("CLUSTERDOWN", "The cluster is down"),
    ("CLUSTERDOWN", "The cluster is down and only accepts read commands"),
    ("CLUSTERDOWN", "Hash slot not served"),
];

/// Whether `reply` is an error by which a node says that it did not run a request, and that only the cluster machine can judge:
/// MOVED, ASK, TRYAGAIN, CLUSTERDOWN, READONLY, LOADING or MASTERDOWN. For a reply that is no error this is one comparison.
#[must_use]
#[inline]
pub fn is_refusal(reply: &Frame) -> bool {
    reply.as_error().is_some_and(|text| {
        let code = text.split(|byte| *byte == b' ').next().unwrap_or_default();
        CODES.contains(&code)
    })
}

/// Whether `reply` is, word for word, what a server says of a request for `slot` that it did not run.
#[cfg(feature = "driver")]
pub(crate) fn is_refusal_of_server(reply: &Frame, slot: Option<u16>) -> bool {
    ServerError::from_frame(reply).is_some_and(|error| Redirect::of_server(&error, slot).is_some())
}

/// Whether `error` is a redirect of another slot than `slot`.
#[cfg(feature = "driver")]
pub(crate) fn is_about_another_slot(error: &ServerError, slot: u16) -> bool {
    let redirect = Redirect::of(error);
    matches!(redirect, Some(Redirect::Moved { slot: other, .. } | Redirect::Ask { slot: other, .. }) if other != slot)
}

/// What a node says instead of running a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Redirect {
    /// The slot is another node's.
    Moved { slot: u16, place: Place },
    /// The key is at the node to which its slot is going.
    Ask { slot: u16, place: Place },
    /// Some of the keys are at the node to which their slot is going.
    TryAgain,
    /// Nobody serves the slot, or the cluster is down.
    ClusterDown,
    /// The node cannot run it now: READONLY, LOADING or MASTERDOWN.
    Unable,
}

/// Where a redirect leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    At(Endpoint),
    /// The host of the node that says so, at this port.
    SameHost(u16),
    /// The node does not know either.
    Unknown,
}

impl Redirect {
    /// What `error` says; `None` if it is about something else, or cannot be read.
    pub(super) fn of(error: &ServerError) -> Option<Self> {
        let mut words = error.message().split_ascii_whitespace();
        let mut slot_and_place = || {
            let slot = words.next()?.parse().ok().filter(|slot| *slot <= MAX_SLOT)?;
            Some((slot, Place::of(words.next()?)?))
        };
        Some(match error.code() {
            "MOVED" => {
                let (slot, place) = slot_and_place()?;
                Self::Moved { slot, place }
            }
            "ASK" => {
                let (slot, place) = slot_and_place()?;
                Self::Ask { slot, place }
            }
            "TRYAGAIN" => Self::TryAgain,
            "CLUSTERDOWN" => Self::ClusterDown,
            "READONLY" | "LOADING" | "MASTERDOWN" => Self::Unable,
            _ => return None,
        })
    }

    /// What `error` says, if it is word for word what a server says of a request for `slot`. What a script answers may begin with
    /// the same code, after the script has written.
    pub(super) fn of_server(error: &ServerError, slot: Option<u16>) -> Option<Self> {
        let redirect = Self::of(error)?;
        let words = error.message().split(' ').count();
        let is_of_server = match redirect {
            Self::Moved { slot: named, .. } | Self::Ask { slot: named, .. } => {
                slot == Some(named) && words == 2
            }
            Self::TryAgain | Self::ClusterDown => TEXTS.contains(&(error.code(), error.message())),
            Self::Unable => false,
        };
        is_of_server.then_some(redirect)
    }
}

impl Place {
    fn of(text: &str) -> Option<Self> {
        // Behind the last colon, because servers write IPv6 addresses without brackets.
        let (host, port) = text.rsplit_once(':')?;
        let port: u16 = port.parse().ok().filter(|port| *port != 0)?;
        Some(match host {
            "" => Self::SameHost(port),
            "?" => Self::Unknown,
            host => Self::At(Endpoint::Tcp { host: Host::parse(host).ok()?, port }),
        })
    }

    /// The endpoint, where the node that says so is at `said_by`.
    pub(super) fn endpoint(self, said_by: Option<&Endpoint>) -> Option<Endpoint> {
        match self {
            Self::At(endpoint) => Some(endpoint),
            Self::SameHost(port) => {
                said_by.and_then(Endpoint::host).map(|host| Endpoint::Tcp { host: host.clone(), port })
            }
            Self::Unknown => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(text: &str) -> Option<Redirect> {
        Redirect::of(&ServerError::from_frame(&Frame::error(text.to_owned())).unwrap())
    }

    fn moved(slot: u16, endpoint: &str) -> Option<Redirect> {
        Some(Redirect::Moved { slot, place: Place::At(Endpoint::parse(endpoint, 1).unwrap()) })
    }

    #[test]
    fn every_form_of_a_redirect_is_read() {
        assert_eq!(of("MOVED 3999 127.0.0.1:6381"), moved(3999, "127.0.0.1:6381"));
        assert_eq!(of("MOVED 0 redis-1.example.com:7000 more"), moved(0, "redis-1.example.com:7000"));
        assert_eq!(of("MOVED 16383 2001:db8::1:7000"), moved(16383, "[2001:db8::1]:7000"));
        assert_eq!(of("MOVED 16383 [2001:db8::1]:7000"), moved(16383, "[2001:db8::1]:7000"));
        assert_eq!(of("MOVED 7 :7001"), Some(Redirect::Moved { slot: 7, place: Place::SameHost(7001) }));
        assert_eq!(of("MOVED 7 ?:7001"), Some(Redirect::Moved { slot: 7, place: Place::Unknown }));
        let place = Place::At(Endpoint::parse("10.0.0.7:7000", 1).unwrap());
        assert_eq!(of("ASK 7 10.0.0.7:7000"), Some(Redirect::Ask { slot: 7, place }));
        assert_eq!(of("ASK 7 :7001"), Some(Redirect::Ask { slot: 7, place: Place::SameHost(7001) }));
        assert_eq!(of("TRYAGAIN Multiple keys request during rehashing of slot"), Some(Redirect::TryAgain));
        assert_eq!(of("CLUSTERDOWN Hash slot not served"), Some(Redirect::ClusterDown));
        for unable in ["READONLY You can't write", "LOADING Redis is loading", "MASTERDOWN Link is down"] {
            assert_eq!(of(unable), Some(Redirect::Unable));
        }
    }

    #[test]
    fn what_is_no_redirect_is_none() {
        for text in [
            "ERR unknown command",
            "MOVED",
            "MOVED 7",
            "MOVED 16384 10.0.0.1:1",
            "MOVED -1 10.0.0.1:1",
            "MOVED 7 10.0.0.1",
            "MOVED 7 10.0.0.1:0",
            "MOVED 7 10.0.0.1:65536",
            "MOVED 7 a b:1",
            "ASK x 10.0.0.1:1",
            "CROSSSLOT Keys in request don't hash to the same slot",
            "moved 7 10.0.0.1:1",
        ] {
            assert_eq!(of(text), None, "{text}");
        }
    }

    /// RULE-395
    #[test]
    fn the_words_of_a_server_are_told_from_those_of_a_script() {
        let of_server = |text: &'static str, slot| {
            Redirect::of_server(&ServerError::from_frame(&Frame::error(text)).unwrap(), slot).is_some()
        };
        for text in ["MOVED 7 10.0.0.1:1", "ASK 7 :7001", "MOVED 7 ?:7001"] {
            assert!(of_server(text, Some(7)), "{text}");
            assert!(!of_server(text, Some(8)), "{text}");
            assert!(!of_server(text, None), "{text}");
        }
        assert!(!of_server("MOVED 7 10.0.0.1:1 says the script", Some(7)));
        for (code, message) in TEXTS {
            let text = format!("{code} {message}");
            let error = |text: &str| ServerError::from_frame(&Frame::error(text.to_owned())).unwrap();
            assert!(Redirect::of_server(&error(&text), None).is_some(), "{text}");
            assert!(Redirect::of_server(&error(&format!("{text}.")), None).is_none(), "{text}");
            assert!(Redirect::of_server(&error(code), None).is_none(), "{code}");
        }
        for text in ["READONLY You can't write against a read only replica.", "LOADING", "MASTERDOWN"] {
            assert!(!of_server(text, Some(7)), "{text}");
        }
    }

    #[test]
    fn the_code_alone_says_whether_the_machine_is_to_judge() {
        assert!(is_refusal(&Frame::error("MOVED 1 a:1")));
        assert!(is_refusal(&Frame::error("LOADING")));
        assert!(!is_refusal(&Frame::error("MOVEDX 1 a:1")));
        assert!(!is_refusal(&Frame::error("ERR MOVED")));
        assert!(!is_refusal(&Frame::bulk("MOVED 1 a:1")));
        assert!(CODES.iter().all(|code| is_refusal(&Frame::error(code.to_vec()))));
    }

    #[test]
    fn an_empty_host_is_that_of_the_node_that_answered() {
        let said_by = Endpoint::parse("redis-1.example.com:7000", 1).unwrap();
        let there = Endpoint::parse("redis-1.example.com:7001", 1).unwrap();
        assert_eq!(Place::SameHost(7001).endpoint(Some(&said_by)), Some(there));
        assert_eq!(Place::SameHost(7001).endpoint(Some(&Endpoint::unix("/run/redis.sock"))), None);
        assert_eq!(Place::Unknown.endpoint(Some(&said_by)), None);
    }

    proptest! {
        #[test]
        fn reading_is_total(text in "(MOVED|ASK|TRYAGAIN) ?[0-9 :.\\[\\]a-f?]{0,24}") {
            if let Some(Redirect::Moved { slot, .. }) = of(&text) {
                prop_assert!(slot <= MAX_SLOT);
            }
        }
    }
}
