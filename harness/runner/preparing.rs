//! Getting a prepared state for a clean build: looking for one, waiting for whoever makes it, making it.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Instant, SystemTime};

use serde_json::json;

use super::command::Maker;
use super::execute::{CLOCK, PATIENCE, RunError, Runner, TICK, lock};
use super::instance::{Instance, Source};
use super::making::{Made, Making, Tree};
use super::prepared::{Claim, Eyes, Found, Inputs, Key, Prepared, Slot, Store, way};
use super::traces::Traces;
use super::{Chain, Event, Preparation, Role};
use crate::sandbox;
use crate::scenario::Tool;
use crate::tree::source::sha256_file;
use crate::tree::view::View;
use crate::tree::{ConfigBase, State};

/// Variables that name an external module: it is not what is prepared.
const EXTERNAL: [&str; 3] = ["M", "MO", "KBUILD_EXTMOD"];

/// What a clean build starts from.
#[derive(Debug)]
pub(super) enum Start {
    /// From nothing: it prepares itself.
    Nothing,
    /// From a state that is there.
    Ready(Prepared),
    /// From a state that is to be made first.
    Make {
        /// What it is kept under.
        key: Key,
        /// The right to keep it, if the cache can be written.
        claim: Option<Claim>,
        /// Why none that is there will do.
        why: Option<String>,
    },
}

/// What came of a preparation.
#[derive(Debug)]
pub(super) enum Prepares {
    /// A state.
    Ready(Prepared, Preparation),
    /// It failed, and with it the clean build.
    Failed(Made),
    /// The build has to prepare itself.
    Itself,
}

impl Runner<'_> {
    /// What the clean build of a chain starts from. No job slot may be held: whoever makes the state needs them.
    pub(super) fn start(&self, chain: &Chain, maker: &Maker<'_>, state: &State) -> Result<Start, RunError> {
        // What is prepared is prepared of sources with the times that they have.
        if self.older(chain.role.is_varied()) > 0 {
            return Ok(Start::Nothing);
        }
        let Some((store, lower)) = self.store(maker, state) else { return Ok(Start::Nothing) };
        if !self.is_proved(store, lower, chain, maker, state) {
            return Ok(Start::Nothing);
        }
        let slot = if chain.role == Role::Control { Slot::Control } else { Slot::Other };
        let edit = chain.builds.first().and_then(|build| build.edit);
        let text = edit.and_then(|n| lock(&self.configured).get(&n).cloned());
        let varied = chain.role.is_varied();
        let key = |config| Key::new(self.known_before(maker, state, varied, config), slot);
        let Some(text) = text else {
            return self.find(&chain.instance, (store, lower), maker, state, key(self.recipe(state)), &|_| true);
        };
        // An oracle is a clean build of the control's very configuration. Mostly that is the one it began with, and
        // then the experiment has made the state, or is about to.
        let began = self.plan.base.symbols == state.symbols;
        let same =
            |prepared: &Prepared| fs::read(prepared.dir().join(".config")).is_ok_and(|have| have == text.as_bytes());
        if began {
            let recipe = key(self.recipe(state));
            if let Start::Ready(prepared) = self.find(&chain.instance, (store, lower), maker, state, recipe, &same)? {
                return Ok(Start::Ready(prepared));
            }
        }
        self.find(&chain.instance, (store, lower), maker, state, key(json!({ "text": text })), &|_| true)
    }

    /// Whether the goals of a chain's clean build are known to come to what would be prepared for them. If not, that build
    /// is made from nothing to find out; the experiment never, with which the control is compared.
    fn is_proved(&self, store: &Store, lower: &Path, chain: &Chain, maker: &Maker<'_>, state: &State) -> bool {
        let other = match (chain.role, chain.builds.first().and_then(|build| build.edit)) {
            (Role::Control, _) if self.context.parts.experiment => "experiment/clean".to_owned(),
            (Role::Oracle, Some(edit)) => format!("{}/incremental", self.scenario.edit_name(edit)),
            _ => return true,
        };
        let way = |state: &State| {
            let then = self.scenario.make.then.iter().map(|then| maker.make_with(state, &then.goals, &then.vars));
            let commands: Vec<Vec<String>> = [maker.make(state, &state.goals)].into_iter().chain(then).collect();
            way(&self.eyes(store, lower, maker, state), state, &commands)
        };
        let Some(taken) = way(state) else { return true };
        // Where the experiment starts from nothing it tells nothing of that.
        if self.older(true) > 0 {
            return store.is_proved(&taken);
        }
        // The control's own build tells.
        if chain.role == Role::Oracle && way(&self.plan.base).as_ref() == Some(&taken) {
            return true;
        }
        let proved = store.is_proved(&taken);
        if let (false, Some(first)) = (proved, chain.builds.first()) {
            lock(&self.from_nothing).push((taken, first.id.clone(), other));
        }
        proved
    }

    /// What was found out by builds from nothing.
    pub(super) fn prove_ways(&self) {
        let Some(store) = self.context.prepared else { return };
        for (way, build, other) in lock(&self.from_nothing).iter() {
            if self.observer.differing(build, other).is_some_and(|differing| differing.is_empty()) {
                store.prove(way);
            }
        }
    }

    /// The cache, and the sources below the edits, if the scenario's clean builds start from prepared states.
    fn store(&self, maker: &Maker<'_>, state: &State) -> Option<(&Store, &Path)> {
        let scenario = self.scenario;
        let Source::Overlay(lower) = self.context.source else { return None };
        let plain = scenario.is_graft()
            && scenario.prepares_itself().is_none()
            && self.plan.config.is_some()
            && !maker.in_tree
            && !self.context.direct
            && View { lower, state }.is_plain();
        self.context.prepared.filter(|_| plain).map(|store| (store, lower.as_path()))
    }

    /// How the configuration of a state is made.
    pub(super) fn recipe(&self, state: &State) -> serde_json::Value {
        let config = self.plan.config.as_ref();
        let base = config.map(|config| match &config.base {
            ConfigBase::Goal(goal) => json!({ "goal": goal }),
            ConfigBase::File(text) => json!({ "file": text }),
        });
        json!({ "base": base, "fragments": config.map(|config| &config.fragments), "symbols": state.symbols })
    }

    /// What is known of a preparation before it reads anything, the configuration apart.
    pub(super) fn known_before(
        &self,
        maker: &Maker<'_>,
        state: &State,
        varied: bool,
        config: serde_json::Value,
    ) -> serde_json::Value {
        // A program by its path is what is there now.
        let tool = |(name, tool): (&String, &Tool)| {
            let target = tool.path.as_deref().map(|path| format!("{path} {}", digest_of(Path::new(path))));
            (name.clone(), tool.script.clone().or(target).unwrap_or_default())
        };
        let inputs = Inputs {
            config,
            env: &maker.environment(state, varied),
            make: &maker.make(&preparable(state), &[]),
            cwd: &maker.cwd(),
            places: [&maker.src, &maker.obj],
            hostname: &self.hostname(varied),
            jobs: self.jobs(state, varied),
            group: self.group(varied),
            tools: state.tools.iter().map(tool).collect(),
            toolchain: maker.toolchain.iter().map(|tool| (tool.place(), tool.marker.sha256.clone())).collect(),
            seen: (maker.sees_all(), maker.shown(state)),
            machine: self.context.prepared.map_or(&serde_json::Value::Null, Store::machine),
        };
        inputs.value()
    }

    /// Looks for a state until there is one or nobody else makes it.
    fn find(
        &self,
        instance: &str,
        (store, lower): (&Store, &Path),
        maker: &Maker<'_>,
        state: &State,
        key: Key,
        fits: &dyn Fn(&Prepared) -> bool,
    ) -> Result<Start, RunError> {
        let state = preparable(state);
        let eyes = self.eyes(store, lower, maker, &state);
        let look = || match store.find(&key, &eyes) {
            Found::Ready(prepared) if fits(&prepared) => Ok(prepared),
            Found::Ready(_) => Err(Some("its configuration is another".to_owned())),
            Found::None(why) => Err(why),
        };
        let ready = |prepared: Prepared| match prepared.is_of_the_future(SystemTime::now()) {
            true => Start::Nothing,
            false => Start::Ready(prepared),
        };
        // A look takes thousands of files, so there is none while somebody else is at work.
        let before = match look() {
            Ok(prepared) => return Ok(ready(prepared)),
            Err(why) => why,
        };
        // Without one every clean build prepares itself.
        let claim = self.claimed(instance, &|| store.claim(&key))?;
        // Whoever had the claim may have made it.
        Ok(match look() {
            Ok(prepared) => ready(prepared),
            Err(why) => Start::Make { key, claim, why: before.or(why) },
        })
    }

    /// Waits for a claim as long as somebody else has it; `None` where the cache cannot be written.
    pub(super) fn claimed<C>(
        &self,
        instance: &str,
        claim: &dyn Fn() -> io::Result<Option<C>>,
    ) -> Result<Option<C>, RunError> {
        let (since, mut told) = (Instant::now(), false);
        loop {
            match claim() {
                Ok(None) if self.stopped() => return Err(self.interrupted()),
                Ok(None) => {
                    if !told && since.elapsed() > PATIENCE {
                        told = true;
                        self.observer.event(Event::Awaiting(instance.to_owned()));
                    }
                    thread::sleep(TICK);
                }
                Ok(claim) => return Ok(claim),
                Err(_) => return Ok(None),
            }
        }
    }

    /// Makes the state that a clean build starts from.
    pub(super) fn prepare(
        &self,
        chain: &Chain,
        tree: Tree<'_>,
        log: &Path,
        (key, claim, mut why): (Key, Option<Claim>, Option<String>),
    ) -> Result<Prepares, RunError> {
        let Some((store, lower)) = self.store(tree.maker, tree.state) else { return Ok(Prepares::Itself) };
        let failed = |what: &'static str| move |error| RunError::harness(what, error);
        self.observer.event(Event::Preparing(chain.instance.clone(), why.clone()));
        // The kernel stamps files by a clock that may be a tick behind (up to 10 ms).
        let began = SystemTime::now() - CLOCK;
        let state = preparable(tree.state);
        let dir = self.context.scratch.join(format!("{}-prepare", chain.instance));
        let instance = Instance::create(&dir, self.context.source, false, &state, tree.maker.hidden(), 0)
            .map_err(failed("lay the source tree down"))?;
        let traces_dir = dir.join("traces");
        fs::create_dir(&traces_dir).map_err(failed("make a directory for traces"))?;
        let traces = Traces::looks(traces_dir, self.context.sandbox.program(), tree.maker);
        let making = Making::new(
            self,
            Tree { instance: &instance, state: &state, ..tree },
            chain.role.is_varied(),
            log.to_owned(),
        )?;
        let made = making.prepare_only(chain.builds.first().and_then(|build| build.edit), &traces)?;
        if !made.status.ok() {
            // What it left is what the clean build leaves.
            let obj = tree.instance.objtree();
            fs::remove_dir(&obj).and_then(|()| fs::rename(instance.objtree(), obj)).map_err(failed("move a tree"))?;
            instance.remove().map_err(failed("remove a tree"))?;
            return Ok(Prepares::Failed(made));
        }
        let itself = |instance: &Instance| {
            instance.remove().map_err(failed("remove a tree"))?;
            File::options().write(true).open(log).and_then(|log| log.set_len(0)).map_err(failed("empty the log"))?;
            Ok(Prepares::Itself)
        };
        if !instance.sources_untouched(&state) {
            // Only the build itself can do that to its own tree.
            return itself(&instance);
        }
        let eyes = self.eyes(store, lower, tree.maker, &state);
        let commands = made.argv.clone();
        let looked = traces.looked(commands.len()).map_err(|error| error.to_string());
        let kept = looked.and_then(|looked| eyes.manifest(&looked)).and_then(|manifest| {
            let claim = claim.as_ref().ok_or_else(|| "the cache cannot be written".to_owned())?;
            if eyes.changed_since(&manifest, began) {
                return Err("its sources were changed meanwhile".to_owned());
            }
            store.keep(&key, claim, &instance.objtree(), manifest, commands.clone()).map_err(|e| e.to_string())
        });
        drop(claim);
        let found = kept.and_then(|()| match store.find(&key, &eyes) {
            Found::Ready(prepared) => Ok(prepared),
            Found::None(why) => Err(why.unwrap_or_else(|| "it is gone already".to_owned())),
        });
        let prepared = match found {
            // Sources of the future: what make does then depends on how long it takes.
            Ok(prepared) if prepared.is_of_the_future(SystemTime::now()) => return itself(&instance),
            Ok(prepared) => prepared,
            Err(reason) => {
                why = Some(format!("not kept: {reason}"));
                let own = self.private(chain);
                fs::rename(instance.objtree(), &own).map_err(failed("move a tree"))?;
                match Prepared::private(own.clone(), commands) {
                    Ok(prepared) => prepared,
                    // Something lies in it that cannot be read or shared.
                    Err(_) => {
                        sandbox::remove_tree(&own).map_err(failed("remove a tree"))?;
                        return itself(&instance);
                    }
                }
            }
        };
        instance.remove().map_err(failed("remove a tree"))?;
        let (wall_ms, cpu_ms) = (millis(made.wall), millis(made.cpu));
        Ok(Prepares::Ready(prepared, Preparation { reused: false, wall_ms, cpu_ms, why }))
    }

    pub(super) fn eyes<'e>(
        &'e self,
        store: &'e Store,
        lower: &'e Path,
        maker: &'e Maker<'_>,
        state: &'e State,
    ) -> Eyes<'e> {
        Eyes {
            view: View { lower, state },
            src: Path::new(&maker.src),
            obj: Path::new(&maker.obj),
            shown: maker.shown(state),
            digests: store.digests(),
        }
    }

    /// Where a chain keeps a prepared state of its own.
    pub(super) fn private(&self, chain: &Chain) -> PathBuf {
        self.context.scratch.join(format!("{}-prepared", chain.instance))
    }
}

/// Whole milliseconds.
pub(crate) fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The state as far as it is prepared: an external module is built later.
fn preparable(state: &State) -> State {
    let mut state = state.clone();
    state.vars.retain(|name, _| !EXTERNAL.contains(&name.as_str()));
    state
}

/// SHA-256 of a program's file, or why it cannot be read.
fn digest_of(path: &Path) -> String {
    sha256_file(path, &mut |_| {}).unwrap_or_else(|error| error.to_string())
}
