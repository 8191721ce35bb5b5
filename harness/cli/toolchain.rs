//! `[toolchain]` on this host: what the system has, what is unpacked beside it, and how records name it.

use std::collections::BTreeMap;
use std::path::Path;

use super::host::Host;
use super::{CliError, load};
use crate::artifact::record::ToolRecord;
use crate::scenario::{Scenario, Wanted, version_fits};
use crate::tree::source::tools::{Offer, Tools, Unpacked};
use crate::tree::source::{Hold, SourceError};

/// How the command line names a tool.
pub(super) const SCHEME: &str = "tool:";

/// What `LLVM=1` has kbuild start (Documentation/kbuild/llvm.rst).
const LLVM: &[&str] =
    &["clang", "ld.lld", "llvm-ar", "llvm-nm", "llvm-objcopy", "llvm-objdump", "llvm-readelf", "llvm-strip"];
/// Tools that take no part in a build by clang.
const GNU: &[&str] = &["gcc", "ld", "nm", "objcopy", "ar"];

/// The tools of one scenario that are not the system's.
#[derive(Debug, Default)]
pub(crate) struct Chosen {
    /// Unpacked, whole, and mounted into its builds.
    pub(crate) unpacked: Vec<Unpacked>,
    /// Keep them in the cache while they are used.
    _holds: Vec<Hold>,
}

/// The cache of tools; each is looked at whole once a run.
pub(crate) struct Shelf {
    tools: Tools,
    seen: BTreeMap<String, Unpacked>,
}

impl Shelf {
    pub(crate) fn new(host: &Host, cache: Option<&Path>) -> Self {
        Self { tools: tools(host, cache), seen: BTreeMap::new() }
    }

    /// The tools of a scenario, fetched if that is wished; `Ok(Err(reason))` if it has to be skipped.
    pub(crate) fn choose(
        &mut self,
        host: &Host,
        scenario: &Scenario,
        fetch: bool,
    ) -> Result<Result<Chosen, String>, CliError> {
        let mut chosen = Chosen::default();
        for wanted in scenario.toolchain.wanted().into_iter().filter(|wanted| !system_has(host, wanted)) {
            if let Some(program) = wanted.program() {
                match self.own(host, wanted.name, program) {
                    Ok(unpacked) => {
                        chosen._holds.extend(self.tools.hold(&unpacked));
                        chosen.unpacked.push(unpacked);
                        continue;
                    }
                    Err(error) => return Ok(Err(error.to_string())),
                }
            }
            let Some(offer) = Offer::find(wanted.name, wanted.version) else {
                let have = host.version_key(wanted.name).map_or("none".to_owned(), |have| format!("`{have}`"));
                let ids = Offer::ids(Some(wanted.name)).join(", ");
                return Ok(Err(format!("no {wanted}: the system has {have}, and can be unpacked: {ids}")));
            };
            let Some(unpacked) = self.get(host, offer, fetch)? else {
                let how = format!("`kbuild-repro fetch {SCHEME}{}` (or `run --bootstrap`)", offer.id());
                return Ok(Err(format!("the system has no {wanted}, nor has the cache; get it by {how}")));
            };
            let version = &unpacked.marker.version;
            if wanted.version.is_some_and(|asked| !version_fits(asked, version)) {
                return Ok(Err(format!("no {wanted}: the archive has `{version}`")));
            }
            chosen._holds.extend(self.tools.hold(&unpacked));
            chosen.unpacked.push(unpacked);
        }
        Ok(Ok(chosen))
    }

    /// A program of the host's, by its path.
    fn own(&mut self, host: &Host, name: &str, program: &Path) -> Result<Unpacked, SourceError> {
        let key = program.display().to_string();
        if let Some(unpacked) = self.seen.get(&key) {
            return Ok(unpacked.clone());
        }
        let version = host.version_of_own(name, program).unwrap_or_default();
        let unpacked = self.tools.own(name, &version, program)?;
        self.seen.insert(key, unpacked.clone());
        Ok(unpacked)
    }

    fn get(&mut self, host: &Host, offer: &'static Offer, fetch: bool) -> Result<Option<Unpacked>, CliError> {
        if let Some(unpacked) = self.seen.get(&offer.id()) {
            return Ok(Some(unpacked.clone()));
        }
        let mut found = self.tools.lookup(offer);
        if found.is_none() && fetch {
            found = Some(get(&self.tools, offer, host.terminal.is_terminal)?);
        }
        if let Some(unpacked) = &found {
            self.seen.insert(offer.id(), unpacked.clone());
        }
        Ok(found)
    }
}

/// The cache of unpacked tools.
pub(super) fn tools(host: &Host, cache: Option<&Path>) -> Tools {
    let tools = Tools::new(load::cache(host, cache), host.env.clone());
    // What a killed attempt left; if it cannot be removed, the next one says why.
    let _ = tools.sweep();
    tools
}

fn get(tools: &Tools, offer: &'static Offer, terminal: bool) -> Result<Unpacked, CliError> {
    let mut shown = super::progress::Fetching::new(&format!("{SCHEME}{}", offer.id()), terminal);
    let got = tools.fetch(offer, &mut |progress| shown.show(&progress));
    shown.finish();
    got.map_err(CliError::not_had)
}

/// `fetch tool:pahole-1.30`.
pub(super) fn fetch(host: &Host, id: &str, cache: Option<&Path>) -> Result<String, CliError> {
    let offer = Offer::by_id(id).ok_or_else(|| {
        let ids = Offer::ids(None);
        let near = crate::scenario::nearest(id, ids.iter().map(String::as_str));
        let near = near.map(|near| format!("did you mean `{SCHEME}{near}`? ")).unwrap_or_default();
        CliError::usage(format!("no tool `{id}` can be unpacked"), format!("{near}there are: {}", ids.join(", ")))
    })?;
    let got = get(&tools(host, cache), offer, host.terminal.is_terminal)?;
    Ok(format!("{} {} in {}", offer.name, got.marker.version, got.dir.display()))
}

/// Whether the system's own tool will do: of that version, and where builds look for it.
fn system_has(host: &Host, wanted: &Wanted<'_>) -> bool {
    if wanted.name == "clang" {
        return LLVM.iter().all(|name| host.find_for_builds(name).is_some());
    }
    let info = host.tools.get(wanted.name).and_then(Option::as_ref);
    let fits = info.filter(|info| wanted.version.is_none_or(|version| version_fits(version, &info.version)));
    fits.is_some()
}

/// Whether a scenario brings the tool itself, so that the system need not have it.
pub(super) fn brings(scenario: &Scenario, tool: &str) -> bool {
    scenario.toolchain.wanted().iter().any(|wanted| wanted.name == tool)
}

/// The toolchain of a scenario: the system's, and in its place what is unpacked, by the content of all its files.
pub(super) fn records(system: &[ToolRecord], scenario: &Scenario, chosen: &Chosen) -> Vec<ToolRecord> {
    let clang = scenario.toolchain.is_clang();
    let takes_part = |name: &str| {
        let other = if clang { GNU.contains(&name) } else { LLVM.contains(&name) };
        !other && chosen.unpacked.iter().all(|unpacked| unpacked.offer.name != name)
    };
    let mut records: Vec<ToolRecord> = system.iter().filter(|tool| takes_part(&tool.name)).cloned().collect();
    records.extend(chosen.unpacked.iter().map(|unpacked| ToolRecord {
        name: unpacked.offer.name.into(),
        path: unpacked.program(unpacked.offer.name),
        version: unpacked.marker.version.clone(),
        key: unpacked.key(),
        sha256: unpacked.marker.sha256.parse().ok(),
    }));
    records.sort_by(|a, b| a.name.cmp(&b.name));
    records
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::host::ToolInfo;
    use crate::cli::host::tests::fake;

    fn scenario(toolchain: &str) -> Scenario {
        let text = format!("title = \"t\"\n[tree]\nsrctree = \"mini\"\n[toolchain]\n{toolchain}\n");
        crate::scenario::parse("t.toml", &text, &()).expect("a scenario").scenario
    }

    fn host(version: &str, path: &str) -> Host {
        let mut host = fake(Path::new("/nowhere"), Path::new("/nowhere"));
        let info = ToolInfo { path: path.into(), version: version.into(), version_key: version.into() };
        host.tools.insert("pahole", Some(info));
        host
    }

    #[test]
    fn the_systems_tool_will_do_where_it_fits() {
        let has = |version: &str, path: &str, asked: &str| {
            let scenario = scenario(&format!("pahole = \"{asked}\""));
            system_has(&host(version, path), &scenario.toolchain.wanted()[0])
        };
        assert!(has("1.24", "/usr/bin/pahole", "1.24") && has("1.24.1", "/usr/local/bin/pahole", "1.24"));
        assert!(!has("1.24", "/usr/bin/pahole", "1.2") && !has("1.24", "/usr/bin/pahole", "1.30"));
    }

    #[test]
    fn what_is_missing_is_named_with_the_command_that_helps() {
        let cache = tempfile::tempdir().expect("tempdir");
        let host = host("1.24", "/usr/bin/pahole");
        let mut shelf = Shelf::new(&host, Some(cache.path()));
        let mut reason = |toolchain: &str| {
            shelf.choose(&host, &scenario(toolchain), false).expect("no fetch").expect_err("not there")
        };
        let absent = reason("pahole = \"1.30\"");
        assert!(absent.contains("no pahole 1.30") && absent.contains("fetch tool:pahole-1.30"), "{absent}");
        let never = reason("pahole = \"1.19\"");
        assert!(never.contains("`1.24`") && never.contains("pahole-1.24, pahole-1.30, pahole-1.32"), "{never}");
        let none = shelf.choose(&host, &scenario("pahole = \"1.24\""), false).expect("no fetch").expect("the system's");
        assert!(none.unpacked.is_empty());
    }

    #[test]
    fn a_tool_that_is_no_offer_has_a_hint() {
        let cache = tempfile::tempdir().expect("tempdir");
        let host = host("1.24", "/usr/bin/pahole");
        let error = fetch(&host, "pahole-1.3", Some(cache.path())).expect_err("no offer");
        let CliError::Usage { hint, .. } = &error else { panic!("{error:?}") };
        assert!(format!("{hint:?}").contains("did you mean `tool:pahole-1.3"), "{hint:?}");
    }
}
