//! Subscriptions.

mod matching;
mod overlap;
