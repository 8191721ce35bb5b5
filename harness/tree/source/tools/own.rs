//! A program of the host's own, such as a build of pahole in its git tree, kept beside the system as an unpacked tool is.
//!
//! ```text
//! <cache>/tools/own/pahole-1c0f5a3e9b21/tool.json     the marker, written last
//! <cache>/tools/own/pahole-1c0f5a3e9b21/lib/          the libraries that are not the system's, and the program where it has such
//! <cache>/tools/own/pahole-1c0f5a3e9b21/bin/pahole    the program, or what starts it with them
//! ```
//!
//! It is copied, so that a run has one program to its end whatever is built meanwhile, and so that two programs of one name
//! are at one place in their builds: what differs then is their doing.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::{FORMAT, MARKER, Marker, Offer, PLACE, Tools, Unpacked, digest, offers, run, store, unpack};
use crate::tree::source::SourceError;

/// What builds see of the host without being told (the sandbox's mounts): libraries there are the system's.
const SYSTEM: &[&str] = &["/usr", "/lib", "/lib32", "/lib64", "/libx32"];
/// After how long a program that was not used again goes.
const KEPT: Duration = Duration::from_secs(14 * 24 * 3600);
/// The directory below that of tools, and its lock.
const OWN: &str = "own";

impl Tools {
    /// Keeps `program`, whose version is `version`, as the tool `name`; what is not used any more goes.
    ///
    /// # Errors
    /// It is no program that runs here, or cannot be copied.
    pub fn own(&self, name: &str, version: &str, program: &Path) -> Result<Unpacked, SourceError> {
        let not = |why: String| SourceError::NotAProgram { path: program.into(), why };
        let offer = offers::OWN.iter().find(|offer| offer.name == name);
        let offer: &'static Offer = offer.ok_or_else(|| not(format!("`{name}` is not chosen by its path")))?;
        let meta = program.metadata().map_err(|error| not(error.to_string()))?;
        if !meta.is_file() || meta.permissions().mode() & 0o111 == 0 {
            return Err(not("it cannot be started".into()));
        }
        if version.is_empty() {
            return Err(not(format!("`--version` does not answer as {name} does")));
        }
        let libraries = self.own_libraries(program)?;
        let root = self.root.join(OWN);
        let _lock = store::lock_file(&root.join(format!("{OWN}.lock")), &mut |_| {})?;
        let partial = root.join(format!("{OWN}.partial"));
        let (marker, dir) = store::fill(&partial, |into| {
            lay_out(name, program, &libraries, into)?;
            let (sha256, bytes) = digest(into)?;
            let dir = root.join(format!("{name}-{}", &sha256[..12]));
            let content = unpack::sha256_file(program, &mut |_| {}).map_err(|e| SourceError::io("read", program, e))?;
            let packages = BTreeMap::from([(program.display().to_string(), content)]);
            let (suite, version) = (OWN.to_owned(), version.to_owned());
            Ok((Marker { format: FORMAT, name: name.into(), version, suite, packages, bytes, sha256 }, dir))
        })?;
        let whole = digest(&dir).is_ok_and(|(sha256, _)| sha256 == marker.sha256) && dir.join(MARKER).is_file();
        if whole {
            store::remove_tree(&partial)?;
            // It was used today.
            let _ = fs::File::options()
                .append(true)
                .open(dir.join(MARKER))
                .and_then(|file| file.set_modified(SystemTime::now()));
        } else if store::is_held(&dir.join(MARKER)) {
            return Err(SourceError::Busy { path: dir });
        } else {
            store::seal(&partial, MARKER, &marker, &dir, false)?;
        }
        forget(&root, &dir);
        Ok(Unpacked { offer, dir, marker })
    }

    /// The libraries of a program that are not the system's: the name it asks for, and the file.
    fn own_libraries(&self, program: &Path) -> Result<Vec<(String, PathBuf)>, SourceError> {
        let said = run(self.programs.command("ldd", "libc-bin")?.arg(program))?;
        // A script, or a program that is linked statically.
        if !said.success {
            return Ok(Vec::new());
        }
        libraries(&said.stdout).map_err(|why| SourceError::NotAProgram { path: program.into(), why })
    }
}

/// What ldd(1) says that is not the system's.
fn libraries(list: &str) -> Result<Vec<(String, PathBuf)>, String> {
    let mut found = Vec::new();
    for line in list.lines() {
        let Some((name, rest)) = line.trim().split_once(" => ") else { continue };
        let path = rest.split(" (0x").next().unwrap_or(rest).trim();
        if !path.starts_with('/') {
            return Err(format!("library `{name}`: {path}"));
        }
        if !SYSTEM.iter().any(|dir| Path::new(path).starts_with(dir)) {
            found.push((name.rsplit('/').next().unwrap_or(name).to_owned(), PathBuf::from(path)));
        }
    }
    Ok(found)
}

/// Copies the program and its libraries, and writes what starts it with them.
fn lay_out(name: &str, program: &Path, libraries: &[(String, PathBuf)], into: &Path) -> Result<(), SourceError> {
    let copy = |from: &Path, to: &Path| {
        fs::copy(from, to).map_err(|e| SourceError::io("copy", from, e))?;
        fs::set_permissions(to, PermissionsExt::from_mode(0o755)).map_err(|e| SourceError::io("set the mode of", to, e))
    };
    let (bin, lib) = (into.join("bin"), into.join("lib"));
    store::create_dir(&bin)?;
    let start = bin.join(name);
    if libraries.is_empty() {
        return copy(program, &start);
    }
    store::create_dir(&lib)?;
    for (library, path) in libraries {
        copy(path, &lib.join(library))?;
    }
    copy(program, &lib.join(name))?;
    let place = format!("{PLACE}/{name}/lib");
    let text = format!(
        "#!/bin/sh\n# Starts a program with its own libraries, ld.so(8).\n\
         LD_LIBRARY_PATH={place}\nexport LD_LIBRARY_PATH\nexec {place}/{name} \"$@\"\n"
    );
    fs::write(&start, text).map_err(|e| SourceError::io("write", &start, e))?;
    fs::set_permissions(&start, PermissionsExt::from_mode(0o755))
        .map_err(|e| SourceError::io("set the mode of", &start, e))
}

/// Removes what was not used for long, and nobody builds with. What cannot be removed is in nobody's way.
fn forget(root: &Path, but: &Path) {
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        let marker = entry.path().join(MARKER);
        let used = marker.metadata().and_then(|meta| meta.modified());
        let old = used.is_ok_and(|used| used.elapsed().is_ok_and(|ago| ago > KEPT));
        if old && entry.path() != but && !store::is_held(&marker) {
            let _ = store::remove_tree(&entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tools(cache: &Path) -> Tools {
        let env = std::env::vars_os().collect();
        Tools::new(cache.into(), env)
    }

    fn script(dir: &Path, says: &str) -> PathBuf {
        let path = dir.join("pahole");
        fs::create_dir_all(dir).expect("made");
        fs::write(&path, format!("#!/bin/sh\necho {says}\n")).expect("written");
        fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("chmod");
        path
    }

    #[test]
    fn libraries_that_are_not_the_systems_go_with_it() {
        let list = "\tlinux-vdso.so.1 (0x00007ffd)\n\tlibdwarves.so.1 => /src/build/libdwarves.so.1 (0x00007f)\n\
                    \tlibelf.so.1 => /lib/x86_64-linux-gnu/libelf.so.1 (0x00007f)\n\t/lib64/ld-linux-x86-64.so.2 (0x7f)\n";
        let own = libraries(list).expect("all found");
        assert_eq!(own, [("libdwarves.so.1".to_owned(), PathBuf::from("/src/build/libdwarves.so.1"))]);
        let none = libraries("\tlibdwarves.so.1 => not found\n").expect_err("one is not there");
        assert_eq!(none, "library `libdwarves.so.1`: not found");
    }

    #[test]
    fn what_starts_a_program_names_fixed_places_only() {
        let dir = tempfile::tempdir().expect("tempdir");
        let program = script(dir.path(), "v1.31");
        let library = dir.path().join("libdwarves.so.1");
        fs::write(&library, "a library").expect("written");
        let into = dir.path().join("into");
        lay_out("pahole", &program, &[("libdwarves.so.1".into(), library)], &into).expect("laid out");
        let text = fs::read_to_string(into.join("bin/pahole")).expect("a script");
        assert!(text.contains("LD_LIBRARY_PATH=/build/toolchain/pahole/lib\n"), "{text}");
        assert!(!text.contains(&dir.path().display().to_string()), "{text}");
        assert!(into.join("lib/libdwarves.so.1").is_file() && into.join("lib/pahole").is_file());
    }

    #[test]
    fn programs_are_told_apart_by_their_content() {
        let cache = tempfile::tempdir().expect("tempdir");
        let at = |name: &str| cache.path().join(name);
        let tools = tools(cache.path());
        let own = |dir: &str, says: &str| {
            tools.own("pahole", "1.31", &script(&at(dir), says)).unwrap_or_else(|error| panic!("{error}"))
        };
        let (base, candidate, again) = (own("a", "v1.31"), own("b", "v1.31-next"), own("c", "v1.31"));
        assert_ne!(base.dir, candidate.dir);
        assert_eq!(base.dir, again.dir);
        assert_eq!((base.key().as_str(), base.place().as_str()), ("1.31", "/build/toolchain/pahole"));
        // What was damaged is copied again.
        fs::write(base.dir.join("bin/pahole"), "").expect("written");
        assert_eq!(fs::metadata(own("a", "v1.31").dir.join("bin/pahole")).expect("there").len(), 21);
    }

    #[test]
    fn what_does_not_run_is_told() {
        let cache = tempfile::tempdir().expect("tempdir");
        let said =
            |version: &str, path: &Path| tools(cache.path()).own("pahole", version, path).unwrap_err().to_string();
        let there = script(cache.path(), "v1.31");
        assert!(said("", &there).contains("does not answer as pahole does"));
        assert!(said("1.31", Path::new("/nowhere/pahole")).contains("No such file"));
        assert!(said("1.31", cache.path()).contains("cannot be started"));
    }
}
