//! The table of figures, and where it goes.

use std::{iter::once, path::Path, thread::available_parallelism};

use anyhow::{Context, Result};

use tokio::process::Command;

use crate::command::output;
use crate::plan::Plan;

/// Repeated measurements of one figure.
#[derive(Default)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    pub(crate) fn push(&mut self, sample: f64) {
        self.0.push(sample);
        self.0.sort_by(f64::total_cmp);
    }

    /// The middle one, of an even number the upper of the two; 0 without any.
    pub(crate) fn median(&self) -> f64 {
        self.0.get(self.0.len() / 2).copied().unwrap_or_default()
    }

    /// The median with the least and the greatest.
    pub(crate) fn with_range(&self, unit: &str) -> String {
        let (least, greatest) = (self.0.first(), self.0.last());
        let [least, greatest] = [least, greatest].map(|end| end.copied().unwrap_or_default());
        format!("{:.2}{unit} ({least:.2} to {greatest:.2})", self.median())
    }
}

/// A figure of a service, beside the bare server's and the target where there are such.
pub(crate) struct Row {
    cells: [String; 5],
    is_met: Option<bool>,
}

impl Row {
    /// `request` is empty for a figure of the whole service.
    pub(crate) fn new(request: &str, figure: &str) -> Self {
        let cells = [request, figure, "", "", ""].map(str::to_owned);
        Self { cells, is_met: None }
    }

    pub(crate) fn service(mut self, figure: String) -> Self {
        self.cells[2] = figure;
        self
    }

    pub(crate) fn bare(mut self, figure: String) -> Self {
        self.cells[3] = figure;
        self
    }

    pub(crate) fn target(mut self, target: String, is_met: bool) -> Self {
        self.cells[4] = target;
        self.is_met = Some(is_met);
        self
    }

    pub(crate) fn at_most(self, figure: f64, limit: f64, unit: &str) -> Self {
        self.service(format!("{figure:.2}{unit}"))
            .target(format!("≤ {limit:.2}{unit}"), figure <= limit)
    }

    /// A ratio of rounds, and the most that its median may be, if that is asked.
    pub(crate) fn ratio_at_most(self, ratio: &Samples, limit: Option<f64>) -> Self {
        let row = self.service(ratio.with_range(""));
        match limit {
            Some(limit) => row.target(format!("≤ {limit:.2}"), ratio.median() <= limit),
            None => row,
        }
    }

    pub(crate) fn missed(&self) -> bool {
        self.is_met == Some(false)
    }
}

/// All rows as a Markdown table whose columns also line up on a terminal.
pub(crate) fn table(rows: &[Row]) -> String {
    let titles =
        ["request", "figure", "service", "bare server", "target", "met"].map(str::to_owned);
    let rows = rows.iter().map(|row| {
        let met = row.is_met.map_or("", |met| if met { "yes" } else { "NO" });
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

/// What the figures were measured with and on, as a sentence.
///
/// # Errors
/// Where there is no Linux.
pub(crate) async fn conditions(plan: &Plan) -> Result<String> {
    let proc = |file| {
        std::fs::read_to_string(Path::new("/proc").join(file))
            .context("only Linux tells what another process has used")
    };
    let cpuinfo = proc("cpuinfo")?;
    let cpu = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
    let command = async |program, args: &[&str]| {
        let mut command = Command::new(program);
        command.args(args);
        Ok::<_, anyhow::Error>(output(command).await?.trim_end().to_owned())
    };
    let date = command("date", &["-u", "+%F %H:%M UTC"]).await?;
    let kernel = command("uname", &["-srm"]).await?;
    let compiler = command("rustc", &["--version"]).await?;
    let (cpu, cores) = (cpu.unwrap_or("unknown processor"), available_parallelism()?);
    let load = proc("loadavg")?.split(' ').take(1).collect::<String>();
    let Plan { rounds, round, latency, .. } = plan;
    Ok(format!(
        "Measured on {date} on {cpu}, {cores} cores, {kernel},\nwith {compiler}; load average before: \
         {load}.\nwrk: {rounds} rounds of {round:?} on each side; oha: {latency:?}."
    ))
}

/// A heading and what follows it, as in `docs/performance.md`.
pub(crate) fn section(name: &str, rows: &[Row], conditions: &str) -> String {
    format!("### {name}\n\n{}\n{conditions}\n\n", table(rows))
}

/// Puts sections between the markers in `docs/performance.md`, in place of those with the same headings and in
/// the order of `names`.
///
/// # Errors
/// When the file or a marker is missing.
pub(crate) fn write<'a>(
    root: &Path,
    measured: &[String],
    names: impl Iterator<Item = &'a str>,
) -> Result<()> {
    const BEGIN: &str = "<!-- bench:begin -->\n\n";
    const END: &str = "<!-- bench:end -->";
    let path = root.join("docs/performance.md");
    let page = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    let parts = page.split_once(BEGIN).and_then(|(before, rest)| {
        let (sections, after) = rest.split_once(END)?;
        Some((before, sections, after))
    });
    let (before, sections, after) = parts.context("docs/performance.md has lost a marker")?;
    let sections = merge(sections, measured, names);
    Ok(std::fs::write(path, format!("{before}{BEGIN}{sections}{END}{after}"))?)
}

/// The sections in the order of `names`: the new one where there is one, else the old one.
fn merge<'a>(old: &str, new: &[String], names: impl Iterator<Item = &'a str>) -> String {
    let old = old.split("### ").skip(1).map(|section| format!("### {section}"));
    let sections: Vec<String> = new.iter().cloned().chain(old).collect();
    let find = |name| {
        let heading = format!("### {name}\n");
        sections.iter().find(|section| section.starts_with(&heading)).map(String::as_str)
    };
    names.filter_map(find).collect()
}

#[cfg(test)]
mod tests {
    use super::{Row, Samples, merge, section, table};

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
            Row::new("/é", "memory").at_most(2.0, 1.0, " MiB"),
            Row::new("", "rate").service("1".to_owned()).bare("2".to_owned()),
        ];
        let expected = "\
            | request | figure | service  | bare server | target     | met |\n\
            | ------- | ------ | -------- | ----------- | ---------- | --- |\n\
            | /é      | memory | 2.00 MiB |             | ≤ 1.00 MiB | NO  |\n\
            |         | rate   | 1        | 2           |            |     |\n";
        assert_eq!(table(&rows), expected);
        assert_eq!(rows.map(|row| row.missed()), [true, false]);
    }

    #[test]
    fn a_section_takes_its_place_and_leaves_the_others() {
        let [old, new] =
            ["old", "new"].map(|word| [section("a", &[], word), section("b c", &[], word)]);

        let merged = merge(&old.concat(), &new[1..], ["a", "b", "b c"].into_iter());

        assert_eq!(merged, [&*old[0], &*new[1]].concat());
        assert_eq!(merge("", &new[..1], ["a", "b c"].into_iter()), new[0]);
    }
}
