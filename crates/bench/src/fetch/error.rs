//! How a download fails for good.

use ureq::http::StatusCode;

/// Why nothing, or not all, arrived.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No server was reached.
    #[error("cannot reach {url}: {reason}")]
    Unreachable {
        /// What was asked for.
        url: String,
        /// The system's word on it.
        reason: String,
    },
    /// All tries were used up.
    #[error("{url}: {reason}, after {tries} tries")]
    GaveUp {
        /// What was asked for.
        url: String,
        /// What ended the last try.
        reason: String,
        /// How many there were.
        tries: u32,
    },
    /// The server will not give it.
    #[error("{url}: the server answers {status}")]
    Refused {
        /// What was asked for.
        url: String,
        /// Its status line.
        status: StatusCode,
    },
    /// The address is no address, or leads nowhere.
    #[error("{url}: {reason}")]
    Address {
        /// What was asked for.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The server has another file there.
    #[error(
        "{url}: {found} bytes announced, {expected} expected; another file has this address now"
    )]
    Size {
        /// What was asked for.
        url: String,
        /// The announced size.
        found: u64,
        /// The stated size.
        expected: u64,
    },
    /// It went on and on.
    #[error(
        "{url}: more than the {limit} bytes that were expected; stopped, and removed what had arrived"
    )]
    TooLong {
        /// What was asked for.
        url: String,
        /// The bytes accepted.
        limit: u64,
    },
}
