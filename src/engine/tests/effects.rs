//! By what a restart is judged, how long it counts as open, and for how long it is known.

use super::judgement::{RULES, container, world};
use super::*;

#[test]
fn a_limit_that_is_no_number_leaves_rows_that_read() {
    for limit in ["NaN", "+Inf"] {
        let page = container("acme", 95, -9000).replace(" 100\n", &format!(" {limit}\n"));
        let mut world = world();
        (0..30).for_each(|_| drop(world.slot(Some(&page))));
        let rows = latest(&world.rows);
        assert!(rows.iter().any(|row| row.key == "usage/acme/app"), "{limit}");
        let again = World::recovered(setup(RULES, acting()), rows, world.second + 5);
        assert_eq!(again.engine.counters.rows_unreadable, 0, "{limit}");
    }
}
