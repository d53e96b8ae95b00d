//! The log files, for those who have the key.

mod input;

use std::io;

use actix_web::http::header::LINK;
use actix_web::{HttpRequest, HttpResponse, get, mime, web};
use bytes::Bytes;
use common::{Problem, causes, problems};
use futures_util::{TryStreamExt as _, future};
use serde::Serialize;
use server::extract::{PaginationProblems, Query, take_memory};
use utoipa::ToSchema;

use input::{Authorized, Parameters};

use crate::error::Error;
use crate::log_files::{LogFile, LogFiles, Order};

/// What a download takes beside what every answer does: the files that are read at once, and their lines.
const DOWNLOAD_BYTES: usize = 96 * 1024;

problems! {
    /// What every endpoint of the log files may answer.
    VolumeProblems { 401: "No key", 503: "The log volume is gone, or still being listed" }

    /// What a list may answer.
    ListProblems: PaginationProblems, VolumeProblems { 422: "A bad `limit`, `cursor` or `since`" }

    /// What a download may answer.
    DownloadProblems: PaginationProblems, VolumeProblems { 422: "A bad `since`" }

    /// What a file may answer.
    FileProblems: VolumeProblems { 404: "No such file", 503: "The log volume is gone" }
}

/// The line of a log file.
#[derive(Debug, Serialize, ToSchema)]
struct LogLine {
    /// What the file is called.
    #[schema(example = "log_1715590067.000123000.txt")]
    name: String,
    /// When it was written, with nine decimals.
    #[schema(format = DateTime, example = "2024-05-13T08:47:47.000123000Z")]
    created: String,
    /// The line in it.
    #[schema(example = "Preparing data...")]
    message: String,
}

/// A log file.
#[derive(Debug, Serialize, ToSchema)]
struct LogEntry {
    #[serde(flatten)]
    line: LogLine,
    /// How many bytes the file has.
    #[schema(example = 18)]
    size: usize,
}

impl From<LogFile> for LogLine {
    fn from(file: LogFile) -> Self {
        Self {
            name: file.stamp.to_string(),
            created: file.stamp.rfc3339(),
            message: file.message(),
        }
    }
}

impl From<LogFile> for LogEntry {
    fn from(file: LogFile) -> Self {
        Self { size: file.bytes.len(), line: file.into() }
    }
}

/// List the log files, newest first.
///
/// A page is shorter than `limit` where files have gone; the header `Link` tells whether there is another.
#[utoipa::path(
    tag = "data-api",
    security((), ("bearerAuth" = [])),
    params(
        ("limit" = Option<u16>, Query, description = "How many, 100 by default", minimum = 1, maximum = 1000),
        ("cursor" = Option<String>, Query, description = "Where the page begins, from `Link` of the one before; empty is the first page",
            pattern = r"^(log_(0|[1-9][0-9]{0,9})\.[0-9]{9}\.txt)?$"),
        ("since" = Option<String>, Query, description = "Only files of this time and later", format = DateTime),
    ),
    responses(
        (status = 200, description = "A page of the list", body = Vec<LogEntry>,
            headers(("link" = String, description = "The next page, if there is one: `<...>; rel=\"next\"`"))),
        ListProblems,
    ),
)]
#[get("/logs")]
pub(crate) async fn get_logs(
    _: Authorized,
    Query(parameters): Query<Parameters>,
    files: web::Data<LogFiles>,
) -> Result<HttpResponse, Problem> {
    let (range, limit) = (parameters.range()?, parameters.limit()?);
    let (page, rest) = files.page(range, Order::NewestFirst, limit).await?;
    let mut response = HttpResponse::Ok();
    if let Some(rest) = rest {
        response.insert_header((LINK, input::link(&rest, limit)));
    }
    Ok(response.json(page.into_iter().map(LogEntry::from).collect::<Vec<_>>()))
}

/// Download the lines of all log files, oldest first.
///
/// Those of the files that are there when the download begins; files that go meanwhile are left out. A
/// download that cannot be completed breaks off without its last chunk.
#[utoipa::path(
    tag = "data-api",
    security((), ("bearerAuth" = [])),
    params(("since" = Option<String>, Query, description = "Only files of this time and later", format = DateTime)),
    responses(
        (status = 200, description = "An object in each line", body = LogLine, content_type = "application/x-ndjson"),
        DownloadProblems,
    ),
)]
#[get("/logs/download")]
pub(crate) async fn get_logs_download(
    _: Authorized,
    Query(parameters): Query<Parameters>,
    files: web::Data<LogFiles>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    // Before the first files are read, of which a crowd would have thousands.
    take_memory(&request, DOWNLOAD_BYTES)?;
    let chunks = files.download(parameters.since()?).await?;
    let lines = chunks
        // An empty chunk would end the answer.
        .try_filter_map(|chunk| future::ok((!chunk.is_empty()).then(|| lines(chunk))))
        .map_err(|error| io::Error::other(causes(&error)));
    Ok(HttpResponse::Ok().content_type("application/x-ndjson").streaming(lines))
}

fn lines(files: Vec<LogFile>) -> Bytes {
    let mut lines = Vec::new();
    for file in files {
        lines.extend(serde_json::to_vec(&LogLine::from(file)).unwrap_or_default());
        lines.push(b'\n');
    }
    lines.into()
}

/// One log file as it is.
#[utoipa::path(
    tag = "data-api",
    security((), ("bearerAuth" = [])),
    params(("name" = String, Path, description = "The file's name", example = "log_1715590067.000123000.txt")),
    responses(
        (status = 200, description = "Its bytes", body = String, content_type = "text/plain", example = "Preparing data...\n"),
        FileProblems,
    ),
)]
#[get("/logs/{name}")]
pub(crate) async fn get_log(
    _: Authorized,
    name: web::Path<String>,
    files: web::Data<LogFiles>,
) -> Result<HttpResponse, Problem> {
    // Only a name of ours goes any further, and none of those leads out of the directory.
    let stamp = name.parse().map_err(|()| Error::NotFound)?;
    let file = files.read(stamp).await?;
    Ok(HttpResponse::Ok().content_type(mime::TEXT_PLAIN_UTF_8).body(file.bytes))
}
