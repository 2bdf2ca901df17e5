//! The tree of a template.

/// Bytes of the template's text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) end: usize,
}

#[derive(Clone, PartialEq, Debug)]
pub(super) enum Node {
    Text(String),
    /// `{{pipeline}}`: printed unless it sets a variable.
    Action(Pipe),
    If(Branch),
    With(Branch),
    Range(Branch),
    /// `{{template "name" pipeline}}`
    Template {
        name: String,
        pipe: Option<Pipe>,
        /// From the name to the end of the pipeline.
        span: Span,
    },
    Break,
    Continue,
}

/// What `if`, `with` and `range` have in common.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Branch {
    pub(super) pipe: Pipe,
    pub(super) body: Vec<Node>,
    pub(super) otherwise: Vec<Node>,
}

/// `$v := command | command`
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Pipe {
    /// The variables set, with their `$`.
    pub(super) variables: Vec<String>,
    /// True: `=` sets what exists; false: `:=` declares.
    pub(super) assigns: bool,
    pub(super) commands: Vec<Command>,
}

/// An operand and its arguments.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Command {
    /// At least one.
    pub(super) operands: Vec<Operand>,
}

#[derive(Clone, PartialEq, Debug)]
pub(super) struct Operand {
    pub(super) kind: OperandKind,
    pub(super) span: Span,
}

#[derive(Clone, PartialEq, Debug)]
pub(super) enum OperandKind {
    Dot,
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    String(String),
    /// `.a.b`
    Field(Vec<String>),
    /// `$v.a.b`
    Variable(String, Vec<String>),
    /// A function that exists.
    Function(String),
    /// `(pipeline).a.b`
    Chain(Box<Operand>, Vec<String>),
    Pipe(Box<Pipe>),
}
