//! What the headers of a partial answer say (RFC 9110, sections 8.8.3 and 14.4).

use ureq::http::{HeaderMap, header};

/// Weak ETags (`W/"..."`) may stand for different bytes, so they name no version to resume.
pub fn is_strong(etag: &str) -> bool {
    etag.starts_with('"')
}

/// N of `Content-Range: bytes N-M/T`.
pub fn start(headers: &HeaderMap) -> Option<u64> {
    content_range(headers)?.split('-').next()?.parse().ok()
}

/// T of `Content-Range: bytes N-M/T` or `bytes */T`.
pub fn total_of(headers: &HeaderMap) -> Option<u64> {
    content_range(headers)?.rsplit('/').next()?.parse().ok()
}

fn content_range(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::CONTENT_RANGE)?.to_str().ok()?;
    Some(value.strip_prefix("bytes")?.trim_start())
}

/// Size of the whole file as the server announces it.
pub fn whole_size(headers: &HeaderMap, from: u64) -> Option<u64> {
    if from > 0
        && let Some(total) = total_of(headers)
    {
        return Some(total);
    }
    let length = headers.get(header::CONTENT_LENGTH)?.to_str().ok()?;
    Some(from + length.parse::<u64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_range_is_read_with_and_without_a_total() {
        for (value, first, total) in [
            ("bytes 5-9/10", Some(5), Some(10)),
            ("bytes 5-9/*", Some(5), None),
            ("bytes */10", None, Some(10)),
            ("lines 5-9/10", None, None),
        ] {
            let headers = HeaderMap::from_iter([(header::CONTENT_RANGE, value.parse().unwrap())]);
            assert_eq!(start(&headers), first, "{value}");
            assert_eq!(total_of(&headers), total, "{value}");
        }
    }
}
