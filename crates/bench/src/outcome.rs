//! What a scenario found, and how it is shown: a plain table and JSON.
//!
//! Invariant: the name of a figure ends with its unit and what the unit qualifies (`latency_us_p99`), and the
//! table and the JSON show the same figures.

use serde_json::{Map, Value, json};

use crate::histogram::Histogram;

#[derive(Debug, Clone)]
pub struct Outcome {
    pub scenario: String,
    pub target: String,
    pub parameters: Vec<(String, Value)>,
    pub figures: Vec<(String, f64)>,
    /// What a reader must know to judge the figures.
    pub notes: Vec<String>,
}

impl Outcome {
    pub fn new(scenario: &str, target: &str) -> Self {
        Self {
            scenario: scenario.into(),
            target: target.into(),
            parameters: Vec::new(),
            figures: Vec::new(),
            notes: Vec::new(),
        }
    }

    pub fn parameter(&mut self, name: &str, value: impl Into<Value>) {
        self.parameters.push((name.into(), value.into()));
    }

    pub fn figure(&mut self, name: impl Into<String>, value: f64) {
        self.figures.push((name.into(), value));
    }

    pub fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    /// The quantiles of a latency, in microseconds; nothing when nothing was measured.
    pub fn latency(&mut self, prefix: &str, latency_ns: &Histogram) {
        if latency_ns.count() == 0 {
            return;
        }
        for (name, share) in [("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("p999", 0.999)] {
            self.figure(format!("{prefix}_us_{name}"), latency_ns.quantile(share) as f64 / 1e3);
        }
        self.figure(format!("{prefix}_us_max"), latency_ns.max() as f64 / 1e3);
    }

    pub fn get(&self, name: &str) -> Option<f64> {
        self.figures.iter().find(|(figure, _)| figure == name).map(|(_, value)| *value)
    }

    pub fn json(&self) -> Value {
        let parameters: Map<String, Value> = self.parameters.iter().cloned().collect();
        let figures: Map<String, Value> =
            self.figures.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        json!({
            "scenario": self.scenario,
            "target": self.target,
            "parameters": parameters,
            "figures": figures,
            "notes": self.notes,
        })
    }

    pub fn table(&self) -> String {
        let mut text = format!("{} on {}", self.scenario, self.target);
        for (name, value) in &self.parameters {
            text.push_str(&format!("  {name}={}", plain(value)));
        }
        text.push('\n');
        let rows: Vec<Vec<String>> =
            self.figures.iter().map(|(name, value)| vec![format!("  {name}"), number(*value)]).collect();
        text.push_str(&table(&rows));
        for note in &self.notes {
            text.push_str(&format!("  note: {note}\n"));
        }
        text
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_string)
}

/// Four significant digits are more than a noisy machine can give; large numbers are grouped by thousands.
pub fn number(value: f64) -> String {
    let size = value.abs();
    if !value.is_finite() {
        return "-".into();
    }
    if size >= 999.95 {
        return grouped(value.round() as i64);
    }
    let decimals = match size {
        s if s >= 100.0 => 1,
        s if s >= 10.0 => 2,
        _ => 3,
    };
    format!("{value:.decimals$}")
}

fn grouped(value: i64) -> String {
    let digits = value.unsigned_abs().to_string();
    let mut text = String::from(if value < 0 { "-" } else { "" });
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Columns of text: the first to the left, the others to the right, two spaces between.
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let width = widths[column];
            if column == 0 {
                line.push_str(&format!("{cell:<width$}"));
            } else {
                line.push_str(&format!("  {cell:>width$}"));
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_grouped() {
        let cases = [
            (0.0, "0.000"),
            (0.0554, "0.055"),
            (12.345, "12.35"),
            (123.45, "123.5"),
            (999.94, "999.9"),
            (999.96, "1,000"),
            (1000.0, "1,000"),
            (19_000_000.4, "19,000,000"),
            (-1234.0, "-1,234"),
            (f64::NAN, "-"),
        ];
        for (value, text) in cases {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn columns_line_up() {
        let cells = |row: &[&str]| row.iter().map(ToString::to_string).collect::<Vec<_>>();
        let rows = [cells(&["name", "a", "b"]), cells(&["x", "1,000"]), cells(&["long name", "2", "µs"])];
        assert_eq!(table(&rows), "name           a   b\nx          1,000\nlong name      2  µs\n");
        assert_eq!(table(&[]), "");
    }

    #[test]
    fn table_and_json_show_the_same_figures() {
        let mut histogram = Histogram::default();
        histogram.record(50_000);
        let mut outcome = Outcome::new("latency", "here");
        outcome.parameter("size", 100);
        outcome.figure("deliver_msgs_per_s", 1000.0);
        outcome.latency("latency", &histogram);
        outcome.latency("nothing", &Histogram::default());
        let json = outcome.json();
        assert_eq!(json["parameters"]["size"], 100);
        assert_eq!(json["figures"]["latency_us_p99"], 50.0);
        assert_eq!(json["figures"].as_object().map(Map::len), Some(6));
        let text = outcome.table();
        assert!(text.starts_with("latency on here  size=100\n"), "{text}");
        for (name, _) in &outcome.figures {
            assert!(text.contains(name.as_str()), "{name} is missing in {text}");
        }
        assert_eq!(outcome.get("latency_us_max"), Some(50.0));
        assert_eq!(outcome.get("latency_us_min"), None);
    }
}
