//! Figures, and the tables of them.

use std::{iter::once, path::Path, thread::available_parallelism};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use tokio::process::Command;

use crate::command::output;
use crate::plan::Plan;
use crate::samples::Samples;

/// Whether a target is met.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Verdict {
    Met,
    Missed,
    /// The target is within the confidence interval: the noise was too great to tell.
    Undecided,
}

/// What a request costs, for the table of a million of them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Cost {
    /// CPU time a request in microseconds.
    CpuUs(f64),
    /// The most resident memory under load, in MiB.
    PeakMib(f64),
}

/// A figure of a service, beside the bare server's and the target where there are such.
#[derive(Serialize, Deserialize)]
pub(crate) struct Row {
    cells: [String; 5],
    verdict: Option<Verdict>,
    cost: Option<Cost>,
}

impl Row {
    /// `request` is empty for a figure of the whole service.
    pub(crate) fn new(request: &str, figure: &str) -> Self {
        let cells = [request, figure, "", "", ""].map(str::to_owned);
        Self { cells, verdict: None, cost: None }
    }

    /// A step that came to no figures.
    pub(crate) fn failed(step: &str, error: &anyhow::Error) -> Self {
        let mut row = Self::new("", step).service(format!("failed: {error:#}").replace('\n', " "));
        row.verdict = Some(Verdict::Missed);
        row
    }

    pub(crate) fn service(mut self, figure: String) -> Self {
        self.cells[2] = figure;
        self
    }

    pub(crate) fn bare(mut self, figure: String) -> Self {
        self.cells[3] = figure;
        self
    }

    pub(crate) fn costs(mut self, cost: Cost) -> Self {
        self.cost = Some(cost);
        self
    }

    pub(crate) fn target(mut self, target: String, is_met: bool) -> Self {
        self.cells[4] = target;
        self.verdict = Some(if is_met { Verdict::Met } else { Verdict::Missed });
        self
    }

    pub(crate) fn at_most(self, figure: f64, limit: f64, unit: &str) -> Self {
        self.service(format!("{figure:.2}{unit}"))
            .target(format!("≤ {limit:.2}{unit}"), figure <= limit)
    }

    /// Repeated measurements with their interval, and the most that they may be, if that is asked.
    pub(crate) fn samples_at_most(self, samples: &Samples, limit: Option<f64>, unit: &str) -> Self {
        let row = self.service(samples.with_interval(unit));
        let Some(limit) = limit else { return row };
        let (low, high) = samples.interval();
        row.judge(format!("≤ {limit:.2}{unit}"), high <= limit, low > limit)
    }

    /// Repeated measurements with their interval, and the least that they may be, if that is asked.
    pub(crate) fn samples_at_least(
        self,
        samples: &Samples,
        limit: Option<f64>,
        unit: &str,
    ) -> Self {
        let row = self.service(samples.with_interval(unit));
        let Some(limit) = limit else { return row };
        let (low, high) = samples.interval();
        row.judge(format!("≥ {limit:.2}{unit}"), low >= limit, high < limit)
    }

    fn judge(mut self, target: String, surely_met: bool, surely_missed: bool) -> Self {
        self.cells[4] = target;
        self.verdict = Some(match (surely_met, surely_missed) {
            (true, _) => Verdict::Met,
            (_, true) => Verdict::Missed,
            _ => Verdict::Undecided,
        });
        self
    }

    pub(crate) fn missed(&self) -> bool {
        self.verdict == Some(Verdict::Missed)
    }
}

/// The rows of one heading, as they are kept until all are there.
#[derive(Serialize, Deserialize)]
pub(crate) struct Section {
    pub(crate) name: String,
    pub(crate) rows: Vec<Row>,
    /// What they were measured on, as a sentence.
    pub(crate) conditions: String,
}

impl Section {
    /// A heading and what follows it, as in `docs/performance.md`.
    pub(crate) fn to_markdown(&self) -> String {
        format!("### {}\n\n{}\n{}\n\n", self.name, table(&self.rows), self.conditions)
    }

    pub(crate) fn missed(&self) -> usize {
        self.rows.iter().filter(|row| row.missed()).count()
    }
}

/// All rows as a Markdown table whose columns also line up on a terminal.
pub(crate) fn table(rows: &[Row]) -> String {
    let titles =
        ["request", "figure", "service", "bare server", "target", "met"].map(str::to_owned);
    let rows = rows.iter().map(|row| {
        let met = match row.verdict {
            None => "",
            Some(Verdict::Met) => "yes",
            Some(Verdict::Missed) => "NO",
            Some(Verdict::Undecided) => "noise",
        };
        let [subject, figure, service, bare, target] = row.cells.clone();
        [subject, figure, service, bare, target, met.to_owned()]
    });
    aligned(&once(titles).chain(rows).collect::<Vec<_>>())
}

/// What a million requests a day cost each service. One microsecond a request is one second a million.
pub(crate) fn costs(sections: &[Section]) -> String {
    let titles = ["service", "request", "CPU a day", "share of a core", "memory"];
    let mut rows = vec![titles.map(str::to_owned)];
    for section in sections {
        let memory = section.rows.iter().find_map(|row| match row.cost {
            Some(Cost::PeakMib(mib)) => Some(format!("{mib:.0} MiB")),
            _ => None,
        });
        for row in &section.rows {
            let Some(Cost::CpuUs(us)) = row.cost else { continue };
            rows.push([
                section.name.clone(),
                row.cells[0].clone(),
                format!("{us:.0} s"),
                format!("{:.3} %", us / 864.0),
                memory.clone().unwrap_or_default(),
            ]);
        }
    }
    aligned(&rows)
}

/// The first row is the heading.
fn aligned<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) -> String {
    let widths: [usize; COLUMNS] = std::array::from_fn(|column| {
        rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default()
    });
    let line = |row: &[String; COLUMNS]| {
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
pub(crate) async fn conditions(plan: &Plan, commit: &str) -> Result<String> {
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
    let Plan { min_rounds, max_rounds, round, latency, .. } = plan;
    Ok(format!(
        "Commit {commit}, measured on {date} on {cpu}, {cores} cores, {kernel},\nwith {compiler}; load average \
         before: {load}.\nwrk: {min_rounds} to {max_rounds} rounds of {round:?} on each side; oha: {latency:?}."
    ))
}

#[cfg(test)]
mod tests {
    use super::{Cost, Row, Section, Verdict, costs, table};
    use crate::samples::of as samples;

    #[test]
    fn a_target_within_the_interval_is_neither_met_nor_missed() {
        let verdict = |limit| {
            let row = Row::new("", "").samples_at_most(&samples([4, 5, 6]), Some(limit), "");
            row.verdict.unwrap()
        };
        let verdicts = [6.0, 5.0, 3.0].map(verdict);
        assert_eq!(verdicts, [Verdict::Met, Verdict::Undecided, Verdict::Missed]);
        let row = Row::new("", "").samples_at_least(&samples([4, 5, 6]), Some(4.0), "");
        assert_eq!(row.verdict, Some(Verdict::Met));
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
    fn a_step_that_failed_is_a_row_and_a_miss() {
        let error = anyhow::anyhow!("deadline\nelapsed").context("in flight");
        let row = Row::failed("ten thousand", &error);
        assert!(row.missed());
        assert!(table(&[row]).contains("| failed: in flight: deadline elapsed |"));
    }

    #[test]
    fn a_million_requests_cost_as_many_seconds_as_one_microseconds() {
        let rows = vec![
            Row::new("/", "CPU a request").costs(Cost::CpuUs(20.4)),
            Row::new("", "memory").costs(Cost::PeakMib(9.6)),
        ];
        let section = Section { name: "a".to_owned(), rows, conditions: String::new() };
        let table = costs(&[section]);
        assert!(
            table.ends_with("| a       | /       | 20 s      | 0.024 %         | 10 MiB |\n"),
            "{table}"
        );
    }
}
