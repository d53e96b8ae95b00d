//! What a service says of itself in `/metrics`.

use anyhow::{Context, Result};

/// The sum of a counter's values over its series, which are lines of Prometheus' text format.
pub(crate) fn sum_of_series(metrics: &str, wanted: impl Fn(&str) -> bool) -> Result<u64> {
    let values = metrics.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        wanted(series).then_some(value)
    });
    values.map(|value| value.parse::<u64>().with_context(|| format!("{value} is no count"))).sum()
}

#[cfg(test)]
mod tests {
    use super::sum_of_series;

    #[test]
    fn a_counter_is_summed_over_the_wanted_series_alone() {
        let metrics = "# HELP a_total 9\na_total{x=\"1\"} 2\na_total{x=\"2\"} 3\nb_total 4\n";
        let sum = |part| sum_of_series(metrics, |series| series.contains(part)).unwrap();
        assert_eq!([sum("a_total"), sum("x=\"2\""), sum("missing")], [5, 3, 0]);
    }
}
