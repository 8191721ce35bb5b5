//! Stage `scenario`.
