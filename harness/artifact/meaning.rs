//! What parts of two files that differ say differently, where a digest is not enough.

use std::path::Path;
use std::sync::Arc;

use super::btf::{BtfDiff, BtfFile, BtfFileError, Relation, diff_ids, ids};

/// How many types of each sort are named.
const MOST: usize = 6;

/// A module or vmlinux as one build left it.
#[derive(Debug, Clone, Copy)]
pub struct Side<'p> {
    /// The file.
    pub file: &'p Path,
    /// The vmlinux of the same build, or its BTF alone, for split BTF.
    pub vmlinux: Option<&'p Path>,
}

/// How the `.BTF` and the `.BTF_ids` of two files differ, a line each; nothing where one of them cannot be read.
#[must_use]
pub fn btf_difference(a: Side<'_>, b: Side<'_>) -> Vec<String> {
    let read = |side: Side<'_>| -> Result<_, BtfFileError> {
        let file = BtfFile::read(side.file)?;
        let base = match side.vmlinux {
            Some(vmlinux) if file.needs_base()? => Some(Arc::new(BtfFile::read(vmlinux)?.into_base()?)),
            _ => None,
        };
        let btf = file.btf(base.as_ref())?;
        let ids = file.elf().map(|elf| ids(elf, Some(&btf))).transpose().map_err(BtfFileError::Elf)?;
        Ok((btf, ids.unwrap_or_default()))
    };
    let (Ok((btf_a, ids_a)), Ok((btf_b, ids_b))) = (read(a), read(b)) else { return Vec::new() };
    let diff = BtfDiff::of(&btf_a, &btf_b);
    let types = match diff.relation {
        Relation::Identical => Vec::new(),
        _ => diff.lines(MOST),
    };
    let types = types.into_iter().map(|line| format!(".BTF: {line}"));
    types.chain(diff_ids(&ids_a, &ids_b).into_iter().map(|line| format!(".BTF_ids: {line}"))).collect()
}
