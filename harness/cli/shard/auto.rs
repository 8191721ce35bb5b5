//! `--shard auto`: which part of how many, from the variables of what runs the job.
//!
//! | where | variables | counts from |
//! | --- | --- | --- |
//! | anywhere | `KBUILD_REPRO_SHARD=K/N` | 1 |
//! | GitLab | `CI_NODE_INDEX`, `CI_NODE_TOTAL` (of a job with `parallel`) | 1 |
//! | Buildkite | `BUILDKITE_PARALLEL_JOB`, `BUILDKITE_PARALLEL_JOB_COUNT` | 0 |
//! | CircleCI | `CIRCLE_NODE_INDEX`, `CIRCLE_NODE_TOTAL` | 0 |
//! | Slurm | `SLURM_ARRAY_TASK_ID`, `_MIN`, `_MAX`, `_STEP`, `_COUNT` (sbatch(1)) | `_MIN` |
//! | Kubernetes | `JOB_COMPLETION_INDEX` of an indexed Job, with `KBUILD_REPRO_SHARDS=N` | 0 |
//!
//! An array job of which one task is submitted again has a count of one: with `KBUILD_REPRO_SHARDS=N` the task's number, from 1,
//! is the shard.

use super::{MOST, Which};

/// What helps.
pub(super) const HINT: &str = "name it: `--shard K/N`, or set KBUILD_REPRO_SHARD=K/N; of a Kubernetes Job, and of an array job that \
                               may be submitted again in part, KBUILD_REPRO_SHARDS=N is how many there are";

/// The number of shards, where what runs the job does not know it.
const SHARDS: &str = "KBUILD_REPRO_SHARDS";

/// What reads a variable.
type Get<'g> = &'g dyn Fn(&str) -> Option<String>;

/// What one of the places says: which shard, by which variable.
type Said = Option<(Which, &'static str)>;

/// The shard that the environment says.
pub(super) fn read(get: Get<'_>) -> Result<Which, String> {
    let mut said: Vec<(Which, &str)> = Vec::new();
    said.extend(named(get)?);
    said.extend(pair(get, ["CI_NODE_INDEX", "CI_NODE_TOTAL"], 1)?);
    said.extend(pair(get, ["BUILDKITE_PARALLEL_JOB", "BUILDKITE_PARALLEL_JOB_COUNT"], 0)?);
    said.extend(pair(get, ["CIRCLE_NODE_INDEX", "CIRCLE_NODE_TOTAL"], 0)?);
    said.extend(slurm(get)?);
    said.extend(kubernetes(get)?);
    // CI systems say of a job that is not divided that it is the one of one.
    let divided = said.iter().any(|(which, _)| which.count > 1);
    said.retain(|(which, by)| !(divided && which.count == 1 && *by != "KBUILD_REPRO_SHARD"));
    let Some((which, by)) = said.first().copied() else {
        return Err("no variable says which part of how many this is".into());
    };
    match said.iter().find(|(other, _)| *other != which) {
        Some((other, name)) => Err(format!("`{by}` says {which}, and `{name}` says {other}")),
        None => Ok(which),
    }
}

fn named(get: Get<'_>) -> Result<Said, String> {
    const NAME: &str = "KBUILD_REPRO_SHARD";
    let Some(text) = get(NAME).filter(|text| !text.is_empty()) else { return Ok(None) };
    Which::parse(&text).map(|which| Some((which, NAME))).map_err(|why| format!("`{NAME}` is `{text}`: {why}"))
}

/// A variable that holds a whole number; unset and empty are the same.
fn number(get: Get<'_>, name: &str) -> Result<Option<u32>, String> {
    let Some(text) = get(name).filter(|text| !text.is_empty()) else { return Ok(None) };
    text.parse().map(Some).map_err(|_| format!("`{name}` is `{text}`, which is no whole number"))
}

/// A variable that has to be there because another is.
fn needed(get: Get<'_>, name: &str, with: &str) -> Result<u32, String> {
    number(get, name)?.ok_or_else(|| format!("`{with}` is set, and `{name}` is not"))
}

fn total(name: &str, count: u32) -> Result<u32, String> {
    let fits = (1..=MOST).contains(&count);
    if fits { Ok(count) } else { Err(format!("`{name}` is {count}; there can be 1 to {MOST} shards")) }
}

/// An index that counts from `base`, and how many there are.
fn pair(get: Get<'_>, [index, count]: [&'static str; 2], base: u32) -> Result<Said, String> {
    let (Some(at), of) = (number(get, index)?, number(get, count)?) else {
        return match number(get, count)? {
            None | Some(1) => Ok(None),
            Some(_) => Err(format!("`{count}` is set, and `{index}` is not")),
        };
    };
    let of = total(count, of.ok_or_else(|| format!("`{index}` is set, and `{count}` is not"))?)?;
    if at < base || at - base >= of {
        return Err(format!("`{index}` is {at}; it counts from {base}, and `{count}` is {of}"));
    }
    Ok(Some((Which { index: at - base + 1, count: of }, index)))
}

fn slurm(get: Get<'_>) -> Result<Said, String> {
    const ID: &str = "SLURM_ARRAY_TASK_ID";
    let [min, max, step, count] =
        ["SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_MAX", "SLURM_ARRAY_TASK_STEP", "SLURM_ARRAY_TASK_COUNT"];
    let Some(id) = number(get, ID)? else { return Ok(None) };
    if let Some(shards) = number(get, SHARDS)? {
        let of = total(SHARDS, shards)?;
        let last = number(get, max)?.unwrap_or(id);
        if id == 0 || id > of || last > of {
            let (name, value) = if id == 0 || id > of { (ID, id) } else { (max, last) };
            return Err(format!("`{name}` is {value}; with `{SHARDS}` = {of} the array is 1-{of}, or a part of it"));
        }
        return Ok(Some((Which { index: id, count: of }, ID)));
    }
    let (least, most, of) = (needed(get, min, ID)?, needed(get, max, ID)?, needed(get, count, ID)?);
    let by = number(get, step)?.unwrap_or(1).max(1);
    let of = total(count, of)?;
    if !(least..=most).contains(&id) {
        return Err(format!("`{ID}` is {id}, and not from `{min}` = {least} to `{max}` = {most}"));
    }
    // A list such as --array=1,3,7 has no step: which of them is the third cannot be known here.
    if (most - least) / by != of - 1 || !(id - least).is_multiple_of(by) {
        return Err(format!(
            "`{count}` is {of}, which is not {least}-{most} in steps of {by}: a list of tasks needs `{SHARDS}`"
        ));
    }
    Ok(Some((Which { index: (id - least) / by + 1, count: of }, ID)))
}

fn kubernetes(get: Get<'_>) -> Result<Said, String> {
    const INDEX: &str = "JOB_COMPLETION_INDEX";
    if number(get, INDEX)?.is_none() { Ok(None) } else { pair(get, [INDEX, SHARDS], 0) }
}

#[cfg(test)]
mod tests {
    use super::read;

    fn of(set: &[(&str, &str)]) -> Result<String, String> {
        let get = |name: &str| set.iter().find(|(have, _)| *have == name).map(|(_, value)| (*value).to_owned());
        read(&get).map(|which| which.to_string())
    }

    #[test]
    fn every_system_has_its_variables() {
        let slurm = |id, min, max, step, count| {
            of(&[
                ("SLURM_ARRAY_TASK_ID", id),
                ("SLURM_ARRAY_TASK_MIN", min),
                ("SLURM_ARRAY_TASK_MAX", max),
                ("SLURM_ARRAY_TASK_STEP", step),
                ("SLURM_ARRAY_TASK_COUNT", count),
            ])
        };
        let is = |told: Result<String, String>, which: &str| assert_eq!(told, Ok(which.to_owned()));
        is(of(&[("KBUILD_REPRO_SHARD", "3/4")]), "3/4");
        is(of(&[("CI_NODE_INDEX", "3"), ("CI_NODE_TOTAL", "4")]), "3/4");
        is(of(&[("BUILDKITE_PARALLEL_JOB", "0"), ("BUILDKITE_PARALLEL_JOB_COUNT", "4")]), "1/4");
        is(of(&[("CIRCLE_NODE_INDEX", "3"), ("CIRCLE_NODE_TOTAL", "4")]), "4/4");
        is(of(&[("JOB_COMPLETION_INDEX", "2"), ("KBUILD_REPRO_SHARDS", "4")]), "3/4");
        is(slurm("3", "1", "4", "1", "4"), "3/4");
        is(slurm("0", "0", "3", "", "4"), "1/4");
        is(slurm("20", "10", "40", "10", "4"), "2/4");
        is(of(&[("SLURM_ARRAY_TASK_ID", "3"), ("KBUILD_REPRO_SHARDS", "4")]), "3/4");
        // A job that is not divided, inside one that is.
        is(of(&[("CI_NODE_TOTAL", "1"), ("KBUILD_REPRO_SHARD", "2/4")]), "2/4");
        is(of(&[("CIRCLE_NODE_INDEX", "0"), ("CIRCLE_NODE_TOTAL", "1"), ("KBUILD_REPRO_SHARD", "2/4")]), "2/4");
        is(of(&[("CIRCLE_NODE_INDEX", "0"), ("CIRCLE_NODE_TOTAL", "1")]), "1/1");
        is(of(&[("CI_NODE_INDEX", "2"), ("CI_NODE_TOTAL", "4"), ("KBUILD_REPRO_SHARD", "2/4")]), "2/4");
    }

    #[test]
    fn what_is_wrong_or_contradicts_itself_is_told_by_its_variable() {
        let says = |set: &[(&str, &str)], words: &[&str]| {
            let told = of(set).expect_err("no shard");
            assert!(words.iter().all(|word| told.contains(word)), "{told}");
        };
        says(&[], &["no variable says"]);
        says(&[("CI_NODE_TOTAL", "1")], &["no variable says"]);
        says(&[("KBUILD_REPRO_SHARD", "5/4")], &["`KBUILD_REPRO_SHARD` is `5/4`", "no part 5 of 4"]);
        says(&[("CI_NODE_INDEX", "0"), ("CI_NODE_TOTAL", "4")], &["`CI_NODE_INDEX` is 0", "counts from 1"]);
        says(&[("CI_NODE_INDEX", "x"), ("CI_NODE_TOTAL", "4")], &["`CI_NODE_INDEX` is `x`", "no whole number"]);
        says(&[("CI_NODE_INDEX", "1")], &["`CI_NODE_TOTAL` is not"]);
        says(&[("CI_NODE_TOTAL", "4")], &["`CI_NODE_INDEX` is not"]);
        says(&[("CI_NODE_INDEX", "1"), ("CI_NODE_TOTAL", "0")], &["`CI_NODE_TOTAL` is 0"]);
        says(
            &[("BUILDKITE_PARALLEL_JOB", "4"), ("BUILDKITE_PARALLEL_JOB_COUNT", "4")],
            &["`BUILDKITE_PARALLEL_JOB` is 4", "counts from 0"],
        );
        says(&[("JOB_COMPLETION_INDEX", "1")], &["`KBUILD_REPRO_SHARDS` is not"]);
        says(&[("JOB_COMPLETION_INDEX", "4"), ("KBUILD_REPRO_SHARDS", "4")], &["`JOB_COMPLETION_INDEX` is 4"]);
        says(&[("SLURM_ARRAY_TASK_ID", "3")], &["`SLURM_ARRAY_TASK_MIN` is not"]);
        says(&[("SLURM_ARRAY_TASK_ID", "0"), ("KBUILD_REPRO_SHARDS", "4")], &["`SLURM_ARRAY_TASK_ID` is 0", "1-4"]);
        says(
            &[("SLURM_ARRAY_TASK_ID", "1"), ("SLURM_ARRAY_TASK_MAX", "8"), ("KBUILD_REPRO_SHARDS", "4")],
            &["`SLURM_ARRAY_TASK_MAX` is 8"],
        );
        let list = [
            ("SLURM_ARRAY_TASK_ID", "7"),
            ("SLURM_ARRAY_TASK_MIN", "1"),
            ("SLURM_ARRAY_TASK_MAX", "7"),
            ("SLURM_ARRAY_TASK_STEP", "1"),
            ("SLURM_ARRAY_TASK_COUNT", "3"),
        ];
        says(&list, &["`SLURM_ARRAY_TASK_COUNT` is 3", "KBUILD_REPRO_SHARDS"]);
        says(
            &[("CI_NODE_INDEX", "1"), ("CI_NODE_TOTAL", "4"), ("KBUILD_REPRO_SHARD", "2/4")],
            &["`KBUILD_REPRO_SHARD` says 2/4", "`CI_NODE_INDEX` says 1/4"],
        );
    }
}
