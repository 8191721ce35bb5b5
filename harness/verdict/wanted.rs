//! One chosen finding: what bisections and reviews look at. They judge what builds show and never what scenarios list as known or
//! expected, for these lists were written for one state of the sources.

use std::fmt;

use super::{Finding, Standing, Verdict};
use crate::runner::Parts;
use crate::scenario::{Class, Expect, FindingName, Scenario, nearest};

/// Which findings are looked for; without any, all of class wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted(Vec<Pattern>);

/// `NAME` or `NAME@PLACE:TARGET`, each with `*` for any run of characters.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern {
    text: String,
    /// What may have this name.
    names: Vec<FindingName>,
}

/// What a run says of the findings that are looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// None of them is there.
    Absent,
    /// These are, by their ids.
    Present(Vec<String>),
    /// Nothing can be said; why.
    Untestable(String),
    /// Something is wrong with the scenario, the host or the harness; why.
    Broken(String),
}

impl Answer {
    /// The exit code for `git bisect run`: git-bisect(1) takes 0 as good, 125 as "cannot be tested", all else up to 127 as bad, and
    /// stops at 128 and above.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Absent => 0,
            Self::Present(_) => 1,
            Self::Untestable(_) => 125,
            Self::Broken(_) => BROKEN,
        }
    }

    /// What is to be said of several scenarios: what is broken ends a bisection, and what is there counts though another scenario
    /// cannot be tested.
    #[must_use]
    pub fn of_all(answers: impl IntoIterator<Item = Self>) -> Option<Self> {
        let weight = |answer: &Self| match answer {
            Self::Absent => 0,
            Self::Untestable(_) => 1,
            Self::Present(_) => 2,
            Self::Broken(_) => 3,
        };
        answers.into_iter().reduce(|a, b| match (a, b) {
            (Self::Present(mut a), Self::Present(b)) => {
                a.extend(b);
                Self::Present(a)
            }
            (a, b) if weight(&a) >= weight(&b) => a,
            (_, b) => b,
        })
    }
}

/// The exit code at which `git bisect run` stops.
pub const BROKEN: u8 = 128;

impl fmt::Display for Wanted {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return out.write_str("any finding of class wrong");
        }
        let texts: Vec<&str> = self.0.iter().map(|pattern| pattern.text.as_str()).collect();
        out.write_str(&texts.join(" or "))
    }
}

impl Wanted {
    /// Reads names or ids of findings: `rebuild.stale`, `rebuild.*`, `rebuild.stale@edit-1:*.ko`, or the beginning of an id.
    ///
    /// # Errors
    /// What no finding can be called, and what may have been meant.
    pub fn parse(texts: &[String]) -> Result<Self, String> {
        texts.iter().map(|text| Pattern::parse(text)).collect::<Result<_, _>>().map(Self)
    }

    /// The builds that it takes to see them.
    #[must_use]
    pub fn parts(&self) -> Parts {
        use FindingName::{HazardOrder, HazardWriteWrite, NoopChanged, NoopRan, ReproMismatch, StepNotIdempotent};
        if self.0.is_empty() {
            return Parts::ALL;
        }
        let any = |names: &[FindingName]| self.0.iter().flat_map(|one| &one.names).any(|name| names.contains(name));
        Parts {
            // Steps that rewrite a file are replayed in the second clean build.
            experiment: any(&[ReproMismatch, HazardOrder, HazardWriteWrite, StepNotIdempotent]),
            noops: any(&[NoopRan, NoopChanged]),
            // Without something that is compared nothing is said; what edits demand is about incremental builds.
            oracles: true,
        }
    }

    /// The scenario without what it lists: nothing is known and nothing is expected, but what its edits demand.
    #[must_use]
    pub fn raw(scenario: &Scenario) -> Scenario {
        Scenario { expect: Expect::default(), known: Vec::new(), snapshots: None, ..scenario.clone() }
    }

    /// What the findings of a scenario, its verdict and the reason of that say.
    #[must_use]
    pub fn answer(&self, verdict: Verdict, reason: Option<&str>, findings: &[Finding]) -> Answer {
        let why = || reason.map_or_else(|| verdict.name().to_owned(), str::to_owned);
        match verdict {
            Verdict::HarnessError | Verdict::HostCannot | Verdict::ScenarioError | Verdict::Interrupted => {
                return Answer::Broken(why());
            }
            Verdict::Skipped => return Answer::Untestable(why()),
            Verdict::Failed | Verdict::Inconclusive | Verdict::Passed => {}
        }
        let there: Vec<String> = findings.iter().filter(|finding| self.takes(finding)).map(Finding::id).collect();
        match verdict {
            _ if !there.is_empty() => Answer::Present(there),
            Verdict::Inconclusive => Answer::Untestable(why()),
            _ => Answer::Absent,
        }
    }

    fn takes(&self, finding: &Finding) -> bool {
        if self.0.is_empty() {
            let of_lists = matches!(
                finding.name,
                FindingName::KnownStale
                    | FindingName::SnapshotChanged
                    | FindingName::SnapshotMissing
                    | FindingName::SnapshotUnreferenced
            );
            return finding.name.class() == Class::Wrong && finding.standing != Standing::Latent && !of_lists;
        }
        let ids = || std::iter::once(finding.id()).chain(finding.folded.iter().cloned());
        self.0.iter().any(|pattern| ids().any(|id| pattern.takes(&id)))
    }
}

impl Pattern {
    fn parse(text: &str) -> Result<Self, String> {
        let name = text.split('@').next().unwrap_or_default();
        let all = FindingName::ALL.iter().copied();
        // What is cut off is the beginning of an id where it stops behind the name alone.
        let names: Vec<FindingName> =
            all.filter(|known| wildmatch::WildMatch::new(name).matches(known.name())).collect();
        if names.is_empty() {
            let near = nearest(name, FindingName::ALL.iter().map(|known| known.name()));
            let near = near.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
            return Err(format!("no finding is called `{name}`{near}"));
        }
        Ok(Self { text: text.to_owned(), names })
    }

    fn takes(&self, id: &str) -> bool {
        if self.text.contains('@') {
            return id.starts_with(&self.text) || wildmatch::WildMatch::new(&self.text).matches(id);
        }
        let name = id.split('@').next().unwrap_or_default();
        wildmatch::WildMatch::new(&self.text).matches(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::judge;
    use crate::verdict::sample::{build, record, twice};

    fn wanted(texts: &[&str]) -> Wanted {
        let texts: Vec<String> = texts.iter().map(ToString::to_string).collect();
        Wanted::parse(&texts).expect("findings")
    }

    /// What a record with a stale module says to these patterns.
    fn stale(lists: &str, texts: &[&str]) -> Answer {
        let edit = format!("[[edit]]\nfile = \"a.c\"\nappend = \"x\"\n{lists}");
        let mut builds = twice(&[("a.ko", "old")]);
        builds.push(build("edit-1/incremental", &[("a.ko", "old")]).wrote(&[]));
        builds.push(build("edit-1/oracle", &[("a.ko", "new")]));
        let record = record(&edit, builds);
        let judged = judge(&record, &Default::default());
        wanted(texts).answer(judged.verdict, judged.reason.as_deref(), &judged.findings)
    }

    #[test]
    fn a_finding_is_named_by_its_name_its_id_or_the_beginning_of_one() {
        let there = Answer::Present(vec!["rebuild.stale@edit-1:a.ko".into()]);
        for text in ["rebuild.stale", "rebuild.*", "rebuild.stale@edit-1:a.ko", "rebuild.stale@edit-1", "*@*:*.ko"] {
            assert_eq!(stale("", &[text]), there, "{text}");
        }
        assert_eq!(stale("", &[]), there);
        assert_eq!(stale("", &["noop.*", "rebuild.stale"]), there);
        for text in ["rebuild.diverged", "rebuild.stale@edit-2", "repro.*"] {
            assert_eq!(stale("", &[text]), Answer::Absent, "{text}");
        }
        assert_eq!(
            Wanted::parse(&["rebuild.stail".into()]),
            Err("no finding is called `rebuild.stail`; did you mean `rebuild.stale`?".into())
        );
    }

    #[test]
    fn what_is_known_counts_all_the_same() {
        let known = "[[known]]\nfinding = \"rebuild.stale\"\nwhy = \"so it is\"\n";
        assert!(matches!(stale(known, &[]), Answer::Present(_)));
        let stale_list = "[[known]]\nfinding = \"rebuild.failed\"\nwhy = \"so it was\"\n";
        let Answer::Present(there) = stale(stale_list, &[]) else { panic!("it is there") };
        assert_eq!(there, ["rebuild.stale@edit-1:a.ko"], "a list that is out of date is no finding");
    }

    #[test]
    fn what_cannot_be_said_is_neither_there_nor_not_there() {
        let say = |verdict| wanted(&[]).answer(verdict, Some("why"), &[]);
        assert_eq!(say(Verdict::Passed), Answer::Absent);
        for verdict in [Verdict::Skipped, Verdict::Inconclusive] {
            assert_eq!(say(verdict), Answer::Untestable("why".into()));
        }
        for verdict in [Verdict::HostCannot, Verdict::ScenarioError, Verdict::HarnessError, Verdict::Interrupted] {
            assert_eq!(say(verdict).exit_code(), 128);
        }
    }

    #[test]
    fn of_several_scenarios_the_weightiest_counts() {
        use Answer::{Absent, Broken, Present, Untestable};
        let present = |id: &str| Present(vec![id.into()]);
        let all = |answers: &[Answer]| Answer::of_all(answers.to_vec()).map(|answer| answer.exit_code());
        assert_eq!(all(&[Absent, Untestable("x".into())]), Some(125));
        assert_eq!(all(&[Untestable("x".into()), present("a"), Absent]), Some(1));
        assert_eq!(all(&[present("a"), Broken("x".into())]), Some(128));
        assert_eq!(all(&[]), None);
        assert_eq!(Answer::of_all([present("a"), present("b")]), Some(Present(vec!["a".into(), "b".into()])));
    }

    #[test]
    fn only_the_builds_that_it_takes_are_made() {
        let parts = |text: &str| {
            let Parts { experiment, noops, oracles } = wanted(&[text]).parts();
            (experiment, noops, oracles)
        };
        assert_eq!(parts("rebuild.stale"), (false, false, true));
        assert_eq!(parts("repro.mismatch"), (true, false, true));
        assert_eq!(parts("noop.*"), (false, true, true));
        assert_eq!(parts("expect.unmet"), (false, false, true));
        assert_eq!(parts("*"), (true, true, true));
    }
}
