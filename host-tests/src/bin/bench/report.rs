//! Results: as a table for people, as JSON for programs.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use serde::Serialize;

/// One line of `target/bench/results.json`; lower is better.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Outcome {
    /// What was measured, such as `request/wardgate_cached`.
    pub(crate) bench: String,
    /// In what, such as `cpu_us_per_request`.
    pub(crate) metric: &'static str,
    /// The median of all rounds.
    pub(crate) value: f64,
    /// The lowest.
    pub(crate) min: f64,
    /// The highest.
    pub(crate) max: f64,
    /// Unit of the three.
    pub(crate) unit: &'static str,
    /// The bench that this one is compared with.
    pub(crate) baseline: Option<&'static str>,
    /// Median of `this / baseline`, pair by pair.
    pub(crate) ratio: Option<f64>,
    /// Median of what each adds over a bare Envoy: `(this - bare) / (baseline - bare)`.
    pub(crate) added_ratio: Option<f64>,
}

impl Outcome {
    /// A figure that stands alone.
    pub(crate) fn alone(
        bench: &str,
        metric: &'static str,
        unit: &'static str,
        rounds: &[f64],
    ) -> Self {
        let (min, value, max) = spread(rounds);
        Self {
            bench: bench.to_owned(),
            metric,
            value,
            min,
            max,
            unit,
            baseline: None,
            ratio: None,
            added_ratio: None,
        }
    }

    /// A part of all figures, such as 99 of a hundred; least and most are those of ten parts of the
    /// run.
    pub(crate) fn percentile(
        bench: &str,
        metric: &'static str,
        unit: &'static str,
        figures: &[f64],
        part: f64,
    ) -> Self {
        let parts = figures.chunks(figures.len().div_ceil(10).max(1));
        let of_parts: Vec<_> = parts.map(|figures| percentile(figures, part)).collect();
        let mut outcome = Self::alone(bench, metric, unit, &of_parts);
        outcome.value = percentile(figures, part);
        outcome
    }

    /// Compares with `baseline`, pair by pair: what disturbs one round disturbs both.
    pub(crate) fn compare(
        &mut self,
        baseline: &'static str,
        rounds: &[f64],
        other: &[f64],
        bare: &[f64],
    ) {
        if other.is_empty() {
            return;
        }
        let pairs = rounds.iter().zip(other);
        let ratios: Vec<_> = pairs.clone().map(|(this, other)| this / other).collect();
        let added = pairs.zip(bare).map(|((this, other), bare)| (this - bare) / (other - bare));
        self.baseline = Some(baseline);
        self.ratio = Some(spread(&ratios).1);
        self.added_ratio = Some(spread(&added.collect::<Vec<_>>()).1);
    }
}

/// The figure below which this part of them lies, from 0 to 1.
pub(crate) fn percentile(figures: &[f64], part: f64) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let count = u32::try_from(sorted.len()).map_or(0.0, f64::from);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a part of a count is one"
    )]
    let index = (count * part).ceil() as usize;
    sorted.get(index.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

/// Lowest, median, highest.
pub(crate) fn spread(rounds: &[f64]) -> (f64, f64, f64) {
    let mut sorted = rounds.to_vec();
    sorted.sort_by(f64::total_cmp);
    let first = sorted.first().copied().unwrap_or(f64::NAN);
    let last = sorted.last().copied().unwrap_or(f64::NAN);
    let upper = sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN);
    let lower = sorted.get(sorted.len().saturating_sub(1) / 2).copied().unwrap_or(f64::NAN);
    (first, f64::midpoint(lower, upper), last)
}

/// Writes the results as JSON. Lines of benches that were not run this time stay.
pub(crate) fn write_json(file: &Path, outcomes: &[Outcome]) -> Result<()> {
    let known: Vec<serde_json::Value> =
        fs::read(file).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
    let is_new = |line: &serde_json::Value| {
        outcomes.iter().any(|outcome| line.get("bench") == Some(&outcome.bench.clone().into()))
    };
    let mut lines: Vec<_> = known.into_iter().filter(|line| !is_new(line)).collect();
    for outcome in outcomes {
        lines.push(serde_json::to_value(outcome)?);
    }
    fs::create_dir_all(file.parent().context("no directory")?)?;
    fs::write(file, serde_json::to_vec_pretty(&lines)?)?;
    Ok(())
}

/// The results as an aligned table.
pub(crate) fn table(outcomes: &[Outcome]) -> String {
    let header = ["bench", "median", "min", "max", "unit", "baseline", "ratio", "added"];
    let mut rows = vec![header.map(ToOwned::to_owned)];
    let ratio = |ratio: Option<f64>| ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}"));
    rows.extend(outcomes.iter().map(|outcome| {
        [
            outcome.bench.clone(),
            format!("{:.2}", outcome.value),
            format!("{:.2}", outcome.min),
            format!("{:.2}", outcome.max),
            outcome.unit.to_owned(),
            outcome.baseline.unwrap_or_default().to_owned(),
            ratio(outcome.ratio),
            ratio(outcome.added_ratio),
        ]
    }));
    let mut text = String::new();
    for row in &rows {
        for (column, cell) in row.iter().enumerate() {
            let width = rows.iter().filter_map(|row| row.get(column)).map(String::len).max();
            let width = width.unwrap_or(0);
            // Names to the left, figures to the right.
            let cell = if matches!(column, 0 | 4 | 5) {
                format!("{cell:<width$}  ")
            } else {
                format!("{cell:>width$}  ")
            };
            text.push_str(&cell);
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{percentile, spread};

    #[track_caller]
    fn check(rounds: &[f64], expected: (f64, f64, f64)) {
        assert_eq!(spread(rounds), expected);
    }

    #[test]
    fn a_percentile_is_one_of_the_figures() {
        let figures: Vec<_> = (1..=100).map(f64::from).collect();
        let near = |part, expected: f64| (percentile(&figures, part) - expected).abs() < 0.1;
        assert!(near(0.5, 50.0) && near(0.99, 99.0));
        assert!((percentile(&[7.0], 0.99) - 7.0).abs() < f64::EPSILON);
    }

    #[test]
    fn the_median_lies_between_the_two_in_the_middle() {
        check(&[3.0, 1.0, 2.0], (1.0, 2.0, 3.0));
        check(&[4.0, 1.0, 2.0, 3.0], (1.0, 2.5, 4.0));
    }
}
