//! Stage `tree`.
