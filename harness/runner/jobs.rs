//! The jobs of one build: its first slot, and the server that hands out the others.

use super::slots::{JobServer, Pool, Slot, SlotError};

/// The jobs of one build; free again when dropped.
#[derive(Debug)]
pub(super) struct Jobs {
    server: JobServer,
    most: usize,
    /// Held for the one job that needs no token, where the server does not hold it itself.
    _slot: Option<Slot>,
}

impl Jobs {
    /// Waits for the first slot; `None` if `stopped` said so first. With `fixed` the build has exactly so many
    /// jobs, whatever else runs: a scenario that states `-jN` is about job order.
    pub(super) fn wait(
        pool: &Pool,
        fixed: Option<u32>,
        most: usize,
        stopped: &dyn Fn() -> bool,
    ) -> Result<Option<Self>, SlotError> {
        let Some(slot) = pool.acquire(stopped)? else { return Ok(None) };
        Ok(Some(match fixed {
            Some(jobs) => {
                let most = jobs as usize;
                Self { server: JobServer::exact(most)?, most, _slot: Some(slot) }
            }
            None => Self { server: JobServer::start(pool.clone(), slot, most)?, most, _slot: None },
        }))
    }

    /// Descriptors that the build inherits.
    pub(super) fn fds(&self) -> Vec<i32> {
        self.server.fds().to_vec()
    }

    /// The `MAKEFLAGS` of the build.
    pub(super) fn makeflags(&self) -> String {
        if self.most == 1 && self._slot.is_some() {
            // As `make -j1` has it: no job server at all, which a recipe can see.
            return "-j1".to_owned();
        }
        self.server.makeflags()
    }

    /// The most jobs the build can have.
    pub(super) fn most(&self) -> usize {
        self.most
    }
}
