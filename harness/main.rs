//! The `kbuild-repro` command; everything is in the library.

fn main() -> std::process::ExitCode {
    kbuild_repro::cli::main()
}
