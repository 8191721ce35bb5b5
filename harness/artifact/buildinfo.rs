//! `.buildinfo`: what a build of Debian packages had, and the checksums of what it made (deb-buildinfo(5)).

use super::fields::{Fields, get};

/// A package that a `.buildinfo` lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its file's name, which has no `/`.
    pub name: String,
    /// SHA-256 in hexadecimal digits, lower case.
    pub sha256: String,
}

/// The packages that it lists, in its order. Other files, such as `.dsc`, are sources or other lists.
#[must_use]
pub fn packages(fields: &Fields) -> Vec<Listed> {
    let lines = get(fields, "Checksums-Sha256").unwrap_or_default();
    let listed = lines.iter().filter_map(|line| {
        let mut words = line.split_whitespace();
        let (sha256, _, name) = (words.next()?, words.next()?, words.next()?);
        let is_package = [".deb", ".udeb", ".ddeb"].iter().any(|end| name.ends_with(end));
        // A name that leads elsewhere is none.
        let is_name = !name.contains('/') && !name.starts_with('.');
        (is_package && is_name).then(|| Listed { name: name.to_owned(), sha256: sha256.to_ascii_lowercase() })
    });
    listed.collect()
}

/// Two lists put together, by name, and what is left by package and architecture: versions may differ.
#[must_use]
pub fn put_together(a: Vec<Listed>, b: Vec<Listed>) -> Vec<(Option<Listed>, Option<Listed>)> {
    // package_version_architecture.deb
    let key = |listed: &Listed| -> Option<(String, String)> {
        let (package, rest) = listed.name.split_once('_')?;
        Some((package.to_owned(), rest.rsplit_once('_')?.1.to_owned()))
    };
    let mut left: Vec<Listed> = b;
    let mut pairs: Vec<(Option<Listed>, Option<Listed>)> = Vec::new();
    for listed in a {
        let other = left.iter().position(|other| other.name == listed.name).map(|at| left.remove(at));
        pairs.push((Some(listed), other));
    }
    for (listed, other) in pairs.iter_mut().filter(|(_, other)| other.is_none()) {
        let wanted = listed.as_ref().and_then(key);
        let found = left.iter().position(|other| wanted.is_some() && key(other) == wanted);
        *other = found.map(|at| left.remove(at));
    }
    pairs.extend(left.into_iter().map(|listed| (None, Some(listed))));
    pairs
}

#[cfg(test)]
mod tests {
    use super::super::fields::parse;
    use super::*;

    #[test]
    fn packages_of_two_versions_belong_together() {
        let list = |version: &str, more: &str| {
            let text = format!(
                "Format: 1.0\nChecksums-Sha256:\n AB12 10 x_{version}_amd64.deb\n 34 7 x-doc_{version}_all.deb\n 5 1 x_1.dsc\n \
                 6 1 ../../etc/x_1_amd64.deb\n{more}"
            );
            packages(&parse(&text).expect("fields"))
        };
        let (a, b) = (list("1", ""), list("2", " 99 1 new_2_amd64.deb\n"));
        assert_eq!(a.iter().map(|l| l.name.as_str()).collect::<Vec<_>>(), ["x_1_amd64.deb", "x-doc_1_all.deb"]);
        assert_eq!(a[0].sha256, "ab12");
        let pairs = put_together(a, b);
        let names: Vec<(Option<&str>, Option<&str>)> = pairs
            .iter()
            .map(|(a, b)| (a.as_ref().map(|l| l.name.as_str()), b.as_ref().map(|l| l.name.as_str())))
            .collect();
        assert_eq!(
            names,
            [
                (Some("x_1_amd64.deb"), Some("x_2_amd64.deb")),
                (Some("x-doc_1_all.deb"), Some("x-doc_2_all.deb")),
                (None, Some("new_2_amd64.deb")),
            ]
        );
    }
}
