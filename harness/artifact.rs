//! Stage `artifact`.
