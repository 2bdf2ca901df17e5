//! The tree of a PromQL expression, every node with the bytes it was read from.
//!
//! Types are checked by the parser: an [`Expr`] it returns is well-typed, so the evaluator meets
//! only data errors. Durations are signed milliseconds, as in the grammar.

use std::fmt;
use std::sync::Arc;

use crate::base::Timestamp;
use crate::window::Selector;

/// Byte offsets into the query text: `start..end`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

/// What an expression yields.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ValueType {
    /// One number per step.
    Scalar,
    /// Series with at most one value per step.
    Vector,
    /// Series with a range of samples.
    Matrix,
    /// A text.
    String,
}

/// As Prometheus names types in errors.
impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ValueType::Scalar => "scalar",
            ValueType::Vector => "instant vector",
            ValueType::Matrix => "range vector",
            ValueType::String => "string",
        })
    }
}

/// A node and where it stands.
#[derive(Clone, PartialEq, Debug)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// Where it stands in the query text.
    pub span: Span,
}

/// What an expression is.
#[derive(Clone, PartialEq, Debug)]
pub enum ExprKind {
    /// `1.5`, `0x1f`, `Inf`, and durations as numbers (`5m` is 300).
    Number(f64),
    /// `"text"`, unescaped.
    String(String),
    /// `"\xff"`, a text that is no UTF-8. No label can be one; it is a value and can be shown.
    Bytes(Vec<u8>),
    /// `up{job="x"} offset 5m @ 0`
    Vector(VectorSelector),
    /// `up[5m]`
    Matrix(MatrixSelector),
    /// `expr[1h:1m]`
    Subquery(Box<Subquery>),
    /// `rate(x[5m])`
    Call(Call),
    /// `sum by (a) (x)`
    Aggregate(Box<Aggregate>),
    /// `a / on(b) c`
    Binary(Box<Binary>),
    /// `-x`, and `+x`: the same values under the same names, but computed and no selection.
    Unary(Sign, Box<Expr>),
    /// `(x)`
    Paren(Box<Expr>),
}

/// The sign in front of an expression.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sign {
    /// `+`
    Plus,
    /// `-`
    Minus,
}

impl Sign {
    /// As it is written.
    pub fn symbol(self) -> &'static str {
        match self {
            Sign::Plus => "+",
            Sign::Minus => "-",
        }
    }
}

/// `metric{matchers} offset o @ at`
#[derive(Clone, PartialEq, Debug)]
pub struct VectorSelector {
    /// Name and matchers; the name is a matcher on `__name__`.
    pub selector: Arc<Selector>,
    /// How far back (or, negative, ahead).
    pub offset: Offset,
    /// `@` modifier.
    pub at: Option<AtModifier>,
}

/// `selector[range]`; offset and `@` stand inside the selector.
#[derive(Clone, PartialEq, Debug)]
pub struct MatrixSelector {
    /// What is selected.
    pub vector: VectorSelector,
    /// Where the inner selector stands.
    pub vector_span: Span,
    /// How long.
    pub range: DurationExpr,
}

/// `expr[range:step] offset o @ at`
#[derive(Clone, PartialEq, Debug)]
pub struct Subquery {
    /// What is evaluated at every step.
    pub expr: Expr,
    /// How long.
    pub range: DurationExpr,
    /// How far apart; absent: the engine's default step.
    pub step: Option<DurationExpr>,
    /// How far back.
    pub offset: Offset,
    /// `@` modifier.
    pub at: Option<AtModifier>,
}

/// No offset, or an amount.
pub type Offset = Option<DurationExpr>;

/// A duration: usually a literal; since 3.14 also arithmetic on the step and range of the query.
#[derive(Clone, PartialEq, Debug)]
pub enum DurationExpr {
    /// Signed milliseconds.
    Millis(i64),
    /// `step()`: the query's step in milliseconds (0 for an instant query).
    Step,
    /// `range()`: the query's `end - start`.
    Range,
    /// Negation.
    Negate(Box<DurationExpr>),
    /// `+ - * / % ^`, on seconds as floats.
    Binary(DurationOp, Box<(DurationExpr, DurationExpr)>),
    /// `min_of(a, b)`
    MinOf(Box<(DurationExpr, DurationExpr)>),
    /// `max_of(a, b)`
    MaxOf(Box<(DurationExpr, DurationExpr)>),
    /// A bare number inside duration arithmetic, in seconds.
    Seconds(f64),
}

/// Arithmetic on durations.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DurationOp {
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// `/`
    Div,
    /// `%`
    Mod,
    /// `^`
    Pow,
}

/// `@ <time>`, `@ start()`, `@ end()`
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum AtModifier {
    /// A fixed time.
    Time(Timestamp),
    /// The start of the query.
    Start,
    /// The end of the query.
    End,
}

/// `func(args…)`
#[derive(Clone, PartialEq, Debug)]
pub struct Call {
    /// Which function; its name in lower case is in [`super::functions`].
    pub func: &'static super::functions::Function,
    /// Its arguments, in number and type as the function asks.
    pub args: Vec<Expr>,
}

/// An aggregation.
#[derive(Clone, PartialEq, Debug)]
pub struct Aggregate {
    /// Which.
    pub op: AggregateOp,
    /// What is aggregated.
    pub expr: Expr,
    /// `k`, φ, the ratio or the label, where the operator takes one.
    pub param: Option<Expr>,
    /// By which labels.
    pub grouping: Grouping,
}

/// `by (…)` or `without (…)`; none is `by ()`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Grouping {
    /// Keep only these.
    By(Vec<String>),
    /// Keep all but these (and the metric name).
    Without(Vec<String>),
}

/// The aggregation operators.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "the names are PromQL's own")]
pub enum AggregateOp {
    Sum,
    Avg,
    Min,
    Max,
    Count,
    Group,
    Stddev,
    Stdvar,
    Topk,
    Bottomk,
    Quantile,
    CountValues,
    Limitk,
    LimitRatio,
}

impl AggregateOp {
    /// All of them, in alphabetical order of their names.
    pub const ALL: [AggregateOp; 14] = {
        use AggregateOp::*;
        [
            Avg,
            Bottomk,
            Count,
            CountValues,
            Group,
            LimitRatio,
            Limitk,
            Max,
            Min,
            Quantile,
            Stddev,
            Stdvar,
            Sum,
            Topk,
        ]
    };

    /// Its name, in lower case.
    pub fn name(self) -> &'static str {
        match self {
            AggregateOp::Sum => "sum",
            AggregateOp::Avg => "avg",
            AggregateOp::Min => "min",
            AggregateOp::Max => "max",
            AggregateOp::Count => "count",
            AggregateOp::Group => "group",
            AggregateOp::Stddev => "stddev",
            AggregateOp::Stdvar => "stdvar",
            AggregateOp::Topk => "topk",
            AggregateOp::Bottomk => "bottomk",
            AggregateOp::Quantile => "quantile",
            AggregateOp::CountValues => "count_values",
            AggregateOp::Limitk => "limitk",
            AggregateOp::LimitRatio => "limit_ratio",
        }
    }

    /// The operator of that name, in any case.
    pub fn find(name: &str) -> Option<AggregateOp> {
        AggregateOp::ALL.into_iter().find(|op| op.name().eq_ignore_ascii_case(name))
    }

    /// The type of its parameter, if it takes one.
    pub fn param_type(self) -> Option<ValueType> {
        match self {
            AggregateOp::Topk
            | AggregateOp::Bottomk
            | AggregateOp::Quantile
            | AggregateOp::Limitk
            | AggregateOp::LimitRatio => Some(ValueType::Scalar),
            AggregateOp::CountValues => Some(ValueType::String),
            _ => None,
        }
    }
}

/// `lhs op rhs`
///
/// A chain of operators, `a or b or c`, is as deep on its left as it is long, and queries written by
/// programs are thousands long. So whoever goes down an operator takes [`Binary::chain`] and a loop;
/// copy, comparison, output and drop below do.
pub struct Binary {
    /// Which operator.
    pub op: BinaryOp,
    /// Left side.
    pub lhs: Expr,
    /// Right side.
    pub rhs: Expr,
    /// `bool` on a comparison.
    pub return_bool: bool,
    /// How vectors are matched; meaningful only when both sides are vectors.
    pub matching: Matching,
    /// What it yields: a number if both sides are numbers.
    pub yields: ValueType,
}

impl Binary {
    /// This operator and those on its left, the one applied last first, and what they start from:
    /// of `a + b - c` that is `- c`, `+ b` and a.
    pub fn chain(&self) -> (Vec<&Binary>, &Expr) {
        let (mut operators, mut first) = (vec![self], &self.lhs);
        while let ExprKind::Binary(binary) = &first.kind {
            operators.push(binary);
            first = &binary.lhs;
        }
        (operators, first)
    }

    /// A copy with another left side.
    fn after(&self, lhs: ExprKind) -> Binary {
        Binary {
            op: self.op,
            lhs: Expr { kind: lhs, span: self.lhs.span },
            rhs: self.rhs.clone(),
            return_bool: self.return_bool,
            matching: self.matching.clone(),
            yields: self.yields,
        }
    }

    /// All but the left side.
    fn step(&self) -> (BinaryOp, bool, &Matching, &Expr) {
        (self.op, self.return_bool, &self.matching, &self.rhs)
    }
}

impl Clone for Binary {
    fn clone(&self) -> Binary {
        let (mut operators, first) = self.chain();
        let innermost = operators.pop().expect("a chain holds at least its own operator");
        let copy = innermost.after(first.kind.clone());
        operators
            .into_iter()
            .rev()
            .fold(copy, |copy, binary| binary.after(ExprKind::Binary(Box::new(copy))))
    }
}

impl PartialEq for Binary {
    fn eq(&self, other: &Binary) -> bool {
        let ((ours, first), (theirs, their_first)) = (self.chain(), other.chain());
        let same = |(a, b): (&&Binary, &&Binary)| a.step() == b.step() && a.lhs.span == b.lhs.span;
        ours.len() == theirs.len() && first == their_first && ours.iter().zip(&theirs).all(same)
    }
}

/// As a list: what the chain starts from, then each operator with its right side.
impl fmt::Debug for Binary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (operators, first) = self.chain();
        let steps = operators.iter().rev().map(|binary| binary.step());
        f.debug_list().entry(first).entries(steps).finish()
    }
}

impl Drop for Binary {
    fn drop(&mut self) {
        let mut left = self.lhs.kind.take();
        while let ExprKind::Binary(mut binary) = left {
            left = binary.lhs.kind.take();
        }
    }
}

impl ExprKind {
    /// Leaves a number in its place.
    fn take(&mut self) -> ExprKind {
        std::mem::replace(self, ExprKind::Number(0.0))
    }
}

/// Binary operators.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "the names are the operators")]
pub enum BinaryOp {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    Atan2,
    Equal,
    NotEqual,
    Greater,
    Less,
    GreaterEqual,
    LessEqual,
    And,
    Or,
    Unless,
}

impl BinaryOp {
    /// As it is written.
    pub fn symbol(self) -> &'static str {
        match self {
            BinaryOp::Add => "+",
            BinaryOp::Sub => "-",
            BinaryOp::Mul => "*",
            BinaryOp::Div => "/",
            BinaryOp::Mod => "%",
            BinaryOp::Pow => "^",
            BinaryOp::Atan2 => "atan2",
            BinaryOp::Equal => "==",
            BinaryOp::NotEqual => "!=",
            BinaryOp::Greater => ">",
            BinaryOp::Less => "<",
            BinaryOp::GreaterEqual => ">=",
            BinaryOp::LessEqual => "<=",
            BinaryOp::And => "and",
            BinaryOp::Or => "or",
            BinaryOp::Unless => "unless",
        }
    }

    /// `== != > < >= <=`
    pub fn is_comparison(self) -> bool {
        use BinaryOp::{Equal, Greater, GreaterEqual, Less, LessEqual, NotEqual};
        matches!(self, Equal | NotEqual | Greater | Less | GreaterEqual | LessEqual)
    }

    /// `and or unless`
    pub fn is_set(self) -> bool {
        matches!(self, BinaryOp::And | BinaryOp::Or | BinaryOp::Unless)
    }
}

/// `on (…)`, `ignoring (…)`, `group_left (…)`, `group_right (…)`
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Matching {
    /// True: `on`; false: `ignoring`.
    pub on: bool,
    /// The labels of `on` or `ignoring`.
    pub labels: Vec<String>,
    /// Which side may have many.
    pub group: Group,
    /// Labels copied from the "one" side.
    pub include: Vec<String>,
    /// `fill`, `fill_left`, `fill_right`: the value that stands in for a missing left side.
    pub fill_left: Option<f64>,
    /// The value that stands in for a missing right side.
    pub fill_right: Option<f64>,
}

/// Which side of a vector match may have several series per group.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Group {
    /// Neither.
    #[default]
    OneToOne,
    /// `group_left`: many on the left.
    ManyToOne,
    /// `group_right`: many on the right.
    OneToMany,
    /// Set operators.
    ManyToMany,
}

impl Expr {
    /// What this expression yields.
    pub fn value_type(&self) -> ValueType {
        match &self.kind {
            ExprKind::Number(_) => ValueType::Scalar,
            ExprKind::String(_) | ExprKind::Bytes(_) => ValueType::String,
            ExprKind::Vector(_) | ExprKind::Aggregate(_) => ValueType::Vector,
            ExprKind::Matrix(_) | ExprKind::Subquery(_) => ValueType::Matrix,
            ExprKind::Call(call) => call.func.returns,
            ExprKind::Paren(inner) | ExprKind::Unary(_, inner) => inner.value_type(),
            ExprKind::Binary(binary) => binary.yields,
        }
    }

    /// The nodes right below this one.
    pub fn children(&self) -> Vec<&Expr> {
        match &self.kind {
            ExprKind::Number(_)
            | ExprKind::String(_)
            | ExprKind::Bytes(_)
            | ExprKind::Vector(_)
            | ExprKind::Matrix(_) => Vec::new(),
            ExprKind::Subquery(subquery) => vec![&subquery.expr],
            ExprKind::Call(call) => call.args.iter().collect(),
            ExprKind::Aggregate(aggregate) => {
                std::iter::once(&aggregate.expr).chain(&aggregate.param).collect()
            }
            ExprKind::Binary(binary) => vec![&binary.lhs, &binary.rhs],
            ExprKind::Unary(_, inner) | ExprKind::Paren(inner) => vec![&**inner],
        }
    }

    /// Calls `visit` for every node, parents first.
    pub fn walk<'a>(&'a self, visit: &mut dyn FnMut(&'a Expr)) {
        let mut open = vec![self];
        while let Some(expr) = open.pop() {
            visit(expr);
            open.extend(expr.children().into_iter().rev());
        }
    }
}
