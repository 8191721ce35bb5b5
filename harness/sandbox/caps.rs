//! Capabilities (capabilities(7)): a build is uid 0 inside, but can do nothing to the host with it.

use rustix::io::Errno;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capability_is_in_bounding_set, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
};

use super::HelperError;
use super::HelperErrorKind::Internal;

/// What stays. `DAC_READ_SEARCH` goes because open_by_handle_at(2) leaves every mount with it, `SYS_CHROOT`
/// because a build does not need it, `SETFCAP` because what it leaves in a tree counts outside too.
fn kept(own_pids: bool) -> CapabilitySet {
    let mut keep = CapabilitySet::CHOWN
        | CapabilitySet::DAC_OVERRIDE
        | CapabilitySet::FOWNER
        | CapabilitySet::FSETID
        | CapabilitySet::KILL
        | CapabilitySet::SETGID
        | CapabilitySet::SETUID
        | CapabilitySet::NET_BIND_SERVICE;
    if own_pids {
        // a tracer inside may follow what changes its identity; without a pid namespace it could take over the host
        keep |= CapabilitySet::SYS_PTRACE;
    }
    keep
}

/// Drops all other capabilities of this process from every set for good, and sets `no_new_privs`.
///
/// # Errors
/// When the kernel refuses: then the build must not run.
pub(super) fn drop_dangerous(own_pids: bool) -> Result<(), HelperError> {
    let keep = kept(own_pids);
    let fail = |what: &str, e: Errno| HelperError::new(Internal, "drop capabilities", what).errno(e);
    set_no_new_privs(true).map_err(|e| fail("set `no_new_privs`", e))?;
    for bit in 0..64 {
        let one = CapabilitySet::from_bits_retain(1 << bit);
        match capability_is_in_bounding_set(one) {
            Ok(true) if !keep.contains(one) => match remove_capability_from_bounding_set(one) {
                Ok(()) => {}
                // not ours to drop (an ordinary user without namespaces): then it is not permitted either,
                // and with no_new_privs no program can bring it back
                Err(Errno::PERM) => {}
                Err(e) => return Err(fail("shrink the bounding set", e)),
            },
            Ok(_) => {}
            // beyond the last capability this kernel knows
            Err(_) => break,
        }
    }
    match clear_ambient_capability_set() {
        // kernels before 4.3 have none
        Ok(()) | Err(Errno::INVAL) => {}
        Err(e) => return Err(fail("clear the ambient set", e)),
    }
    let now = rustix::thread::capabilities(None).map_err(|e| fail("read capabilities", e))?;
    let left = now.permitted & keep;
    set_capabilities(None, CapabilitySets { effective: left, permitted: left, inheritable: CapabilitySet::empty() })
        .map_err(|e| fail("set capabilities", e))
}
