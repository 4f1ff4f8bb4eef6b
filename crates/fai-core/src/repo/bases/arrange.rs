//! Which file of a family should stand on which: as far as it goes a star around the one that serves the others best.
//! What the costs are is measured elsewhere.

use crate::storage::MAX_CHAIN;

/// A longer chain must save this part of what the file takes: one twentieth.
const CHAIN_SAVES: u64 = 20;

/// A base must save this part of what the file takes alone.
const BASE_SAVES: u64 = 32;

/// What files take, in bytes.
#[derive(Debug, Default)]
pub(super) struct Costs {
    /// Each by itself.
    pub alone: Vec<u64>,
    /// `against[file][base]`; files that were not tried as a base have none.
    pub against: Vec<Vec<Option<u64>>>,
}

/// A file and what it should stand on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub file: usize,
    pub base: Option<usize>,
    /// Files below it.
    pub depth: usize,
}

impl Costs {
    fn alone(&self, file: usize) -> u64 {
        self.alone.get(file).copied().unwrap_or(0)
    }

    fn on(&self, file: usize, base: usize) -> Option<u64> {
        self.against.get(file)?.get(base).copied().flatten()
    }

    /// With the base, if it is of any use.
    fn useful(&self, file: usize, base: usize) -> Option<u64> {
        let alone = self.alone(file);
        self.on(file, base).filter(|cost| *cost < alone - alone / BASE_SAVES)
    }

    /// What `left` take when they stand on one of them or alone.
    fn star(&self, centre: usize, left: &[usize]) -> u64 {
        let others = left.iter().filter(|file| **file != centre);
        let cost = |file: &usize| self.useful(*file, centre).unwrap_or(self.alone(*file));
        self.alone(centre) + others.map(cost).sum::<u64>()
    }
}

/// An order in which every file comes after the one that it stands on, and no chain is longer than [`MAX_CHAIN`].
pub(super) fn arrange(costs: &Costs) -> Vec<Place> {
    let mut left: Vec<usize> = (0..costs.alone.len()).collect();
    let mut placed = Vec::new();
    while let Some(centre) = left.iter().copied().min_by_key(|file| costs.star(*file, &left)) {
        let all = left.iter().map(|file| costs.alone(*file)).sum::<u64>();
        if costs.star(centre, &left) == all {
            let single = |file: usize| Place {
                file,
                base: None,
                depth: 0,
            };
            placed.extend(left.drain(..).map(single));
            break;
        }
        left.retain(|file| *file != centre);
        left.sort_by_key(|file| costs.on(*file, centre).unwrap_or(u64::MAX));
        let mut star = vec![Place {
            file: centre,
            base: None,
            depth: 0,
        }];
        // The closest first: what is far from the centre may be close to one of those.
        while let Some((at, place)) = left
            .iter()
            .enumerate()
            .find_map(|(at, file)| Some((at, place(costs, *file, centre, &star)?)))
        {
            left.remove(at);
            star.push(place);
        }
        placed.extend(star);
    }
    placed
}

/// The place of a file among those that are placed, if one of them is of use to it.
fn place(costs: &Costs, file: usize, centre: usize, star: &[Place]) -> Option<Place> {
    let at_centre = costs.useful(file, centre);
    let others = star.iter().filter(|place| (1..MAX_CHAIN).contains(&place.depth));
    let others = others.filter_map(|place| Some((costs.useful(file, place.file)?, place)));
    let best = others.min_by_key(|(cost, _)| *cost);
    let (base, depth) = match (at_centre, best) {
        (Some(near), Some((cost, place))) if cost < near - near / CHAIN_SAVES => (place.file, place.depth + 1),
        (Some(_), _) => (centre, 1),
        (None, Some((_, place))) => (place.file, place.depth + 1),
        (None, None) => return None,
    };
    Some(Place {
        file,
        base: Some(base),
        depth,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files at points of a line, where close files take little against each other.
    fn line(points: &[u64]) -> Costs {
        let distance = |a: &u64, b: &u64| Some((10 * a.abs_diff(*b)).min(1000));
        Costs {
            alone: vec![1000; points.len()],
            against: points
                .iter()
                .map(|a| points.iter().map(|b| distance(a, b)).collect())
                .collect(),
        }
    }

    fn base_of(places: &[Place], file: usize) -> Option<usize> {
        places.iter().find(|place| place.file == file).unwrap().base
    }

    #[test]
    fn the_one_in_the_middle_stands_alone_and_all_others_on_it() {
        // Four directions from file 2: no two others are closer to each other than to it.
        let mut costs = line(&[0; 5]);
        for (file, row) in costs.against.iter_mut().enumerate() {
            for (base, cost) in row.iter_mut().enumerate() {
                *cost = Some(if file == 2 || base == 2 { 100 } else { 190 });
            }
        }
        let places = arrange(&costs);
        assert_eq!(places[0].file, 2);
        for file in [0, 1, 3, 4] {
            assert_eq!(base_of(&places, file), Some(2));
        }
    }

    #[test]
    fn what_is_far_stands_on_what_is_between_and_chains_have_an_end() {
        let points: Vec<u64> = (0..12).map(|step| 20 * step).collect();
        let places = arrange(&line(&points));
        assert!(places.iter().any(|place| place.depth == 2), "{places:?}");
        for (at, place) in places.iter().enumerate() {
            assert!(place.depth <= MAX_CHAIN);
            let before = |base| places[..at].iter().any(|other| other.file == base);
            assert!(place.base.is_none_or(before), "{places:?}");
        }
    }

    #[test]
    fn strangers_stand_alone_and_two_families_have_a_centre_each() {
        assert!(arrange(&line(&[0, 500, 1000])).iter().all(|place| place.base.is_none()));
        let places = arrange(&line(&[0, 3, 6, 900, 903, 906]));
        assert_eq!(places.iter().filter(|place| place.base.is_none()).count(), 2);
        assert_eq!((base_of(&places, 0), base_of(&places, 2)), (Some(1), Some(1)));
        assert_eq!((base_of(&places, 3), base_of(&places, 5)), (Some(4), Some(4)));
    }

    #[test]
    fn a_slightly_closer_base_is_not_worth_a_longer_chain() {
        let mut costs = line(&[0; 3]);
        costs.against = vec![
            vec![None, Some(300), Some(300)],
            vec![Some(300), None, Some(290)],
            vec![Some(300), Some(290), None],
        ];
        let places = arrange(&costs);
        assert!(places.iter().all(|place| place.depth <= 1), "{places:?}");
        assert!(arrange(&Costs::default()).is_empty());
    }
}
