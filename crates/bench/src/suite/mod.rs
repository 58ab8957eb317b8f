//! Runs the table of figures, for one target or several side by side.
//!
//! Invariant: targets alternate within a row, so that a change of the machine's mood touches all of them; a target
//! that fails a row shows the error there and is tried again in the next.

mod rows;

use clap::Args;

use crate::client::Target;
use crate::error::{Error, Result};
use crate::interrupt;
use crate::limit::LimitProcess;
use crate::load::measure::Pacing;
use crate::outcome::{Outcome, number, table};
use crate::scenario::limit::add_share;

use rows::{Figure, Row};

#[derive(Debug, Clone, Args)]
pub struct Options {
    /// How often each row is run for each target; the median of its first figure is shown
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=99))]
    pub rounds: u32,
    /// Only rows whose title contains this
    #[arg(long, value_name = "TEXT")]
    pub only: Option<String>,
    /// The scenarios without a figure to reach too
    #[arg(long)]
    pub all: bool,
    /// Leave the limit program out
    #[arg(long)]
    pub without_limit: bool,
}

impl Options {
    pub fn of_rounds(rounds: u32) -> Self {
        Self { rounds, only: None, all: false, without_limit: true }
    }
}

/// A row's outcomes, one per target; the limit program is the last.
struct Cells {
    row: Row,
    outcomes: Vec<Result<Outcome>>,
    limit: Option<Result<Outcome>>,
}

pub struct Report {
    targets: Vec<String>,
    cells: Vec<Cells>,
}

/// The table of figures.
pub fn run(targets: &[Target], pacing: &Pacing, options: &Options) -> Result<Report> {
    run_rows(targets, pacing, options, rows::all(options.all))
}

/// Persistent messages with confirms in windows of several sizes.
pub fn run_persistent(
    targets: &[Target],
    pacing: &Pacing,
    options: &Options,
    windows: &[u64],
) -> Result<Report> {
    run_rows(targets, pacing, options, rows::persistent(windows))
}

fn run_rows(targets: &[Target], pacing: &Pacing, options: &Options, rows: Vec<Row>) -> Result<Report> {
    let is_wanted = |row: &Row| options.only.as_ref().is_none_or(|text| row.title.contains(text.as_str()));
    let rows: Vec<Row> = rows.into_iter().filter(is_wanted).collect();
    if rows.is_empty() {
        return Err(Error::Input("no row has such a title".into()));
    }
    let mut cells = Vec::new();
    for row in rows {
        cells.push(run_row(targets, pacing, options, row)?);
    }
    Ok(Report { targets: targets.iter().map(|target| target.name.clone()).collect(), cells })
}

fn run_row(targets: &[Target], pacing: &Pacing, options: &Options, row: Row) -> Result<Cells> {
    let mut rounds: Vec<Vec<Result<Outcome>>> = targets.iter().map(|_| Vec::new()).collect();
    for _ in 0..options.rounds {
        for (target, outcomes) in targets.iter().zip(&mut rounds) {
            eprintln!("bench: {} on {}", row.title, target.name);
            outcomes.push(row.scenario.run(target, pacing));
            interrupt::check()?;
        }
    }
    let mut outcomes: Vec<Result<Outcome>> = rounds.into_iter().map(|round| median(round, &row)).collect();
    let limit = match targets.first().filter(|_| row.has_limit && !options.without_limit) {
        Some(target) => {
            eprintln!("bench: {} on the limit program", row.title);
            let process = LimitProcess::start()?;
            Some(row.scenario.run(&process.target(target), pacing))
        }
        None => None,
    };
    interrupt::check()?;
    if let Some(Ok(limit)) = &limit {
        outcomes.iter_mut().flatten().for_each(|outcome| add_share(outcome, limit));
    }
    Ok(Cells { row, outcomes, limit })
}

/// The outcome in the middle by the row's first figure; an error when every round failed.
fn median(rounds: Vec<Result<Outcome>>, row: &Row) -> Result<Outcome> {
    let figure = |outcome: &Outcome| {
        row.figures.first().and_then(|figure| outcome.get(figure.name)).unwrap_or(f64::NAN)
    };
    let mut error = Error::Input("no rounds".into());
    let mut good = Vec::new();
    for round in rounds {
        match round {
            Ok(outcome) => good.push(outcome),
            Err(failed) => error = failed,
        }
    }
    good.sort_by(|a, b| figure(a).total_cmp(&figure(b)));
    let middle = good.len().saturating_sub(1) / 2;
    good.into_iter().nth(middle).ok_or(error)
}

impl Report {
    /// False when a target failed a row.
    pub fn is_complete(&self) -> bool {
        self.cells.iter().all(|cells| cells.outcomes.iter().all(Result::is_ok))
    }

    pub fn outcomes(&self) -> Vec<Outcome> {
        let of_row = |cells: &Cells| {
            let limit = cells.limit.iter().flatten().cloned();
            cells.outcomes.iter().flatten().cloned().chain(limit).collect::<Vec<_>>()
        };
        self.cells.iter().flat_map(of_row).collect()
    }

    pub fn table(&self) -> String {
        let mut head: Vec<String> = ["figure", "floor", "aim"].map(String::from).to_vec();
        head.extend(self.targets.iter().cloned());
        head.push("limit".into());
        let mut lines = vec![head];
        let mut notes = String::new();
        for cells in &self.cells {
            lines.push(vec![cells.row.title.clone()]);
            lines.extend(cells.row.figures.iter().map(|figure| cells.line(figure)));
            notes.push_str(&cells.notes(&self.targets));
        }
        let text = table(&lines);
        let has_goals = |cells: &Cells| cells.row.figures.iter().any(|figure| figure.floor.is_some());
        let legend = if self.cells.iter().any(has_goals) {
            "  + reaches the floor, ++ the aim, ! neither\n"
        } else {
            ""
        };
        format!("{text}{legend}{notes}")
    }
}

impl Cells {
    fn line(&self, figure: &Figure) -> Vec<String> {
        let goal = |value: Option<f64>| value.map_or_else(String::new, number);
        let mut line = vec![format!("  {}", figure.name), goal(figure.floor), goal(figure.aim)];
        for outcome in &self.outcomes {
            line.push(match outcome {
                Ok(outcome) => outcome.get(figure.name).map_or_else(
                    || "-".into(),
                    |value| format!("{} {:<2}", number(value), figure.mark(value)),
                ),
                Err(_) => "failed".into(),
            });
        }
        let limit = self.limit.iter().flatten().find_map(|limit| limit.get(figure.name));
        line.push(limit.map_or_else(String::new, number));
        line
    }

    fn notes(&self, targets: &[String]) -> String {
        let mut notes = String::new();
        for (target, outcome) in targets.iter().zip(&self.outcomes) {
            match outcome {
                Ok(outcome) => {
                    for note in &outcome.notes {
                        notes.push_str(&format!("  {} on {target}: {note}\n", self.row.title));
                    }
                }
                Err(error) => notes.push_str(&format!("  {} on {target} failed: {error}\n", self.row.title)),
            }
        }
        if let Some(Err(error)) = &self.limit {
            notes.push_str(&format!("  {} on the limit program failed: {error}\n", self.row.title));
        }
        notes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(rate: f64) -> Outcome {
        let mut outcome = Outcome::new("throughput", "a");
        outcome.figure("deliver_msgs_per_s", rate);
        outcome
    }

    fn first_row() -> Row {
        rows::all(false).into_iter().next().expect("the table has rows")
    }

    #[test]
    fn the_median_round_is_shown_and_failures_only_when_all_fail() {
        let failed = || Err(Error::Input("no".into()));
        let rounds = vec![Ok(outcome(3.0)), failed(), Ok(outcome(1.0)), Ok(outcome(2.0))];
        let middle = median(rounds, &first_row()).expect("three rounds are good");
        assert_eq!(middle.get("deliver_msgs_per_s"), Some(2.0));
        assert!(median(vec![failed(), failed()], &first_row()).is_err());
    }

    #[test]
    fn the_table_shows_goals_marks_and_failures() {
        let cells = Cells {
            row: first_row(),
            outcomes: vec![Ok(outcome(2_500_000.0)), Err(Error::Input("refused".into()))],
            limit: Some(Ok(outcome(19_000_000.0))),
        };
        let report = Report { targets: vec!["a".into(), "b".into()], cells: vec![cells] };
        let text = report.table();
        let line = text.lines().find(|line| line.contains("deliver_msgs_per_s")).unwrap_or_default();
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(
            words,
            ["deliver_msgs_per_s", "2,000,000", "6,000,000", "2,500,000", "+", "failed", "19,000,000"]
        );
        assert!(text.contains("on b failed: refused"), "{text}");
        assert!(!report.is_complete());
        assert_eq!(report.outcomes().len(), 2);
    }
}
