//! Who only wants to know what was looked at: every look is an event, told as the call is entered.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use libc::{c_int, pid_t};

use super::calls::{self, Call, How, Tells};
use super::names::{base, directory, needed, real, running, start};
use super::{Next, Watch, memory, open_how, unreadable};
use crate::trace::place::{Place, place};
use crate::trace::{Event, Fold, Gap, Look, Looked};

/// So many links the kernel follows in one path (path_resolution(7)).
const LINKS: usize = 40;

/// Folds the looks of a command.
pub(super) struct Looks {
    /// Where links may come and go while the command runs.
    own: Vec<PathBuf>,
    fold: Fold,
}

impl Watch for Looks {
    fn call(&mut self, task: pid_t, call: &'static Call, args: &[u64; 6]) -> Next {
        if let Tells::Path { dir, path, how } = call.tells {
            // The kernel takes the low half of it.
            let dir = dir.map(|argument| args[argument] as c_int);
            if let Err(error) = self.path(task, call, args, dir, args[path], how) {
                unreadable(self, task, &format!("the path of `{}`", call.name), &error);
            }
        }
        Next::Go
    }

    fn exec(&mut self, task: pid_t, _former: Option<pid_t>) {
        // What binfmt_misc chose to run it by shows nowhere else.
        if let Some(exe) = running(task) {
            self.fold.add(Event::Looked(exe, Look::Read));
        }
    }

    fn miss(&mut self, gap: Gap) {
        self.fold.add(Event::Missed(gap));
    }
}

impl Looks {
    /// Nothing was looked at yet; below `own`, links are followed when they are used.
    pub(super) fn new(own: Vec<PathBuf>) -> Self {
        Self { own, fold: Fold::default() }
    }

    /// What was looked at.
    pub(super) fn finish(self) -> Looked {
        self.fold.finish()
    }

    fn path(
        &mut self,
        task: pid_t,
        call: &Call,
        args: &[u64; 6],
        dir: Option<c_int>,
        address: u64,
        how: How,
    ) -> io::Result<()> {
        let look = match how {
            How::As(look) => Some(look),
            How::Open(flags) => calls::open(args[flags]),
            How::OpenAs(how) => calls::open(open_how(self, task, call, args[how])?),
            How::Exec => Some(Look::Read),
        };
        let Some(look) = look else { return Ok(()) };
        if address == 0 {
            // The kernel refuses it, or takes it for the descriptor alone.
            return Ok(());
        }
        let path = match memory::path(task, address)? {
            // Most looks are such: a name in full, from the search for a header or a library. A name that is known is
            // normalised and stands for itself.
            Some(name)
                if !matches!(how, How::Exec)
                    && self.fold.knows(OsStr::from_bytes(&name), look)
                    && !self.is_own(Path::new(OsStr::from_bytes(&name))) =>
            {
                return Ok(());
            }
            Some(name) => match start(task, dir, name)? {
                Some((base, name)) => self.place(&base, &name),
                None => return Ok(()),
            },
            // The descriptor itself is run (fexecve(3)), which may have been opened with O_PATH.
            None if matches!(how, How::Exec) => match directory(&base(task, dir))? {
                Some(path) => path,
                None => return Ok(()),
            },
            None => return Ok(()),
        };
        if matches!(how, How::Exec) {
            let (needed, error) = needed(task, path, &mut |base, name| self.place(base, name));
            needed.into_iter().for_each(|path| self.looked(path, Look::Read));
            return error.map_or(Ok(()), Err);
        }
        // Only the flag of opendir(3) is visible in the call.
        let listed = look == Look::Read && fs::metadata(&path).is_ok_and(|data| data.is_dir());
        self.looked(path, if listed { Look::Listed } else { look });
        Ok(())
    }

    fn is_own(&self, path: &Path) -> bool {
        self.own.iter().any(|own| path.starts_with(own))
    }

    /// A look at a path, and at what it leads to now if a link of the command's own leads elsewhere.
    fn looked(&mut self, path: PathBuf, look: Look) {
        if self.is_own(&path)
            && let Some(target) = self.followed(&path)
        {
            self.fold.add(Event::Looked(target, look));
        }
        self.fold.add(Event::Looked(path, look));
    }

    /// Where a path leads if one of its components is a link; what is not there need not be.
    fn followed(&mut self, path: &Path) -> Option<PathBuf> {
        let mut path = path.to_owned();
        let mut links = 0;
        'again: while links <= LINKS {
            let mut at = PathBuf::new();
            let mut rest = path.components();
            while let Some(part) = rest.next() {
                at.push(part);
                // Links elsewhere stay what they are: they are the reader's.
                if self.is_own(&at)
                    && let Ok(target) = fs::read_link(&at)
                {
                    links += 1;
                    at.pop();
                    let name = target.join(rest.as_path());
                    path = self.place(&at, name.as_os_str().as_bytes());
                    continue 'again;
                }
            }
            return (links > 0).then_some(path);
        }
        // A loop leads nowhere.
        None
    }

    /// Where a name leads; what `..` passes on the way there is looked at.
    fn place(&mut self, base: &Path, name: &[u8]) -> PathBuf {
        let Place { path, passed } = place(base, name, &mut real);
        for path in passed {
            self.looked(path, Look::Probed);
        }
        path
    }
}
