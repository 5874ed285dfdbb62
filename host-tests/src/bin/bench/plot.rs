//! The results as a picture: one bar per bench, grey for Envoy's own, with the spread as a line.

use std::{fmt::Write as _, fs, path::Path};

use anyhow::Result;

use super::report::Outcome;

const WIDTH: f64 = 760.0;
const LABELS: f64 = 210.0;
const FIGURES: f64 = 110.0;
const BAR: f64 = 18.0;
const STEP: f64 = 28.0;
const TOP: f64 = 56.0;

/// Draws the outcomes of the group `request`.
pub(crate) fn write(file: &Path, outcomes: &[Outcome]) -> Result<()> {
    let shown: Vec<_> =
        outcomes.iter().filter(|outcome| outcome.metric == "cpu_us_per_request").collect();
    if let Some(directory) = file.parent() {
        fs::create_dir_all(directory)?;
    }
    Ok(fs::write(file, draw(&shown)?)?)
}

fn draw(outcomes: &[&Outcome]) -> Result<String> {
    let highest = outcomes.iter().map(|outcome| outcome.max).fold(1.0, f64::max);
    let scale = (WIDTH - LABELS - FIGURES) / highest;
    let rows = u32::try_from(outcomes.len()).map_or(0.0, f64::from);
    let height = rows.mul_add(STEP, TOP + 12.0);
    let mut svg = String::new();
    writeln!(
        svg,
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="system-ui, sans-serif" font-size="13">"#
    )?;
    writeln!(svg, r##"<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>"##)?;
    writeln!(
        svg,
        r##"<text x="12" y="24" font-size="16" fill="#1b1f24">Processor time per request, in µs</text>"##
    )?;
    writeln!(
        svg,
        r##"<text x="12" y="42" fill="#57606a">Less is better. Bars: median of the rounds; line: lowest to highest.</text>"##
    )?;
    let mut y = TOP;
    for outcome in outcomes {
        bar(&mut svg, outcome, y, scale)?;
        y += STEP;
    }
    svg.push_str("</svg>\n");
    Ok(svg)
}

fn bar(svg: &mut String, outcome: &Outcome, y: f64, scale: f64) -> Result<()> {
    let name = outcome.bench.trim_start_matches("request/");
    let colour = if name.starts_with("wardgate") { "#1f6feb" } else { "#8c959f" };
    let (text, middle) = (y + 14.0, y + BAR / 2.0);
    let width = outcome.value * scale;
    let (low, high) = (outcome.min.mul_add(scale, LABELS), outcome.max.mul_add(scale, LABELS));
    writeln!(
        svg,
        r##"<text x="{}" y="{text}" text-anchor="end" fill="#1b1f24">{name}</text>"##,
        LABELS - 8.0
    )?;
    writeln!(
        svg,
        r#"<rect x="{LABELS}" y="{y}" width="{width:.1}" height="{BAR}" fill="{colour}"/>"#
    )?;
    writeln!(
        svg,
        r##"<path d="M{low:.1} {middle}H{high:.1}" stroke="#1b1f24" stroke-width="1.5"/>"##
    )?;
    let ratio = outcome.ratio.map_or_else(String::new, |ratio| format!(" ({ratio:.2}×)"));
    writeln!(
        svg,
        r##"<text x="{:.1}" y="{text}" fill="#1b1f24">{:.1}{ratio}</text>"##,
        high + 6.0,
        outcome.value
    )?;
    Ok(())
}
