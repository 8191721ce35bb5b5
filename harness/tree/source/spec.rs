//! `srctree` strings: text in, [`SourceSpec`] out. No file system.

use std::fmt;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::scenario::nearest;

/// Endings that make a `srctree` a tarball; what compresses it is read from its first bytes.
const TARBALL_ENDINGS: &[&str] =
    &[".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.zst", ".tzst", ".tar.bz2", ".tbz2"];

/// Where a source tree comes from, as a scenario or the command line says it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SourceSpec {
    /// `mini`: the built-in tree with kbuild-like rules of our own.
    Mini,
    /// `graft`: a kernel's kbuild on the built-in sources; which kernel is said elsewhere.
    Graft,
    /// `debian:6.12`, `debian:6.12.117-1~deb12u1`: Debian's `linux-source-6.12`.
    Debian(DebianSource),
    /// A file made by tar.
    Tarball(PathBuf),
    /// A directory, used as it is and never written.
    Directory(PathBuf),
    /// `git:/path/to/linux.git@v6.12`.
    Git(GitSource),
}

/// A binary package `linux-source-<series>`, in any version or in exactly one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DebianSource {
    /// `6.12`.
    pub series: String,
    /// A whole package version such as `6.12.117-1~deb12u1`; `None`: the newest there is.
    pub version: Option<String>,
}

impl DebianSource {
    /// The package's name, `linux-source-6.12`.
    #[must_use]
    pub fn package(&self) -> String {
        format!("linux-source-{}", self.series)
    }
}

/// One revision of a local git repository.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GitSource {
    /// A work tree or a bare repository.
    pub repo: PathBuf,
    /// Anything `git rev-parse` takes for a commit (gitrevisions(7)).
    pub rev: String,
}

/// A `srctree` string that says nothing we know.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SpecError {
    /// Nothing, or white space.
    #[error("no source is named")]
    Empty,
    /// A word that is neither a kind of tree nor a path.
    #[error("`{0}` is no source that is known")]
    Unknown(String),
    /// `scheme:...` with a scheme that is not ours.
    #[error("unknown scheme `{scheme}:` in `{text}`")]
    Scheme {
        /// What stands before the colon.
        scheme: String,
        /// The whole string.
        text: String,
    },
    /// Something on another machine.
    #[error("`{0}` is on the network")]
    Remote(String),
    /// `debian:` followed by no kernel version.
    #[error("`{0}` is no Debian kernel version")]
    DebianVersion(String),
    /// An upstream version where Debian's own is needed.
    #[error("`{0}` is neither a series nor a whole Debian package version")]
    DebianRevision(String),
    /// `git:PATH` without `@REV`.
    #[error("no revision in `{0}`")]
    GitNoRevision(String),
    /// `git:@REV`.
    #[error("no repository in `{0}`")]
    GitNoRepository(String),
    /// A revision that could be taken for an option, or that no revision looks like.
    #[error("`{0}` cannot be a git revision")]
    GitRevision(String),
    /// A NUL byte or a line break.
    #[error("control character in {0:?}")]
    Control(String),
}

impl SpecError {
    /// What to write instead.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Empty => "say `mini`, `graft`, `debian:6.12`, a tarball, a directory, or `git:REPO@REVISION`".into(),
            Self::Unknown(word) => match nearest(word, ["mini", "graft"].into_iter()) {
                Some(known) => format!("did you mean `{known}`? a directory is written with a slash: `./{word}`"),
                None => format!("a directory is written with a slash: `./{word}`; a Debian kernel as `debian:6.12`"),
            },
            Self::Scheme { scheme, .. } => match nearest(scheme, ["debian", "git"].into_iter()) {
                Some(known) => format!("did you mean `{known}:`? a path with a colon is written `./a:b`"),
                None => "the schemes are `debian:` and `git:`; a path with a colon is written `./a:b`".into(),
            },
            Self::Remote(text) if text.starts_with("git:") => "clone it first, then `git:PATH@REVISION`".into(),
            Self::Remote(_) => "download it first, check its signature, and name the file".into(),
            Self::DebianVersion(_) => {
                "a series as in `debian:6.12`, or a package version as in `debian:6.12.117-1~deb12u1`".into()
            }
            Self::DebianRevision(text) => format!(
                "`debian:{}` takes the newest; `apt-cache madison linux-source-{}` lists the package versions",
                series_of(text).unwrap_or_else(|| "6.12".into()),
                series_of(text).unwrap_or_else(|| "6.12".into()),
            ),
            Self::GitNoRevision(text) => format!("add one: `{text}@v6.12`"),
            Self::GitNoRepository(_) => "the form is `git:/path/to/linux.git@v6.12`".into(),
            Self::GitRevision(_) => {
                "one commit, without white space, `..`, or a leading `-`; a tag, branch or commit id".into()
            }
            Self::Control(_) => "remove it".into(),
        }
    }
}

impl SourceSpec {
    /// Reads a `srctree` string.
    ///
    /// # Errors
    /// [`SpecError`], with a [`SpecError::hint`] of what to write instead. That a path exists is not looked at.
    pub fn parse(text: &str) -> Result<Self, SpecError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(SpecError::Empty);
        }
        if text.chars().any(char::is_control) {
            return Err(SpecError::Control(text.into()));
        }
        match text {
            "mini" => return Ok(Self::Mini),
            "graft" => return Ok(Self::Graft),
            _ => {}
        }
        if let Some(rest) = text.strip_prefix("debian:") {
            return debian(rest).map(Self::Debian);
        }
        if let Some(rest) = text.strip_prefix("git:") {
            return git(text, rest).map(Self::Git);
        }
        if let Some((scheme, rest)) = text.split_once(':')
            && !scheme.contains('/')
        {
            return Err(if rest.starts_with("//") {
                SpecError::Remote(text.into())
            } else {
                SpecError::Scheme { scheme: scheme.into(), text: text.into() }
            });
        }
        if TARBALL_ENDINGS.iter().any(|e| text.ends_with(e) && !text.ends_with(&format!("/{e}"))) {
            return Ok(Self::Tarball(text.into()));
        }
        if text.contains('/') || text == "." || text == ".." {
            return Ok(Self::Directory(text.into()));
        }
        Err(SpecError::Unknown(text.into()))
    }

    /// The same, with relative paths taken from `base` (the scenario's directory, or where the command was run).
    #[must_use]
    pub fn resolve(self, base: &Path) -> Self {
        match self {
            Self::Tarball(p) => Self::Tarball(base.join(p)),
            Self::Directory(p) => Self::Directory(base.join(p)),
            Self::Git(g) => Self::Git(GitSource { repo: base.join(g.repo), ..g }),
            other => other,
        }
    }

    /// Whether this needs nothing but the program itself.
    #[must_use]
    pub fn is_built_in(&self) -> bool {
        matches!(self, Self::Mini | Self::Graft)
    }
}

impl fmt::Display for SourceSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mini => f.write_str("mini"),
            Self::Graft => f.write_str("graft"),
            Self::Debian(DebianSource { series, version: None }) => write!(f, "debian:{series}"),
            Self::Debian(DebianSource { version: Some(v), .. }) => write!(f, "debian:{v}"),
            Self::Tarball(p) | Self::Directory(p) => write!(f, "{}", p.display()),
            Self::Git(GitSource { repo, rev }) => write!(f, "git:{}@{rev}", repo.display()),
        }
    }
}

impl std::str::FromStr for SourceSpec {
    type Err = SpecError;
    fn from_str(text: &str) -> Result<Self, SpecError> {
        Self::parse(text)
    }
}

fn debian(rest: &str) -> Result<DebianSource, SpecError> {
    // Debian policy 5.6.12 allows these in a version; linux has no epoch.
    let legal = |c: char| c.is_ascii_alphanumeric() || ".+~-".contains(c);
    let series = series_of(rest).filter(|_| rest.chars().all(legal));
    let Some(series) = series else {
        return Err(SpecError::DebianVersion(rest.into()));
    };
    if rest == series {
        return Ok(DebianSource { series, version: None });
    }
    // `6.12.117-1`: without the Debian revision it names no package.
    if !rest[series.len()..].starts_with(['.', '-', '~']) || !rest.contains('-') || rest.ends_with('-') {
        return Err(SpecError::DebianRevision(rest.into()));
    }
    Ok(DebianSource { series, version: Some(rest.into()) })
}

/// `6.12` of `6.12.117-1~deb12u1`.
fn series_of(version: &str) -> Option<String> {
    let digits = |s: &str| s.bytes().take_while(u8::is_ascii_digit).count();
    let major = digits(version);
    let rest = version[major..].strip_prefix('.')?;
    let minor = digits(rest);
    (major > 0 && minor > 0).then(|| version[..major + 1 + minor].to_owned())
}

fn git(text: &str, rest: &str) -> Result<GitSource, SpecError> {
    // The last `@` that does not begin a reflog suffix `@{...}`: repository paths may hold one.
    let at = rest.match_indices('@').map(|(i, _)| i).rfind(|&i| !rest[i + 1..].starts_with('{'));
    let (repo, rev) = match at {
        Some(i) => (&rest[..i], &rest[i + 1..]),
        None => (rest, ""),
    };
    if repo.contains("://") {
        return Err(SpecError::Remote(text.into()));
    }
    if at.is_none() || rev.is_empty() {
        return Err(SpecError::GitNoRevision(text.into()));
    }
    if repo.is_empty() {
        return Err(SpecError::GitNoRepository(text.into()));
    }
    if rev.starts_with('-') || rev.contains("..") || rev.contains(char::is_whitespace) {
        return Err(SpecError::GitRevision(rev.into()));
    }
    Ok(GitSource { repo: repo.into(), rev: rev.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ok(text: &str) -> SourceSpec {
        SourceSpec::parse(text).expect(text)
    }
    fn err(text: &str) -> SpecError {
        let e = SourceSpec::parse(text).expect_err(text);
        assert!(!e.hint().is_empty());
        e
    }

    #[test]
    fn kinds() {
        assert_eq!(ok("mini"), SourceSpec::Mini);
        assert_eq!(ok(" graft "), SourceSpec::Graft);
        assert_eq!(ok("debian:6.12"), SourceSpec::Debian(DebianSource { series: "6.12".into(), version: None }));
        let SourceSpec::Debian(d) = ok("debian:6.12.117-1~deb12u1") else { panic!() };
        assert_eq!((d.package().as_str(), d.version.as_deref()), ("linux-source-6.12", Some("6.12.117-1~deb12u1")));
        let SourceSpec::Debian(d) = ok("debian:7.4~rc3-1~exp1") else { panic!() };
        assert_eq!(d.package(), "linux-source-7.4");
        assert_eq!(ok("linux-6.12.tar.xz"), SourceSpec::Tarball("linux-6.12.tar.xz".into()));
        assert_eq!(ok("/a/b.tgz"), SourceSpec::Tarball("/a/b.tgz".into()));
        assert_eq!(ok("/a/linux"), SourceSpec::Directory("/a/linux".into()));
        assert_eq!(ok("."), SourceSpec::Directory(".".into()));
        assert_eq!(ok("./a:b"), SourceSpec::Directory("./a:b".into()));
    }

    #[test]
    fn git_revisions() {
        let git = |repo: &str, rev: &str| SourceSpec::Git(GitSource { repo: repo.into(), rev: rev.into() });
        assert_eq!(ok("git:/l.git@v6.12"), git("/l.git", "v6.12"));
        assert_eq!(ok("git:/a@b/l.git@v6.12~3"), git("/a@b/l.git", "v6.12~3"));
        assert_eq!(ok("git:/l@HEAD@{1}"), git("/l", "HEAD@{1}"));
        assert_eq!(err("git:/l.git"), SpecError::GitNoRevision("git:/l.git".into()));
        assert_eq!(err("git:/l.git@"), SpecError::GitNoRevision("git:/l.git@".into()));
        assert_eq!(err("git:@v6.12"), SpecError::GitNoRepository("git:@v6.12".into()));
        assert_eq!(err("git:/l@--output=/x"), SpecError::GitRevision("--output=/x".into()));
        assert_eq!(err("git:/l@v6.1..v6.2"), SpecError::GitRevision("v6.1..v6.2".into()));
        assert!(matches!(err("git:https://x/l.git@v6"), SpecError::Remote(_)));
    }

    #[test]
    fn refused() {
        assert_eq!(err("  "), SpecError::Empty);
        assert!(err("mimi").hint().contains("`mini`"));
        assert!(err("linux").hint().contains("`./linux`"));
        assert!(matches!(err("https://x/linux.tar.xz"), SpecError::Remote(_)));
        assert!(matches!(err("fedora:6.12"), SpecError::Scheme { .. }));
        for bad in ["debian:", "debian:six", "debian:6", "debian:6.", "debian:6.12/../x", "debian:6.12 -o"] {
            assert!(matches!(err(bad), SpecError::DebianVersion(_)), "{bad}");
        }
        for bad in ["debian:6.12.117", "debian:6.12rc1-1", "debian:6.12-"] {
            assert!(matches!(err(bad), SpecError::DebianRevision(_)), "{bad}");
        }
        assert!(matches!(err("a\nb/"), SpecError::Control(_)));
    }

    #[test]
    fn display_parses_back() {
        for text in ["mini", "graft", "debian:6.12", "debian:6.12.117-1~deb12u1", "/l", "a.tar.zst", "git:/l@v6.12"] {
            assert_eq!(ok(text).to_string(), text);
        }
    }

    #[test]
    fn relative_paths_are_resolved() {
        assert_eq!(ok("./l").resolve(Path::new("/s")).to_string(), "/s/./l");
        assert_eq!(ok("git:l@v1").resolve(Path::new("/s")).to_string(), "git:/s/l@v1");
        assert_eq!(ok("/l").resolve(Path::new("/s")).to_string(), "/l");
    }
}
