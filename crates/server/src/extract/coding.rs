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

/// Why a body is not decoded.
#[derive(Debug)]
pub(super) enum DecodeError {
    /// It is not coded as its header says.
    Malformed(io::Error),
    /// Decoded, it is larger than it may be.
    TooLarge,
    /// There is no memory for it.
    NoMemory(Problem),
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
    /// When it is not coded so, becomes larger than `limit`, or there is no memory for it: no more than that is decoded.
    pub(super) fn decode(
        self,
        body: Bytes,
        limit: usize,
        memory: &mut BodyMemory,
    ) -> Result<Bytes, DecodeError> {
        if self == Self::Identity || body.is_empty() {
            return Ok(body);
        }
        let mut reader = MultiGzDecoder::new(&*body);
        let mut decoded = Vec::new();
        loop {
            let taken = memory.take(body.len() + decoded.len() + STEP);
            taken.map_err(DecodeError::NoMemory)?;
            let mut part = reader.by_ref().take(STEP as u64);
            if part.read_to_end(&mut decoded).map_err(DecodeError::Malformed)? == 0 {
                return Ok(decoded.into());
            }
            if decoded.len() > limit {
                return Err(DecodeError::TooLarge);
            }
        }
    }
}
