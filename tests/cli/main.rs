//! The binary from outside: its words, exit codes, and what it leaves behind.
//!
//! Every test has a directory of its own for scenarios, state, cache and scratch. Builds here need make and a shell,
//! no compiler; those are skipped with a word on standard error where there is no make.

mod adhoc;
mod audit;
mod bad_builds;
mod bisect;
mod btf;
mod causes;
mod check;
mod closed;
mod compare;
mod compare_packages;
mod formats;
mod fuzz;
mod graft;
mod history;
mod honest;
mod interrupted;
mod lab;
mod mail;
mod matrix;
mod memory;
mod new;
mod owners;
mod page;
mod records;
mod replay;
mod review;
mod shards;
mod signals;
mod slurm;
mod trace;
mod varied;
mod words;
