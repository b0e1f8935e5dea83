//! HTTP into a `.part` file: resumed, retried, bounded.
//!
//! What is there is asked for no second time: `Range: bytes=N-`, with `If-Range` where the server named a version by
//! an ETag (RFC 9110, sections 13.1.5 and 14). A server that answers 200 sends everything, so the part starts over; one
//! whose 206 begins elsewhere, or whose 416 says that the file is shorter, is asked again for the whole. A failure that
//! may pass (a lost connection, a timeout, 408, 429, 5xx) is tried again after 1, 2, 4 ... times the first pause, and
//! a try that brought at least a MiB forgives those before it. A machine that reaches nothing at all is told at once.
//! Never are more bytes kept than the stated size.

use std::io::{self, Read, Write};
use std::time::Duration;

use anyhow::Result;
use ureq::http::{StatusCode, header};

use super::disk::Part;
pub use super::error::Error;
use super::{Event, range};

/// Bytes accepted of a file whose size is not known.
pub const SIZE_LIMIT: u64 = 1 << 30;

/// Redirects followed for one request.
const REDIRECTS: u32 = 5;

/// Bytes in one try that make it count as none.
const PROGRESS: u64 = 1 << 20;

/// How patient a download is.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// Tries in a row without progress.
    pub tries: u32,
    /// The pause after the first try; it doubles with each.
    pub pause: Duration,
    /// How long a connection, an answer or the next bytes may take.
    pub timeout: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            tries: 5,
            pause: Duration::from_secs(1),
            timeout: Duration::from_secs(30),
        }
    }
}

/// What ended a try.
enum Failure {
    /// It may pass; `reached` says whether a server answered.
    Passing { reason: String, reached: bool },
    /// It will not.
    Final(anyhow::Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Final(error.into())
    }
}

fn lost(reason: impl ToString) -> Failure {
    Failure::Passing {
        reason: reason.to_string(),
        reached: true,
    }
}

/// Brings `part` to the whole of `url`. True if bytes from an earlier answer are in it.
pub fn download(
    url: &str,
    size: Option<u64>,
    part: &Part,
    policy: &Policy,
    watch: &dyn Fn(Event),
) -> Result<bool> {
    let agent = agent(url, policy)?;
    let mut failed = 0;
    let mut reached = false;
    let mut resumed = part.len_from(url) > 0;
    loop {
        let before = part.len_from(url);
        match attempt(&agent, url, size, part, watch) {
            Ok(()) => return Ok(resumed),
            Err(Failure::Final(error)) => return Err(error),
            Err(Failure::Passing {
                reason,
                reached: answered,
            }) => {
                reached |= answered;
                let url = url.to_owned();
                // A machine that never reached the server is offline, and waiting does not help it.
                if !reached {
                    return Err(Error::Unreachable { url, reason }.into());
                }
                let after = part.len_from(&url);
                resumed |= after > 0;
                if after >= before + PROGRESS {
                    failed = 0;
                }
                failed += 1;
                if failed >= policy.tries {
                    let tries = failed;
                    return Err(Error::GaveUp { url, reason, tries }.into());
                }
                let pause = policy.pause * 2_u32.pow((failed - 1).min(6));
                watch(Event::Retrying {
                    reason: &reason,
                    pause,
                });
                std::thread::sleep(pause);
            }
        }
    }
}

fn agent(url: &str, policy: &Policy) -> Result<ureq::Agent, Error> {
    let secure = url.starts_with("https://");
    if !secure && !url.starts_with("http://") {
        return Err(Error::Address {
            url: url.to_owned(),
            reason: "only http:// and https:// are fetched".to_owned(),
        });
    }
    let timeout = Some(policy.timeout);
    Ok(ureq::Agent::config_builder()
        .http_status_as_error(false)
        // What began encrypted is not redirected to where anybody can change it.
        .https_only(secure)
        .max_redirects(REDIRECTS)
        .user_agent(concat!("quantlab/", env!("CARGO_PKG_VERSION")))
        .timeout_resolve(timeout)
        .timeout_connect(timeout)
        .timeout_send_request(timeout)
        .timeout_recv_response(timeout)
        .timeout_per_read(timeout)
        .build()
        .into())
}

/// One request and its answer.
fn attempt(
    agent: &ureq::Agent,
    url: &str,
    size: Option<u64>,
    part: &Part,
    watch: &dyn Fn(Event),
) -> Result<(), Failure> {
    let limit = size.unwrap_or(SIZE_LIMIT);
    let disk = |e: io::Error| {
        let failed = format!("cannot write {}", part.path().display());
        Failure::Final(anyhow::Error::new(e).context(failed))
    };
    // A part longer than the file is no part of it.
    let have = Some(part.len_from(url))
        .filter(|n| *n <= limit)
        .unwrap_or(0);
    if have > 0 && Some(have) == size {
        return Ok(());
    }
    let mut request = agent.get(url).header(header::ACCEPT_ENCODING, "identity");
    if have > 0 {
        request = request.header(header::RANGE, format!("bytes={have}-"));
        if let Some(etag) = part.etag().filter(|etag| range::is_strong(etag)) {
            request = request.header(header::IF_RANGE, etag);
        }
    }
    let mut response = request.call().map_err(|e| failure(url, e))?;
    let from = match response.status() {
        StatusCode::OK => 0,
        StatusCode::PARTIAL_CONTENT if range::start(response.headers()) == Some(have) => have,
        StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE if have > 0 => {
            if size.is_none() && range::total_of(response.headers()) == Some(have) {
                return Ok(());
            }
            part.discard().map_err(Failure::Final)?;
            return Err(lost("the server cannot resume what was there"));
        }
        status if is_passing(status) => return Err(lost(format!("the server answers {status}"))),
        status => {
            let url = url.to_owned();
            return Err(Error::Refused { url, status }.into());
        }
    };
    let total = range::whole_size(response.headers(), from);
    if let (Some(expected), Some(found)) = (size, total)
        && expected != found
    {
        let url = url.to_owned();
        return Err(Error::Size {
            url,
            found,
            expected,
        }
        .into());
    }
    let mut file = if from > 0 {
        part.append()
    } else {
        let etag = response.headers().get(header::ETAG);
        part.start(url, etag.and_then(|etag| etag.to_str().ok()))
    }
    .map_err(disk)?;
    let expected = size.or(total);
    watch(Event::Started {
        url,
        from,
        total: expected,
    });
    let mut body = response.body_mut().as_reader();
    let mut buffer = vec![0; 1 << 16];
    let mut have = from;
    loop {
        let n = match body.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(lost(format!("the connection was lost: {e}"))),
        };
        if have + n as u64 > limit {
            part.discard().map_err(Failure::Final)?;
            let url = url.to_owned();
            return Err(Error::TooLong { url, limit }.into());
        }
        // Straight to the file: whatever ends this process, the part holds what arrived.
        file.write_all(&buffer[..n]).map_err(disk)?;
        have += n as u64;
        watch(Event::Position(have));
    }
    match expected {
        Some(expected) if have < expected => Err(lost(format!(
            "the server stopped after {have} of {expected} bytes"
        ))),
        _ => Ok(()),
    }
}

/// A request that got no answer.
fn failure(url: &str, error: ureq::Error) -> Failure {
    use ureq::{Error as E, Timeout};
    let unreached = |reason: String| Failure::Passing {
        reason,
        reached: false,
    };
    let wrong = |reason: &dyn ToString| {
        Failure::from(Error::Address {
            url: url.to_owned(),
            reason: reason.to_string(),
        })
    };
    match error {
        E::Timeout(Timeout::Resolve | Timeout::Connect)
        | E::HostNotFound
        | E::ConnectionFailed
        | E::ConnectProxyFailed(_) => unreached(error.to_string()),
        E::Io(e) => match e.kind() {
            // The connection stood and was cut before the answer was there.
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe => lost(e),
            _ => unreached(e.to_string()),
        },
        E::Timeout(_) => lost(error),
        E::TooManyRedirects => wrong(&format!("more than {REDIRECTS} redirects")),
        E::RequireHttpsOnly(to) => wrong(&format!("redirected to {to}, which is not https")),
        other => wrong(&other),
    }
}

fn is_passing(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504)
}
