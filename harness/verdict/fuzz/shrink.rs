//! Delta debugging: what is left when everything is taken away that a failure does not need.

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

#[cfg(test)]
mod tests {
    use super::*;

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
}
