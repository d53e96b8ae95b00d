//! A body on its way from the external service to the client.

use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream;
use reqwest::Response;
use tokio::task::yield_now;
use tokio::time::timeout;

use super::metrics::{Call, Outcome};

/// Why a body ends before it is complete.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Interrupted {
    /// The connection was lost, or what came on it is no HTTP.
    #[error("the external service's answer broke off")]
    BrokenOff(#[source] reqwest::Error),
    /// Nothing came for too long.
    #[error("the external service's answer stalled")]
    Stalled,
}

/// A 2xx whose body is yet to come. Dropped, it ends the call.
#[derive(Debug)]
pub(crate) struct Answer {
    response: Response,
    call: Call,
    longest_pause: Duration,
}

impl Answer {
    pub(super) fn new(response: Response, call: Call, longest_pause: Duration) -> Self {
        Self { response, call, longest_pause }
    }

    /// The status code.
    pub(crate) fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    /// The values of a header.
    pub(crate) fn header(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        let values = self.response.headers().get_all(name).into_iter();
        values.map(reqwest::header::HeaderValue::as_bytes)
    }

    /// How many bytes the body will have; none where only its end will tell.
    pub(crate) fn length(&self) -> Option<u64> {
        self.response.content_length()
    }

    /// The body. Nothing is read ahead: the external service sends as fast as the client takes.
    pub(crate) fn into_stream(
        mut self,
    ) -> impl Stream<Item = Result<Bytes, Interrupted>> + Unpin + 'static {
        if self.length() == Some(0) {
            // Nobody will ask for its end.
            self.call.end(Outcome::Complete);
        }
        Box::pin(stream::try_unfold(self, Self::next))
    }

    async fn next(mut self) -> Result<Option<(Bytes, Self)>, Interrupted> {
        let (outcome, interrupted) = match timeout(self.longest_pause, self.response.chunk()).await
        {
            Ok(Ok(Some(chunk))) => {
                self.call.pass(chunk.len());
                return Ok(Some((chunk, self)));
            }
            Ok(Ok(None)) => {
                self.call.end(Outcome::Complete);
                return Ok(None);
            }
            Ok(Err(error)) => (Outcome::BrokenOff, Interrupted::BrokenOff(error.without_url())),
            Err(_) => (Outcome::Stalled, Interrupted::Stalled),
        };
        self.call.end(outcome);
        // An error ends the connection at once; this lets the server send first what has come.
        yield_now().await;
        Err(interrupted)
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use common::Metrics;
    use futures_util::{FutureExt as _, StreamExt as _};

    use super::super::metrics::ExternalMetrics;
    use super::*;
    use crate::config::SERVICE;

    #[tokio::test]
    async fn what_has_come_can_be_sent_before_the_error() {
        let parts = [Ok("part"), Err(io::Error::other("broken"))];
        let body = reqwest::Body::wrap_stream(stream::iter(parts));
        let call = ExternalMetrics::register(&Metrics::new(&SERVICE)).begin();
        let response = http::Response::new(body).into();
        let mut stream = Answer::new(response, call, Duration::from_secs(10)).into_stream();

        assert_eq!(stream.next().await.unwrap().unwrap(), "part");
        assert!(stream.next().now_or_never().is_none(), "the server gets time to send");
        let end = stream.next().await.unwrap();

        assert!(matches!(end, Err(Interrupted::BrokenOff(_))), "{end:?}");
    }
}
