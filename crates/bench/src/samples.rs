//! Repeated measurements.

/// Repeated measurements of one figure.
#[derive(Default)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    pub(crate) fn push(&mut self, sample: f64) {
        self.0.push(sample);
        self.0.sort_by(f64::total_cmp);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The middle one, of an even number the upper of the two; 0 without any.
    pub(crate) fn median(&self) -> f64 {
        self.0.get(self.0.len() / 2).copied().unwrap_or_default()
    }

    /// The confidence interval of the median, at least 95 %: the samples between which the median of all
    /// that could be measured lies, whatever their distribution. Of fewer than six samples it is their whole
    /// range, which is less certain.
    ///
    /// How many of `n` samples are below the true median follows a binomial distribution with p = 1/2. See
    /// NIST/SEMATECH, *e-Handbook of Statistical Methods*, on confidence limits for quantiles.
    pub(crate) fn interval(&self) -> (f64, f64) {
        let last = self.0.len().saturating_sub(1);
        // Each side may leave out as many as are that few in at most 2.5 % of all cases.
        let mut probability = 0.5_f64.powi(i32::try_from(self.0.len()).unwrap_or(i32::MAX));
        let (mut cumulated, mut left_out) = (probability, 0);
        while cumulated <= 0.025 && left_out < last / 2 {
            left_out += 1;
            #[expect(clippy::cast_precision_loss, reason = "some dozen samples")]
            let ratio = (self.0.len() + 1 - left_out) as f64 / left_out as f64;
            probability *= ratio;
            cumulated += probability;
        }
        let left_out = left_out.saturating_sub(1);
        let end = |index: usize| self.0.get(index).copied().unwrap_or_default();
        (end(left_out), end(last - left_out))
    }

    /// Width of the interval, relative to the median.
    pub(crate) fn interval_width(&self) -> f64 {
        let (low, high) = self.interval();
        (high - low) / self.median()
    }

    /// The median and its confidence interval.
    pub(crate) fn with_interval(&self, unit: &str) -> String {
        let (low, high) = self.interval();
        format!("{:.2}{unit} ({low:.2} to {high:.2})", self.median())
    }
}

/// Measurements of these values.
#[cfg(test)]
pub(crate) fn of(values: impl IntoIterator<Item = u8>) -> Samples {
    let mut samples = Samples::default();
    for value in values {
        samples.push(f64::from(value));
    }
    samples
}

#[cfg(test)]
mod tests {
    use super::of as samples;

    #[test]
    fn the_interval_of_a_median_is_that_of_the_tables() {
        // 95 % confidence limits for a median, as tables of nonparametric statistics have them: of 9 samples
        // the 2nd and 8th, of 20 the 6th and 15th, of 30 the 10th and 21st.
        for (count, low, high) in [(9, 2.0, 8.0), (20, 6.0, 15.0), (30, 10.0, 21.0)] {
            assert_eq!(samples((1..=count).rev()).interval(), (low, high), "of {count}");
        }
        assert_eq!(samples([3, 1, 20]).with_interval(" ms"), "3.00 ms (1.00 to 20.00)");
        assert_eq!(samples([]).interval(), (0.0, 0.0));
    }
}
