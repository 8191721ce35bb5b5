//! The picture as text for people.

use std::fmt::Write as _;

use super::{Doctor, SourceState};
use crate::cli::host::{Need, Weight};
use crate::runner::prepared::Usage;
use crate::runner::results::Held;

impl Doctor {
    /// As text for people: aligned, and with `colour` in ANSI colours.
    #[must_use]
    pub fn text(&self, colour: bool) -> String {
        let mut out = String::new();
        // Writing to a string does not fail.
        let _ = self.write(&mut out, &Marks { colour });
        out
    }

    fn write(&self, out: &mut String, marks: &Marks) -> std::fmt::Result {
        let m = &self.machine;
        let user = if m.uid == 0 { "root".to_owned() } else { format!("user {}", m.uid) };
        let known = |s: &str| {
            if s.is_empty() { "unknown system".to_owned() } else { s.to_owned() }
        };
        writeln!(out, "{}", marks.title("host"))?;
        writeln!(out, "  {}, Linux {} on {}, {user}", known(&m.system), m.kernel, m.arch)?;
        let memory = match (m.memory, m.memory_available) {
            (Some(all), Some(free)) => format!(", {} memory ({} available)", size(all), size(free)),
            (Some(all), None) => format!(", {} memory", size(all)),
            _ => String::new(),
        };
        writeln!(out, "  {} processor{}{memory}", m.cpus, if m.cpus == 1 { "" } else { "s" })?;

        writeln!(out, "\n{}", marks.title("what can be done"))?;
        for a in &self.abilities {
            let name = need_name(a.need);
            if a.able {
                writeln!(out, "  {} {name}", marks.yes())?;
            } else {
                writeln!(out, "  {} {name:14} needs {}", marks.no(), a.missing.join(", "))?;
            }
        }

        writeln!(out, "\n{}", marks.title("tools"))?;
        let name = self.tools.iter().map(|t| t.name.len()).max().unwrap_or(0);
        let version = self.tools.iter().map(|t| t.version.len()).max().unwrap_or(0);
        for t in &self.tools {
            match (&t.path, t.package) {
                (Some(path), _) => {
                    writeln!(out, "  {} {:name$}  {:version$}  {}", marks.yes(), t.name, t.version, path.display())?;
                }
                (None, package) => {
                    let mark = if t.weight == Weight::Required { marks.no() } else { marks.maybe() };
                    writeln!(out, "  {mark} {:name$}  missing: package {}; {}", t.name, package.unwrap_or("?"), t.why)?;
                    if !t.costs.is_empty() {
                        let costs = t.costs.join(", ");
                        let some = if t.weight == Weight::Required { "" } else { " for some configurations or goals" };
                        writeln!(out, "    {:name$}  without it: {costs}{some}", "")?;
                    }
                }
            }
        }
        if let Some(install) = &self.install {
            writeln!(out, "  install what is required: {install}")?;
        }

        writeln!(out, "\n{}", marks.title("disk"))?;
        let path = self.disks.iter().map(|d| d.path.display().to_string().len()).max().unwrap_or(0);
        let kind = self.disks.iter().map(|d| d.file_system.len()).max().unwrap_or(0);
        for d in &self.disks {
            let place = d.path.display().to_string();
            let mark = if d.problem.is_some() { marks.maybe() } else { marks.yes() };
            let sizes = format!("{} free of {}", size(d.free), size(d.total));
            writeln!(out, "  {mark} {:7}  {place:path$}  {:kind$}  {sizes}", d.what, d.file_system)?;
            if let Some(problem) = &d.problem {
                writeln!(out, "    {:7}  {problem}", "")?;
            }
        }

        writeln!(out, "\n{}", marks.title("limits"))?;
        let name = self.limits.iter().map(|l| l.name.len()).max().unwrap_or(0);
        let number = |n: Option<u64>| n.map_or_else(|| "unlimited".to_owned(), |n| n.to_string());
        for l in &self.limits {
            let mark = if l.problem.is_some() { marks.maybe() } else { marks.yes() };
            writeln!(out, "  {mark} {:name$}  {} (at most {})", l.name, number(l.soft), number(l.hard))?;
            if let Some(problem) = &l.problem {
                writeln!(out, "    {:name$}  {problem}", "")?;
            }
        }

        if !self.capabilities.is_empty() {
            writeln!(out, "\n{}", marks.title("sandbox"))?;
            let name = self.capabilities.iter().map(|c| c.name.len()).max().unwrap_or(0);
            for c in &self.capabilities {
                match &c.reason {
                    None => writeln!(out, "  {} {}", marks.yes(), c.name)?,
                    Some(reason) => writeln!(out, "  {} {:name$}  {reason}", marks.no(), c.name)?,
                }
                if let Some(hint) = &c.hint {
                    writeln!(out, "    {:name$}  hint: {hint}", "")?;
                }
            }
        }

        writeln!(out, "\n{}", marks.title("kernel sources"))?;
        if self.sources.is_empty() {
            writeln!(out, "  none")?;
        }
        let spec = self.sources.iter().map(|s| s.spec.len()).max().unwrap_or(0);
        for s in &self.sources {
            let (mark, what) = match s.state {
                SourceState::Cached | SourceState::Ready => {
                    (marks.yes(), s.path.as_ref().map(|p| p.display().to_string()))
                }
                SourceState::Absent => (marks.maybe(), s.remark.clone()),
                SourceState::Unusable => (marks.no(), s.remark.clone()),
            };
            let kernel = s.kernel.as_ref().map(|k| format!("{k}  ")).unwrap_or_default();
            let bytes = if s.bytes == 0 { String::new() } else { format!("{}  ", size(s.bytes)) };
            writeln!(out, "  {mark} {:spec$}  {kernel}{bytes}{}", s.spec, what.unwrap_or_default())?;
        }

        if !self.unpacked.is_empty() {
            writeln!(out, "\n{}", marks.title("tools that scenarios can choose"))?;
        }
        let spec = self.unpacked.iter().map(|t| t.spec.len()).max().unwrap_or(0);
        let width = self.unpacked.iter().filter_map(|t| Some(t.version.as_ref()?.len())).max().unwrap_or(0);
        for t in &self.unpacked {
            let mark = if t.path.is_some() { marks.yes() } else { marks.maybe() };
            let version = t.version.as_ref().map_or(String::new(), |v| format!("{v:width$}  "));
            let what = t.path.as_ref().map(|p| p.display().to_string()).or(t.remark.clone());
            writeln!(out, "  {mark} {:spec$}  {version}{}  {}", t.spec, size(t.bytes), what.unwrap_or_default())?;
        }

        if let Some(prepared) = &self.prepared {
            writeln!(out, "\n{}", marks.title("prepared states of grafts"))?;
            let Usage { states, bytes, bytes_most, path } = prepared;
            let plural = if *states == 1 { "" } else { "s" };
            let sizes = format!("{} of at most {}", size(*bytes), size(*bytes_most));
            writeln!(out, "  {} {states} state{plural}  {sizes}  {}", marks.yes(), path.display())?;
        }
        if let Some(results) = &self.results {
            writeln!(out, "\n{}", marks.title("results of clean builds"))?;
            let Held { results, bytes, bytes_most, path } = results;
            let plural = if *results == 1 { "" } else { "s" };
            let sizes = format!("{} of at most {}", size(*bytes), size(*bytes_most));
            writeln!(out, "  {} {results} result{plural}  {sizes}  {}", marks.yes(), path.display())?;
        }

        if !self.notes.is_empty() {
            writeln!(out, "\n{}", marks.title("notes"))?;
            for note in &self.notes {
                writeln!(out, "  {note}")?;
            }
        }
        Ok(())
    }
}

/// Marks carry the meaning without colour too.
struct Marks {
    colour: bool,
}

impl Marks {
    fn paint(&self, text: &str, with: impl Fn(console::Style) -> console::Style) -> String {
        with(console::Style::new().force_styling(self.colour)).apply_to(text).to_string()
    }
    fn yes(&self) -> String {
        self.paint("ok  ", console::Style::green)
    }
    fn maybe(&self) -> String {
        self.paint("note", console::Style::yellow)
    }
    fn no(&self) -> String {
        self.paint("no  ", console::Style::red)
    }
    fn title(&self, text: &str) -> String {
        self.paint(text, console::Style::bold)
    }
}

fn need_name(need: Need) -> &'static str {
    match need {
        Need::Mini => "mini",
        Need::MiniBtf => "mini with BTF",
        Need::Graft => "graft",
        Need::Kernel => "kernel",
        Need::DebianSource => "debian sources",
        Need::Tarball => "tarballs",
        Need::Git => "git revisions",
    }
}

/// Bytes for people.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut unit = 0;
    let mut tenths = u128::from(bytes) * 10;
    while tenths >= 10 * 1024 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    if unit == 0 {
        return format!("{bytes} B");
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}
