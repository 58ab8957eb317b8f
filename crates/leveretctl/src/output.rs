//! How lists are written: as rabbitmqctl's tables, as JSON, as CSV, or in a frame.
//!
//! Invariant: a cell never breaks a line or a column, whatever a name holds.

use crate::arguments::Formatter;
use serde_json::{Map, Value};
use std::fmt::Write as _;

/// Columns and their values, row by row.
#[derive(Debug, Default)]
pub(crate) struct Table {
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<Vec<Value>>,
}

impl Table {
    pub(crate) fn new(columns: &[&str]) -> Table {
        Table { columns: columns.iter().map(|name| (*name).to_owned()).collect(), rows: Vec::new() }
    }

    pub(crate) fn render(&self, formatter: Formatter, headers: bool) -> String {
        match formatter {
            Formatter::Json => self.json(),
            Formatter::Table => self.separated("\t", headers, cell),
            Formatter::Csv => self.separated(",", headers, |value| quoted(&cell(value))),
            Formatter::PrettyTable => self.framed(headers),
        }
    }

    fn json(&self) -> String {
        let objects: Vec<Value> = self
            .rows
            .iter()
            .map(|row| {
                Value::Object(self.columns.iter().cloned().zip(row.iter().cloned()).collect::<Map<_, _>>())
            })
            .collect();
        let lines: Vec<String> = objects.iter().map(Value::to_string).collect();
        format!("[\n{}\n]\n", lines.join("\n,"))
    }

    fn separated(&self, separator: &str, headers: bool, cell: impl Fn(&Value) -> String) -> String {
        let mut text = String::new();
        if headers && !self.rows.is_empty() {
            text.push_str(&self.columns.join(separator));
            text.push('\n');
        }
        for row in &self.rows {
            let cells: Vec<String> = row.iter().map(&cell).collect();
            text.push_str(&cells.join(separator));
            text.push('\n');
        }
        text
    }

    fn framed(&self, headers: bool) -> String {
        let rows: Vec<Vec<String>> = self.rows.iter().map(|row| row.iter().map(cell).collect()).collect();
        let width = |at: usize| {
            let cells = rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count());
            cells.chain(self.columns.get(at).map(|name| name.chars().count())).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let edge = |left: &str, middle: &str, right: &str| {
            let bars: Vec<String> = widths.iter().map(|width| "─".repeat(width + 2)).collect();
            format!("{left}{}{right}\n", bars.join(middle))
        };
        let line = |cells: &[String]| {
            let mut text = String::from("│");
            for (cell, width) in cells.iter().zip(&widths) {
                let _ = write!(text, " {cell:<width$} │");
            }
            text.push('\n');
            text
        };
        let mut text = edge("┌", "┬", "┐");
        if headers {
            text.push_str(&line(&self.columns));
            text.push_str(&edge("├", "┼", "┤"));
        }
        rows.iter().for_each(|row| text.push_str(&line(row)));
        text.push_str(&edge("└", "┴", "┘"));
        text
    }
}

/// A value in a table's cell.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.chars().flat_map(escaped).collect(),
        other => other.to_string(),
    }
}

fn escaped(c: char) -> Vec<char> {
    match c {
        '\t' => vec!['\\', 't'],
        '\n' => vec!['\\', 'n'],
        '\r' => vec!['\\', 'r'],
        c if c.is_control() => vec!['\u{fffd}'],
        c => vec![c],
    }
}

fn quoted(text: &str) -> String {
    if text.contains([',', '"']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

/// A table of arguments as rabbitmqctl writes it: `[{"x-max-length",5}]`.
pub(crate) fn arguments(value: &Value) -> Value {
    let Value::Object(map) = value else { return Value::String("[]".to_owned()) };
    let pairs: Vec<String> = map.iter().map(|(key, value)| format!("{{\"{key}\",{value}}}")).collect();
    Value::String(format!("[{}]", pairs.join(",")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn table() -> Table {
        let mut table = Table::new(&["name", "messages"]);
        table.rows = vec![vec![json!("a\tb"), json!(1)], vec![json!("c,d"), Value::Null]];
        table
    }

    #[test]
    fn each_formatter_writes_the_same_rows() {
        let expected = [
            (Formatter::Table, true, "name\tmessages\na\\tb\t1\nc,d\t\n"),
            (Formatter::Table, false, "a\\tb\t1\nc,d\t\n"),
            (Formatter::Csv, true, "name,messages\na\\tb,1\n\"c,d\",\n"),
            (
                Formatter::Json,
                true,
                "[\n{\"messages\":1,\"name\":\"a\\tb\"}\n,{\"messages\":null,\"name\":\"c,d\"}\n]\n",
            ),
        ];
        for (formatter, headers, text) in expected {
            assert_eq!(table().render(formatter, headers), text, "{formatter:?}");
        }
        let framed = table().render(Formatter::PrettyTable, true);
        assert!(framed.starts_with("┌──────┬──────────┐\n│ name │ messages │\n"), "{framed}");
        assert_eq!(Table::new(&["name"]).render(Formatter::Table, true), "");
    }

    #[test]
    fn arguments_are_written_as_pairs() {
        assert_eq!(
            arguments(&json!({"x-max-length": 5, "k": "v"})),
            json!("[{\"k\",\"v\"},{\"x-max-length\",5}]")
        );
        assert_eq!(arguments(&json!({})), json!("[]"));
    }
}
