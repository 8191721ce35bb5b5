//! Two boot images: the vmlinux inside, and what there is around it.

use std::io::SeekFrom;

use super::super::ArtifactError;
use super::super::inside::{self, Detail};
use super::super::kernel::{Image, KernelError};
use super::super::packed::PackedError;
use super::content::{looked_into, same};
use super::place::{Bytes, Place};
use super::{FileDiff, How, PartNote, PartState};

/// What the code and the headers around a kernel are called among the parts of a file.
pub(super) const IMAGE: &str = "boot image";
/// What the certificate table of a boot image is called.
const SIGNATURE: &str = "EFI signature";

/// What came of looking for kernels in two files.
pub(super) enum Found {
    /// One of them is no boot image.
    None,
    /// What differs.
    Compared(FileDiff),
    /// Why the kernel in one of them cannot be had.
    Closed(Vec<String>),
}

/// Compares two boot images that are known to differ.
pub(super) fn images(
    (file_a, a): (&mut Box<dyn Bytes + '_>, &Place),
    (file_b, b): (&mut Box<dyn Bytes + '_>, &Place),
    how: &How<'_>,
) -> Result<Found, ArtifactError> {
    let (image_a, image_b) = match (Image::find(file_a), Image::find(file_b)) {
        (Ok(Some(image_a)), Ok(Some(image_b))) if image_a.boots() && image_b.boots() => (image_a, image_b),
        (image_a, image_b) => {
            let why: Vec<String> = [("A", image_a.err()), ("B", image_b.err())]
                .into_iter()
                .filter_map(|(which, error)| Some(closed(which, &error?)))
                .collect();
            return Ok(if why.is_empty() { Found::None } else { Found::Closed(why) });
        }
    };
    let cancel = how.bounds.cancel;
    let (mut in_a, mut in_b) = match (image_a.open(file_a, cancel), image_b.open(file_b, cancel)) {
        (Ok(in_a), Ok(in_b)) => (in_a, in_b),
        (Err(KernelError::Packed(_, PackedError::Stopped)), _)
        | (_, Err(KernelError::Packed(_, PackedError::Stopped))) => {
            return Err(ArtifactError::Stopped);
        }
        (in_a, in_b) => {
            let errors = [("A", in_a.err()), ("B", in_b.err())];
            let why = errors.into_iter().filter_map(|(which, error)| Some(closed(which, &error?))).collect();
            return Ok(Found::Closed(why));
        }
    };
    let equal = same(&mut in_a, a, &mut in_b, b)?;
    let mut diff = if equal { FileDiff::default() } else { looked_into(&mut in_a, a, &mut in_b, b, how)? };
    let read = |error, place: &Place| ArtifactError::io("read", &place.disk, error);
    let around_a = image_a.around(file_a).map_err(|e| read(e, a))?;
    let around_b = image_b.around(file_b).map_err(|e| read(e, b))?;
    let mut told: Vec<(&str, bool, Vec<String>)> = Vec::new();
    let mut lines: Vec<String> = Vec::new();
    let versions = (image_a.version(), image_b.version());
    if versions.0 != versions.1 {
        let shown = |version: Option<&str>| version.unwrap_or("none").to_owned();
        lines.push(format!("version: {} → {}", shown(versions.0), shown(versions.1)));
    }
    // The code that unpacks a kernel has its length, and where it goes, in it.
    let follows = !equal && lines.is_empty();
    for (what, x, y) in [
        ("before the kernel", &around_a.before, &around_b.before),
        ("after the kernel", &around_a.after, &around_b.after),
    ] {
        if x != y {
            lines.push(format!("{what}: {}", inside::first_difference(x, y)));
        }
    }
    told.push((IMAGE, follows, lines));
    told.push((SIGNATURE, false, signatures(around_a.signature.as_deref(), around_b.signature.as_deref())));
    let packing = (image_a.packing(), image_b.packing());
    if packing.0 != packing.1 {
        told.push(("compression", false, vec![format!("{} → {}", packing.0, packing.1)]));
    } else if equal && !image_a.packed_alike((file_a, &image_b, file_b)).map_err(|e| read(e, a))? {
        told.push(("compression", false, vec![format!("the same inside, compressed otherwise ({})", packing.0)]));
    }
    told.retain(|(.., lines)| !lines.is_empty());
    let names: Vec<&str> = told.iter().filter(|(_, follows, _)| !follows).map(|(name, ..)| *name).collect();
    let others = match names.len() {
        0 => String::new(),
        1 => format!("{} differs", names[0]),
        _ => format!("{} differ", names.join(", ")),
    };
    diff.summary = match (equal, others.is_empty()) {
        // what differs is then where a signer writes: the checksum of PE
        (true, true) => "the same vmlinux inside; checksum of PE differs".to_owned(),
        (true, false) => format!("the same vmlinux inside; {others}"),
        (false, true) => format!("in the vmlinux inside, {}", diff.summary),
        (false, false) => format!("in the vmlinux inside, {}; {others}", diff.summary),
    };
    diff.signature_only = false;
    if equal && told.is_empty() {
        told.push((IMAGE, false, vec!["checksum of PE".to_owned()]));
    }
    for (part, follows, lines) in told {
        diff.parts.push(PartNote { follows, ..PartNote::of(part, PartState::Changed) });
        diff.details.push(Detail { part: part.to_owned(), lines });
    }
    file_a.seek(SeekFrom::Start(0)).map_err(|e| read(e, a))?;
    Ok(Found::Compared(diff))
}

fn closed(which: &str, error: &KernelError) -> String {
    let hint = error.hint().map(|hint| format!(" ({hint})")).unwrap_or_default();
    format!("{which} is not looked into: {error}{hint}")
}

/// How two certificate tables differ.
fn signatures(a: Option<&[u8]>, b: Option<&[u8]>) -> Vec<String> {
    // struct WIN_CERTIFICATE: length, revision, kind, and then PKCS#7
    let told = |table: &[u8]| inside::signer(table.get(8..).unwrap_or_default());
    match (a, b) {
        (Some(a), Some(b)) if a != b => match (told(a), told(b)) {
            (x, y) if x == y => vec![format!("another signature, {x}")],
            (x, y) => vec![format!("{x} → {y}")],
        },
        (Some(a), None) => vec![format!("only in A: {}", told(a))],
        (None, Some(b)) => vec![format!("only in B: {}", told(b))],
        _ => Vec::new(),
    }
}
