//! Two builds of the same sources, step by step: where they part.
//!
//! A step is guilty if it got the same and gave something else. One that got something else passes on what another did;
//! where that is a file that no step made, the sources differed.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use super::{Content, Kind, Step};

/// How two builds go together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Steps of both builds that got the same bytes and gave others, in the order of the second build.
    pub guilty: Vec<Differs>,
    /// Steps of both builds that got other bytes, in that order; what they gave may be the same again.
    pub passed_on: Vec<Differs>,
    /// Files that no step made and that differed, by path.
    pub sources: Vec<String>,
    /// Steps of the first build alone, by number in it.
    pub only_first: Vec<usize>,
    /// Steps of the second build alone.
    pub only_second: Vec<usize>,
    /// How many steps both have.
    pub both: usize,
    /// How many of these cannot be judged: contents are not known.
    pub unknown: usize,
}

/// A step of both builds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Differs {
    /// Its number in the first build.
    pub first: usize,
    /// Its number in the second.
    pub second: usize,
    /// What it read that was not the same, by path.
    pub inputs: Vec<String>,
    /// What it made that was not the same, by path.
    pub outputs: Vec<String>,
    /// Those of the outputs that it had read before it wrote them.
    pub in_place: Vec<String>,
}

/// Compares the steps of two builds. What `$(shell)` ran counts as little as what only started a make.
#[must_use]
pub fn compare(first: &[Step], second: &[Step]) -> Comparison {
    let recipes = |steps: &[Step]| -> Vec<usize> {
        let mut numbers: Vec<usize> = (0..steps.len()).filter(|number| steps[*number].kind != Kind::Query).collect();
        numbers.sort_by_key(|number| (steps[*number].began, *number));
        numbers
    };
    // The same line can run several times, as in a loop of makefiles: the n-th there is the n-th here.
    let key = |step: &Step| (step.cwd.clone(), step.command.clone());
    let mut there: HashMap<(String, String), VecDeque<usize>> = HashMap::new();
    for number in recipes(first) {
        there.entry(key(&first[number])).or_default().push_back(number);
    }
    let mut comparison = Comparison::default();
    let mut pairs = Vec::new();
    for number in recipes(second) {
        match there.get_mut(&key(&second[number])).and_then(VecDeque::pop_front) {
            Some(other) => pairs.push((other, number)),
            None => comparison.only_second.push(number),
        }
    }
    comparison.only_first = there.into_values().flatten().collect();
    comparison.only_first.sort_by_key(|number| (first[*number].began, *number));
    comparison.both = pairs.len();
    let made: BTreeSet<&str> =
        first.iter().chain(second).flat_map(|step| &step.outputs).map(|output| &*output.path).collect();
    for (a, b) in pairs {
        let (Some(inputs), Some(outputs)) =
            (differ(&first[a].inputs, &second[b].inputs), differ(&first[a].outputs, &second[b].outputs))
        else {
            comparison.unknown += 1;
            continue;
        };
        if inputs.is_empty() && outputs.is_empty() {
            continue;
        }
        let sources = inputs.iter().filter(|path| !made.contains(path.as_str()));
        comparison.sources.extend(sources.cloned());
        let in_place = outputs.iter().filter(|path| second[b].in_place.contains(path)).cloned().collect();
        let guilty = inputs.is_empty();
        let differs = Differs { first: a, second: b, inputs, outputs, in_place };
        if guilty { comparison.guilty.push(differs) } else { comparison.passed_on.push(differs) }
    }
    comparison.sources.sort();
    comparison.sources.dedup();
    comparison
}

/// The paths whose contents are not the same; `None` if that of one in both is not known.
fn differ(first: &[Content], second: &[Content]) -> Option<Vec<String>> {
    let by_path = |contents: &[Content]| -> BTreeMap<String, Option<Arc<str>>> {
        contents.iter().map(|content| (content.path.to_string(), content.sha256.clone())).collect()
    };
    let (first, second) = (by_path(first), by_path(second));
    let mut paths: Vec<String> = Vec::new();
    for (path, content) in &first {
        match second.get(path) {
            Some(other) if content.as_ref()? == other.as_ref()? => {}
            _ => paths.push(path.clone()),
        }
    }
    paths.extend(second.keys().filter(|path| !first.contains_key(*path)).cloned());
    paths.sort();
    Some(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(text: &str) -> Vec<Content> {
        let one = |word: &str| {
            let (path, sha256) = word.split_once('=').expect("path=digest");
            let sha256 = (sha256 != "?").then(|| sha256.into());
            Content { path: path.into(), number: 0, sha256 }
        };
        text.split_whitespace().map(one).collect()
    }

    fn step(began: u64, command: &str, inputs: &str, outputs: &str) -> Step {
        Step {
            command: command.to_owned(),
            cwd: "obj".to_owned(),
            inputs: contents(inputs),
            outputs: contents(outputs),
            began,
            ended: began,
            ..Step::default()
        }
    }

    fn commands<'s>(steps: &'s [Step], differs: &[Differs]) -> Vec<&'s str> {
        differs.iter().map(|differs| steps[differs.second].command.as_str()).collect()
    }

    #[test]
    fn equal_builds_part_nowhere_in_whatever_order() {
        let a = [step(1, "cc a", "a.c=1", "a.o=2"), step(2, "cc b", "b.c=3", "b.o=4")];
        let b = [step(2, "cc a", "a.c=1", "a.o=2"), step(1, "cc b", "b.c=3", "b.o=4")];
        assert_eq!(compare(&a, &b), Comparison { both: 2, ..Comparison::default() });
    }

    #[test]
    fn who_got_the_same_and_gave_something_else_is_guilty_and_nobody_after() {
        let a =
            [step(1, "date", "", "stamp=1"), step(2, "cc", "stamp=1 a.c=1", "a.o=2"), step(3, "ld", "a.o=2", "x=3")];
        let b =
            [step(1, "date", "", "stamp=9"), step(2, "cc", "stamp=9 a.c=1", "a.o=8"), step(3, "ld", "a.o=8", "x=7")];
        let found = compare(&a, &b);
        assert_eq!((commands(&b, &found.guilty), commands(&b, &found.passed_on)), (vec!["date"], vec!["cc", "ld"]));
        assert_eq!((found.sources.len(), found.guilty[0].outputs.clone()), (0, vec!["stamp".to_owned()]));
        assert_eq!(found.passed_on[0].inputs, ["stamp"]);
    }

    #[test]
    fn sources_that_differ_are_told_from_what_steps_made() {
        let a = [step(1, "cc", "a.c=1", "a.o=2"), step(2, "ld", "a.o=2", "x=3")];
        let b = [step(1, "cc", "a.c=9", "a.o=8"), step(2, "ld", "a.o=8", "x=7")];
        let found = compare(&a, &b);
        assert_eq!((found.guilty.len(), found.sources), (0, vec!["a.c".to_owned()]));
    }

    #[test]
    fn what_one_build_alone_did_and_what_cannot_be_told_is_counted() {
        let a = [step(1, "cc", "a.c=1", "a.o=2"), step(2, "once", "", ""), step(3, "odd", "a=?", "b=1")];
        let b = [step(1, "cc", "a.c=1", "a.o=2"), step(2, "cc", "a.c=1", "a.o=2"), step(3, "odd", "a=?", "b=2")];
        let found = compare(&a, &b);
        assert_eq!((found.both, found.only_first, found.only_second, found.unknown), (2, vec![1], vec![1], 1));
        assert_eq!((found.guilty.len(), found.passed_on.len()), (0, 0));
    }

    #[test]
    fn an_output_that_only_one_made_differs() {
        let found = compare(&[step(1, "cc", "", "a=1 b=2")], &[step(1, "cc", "", "a=1")]);
        assert_eq!(found.guilty[0].outputs, ["b"]);
    }
}
