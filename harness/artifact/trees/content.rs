//! Two regular files: whether they have the same bytes, and if not, what differs.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Seek, SeekFrom};

use super::super::fields;
use super::super::hash::fill;
use super::super::inside::{self, Detail};
use super::super::packed::{PackedError, Packing, unpack};
use super::super::{Artifact, ArtifactError, Bounds, describe_reader, diff_parts};
use super::place::{Bytes, Place};
use super::{FileDiff, How, Pair, PartNote, PartState, boot};

/// What a module's signature is called among the parts of a file.
const SIGNATURE: &str = "module signature";
/// What is compared at once, in bytes.
const CHUNK: usize = 128 << 10;

/// Two regular files; none if they have the same bytes.
pub(super) fn files(pair: &Pair, a: &Place, b: &Place, how: &How<'_>) -> Result<Option<FileDiff>, ArtifactError> {
    let bounds = how.bounds;
    let open = |place: &Place| place.open(bounds).map(|(file, _)| file);
    let names = (pair.path.as_str(), pair.path_b.as_deref().unwrap_or(&pair.path));
    let ((mut file_a, size_a), (mut file_b, size_b)) = (a.open(bounds)?, b.open(bounds)?);
    if size_a == size_b {
        if same(&mut file_a, a, &mut file_b, b)? {
            return Ok(None);
        }
        (file_a, file_b) = (open(a)?, open(b)?);
    }
    let packing = (Packing::of(names.0).map(|(p, _)| p), Packing::of(names.1).map(|(p, _)| p));
    if packing != (None, None) && !how.decode {
        return Ok(Some(FileDiff { summary: "compressed files differ".to_owned(), ..FileDiff::default() }));
    }
    if packing == (None, None) {
        if how.decode && fields::are_fields(names.0) && fields::are_fields(names.1) {
            if let Some(diff) = as_fields((&mut file_a, a), (&mut file_b, b))? {
                return Ok(Some(diff));
            }
            (file_a, file_b) = (open(a)?, open(b)?);
        }
        return match if how.decode { boot::images((&mut file_a, a), (&mut file_b, b), how)? } else { boot::Found::None }
        {
            boot::Found::Compared(diff) => Ok(Some(diff)),
            boot::Found::None => looked_into(&mut file_a, a, &mut file_b, b, how).map(Some),
            boot::Found::Closed(why) => {
                let mut diff = looked_into(&mut file_a, a, &mut file_b, b, how)?;
                diff.details.push(Detail { part: boot::IMAGE.to_owned(), lines: why });
                Ok(Some(diff))
            }
        };
    }
    // Otherwise compressed is a difference of its own, beside what there is inside.
    let told = |packing: Option<Packing>| packing.map_or("not compressed".to_owned(), |packing| packing.to_string());
    type Opened<'c> = Result<Box<dyn Bytes + 'c>, PackedError>;
    fn inside<'c>(packing: Option<Packing>, mut file: Box<dyn Bytes + 'c>, bounds: &Bounds<'c>) -> Opened<'c> {
        match packing {
            Some(packing) => Ok(Box::new(unpack(packing, &mut file, bounds.cancel)?)),
            None => Ok(file),
        }
    }
    let (in_a, in_b) = (inside(packing.0, file_a, bounds), inside(packing.1, file_b, bounds));
    let (mut in_a, mut in_b) = match (in_a, in_b) {
        (Ok(in_a), Ok(in_b)) => (in_a, in_b),
        (Err(PackedError::Stopped), _) | (_, Err(PackedError::Stopped)) => return Err(ArtifactError::Stopped),
        (in_a, in_b) => {
            let (mut file_a, mut file_b) = (open(a)?, open(b)?);
            let mut diff = looked_into(&mut file_a, a, &mut file_b, b, how)?;
            for (which, result) in [("A", in_a.err()), ("B", in_b.err())] {
                if let Some(error) = result {
                    let line = format!("{which} cannot be looked into: {error}");
                    diff.summary = format!("{}; {line}", diff.summary);
                    diff.details.push(Detail { part: "compression".to_owned(), lines: vec![line] });
                }
            }
            return Ok(Some(diff));
        }
    };
    let same = same(&mut in_a, a, &mut in_b, b)?;
    let mut diff = if same { FileDiff::default() } else { looked_into(&mut in_a, a, &mut in_b, b, how)? };
    if same || packing.0 != packing.1 {
        let change = match packing {
            (x, y) if x == y => format!("the same inside, compressed otherwise ({})", told(x)),
            (x, y) if same => format!("the same inside; {} → {}", told(x), told(y)),
            (x, y) => format!("{} → {}", told(x), told(y)),
        };
        diff.summary = if same { change.clone() } else { format!("{}; {change}", diff.summary) };
        diff.signature_only = false;
        diff.parts.push(PartNote::of("compression", PartState::Changed));
        diff.details.push(Detail { part: "compression".to_owned(), lines: vec![change] });
    }
    Ok(Some(diff))
}

/// Whether two readers have the same bytes from where they are on. Stops at the first difference.
pub(super) fn same(
    a: &mut dyn Read,
    place_a: &Place,
    b: &mut dyn Read,
    place_b: &Place,
) -> Result<bool, ArtifactError> {
    let failed = |place: &Place, e| ArtifactError::io("read", &place.disk, e);
    let (mut in_a, mut in_b) = (vec![0; CHUNK], vec![0; CHUNK]);
    loop {
        let n = fill(a, &mut in_a).map_err(|e| failed(place_a, e))?;
        let m = fill(b, &mut in_b).map_err(|e| failed(place_b, e))?;
        if in_a[..n] != in_b[..m] {
            return Ok(false);
        }
        if n < CHUNK {
            return Ok(true);
        }
    }
}

/// Takes two files apart that are known to differ.
pub(super) fn looked_into<R: Read + Seek>(
    a: &mut R,
    place_a: &Place,
    b: &mut R,
    place_b: &Place,
    how: &How<'_>,
) -> Result<FileDiff, ArtifactError> {
    let failed = |place: &Place, e: io::Error| match e.kind() {
        io::ErrorKind::UnexpectedEof => ArtifactError::Changed { path: place.disk.clone() },
        _ => ArtifactError::io("read", &place.disk, e),
    };
    let in_a = describe_reader(a, "", None).map_err(|e| failed(place_a, e))?;
    let in_b = describe_reader(b, "", None).map_err(|e| failed(place_b, e))?;
    let diff = diff_parts(&in_a, &in_b);
    let mut inside = inside::Inside::default();
    if how.decode {
        inside = inside::details((&in_a, a), (&in_b, b), &diff, how.bases).map_err(|e| failed(place_a, e))?;
    }
    let mut parts = Vec::new();
    for part in &diff.changed {
        let sizes = (Some(part.size_a), Some(part.size_b));
        let note = PartNote::of(&part.name, PartState::Changed);
        parts.push(PartNote { size_a: sizes.0, size_b: sizes.1, ..note });
    }
    parts
        .extend(diff.moved.iter().map(|part| PartNote { follows: true, ..PartNote::of(&part.name, PartState::Moved) }));
    // A file can have some hundred thousand parts.
    fn sizes(artifact: &Artifact) -> BTreeMap<&str, u64> {
        artifact.parts.iter().map(|part| (part.name.as_str(), part.size)).collect()
    }
    let (sizes_a, sizes_b) = (sizes(&in_a), sizes(&in_b));
    for name in &diff.removed {
        let size_a = sizes_a.get(name.as_str()).copied();
        parts.push(PartNote { size_a, ..PartNote::of(name, PartState::OnlyA) });
    }
    for name in &diff.added {
        let size_b = sizes_b.get(name.as_str()).copied();
        parts.push(PartNote { size_b, ..PartNote::of(name, PartState::OnlyB) });
    }
    let follow: BTreeSet<&str> = inside.follow.iter().map(String::as_str).collect();
    parts.iter_mut().for_each(|part| part.follows |= follow.contains(part.name.as_str()));
    let signature_only = !parts.is_empty() && parts.iter().all(|part| part.name == SIGNATURE);
    let mut summary = match (signature_only, parts.first().map(|part| part.change)) {
        (true, Some(PartState::OnlyA)) => "equal but for the module signature, which only A has".to_owned(),
        (true, Some(PartState::OnlyB)) => "equal but for the module signature, which only B has".to_owned(),
        (true, _) => "equal but for the module signature".to_owned(),
        _ if inside.text => "lines differ".to_owned(),
        // headers that say something else are no mere layout
        _ if diff.layout_only && !inside.details.is_empty() => {
            let parts: Vec<&str> = inside.details.iter().map(|detail| detail.part.as_str()).collect();
            format!("the same contents of sections; {} differ", parts.join(", "))
        }
        _ => diff.summary.clone(),
    };
    for (which, artifact) in [("A", &in_a), ("B", &in_b)] {
        if let Some(note) = &artifact.note {
            summary.push_str(&format!("; {which} {note}"));
        }
    }
    Ok(FileDiff { summary, parts, details: inside.details, signature_only })
}

/// Two files of fields, told by field; none if one of them is too long or is something else.
fn as_fields(
    (a, place_a): (&mut dyn Bytes, &Place),
    (b, place_b): (&mut dyn Bytes, &Place),
) -> Result<Option<FileDiff>, ArtifactError> {
    let read = |file: &mut dyn Bytes, place: &Place| -> Result<Option<String>, ArtifactError> {
        let failed = |e| ArtifactError::io("read", &place.disk, e);
        file.seek(SeekFrom::Start(0)).map_err(failed)?;
        let mut bytes = Vec::new();
        file.take(fields::LONGEST + 1).read_to_end(&mut bytes).map_err(failed)?;
        Ok(if bytes.len() as u64 > fields::LONGEST { None } else { String::from_utf8(bytes).ok() })
    };
    let (Some(text_a), Some(text_b)) = (read(a, place_a)?, read(b, place_b)?) else { return Ok(None) };
    let (Some(a), Some(b)) = (fields::parse(&text_a), fields::parse(&text_b)) else { return Ok(None) };
    let changes = fields::compare(&a, &b);
    if changes.is_empty() {
        // Written otherwise, which is told by line.
        return Ok(None);
    }
    let names: Vec<&str> = changes.iter().map(|change| change.name.as_str()).collect();
    let summary = format!("{} {}", names.join(", "), if names.len() == 1 { "differs" } else { "differ" });
    let parts = changes
        .iter()
        .map(|change| PartNote { follows: change.follows, ..PartNote::of(&change.name, change.state) })
        .collect();
    let details = changes.into_iter().map(|change| Detail { part: change.name, lines: change.lines }).collect();
    Ok(Some(FileDiff { summary, parts, details, signature_only: false }))
}
