//! The tracer on real processes, in both its ways: what was looked at, and everything.
#![allow(clippy::print_stderr, reason = "a skipped test says why")]

mod fast;
mod lab;
mod looks;
mod processes;
