//! What is named to be compared, opened.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::progress::Bar;
use super::{CliError, Ended, Given, Work};
use crate::artifact::Base;
use crate::artifact::btf::BtfFileError;
use crate::artifact::package::{Opening, Package, PackageError};
use crate::artifact::trees::{Tree, base_in, base_in_package, kernel_place};

/// What would be right.
pub(super) const NAME: &str = "name two directories or two files; packages go with packages and directories";

/// What a path names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Dir,
    Package,
    Buildinfo,
    File,
}

impl Kind {
    pub(super) fn of(path: &Path) -> Result<Self, CliError> {
        let meta = fs::metadata(path)
            .map_err(|error| CliError::usage(format!("cannot read `{}`: {error}", path.display()), NAME))?;
        Ok(match () {
            () if meta.is_dir() => Self::Dir,
            () if Package::kind_of(path).is_some() => Self::Package,
            () if path.extension().is_some_and(|end| end == "buildinfo") => Self::Buildinfo,
            () => Self::File,
        })
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Dir => "directory",
            Self::Package => "package",
            Self::Buildinfo | Self::File => "file",
        }
    }
}

/// A tree that can be compared.
pub(super) enum Opened {
    Dir(PathBuf),
    Package(Package),
}

impl Opened {
    pub(super) fn tree(&self) -> Tree<'_> {
        match self {
            Self::Dir(path) => Tree::Dir(path),
            Self::Package(package) => Tree::Package(package),
        }
    }
}

impl Work<'_> {
    /// Opens two directories or packages, two packages at the same time.
    pub(super) fn open_both(
        &self,
        (a, kind_a): (&Path, Kind),
        (b, kind_b): (&Path, Kind),
    ) -> Result<(Opened, Opened), Ended> {
        let size = |path: &Path, kind: Kind| match kind {
            Kind::Package => fs::metadata(path).map_or(0, |meta| meta.len()),
            _ => 0,
        };
        let bar = Bar::new(size(a, kind_a) + size(b, kind_b), !self.args.quiet);
        let progress = |bytes| bar.inc(bytes);
        let how = Opening { cancel: self.bounds.cancel, progress: &progress, wanted: None };
        let open = |path: &Path, kind: Kind| match kind {
            Kind::Package => Package::open(path, &how).map(Opened::Package),
            _ => Ok(Opened::Dir(path.to_owned())),
        };
        let (opened_a, opened_b) = rayon::join(|| open(a, kind_a), || open(b, kind_b));
        bar.finish();
        Ok((opened_a.map_err(|error| refused(a, &error))?, opened_b.map_err(|error| refused(b, &error))?))
    }

    /// The BTF of the kernels that were named.
    pub(super) fn given(&self) -> Result<Given, Ended> {
        let read = |path: Option<&PathBuf>| path.map(|path| self.base(path)).transpose();
        let a = read(self.args.vmlinux.as_ref())?;
        let b = match &self.args.vmlinux_b {
            None => a.clone(),
            other => read(other.as_ref())?,
        };
        Ok((a, b))
    }

    fn base(&self, path: &Path) -> Result<Arc<Base>, Ended> {
        let unusable = |error: &BtfFileError| {
            let hint =
                error.hint().unwrap_or("name a vmlinux or a vmlinuz with BTF, its BTF alone, or a package with one");
            Ended::Refused(CliError::usage(format!("`{}`: {error}", path.display()), hint))
        };
        if Package::kind_of(path).is_none() {
            return base_in(path).map(Arc::new).map_err(|error| unusable(&error));
        }
        let bar = Bar::new(fs::metadata(path).map_or(0, |meta| meta.len()), !self.args.quiet);
        let progress = |bytes| bar.inc(bytes);
        let is_kernel = |path: &str| kernel_place(path).is_some();
        let how = Opening { cancel: self.bounds.cancel, progress: &progress, wanted: Some(&is_kernel) };
        let package = Package::open(path, &how);
        bar.finish();
        let package = package.map_err(|error| refused(path, &error))?;
        base_in_package(&package).map(Arc::new).map_err(|error| unusable(&error))
    }
}

pub(super) fn refused(path: &Path, error: &PackageError) -> Ended {
    match error {
        PackageError::Stopped => Ended::Stopped,
        error => Ended::Refused(CliError::usage(format!("`{}`: {error}", path.display()), error.hint())),
    }
}
