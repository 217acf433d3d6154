//! Why there are no credentials where somebody provides them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use crate::timer::Span;

/// More of a provider's words than anybody reads in a line.
const LONGEST: usize = 200;

/// The provider of credentials has given none.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum CredentialsError {
    /// It failed.
    #[error("the credentials provider failed{}", behind(.words.as_deref()))]
    Failed {
        /// The words of its error, cut to a line of 200 characters; `None` if it said nothing, or repeated a password.
        words: Option<Arc<str>>,
    },
    /// It did not answer in time.
    #[error("the credentials provider gave no answer within {}", Span(*.0))]
    TimedOut(Duration),
    /// It panicked.
    #[error("the credentials provider has panicked")]
    Panicked,
}

impl CredentialsError {
    /// The failure that `error` tells of. Its words become part of errors, events and logs.
    pub fn failed(error: impl fmt::Display) -> Self {
        let line = |c: char| if c.is_control() { ' ' } else { c };
        let words: String = error.to_string().chars().take(LONGEST).map(line).collect();
        Self::Failed { words: (!words.trim().is_empty()).then(|| words.trim().into()) }
    }

    /// The same without its words if they repeat `secret`.
    #[must_use]
    pub(crate) fn without(self, secret: &str) -> Self {
        match self {
            Self::Failed { words: Some(words) } if !secret.is_empty() && repeats(&words, secret) => {
                Self::Failed { words: None }
            }
            other => other,
        }
    }
}

/// Whether `words` have `secret` in them, or end with the beginning of it because they were cut.
fn repeats(words: &str, secret: &str) -> bool {
    // Less than this is no help to anybody, and the end of many a sentence.
    const TELLING: usize = 8;
    let beginnings = secret.char_indices().map(|(at, _)| &secret[..at]).filter(|part| part.len() >= TELLING);
    words.contains(secret) || beginnings.into_iter().any(|part| words.ends_with(part))
}

fn behind(words: Option<&str>) -> String {
    words.map_or_else(String::new, |words| format!(": {words}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RULE-220
    #[test]
    fn the_words_of_a_provider_are_one_line_of_bounded_length() {
        let error = CredentialsError::failed("no token:\n  429\t");
        assert_eq!(error.to_string(), "the credentials provider failed: no token:   429");
        assert_eq!(CredentialsError::failed("").to_string(), "the credentials provider failed");
        let long = CredentialsError::failed("x".repeat(10_000)).to_string();
        assert!(long.len() < 300, "{long}");
    }

    /// RULE-224
    #[test]
    fn words_that_repeat_a_secret_are_left_out() {
        let secret = "eyJ0eXAiOiJKV1Qi.".repeat(20);
        for words in [format!("the token {secret} is refused"), format!("{} {secret}", "x".repeat(150))] {
            let error = CredentialsError::failed(words).without(&secret);
            assert_eq!(error, CredentialsError::Failed { words: None });
        }
        let harmless = CredentialsError::failed("429 too many requests");
        assert_eq!(harmless.clone().without(&secret).without(""), harmless);
    }
}
