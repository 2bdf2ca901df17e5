//! Random well-typed queries out of a stream of bytes, for whoever wants many: the comparison with
//! a real Prometheus, the round trip through the printer, the fuzz targets.
//!
//! The same bytes always give the same text, and when they run out the text soon ends. Nothing
//! here knows what a query yields.

pub mod series;

use plimsoll::promql::ast::ValueType;
use plimsoll::promql::functions::{FUNCTIONS, Function};

/// How much of the language is used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dialect {
    /// What Prometheus 2.42 reads too, over the metrics of [`NAMES`], with times and ranges whose
    /// ends never fall on a sample: samples stand at a quarter of a second, queries at a half.
    Shared,
    /// Everything 3.14 reads.
    Whole,
}

/// The metrics queries ask for.
pub const NAMES: [&str; 6] = ["c_total", "g", "h_bucket", "team", "odd", "sparse"];
/// The labels they may carry.
pub const LABELS: [&str; 6] = ["job", "inst", "zone", "le", "team", "nosuch"];

/// Functions that Prometheus 2.42 lacks, or that it takes native histograms for.
const SINCE_2_42: [&str; 7] = [
    "first_over_time",
    "histogram_avg",
    "histogram_count",
    "histogram_fraction",
    "histogram_stddev",
    "histogram_stdvar",
    "histogram_sum",
];

/// One query of the dialect.
pub fn query(bytes: &[u8], dialect: Dialect) -> String {
    let mut writer = Writer { bytes, dialect };
    let depth = 2 + writer.pick(3);
    match writer.pick(12) {
        0 => writer.scalar(depth),
        _ => writer.vector(depth),
    }
}

/// Bytes for a query, the same for the same seed (splitmix64).
pub fn bytes(seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)).to_le_bytes()
    };
    (0..48).flat_map(|_| next()).collect()
}

struct Writer<'b> {
    bytes: &'b [u8],
    dialect: Dialect,
}

impl Writer<'_> {
    /// A number below `count`; 0, the simplest choice, once the bytes have run out.
    fn pick(&mut self, count: usize) -> usize {
        let Some((first, rest)) = self.bytes.split_first() else { return 0 };
        self.bytes = rest;
        *first as usize % count
    }

    fn one_of<'t>(&mut self, texts: &[&'t str]) -> &'t str {
        texts[self.pick(texts.len())]
    }

    fn chance(&mut self, one_in: usize) -> bool {
        self.pick(one_in) == one_in - 1
    }

    fn whole(&self) -> bool {
        self.dialect == Dialect::Whole
    }

    fn vector(&mut self, depth: usize) -> String {
        if depth == 0 {
            return self.selector();
        }
        match self.pick(13) {
            0 | 1 => self.selector(),
            2..=5 => self.call(ValueType::Vector, depth),
            6 | 7 => self.aggregation(depth),
            8 | 9 => self.between_vectors(depth),
            10 => self.with_scalar(depth),
            11 => self.signed(depth - 1),
            _ => self.bracketed(depth - 1),
        }
    }

    /// Behind a sign, a selector also bare.
    fn signed(&mut self, depth: usize) -> String {
        let sign = self.one_of(&["-", "+", "-+", "+-"]);
        let operand = if self.chance(3) { self.selector() } else { self.bracketed(depth) };
        sign.to_owned() + &operand
    }

    fn bracketed(&mut self, depth: usize) -> String {
        format!("({})", self.vector(depth))
    }

    fn scalar(&mut self, depth: usize) -> String {
        if depth == 0 {
            return self.number().to_owned();
        }
        match self.pick(8) {
            0..=2 => self.number().to_owned(),
            3 => format!("scalar({})", self.vector(depth - 1)),
            4 => self.call(ValueType::Scalar, depth),
            5 => format!("{}({})", self.one_of(&["-", "+"]), self.scalar(depth - 1)),
            6 => {
                let op = self.one_of(&["==", "!=", ">", "<", ">=", "<="]);
                format!("({} {op} bool {})", self.scalar(depth - 1), self.scalar(depth - 1))
            }
            _ => {
                let op = self.one_of(&["+", "-", "*", "/", "%", "^", "atan2"]);
                format!("({} {op} {})", self.scalar(depth - 1), self.scalar(depth - 1))
            }
        }
    }

    fn number(&mut self) -> &'static str {
        let shared = [
            "1", "0", "2", "0.5", "-1", "3", "10", "100", "1.5e3", "0x1f", "NaN", "Inf", "-Inf",
            "0.95", "7",
        ];
        if self.whole() && self.chance(3) {
            return self.one_of(&["1_000", "5m", "0b11", "0o17", "1h30m", "1e-9", "+Inf", ".5"]);
        }
        self.one_of(&shared)
    }

    fn selector(&mut self) -> String {
        let (selector, modifiers) = (self.unmodified(), self.modifiers());
        selector + &modifiers
    }

    fn unmodified(&mut self) -> String {
        let name = self.one_of(&NAMES);
        let matchers: Vec<String> = (0..self.pick(3)).map(|_| self.matcher()).collect();
        if matchers.is_empty() {
            return name.to_owned();
        }
        let matchers = matchers.join(",");
        match self.pick(8) {
            6 => format!("{{__name__=\"{name}\",{matchers}}}"),
            7 if self.whole() => format!("{{\"{name}\",{matchers}}}"),
            _ => format!("{name}{{{matchers}}}"),
        }
    }

    fn matcher(&mut self) -> String {
        let label = self.one_of(&LABELS);
        let values = ["a", "b", "", "0", "1", "north", "+Inf", "2.5", "red"];
        let patterns =
            ["a|b", ".*", ".+", "[ab]", "", "0|1|", "n.*h", "(?i)A", "\\\\+Inf", "r(e)d"];
        match self.pick(4) {
            0 => format!("{label}=\"{}\"", self.one_of(&values)),
            1 => format!("{label}!=\"{}\"", self.one_of(&values)),
            2 => format!("{label}=~\"{}\"", self.one_of(&patterns)),
            _ => format!("{label}!~\"{}\"", self.one_of(&patterns)),
        }
    }

    /// Offset and `@`, in either order, mostly neither.
    fn modifiers(&mut self) -> String {
        let offset = match self.pick(8) {
            6 => format!(" offset {}", self.one_of(&["30s", "1m", "5m", "7m", "1h"])),
            7 => format!(" offset -{}", self.one_of(&["30s", "1m", "6m"])),
            _ => String::new(),
        };
        let at = match self.pick(10) {
            7 => " @ start()".to_owned(),
            8 => " @ end()".to_owned(),
            9 if self.whole() && self.chance(2) => {
                format!(" @ {}", self.one_of(&["100s", "1m40s", "-1m", "+250ms"]))
            }
            9 => format!(" @ {}", self.one_of(&["1600001000.5", "1600000003.75", "0", "-7.5"])),
            _ => String::new(),
        };
        if self.chance(2) { offset + &at } else { at + &offset }
    }

    fn range(&mut self) -> String {
        if self.whole() && self.chance(3) {
            return self.duration(2);
        }
        self.one_of(&["1m", "5m", "45s", "2m30s", "10m", "20m"]).to_owned()
    }

    /// Duration arithmetic of 3.14.
    fn duration(&mut self, depth: usize) -> String {
        if depth == 0 {
            return self.one_of(&["90", "1m", "0.5", "step()", "range()", "1h"]).to_owned();
        }
        match self.pick(4) {
            0 => self.one_of(&["300", "1m", "2.5", "step()"]).to_owned(),
            1 => {
                let op = self.one_of(&["+", "-", "*", "/", "%", "^"]);
                format!("({} {op} {})", self.duration(depth - 1), self.duration(depth - 1))
            }
            2 => {
                let pick = self.one_of(&["min_of", "max_of"]);
                format!("{pick}({}, {})", self.duration(depth - 1), self.duration(depth - 1))
            }
            _ => format!("-({})", self.duration(depth - 1)),
        }
    }

    fn matrix(&mut self, depth: usize) -> String {
        if depth == 0 || self.pick(3) < 2 {
            let (selector, range) = (self.unmodified(), self.range());
            return format!("{selector}[{range}]{}", self.modifiers());
        }
        let inner = self.bracketed(depth - 1);
        // Ranges that are no multiple of a step: 2.42 also counts the step at the very start.
        let range = self.one_of(&["1m1s13ms", "5m7s13ms", "30s13ms", "11m13ms"]);
        let step = self.one_of(&["", "15s", "1m", "7s", "40s"]);
        format!("{inner}[{range}:{step}]{}", self.modifiers())
    }

    fn call(&mut self, returns: ValueType, depth: usize) -> String {
        let dialect = self.dialect;
        let fits = |function: &&Function| {
            let shared = !function.experimental && !SINCE_2_42.contains(&function.name);
            function.returns == returns && (shared || dialect == Dialect::Whole)
        };
        let functions: Vec<&Function> = FUNCTIONS.iter().filter(fits).collect();
        let function = functions[self.pick(functions.len())];
        let arguments = match function.name {
            "absent" | "timestamp" => self.perhaps_selection(depth),
            "label_replace" => self.label_replace(depth),
            "label_join" => self.label_join(depth),
            "histogram_quantile" => {
                let vector = match self.pick(3) {
                    0 => "h_bucket".to_owned(),
                    1 => "rate(h_bucket[5m])".to_owned(),
                    _ => "sum by (le, job) (increase(h_bucket[10m]))".to_owned(),
                };
                format!("{}, {vector}", self.scalar(depth - 1))
            }
            "info" => format!("{}, {{team=~\".+\"}}", self.vector(depth - 1)),
            _ => {
                let most = function.most_args().unwrap_or(3).min(4);
                let fewest = function.fewest_args();
                let count = fewest + self.pick(most - fewest + 1);
                let arguments: Vec<String> =
                    (0..count).map(|at| self.argument(function, at, depth - 1)).collect();
                arguments.join(", ")
            }
        };
        format!("{}({arguments})", function.name)
    }

    /// For functions that ask whether their argument is a selector.
    fn perhaps_selection(&mut self, depth: usize) -> String {
        match self.pick(4) {
            0 => self.selector(),
            1 => format!("+{}", self.selector()),
            2 => format!("(+({}))", self.selector()),
            _ => self.vector(depth - 1),
        }
    }

    fn argument(&mut self, function: &Function, at: usize, depth: usize) -> String {
        match function.args[at.min(function.args.len() - 1)] {
            ValueType::Vector => self.vector(depth),
            ValueType::Matrix => self.matrix(depth),
            ValueType::Scalar => self.scalar(depth.min(1)),
            ValueType::String => format!("\"{}\"", self.one_of(&LABELS)),
        }
    }

    fn label_replace(&mut self, depth: usize) -> String {
        let (vector, to, from) =
            (self.vector(depth - 1), self.one_of(&LABELS), self.one_of(&LABELS));
        let replacement = self.one_of(&["$1", "x", "", "${1}y", "$$", "$1b"]);
        let pattern = self.one_of(&["(.*)", "(.+)", "a", "", "(a|b)", "n(or)th", ".*"]);
        format!("{vector}, \"{to}\", \"{replacement}\", \"{from}\", \"{pattern}\"")
    }

    fn label_join(&mut self, depth: usize) -> String {
        let (vector, to) = (self.vector(depth - 1), self.one_of(&LABELS));
        let (a, b) = (self.one_of(&LABELS), self.one_of(&LABELS));
        let separator = self.one_of(&["-", "", "/"]);
        format!("{vector}, \"{to}\", \"{separator}\", \"{a}\", \"{b}\"")
    }

    fn labels(&mut self) -> String {
        let labels: Vec<&str> = (0..self.pick(4)).map(|_| self.one_of(&LABELS)).collect();
        labels.join(", ")
    }

    fn aggregation(&mut self, depth: usize) -> String {
        let mut names = vec![
            "sum",
            "avg",
            "min",
            "max",
            "count",
            "group",
            "stddev",
            "stdvar",
            "topk",
            "bottomk",
            "quantile",
            "count_values",
        ];
        if self.whole() {
            names.extend(["limitk", "limit_ratio", "SUM"]);
        }
        let name = self.one_of(&names);
        let inner = self.vector(depth - 1);
        let parameter = match name {
            "topk" | "bottomk" | "limitk" | "quantile" | "limit_ratio" => {
                format!("{}, ", self.scalar(1))
            }
            "count_values" => format!("\"{}\", ", self.one_of(&LABELS)),
            _ => String::new(),
        };
        let grouping = match self.pick(3) {
            0 => String::new(),
            1 => format!(" by ({})", self.labels()),
            _ => format!(" without ({})", self.labels()),
        };
        if self.chance(2) {
            format!("{name}{grouping} ({parameter}{inner})")
        } else {
            format!("{name}({parameter}{inner}){grouping}")
        }
    }

    fn with_scalar(&mut self, depth: usize) -> String {
        let op = self.operator();
        let (vector, scalar) = (self.bracketed(depth - 1), self.scalar(1));
        if self.chance(2) {
            format!("{vector} {op} {scalar}")
        } else {
            format!("{scalar} {op} {vector}")
        }
    }

    /// Arithmetic or comparison.
    fn operator(&mut self) -> String {
        let ops = ["+", "-", "*", "/", "%", "^", "atan2", "==", "!=", ">", "<", ">=", "<="];
        let at = self.pick(ops.len());
        let bool = if at >= 7 && self.chance(3) { " bool" } else { "" };
        format!("{}{bool}", ops[at])
    }

    fn between_vectors(&mut self, depth: usize) -> String {
        let (lhs, rhs) = (self.operand(depth - 1), self.operand(depth - 1));
        let matching = match self.pick(3) {
            0 => String::new(),
            1 => format!(" on ({})", self.labels()),
            _ => format!(" ignoring ({})", self.labels()),
        };
        if self.chance(3) {
            let op = self.one_of(&["and", "or", "unless"]);
            return format!("{lhs} {op}{matching} {rhs}");
        }
        let op = self.operator();
        let group = match (matching.is_empty(), self.pick(4)) {
            (false, 2) => format!(" group_left ({})", self.included(&matching)),
            (false, 3) => format!(" group_right ({})", self.included(&matching)),
            _ => String::new(),
        };
        let fill = match self.pick(5) {
            3 if self.whole() => " fill (0)",
            4 if self.whole() => " fill_left (1) fill_right (-1)",
            _ => "",
        };
        format!("{lhs} {op}{matching}{group}{fill} {rhs}")
    }

    /// A label for `group_x` that `on` does not name.
    fn included(&mut self, matching: &str) -> &'static str {
        let label = self.one_of(&["", "team", "zone"]);
        let named = matching.starts_with(" on") && matching.contains(label);
        if named { "" } else { label }
    }

    /// Operands that have a chance to match one another.
    fn operand(&mut self, depth: usize) -> String {
        match self.pick(3) {
            0 => self.unmodified(),
            1 => format!("sum by ({}) ({})", self.labels(), self.vector(depth.min(1))),
            _ => self.bracketed(depth),
        }
    }
}
