//! The alert rules, evaluated on what was scraped.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};
use serde_json::json;

use crate::observability;

/// Fires for as long as there is a game.
const ALWAYS: &str = "FaultInjectionEnabled";

/// What was scraped of a service, a sample of each series for each scrape.
#[derive(Debug)]
pub(super) struct Scrapes {
    job: &'static str,
    number: usize,
    series: BTreeMap<String, Vec<Option<String>>>,
}

impl Scrapes {
    pub(super) fn new(job: &'static str) -> Self {
        Self { job, number: 0, series: BTreeMap::new() }
    }

    /// Adds a scrape, in the Prometheus text format.
    pub(super) fn push(&mut self, metrics: &str) {
        let samples = metrics.lines().filter(|line| !line.starts_with('#'));
        for (series, value) in samples.filter_map(|line| line.rsplit_once(' ')) {
            let values = self.series.entry(self.labelled(series)).or_default();
            values.resize(self.number, None);
            values.push(Some(value.to_owned()));
        }
        self.number += 1;
    }

    /// A series with the labels that a scrape adds.
    fn labelled(&self, series: &str) -> String {
        let own = format!("job=\"{0}\",instance=\"{0}\",namespace=\"game\"", self.job);
        match series.split_once('{') {
            Some((name, labels)) => format!("{name}{{{own},{labels}"),
            None => format!("{series}{{{own}}}"),
        }
    }

    /// Whether the alert is silent before the fault and in the end, and fires at the end of the fault.
    ///
    /// # Errors
    /// When it is otherwise, or the program cannot be run.
    pub(super) fn evaluate(
        mut self,
        promtool: &Path,
        root: &Path,
        alert: &str,
        fault: usize,
        healing: usize,
    ) -> anyhow::Result<()> {
        let number = self.number;
        let series = self.series.iter_mut().map(|(series, values)| {
            values.resize(number, None);
            let values = values.iter().map(|value| value.as_deref().unwrap_or("_"));
            json!({ "series": series, "values": values.collect::<Vec<_>>().join(" ") })
        });
        let input: Vec<_> = series.collect();
        let firing = |alert: &str, at: usize, fires: bool| {
            let alerts =
                format!("ALERTS{{alertname=\"{alert}\",alertstate=\"firing\",namespace=\"game\"}}");
            json!({
                "expr": format!("(count({alerts}) > bool 0) or vector(0)"),
                "eval_time": format!("{at}m"),
                "exp_samples": [{ "labels": "{}", "value": u8::from(fires) }],
            })
        };
        let mut expected: Vec<_> = [(fault - 1, false), (healing - 1, true), (number - 1, false)]
            .map(|(at, fires)| firing(alert, at, fires || alert == ALWAYS))
            .into();
        expected.push(firing(ALWAYS, number - 1, true));
        let files = observability::rule_files(root)?;
        // JSON is YAML.
        let test = json!({
            "rule_files": files,
            "evaluation_interval": "1m",
            "tests": [{ "interval": "1m", "input_series": input, "promql_expr_test": expected }],
        });
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("test.yaml");
        fs::write(&file, test.to_string())?;
        let output = Command::new(promtool).args(["test", "rules"]).arg(&file).output();
        let output = output.with_context(|| format!("cannot run {}", promtool.display()))?;
        let said = [output.stdout, output.stderr].concat();
        ensure!(
            output.status.success(),
            "{alert} does not fire at the end of the fault alone:\n{}",
            String::from_utf8_lossy(&said)
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_that_comes_and_goes_has_gaps() {
        let mut scrapes = Scrapes::new("a");
        scrapes.push("# HELP x X.\nx 1\n");
        scrapes.push("x 2\ny{z=\"1 2\"} 3\n");
        scrapes.push("y{z=\"1 2\"} 4\n");
        let own = "job=\"a\",instance=\"a\",namespace=\"game\"";
        let values = |series: &str| scrapes.series[series].clone();
        let some = |value: &str| Some(value.to_owned());
        assert_eq!(values(&format!("x{{{own}}}")), [some("1"), some("2")]);
        let y = format!("y{{{own},z=\"1 2\"}}");
        assert_eq!(values(&y), [None, some("3"), some("4")]);
    }
}
