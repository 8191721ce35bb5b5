//! The sandbox helper: what the harness's executable is when its first argument is [`super::SUBCOMMAND`].
//!
//! Arguments: `run SPEC RESULT LIFELINE LOG` or `probe RESULT DIR`, where all but the last are descriptor
//! numbers and `LOG` is `-1` for an interactive sandbox. It prints nothing: everything it has to say goes
//! through RESULT as JSON.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::ExitCode;

use super::HelperErrorKind::{HostCannot, Internal};
use super::supervise::{Ran, Supervisor};
use super::{
    HelperError, Isolated, Isolation, Mount, Outcome, Spec, caps, foreign, listen, mounts, namespaces, ops, probe,
    supervise, sys,
};

/// Runs the helper on this process's arguments. To be called first thing in `main`, while there is one thread.
pub fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(2).collect();
    let words: Vec<&str> = args.iter().map(|a| a.to_str().unwrap_or("")).collect();
    let done = match words[..] {
        ["run", spec, result, lifeline, log] => run(spec, result, lifeline, log),
        ["probe", result, _] => probe::main(result, args[2].as_ref()),
        _ => None,
    };
    // 2 is a usage error everywhere else, too
    if done.is_some() { ExitCode::SUCCESS } else { ExitCode::from(2) }
}

fn descriptor(word: &str) -> Option<OwnedFd> {
    sys::take_fd(word.parse().ok()?).ok()
}

fn run(spec: &str, result: &str, lifeline: &str, log: &str) -> Option<()> {
    let spec = File::from(descriptor(spec)?);
    let result = File::from(descriptor(result)?);
    let lifeline = descriptor(lifeline)?;
    let log = if log == "-1" { None } else { Some(descriptor(log)?) };
    let done = read(spec).and_then(|spec| {
        let ours = [Some(&lifeline), log.as_ref()].into_iter().flatten().map(AsRawFd::as_raw_fd);
        let keep: Vec<i32> = ours.chain([result.as_raw_fd()]).chain(spec.inherit_fds.iter().copied()).collect();
        // what the harness itself was started with is no business of a build that looks at pid 1
        sys::close_all_but(&keep);
        report_panics(&result);
        stage_1(spec, &result, &lifeline, log.as_ref())
    });
    if let Err(e) = done {
        return say(&result, &only_error(e));
    }
    Some(())
}

/// Reads the request; it is closed then, for no build to find.
fn read(mut request: File) -> Result<Spec, HelperError> {
    let fail = |what: String| HelperError::new(Internal, "read the request", what);
    let mut text = String::new();
    request.rewind().and_then(|()| request.read_to_string(&mut text)).map_err(|e| fail("read".to_owned()).errno(e))?;
    serde_json::from_str(&text).map_err(|e| fail(e.to_string()))
}

fn only_error(error: HelperError) -> Outcome {
    Outcome { commands: Vec::new(), losses: Vec::new(), isolation: Isolated::Direct, killed: false, error: Some(error) }
}

/// Sends the one result. If the harness is gone nobody misses it.
fn say(mut result: &File, outcome: &Outcome) -> Option<()> {
    let text = serde_json::to_vec(outcome).ok()?;
    let _ = result.write_all(&text);
    Some(())
}

fn report_panics(result: &File) {
    // a descriptor of its own: sockets cannot be opened by their name in /proc
    let Ok(result) = result.try_clone() else { return };
    std::panic::set_hook(Box::new(move |info| {
        let error = HelperError::new(Internal, "helper", format!("panic: {info}"));
        say(&result, &only_error(error));
    }));
}

fn stage_1(mut spec: Spec, result: &File, lifeline: &OwnedFd, log: Option<&OwnedFd>) -> Result<(), HelperError> {
    let internal = |what: &str, e: std::io::Error| HelperError::new(Internal, "set up", what).errno(e);
    if spec.interactive {
        sys::ignore_terminal_signals();
    } else {
        // a session of its own: Ctrl-C at the terminal must not hit builds behind the harness's back
        let _ = rustix::process::setsid();
    }
    if let Some(log) = log {
        supervise::append_mode(log).map_err(|e| internal("open the log for appending", e))?;
    }
    mounts::resolve(&mut spec)?;
    ops::load(&mut spec)?;
    let entered = namespaces::enter(&spec)?;
    if spec.isolation == Isolation::Full
        && let Some(loss) = entered.losses.first()
    {
        return Err(HelperError::new(HostCannot, "enter namespaces", loss.reason.clone()).hint(loss.hint.clone()));
    }
    if entered.isolated == Isolated::UserNs {
        foreign::open_up(&spec)?;
    }
    // Not before: the maps of a user namespace are written through files that are root's from here on. Guard, pid 1
    // and a command until its exec are then closed to what runs with the same user's rights (proc(5), ptrace(2)).
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
        .map_err(|e| internal("close this process to its builds", e.into()))?;
    if entered.isolated == Isolated::Direct {
        inside(&spec, entered, result, lifeline, log);
        return Ok(());
    }
    let parent = rustix::process::getpid();
    let Some(pid) = sys::fork().map_err(|e| internal("fork", e))? else {
        // dies with stage 1, whose pid means nothing in here when there is a pid namespace
        let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
        let orphan = !entered.pid_ns && rustix::process::getppid() != Some(parent);
        if !orphan && !supervise::lifeline_ended(lifeline.as_fd()) {
            inside(&spec, entered, result, lifeline, log);
        }
        sys::exit(0);
    };
    // pid 1 has the result socket now, and the harness must see its end when pid 1 is gone
    supervise::guard(pid, lifeline.as_fd()).map_err(|e| internal("wait for the sandbox", e))
}

/// Everything that happens inside, in the process that then watches over the commands.
fn inside(spec: &Spec, entered: namespaces::Entered, result: &File, lifeline: &OwnedFd, log: Option<&OwnedFd>) {
    let namespaces::Entered { isolated, pid_ns, mut losses } = entered;
    let mut supervisor = Supervisor { spec, isolated, pid_ns, lifeline: lifeline.as_fd(), log, listener: None };
    let ran = prepare(&mut supervisor, &mut losses).map(|()| supervisor.run());
    let ran = ran.unwrap_or_else(|e| Ran { commands: Vec::new(), killed: false, error: Some(e) });
    let Ran { commands, killed, error } = ran;
    say(result, &Outcome { commands, losses, isolation: isolated, killed, error });
}

fn prepare(with: &mut Supervisor<'_>, losses: &mut Vec<super::Loss>) -> Result<(), HelperError> {
    let spec = with.spec;
    if with.isolated == Isolated::Direct {
        if let Some(overlay) = spec.mounts.iter().find(|m| matches!(m, Mount::Overlay { .. })) {
            let what = format!("no overlay at `{}` without a mount namespace", overlay.at().display());
            let hint = losses.first().map_or("copy the tree instead".to_owned(), |l| l.hint.clone());
            return Err(HelperError::new(HostCannot, "mount", what).hint(hint));
        }
    } else {
        losses.extend(mounts::build_root(spec, with.isolated, with.pid_ns)?);
        if let (Isolation::Full, Some(loss)) = (spec.isolation, losses.first()) {
            return Err(HelperError::new(HostCannot, "mount", loss.reason.clone()).hint(loss.hint.clone()));
        }
    }
    if !with.pid_ns {
        let me = rustix::process::getpid();
        rustix::process::set_child_subreaper(Some(me))
            .map_err(|e| HelperError::new(Internal, "set up", "adopt orphans").errno(e))?;
    }
    // After the last mount, and while it is allowed. Without a namespace of its own it would hear everybody.
    if spec.listen && with.isolated != Isolated::Direct {
        with.listener = listen::listen().ok();
    }
    caps::drop_dangerous(with.pid_ns)?;
    ops::execute(spec, with.isolated)
}
