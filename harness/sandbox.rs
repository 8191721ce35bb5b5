//! Stage `sandbox`.
