//! A download from one service through another: the lines of very many log files.

use std::{fs, path::Path, time::Instant};

use anyhow::{Result, ensure};

use super::held_files;
use super::streaming::receive;
use crate::environment::Environment;
use crate::report::Row;
use crate::samples::Samples;

/// A download through the service from another one.
pub(crate) struct Chain {
    /// Path of the request.
    pub(crate) target: &'static str,
    /// The variable that names the URL of the other service.
    pub(crate) upstream: &'static str,
    /// The other service, the variable of its folder, and the path of its download.
    pub(crate) from: (&'static str, &'static str, &'static str),
    /// Fewest MB a second.
    pub(crate) rate: f64,
}

impl Chain {
    /// # Errors
    /// When an answer is no 200, or fewer lines come than there are files.
    pub(crate) async fn measure(&self, environment: &Environment<'_>) -> Result<Vec<Row>> {
        let files = environment.plan.held_files;
        let folder = environment.path("files");
        fs::create_dir(&folder)?;
        held_files::make(&folder, files)?;
        let (service, variable, path) = self.from;
        let folder_name = folder.display().to_string();
        let env = [(variable, folder_name.as_str()), ("LOG_RETENTION_FILES", "2000000")];
        let from = environment.other_service(service, &env).await?;
        let url = format!("http://{}{path}", from.addr);
        let through = environment.service(&[(self.upstream, &url)]).await?;

        let [mut rate, mut bare] = [(); 2].map(|()| Samples::default());
        for _ in 0..environment.plan.min_rounds.min(5) {
            let started = Instant::now();
            let bytes = u32::try_from(receive(&through, self.target).await?)?;
            let seconds = started.elapsed().as_secs_f64();
            ensure!(u64::from(bytes) > files * 100, "only {bytes} bytes of {files} files came");
            rate.push(f64::from(bytes) / 1e6 / seconds);
            let folder = folder.clone();
            let seconds = tokio::task::spawn_blocking(move || read_all(&folder)).await??;
            bare.push(f64::from(bytes) / 1e6 / seconds);
        }
        through.stop().await?;
        from.stop().await?;
        let row =
            |figure: &str| Row::new(self.target, &format!("{files} files of {service}: {figure}"));
        Ok(vec![
            row("MB a second, beside one thread that only reads the files")
                .samples_at_least(&rate, Some(self.rate), "")
                .bare(bare.with_interval("")),
        ])
    }
}

/// What opening, reading and closing each file takes alone, in seconds.
fn read_all(folder: &Path) -> Result<f64> {
    let started = Instant::now();
    let mut bytes = 0;
    for file in fs::read_dir(folder)? {
        bytes += fs::read(file?.path())?.len();
    }
    ensure!(bytes > 0, "the files are empty");
    Ok(started.elapsed().as_secs_f64())
}
