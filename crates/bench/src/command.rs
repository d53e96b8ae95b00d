//! Other programs.

use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

/// What a command, which must succeed, writes to stdout.
pub(crate) async fn output(mut command: Command) -> Result<String> {
    let output = command
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .output()
        .await
        .with_context(|| format!("cannot run {command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", output.status);
    Ok(String::from_utf8(output.stdout)?)
}
