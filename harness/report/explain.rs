//! What each finding means, how a build comes to it, and what to do about it: for `explain`.

use super::text::wrapped;
use crate::scenario::{Class, FindingName};

/// How long lines are.
const WIDTH: usize = 100;

/// What there is to say of one finding, beside its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Explanation {
    /// How builds come to it.
    pub how: &'static str,
    /// What to do about it.
    pub next: &'static str,
    /// A scenario that shows it, by id; none if no scenario can by itself.
    pub example: Option<&'static str>,
}

/// The explanation of a finding.
#[must_use]
pub fn explanation(name: FindingName) -> Explanation {
    use FindingName::*;
    let it = |example: &'static str, how, next| Explanation { how, next, example: Some(example) };
    match name {
        ReproMismatch => it(
            "repro/random",
            "Something that is no source is in the output: the time, a random number, the order of a directory or of jobs, the \
             place of a tree, the name of a host or user. With [experiment] the second build is varied on purpose.",
            "Look at the step and the section that are named. Where nothing is varied, repeat the run: if the parts differ \
             every time, it is random or the clock; `compare` shows both files of the evidence.",
        ),
        NoopChanged => it(
            "noop/flip",
            "A step ran again though nothing had changed, and what it made is not what it was: it counts up, takes the time, or two \
             goals disagree about a variable.",
            "See which step ran (`noop.ran` names it) and what made make run it; give the target its prerequisites, or list it in \
             `targets` so that its command is known.",
        ),
        NoopRan => it(
            "noop/not-in-targets",
            "Make cannot know that the step is done: its target is not made, is not listed in kbuild's `targets` (so its `.cmd` file \
             is not read), depends on something phony, or gets another command each time.",
            "`make V=2` says why of a kbuild target. Work for nothing is no fault of the output: it fails only where a scenario \
             demands that the step does not run (`skips`).",
        ),
        RebuildStale => it(
            "headers/missing-dep",
            "A step reads something that make does not know of: a header without a dependency file, a tool, a generated list, a \
             variable outside of the saved command. After an edit of that the step is not run again.",
            "The cause names the step and what it reads. Add the dependency (a prerequisite, a .d file, if_changed for the \
             command), and run the scenario again; `audit` finds the rest of that kind.",
        ),
        RebuildDiverged => it(
            "btf/laid-out-again",
            "A step updates a file in place, or reads what it left the time before: the second time it starts from its own output. A \
             clean build starts from nothing and gives other bytes.",
            "Make the step write a new file from its inputs alone. `replay` runs it on its own output by itself.",
        ),
        RebuildNeedless => it(
            "modules/broken-exclusion",
            "Make goes by time stamps: a prerequisite was written again with what it had held before, a rule names more than its step \
             reads, or a command is another one with each goal that is asked for.",
            "Look whether the seconds are worth it: `filechk` and `if_changed` keep a file that would not change, and so its time. It \
             fails only where a scenario demands that the step does not run (`skips`).",
        ),
        RebuildFailed => it(
            "headers/deleted-header",
            "Something of the build before is in the way: a dependency file that names a deleted header, a directory that was to be \
             made, an output that cannot be updated.",
            "The end of the log names the step. Have it depend on what may be gone as optional, or make what it makes anew.",
        ),
        RebuildMasked => it(
            "headers/masked",
            "The sources do not build, and the incremental build did not see it: what it needs is still there from before.",
            "Find what a clean build misses at the end of its log; the rule that makes it is gone or not asked for.",
        ),
        ResumeDiverged => it(
            "resume/kill-window",
            "A build was ended between two steps of one target, or inside of one: what it left is newer than its prerequisites, so \
             that the next make takes it for done. SIGKILL and a power cut leave it; at SIGINT and SIGTERM make deletes the target \
             (GNU make manual, \"Interrupting or Killing make\").",
            "Write to a temporary file and rename it as the last thing, and save the command after that; or have all steps of \
             the target in one.",
        ),
        ResumeStuck => it(
            "resume/stuck",
            "What was left behind is in the way of the next make: a lock, a directory, half a file that another step reads.",
            "Have the step remove what an earlier one may have left, or take a lock that ends with its process (flock(2)).",
        ),
        DepMissing => Explanation {
            example: None,
            how: "`audit` saw a step read a file, changed that file, built, and the step was not run again; the result is not that of \
                  a clean build.",
            next: "As for `rebuild.stale`: make has to be told. `audit` tells of each the edit that shows it, to keep as a scenario.",
        },
        StepNotIdempotent => it(
            "modules/sorted-twice",
            "The step reads and rewrites one file, and on its own output it does something else: sorts again what is sorted, adds a \
             section twice.",
            "It is latent until a build runs the step again on the same file; then it becomes `rebuild.diverged`. Write a new file \
             instead.",
        ),
        HazardWriteWrite => it(
            "order/write-write",
            "Two recipes make one file, or one recipe with two targets is run once for each with -j.",
            "Have one rule make it: of several targets grouped ones (`&:`, make 4.3) or a pattern rule.",
        ),
        HazardOrder => it(
            "order/two-outputs",
            "A step reads a file that another makes, and no prerequisite says so: which comes first is up to the jobs.",
            "Name the file as a prerequisite; order-only (`|`) where its time does not matter.",
        ),
        EscapeRead => it(
            "escape/read",
            "A step reads a file of the host that is neither source nor toolchain: a home, /etc, another checkout.",
            "What it reads is in the output of this host alone. Take it from the tree or from a variable.",
        ),
        EscapeWrite => it(
            "escape/write",
            "A step writes outside of the trees, or wanted to and was kept from it.",
            "Two builds at once get into each other's way there. Write below the object tree, or to mktemp.",
        ),
        EscapeNetwork => it(
            "escape/network",
            "A step wanted to reach another machine. There is no network in the sandbox.",
            "What is downloaded belongs to the sources, with its digest.",
        ),
        BtfLost => it(
            "btf/lost",
            "The module was linked again and its BTF step was not run, or pahole left functions out.",
            "The module loads, and programs that use its types or kfuncs fail. The link and the BTF step have to be made for the \
             same reasons; see `graft/link-flag@7.3` for a real one.",
        ),
        BtfDuplicate => it(
            "btf/twice",
            "The BTF step was run on a module that had been through it, and added a second section.",
            "Which of them is used is up to the reader. Link anew before, or remove the old section first.",
        ),
        BtfInvalid => it(
            "btf/invalid",
            "The section is cut off, has an unknown kind, or names and ids that lead nowhere.",
            "`btf check FILE` says where and in the kernel's words; `boot` asks a kernel.",
        ),
        BtfBaseMismatch => it(
            "btf/other-base",
            "The types of vmlinux changed, and the module's BTF is still split from the old ones: its ids and names mean something \
             else now.",
            "The kernel refuses it at load, or takes it for other types without a word. The BTF step has to depend on vmlinux; \
             external modules have their own .BTF.base from 6.11 on.",
        ),
        BuildFailed => it(
            "build/fails",
            "The sources do not build in the sandbox: a tool, a header or a symbol is missing.",
            "Read the end of the log; `shell` opens the tree. With a clean build that fails nothing can be said.",
        ),
        BuildTimeout => it(
            "build/hangs",
            "The build waits for something, or the limit is too short for this machine.",
            "`[limits] timeout` sets seconds; the log says how far it came.",
        ),
        ExpectUnmet => it(
            "modules/broken-exclusion",
            "The scenario says `runs`, `skips`, `changes`, `keeps`, `[[expect.finding]]` or `interrupt`, and it was not so.",
            "Either the build is wrong or the scenario: the steps that make printed are listed.",
        ),
        KnownStale => it(
            "noop/known-gone",
            "A fault that `[[known]]` lists as always there was not seen, on sources that do not change by themselves.",
            "Good news, mostly: take the entry out, or narrow `kernels` and `tools`.",
        ),
        SnapshotChanged => it(
            "btf/snapshot-changed",
            "The BTF of the artifact is not what was accepted.",
            "Look at the change (`cargo insta review`) and accept it where it is meant.",
        ),
        SnapshotMissing => it(
            "btf/snapshot-missing",
            "The scenario declares a snapshot for this toolchain, and there is none.",
            "Review and accept the pending one (`cargo insta review`).",
        ),
        SnapshotUnreferenced => Explanation {
            example: None,
            how: "A file below `snapshots` belongs to no scenario and variant: one was renamed or taken out.",
            next: "Delete the file, or declare what it is for.",
        },
    }
}

/// All of it as text.
#[must_use]
pub fn text(name: FindingName) -> String {
    let about = explanation(name);
    let mut lines = wrapped(&format!("{name}: {}", name.meaning().trim()), WIDTH);
    lines.extend([String::new(), weight(name.class()).to_owned()]);
    for (heading, text) in [("How builds come to it", about.how), ("What to do", about.next)] {
        lines.extend([String::new(), heading.to_owned()]);
        lines.extend(wrapped(text, WIDTH - 2).into_iter().map(|line| format!("  {line}")));
    }
    lines.push(String::new());
    lines.extend(match about.example {
        Some(example) => {
            vec![format!("Example: scenarios/{example}.toml"), format!("  kbuild-repro run {example} --verbose")]
        }
        None => vec!["No scenario shows it by itself.".to_owned()],
    });
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// What weight a finding has, in a sentence.
fn weight(class: Class) -> &'static str {
    match class {
        Class::Wrong => "wrong: it fails the scenario, unless `[[known]]` or `[[expect.finding]]` names it",
        Class::Inconclusive => "inconclusive: nothing can be said",
        Class::Cost => "cost: it is reported, and fails only where the scenario demands otherwise",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An example that does not show what it is an example of explains nothing.
    #[test]
    fn every_example_is_a_scenario_that_is_about_its_finding() {
        let scenarios = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
        for name in FindingName::ALL {
            let Some(example) = explanation(*name).example else { continue };
            let text = std::fs::read_to_string(scenarios.join(format!("{example}.toml")));
            let text = text.unwrap_or_else(|error| panic!("{example}: {error}"));
            let extended =
                text.lines().find_map(|line| line.strip_prefix("extends = \"")).map(|it| it.trim_end_matches('"'));
            let beside = extended.map(|file| scenarios.join(example).with_file_name(file));
            let more = beside.and_then(|file| std::fs::read_to_string(file).ok()).unwrap_or_default();
            assert!((text + &more).contains(&format!("finding = \"{name}\"")), "{example} is not about {name}");
        }
    }
}
