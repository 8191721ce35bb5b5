//! Everything that reads ELF and BTF, on one file, and what has to hold of it.

use std::fmt::{self, Write as _};
use std::hash::{DefaultHasher, Hasher as _};
use std::io::{self, Cursor, Read as _};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use kbuild_repro::artifact::btf::{Base, Btf, BtfDiff, BtfError, BtfFile, Relation, diff_ids, ids};
use kbuild_repro::artifact::inside::{Bases, details};
use kbuild_repro::artifact::packed::{Packing, unpack};
use kbuild_repro::artifact::{Artifact, btf, describe_reader, diff_parts};

use super::meter::Fault;

/// What is unpacked of a mutant and looked at, in bytes: all of it is unpacked.
const UNPACKED: u64 = 1 << 20;
/// What a decoder may take for its window, beside what is said of memory: 128 MiB, and what it keeps of what comes out.
pub(crate) const WINDOW: usize = 200 << 20;

/// What is told: of a hostile file that is long, so that no more than a digest is kept.
#[derive(Default)]
struct Told(DefaultHasher);

impl Told {
    fn push_str(&mut self, text: &str) {
        self.0.write(text.as_bytes());
    }
}

impl fmt::Write for Told {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push_str(text);
        Ok(())
    }
}

/// Takes declarations in C, whose bodies are indented by tabs.
struct Declarations<'t> {
    told: &'t mut Told,
    dirty: bool,
}

impl io::Write for Declarations<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.told.0.write(bytes);
        self.dirty |= bytes.iter().any(|byte| byte.is_ascii_control() && !matches!(byte, b'\n' | b'\t'));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The BTF that split BTF is read with.
pub(crate) struct Context {
    pub(crate) vmlinux: Arc<Base>,
    pub(crate) big_endian: Arc<Base>,
}

impl Bases for Context {
    fn of_a(&self) -> Option<&Arc<Base>> {
        Some(&self.vmlinux)
    }
    fn of_b(&self) -> Option<&Arc<Base>> {
        Some(&self.vmlinux)
    }
}

fn fault<T>(kind: &str, text: impl Into<String>) -> Result<T, Fault> {
    Err(Fault { kind: kind.to_owned(), text: text.into() })
}

/// Text for people has no control characters but ends of lines.
fn is_clean(what: &str, text: &str) -> Result<(), Fault> {
    match text.chars().find(|c| c.is_control() && *c != '\n') {
        Some(c) => fault("control-character", format!("{what} has {c:?}")),
        None => Ok(()),
    }
}

/// The parts are the file, each byte once.
fn covers(artifact: &Artifact, bytes: &[u8]) -> Result<(), Fault> {
    let mut end = 0;
    let mut names = std::collections::BTreeSet::new();
    for part in &artifact.parts {
        if part.offset != end || !names.insert(&part.name) {
            return fault("parts", format!("`{}` at {:#x}, where {end:#x} is the end", part.name, part.offset));
        }
        end += part.size;
        is_clean("the name of a part", &part.name)?;
    }
    if end == bytes.len() as u64 { Ok(()) } else { fault("parts", format!("they end at {end:#x}")) }
}

fn described(bytes: &[u8], base: Option<&Base>) -> Result<Artifact, Fault> {
    match describe_reader(&mut Cursor::new(bytes), "file", base) {
        Ok(artifact) => covers(&artifact, bytes).map(|()| artifact),
        Err(error) => fault("describe", error.to_string()),
    }
}

/// Looks at a mutant beside the file that it was made of: a digest of everything that is told.
pub(crate) fn look(original: &[u8], mutant: &[u8], packing: Option<Packing>, context: &Context) -> Result<u64, Fault> {
    let mut out = Told::default();
    let bytes = match packing {
        Some(packing) => unpacked(packing, mutant, &mut out)?,
        None => mutant.to_vec(),
    };
    parts(original, &bytes, context, &mut out)?;
    types(original, &bytes, context, &mut out)?;
    Ok(out.0.finish())
}

/// Unpacks it, or says why not. Of what is inside the beginning is looked at.
fn unpacked(packing: Packing, bytes: &[u8], out: &mut Told) -> Result<Vec<u8>, Fault> {
    let mut inside = Vec::new();
    match unpack(packing, &mut Cursor::new(bytes), &AtomicBool::new(false)) {
        Ok(file) => {
            if let Err(error) = file.take(UNPACKED).read_to_end(&mut inside) {
                return fault("unpacked", error.to_string());
            }
        }
        Err(error) => {
            let _ = writeln!(out, "unpack: {error}");
            is_clean("why it is not unpacked", &error.to_string())?;
        }
    }
    Ok(inside)
}

/// The parts of both, and what differs in them.
fn parts(original: &[u8], mutant: &[u8], context: &Context, out: &mut Told) -> Result<(), Fault> {
    let (before, after) = (described(original, None)?, described(mutant, Some(&context.vmlinux))?);
    let diff = diff_parts(&before, &after);
    if (before.sha256 == after.sha256) != diff.is_empty() {
        return fault("diff-parts", diff.summary);
    }
    if !diff_parts(&after, &after).is_empty() {
        return fault("diff-parts-itself", "a file differs from itself");
    }
    for (a, bytes_a, b, bytes_b) in
        [(&before, original, &after, mutant), (&after, mutant, &before, original), (&after, mutant, &after, mutant)]
    {
        let diff = diff_parts(a, b);
        let inside = details((a, &mut Cursor::new(bytes_a)), (b, &mut Cursor::new(bytes_b)), &diff, context);
        let inside = match inside {
            Ok(inside) => inside,
            Err(error) => return fault("details", error.to_string()),
        };
        if diff.is_empty() && !(inside.details.is_empty() && inside.follow.is_empty()) {
            return fault("details-itself", format!("{:?}", inside.details));
        }
        let _ = writeln!(out, "{}", diff.summary);
        for detail in &inside.details {
            let _ = writeln!(out, "{}: {}", detail.part, detail.lines.join("\n"));
            // Lines of text files are shown by the report, which sees to that.
            if !inside.text {
                detail.lines.iter().try_for_each(|line| is_clean(&detail.part, line))?;
            }
            if detail.lines.iter().any(|line| line.contains('\n')) && !inside.text {
                return fault("end-of-line", format!("{}: {:?}", detail.part, detail.lines));
            }
        }
    }
    is_clean("the summary", &diff.summary)?;
    let _ = writeln!(out, "{:?} {:?}", after.note, after.btf);
    let note = after.note.as_deref().unwrap_or_default();
    is_clean("the note", note)
}

fn told<T: std::fmt::Display>(error: &T, out: &mut Told) -> Result<(), Fault> {
    let text = error.to_string();
    let _ = writeln!(out, "{text}");
    is_clean("an error", &text)
}

/// BTF and lists of ids, as `btf` and the recorder read them.
fn types(original: &[u8], mutant: &[u8], context: &Context, out: &mut Told) -> Result<(), Fault> {
    let base = if mutant.get(5) == Some(&2) { &context.big_endian } else { &context.vmlinux };
    let file = match BtfFile::of(mutant.to_vec()) {
        Ok(file) => file,
        Err(error) => return told(&error, out),
    };
    let known = BtfFile::of(original.to_vec()).ok().and_then(|file| file.btf(Some(base)).ok());
    match file.btf(Some(base)) {
        Ok(btf) => {
            every_way(&btf, known.as_ref(), out)?;
            if let Some(elf) = file.elf() {
                lists(original, elf, &btf, known.as_ref(), out)?;
            }
        }
        Err(error) => told(&error, out)?,
    }
    if let Some(known) = &known {
        // A good module over a base that is broken.
        if let Ok(base) = file.into_base() {
            let base = Arc::new(base);
            if let Some(split) = SPLIT.get().and_then(|bytes| Btf::parse(bytes.clone(), Some(Arc::clone(&base))).ok()) {
                every_way(&split, Some(known), out)?;
            }
            if let Some(bytes) = SPLIT.get() {
                let _ = writeln!(out, "{:?}", btf::full_text_with(bytes, Some(&base)).map(|text| text.len()));
            }
        }
    }
    Ok(())
}

/// The split BTF of a good module.
pub(crate) static SPLIT: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();

fn lists(original: &[u8], elf: &[u8], btf: &Btf, known: Option<&Btf>, out: &mut Told) -> Result<(), Fault> {
    let lists = match ids(elf, Some(btf)) {
        Ok(lists) => lists,
        Err(why) => return told(&why, out),
    };
    let _ = writeln!(out, "{lists:?} {:?}", ids(elf, None));
    if !diff_ids(&lists, &lists).is_empty() {
        return fault("ids-itself", format!("{:?}", diff_ids(&lists, &lists)));
    }
    if let Ok(before) = ids(original, known) {
        let lines = diff_ids(&before, &lists);
        lines.iter().try_for_each(|line| is_clean("a line on ids", line))?;
        let _ = writeln!(out, "{lines:?}");
    }
    Ok(())
}

/// Everything that is made of BTF.
fn every_way(btf: &Btf, known: Option<&Btf>, out: &mut Told) -> Result<(), Fault> {
    let (check, text) = (btf.check(), btf.text());
    match (&check, &text) {
        (Ok(()), Err(error)) if *error != BtfError::TextTooLong => {
            return fault("good-without-text", error.to_string());
        }
        // What a kernel refuses for its header or a kind can be read all the same; what leads nowhere cannot.
        (Err(error), Ok(_)) if error.kernel().is_none() => return fault("text-of-what-is-wrong", error.to_string()),
        _ => {}
    }
    for text in [text.map(|pieces| pieces.concat()), btf.summary()] {
        match text {
            Ok(text) => {
                is_clean("the text", &text)?;
                out.push_str(&text);
            }
            Err(error) => told(&error, out)?,
        }
    }
    for entry in btf.entries() {
        is_clean("an entry", &entry.says)?;
        entry.elements.iter().try_for_each(|line| is_clean("an element", line))?;
        let _ = writeln!(out, "{} {} {}", entry.id, entry.name, entry.says);
    }
    let mut c = Declarations { told: out, dirty: false };
    let written = btf.write_c(&mut c);
    if c.dirty {
        return fault("control-character", "declarations have one");
    }
    if let Err(error) = written {
        told(&error, out)?;
    }
    if BtfDiff::of(btf, btf).relation != Relation::Identical {
        return fault("btf-itself", "BTF differs from itself");
    }
    for diff in known.iter().flat_map(|known| [BtfDiff::of(known, btf), BtfDiff::of(btf, known)]) {
        for line in diff.lines(8) {
            is_clean("a line", &line)?;
            let _ = writeln!(out, "{line}");
        }
        if let Err(error) = serde_json::to_string(&diff) {
            return fault("json", error.to_string());
        }
    }
    Ok(())
}
