//! Which file a failed build did not find, as its log says it.
//!
//! A kernel that lacks or has moved a file that a build takes cannot be tested, and who reads that wants the file's name.

use super::Finding;
use crate::artifact::record::{BuildRecord, ScenarioRecord};
use crate::scenario::{Class, FindingName};

/// Why nothing can be said, where a build did not come through.
pub(super) fn reason(record: &ScenarioRecord, finding: &Finding) -> String {
    let plain = format!("{}: {}", finding.build, finding.summary);
    if finding.name != FindingName::BuildFailed || finding.name.class() != Class::Inconclusive {
        return plain;
    }
    let build = record.builds.iter().find(|build| build.id == finding.build);
    let Some(file) = build.and_then(file) else { return plain };
    if !record.scenario.is_graft() || is_generated(&file) {
        return format!("{plain}; `{file}` is not there");
    }
    let kernel = record.kernel.as_deref().map_or(String::new(), |kernel| format!(" of {kernel}"));
    format!("{plain}; the graft cannot be built by the kbuild{kernel}: `{file}` is not in the kernel")
}

/// Whether the name is one of a header that builds generate: then the build is at fault, and not the kernel's age.
///
/// `asm/x.h` is a wrapper of `asm-generic/x.h`; where a kernel lacks that, it is the name that the compiler tells.
fn is_generated(name: &str) -> bool {
    let wrapper = name.strip_prefix("uapi/").unwrap_or(name).starts_with("asm/");
    wrapper || name.split('/').any(|part| part == "generated")
}

/// The file that a build did not find: of the end of its log, or else of all that it printed beside its steps.
fn file(build: &BuildRecord) -> Option<String> {
    build.log_tail.iter().chain(&build.lines).find_map(|line| file_of(line))
}

/// The file that a line of a log says is not there, in the words of make, gcc, the shell and ld.
fn file_of(line: &str) -> Option<String> {
    // make: No rule to make target 'x', needed by 'y'.  (4.x quotes 'x', 3.x `x')
    if let Some((_, rest)) = line.split_once("No rule to make target ") {
        return quoted(rest).filter(|name| is_file(name));
    }
    // gcc: a.c:1:10: fatal error: x.h: No such file or directory;  make: a:1: x: No such file or directory;
    // sh: cannot open x: No such file;  ld: cannot find x: No such file or directory
    for end in [": No such file or directory", ": No such file"] {
        if let Some((before, _)) = line.split_once(end) {
            let name = before.rsplit(['\t', ' ']).next().unwrap_or(before);
            return Some(name.trim_matches(['\'', '`', '"'])).filter(|name| is_file(name)).map(str::to_owned);
        }
    }
    // sh: 0: cannot open x;  can't open file 'x'
    for start in ["can't open file ", "cannot open file ", "can't open ", "cannot open ", "Cannot open "] {
        if let Some((_, rest)) = line.split_once(start) {
            let name = quoted(rest).or_else(|| rest.split([' ', ':']).next().map(str::to_owned))?;
            return Some(name).filter(|name| is_file(name));
        }
    }
    // sh: 1: x: not found
    let (before, _) = line.split_once(": not found")?;
    let name = before.rsplit(' ').next().unwrap_or(before);
    Some(name.to_owned()).filter(|name| name.contains('/'))
}

/// The first word in quotes.
fn quoted(text: &str) -> Option<String> {
    let rest = text.strip_prefix(['\'', '`', '"'])?;
    Some(rest.split(['\'', '"']).next()?.to_owned())
}

/// Whether it is called as a file is, and not as a goal such as `modules`.
fn is_file(name: &str) -> bool {
    name.contains(['.', '/'])
}

#[cfg(test)]
mod tests {
    use super::{file_of, is_generated, reason};
    use crate::artifact::record::Status;
    use crate::scenario::FindingName;
    use crate::verdict::sample::{build, record};
    use crate::verdict::{Accepted, judge};

    #[test]
    fn the_file_is_named_as_programs_name_it() {
        let named = [
            ("make[2]: *** No rule to make target 'kernel/bounds.s', needed by 'prepare0'.  Stop.", "kernel/bounds.s"),
            ("make[1]: *** No rule to make target `init/x.o', needed by `init'.  Stop.", "init/x.o"),
            ("graft/a.c:1:10: fatal error: linux/x.h: No such file or directory", "linux/x.h"),
            ("Makefile:12: scripts/Makefile.x: No such file or directory", "scripts/Makefile.x"),
            ("sh: 0: cannot open ../scripts/x.sh: No such file", "../scripts/x.sh"),
            ("/bin/sh: 0: can't open ../scripts/gen.sh", "../scripts/gen.sh"),
            (
                "python3: can't open file '/build/src/scripts/x.py': [Errno 2] No such file or directory",
                "/build/src/scripts/x.py",
            ),
            ("  /build/src/usr/gen_initramfs.sh: Cannot open 'usr/x.list'", "usr/x.list"),
            ("ld: cannot find lib/lib.a: No such file or directory", "lib/lib.a"),
            ("/bin/sh: 1: ./scripts/mod/modpost: not found", "./scripts/mod/modpost"),
        ];
        for (line, file) in named {
            assert_eq!(file_of(line).as_deref(), Some(file), "{line}");
        }
        for other in ["  CC      init/main.o", "make: *** [Makefile:10: all] Error 2", "a.c:1: error: `x' undeclared"] {
            assert_eq!(file_of(other), None, "{other}");
        }
        // A goal that does not exist is no file of the kernel's.
        assert_eq!(file_of("make: *** No rule to make target 'modulez'.  Stop."), None);
    }

    #[test]
    fn a_generated_header_says_nothing_of_the_kernel() {
        for name in [
            "asm/rwonce.h",
            "uapi/asm/types.h",
            "generated/autoconf.h",
            "include/generated/asm-offsets.h",
            "../arch/x86/include/generated/uapi/asm/unistd_64.h",
        ] {
            assert!(is_generated(name), "{name}");
        }
        for name in ["asm-generic/rwonce.h", "linux/asm.h", "scripts/Makefile.vmlinux", "arch/x86/include/asm/bug.h"] {
            assert!(!is_generated(name), "{name}");
        }
        let told = |header: &str| {
            let mut clean = build("control/clean", &[]).failed(Status::Exit(2));
            clean.log_tail = vec![format!("a.c:1:10: fatal error: {header}: No such file or directory")];
            let mut record = record("[tree]\nsrctree = \"graft\"\n", vec![clean]);
            record.kernel = Some("6.12.117".into());
            let judgement = judge(&record, &Accepted::default());
            let finding = judgement.findings.iter().find(|finding| finding.name == FindingName::BuildFailed);
            reason(&record, finding.expect("the build failed"))
        };
        let wrapper = told("asm/rwonce.h");
        assert!(wrapper.ends_with("; `asm/rwonce.h` is not there"), "{wrapper}");
        let own = told("linux/rwonce.h");
        assert!(own.contains("cannot be built by the kbuild of 6.12.117: `linux/rwonce.h`"), "{own}");
    }
}
