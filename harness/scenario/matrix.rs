//! `[matrix]`: one scenario over several kernels, tools and numbers of jobs. Each cell is a scenario of its own.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Compiler, Key, Scenario, TreeKind};

/// What stands for the system's own tool.
pub const SYSTEM: &str = "system";

/// Lists of what is built with; the scenario is run for each combination of their values.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Matrix {
    /// Kernels, written as a `srctree`: of a graft its `kernel`, of a whole kernel its `srctree`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kernel: Vec<String>,
    /// paholes: `system`, a version as in `[toolchain]`, or the absolute path of one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pahole: Vec<String>,
    /// GNU makes: `system`, a version as in `[toolchain]`, or the absolute path of one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub make: Vec<String>,
    /// Compilers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub compiler: Vec<Compiler>,
    /// Numbers of jobs: `-jN` exactly.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(range(min = 1, max = 4096)))]
    pub jobs: Vec<u32>,
    /// Combinations that are left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<Except>,
}

/// A combination that is left out: the cells that have all of these values.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Except {
    /// A kernel of the list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    /// A pahole of the list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pahole: Option<String>,
    /// A make of the list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub make: Option<String>,
    /// A compiler of the list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compiler: Option<Compiler>,
    /// A number of jobs of the list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jobs: Option<u32>,
    /// Why there is nothing to be tested.
    pub why: String,
}

/// What can be listed, in the order in which a cell's name has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dimension {
    /// The kernel.
    Kernel,
    /// pahole.
    Pahole,
    /// GNU make.
    Make,
    /// The compiler.
    Compiler,
    /// The number of jobs.
    Jobs,
}

impl Dimension {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Kernel, Self::Pahole, Self::Make, Self::Compiler, Self::Jobs];

    /// Its key in `[matrix]`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Pahole => "pahole",
            Self::Make => "make",
            Self::Compiler => "compiler",
            Self::Jobs => "jobs",
        }
    }
}

/// One value of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// As it is written.
    pub value: String,
    /// What it is called: letters, digits and `-_.+` alone.
    pub label: String,
    /// Which of the scenario's list it is, from 0; none where it comes from the command line.
    pub at: Option<usize>,
}

/// One value of each list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cell(pub BTreeMap<Dimension, Part>);

impl Cell {
    /// What stands behind the scenario's id and `@`: `6.12,pahole=1.30`. What is the system's is not named.
    #[must_use]
    pub fn name(&self) -> String {
        let said = |(dimension, part): (&Dimension, &Part)| match (dimension, part.label.as_str()) {
            (Dimension::Kernel, label) => Some(label.to_owned()),
            (Dimension::Pahole | Dimension::Make, SYSTEM) => None,
            (Dimension::Compiler, label) => (label != "gcc").then(|| label.to_owned()),
            (dimension, label) => Some(format!("{}={label}", dimension.name())),
        };
        let name = self.0.iter().filter_map(said).collect::<Vec<_>>().join(",");
        if name.is_empty() { SYSTEM.to_owned() } else { name }
    }

    /// Its values by the keys of their lists.
    #[must_use]
    pub fn labels(&self) -> BTreeMap<String, String> {
        self.0.iter().map(|(dimension, part)| (dimension.name().to_owned(), part.label.clone())).collect()
    }

    /// Where its kernel is written, if it is a scenario's list that names it.
    #[must_use]
    pub fn kernel_key(&self) -> Option<[Key; 3]> {
        let at = self.0.get(&Dimension::Kernel)?.at?;
        Some(crate::key_path!["matrix", "kernel", at])
    }

    /// Whether it has a kernel that stands in no scenario, but on the command line.
    #[must_use]
    pub fn has_own_kernel(&self) -> bool {
        self.0.get(&Dimension::Kernel).is_some_and(|part| part.at.is_none())
    }

    /// The scenario of this cell.
    #[must_use]
    pub fn of(&self, scenario: &Scenario) -> Scenario {
        let mut scenario = Scenario { matrix: Matrix::default(), ..scenario.clone() };
        for (dimension, Part { value, .. }) in &self.0 {
            let chosen = Some(value.clone()).filter(|value| value != SYSTEM);
            match dimension {
                Dimension::Kernel if scenario.is_graft() => scenario.tree.kernel = Some(value.clone()),
                Dimension::Kernel => scenario.tree.srctree.clone_from(value),
                Dimension::Pahole => scenario.toolchain.pahole = chosen,
                Dimension::Make => scenario.toolchain.make = chosen,
                // gcc is what is taken where nothing is chosen.
                Dimension::Compiler => {
                    scenario.toolchain.compiler = (value == "clang").then_some(Compiler::Clang);
                }
                Dimension::Jobs => scenario.make.jobs = value.parse().ok(),
            }
        }
        scenario
    }
}

impl Matrix {
    /// Whether it lists nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The values of one list.
    #[must_use]
    pub fn values(&self, dimension: Dimension) -> Vec<String> {
        match dimension {
            Dimension::Kernel => self.kernel.clone(),
            Dimension::Pahole => self.pahole.clone(),
            Dimension::Make => self.make.clone(),
            Dimension::Compiler => self.compiler.iter().map(|one| one.name().to_owned()).collect(),
            Dimension::Jobs => self.jobs.iter().map(ToString::to_string).collect(),
        }
    }

    /// What the values of one list are called, each otherwise.
    #[must_use]
    pub fn labels(&self, dimension: Dimension) -> Vec<String> {
        let values = self.values(dimension);
        match dimension {
            Dimension::Kernel => labels(&values, &kernel_words),
            _ => labels(&values, &|value| tool_words(dimension.name(), value)),
        }
    }

    /// All combinations but those that are left out; one of nothing where nothing is listed. What is listed last changes
    /// first.
    #[must_use]
    pub fn cells(&self) -> Vec<Cell> {
        let mut cells = vec![Cell::default()];
        for dimension in Dimension::ALL {
            let parts = self.parts(dimension, true);
            if !parts.is_empty() {
                cells = with(&cells, dimension, &parts);
            }
        }
        cells.retain(|cell| !self.leaves_out(cell));
        cells
    }

    /// The same cells with what `over` lists in place of what they have; what `self` leaves out stays left out.
    #[must_use]
    pub fn cells_over(&self, cells: &[Cell], over: &Self) -> Vec<Cell> {
        let mut cells = cells.to_vec();
        for dimension in Dimension::ALL {
            let parts = over.parts(dimension, false);
            if !parts.is_empty() {
                cells = with(&cells, dimension, &parts);
            }
        }
        let mut seen = BTreeSet::new();
        cells.retain(|cell| !self.leaves_out(cell) && seen.insert(cell.name()));
        cells
    }

    fn parts(&self, dimension: Dimension, written: bool) -> Vec<Part> {
        let all = self.values(dimension).into_iter().zip(self.labels(dimension)).enumerate();
        all.map(|(at, (value, label))| Part { value, label, at: written.then_some(at) }).collect()
    }

    fn leaves_out(&self, cell: &Cell) -> bool {
        self.except.iter().any(|except| {
            let mut wanted = except.values().into_iter().peekable();
            wanted.peek().is_some()
                && wanted.all(|(dimension, value)| {
                    cell.0.get(&dimension).is_some_and(|part| part.value == value || part.label == value)
                })
        })
    }
}

impl Except {
    /// What a cell has to have to be left out.
    #[must_use]
    pub fn values(&self) -> Vec<(Dimension, String)> {
        let all = [
            (Dimension::Kernel, self.kernel.clone()),
            (Dimension::Pahole, self.pahole.clone()),
            (Dimension::Make, self.make.clone()),
            (Dimension::Compiler, self.compiler.map(|one| one.name().to_owned())),
            (Dimension::Jobs, self.jobs.map(|one| one.to_string())),
        ];
        all.into_iter().filter_map(|(dimension, value)| Some((dimension, value?))).collect()
    }
}

/// Each cell with each of these values.
fn with(cells: &[Cell], dimension: Dimension, parts: &[Part]) -> Vec<Cell> {
    let one = |cell: &Cell, part: &Part| {
        let mut cell = cell.clone();
        cell.0.insert(dimension, part.clone());
        cell
    };
    cells.iter().flat_map(|cell| parts.iter().map(move |part| one(cell, part))).collect()
}

/// Why a scenario has no use for a choice, and what to do about it.
#[must_use]
pub fn unfit(scenario: &Scenario, dimension: Dimension) -> Option<(String, &'static str)> {
    let tree = &scenario.tree;
    let no_kernel = tree.srctree == "mini" || tree.kind == Some(TreeKind::Make) || tree.at.is_some();
    match dimension {
        Dimension::Kernel if no_kernel => {
            let message = format!("`{}` is no kernel: there is none to choose", tree.srctree);
            Some((message, "kernels are chosen for `srctree = \"graft\"` and for whole kernels"))
        }
        Dimension::Make if scenario.make.program.is_some() => {
            Some(("`make.program` names another make".to_owned(), "leave one of the two out"))
        }
        _ => None,
    }
}

/// Whether a text can stand for a tool: the system's, a version, or a program by its absolute path.
#[must_use]
pub fn names_a_tool(value: &str) -> bool {
    value == SYSTEM || super::toolchain::is_choice(value)
}

/// What to call values by: of the words of each the last in which it is not like all the others.
fn labels(values: &[String], words: &dyn Fn(&str) -> Vec<String>) -> Vec<String> {
    let mut all: Vec<Vec<String>> = values.iter().map(|value| words(value)).collect();
    let alike = |all: &[Vec<String>]| {
        let mut ends = all.iter().map(|words| words.last());
        let first = ends.next().flatten();
        all.len() > 1 && ends.all(|end| end == first) && all.iter().all(|words| words.len() > 1)
    };
    while alike(&all) {
        all.iter_mut().for_each(|words| _ = words.pop());
    }
    told_apart(all.into_iter().map(|words| safe(words.last().map_or("", String::as_str))).collect())
}

/// The id of a cell up to its kernel, which comes first: `x` of `x@pahole=1.30`, `x@6.12` of `x@6.12,pahole=1.30`.
#[must_use]
pub fn without_tools(id: &str) -> &str {
    let Some((scenario, cell)) = id.rsplit_once('@') else { return id };
    let first = cell.split(',').next().unwrap_or_default();
    let is_tool = first.contains('=') || first == SYSTEM || first == Compiler::Clang.name();
    if is_tool { scenario } else { &id[..id.len() - cell.len() + first.len()] }
}

/// The names, with a number behind each that is there already. None becomes one that another has by itself.
#[must_use]
pub fn told_apart(names: Vec<String>) -> Vec<String> {
    let own: BTreeSet<String> = names.iter().cloned().collect();
    let mut taken = BTreeSet::new();
    let one = |name: String| {
        let numbered =
            (2..).map(|n| format!("{name}-{n}")).find(|other| !own.contains(other) && !taken.contains(other));
        let name = if taken.contains(&name) { numbered.unwrap_or(name) } else { name };
        taken.insert(name.clone());
        name
    };
    names.into_iter().map(one).collect()
}

/// What a kernel can be called, best last: `6.12` of `debian:6.12`, `v6.12` of `git:linux@v6.12`, `7.0` of `linux-7.0.tar.xz`.
fn kernel_words(value: &str) -> Vec<String> {
    if let Some(version) = value.strip_prefix("debian:") {
        return vec![version.to_owned()];
    }
    let (path, revision) = match value.strip_prefix("git:") {
        Some(rest) => rest.rsplit_once('@').map_or((rest, None), |(path, revision)| (path, Some(revision))),
        None => (value, None),
    };
    let mut words = path_words(path);
    if let Some(last) = words.last_mut()
        && let Some((name, _)) = last.split_once(".tar")
    {
        *last = name.strip_prefix("linux-").unwrap_or(name).to_owned();
    }
    words.extend(revision.map(str::to_owned));
    words
}

/// What a tool can be called, best last: its version, or of a path the directory it is in.
fn tool_words(name: &str, value: &str) -> Vec<String> {
    if !value.contains('/') {
        return vec![value.to_owned()];
    }
    let mut words = path_words(value);
    while words.len() > 1 && words.last().is_some_and(|last| last == name || last == "bin" || last == "build") {
        words.pop();
    }
    // The word is that of the system's own tool.
    if let Some(last) = words.last_mut().filter(|last| *last == SYSTEM) {
        last.push_str("-dir");
    }
    words
}

fn path_words(path: &str) -> Vec<String> {
    path.split('/').filter(|word| !word.is_empty() && !matches!(*word, "." | "..")).map(str::to_owned).collect()
}

/// A word as part of a file's name and of a list on the command line.
fn safe(word: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.+".contains(c) { c } else { '_' };
    let word: String = word.chars().map(plain).collect();
    let word = word.trim_start_matches('.');
    if word.is_empty() { "_".to_owned() } else { word.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_without_tools() {
        for (id, without) in [
            ("btf/x", "btf/x"),
            ("btf/x@system", "btf/x"),
            ("btf/x@pahole=1.30", "btf/x"),
            ("btf/x@make=4.4,clang,jobs=2", "btf/x"),
            ("btf/x@clang", "btf/x"),
            ("btf/x@6.12", "btf/x@6.12"),
            ("btf/x@6.12,pahole=1.30", "btf/x@6.12"),
        ] {
            assert_eq!(without_tools(id), without, "{id}");
        }
    }

    fn scenario(text: &str) -> Scenario {
        let text = format!("title = \"t\"\n{text}");
        super::super::parse("t.toml", &text, &()).unwrap_or_else(|e| panic!("{text}: {e:?}")).scenario
    }

    fn names(cells: &[Cell]) -> Vec<String> {
        cells.iter().map(Cell::name).collect()
    }

    const GRAFT: &str = "[tree]\nsrctree = \"graft\"\n";

    #[test]
    fn it_is_the_product_of_its_lists() {
        let matrix = "[matrix]\nkernel = [\"debian:6.1\", \"debian:7.3\"]\npahole = [\"system\", \"1.30\"]\n";
        let scenario = scenario(&format!("{GRAFT}{matrix}"));
        let cells = scenario.matrix.cells();
        assert_eq!(names(&cells), ["6.1", "6.1,pahole=1.30", "7.3", "7.3,pahole=1.30"]);
        let last = cells[3].of(&scenario);
        assert_eq!((last.kernel_source(), last.toolchain.pahole.as_deref()), ("debian:7.3", Some("1.30")));
        assert!(last.matrix.is_empty() && cells[2].of(&scenario).toolchain.is_empty());
        let labels: Vec<_> = cells[2].labels().into_iter().collect();
        assert_eq!(labels, [("kernel".into(), "7.3".into()), ("pahole".into(), "system".into())]);
    }

    #[test]
    fn what_is_the_systems_is_not_named() {
        let text =
            "[tree]\nsrctree = \"mini\"\n[matrix]\nmake = [\"system\", \"4.4\"]\ncompiler = [\"gcc\", \"clang\"]\n";
        let cells = scenario(&format!("{text}jobs = [2]\n")).matrix.cells();
        assert_eq!(names(&cells), ["jobs=2", "clang,jobs=2", "make=4.4,jobs=2", "make=4.4,clang,jobs=2"]);
        assert_eq!(names(&scenario(text).matrix.cells())[0], "system");
        assert_eq!(cells[3].of(&scenario(text)).make.jobs, Some(2));
    }

    #[test]
    fn of_a_whole_kernel_the_srctree_is_chosen() {
        let scenario = scenario("[tree]\nsrctree = \"debian:6.12\"\n[matrix]\nkernel = [\"git:/linux@v7.0\"]\n");
        let cells = scenario.matrix.cells();
        assert_eq!(names(&cells), ["v7.0"]);
        assert_eq!(cells[0].of(&scenario).tree.srctree, "git:/linux@v7.0");
    }

    #[test]
    fn combinations_can_be_left_out() {
        let matrix = "[matrix]\nkernel = [\"debian:6.1\", \"debian:7.3\"]\npahole = [\"1.24\", \"1.32\"]\n\
                      except = [{ kernel = \"6.1\", pahole = \"1.32\", why = \"too new\" }]\n";
        let matrix = scenario(&format!("{GRAFT}{matrix}")).matrix;
        assert_eq!(names(&matrix.cells()), ["6.1,pahole=1.24", "7.3,pahole=1.24", "7.3,pahole=1.32"]);
    }

    #[test]
    fn the_command_line_goes_over_what_is_written() {
        let matrix = "[matrix]\nkernel = [\"debian:6.1\", \"debian:7.3\"]\npahole = [\"1.24\"]\n";
        let matrix = scenario(&format!("{GRAFT}{matrix}")).matrix;
        let over = Matrix { pahole: vec!["system".into(), "1.32".into()], jobs: vec![1], ..Matrix::default() };
        let cells = matrix.cells_over(&matrix.cells(), &over);
        let expected = ["6.1,jobs=1", "6.1,pahole=1.32,jobs=1", "7.3,jobs=1", "7.3,pahole=1.32,jobs=1"];
        assert_eq!(names(&cells), expected);
        assert_eq!(cells[0].0[&Dimension::Kernel].at, Some(0));
        assert_eq!(cells[0].0[&Dimension::Pahole].at, None);
        // Two cells that become one are one.
        let one = Matrix { kernel: vec!["debian:6.12".into()], ..Matrix::default() };
        assert_eq!(names(&matrix.cells_over(&matrix.cells(), &one)), ["6.12,pahole=1.24"]);
        // Where nothing is written either, it is one scenario of no cell.
        assert_eq!(Matrix::default().cells(), [Cell::default()]);
    }

    #[test]
    fn names_are_short_safe_and_each_another() {
        let kernels = |list: &[&str]| {
            let kernel = list.iter().map(ToString::to_string).collect();
            Matrix { kernel, ..Matrix::default() }.labels(Dimension::Kernel)
        };
        assert_eq!(kernels(&["debian:6.12.117-1~deb12u1", "linux-7.0.tar.xz"]), ["6.12.117-1_deb12u1", "7.0"]);
        assert_eq!(kernels(&["git:/l@v6.12", "git:/l@topic/x", "./linux"]), ["v6.12", "topic_x", "linux"]);
        assert_eq!(kernels(&["/base/linux", "/next/linux"]), ["base", "next"]);
        assert_eq!(kernels(&["git:/a@HEAD", "git:/b@HEAD"]), ["a", "b"]);
        assert_eq!(kernels(&["/a/linux", "/a/./linux", "git:.."]), ["linux", "linux-2", "_"]);
        let paholes = |list: &[&str]| {
            let pahole = list.iter().map(ToString::to_string).collect();
            Matrix { pahole, ..Matrix::default() }.labels(Dimension::Pahole)
        };
        assert_eq!(paholes(&["/a/build/pahole", "/b/build/pahole", "1.24"]), ["a", "b", "1.24"]);
        assert_eq!(paholes(&["/opt/dwarves/bin/pahole"]), ["dwarves"]);
        assert_eq!(paholes(&["/pahole"]), ["pahole"]);
    }

    #[test]
    fn a_number_makes_no_name_that_another_has() {
        let apart = |names: &[&str]| told_apart(names.iter().map(ToString::to_string).collect());
        assert_eq!(apart(&["a", "a", "a"]), ["a", "a-2", "a-3"]);
        assert_eq!(apart(&["a-2", "a", "a"]), ["a-2", "a", "a-3"]);
        assert_eq!(apart(&["a", "a", "a-2", "a-2"]), ["a", "a-3", "a-2", "a-2-2"]);
        assert_eq!(tool_words("make", "/opt/system/make"), ["opt", "system-dir"]);
    }

    #[test]
    fn what_makes_no_sense_is_an_error_of_the_file() {
        let told = |text: &str| {
            let text = format!("title = \"t\"\n{text}");
            let errors = super::super::parse("t.toml", &text, &()).expect_err(&text);
            let told = errors.0.iter().map(|p| format!("{}:{} {}", p.at.0, p.at.1, p.message));
            told.collect::<Vec<_>>().join("\n")
        };
        let mini = "[tree]\nsrctree = \"mini\"\n[matrix]\n";
        assert_eq!(
            told(&format!("{mini}kernel = [\"debian:6.12\"]")),
            "5:10 `mini` is no kernel: there is none to choose"
        );
        assert_eq!(
            told(&format!("{mini}make = [\"4.4\"]\n[make]\nprogram = \"gmake\"")),
            "5:8 `make.program` names another make"
        );
        assert_eq!(told(&format!("{mini}pahole = [\"v1.30\"]")), "5:11 `v1.30` is no pahole");
        assert_eq!(told(&format!("{mini}pahole = [\"1.30\", \"1.30\"]")), "5:19 `1.30` is listed twice");
        assert!(told(&format!("{mini}jobs = [0]")).contains("must be 1 to 4096"));
        assert!(told(&format!("{mini}compiler = [\"tcc\"]")).contains("`tcc`"));
        let both = told(&format!("{mini}pahole = [\"1.30\"]\n[toolchain]\npahole = \"1.24\""));
        assert_eq!(both, "7:10 `matrix.pahole` chooses it already");
        let none = told(&format!("{mini}jobs = [1]\nexcept = [{{ jobs = 1, why = \"x\" }}]"));
        assert_eq!(none, "6:10 every combination is left out");
        let idle = told(&format!("{mini}jobs = [1]\nexcept = [{{ jobs = 2, why = \"x\" }}]"));
        assert_eq!(idle, "6:11 no combination has this");
        let many: Vec<String> = (1..=1001).map(|n| n.to_string()).collect();
        let many = told(&format!("{mini}jobs = [{}]", many.join(", ")));
        assert_eq!(many, "4:1 these are more than 1000 combinations");
    }
}
