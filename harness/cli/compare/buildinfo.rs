//! Two `.buildinfo` files, and the packages that they list.

use std::fs;
use std::path::{Path, PathBuf};

use super::open::{Kind, Opened};
use super::{CliError, Ended, Work, is_wanted};
use crate::artifact::buildinfo::{Listed, packages, put_together};
use crate::artifact::fields;
use crate::artifact::inside::Detail;
use crate::artifact::trees::{self, FileDiff, Looked, Pair, PartNote, PartState, Vmlinux};

impl Work<'_> {
    pub(super) fn buildinfos(&mut self, a: &Path, b: &Path) -> Result<(), Ended> {
        let (listed_a, listed_b) = (read(a)?, read(b)?);
        self.pairs(vec![trees::pair_files(a, b)?], Vmlinux::default())?;
        let mut absent: (Vec<String>, Vec<String>) = Default::default();
        for pair in put_together(listed_a, listed_b) {
            let (listed_a, listed_b) = match pair {
                (Some(listed_a), Some(listed_b)) => (listed_a, listed_b),
                (only_a, only_b) => {
                    self.only_listed(only_a.as_ref(), only_b.as_ref());
                    continue;
                }
            };
            let lies = |info: &Path, listed: &Listed| beside(info, &listed.name).filter(|path| path.is_file());
            match (lies(a, &listed_a), lies(b, &listed_b)) {
                (Some(path_a), Some(path_b)) => {
                    self.package((&path_a, &listed_a), (&path_b, &listed_b))?;
                }
                _ if listed_a.sha256 == listed_b.sha256 => absent.0.push(listed_a.name),
                _ => absent.1.push(listed_a.name),
            }
        }
        for (names, how) in [(absent.0, "the same checksum"), (absent.1, "another checksum")] {
            if let Some(first) = names.first() {
                let more = if names.len() > 1 { format!(" and {} more", names.len() - 1) } else { String::new() };
                let note = format!("`{first}`{more}: not beside both .buildinfo files; listed with {how}");
                self.found.notes.push(note);
            }
        }
        Ok(())
    }

    fn only_listed(&mut self, a: Option<&Listed>, b: Option<&Listed>) {
        let told = |listed: &Listed| format!("listed, sha256 {}", listed.sha256);
        let only = match (a, b) {
            (Some(listed), _) => (listed.name.clone(), Looked::OnlyA(told(listed))),
            (None, Some(listed)) => (listed.name.clone(), Looked::OnlyB(told(listed))),
            (None, None) => return,
        };
        let pair = Pair::named(only.0.clone(), only.0);
        if is_wanted(&pair, &self.args.only) {
            self.found.looked.push((pair, only.1));
        }
    }

    /// Two packages that are listed, and whether they are those that are.
    fn package(&mut self, (a, listed_a): (&Path, &Listed), (b, listed_b): (&Path, &Listed)) -> Result<(), Ended> {
        let kind = |path: &Path| match Kind::of(path)? {
            Kind::Package => Ok(Kind::Package),
            _ => Err(CliError::usage(
                format!("`{}` is listed as a package, and is none", path.display()),
                "is it whole?",
            )),
        };
        let (Opened::Package(package_a), Opened::Package(package_b)) = self.open_both((a, kind(a)?), (b, kind(b)?))?
        else {
            return Ok(());
        };
        let begin = self.found.looked.len();
        let (tree_a, tree_b) = (trees::Tree::Package(&package_a), trees::Tree::Package(&package_b));
        self.trees(&tree_a, &tree_b, &format!("{}/", listed_a.name))?;
        let mut lines = Vec::new();
        for (which, package, listed) in [("A", &package_a, listed_a), ("B", &package_b, listed_b)] {
            let is = package.sha256.to_string();
            if is != listed.sha256 {
                lines.push(format!("{which} has {is}, and its .buildinfo lists {}", listed.sha256));
            }
        }
        if lines.is_empty() {
            return Ok(());
        }
        let summary = "it is not the package that its .buildinfo lists".to_owned();
        let own = Pair::named(package_a.name(), package_b.name());
        let part = PartNote {
            name: "sha256".to_owned(),
            change: PartState::Changed,
            size_a: None,
            size_b: None,
            follows: false,
            ignored: None,
        };
        let detail = Detail { part: "sha256".to_owned(), lines };
        let known = self.found.looked[begin..].iter_mut().find(|(pair, _)| pair.path == own.path);
        match known {
            Some((_, Looked::Differs(diff))) => {
                diff.summary = format!("{summary}; {}", diff.summary);
                diff.parts.insert(0, part);
                diff.details.insert(0, detail);
            }
            Some((_, looked)) => {
                *looked = Looked::Differs(FileDiff {
                    summary,
                    parts: vec![part],
                    details: vec![detail],
                    signature_only: false,
                });
            }
            None => {
                let diff = FileDiff { summary, parts: vec![part], details: vec![detail], signature_only: false };
                self.found.looked.push((own, Looked::Differs(diff)));
            }
        }
        Ok(())
    }
}

fn beside(info: &Path, name: &str) -> Option<PathBuf> {
    let dir = info.parent()?;
    Some(dir.join(name))
}

/// The packages that it lists.
fn read(path: &Path) -> Result<Vec<Listed>, CliError> {
    let refused = |why: String| {
        CliError::usage(format!("`{}`: {why}", path.display()), "deb-buildinfo(5) says what a .buildinfo has")
    };
    let size = fs::metadata(path).map_err(|error| refused(error.to_string()))?.len();
    if size > fields::LONGEST {
        return Err(refused(format!("it has {size} bytes, more than is read")));
    }
    let text = fs::read_to_string(path).map_err(|error| refused(error.to_string()))?;
    let fields = fields::parse(&text).ok_or_else(|| refused("it is no list of fields, `Name: value`".to_owned()))?;
    Ok(packages(&fields))
}
