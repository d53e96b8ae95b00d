//! How a body is coded (RFC 9110, 8.4).

use std::io::{self, Read as _};

use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use actix_web::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, HeaderValue};
use bytes::Bytes;
use common::Problem;
use flate2::bufread::MultiGzDecoder;

use super::memory::BodyMemory;

/// How much is decoded at once.
const STEP: usize = 8 * 1024;

/// A content coding of a request's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    /// None.
    Identity,
    /// `gzip`, or `x-gzip` as it was called first.
    Gzip,
}

impl Coding {
    /// The coding that the header names.
    ///
    /// # Errors
    /// 415 for any other, and for several.
    pub(super) fn of(request: &HttpRequest) -> Result<Self, Problem> {
        let mut coding = Self::Identity;
        let values = request.headers().get_all(CONTENT_ENCODING);
        for name in values.flat_map(|value| value.to_str().unwrap_or("?").split(',')) {
            let name = name.trim();
            if name.is_empty() || name.eq_ignore_ascii_case("identity") {
                continue;
            }
            let is_gzip = ["gzip", "x-gzip"].iter().any(|gzip| name.eq_ignore_ascii_case(gzip));
            if !is_gzip || coding == Self::Gzip {
                let problem = Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE)
                    .detail("the only `Content-Encoding` that is taken is gzip, once");
                return Err(problem.header(ACCEPT_ENCODING, HeaderValue::from_static("gzip")));
            }
            coding = Self::Gzip;
        }
        Ok(coding)
    }

    /// The decoded body, at most `limit` bytes; `memory` is asked before each part of it is there, since a small body
    /// may become a large one.
    ///
    /// # Errors
    /// 400 where it is not coded so, 413 where it becomes larger than `limit`: no more than that is decoded. 503 where
    /// there is no memory for it.
    pub(super) fn decode(
        self,
        body: Bytes,
        limit: usize,
        memory: &mut BodyMemory,
    ) -> Result<Bytes, Problem> {
        if self == Self::Identity || body.is_empty() {
            return Ok(body);
        }
        let malformed = |error: io::Error| {
            Problem::new(StatusCode::BAD_REQUEST)
                .detail("the body is not what `Content-Encoding: gzip` says")
                .caused_by(error)
        };
        let mut decoder = MultiGzDecoder::new(&*body);
        let mut decoded = Vec::new();
        loop {
            memory.take(body.len() + decoded.len() + STEP)?;
            let mut part = decoder.by_ref().take(STEP as u64);
            if part.read_to_end(&mut decoded).map_err(malformed)? == 0 {
                return Ok(decoded.into());
            }
            if decoded.len() > limit {
                return Err(too_large(limit));
            }
        }
    }
}

/// 413.
pub(super) fn too_large(limit: usize) -> Problem {
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE)
        .detail(format!("the body is larger than {limit} bytes"))
}
