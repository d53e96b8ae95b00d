//! The bodies of answers that are not sent as their handler made them.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use actix_web::body::{BodySize, MessageBody};
use bytes::Bytes;

/// The parts of a large answer.
const SLICE_BYTES: usize = 16 * 1024;

/// A large body in parts: each part is copied into the buffer that is written from, and stays there until the client
/// has taken it.
pub(super) struct SlicedBody(pub(super) Bytes);

impl MessageBody for SlicedBody {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.0.len() as u64)
    }

    fn poll_next(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let Self(bytes) = self.get_mut();
        let slice = bytes.split_to(bytes.len().min(SLICE_BYTES));
        Poll::Ready((!slice.is_empty()).then_some(Ok(slice)))
    }
}

/// In place of a stream that answers HEAD: actix-web would read it to its end and discard it.
pub(super) struct UnsentBody(pub(super) BodySize);

impl MessageBody for UnsentBody {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        self.0
    }

    fn poll_next(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Poll::Ready(None)
    }
}
