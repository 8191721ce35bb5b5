//! Which shard runs which scenario: a pure function of their ids and of how long they took.

use std::cmp::Reverse;

use crate::artifact::Digest;
use crate::trace::splitmix::splitmix64;

/// The shard, from 1, of each scenario.
///
/// Without any past duration a scenario goes to the shard that its hash prefers most among those that have room: rendezvous
/// hashing with bounded loads (Mirrokni, Thorup, Zadimoghaddam, "Consistent Hashing with Bounded Loads", 2016). No shard has
/// more than one scenario more than another, so that none is empty where there are enough, and a scenario that is added or taken
/// away moves few of the others; dealing them out by turns, which is as even, would move about all of them.
///
/// With durations the longest goes first to the shard that has the least so far (Graham, "Bounds on Multiprocessing Timing
/// Anomalies", 1969: at most 4/3 of the best there is); the order of those that take equally long is that of their hashes. What
/// has no duration is taken for the median.
pub(super) fn divide(ids: &[&str], millis: &dyn Fn(&str) -> Option<u64>, count: u32) -> Vec<u32> {
    let known: Vec<Option<u64>> = ids.iter().map(|id| millis(id)).collect();
    let mut sorted: Vec<u64> = known.iter().copied().flatten().collect();
    sorted.sort_unstable();
    let median = sorted.get(sorted.len().saturating_sub(1) / 2).copied();
    // The names settle it between equal hashes.
    let mut order: Vec<(u64, usize)> = ids.iter().enumerate().map(|(at, id)| (hash(id), at)).collect();
    order.sort_by_key(|(hash, at)| (*hash, ids[*at]));
    let shards = match median {
        Some(median) => by_duration(&order, &|at| known[at].unwrap_or(median).max(1), count),
        None => by_hash(&order, count),
    };
    let mut of = vec![1; ids.len()];
    for (at, shard) in shards {
        of[at] = shard + 1;
    }
    of
}

fn hash(id: &str) -> u64 {
    let Digest(bytes) = Digest::of(id.as_bytes());
    u64::from_be_bytes(bytes[..8].try_into().unwrap_or_default())
}

fn by_hash(order: &[(u64, usize)], count: u32) -> Vec<(usize, u32)> {
    let shards = count as usize;
    let (room, mut more) = (order.len() / shards, order.len() % shards);
    let mut taken = vec![0; shards];
    let place = |(hash, at): &(u64, usize)| {
        let likes = |shard: &u32| splitmix64(hash ^ splitmix64(u64::from(*shard) + 1));
        let has_room = |shard: &u32| {
            let taken = taken[*shard as usize];
            taken < room || taken == room && more > 0
        };
        let shard = (0..count).filter(has_room).max_by_key(likes).unwrap_or(0);
        if taken[shard as usize] == room {
            more = more.saturating_sub(1);
        }
        taken[shard as usize] += 1;
        (*at, shard)
    };
    order.iter().map(place).collect()
}

fn by_duration(order: &[(u64, usize)], millis: &dyn Fn(usize) -> u64, count: u32) -> Vec<(usize, u32)> {
    let mut longest: Vec<usize> = order.iter().map(|(_, at)| *at).collect();
    longest.sort_by_key(|at| Reverse(millis(*at)));
    let mut loads = vec![0_u64; count as usize];
    let place = |at: usize| {
        let shard = (0..count).min_by_key(|shard| loads[*shard as usize]).unwrap_or(0);
        let load = &mut loads[shard as usize];
        *load = load.saturating_add(millis(at));
        (at, shard)
    };
    longest.into_iter().map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::divide;

    fn ids(count: usize) -> Vec<String> {
        (0..count).map(|n| format!("topic/scenario-{n}@6.{}", n % 7)).collect()
    }

    fn of(ids: &[String], count: u32) -> Vec<u32> {
        divide(&ids.iter().map(String::as_str).collect::<Vec<_>>(), &|_| None, count)
    }

    fn sizes(shards: &[u32], count: u32) -> Vec<usize> {
        (1..=count).map(|shard| shards.iter().filter(|it| **it == shard).count()).collect()
    }

    #[test]
    fn without_durations_no_shard_is_empty_or_has_two_more_than_another() {
        for total in [0, 1, 3, 4, 5, 17, 200] {
            for count in [1, 2, 3, 4, 5, 16] {
                let sizes = sizes(&of(&ids(total), count), count);
                let (least, most) = (sizes.iter().min().expect("one"), sizes.iter().max().expect("one"));
                assert!(most - least <= 1 && sizes.iter().sum::<usize>() == total, "{total} in {count}: {sizes:?}");
            }
        }
    }

    #[test]
    fn a_shard_is_the_same_whatever_the_order_of_the_scenarios() {
        let all = ids(50);
        let shards = of(&all, 4);
        let mut turned = all.clone();
        turned.reverse();
        let mut again = of(&turned, 4);
        again.reverse();
        assert_eq!(shards, again);
        assert_eq!(of(&["b".into(), "a".into(), "c".into()], 2).len(), 3);
    }

    #[test]
    fn a_scenario_more_moves_few_others() {
        let all = ids(200);
        let before = of(&all, 4);
        for more in 0..50 {
            let mut with = all.clone();
            with.push(format!("new/{more}"));
            let moved = before.iter().zip(of(&with, 4)).filter(|(a, b)| **a != *b).count();
            assert!(moved <= 20, "`new/{more}` moved {moved} of 200");
        }
    }

    #[test]
    fn with_durations_shards_take_equally_long_and_what_is_new_counts_as_the_median() {
        let all = ["long", "a", "b", "c", "d", "new"];
        let millis = |id: &str| match id {
            "long" => Some(45_000),
            "new" => None,
            _ => Some(10_000),
        };
        let shards = divide(&all, &millis, 2);
        // 45 s against five of 10 s.
        assert_eq!(shards.iter().filter(|shard| **shard == shards[0]).count(), 1, "{shards:?}");
        // What takes no time at all is no reason for an empty shard.
        let none = divide(&["a", "b", "c"], &|_| Some(0), 3);
        let mut sorted = none.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, [1, 2, 3], "{none:?}");
        let vast = divide(&["a", "b", "c"], &|_| Some(u64::MAX), 2);
        assert_eq!(vast.len(), 3);
    }
}
