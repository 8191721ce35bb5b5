//! Stage `runner`.
