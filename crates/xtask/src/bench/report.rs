//! The table of figures, and where it goes.

use std::{fmt, iter::once, path::Path, thread::available_parallelism};

use anyhow::{Context, Result};

use super::{
    Plan,
    load::{CONNECTIONS, Percentiles},
    output,
};

/// Repeated measurements of one figure.
#[derive(Default)]
pub(super) struct Samples(Vec<f64>);

impl Samples {
    pub(super) fn push(&mut self, sample: f64) {
        self.0.push(sample);
        self.0.sort_by(f64::total_cmp);
    }

    /// The middle one, of an even number the upper of the two; 0 without any.
    pub(super) fn median(&self) -> f64 {
        self.0.get(self.0.len() / 2).copied().unwrap_or_default()
    }

    /// The median with the least and the greatest.
    pub(super) fn with_range(&self, unit: &str) -> String {
        let (least, greatest) = (self.0.first(), self.0.last());
        let [least, greatest] = [least, greatest].map(|end| end.copied().unwrap_or_default());
        format!("{:.2}{unit} ({least:.2} to {greatest:.2})", self.median())
    }
}

impl fmt::Display for Percentiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p90, p99, p99_9] =
            [self.p50, self.p90, self.p99, self.p99_9].map(|seconds| seconds * 1e3);
        write!(f, "{p50:.2}, {p90:.2}, {p99:.2}, {p99_9:.2} ms")
    }
}

/// A figure of a service, beside the bare server's and the target where there are such.
pub(super) struct Row {
    cells: [String; 5],
    met: Option<bool>,
}

impl Row {
    /// `request` is empty for a figure of the whole service.
    pub(super) fn new(service: &str, request: &str, figure: &str) -> Self {
        let subject = format!("{service} {request}").trim_end().to_owned();
        let empty = String::new;
        Self { cells: [subject, figure.to_owned(), empty(), empty(), empty()], met: None }
    }

    pub(super) fn service(mut self, figure: String) -> Self {
        self.cells[2] = figure;
        self
    }

    pub(super) fn bare(mut self, figure: String) -> Self {
        self.cells[3] = figure;
        self
    }

    pub(super) fn target(mut self, target: String, met: bool) -> Self {
        self.cells[4] = target;
        self.met = Some(met);
        self
    }

    pub(super) fn at_most(self, figure: f64, most: f64, unit: &str) -> Self {
        self.service(format!("{figure:.2}{unit}"))
            .target(format!("≤ {most:.2}{unit}"), figure <= most)
    }

    pub(super) fn missed(&self) -> bool {
        self.met == Some(false)
    }
}

/// All rows as a Markdown table whose columns also line up on a terminal.
pub(super) fn table(rows: &[Row]) -> String {
    let titles = ["what", "figure", "service", "bare server", "target", "met"].map(str::to_owned);
    let rows = rows.iter().map(|row| {
        let met = row.met.map_or("", |met| if met { "yes" } else { "NO" });
        let [subject, figure, service, bare, target] = row.cells.clone();
        [subject, figure, service, bare, target, met.to_owned()]
    });
    let rows: Vec<_> = once(titles).chain(rows).collect();
    let widths: [usize; 6] = std::array::from_fn(|column| {
        rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default()
    });
    let line = |row: &[String; 6]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("| {cell:width$} "));
        cells.chain(once("|\n".to_owned())).collect::<String>()
    };
    let rule = line(&widths.map(|width| "-".repeat(width)));
    let mut lines: Vec<_> = rows.iter().map(line).collect();
    lines.insert(1, rule);
    lines.concat()
}

/// What the figures were measured with and on, as a Markdown list.
///
/// # Errors
/// Where there is no Linux.
pub(super) async fn conditions(plan: &Plan) -> Result<String> {
    let proc = |file| {
        std::fs::read_to_string(Path::new("/proc").join(file))
            .context("only Linux tells what another process has used")
    };
    let cpuinfo = proc("cpuinfo")?;
    let cpu = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
    let Plan { rounds, round, latency, .. } = plan;
    let list = [
        ("Date", output("date", &["-u", "+%F %H:%M UTC"]).await?),
        ("Machine", format!("{}, {} cores", cpu.unwrap_or("unknown"), available_parallelism()?)),
        ("Kernel", output("uname", &["-srm"]).await?),
        ("Load average before the run", proc("loadavg")?.split(' ').take(1).collect()),
        ("Compiler", output("rustc", &["--version"]).await?),
        ("Server", "release build, one worker, plain HTTP/1.1 over loopback".to_owned()),
        ("Access log", "JSON on stdout, which is a file on disk".to_owned()),
        ("Load", format!("{CONNECTIONS} keep-alive connections")),
        ("Throughput and CPU", format!("wrk, {rounds} rounds of {round:?}, alternating, median")),
        ("Latency", format!("oha, {latency:?}, corrected for coordinated omission")),
    ];
    Ok(list.map(|(name, value)| format!("- {name}: {}\n", value.trim_end())).concat())
}

/// Puts the text between the markers in `docs/performance.md`.
///
/// # Errors
/// When the file or a marker is missing.
pub(super) fn write(root: &Path, text: &str) -> Result<()> {
    const BEGIN: &str = "<!-- bench:begin -->\n";
    const END: &str = "<!-- bench:end -->";
    let path = root.join("docs/performance.md");
    let page = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    let parts = page.split_once(BEGIN).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(END)?;
        Some((before, after))
    });
    let (before, after) = parts.context("docs/performance.md has lost a marker")?;
    Ok(std::fs::write(path, format!("{before}{BEGIN}\n{text}\n{END}{after}"))?)
}

#[cfg(test)]
mod tests {
    use super::{Row, Samples, table};

    #[test]
    fn the_median_is_the_middle_of_the_samples_whatever_their_order() {
        let mut samples = Samples::default();
        for sample in [3.0, 1.0, 20.0] {
            samples.push(sample);
        }
        assert_eq!(samples.with_range(" ms"), "3.00 ms (1.00 to 20.00)");
    }

    #[test]
    fn the_table_lines_up_and_shows_what_was_missed() {
        let rows = [
            Row::new("s", "/é", "memory").at_most(2.0, 1.0, " MiB"),
            Row::new("s", "", "rate").service("1".to_owned()).bare("2".to_owned()),
        ];
        let expected = "\
            | what | figure | service  | bare server | target     | met |\n\
            | ---- | ------ | -------- | ----------- | ---------- | --- |\n\
            | s /é | memory | 2.00 MiB |             | ≤ 1.00 MiB | NO  |\n\
            | s    | rate   | 1        | 2           |            |     |\n";
        assert_eq!(table(&rows), expected);
        assert_eq!(rows.map(|row| row.missed()), [true, false]);
    }
}
