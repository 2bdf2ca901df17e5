//! The plan catalogue: names, order and limits, as the Control Plane sells them.
//!
//! Names are free (`free`, `trial`, `starter` …), because every installation has its own; only the
//! order says which plan is bigger.

use crate::base::Labels;

const MIB: u64 = 1024 * 1024;
const GIB: u64 = 1024 * MIB;

/// Whether what a plan promises is what a container of this role gets: the application, and what has
/// no role. Databases and workers have limits of their own.
pub fn plan_binds(role: &str) -> bool {
    ["app", ""].contains(&role)
}

/// One plan: what its containers get.
#[derive(Clone, PartialEq, Debug)]
pub struct Plan {
    /// Its name, as the label `plan` carries it.
    pub name: String,
    /// Place in the ladder; a nudge goes to the next higher one.
    pub order: u32,
    /// Hard memory limit, bytes.
    pub mem_limit_bytes: u64,
    /// Memory reservation, bytes.
    pub mem_soft_bytes: u64,
    /// CPU limit, cores.
    pub cpu_limit_cores: f64,
}

/// What is wrong with a catalogue.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// The plan at fault; of two, the one that was said later or is the bigger.
    pub plan: String,
    /// What is wrong, for people.
    pub why: String,
}

/// The plans, from small to big.
#[derive(Clone, PartialEq, Debug)]
pub struct Plans(Vec<Plan>);

impl Plans {
    /// A catalogue, or everything that is wrong with it.
    pub fn new(mut plans: Vec<Plan>) -> Result<Plans, Vec<Fault>> {
        plans.sort_by(|a, b| a.order.cmp(&b.order).then_with(|| a.name.cmp(&b.name)));
        let mut problems = Plans::faults(&plans);
        if problems.is_empty() {
            problems.extend(plans.windows(2).filter_map(|pair| shrinks(&pair[0], &pair[1])));
        }
        if problems.is_empty() { Ok(Plans(plans)) } else { Err(problems) }
    }

    /// What is wrong with each of these plans, and with two of them at once, whatever their limits.
    pub fn faults(plans: &[Plan]) -> Vec<Fault> {
        let mut problems: Vec<Fault> = plans.iter().filter_map(problem).collect();
        for (index, plan) in plans.iter().enumerate() {
            for other in &plans[..index] {
                if plan.name == other.name {
                    problems.push(plan.fault(format!("plan `{}` is there twice", plan.name)));
                } else if plan.order == other.order {
                    let (one, two, order) = (&other.name, &plan.name, plan.order);
                    let why = format!("plans `{one}` and `{two}` both have order {order}");
                    problems.push(plan.fault(why));
                }
            }
        }
        problems
    }

    /// The plan of that name.
    pub fn get(&self, name: &str) -> Option<&Plan> {
        self.0.iter().find(|plan| plan.name == name)
    }

    /// The next bigger plan.
    pub fn next(&self, name: &str) -> Option<&Plan> {
        self.above(name).next()
    }

    /// The bigger plans, the smallest first.
    pub fn above(&self, name: &str) -> impl Iterator<Item = &Plan> {
        let order = self.get(name).map_or(u32::MAX, |plan| plan.order);
        self.0.iter().filter(move |plan| plan.order > order)
    }

    /// The plans, from small to big.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Plan> {
        self.0.iter()
    }

    /// `plimsoll_plan_*{plan}`: limits as series, so that rules find drift by joining on them.
    pub fn series(&self) -> Vec<(Labels, f64)> {
        let of = |plan: &Plan| {
            let labels = [("plan", plan.name.as_str())];
            [
                super::series("plimsoll_plan_mem_limit_bytes", labels, plan.mem_limit_bytes as f64),
                super::series("plimsoll_plan_mem_soft_bytes", labels, plan.mem_soft_bytes as f64),
                super::series("plimsoll_plan_cpu_limit_cores", labels, plan.cpu_limit_cores),
            ]
        };
        self.0.iter().flat_map(of).collect()
    }
}

/// Free, Pro and Enterprise as the resource plan has them (document A §2.4), Free at its recommended
/// minimum of 1 GiB.
impl Default for Plans {
    fn default() -> Plans {
        let plan = |name: &str, order, mem_limit_bytes, cpu_limit_cores| Plan {
            name: name.to_owned(),
            order,
            mem_limit_bytes,
            // The document's soft limit is half the hard one, in every plan.
            mem_soft_bytes: mem_limit_bytes / 2,
            cpu_limit_cores,
        };
        Plans(vec![
            plan("free", 1, GIB, 0.5),
            plan("pro", 2, 2 * GIB, 1.5),
            plan("enterprise", 3, 8 * GIB, 4.0),
        ])
    }
}

impl Plan {
    fn fault(&self, why: String) -> Fault {
        Fault { plan: self.name.clone(), why }
    }
}

fn problem(plan: &Plan) -> Option<Fault> {
    let (name, cores) = (&plan.name, plan.cpu_limit_cores);
    let why = if name.is_empty() {
        "a plan needs a name".to_owned()
    } else if plan.mem_limit_bytes == 0 {
        format!("plan `{name}`: mem_limit must be above 0")
    } else if plan.mem_soft_bytes > plan.mem_limit_bytes {
        format!("plan `{name}`: mem_soft is above mem_limit")
    } else if !cores.is_finite() || cores <= 0.0 {
        format!("plan `{name}`: cpu_limit must be above 0 cores")
    } else {
        return None;
    };
    Some(plan.fault(why))
}

/// Whoever climbs the ladder must lose nothing.
fn shrinks(smaller: &Plan, bigger: &Plan) -> Option<Fault> {
    let what = if bigger.mem_limit_bytes < smaller.mem_limit_bytes {
        "mem_limit"
    } else if bigger.cpu_limit_cores < smaller.cpu_limit_cores {
        "cpu_limit"
    } else {
        return None;
    };
    let (one, two) = (&smaller.name, &bigger.name);
    let (below, above) = (smaller.order, bigger.order);
    Some(bigger.fault(format!(
        "plan `{two}` (order {above}) has a lower {what} than `{one}` (order {below}): a plan with \
         a higher order is a bigger one"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_the_documents_table() {
        let plans = Plans::default();
        let got: Vec<_> = plans
            .iter()
            .map(|p| (p.name.as_str(), p.mem_limit_bytes, p.mem_soft_bytes, p.cpu_limit_cores))
            .collect();
        assert_eq!(
            got,
            [
                ("free", 1_073_741_824, 536_870_912, 0.5),
                ("pro", 2_147_483_648, 1_073_741_824, 1.5),
                ("enterprise", 8_589_934_592, 4_294_967_296, 4.0),
            ]
        );
        assert_eq!(plans.next("free").map(|p| p.name.as_str()), Some("pro"));
        assert_eq!(plans.next("pro").map(|p| p.name.as_str()), Some("enterprise"));
        assert_eq!(plans.next("enterprise"), None);
        assert_eq!(plans.next("unknown"), None);
        let series = plans.series();
        assert_eq!(series.len(), 9);
        assert_eq!(series[2].0.to_string(), "plimsoll_plan_cpu_limit_cores{plan=\"free\"}");
        assert_eq!(Plans::new(plans.iter().rev().cloned().collect()), Ok(plans), "sorted by order");
    }

    #[test]
    fn a_bigger_plan_is_of_a_higher_order_and_has_no_lower_limit() {
        let plan = |name: &str, order, mem_limit_bytes, cpu_limit_cores| Plan {
            name: name.to_owned(),
            order,
            mem_limit_bytes,
            mem_soft_bytes: 0,
            cpu_limit_cores,
        };
        let refused = |plans: Vec<Plan>| {
            let faults = Plans::new(plans).err().unwrap_or_default();
            faults.into_iter().map(|fault| fault.why).collect::<Vec<_>>().join("; ")
        };
        let free = || plan("free", 1, GIB, 0.5);
        assert_eq!(refused(vec![plan("pro", 2, GIB, 0.5), free()]), "", "as much is enough");
        let plans =
            Plans::new(vec![plan("max", 90, 8 * GIB, 4.0), free(), plan("pro", 7, GIB, 1.0)]);
        let plans = plans.expect("an order may have gaps");
        let next = |name| plans.next(name).map(|plan| plan.name.as_str());
        assert_eq!((next("free"), next("pro"), next("max")), (Some("pro"), Some("max"), None));
        for (pro, what) in [((2 * GIB, 0.25), "cpu_limit"), ((GIB / 2, 1.0), "mem_limit")] {
            let said = refused(vec![free(), plan("pro", 2, pro.0, pro.1)]);
            let want = format!("plan `pro` (order 2) has a lower {what} than `free` (order 1)");
            assert!(said.starts_with(&want), "{said}");
        }
    }

    #[test]
    fn every_problem_is_told() {
        let plan = |name: &str, order, limit, soft, cores| Plan {
            name: name.to_owned(),
            order,
            mem_limit_bytes: limit,
            mem_soft_bytes: soft,
            cpu_limit_cores: cores,
        };
        let problems = Plans::new(vec![
            plan("", 0, 1, 1, 1.0),
            plan("a", 1, 0, 0, 1.0),
            plan("b", 1, 1, 2, 1.0),
            plan("c", 2, 1, 1, 0.0),
            plan("c", 3, 1, 1, f64::NAN),
        ])
        .expect_err("nothing is right here");
        let problems: Vec<String> = problems.into_iter().map(|fault| fault.why).collect();
        for word in ["name", "mem_limit", "mem_soft", "both have order 1", "`c` is there twice"] {
            assert!(problems.iter().any(|p| p.contains(word)), "{word}: {problems:?}");
        }
        assert_eq!(problems.iter().filter(|p| p.contains("cpu_limit")).count(), 2);
    }
}
