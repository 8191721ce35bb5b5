//! The traces of one build's commands: where they are written, and how a path in them is found on the host.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::command::{Maker, TOOLS};
use crate::sandbox::memory::Group;
use crate::sandbox::{Mount, overlay};
use crate::trace::{self, Disturb, End, Fold, Looked, Root, Trace, TraceError, What};

/// Where the harness's own program is seen by a build that it traces.
const TRACER: &str = "/build/trace/kbuild-repro";
/// Where the traces are written.
const TRACES: &str = "/build/traces";

/// How the commands of a build are traced.
#[derive(Debug)]
pub(super) struct Traces<'t> {
    /// An existing directory for the traces, on the host.
    pub(super) dir: PathBuf,
    /// The harness's own program, on the host.
    pub(super) tracer: &'t Path,
    /// How much is told.
    pub(super) what: What,
    /// Directories of the build: see [`What`].
    pub(super) own: Vec<PathBuf>,
    /// Directories in which it may make links, where what it looked at is told beside the rest.
    pub(super) links: Vec<PathBuf>,
    /// What is done to the build.
    pub(super) disturb: Disturb,
    /// The group of processes whose memory is limited.
    pub(super) group: Option<Group>,
}

impl<'t> Traces<'t> {
    /// For everything that a build does, in a directory that is made. What it looked for in vain is only told with `Build`,
    /// where that would take longer: of one clean build, in which everything is looked for, it is enough.
    pub(super) fn all(dir: PathBuf, tracer: &'t Path, maker: &Maker<'_>, what: What) -> io::Result<Self> {
        fs::create_dir_all(&dir)?;
        let own = roots(maker).into_iter().map(|root| root.dir).collect();
        Ok(Self { dir, tracer, what, own, links: links(maker), disturb: Disturb::default(), group: None })
    }

    /// For what a preparation looks at, in an existing directory.
    pub(super) fn looks(dir: PathBuf, tracer: &'t Path, maker: &Maker<'_>) -> Self {
        let own = links(maker);
        Self { dir, tracer, what: What::Looks, own, links: Vec::new(), disturb: Disturb::default(), group: None }
    }

    /// The same, and this is done to the build.
    pub(super) fn disturbing(self, disturb: Disturb, group: Option<Group>) -> Self {
        let fds = group.as_ref().map(Group::fds);
        Self { disturb: Disturb { group: fds, ..disturb }, group, ..self }
    }

    /// The descriptors that a traced command needs.
    pub(super) fn fds(&self) -> impl Iterator<Item = i32> {
        self.group.iter().flat_map(Group::fds)
    }

    /// Whether the sandbox of the commands should listen for the tracer.
    pub(super) fn listen(&self) -> bool {
        self.what == What::BuildContents
    }

    /// The mounts that a traced command needs.
    pub(super) fn mounts(&self) -> [Mount; 2] {
        [
            Mount::Bind { host: self.tracer.to_owned(), at: TRACER.into(), writable: false },
            Mount::Bind { host: self.dir.clone(), at: TRACES.into(), writable: true },
        ]
    }

    /// The command, traced; `number` tells its trace from the others.
    pub(super) fn command(&self, number: usize, argv: &[OsString]) -> Vec<OsString> {
        let own: Vec<&Path> = self.own.iter().map(PathBuf::as_path).collect();
        let out = Path::new(TRACES).join(number.to_string());
        if self.what == What::BuildLooked {
            let links: Vec<&Path> = self.links.iter().map(PathBuf::as_path).collect();
            return trace::wrap_looked(TRACER.as_ref(), &out, &own, &links, argv);
        }
        trace::wrap_disturbed(TRACER.as_ref(), self.what, &out, &self.disturb, &own, argv)
    }

    /// The trace of the command with this number.
    fn file(&self, number: usize) -> PathBuf {
        self.dir.join(number.to_string())
    }

    /// The signal that ended a command whose status is that of a tracer: 128 and the signal.
    pub(super) fn signal(&self, number: usize) -> Option<i32> {
        let trace = (self.what != What::Looks).then(|| trace::read_all(&self.file(number)).ok()).flatten()?;
        match trace.processes.first()?.end? {
            End::Signal(signal) => Some(signal),
            End::Exit(_) => None,
        }
    }

    /// What all commands together looked at.
    pub(super) fn looked(&self, commands: usize) -> Result<Looked, TraceError> {
        let mut all = Fold::default();
        for number in 0..commands {
            let file = self.file(number);
            let file = if self.what == What::BuildLooked { trace::looked_beside(&file) } else { file };
            let looked = trace::read(&file)?;
            looked.paths.into_iter().for_each(|(path, look)| all.add(trace::Event::Looked(path, look)));
            looked.gaps.into_iter().for_each(|gap| all.add(trace::Event::Missed(gap)));
        }
        Ok(all.finish())
    }

    /// What is there of so many commands.
    pub(super) fn traced(&self, commands: usize, maker: &Maker<'_>, mounts: Vec<Mount>) -> Traced {
        let objtree = if maker.in_tree { "src" } else { "obj" };
        Traced {
            files: (0..commands).map(|number| self.file(number)).collect(),
            roots: roots(maker),
            objtree: objtree.to_owned(),
            mounts,
        }
    }
}

/// Where a build can make links, beside its object tree, in which kbuild makes `source`.
const LINKED: [&str; 4] = ["/tmp", "/var/tmp", "/dev", "/run"];

/// The directories in which a build may make links.
fn links(maker: &Maker<'_>) -> Vec<PathBuf> {
    LINKED.into_iter().map(PathBuf::from).chain([PathBuf::from(&maker.obj)]).collect()
}

/// The directories of a build, and how they are told.
fn roots(maker: &Maker<'_>) -> Vec<Root> {
    let root = |dir: &str, name: &str| Root { dir: dir.into(), name: name.to_owned() };
    let mut roots = vec![root(&maker.src, "src"), root(TOOLS, "tools")];
    if !maker.in_tree {
        roots.push(root(&maker.obj, "obj"));
        // The longest first: a tree may be in the other.
        roots.sort_by_key(|root| std::cmp::Reverse(root.dir.as_os_str().len()));
    }
    roots
}

/// The traces of a build that was made, while its tree is still there.
#[derive(Debug, Clone, Default)]
pub struct Traced {
    /// The traces, one a command, in order.
    pub files: Vec<PathBuf>,
    /// The directories of the build, as it saw them, with their names.
    pub roots: Vec<Root>,
    /// By which of these names files of the object tree are told.
    pub objtree: String,
    /// What was mounted where.
    mounts: Vec<Mount>,
}

impl Traced {
    /// The traces.
    ///
    /// # Errors
    /// One is not there or not whole.
    pub fn read(&self) -> Result<Vec<Trace>, TraceError> {
        self.files.iter().map(|file| trace::read_all(file)).collect()
    }

    /// Where a file of the build is on the host, if it is there.
    #[must_use]
    pub fn place(&self, path: &Path) -> Option<PathBuf> {
        let below = |mount: &Mount| Some((path.strip_prefix(mount.at()).ok()?.to_owned(), mount.clone()));
        let inner = |(_, mount): &(PathBuf, Mount)| mount.at().as_os_str().len();
        match self.mounts.iter().filter_map(below).max_by_key(inner) {
            None => Some(path.to_owned()),
            Some((below, Mount::Bind { host, .. })) => Some(host.join(below)),
            Some((below, Mount::Overlay { lower, upper, .. })) => {
                lower.first().and_then(|lower| overlay::shown(&upper, lower, &below))
            }
            Some((_, Mount::Tmpfs { .. })) => None,
        }
    }
}
