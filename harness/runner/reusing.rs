//! Taking the result of an oracle that was built before, in this run or an earlier one, in place of building it again.
//!
//! Only oracles: control and experiment are compared with each other, so neither may come from anywhere, and the control's
//! tree is needed for what is built in it next. Nor does a finding ever rest on a result that was taken: where an
//! incremental build is not what the oracle was, the oracle is built after all ([`Runner::doubt`]). So a build that depends on
//! the clock shows as it always would, and what is saved is the time of oracles that agree, which is nearly all of them.

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use serde_json::json;

use super::command::Maker;
use super::execute::{RunError, Runner, lock};
use super::instance::{Instance, Source};
use super::prepared::{Manifest, Prepared};
use super::preparing::Start;
use super::results::{ResultKey, Results};
use super::traces::Traces;
use super::{Chain, Event, Role};
use crate::sandbox::Isolation;
use crate::tree::State;
use crate::tree::source::sha256;
use crate::tree::view::View;

/// What becomes of a chain.
#[derive(Debug)]
pub(super) enum Reuse {
    /// It is built, and that is all.
    No,
    /// It was built before, and is recorded from that.
    Taken,
    /// It is built, and kept for others.
    Keep(Keeping),
}

/// A result that will be kept.
#[derive(Debug)]
pub(super) struct Keeping {
    key: ResultKey,
    /// Given up when dropped: then others who wait for the same find it.
    _claim: File,
}

impl Runner<'_> {
    /// Takes the result of a chain, or the right to keep it. No job slot may be held: whoever makes the same needs some.
    pub(super) fn reuse(
        &self,
        chain: &Chain,
        maker: &Maker<'_>,
        state: &State,
        start: &Start,
    ) -> Result<Reuse, RunError> {
        let Some((results, lower)) = self.results(chain, maker, state) else { return Ok(Reuse::No) };
        let prepared = match start {
            Start::Ready(prepared) => Some(prepared),
            Start::Nothing if !self.scenario.is_graft() => None,
            // It is to be seen what a build from nothing comes to, or there is nothing yet that it will start from.
            Start::Nothing | Start::Make { .. } => return Ok(Reuse::No),
        };
        let Some(store) = self.context.prepared else { return Ok(Reuse::No) };
        let key = self.result_key(chain, maker, state, prepared);
        let eyes = self.eyes(store, lower, maker, state);
        let taken = || results.find(&key, &eyes).is_some_and(|kept| self.observer.adopt(chain, kept));
        let take = || {
            chain.builds.iter().for_each(|build| self.observer.event(Event::Reused(build.id.clone())));
            lock(&self.taken).push(chain.clone());
            Reuse::Taken
        };
        if taken() {
            return Ok(take());
        }
        // The same build is one of the same sources, which the key does not have.
        let name = sha256(format!("{} {} {:?}", key.0, lower.display(), state.files).as_bytes());
        let Some(claim) = self.claimed(&chain.instance, &|| results.claim(&name))? else { return Ok(Reuse::No) };
        // Whoever had the claim may have made it.
        Ok(if taken() { take() } else { Reuse::Keep(Keeping { key, _claim: claim }) })
    }

    /// The cache, and the sources below the edits, if results of the chain can be taken and kept.
    fn results(&self, chain: &Chain, maker: &Maker<'_>, state: &State) -> Option<(&Results, &Path)> {
        let context = self.context;
        let Source::Overlay(lower) = context.source else { return None };
        let plain = chain.role == Role::Oracle
            && !self.afresh.load(Ordering::Relaxed)
            && !self.copies
            && !maker.in_tree
            && context.trace
            // What stays, or is booted, has to be there.
            && !context.keep
            && !context.boot
            && context.isolation() != Isolation::Direct
            && View { lower, state }.is_plain();
        context.results.filter(|_| plain).map(|results| (results, lower.as_path()))
    }

    fn result_key(&self, chain: &Chain, maker: &Maker<'_>, state: &State, prepared: Option<&Prepared>) -> ResultKey {
        let scenario = self.scenario;
        let then = scenario.make.then.iter().map(|then| maker.make_with(state, &then.goals, &then.vars));
        let commands: Vec<Vec<String>> = [maker.make(state, &state.goals)].into_iter().chain(then).collect();
        let text = chain.builds.first().and_then(|build| lock(&self.configured).get(&build.edit?).cloned());
        let program = std::fs::metadata(self.context.sandbox.program());
        let program = program.map(|meta| (meta.len(), meta.mtime(), meta.mtime_nsec())).unwrap_or_default();
        ResultKey(json!({
            "before": self.known_before(maker, state, false, json!({ "recipe": self.recipe(state), "text": text })),
            // What the harness itself does, and records.
            "program": program,
            "artifacts": self.observer.artifacts(),
            "commands": commands,
            "modes": chain.builds.iter().map(|build| build.mode).collect::<Vec<_>>(),
            "umask": self.umask(false),
            "random": self.randomizes(false),
            "isolation": format!("{:?}", self.context.isolation()),
            "limits": [self.context.disk_limit, super::disk_limit(scenario)],
            "prepared": prepared.map(Prepared::digest),
        }))
    }

    /// What a build looked at, while its traces are there; `None` where that is not known in full, or not what is there now.
    pub(super) fn looked_at(
        &self,
        traces: &Traces<'_>,
        commands: usize,
        maker: &Maker<'_>,
        state: &State,
        began: SystemTime,
    ) -> Option<Manifest> {
        let (Some(store), Source::Overlay(lower)) = (self.context.prepared, self.context.source) else { return None };
        let eyes = self.eyes(store, lower, maker, state);
        let manifest = eyes.manifest(&traces.looked(commands).ok()?).ok()?;
        (!eyes.changed_since(&manifest, began)).then_some(manifest)
    }

    /// Keeps what was recorded of a chain, if all of it is as it should be.
    pub(super) fn keep_result(
        &self,
        chain: &Chain,
        keeping: &Keeping,
        manifest: Option<Manifest>,
        instance: &Instance,
        state: &State,
    ) {
        let Some((results, manifest)) = self.context.results.zip(manifest) else { return };
        // A build that writes beside its sources goes by what it wrote.
        if instance.sources_untouched(state)
            && let Some(kept) = self.observer.kept(chain)
        {
            // A cache that cannot be written learns nothing.
            let _ = results.keep(&keeping.key, manifest, &kept);
        }
    }

    /// Builds the oracles after all that were taken from earlier builds and with which an incremental build does not agree.
    pub(super) fn doubt(&self) -> Result<(), RunError> {
        let taken = std::mem::take(&mut *lock(&self.taken));
        let doubtful = |chain: &Chain| {
            let edit = chain.builds.first().and_then(|build| build.edit)?;
            let incremental = format!("{}/incremental", self.scenario.edit_name(edit));
            chain.builds.first().map(|oracle| !self.observer.agrees(&incremental, &oracle.id))
        };
        let doubted: Vec<Chain> = taken.into_iter().filter(|chain| doubtful(chain) != Some(false)).collect();
        if doubted.is_empty() {
            return Ok(());
        }
        self.afresh.store(true, Ordering::Relaxed);
        for chain in &doubted {
            self.observer.forget(chain);
            self.observer.event(Event::Planned(chain.builds.len()));
        }
        self.chains(&doubted)
    }
}
