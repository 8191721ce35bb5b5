//! Whether something failed for want of what the host gives a process.

use std::error::Error;
use std::io;

/// What helps when descriptors are scarce.
pub(super) const MORE_FILES: &str = "raise the number of files that may be open: `ulimit -n 1024`, or run fewer jobs";

/// What would help if the error, or one that it comes from, is the want of descriptors (`EMFILE`, `ENFILE`).
#[must_use]
pub fn scarce(error: &(dyn Error + 'static)) -> Option<&'static str> {
    std::iter::successors(Some(error), |error| (*error).source())
        .filter_map(|error| error.downcast_ref::<io::Error>()?.raw_os_error())
        .find_map(scarce_errno)
}

/// As [`scarce`], of an error number.
#[must_use]
pub fn scarce_errno(errno: i32) -> Option<&'static str> {
    matches!(errno, libc::EMFILE | libc::ENFILE).then_some(MORE_FILES)
}
