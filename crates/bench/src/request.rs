//! A request that is sent as it is written here.

use std::net::SocketAddr;

/// A request that the service answers as often as it is asked.
pub(crate) struct Request {
    /// Path and query.
    pub(crate) target: &'static str,
    pub(crate) method: &'static str,
    /// Headers beside those that every request of the benchmark carries, `Name: value`.
    pub(crate) headers: &'static [&'static str],
    /// Its body, if it has one.
    pub(crate) body: Option<&'static str>,
    /// Whether the access log has a line for it at level `info`.
    pub(crate) logged: bool,
    /// Most CPU time a request, as a multiple of the bare server's.
    pub(crate) cpu_ratio: Option<f64>,
}

impl Request {
    /// A GET request without a body, headers of its own, a log line or a target.
    pub(crate) const fn get(target: &'static str) -> Self {
        Self { target, method: "GET", headers: &[], body: None, logged: false, cpu_ratio: None }
    }

    pub(crate) fn path(&self) -> &'static str {
        self.target.split('?').next().unwrap_or(self.target)
    }

    /// All headers but `Host`, `Connection` and `Content-Length`.
    pub(crate) fn headers(&self) -> impl Iterator<Item = &'static str> {
        // What curl sends.
        ["User-Agent: bench", "Accept: */*"].into_iter().chain(self.headers.iter().copied())
    }

    /// The request as HTTP/1.1 has it, with `Connection: <connection>`.
    pub(crate) fn to_http(&self, host: SocketAddr, connection: &str) -> String {
        let mut head = vec![
            format!("{} {} HTTP/1.1", self.method, self.target),
            format!("Host: {host}"),
            format!("Connection: {connection}"),
        ];
        head.extend(self.headers().map(str::to_owned));
        head.extend(self.body.map(|body| format!("Content-Length: {}", body.len())));
        format!("{}\r\n\r\n{}", head.join("\r\n"), self.body.unwrap_or_default())
    }
}
