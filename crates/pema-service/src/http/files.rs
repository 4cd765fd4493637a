//! Content that never changes under its hash: ETags, ranges, and caching for good.

use std::io::SeekFrom;
use std::path::Path;

use axum::body::Body;
use axum::http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_NONE_MATCH, IF_RANGE, RANGE,
};
use axum::http::{HeaderMap, StatusCode, response};
use axum::response::{IntoResponse, Response};
use pema_core::id::ContentHash;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use super::error::ApiError;
use crate::observe;

/// Read from disk at once.
const CHUNK: usize = 256 << 10;

/// What is served.
pub(super) enum Content<'a> {
    File(&'a Path),
    Bytes(Vec<u8>),
}

/// Some content, its type and its name.
pub(super) struct Immutable<'a> {
    pub content: Content<'a>,
    pub content_type: &'static str,
    pub sha256: &'a ContentHash,
    pub length: u64,
}

/// The part of a file that a request asks for.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    Whole,
    /// First byte and length.
    Range(u64, u64),
    Unsatisfiable,
}

impl Immutable<'_> {
    /// 200, 206, 304 or 416, as the request's headers ask.
    pub(super) async fn respond(self, headers: &HeaderMap) -> Result<Response, ApiError> {
        let etag = format!("\"{}\"", self.sha256);
        let fixed = response::Builder::new()
            .header(ETAG, &etag)
            .header(ACCEPT_RANGES, "bytes")
            // Private: shards and, behind a key, the head are for one tenant's cache alone.
            .header(CACHE_CONTROL, "private, max-age=31536000, immutable");
        if matches(headers, &etag) {
            return build(fixed.status(StatusCode::NOT_MODIFIED), Body::empty());
        }
        let (start, length, answer) = match part(headers, &etag, self.length) {
            Part::Whole => (0, self.length, fixed.status(StatusCode::OK)),
            Part::Unsatisfiable => return Err(ApiError::Range(self.length)),
            Part::Range(start, length) => {
                let range = format!("bytes {start}-{}/{}", start + length - 1, self.length);
                (start, length, fixed.status(StatusCode::PARTIAL_CONTENT).header(CONTENT_RANGE, range))
            }
        };
        observe::sent(length);
        let body = match self.content {
            Content::Bytes(bytes) => {
                let (start, end) = (start as usize, (start + length) as usize);
                let bytes = axum::body::Bytes::from(bytes);
                // A store that gives a shorter shard than its manifest says must not panic here.
                if end > bytes.len() {
                    return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
                }
                Body::from(bytes.slice(start..end))
            }
            Content::File(path) => {
                let mut file = File::open(path).await?;
                file.seek(SeekFrom::Start(start)).await?;
                Body::from_stream(ReaderStream::with_capacity(file.take(length), CHUNK))
            }
        };
        build(answer.header(CONTENT_TYPE, self.content_type).header(CONTENT_LENGTH, length), body)
    }
}

fn build(answer: response::Builder, body: Body) -> Result<Response, ApiError> {
    answer.body(body).map(IntoResponse::into_response).map_err(|e| std::io::Error::other(e).into())
}

/// Whether `If-None-Match` has this ETag.
fn matches(headers: &HeaderMap, etag: &str) -> bool {
    let lists = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).any(|tag| matches!(tag.trim(), "*") || tag.trim().trim_start_matches("W/") == etag)
}

/// One range is honoured; several, or another unit, get the whole, as RFC 9110 allows.
fn part(headers: &HeaderMap, etag: &str, length: u64) -> Part {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    if text(IF_RANGE).is_some_and(|tag| tag != etag) {
        return Part::Whole;
    }
    let range = text(RANGE).and_then(|range| range.strip_prefix("bytes=")).filter(|range| !range.contains(','));
    let Some((first, last)) = range.and_then(|range| range.split_once('-')) else { return Part::Whole };
    let number = |text: &str| text.trim().parse::<u64>();
    match (number(first), number(last)) {
        (Ok(start), _) if start >= length => Part::Unsatisfiable,
        (Ok(start), Ok(last)) if last < start => Part::Whole,
        (Ok(start), Ok(last)) => Part::Range(start, last.min(length - 1) - start + 1),
        (Ok(start), Err(_)) if last.trim().is_empty() => Part::Range(start, length - start),
        (Err(_), Ok(0)) if first.trim().is_empty() => Part::Unsatisfiable,
        (Err(_), Ok(suffix)) if first.trim().is_empty() => Part::Range(length.saturating_sub(suffix), suffix.min(length)),
        _ => Part::Whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(range: &str) -> Part {
        let mut headers = HeaderMap::new();
        headers.insert(RANGE, range.parse().unwrap());
        part(&headers, "\"x\"", 10)
    }

    #[test]
    fn ranges_are_read_as_the_rfc_says() {
        assert_eq!(asked("bytes=0-3"), Part::Range(0, 4));
        assert_eq!(asked("bytes=4-"), Part::Range(4, 6));
        assert_eq!(asked("bytes=-3"), Part::Range(7, 3));
        assert_eq!(asked("bytes=-30"), Part::Range(0, 10));
        assert_eq!(asked("bytes=5-100"), Part::Range(5, 5));
        assert_eq!(asked("bytes=10-"), Part::Unsatisfiable);
        assert_eq!(asked("bytes=-0"), Part::Unsatisfiable);
        for whole in ["bytes=3-1", "bytes=0-1,3-4", "lines=0-1", "bytes=-", "bytes=a-b"] {
            assert_eq!(asked(whole), Part::Whole, "{whole}");
        }
    }
}
