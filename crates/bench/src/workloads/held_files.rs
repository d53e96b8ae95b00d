//! A folder with very many files: what a service takes to start with it, to write one more, and to list it.

use std::{fs, path::Path, time::Instant};

use anyhow::{Result, ensure};

use crate::environment::Environment;
use crate::report::Row;
use crate::request::Request;
use crate::samples::Samples;
use crate::server::Server;
use crate::subject::Variable;

/// How many requests of a kind are timed.
const SAMPLES: usize = 101;

/// How many names a file has; ext4 allows 65 000.
const NAMES: u64 = 50_000;

/// The first file's time, in seconds since 1970.
const FIRST: u64 = 1_700_000_000;

/// A folder with very many files.
pub(crate) struct HeldFiles {
    /// The folder; its files are called `log_<seconds>.<nine decimals>.txt`.
    pub(crate) folder: &'static str,
    /// Variables beside those of the subject.
    pub(crate) env: &'static [Variable],
    /// Path of a request that writes one more file.
    pub(crate) written_by: &'static str,
    /// Path of a request that lists some of them.
    pub(crate) listed_by: &'static str,
    /// Longest time in ms from exec until `/readyz` answers 200.
    pub(crate) ready_ms: f64,
    /// Longest time of a write, as a multiple of the time in an empty folder.
    pub(crate) write_ratio: f64,
}

impl HeldFiles {
    /// # Errors
    /// When a request is not answered with 200, or files are not held.
    pub(crate) async fn measure(&self, environment: &Environment<'_>) -> Result<Vec<Row>> {
        let files = environment.plan.held_files;
        let empty = environment.service(self.env).await?;
        let write_empty_ms = time(&empty, self.written_by).await?;
        empty.stop().await?;
        make(&environment.path(self.folder), files)?;

        let server = environment.service(self.env).await?;
        let ready_ms = server.ready_after.as_secs_f64() * 1e3;
        let memory_mib = server.endpoint.resident_mib()?;
        let write_ms = time(&server, self.written_by).await?;
        let list_ms = time(&server, self.listed_by).await?;
        server.stop().await?;

        let row = |target, figure: &str| Row::new(target, &format!("{files} files held: {figure}"));
        let max_ms = write_empty_ms.median() * self.write_ratio;
        Ok(vec![
            row("", "exec to ready").at_most(ready_ms, self.ready_ms, " ms"),
            row("", "memory").service(format!("{memory_mib:.1} MiB")),
            row(self.written_by, "one write").at_most(write_ms.median(), max_ms, " ms"),
            row(self.listed_by, "one page").service(list_ms.with_interval(" ms")),
        ])
    }
}

/// Asks one request after the other, each on a connection of its own, and takes the time in ms.
async fn time(server: &Server, target: &'static str) -> Result<Samples> {
    let mut samples = Samples::default();
    for _ in 0..SAMPLES {
        let started = Instant::now();
        let answer = server.fetch(&Request::get(target)).await?;
        samples.push(started.elapsed().as_secs_f64() * 1e3);
        ensure!(answer.status() == Some(200), "{target} is answered with {:?}", answer.status());
    }
    Ok(samples)
}

/// Makes that many complete files of a few inodes: each inode costs a block of the disk, a name does not.
pub(super) fn make(folder: &Path, files: u64) -> Result<()> {
    let path = |number: u64| folder.join(format!("log_{}.{:09}.txt", FIRST + number, number));
    for number in 0..files {
        if number % NAMES == 0 {
            fs::write(path(number), "Preparing data...\n")?;
        } else {
            fs::hard_link(path(number - number % NAMES), path(number))?;
        }
    }
    Ok(())
}
