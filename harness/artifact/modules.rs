//! Modules made ready to be loaded: unpacked, named, and in an order in which a kernel can load them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use super::packed::{Packing, unpack};
use super::{module_name, section};
use crate::runner::boot::Module;

/// Makes files ready; those that are compressed are unpacked into `dir`.
///
/// # Errors
/// The first file that cannot be read or unpacked, or whose name is no module's, with why.
pub fn ready(files: &[PathBuf], dir: &Path, cancel: &AtomicBool) -> Result<Vec<Module>, (PathBuf, String)> {
    let one = |(number, path): (usize, &PathBuf)| -> Result<Module, String> {
        if !fs::metadata(path).map_err(|error| error.to_string())?.is_file() {
            return Err("it is no regular file".to_owned());
        }
        let text = path.to_string_lossy();
        let name = module_name(&text).ok_or("its name does not end in .ko, .ko.gz, .ko.xz or .ko.zst")?;
        // Words of a plan have blanks between them.
        if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err("no module is called so: there is a blank in its name".to_owned());
        }
        let file = match Packing::of(&text) {
            None => path.clone(),
            Some((packing, _)) => {
                let mut packed = File::open(path).map_err(|error| error.to_string())?;
                let mut inside = unpack(packing, &mut packed, cancel).map_err(|error| error.to_string())?;
                let to = dir.join(format!("{number}.ko"));
                let copied = File::create(&to).and_then(|mut to| io::copy(&mut inside, &mut to));
                copied.map_err(|error| error.to_string())?;
                to
            }
        };
        Ok(Module { name, file, unload: false })
    };
    files.iter().enumerate().map(|(number, path)| one((number, path)).map_err(|why| (path.clone(), why))).collect()
}

/// Indices of modules, what a module needs before itself: as `depends=` in its `.modinfo` says (scripts/mod/modpost.c). Of modules that
/// need each other the first stays first.
#[must_use]
pub fn load_order(modules: &[Module]) -> Vec<usize> {
    let needs: Vec<Vec<String>> = modules.iter().map(|module| depends(&module.file)).collect();
    let mut by_name: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, module) in modules.iter().enumerate() {
        by_name.entry(&module.name).or_insert(index);
    }
    let (mut order, mut seen) = (Vec::new(), BTreeSet::new());
    // Modules whose needs are being looked at, each with how many of them were; a chain may be as long as there are modules.
    let mut open: Vec<(usize, usize)> = Vec::new();
    for first in 0..modules.len() {
        if seen.insert(first) {
            open.push((first, 0));
        }
        while let Some((index, looked)) = open.last_mut() {
            let index = *index;
            match needs[index].get(*looked) {
                None => {
                    order.push(index);
                    open.pop();
                }
                Some(name) => {
                    *looked += 1;
                    if let Some(&needed) = by_name.get(name.as_str()).filter(|&&needed| seen.insert(needed)) {
                        open.push((needed, 0));
                    }
                }
            }
        }
    }
    order
}

/// What a module needs and is not among these.
#[must_use]
pub fn not_given(module: &Module, given: &[Module]) -> Vec<String> {
    let mut names = depends(&module.file);
    names.retain(|name| given.iter().all(|module| module.name != *name));
    names
}

/// What a module needs, as the kernel calls it.
fn depends(file: &Path) -> Vec<String> {
    let modinfo = section(file, ".modinfo").ok().flatten().unwrap_or_default();
    let of = |entry: &[u8]| entry.strip_prefix(b"depends=").map(|names| String::from_utf8_lossy(names).into_owned());
    let names = modinfo.split(|&byte| byte == 0).find_map(of).unwrap_or_default();
    names.split(',').filter(|name| !name.is_empty()).map(|name| name.replace('-', "_")).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{FLAVOURS, elf};
    use super::*;

    #[test]
    fn what_is_needed_comes_first() {
        let dir = tempfile::tempdir().expect("a directory");
        let module = |name: &str, needs: &str| {
            let file = dir.path().join(format!("{name}.ko"));
            let modinfo = format!("license=GPL\0depends={needs}\0");
            fs::write(&file, elf(FLAVOURS[0], &[(".modinfo", 1, modinfo.as_bytes())])).expect("written");
            file
        };
        let files = [
            module("user-x", "middle,none"),
            module("middle", "deep-one"),
            module("deep_one", ""),
            module("a", "b"),
            module("b", "a"),
        ];
        let modules = ready(&files, dir.path(), &AtomicBool::new(false)).expect("all are modules");
        assert_eq!(modules[0].name, "user_x");
        assert_eq!(load_order(&modules), [2, 1, 0, 4, 3]);
        assert_eq!(not_given(&modules[0], &modules), ["none"]);
        for wrong in ["x.o", ".ko", "a b.ko"] {
            ready(&[dir.path().join(wrong)], dir.path(), &AtomicBool::new(false)).expect_err(wrong);
        }
    }
}
