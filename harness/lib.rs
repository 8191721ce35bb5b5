//! Hermetic reproducibility test harness for the Linux kernel build.
//!
//! A scenario goes one way through the house; a stage imports only stages to its left:
//!
//! ```text
//! scenario → tree → sandbox → trace → runner → artifact → verdict → report      cli on top
//! ```

pub mod artifact;
pub mod cli;
pub mod report;
pub mod runner;
pub mod sandbox;
pub mod scenario;
pub mod tree;
pub mod verdict;
