//! What was opened by tasks that did not stop for it.

use std::fs::File;
use std::os::fd::AsRawFd;

use libc::pid_t;

use super::{Change, Pending, Recorder, inode};
use crate::trace::ptrace::Watch;
use crate::trace::ptrace::names::{directory, program};
use crate::trace::ptrace::opened::{Heard, Listener, Opened};
use crate::trace::{Deed, Gap};

impl Recorder {
    /// Tells all that was heard since it was last asked.
    pub(super) fn hear(&mut self) {
        while let Some(heard) = self.listener.as_mut().and_then(Listener::next) {
            match heard {
                Heard::Opened(opened) => self.heard(&opened),
                Heard::Overflow => self.lost("fanotify", "its queue was full".to_owned(), None),
                // Files of others that cannot be opened are no matter.
                Heard::Failed(task, error) => {
                    if task.is_none_or(|task| self.tasks.contains_key(&task)) {
                        self.lost("a file that was opened", error.to_string(), task);
                    }
                }
            }
        }
    }

    /// A file was opened by a task that did not stop for it.
    fn heard(&mut self, opened: &Opened) {
        // Who is in a call that opens is told of when it returns.
        let told = matches!(self.pending.get(&opened.task), Some(Pending::Open { .. }));
        if told || !self.tasks.contains_key(&opened.task) {
            return;
        }
        if !opened.to_run {
            self.did_not_run(opened.task);
        }
        match directory(&format!("/proc/self/fd/{}", opened.file.as_raw_fd())) {
            Ok(Some(path)) if path.starts_with("/proc") => drop(path),
            Ok(Some(path)) if opened.to_run => self.running.entry(opened.task).or_default().push(path),
            Ok(Some(path)) if opened.is_directory() => self.tell(opened.task, Deed::List, &path),
            Ok(Some(path)) => {
                // While a file is renamed it can have its new name already, by which it is not known yet.
                let renamed = self.pending.values().find_map(|pending| match pending {
                    Pending::Change(Change::Rename { from, to, inode: Some(moved), .. }) => {
                        let below = path.strip_prefix(to).ok()?;
                        let file = File::from(opened.file.try_clone().ok()?);
                        (below.components().next().is_some() || inode(file.metadata()) == Some(*moved))
                            .then(|| from.join(below))
                    }
                    _ => None,
                });
                let content = self.files.current(renamed.as_deref().unwrap_or(&path));
                self.act(opened.task, Deed::Read, &path, None, Some(content));
            }
            Ok(None) => {}
            Err(error) => self.lost("the name of an open file", error.to_string(), Some(opened.task)),
        }
    }

    /// Something that was opened is not known.
    fn lost(&mut self, what: &str, reason: String, task: Option<pid_t>) {
        let program = task.map_or_else(|| "?".to_owned(), program);
        self.miss(Gap::Unreadable { program, what: what.to_owned(), reason });
    }
}
