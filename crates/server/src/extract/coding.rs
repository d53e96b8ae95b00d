//! How a body is coded (RFC 9110, 8.4).

use std::io::{self, Read as _};

use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use actix_web::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, HeaderValue};
use bytes::Bytes;
use common::Problem;
use flate2::bufread::MultiGzDecoder;

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

    /// The decoded body, at most `limit` bytes.
    ///
    /// # Errors
    /// 400 where it is not coded so, 413 where it becomes larger than `limit`: no more than that is decoded.
    pub(super) fn decode(self, body: Bytes, limit: usize) -> Result<Bytes, Problem> {
        if self == Self::Identity || body.is_empty() {
            return Ok(body);
        }
        let mut decoded = Vec::new();
        let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
        let read = MultiGzDecoder::new(&*body).take(most).read_to_end(&mut decoded);
        read.map_err(|error: io::Error| {
            Problem::new(StatusCode::BAD_REQUEST)
                .detail("the body is not what `Content-Encoding: gzip` says")
                .caused_by(error)
        })?;
        if decoded.len() > limit { Err(too_large(limit)) } else { Ok(decoded.into()) }
    }
}

/// 413.
pub(super) fn too_large(limit: usize) -> Problem {
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE)
        .detail(format!("the body is larger than {limit} bytes"))
}
