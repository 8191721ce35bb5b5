//! `new`: the skeleton of a scenario, from a tree and an edit, or from what git says of a change.
//!
//! What is written is text for people to go on with, so it is put together here and not by a serializer, which has no comments; it
//! is read back and tried on its tree before anybody sees it.

use std::path::{Path, PathBuf};

use clap::Args;

use super::load::{self, FileLoader, Found, OnPaper, Ready};
use super::progress::note;
use super::run::capture_without_tools;
use super::{CliError, Session, patch_file};
use crate::scenario::{Cell, parse};
use crate::tree::source::{GitChange, SourceSpec, Sources};

const AFTER_HELP: &str = "\
Writes a scenario to begin with: the tree, the edit, and in comments what can be said besides. It is checked as `check` does
it; what is wrong is told, and nothing is written then.

  kbuild-repro new --edit init/version.c --append 'int probe;'                              on the mini tree
  kbuild-repro new --tree graft --edit graft/core/task.c --touch my.toml                      on a graft
  kbuild-repro new --tree debian:6.12 --edit kernel/fork.c --replace 'A' --with 'B' my.toml
  kbuild-repro new --tree ../linux --diff my.toml                       the changes that are not committed
  kbuild-repro new --tree ../linux --diff=v6.12..topic my.toml
  kbuild-repro new --tree debian:7.3 --graft --patch series.patch my.toml";

/// What to write.
#[derive(Debug, Clone, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct NewArgs {
    /// Where the scenario is written; by default to standard output
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// The tree, as `srctree` has it: `mini`, `graft`, `debian:6.12`, `git:DIR@REV`, a directory; by default `mini`, or with
    /// --diff the repository here
    #[arg(long, value_name = "TREE")]
    tree: Option<String>,
    /// A graft: small sources of our own, by the kbuild of the tree
    #[arg(long)]
    graft: bool,
    /// A change that git knows: from one commit to another, `A..B`, or from one to the work tree, `A`; by default from `HEAD`
    #[arg(long, value_name = "REV..REV", num_args = 0..=1, require_equals = true, default_missing_value = "HEAD")]
    #[arg(conflicts_with_all = ["edit", "patch"])]
    diff: Option<String>,
    /// A change as a patch: a file, or `-` for standard input
    #[arg(long, value_name = "FILE", conflicts_with = "edit")]
    patch: Option<PathBuf>,
    /// A file that is edited, by one of the next
    #[arg(long, value_name = "FILE")]
    edit: Option<String>,
    /// Append this to it
    #[arg(long, value_name = "TEXT", requires = "edit", conflicts_with_all = ["replace", "touch", "delete"])]
    append: Option<String>,
    /// Replace this text, which it has once
    #[arg(long, value_name = "TEXT", requires_all = ["edit", "with"], conflicts_with_all = ["touch", "delete"])]
    replace: Option<String>,
    /// By this
    #[arg(long, value_name = "TEXT", requires = "replace")]
    with: Option<String>,
    /// Give it a new time stamp and nothing else
    #[arg(long, requires = "edit", conflicts_with = "delete")]
    touch: bool,
    /// Delete it
    #[arg(long, requires = "edit")]
    delete: bool,
    /// How it is configured: a target or a complete `.config`, then fragments; by default `tinyconfig` of a kernel
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    config: Vec<String>,
    /// The goals of make; by default its own
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    goals: Vec<String>,
    /// One line that says what is tested
    #[arg(long, value_name = "TEXT")]
    title: Option<String>,
    /// Replace the file if it is there
    #[arg(long)]
    force: bool,
    /// Where kernel sources are kept
    #[arg(long, value_name = "DIR", env = "KBUILD_REPRO_CACHE")]
    cache: Option<PathBuf>,
}

/// What is written, piece by piece.
struct Skeleton {
    title: String,
    /// The lines of `[tree]`.
    tree: Vec<String>,
    goals: Vec<String>,
    /// The lines of the edit.
    edit: Vec<String>,
    /// Files that it changes.
    files: Vec<String>,
    /// Whether it is a tree without Kconfig, where what is compared has to be named.
    plain: bool,
}

pub(super) fn new(args: &NewArgs, session: &mut Session<'_>) -> Result<u8, CliError> {
    let host = capture_without_tools()?;
    let sources = load::sources(&host, args.cache.as_deref());
    let file = args.file.as_ref().map(|file| host.cwd.join(file));
    if let Some(file) = file.as_ref().filter(|file| file.exists() && !args.force) {
        return Err(CliError::usage(format!("`{}` is there already", file.display()), "another name, or --force"));
    }
    // A revision would be taken for the file.
    if let (Some("HEAD"), Some(word)) = (args.diff.as_deref(), args.file.as_ref())
        && word.extension().is_none_or(|extension| extension != "toml")
    {
        let word = word.display();
        return Err(CliError::usage(
            format!("`{word}` would be the file that is written"),
            format!("a revision is given as `--diff={word}`; a scenario's file ends in `.toml`"),
        ));
    }
    let text = skeleton(args, &sources, &host.cwd, session)?.text();
    let name = file.as_deref().map_or("the new scenario".into(), |file| file.display().to_string());
    if let Some(why) = check(&name, &text, file.as_deref().unwrap_or(&host.cwd.join("new.toml")), &sources)? {
        note(&format!("the edit was not tried: {why}"));
    }
    let Some(file) = file else {
        session.out.write_all(text.as_bytes())?;
        return Ok(0);
    };
    std::fs::write(&file, &text)
        .map_err(|error| CliError::usage(format!("cannot write `{}`: {error}", file.display()), "another FILE"))?;
    let shown = args.file.as_deref().unwrap_or(&file).display().to_string();
    writeln!(session.out, "kbuild-repro run {}", crate::runner::shown(&[shown]))?;
    Ok(0)
}

/// Reads a scenario back from its text and tries it on its tree; why that could not be, if so.
fn check(name: &str, text: &str, file: &Path, sources: &Sources) -> Result<Option<String>, CliError> {
    let loaded = parse(name, text, &FileLoader).map_err(CliError::Scenario)?;
    let source = SourceSpec::parse(loaded.scenario.kernel_source())
        .map_err(|error| CliError::usage(error.to_string(), error.hint()))?;
    let found = Found {
        id: "new".into(),
        file: file.to_owned(),
        name: name.to_owned(),
        again: String::new(),
        by_name: true,
        cells: Vec::new(),
    };
    let ready = Ready { found, loaded, source, cell: Cell::default() };
    Ok(match load::on_paper(&ready, sources).map_err(CliError::Scenario)? {
        OnPaper::Tried => None,
        OnPaper::NotAtHand(how) => Some(format!("`{}` is not in the cache ({how})", ready.source)),
        OnPaper::CannotBuild(why) => Some(why),
    })
}

fn skeleton(args: &NewArgs, sources: &Sources, cwd: &Path, session: &Session<'_>) -> Result<Skeleton, CliError> {
    let usage = |error: crate::tree::source::SpecError| CliError::usage(error.to_string(), error.hint());
    let asked = args.tree.as_deref().unwrap_or(if args.diff.is_some() { "." } else { "mini" });
    let mut spec = SourceSpec::parse(asked).map_err(usage)?.resolve(cwd);
    let mut title = None;
    let (edit, files) = match (&args.diff, &args.patch) {
        (Some(range), _) => {
            let SourceSpec::Directory(dir) = &spec else {
                let hint = "`--tree DIR`, a directory of the repository";
                return Err(CliError::usage(format!("--diff asks git, and `{spec}` is no repository"), hint));
            };
            let GitChange { repo, base, patch, subject } = sources
                .change(dir, range)
                .map_err(|error| CliError::usage(error.to_string(), "`--diff`, `--diff=REV` or `--diff=REV..REV`"))?;
            title = subject;
            spec = SourceSpec::parse(&format!("git:{}@{base}", repo.display())).map_err(usage)?;
            of_patch(&patch, &format!("git diff {range}"))?
        }
        (None, Some(path)) => of_patch(&read(path, cwd, session)?, &path.display().to_string())?,
        (None, None) => of_args(args)?,
    };
    let mut tree = Vec::new();
    let graft = args.graft || matches!(spec, SourceSpec::Graft);
    match &spec {
        SourceSpec::Graft => tree.extend([
            r#"srctree = "graft""#.to_owned(),
            format!(r#"kernel = "{}"                    # whose kbuild builds it"#, crate::scenario::GRAFT_KERNEL),
        ]),
        SourceSpec::Mini if args.graft => {
            return Err(CliError::usage("`mini` is no kernel", "--graft takes a kernel, e.g. `--tree debian:6.12`"));
        }
        spec if args.graft => {
            tree.extend([r#"srctree = "graft""#.to_owned(), format!("kernel = {}", string(&spec.to_string()))]);
        }
        spec => tree.push(format!("srctree = {}", string(&spec.to_string()))),
    }
    let plain = match &spec {
        SourceSpec::Directory(dir) if !graft => !dir.join("Kconfig").is_file(),
        SourceSpec::Git(source) if !graft => source.repo.is_dir() && !sources.has(source, "Kconfig"),
        _ => false,
    };
    let whole = !graft && !plain && !matches!(spec, SourceSpec::Mini);
    let config = match (args.config.as_slice(), whole) {
        ([], true) => &["tinyconfig".to_owned()][..],
        (config, _) => config,
    };
    if !config.is_empty() {
        tree.push(format!("config = [{}]", list(config)));
    }
    if whole {
        tree.push(r#"symbols = { MODULES = "y" }                # set after them, without CONFIG_"#.to_owned());
    }
    if plain {
        tree.push(r#"kind = "make""#.to_owned());
    }
    let about = files.first().map_or("an edit", String::as_str);
    let title = args.title.clone().or(title).unwrap_or_else(|| format!("a change of {about}: as a clean build"));
    Ok(Skeleton { title: title.replace(['\n', '\r'], " "), tree, goals: args.goals.clone(), edit, files, plain })
}

/// The edit that the options say, and its file.
fn of_args(args: &NewArgs) -> Result<(Vec<String>, Vec<String>), CliError> {
    let Some(file) = &args.edit else {
        let hint = "--edit FILE with --append, --replace, --touch or --delete; --patch FILE; or --diff";
        return Err(CliError::usage("there is no edit", hint));
    };
    let mut lines = vec![format!("file = {}", string(file))];
    match (&args.append, &args.replace, &args.with) {
        (Some(text), ..) => {
            let end = if text.ends_with('\n') { "" } else { "\n" };
            lines.push(format!("append = {}", string(&format!("{text}{end}"))));
        }
        (None, Some(old), Some(new)) => {
            lines.extend([format!("replace = {}", string(old)), format!("with = {}", string(new))]);
        }
        _ if args.touch => lines.push("touch = true".into()),
        _ if args.delete => lines.push("delete = true".into()),
        _ => {
            let hint = "--append TEXT, --replace TEXT --with TEXT, --touch or --delete";
            return Err(CliError::usage(format!("nothing is done to `{file}`"), hint));
        }
    }
    Ok((lines, vec![file.clone()]))
}

/// The edit that is a patch, and the files it changes.
fn of_patch(patch: &str, from: &str) -> Result<(Vec<String>, Vec<String>), CliError> {
    if patch.trim().is_empty() {
        return Err(CliError::usage(format!("{from} changes nothing"), "another range, or --edit FILE"));
    }
    if let Some(line) = patch.lines().find(|line| line.starts_with("Binary files ") || *line == "GIT binary patch") {
        let hint = "an edit is a change of text; leave such files out of the patch";
        return Err(CliError::usage(format!("{from} changes a file that is no text: `{line}`"), hint));
    }
    let mut files: Vec<String> = Vec::new();
    for line in patch.lines() {
        let path = line.strip_prefix("+++ b/").or_else(|| line.strip_prefix("--- a/"));
        let path = path.map(|path| path.split('\t').next().unwrap_or(path).to_owned());
        files.extend(path.filter(|path| !files.contains(path)));
    }
    Ok((vec![format!("patch = {}", string(patch))], files))
}

fn read(path: &Path, cwd: &Path, session: &Session<'_>) -> Result<String, CliError> {
    let unread = |error| CliError::usage(format!("cannot read `{}`: {error}", path.display()), "--patch FILE, or `-`");
    let bytes = patch_file::bytes(path, cwd, session).map_err(unread)?;
    String::from_utf8(bytes).map_err(|_| unread(std::io::Error::other("it is no UTF-8 text")))
}

/// Text as TOML has it (<https://toml.io/en/v1.0.0#string>): lines as they are, where they can be.
fn string(text: &str) -> String {
    let literal = text.contains('\n') && text.ends_with('\n') && !text.contains("'''");
    let control = |c: char| c.is_control() && c != '\n' && c != '\t';
    if literal && text.lines().count() > 1 && !text.contains(control) {
        return format!("'''\n{text}'''");
    }
    toml::Value::String(text.to_owned()).to_string()
}

fn list(words: &[String]) -> String {
    words.iter().map(|word| string(word)).collect::<Vec<_>>().join(", ")
}

impl Skeleton {
    fn text(&self) -> String {
        // What the log says of the files that change, to begin with.
        let objects = self.files.iter().filter_map(|file| file.strip_suffix(".c").or_else(|| file.strip_suffix(".S")));
        let runs: Vec<String> = objects.take(3).map(|object| format!("CC {object}.o")).collect();
        let runs = if runs.is_empty() { string("CC init/version.o") } else { list(&runs) };
        let mut out = vec![
            format!("title = {}", string(&self.title)),
            r#"# why = "what a wrong build would cost""#.into(),
            r#"# link = ["https://lore.kernel.org/r/..."]"#.into(),
            String::new(),
            "[tree]".into(),
        ];
        out.extend(self.tree.iter().cloned());
        out.extend([String::new()]);
        match self.goals.as_slice() {
            [] => out.extend(
                ["# [make]", r#"# goals = ["vmlinux", "modules"]           # by default make's own"#].map(String::from),
            ),
            goals => out.extend(["[make]".to_owned(), format!("goals = [{}]", list(goals))]),
        }
        if self.plain {
            out.extend(
                ["", "[compare]", r#"artifacts = ["*.o", "*.a", "*.so", "*.ko"]    # what counts"#].map(String::from),
            );
        }
        out.extend(
            [
                "",
                "# Two clean builds are equal, a build with nothing changed changes nothing, and the build after the edit equals a",
                "# clean one: that is always checked. A change of kbuild itself that every build is to have is a [[tree.edit]].",
                "[[edit]]",
                r#"id = "change""#,
            ]
            .map(String::from),
        );
        out.extend(self.edit.iter().cloned());
        out.push(format!("# runs = [{runs}]           # steps that must run, as make's log has them"));
        out.extend(
            [
                r#"# skips = ["LD [M] *"]                     # steps that must not"#,
                r#"# changes = ["vmlinux"]                    # files that must change"#,
                r#"# keeps = ["*.ko"]                         # files that must not"#,
                "",
                "# A fault that is known and tolerated (`kbuild-repro explain` lists them):",
                "# [[known]]",
                r#"# finding = "rebuild.stale""#,
                r#"# target = "*.ko""#,
                r#"# why = "...""#,
                "",
            ]
            .map(String::from),
        );
        out.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_comes_back_as_it_was() {
        for text in ["a", "a\n", "a\nb\n", "a\nb", "\"\\\n'''\n", "tab\tand\rreturn\nx\n", "\n\n", "'''", "é\nü\n"] {
            let read: toml::Table = toml::from_str(&format!("x = {}", string(text))).expect("it is TOML");
            assert_eq!(read["x"].as_str(), Some(text));
        }
    }

    #[test]
    fn the_files_of_a_patch_are_named_once_and_what_is_no_text_is_refused() {
        let patch = "--- a/x.c\n+++ b/x.c\n@@ -1 +1 @@\n-a\n+b\n--- a/gone.c\n+++ /dev/null\n@@ -1 +0,0 @@\n-a\n";
        assert_eq!(of_patch(patch, "it").map(|(_, files)| files).ok(), Some(vec!["x.c".into(), "gone.c".into()]));
        assert!(of_patch("Binary files a/x and b/x differ\n", "it").is_err());
        assert!(of_patch(" \n", "it").is_err());
    }
}
