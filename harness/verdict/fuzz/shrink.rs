//! Delta debugging: what is left when everything is taken away that a failure does not need.

use crate::scenario::{Change, Edit, Interrupt, Moment, True};

/// Tries several lists of items: which of them, if one, still shows it.
pub type Try<'t, T, E> = dyn FnMut(&[Vec<T>]) -> Result<Option<usize>, E> + 't;

/// The fewest items, in their order, with which something still shows. `test` is given several trials at once and says which of
/// them shows it, if one does. That all of `items` show it is taken for granted.
///
/// As ddmin (Zeller, Hildebrandt: Simplifying and Isolating Failure-Inducing Input): halves, then smaller parts, each alone and
/// all but each, until no single item can be left out.
///
/// # Errors
/// What `test` answers.
pub fn minimise<T: Clone, E>(mut items: Vec<T>, test: &mut Try<'_, T, E>) -> Result<Vec<T>, E> {
    let mut parts = 2;
    while items.len() > 1 {
        parts = parts.min(items.len());
        let size = items.len().div_ceil(parts);
        let alone: Vec<Vec<T>> = items.chunks(size).map(<[T]>::to_vec).collect();
        let count = alone.len();
        let without = |part: usize| -> Vec<T> {
            let others = items.chunks(size).enumerate().filter(|(at, _)| *at != part);
            others.flat_map(|(_, items)| items.to_vec()).collect()
        };
        let mut trials = alone.clone();
        // Of two halves each is what is left without the other.
        if count > 2 {
            trials.extend((0..count).map(without));
        }
        match test(&trials)? {
            Some(at) if at < count => (items, parts) = (trials.swap_remove(at), 2),
            Some(at) if at < trials.len() => (items, parts) = (trials.swap_remove(at), (count - 1).max(2)),
            _ if size == 1 => break,
            _ => parts *= 2,
        }
    }
    Ok(items)
}

/// What an edit can be made, in the order of what is liked best.
#[must_use]
pub fn simpler(edit: &Edit) -> Vec<Edit> {
    let mut simpler = Vec::new();
    let alone = |change: Change| Edit { change, also: Vec::new(), ..edit.clone() };
    let file = edit.change.file.clone().filter(|_| !edit.change.is_object() && edit.change.touch.is_none());
    if let Some(file) = file {
        simpler.push(alone(Change { file: Some(file), touch: Some(True), ..Change::default() }));
    }
    if let Some(interrupt) = &edit.interrupt {
        let forms = std::iter::once(None).chain(plainer(interrupt).into_iter().map(Some));
        simpler.extend(forms.map(|interrupt| Edit { interrupt, ..edit.clone() }));
    }
    let changes: Vec<&Change> = edit.changes_of().collect();
    if changes.len() > 1 {
        for left_out in 0..changes.len() {
            let mut kept =
                changes.iter().enumerate().filter(|(at, _)| *at != left_out).map(|(_, change)| (*change).clone());
            let first = kept.next().unwrap_or_default();
            simpler.push(Edit { change: first, also: kept.collect(), ..edit.clone() });
        }
    }
    simpler
}

/// An interruption at the same step of which the same comes each time: everything is killed after it, or before it. After a signal to
/// some processes, or one that is handled, the others go on for a while.
fn plainer(interrupt: &Interrupt) -> Vec<Interrupt> {
    if interrupt.fault.is_some() || interrupt.memory.is_some() {
        return Vec::new();
    }
    let plain = |when| {
        let Interrupt { step, nth, .. } = interrupt.clone();
        Interrupt { step, nth, when, ..Interrupt::default() }
    };
    let forms = [plain(Some(Moment::After)), plain(None)];
    let better = forms.iter().position(|form| form == interrupt).unwrap_or(forms.len());
    let first = interrupt.nth.map(|_| Interrupt { nth: None, ..interrupt.clone() });
    forms.into_iter().take(better).chain(first).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Signal, Whom};

    /// Minimises the numbers below `all`; gives what is left and how many trials it took.
    fn left(all: usize, shows: &dyn Fn(&[usize]) -> bool) -> (Vec<usize>, usize) {
        let mut trials = 0;
        let left = minimise((0..all).collect(), &mut |given: &[Vec<usize>]| {
            trials += given.len();
            Ok::<_, ()>(given.iter().position(|items| shows(items)))
        });
        (left.expect("no error"), trials)
    }

    #[test]
    fn what_is_needed_is_left_and_nothing_else() {
        for all in 1..20 {
            for a in 0..all {
                for b in a..all {
                    let (left, _) = left(all, &|items| items.contains(&a) && items.contains(&b));
                    assert_eq!(left, if a == b { vec![a] } else { vec![a, b] }, "{all}");
                }
            }
        }
    }

    #[test]
    fn one_of_many_takes_few_trials_and_what_needs_all_keeps_all() {
        let (one, trials) = left(64, &|items| items.contains(&40));
        assert_eq!((one, trials), (vec![40], 12));
        assert_eq!(left(5, &|items| items.len() == 5).0.len(), 5);
    }

    #[test]
    fn an_error_ends_it() {
        assert_eq!(minimise(vec![1, 2, 3], &mut |_: &[Vec<i32>]| Err::<Option<usize>, _>("no time")), Err("no time"));
    }

    #[test]
    fn a_change_becomes_a_touch_and_several_become_fewer() {
        let file = |name: &str| Change { file: Some(name.into()), append: Some("x".into()), ..Change::default() };
        let edit = Edit { change: file("a"), also: vec![file("b")], ..Edit::default() };
        let touch = Change { file: Some("a".into()), touch: Some(True), ..Change::default() };
        let left = |change: Change| Edit { change, ..Edit::default() };
        assert_eq!(simpler(&edit), [left(touch), left(file("b")), left(file("a"))]);
        assert!(simpler(&left(Change { undo: Some("a".into()), ..Change::default() })).is_empty());
    }

    #[test]
    fn an_interruption_goes_or_becomes_one_that_does_the_same_each_time() {
        let at = |when, signal, to, nth| {
            let interrupt = Interrupt { step: "*.ko".into(), nth, when, signal, to, ..Interrupt::default() };
            Edit { interrupt: Some(interrupt), ..Edit::default() }
        };
        let none = Edit::default();
        let (after, before) = (at(Some(Moment::After), None, None, Some(2)), at(None, None, None, Some(2)));
        let loose = at(None, Some(Signal::Int), Some(Whom::Make), Some(2));
        let first = at(None, Some(Signal::Int), Some(Whom::Make), None);
        assert_eq!(simpler(&loose), [none.clone(), after.clone(), before.clone(), first]);
        assert_eq!(simpler(&before), [none.clone(), after.clone(), at(None, None, None, None)]);
        assert_eq!(simpler(&at(Some(Moment::After), None, None, None)), [none]);
    }
}
