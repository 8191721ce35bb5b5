//! The report for machines.

use std::io::{self, Write};
use std::sync::OnceLock;

use super::Report;

/// Writes the report as one JSON document, keys in the order of the schema.
///
/// # Errors
/// What the writer answers.
pub fn write(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, report)?;
    out.write_all(b"\n")
}

/// The JSON schema of the report.
#[must_use]
pub fn schema() -> &'static serde_json::Value {
    static SCHEMA: OnceLock<serde_json::Value> = OnceLock::new();
    SCHEMA.get_or_init(|| schemars::schema_for!(Report).to_value())
}
