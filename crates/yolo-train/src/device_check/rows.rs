//! The table of a check.

use serde::Serialize;

/// How a row came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Within its limit.
    Ok,
    /// Outside, or it did not run to its end.
    Failed,
    /// A figure without a limit.
    Info,
    /// It did not run.
    Skipped,
}

/// A line of the table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// What was compared.
    pub check: String,
    /// What came out.
    pub measured: String,
    /// What is allowed.
    pub limit: String,
    /// Whether it is allowed.
    pub outcome: Outcome,
}

impl Row {
    /// An error that may be `limit` at most; `detail` says where it is.
    pub fn at_most(check: impl Into<String>, error: f64, limit: f64, detail: &str) -> Self {
        let outcome = if error <= limit { Outcome::Ok } else { Outcome::Failed };
        let measured =
            if detail.is_empty() { format!("{error:.2e}") } else { format!("{error:.2e} ({detail})") };
        Self { check: check.into(), measured, limit: format!("≤ {limit:.0e}"), outcome }
    }

    /// Something that has to be so.
    pub fn holds(check: impl Into<String>, holds: bool, measured: String, limit: &str) -> Self {
        let outcome = if holds { Outcome::Ok } else { Outcome::Failed };
        Self { check: check.into(), measured, limit: limit.to_owned(), outcome }
    }

    /// A figure.
    pub fn info(check: impl Into<String>, measured: String) -> Self {
        Self { check: check.into(), measured, limit: String::new(), outcome: Outcome::Info }
    }

    /// What went wrong.
    pub fn failed(check: impl Into<String>, why: &str) -> Self {
        Self { check: check.into(), measured: why.to_owned(), limit: String::new(), outcome: Outcome::Failed }
    }

    /// Why it did not run.
    pub fn skipped(check: impl Into<String>, why: &str) -> Self {
        Self {
            check: check.into(),
            measured: why.to_owned(),
            limit: String::new(),
            outcome: Outcome::Skipped,
        }
    }

    /// It would have begun after the deadline.
    pub fn late(check: impl Into<String>) -> Self {
        Self::skipped(check, "no time left (--seconds)")
    }

    /// The row as a line of text.
    pub fn line(&self) -> String {
        let mark = match self.outcome {
            Outcome::Ok => "ok",
            Outcome::Failed => "FAILED",
            Outcome::Info => "",
            Outcome::Skipped => "skipped",
        };
        format!("{:<44} {:<52} {:<8} {mark}", self.check, self.measured, self.limit).trim_end().to_owned()
    }
}

/// All rows in Markdown, for docs/performance.md.
pub fn table(rows: &[Row]) -> Vec<String> {
    let mut lines = vec!["| check | measured | limit | |".to_owned(), "| --- | --- | --- | --- |".to_owned()];
    lines.extend(rows.iter().map(|row| {
        let outcome = format!("{:?}", row.outcome).to_lowercase();
        format!("| {} | {} | {} | {outcome} |", row.check, row.measured, row.limit)
    }));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_decide() {
        assert_eq!(Row::at_most("a", 1e-3, 1e-3, "").outcome, Outcome::Ok);
        assert_eq!(Row::at_most("a", 1.1e-3, 1e-3, "").outcome, Outcome::Failed);
        // Not a number is not within any limit.
        assert_eq!(Row::at_most("a", f64::NAN, 1e-3, "").outcome, Outcome::Failed);
        assert!(Row::at_most("layers", 2e-4, 1e-3, "model.9").line().contains("2.00e-4 (model.9)"));
    }
}
