//! Many requests at once, each on a connection of its own that is open before the first is sent.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{sleep, timeout},
};

use crate::environment::Environment;
use crate::report::Row;
use crate::request::Request;
use crate::server::Server;
use crate::subject::Variable;

/// How many there are.
const REQUESTS: usize = 10_000;

/// Most memory that a connection with half a head may take, in KiB.
const HALF_OPEN_KIB: f64 = 6.0;

/// Connections made before the server gets time to accept them: fewer than the 4096 that Linux lets wait.
const BATCH: usize = 1000;

/// How long all answers may take before the measurement gives up.
const TIMEOUT: Duration = Duration::from_mins(1);

/// Many requests at once.
pub(crate) struct InFlight {
    /// Path and query.
    pub(crate) target: &'static str,
    /// Variables beside those of the subject.
    pub(crate) env: &'static [Variable],
    /// Longest time from the last request sent to the last answer.
    pub(crate) within: Duration,
    /// Most memory at the peak, in MiB.
    pub(crate) memory_mib: f64,
    /// The folder where each answer `<anything>: <text>` has to have left a file of its own with that text
    /// and a newline.
    pub(crate) files: Option<&'static str>,
}

/// What came of all requests.
struct Answered {
    /// The bodies of the answers.
    answers: Vec<String>,
    /// From the last request sent to the last answer.
    seconds: f64,
    /// Resident memory when all connections had sent half a head.
    half_open_mib: f64,
}

impl InFlight {
    /// # Errors
    /// When an answer is missing or is no 200.
    #[expect(clippy::cast_precision_loss, reason = "some thousand requests")]
    pub(crate) async fn measure(&self, environment: &Environment<'_>) -> Result<Vec<Row>> {
        raise_open_files_limit()?;
        let server = environment.service(self.env).await?;
        sleep(Duration::from_secs(1)).await;
        let idle_mib = server.endpoint.resident_mib()?;
        let answered = timeout(TIMEOUT, self.ask(&server)).await;
        let Answered { answers, seconds, half_open_mib } =
            answered.context("not all were answered")??;
        let peak_mib = server.endpoint.peak_mib()?;
        server.stop().await?;

        let row = |figure: &str| Row::new(self.target, &format!("{REQUESTS} in flight: {figure}"));
        let mut rows = vec![
            row("last sent to last answered").at_most(seconds, self.within.as_secs_f64(), " s"),
            row("memory in all, peak").at_most(peak_mib, self.memory_mib, " MiB"),
            row("memory of each when half its head was sent").at_most(
                (half_open_mib - idle_mib) * 1024.0 / REQUESTS as f64,
                HALF_OPEN_KIB,
                " KiB",
            ),
        ];
        if let Some(folder) = self.files {
            let complete = complete_files(&environment.path(folder), answers)?;
            let target = format!("= {REQUESTS}");
            rows.push(
                row("complete files, each with its answer's text")
                    .service(complete.to_string())
                    .target(target, complete == REQUESTS),
            );
        }
        Ok(rows)
    }

    async fn ask(&self, server: &Server) -> Result<Answered> {
        let request = Request::get(self.target).to_http(server.addr, "keep-alive");
        let (half, rest) = request.split_at(request.len() - 2);
        let mut streams = Vec::with_capacity(REQUESTS);
        for number in 0..REQUESTS {
            streams.push(TcpStream::connect(server.addr).await?);
            if (number + 1) % BATCH == 0 {
                // Once the newest is answered, all before it have been taken.
                server.fetch(&Request::get("/healthz")).await?;
            }
        }
        for stream in &mut streams {
            stream.write_all(half.as_bytes()).await?;
        }
        server.fetch(&Request::get("/healthz")).await?;
        let half_open_mib = server.endpoint.resident_mib()?;
        for stream in &mut streams {
            stream.write_all(rest.as_bytes()).await?;
        }
        let sent = Instant::now();
        let mut answers = Vec::with_capacity(REQUESTS);
        for stream in &mut streams {
            answers.push(read_answer(stream).await?);
        }
        Ok(Answered { answers, seconds: sent.elapsed().as_secs_f64(), half_open_mib })
    }
}

/// Reads the answer to one request; the connection stays open. Returns its body.
pub(crate) async fn read_answer(stream: &mut TcpStream) -> Result<String> {
    let mut bytes = Vec::with_capacity(1024);
    loop {
        ensure!(
            stream.read_buf(&mut bytes).await? > 0,
            "a connection was closed without an answer"
        );
        let text = str::from_utf8(&bytes)?;
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        ensure!(head.starts_with("HTTP/1.1 20"), "an answer is no success:\n{head}");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.context("an answer without a length")?.parse()?;
        if body.len() == length {
            return Ok(body.to_owned());
        }
    }
}

/// How many files are complete: those whose text is that of an answer which has no other file.
fn complete_files(folder: &Path, answers: Vec<String>) -> Result<usize> {
    let mut expected = std::collections::HashMap::<String, usize>::new();
    for answer in answers {
        let (_, text) = answer.split_once(": ").context("an answer without a text")?;
        *expected.entry(format!("{text}\n")).or_default() += 1;
    }
    let mut complete = 0;
    for file in fs::read_dir(folder)? {
        if let Some(missing) = expected.get_mut(&fs::read_to_string(file?.path())?)
            && *missing > 0
        {
            *missing -= 1;
            complete += 1;
        }
    }
    Ok(complete)
}

/// Every connection is a file.
fn raise_open_files_limit() -> Result<()> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    Ok(setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?)
}
