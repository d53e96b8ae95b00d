//! The work that leaves a log file.

use actix_web::{get, web};
use common::{Problem, problems};
use rand::seq::IndexedRandom as _;

use crate::config::Config;
use crate::log_files::LogFiles;

problems! {
    /// What writing a log file may end with.
    WriteProblems { 507: "The log volume is full, read-only or gone" }
}

/// What a request can leave in the log.
const MESSAGES: [&str; 4] =
    ["Processing request...", "Executing task...", "Preparing data...", "Performing operation..."];

/// Work for a while, and leave a message in a log file of its own.
///
/// The answer comes once the file is durable. A client that goes away during `PROCESSING_DELAY` leaves
/// no file; one that goes later may.
#[utoipa::path(
    tag = "data-api",
    responses(
        (status = 200, description = "The message that was written, one of four",
            body = String, content_type = "text/plain", example = "Log: Preparing data..."),
        WriteProblems,
    ),
)]
#[get("/")]
pub(crate) async fn get_processing(
    config: web::Data<Config>,
    files: web::Data<LogFiles>,
) -> Result<String, Problem> {
    tokio::time::sleep(config.processing.processing_delay).await;
    let message = MESSAGES.choose(&mut rand::rng()).copied().unwrap_or(MESSAGES[0]);
    let stamp = files.write(message).await?;
    tracing::info!(log_file.name = %stamp, "Log: {message}");
    Ok(format!("Log: {message}"))
}
