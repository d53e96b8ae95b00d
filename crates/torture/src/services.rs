//! What is thrown at each service.

use std::fs;
use std::path::Path;

use crate::crowd::{AGAIN, Kind};

/// The default `BODY_LIMIT`.
const BODY_LIMIT: usize = 64 * 1024;

/// Files that data-api has to send, and the size of each in bytes.
const LOG_FILES: (usize, usize) = (10_000, 1000);

/// A service and the requests that cost it the most.
#[derive(Debug)]
pub struct Service {
    /// The name of its package and binary.
    pub name: &'static str,
    /// What an ordinary client asks.
    pub ordinary: &'static str,
    /// What ten thousand ask at once: a request that takes its time where the service has one.
    in_flight: &'static str,
    /// Its largest answer.
    largest: &'static str,
    /// Where it takes a body, and of which type.
    body: Option<(&'static str, &'static str)>,
    /// Whether it takes forms of several parts.
    takes_forms: bool,
    /// Variables beside `HOST`, `PORT` and where it keeps its files.
    pub variables: &'static [(&'static str, &'static str)],
}

/// All six, on their embedded stores.
pub const SERVICES: [Service; 6] = [
    Service {
        name: "backend-api",
        ordinary: "/health_check",
        in_flight: "/api_1",
        largest: "/download_external_logs",
        body: None,
        takes_forms: false,
        variables: &[("EXTERNAL_INTEGRATION_KEY", "torture")],
    },
    Service {
        name: "data-api",
        ordinary: "/health_check",
        in_flight: "/",
        largest: "/logs/download",
        body: None,
        takes_forms: false,
        variables: &[("LOG_FILES_DIR", "logs")],
    },
    Service {
        name: "multivac",
        ordinary: "/multivac/queue",
        in_flight: "/multivac/queue",
        largest: "/docs/swagger-ui-bundle.js",
        body: Some(("/multivac/data", "application/json")),
        takes_forms: true,
        variables: &[],
    },
    Service {
        name: "randomize",
        ordinary: "/api/randomizes?limit=1",
        in_flight: "/api/randomizes?limit=1",
        largest: "/docs/swagger-ui-bundle.js",
        body: Some(("/api/randomizes", "application/json")),
        takes_forms: false,
        variables: &[],
    },
    Service {
        name: "sre-kata",
        ordinary: "/healthcheck",
        in_flight: "/healthcheck",
        largest: "/docs/swagger-ui-bundle.js",
        body: Some(("/query", "text/plain")),
        takes_forms: false,
        variables: &[],
    },
    Service {
        name: "stakefish",
        ordinary: "/health",
        in_flight: "/history",
        largest: "/docs/swagger-ui-bundle.js",
        body: Some(("/tools/validate", "application/json")),
        takes_forms: false,
        variables: &[],
    },
];

impl Service {
    /// What each client of such a crowd sends; none where this service has nothing of the kind.
    #[must_use]
    pub fn bytes(&self, kind: Kind) -> Option<String> {
        let get = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: torture\r\n\r\n");
        Some(match kind {
            Kind::HalfHeads => "GET / HTTP/1.1\r\nhost: torture\r\nx-half: ".into(),
            Kind::HalfBodies => {
                let (path, content_type) = self.body?;
                let body = "x".repeat(BODY_LIMIT - 1024);
                format!(
                    "POST {path} HTTP/1.1\r\nhost: torture\r\ncontent-type: {content_type}\r\n\
                     content-length: {BODY_LIMIT}\r\n\r\n{body}"
                )
            }
            Kind::SlowReaders => get(self.largest),
            // A handshake record of 512 bytes (RFC 8446, 5.1), of which the first are there.
            Kind::SlowHandshakes => "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}".into(),
            Kind::InFlight => get(self.in_flight),
            Kind::Pipelining => format!("{AGAIN}{}", get(self.in_flight).repeat(64)),
            Kind::EndlessForms => {
                if !self.takes_forms {
                    return None;
                }
                let (path, _) = self.body?;
                let line = format!("x-endless: {}\r\n", "x".repeat(1000));
                format!(
                    "POST {path} HTTP/1.1\r\nhost: torture\r\ntransfer-encoding: chunked\r\n\
                     content-type: multipart/form-data; boundary=b\r\n\r\n5\r\n--b\r\n\r\n{AGAIN}\
                     {:x}\r\n{line}\r\n",
                    line.len()
                )
            }
        })
    }

    /// Puts what it is to send into its folder.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn prepare(&self, folder: &Path) -> std::io::Result<()> {
        if self.name != "data-api" {
            return Ok(());
        }
        let logs = folder.join("logs");
        fs::create_dir_all(&logs)?;
        let (files, bytes) = LOG_FILES;
        let text = format!("{}\n", "x".repeat(bytes));
        for number in 0..files {
            fs::write(logs.join(format!("log_17000{number:05}.000000000.txt")), &text)?;
        }
        Ok(())
    }
}
