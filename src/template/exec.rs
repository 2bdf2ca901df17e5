//! Running a template: a walk over its tree under a budget.
//!
//! Every node, call and iteration costs a step, calls on long texts and regular expressions cost
//! more, and the output and every text on the way are capped. So a template ends, whatever it
//! says; the worst is an error in the place of its text.

use std::rc::Rc;

use super::functions;
use super::moment;
use super::tree::{Branch, Command, Node, Operand, OperandKind, Pipe, Span};
use super::value::{Root, Value};
use super::{Limits, Query, Template, TemplateData};
use crate::base::quoted;

/// Templates calling templates; Go allows 100 000, which no stack of ours would bear.
const MAX_DEPTH: usize = 50;

/// Why a run ended early: what, and at which bytes of the template.
#[derive(Debug)]
pub(super) struct Failure {
    /// What is quoted.
    pub(super) span: Span,
    /// The place that is named; in a chain of fields the second of them, as in Go.
    pub(super) at: usize,
    pub(super) message: String,
    /// It is a `{{template …}}`, which Go quotes as a whole.
    pub(super) is_call: bool,
    /// The definition that was being executed, if it was one.
    pub(super) within: Option<String>,
}

impl Failure {
    fn new(span: Span, message: String) -> Failure {
        Failure { span, at: span.start, message, is_call: false, within: None }
    }
}

/// How a list of nodes ended.
#[derive(Clone, Copy, PartialEq)]
enum Flow {
    Next,
    Break,
    Continue,
}

pub(super) struct Executor<'a> {
    template: &'a Template,
    pub(super) data: &'a TemplateData<'a>,
    root: Value,
    pub(super) query: &'a mut Query<'a>,
    pub(super) limits: Limits,
    steps: usize,
    depth: usize,
    variables: Vec<(String, Value)>,
    pub(super) out: String,
}

impl<'a> Executor<'a> {
    pub(super) fn new(
        template: &'a Template,
        data: &'a TemplateData<'a>,
        query: &'a mut Query<'a>,
        limits: Limits,
    ) -> Executor<'a> {
        let labels = Value::labels(data.labels);
        let external_labels = Value::labels(data.external_labels);
        let root = Value::Root(Rc::new(Root {
            labels: labels.clone(),
            external_labels: external_labels.clone(),
            external_url: data.external_url.into(),
            value: data.value,
        }));
        let presets = [
            ("$", root.clone()),
            ("$labels", labels),
            ("$externalLabels", external_labels),
            ("$externalURL", Value::text(data.external_url)),
            ("$value", Value::Float(data.value)),
        ];
        Executor {
            template,
            data,
            root,
            query,
            limits,
            steps: 0,
            depth: 0,
            variables: presets.map(|(name, value)| (name.to_owned(), value)).to_vec(),
            out: String::new(),
        }
    }

    /// The text of the whole template.
    pub(super) fn run(mut self) -> Result<String, Failure> {
        let (template, root) = (self.template, self.root.clone());
        self.list(&template.parsed.main, &root)?;
        Ok(self.out)
    }

    /// Spends part of the budget.
    pub(super) fn spend(&mut self, steps: usize) -> Result<(), String> {
        self.steps = self.steps.saturating_add(steps);
        if self.steps > self.limits.steps {
            return Err(format!("the template takes more than {} steps", self.limits.steps));
        }
        Ok(())
    }

    fn list(&mut self, nodes: &'a [Node], dot: &Value) -> Result<Flow, Failure> {
        for node in nodes {
            let flow = self.node(node, dot)?;
            if flow != Flow::Next {
                return Ok(flow);
            }
        }
        Ok(Flow::Next)
    }

    fn node(&mut self, node: &'a Node, dot: &Value) -> Result<Flow, Failure> {
        match node {
            Node::Text(text) => {
                let nowhere = Span { start: 0, end: 0 };
                self.write(nowhere, |out, _| out.push_str(text))?;
            }
            Node::Action(pipe) => {
                let value = self.pipe(pipe, dot)?;
                if pipe.variables.is_empty() {
                    self.write(pipe.span(), |out, cap| value.print(out, cap))?;
                }
            }
            Node::If(branch) | Node::With(branch) => {
                let outside = self.variables.len();
                let value = self.pipe(&branch.pipe, dot)?;
                let with = matches!(node, Node::With(_));
                let flow = match value.is_true() {
                    true => self.list(&branch.body, if with { &value } else { dot }),
                    false => self.list(&branch.otherwise, dot),
                };
                self.variables.truncate(outside);
                return flow;
            }
            Node::Range(branch) => {
                let outside = self.variables.len();
                let flow = self.range(branch, dot);
                self.variables.truncate(outside);
                return flow;
            }
            Node::Template { name, pipe, span } => self.call(name, pipe.as_ref(), *span, dot)?,
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::Next)
    }

    fn range(&mut self, branch: &'a Branch, dot: &Value) -> Result<Flow, Failure> {
        let span = branch.pipe.span();
        let outside = self.variables.len();
        // The variables are set for each element below, not to the whole.
        let value = self.commands(&branch.pipe, dot)?;
        let mut iterated = false;
        let items: Box<dyn Iterator<Item = (Value, Value)>> = match &value {
            Value::List(list) => {
                let list = Rc::clone(list);
                let length = list.len();
                Box::new((0..length).map(move |at| (Value::Int(at as i64), list[at].clone())))
            }
            Value::Map(map) => {
                let pairs = map.entries.iter();
                Box::new(pairs.map(|(key, value)| (Value::text(key.as_str()), value.clone())))
            }
            Value::Int(count) => Box::new((0..*count).map(|at| (Value::Int(at), Value::Int(at)))),
            Value::Nil => Box::new(std::iter::empty()),
            other => {
                let message = format!("range can't iterate over {}", self.shown(other));
                return Err(Failure::new(span, message));
            }
        };
        for (key, item) in items {
            iterated = true;
            self.spend(1).map_err(|message| Failure::new(span, message))?;
            let values = match branch.pipe.variables.len() {
                0 => Vec::new(),
                1 => vec![item.clone()],
                _ => vec![key, item.clone()],
            };
            for (name, value) in branch.pipe.variables.iter().zip(values) {
                self.set(&branch.pipe, name, value)?;
            }
            let flow = self.list(&branch.body, &item);
            self.variables.truncate(outside);
            if flow? == Flow::Break {
                break;
            }
        }
        if iterated { Ok(Flow::Next) } else { self.list(&branch.otherwise, dot) }
    }

    /// `{{template "name" pipeline}}`: the definition sees its argument and nothing else.
    fn call(
        &mut self,
        name: &str,
        pipe: Option<&'a Pipe>,
        span: Span,
        dot: &Value,
    ) -> Result<(), Failure> {
        let fail = |message: String| Err(Failure { is_call: true, ..Failure::new(span, message) });
        let argument = match pipe {
            Some(pipe) => self.pipe(pipe, dot)?,
            None => Value::Nil,
        };
        let Some(nodes) = self.template.parsed.defined.get(name) else {
            return fail(format!("template {} not defined", quoted(name)));
        };
        if self.depth >= MAX_DEPTH {
            return fail(format!("exceeded maximum template depth ({MAX_DEPTH})"));
        }
        self.depth += 1;
        let own = vec![("$".to_owned(), argument.clone())];
        let outside = std::mem::replace(&mut self.variables, own);
        let result = self.list(nodes, &argument);
        self.variables = outside;
        self.depth -= 1;
        result.map(drop).map_err(|failure| {
            let within = failure.within.or_else(|| Some(name.to_owned()));
            Failure { within, ..failure }
        })
    }

    /// The value of a pipeline, after setting its variables.
    fn pipe(&mut self, pipe: &'a Pipe, dot: &Value) -> Result<Value, Failure> {
        let value = self.commands(pipe, dot)?;
        for name in &pipe.variables {
            self.set(pipe, name, value.clone())?;
        }
        Ok(value)
    }

    /// Sets or declares a variable of a pipeline.
    fn set(&mut self, pipe: &Pipe, name: &str, value: Value) -> Result<(), Failure> {
        if !pipe.assigns {
            self.variables.push((name.to_owned(), value));
            return Ok(());
        }
        match self.variables.iter_mut().rev().find(|(known, _)| known == name) {
            Some((_, slot)) => *slot = value,
            None => {
                let command = pipe.commands.last().and_then(|command| command.operands.last());
                let span = command.map_or(pipe.span(), |operand| last_in(operand).span);
                return Err(Failure::new(span, format!("undefined variable: {name}")));
            }
        }
        Ok(())
    }

    fn commands(&mut self, pipe: &'a Pipe, dot: &Value) -> Result<Value, Failure> {
        let mut last = None;
        for command in &pipe.commands {
            last = Some(self.command(command, dot, last)?);
        }
        Ok(last.expect("the parser refuses empty pipelines"))
    }

    /// One stage; `piped` is the value of the stage before, which becomes the last argument.
    fn command(
        &mut self,
        command: &'a Command,
        dot: &Value,
        piped: Option<Value>,
    ) -> Result<Value, Failure> {
        let (first, rest) =
            command.operands.split_first().expect("the parser refuses empty commands");
        if let OperandKind::Function(name) = &first.kind {
            return match name.as_str() {
                "and" | "or" => self.decide(first, rest, dot, piped),
                _ => self.function(first, rest, dot, piped),
            };
        }
        if !rest.is_empty() || piped.is_some() {
            if let Some((millis, method)) = self.moment(first, dot)? {
                return self.method((first, rest), (millis, method), dot, piped);
            }
            let text = &self.template.text[first.span.start..first.span.end];
            let message = match &first.kind {
                OperandKind::Field(names) | OperandKind::Variable(_, names)
                    if !names.is_empty() =>
                {
                    let name = names.last().map_or("", String::as_str);
                    format!("{name} is not a method but has arguments")
                }
                OperandKind::Nil => "nil is not a command".to_owned(),
                _ => format!("can't give argument to non-function {text}"),
            };
            return Err(Failure::new(first.span, message));
        }
        if first.kind == OperandKind::Nil {
            let message = "nil is not a command".to_owned();
            return Err(Failure::new(first.span, message));
        }
        self.operand(first, dot)
    }

    /// The time whose method an operand names, and that method.
    fn moment(
        &mut self,
        operand: &'a Operand,
        dot: &Value,
    ) -> Result<Option<(i64, &'a str)>, Failure> {
        let (OperandKind::Field(names)
        | OperandKind::Variable(_, names)
        | OperandKind::Chain(_, names)) = &operand.kind
        else {
            return Ok(None);
        };
        let Some((method, before)) = names.split_last() else { return Ok(None) };
        let owner = match &operand.kind {
            OperandKind::Variable(name, _) => self.variable(name),
            OperandKind::Chain(inner, _) => Some(self.operand(inner, dot)?),
            _ => Some(dot.clone()),
        };
        let owner = owner.and_then(|owner| self.fields(owner, before).ok());
        Ok(match owner {
            Some(Value::Time(millis)) => Some((millis, method)),
            _ => None,
        })
    }

    fn variable(&self, name: &str) -> Option<Value> {
        let found = self.variables.iter().rev().find(|(known, _)| known == name);
        found.map(|(_, value)| value.clone())
    }

    /// Calls a method of a time with arguments.
    fn method(
        &mut self,
        (head, operands): (&'a Operand, &'a [Operand]),
        (millis, method): (i64, &str),
        dot: &Value,
        piped: Option<Value>,
    ) -> Result<Value, Failure> {
        let mut args = Vec::with_capacity(operands.len() + 1);
        for operand in operands {
            args.push(self.operand(operand, dot)?);
        }
        args.extend(piped);
        let failed = |message: String| Failure::new(head.span, message);
        let bytes: usize = args.iter().map(functions::text_bytes).sum();
        self.spend(1 + bytes / functions::BYTES_PER_STEP).map_err(failed)?;
        let value = moment::call(millis, method, &args)
            .unwrap_or_else(|| Err(format!("can't evaluate field {method} in type *time.Time")))
            .map_err(failed)?;
        let cap = self.limits.output_bytes;
        if functions::text_bytes(&value) > cap {
            let message = format!("error calling {method}: the result is longer than {cap} bytes");
            return Err(failed(message));
        }
        Ok(value)
    }

    /// Calls the function `head` names.
    fn function(
        &mut self,
        head: &'a Operand,
        operands: &'a [Operand],
        dot: &Value,
        piped: Option<Value>,
    ) -> Result<Value, Failure> {
        let OperandKind::Function(name) = &head.kind else {
            unreachable!("only functions are called");
        };
        let given = operands.len() + usize::from(piped.is_some());
        if let Some(message) = functions::wrong_count(name, given) {
            return Err(Failure::new(head.span, message));
        }
        let mut args = Vec::with_capacity(given);
        for (place, operand) in operands.iter().enumerate() {
            let wanted = functions::wanted(name, place);
            if let Some(wanted) = wanted {
                let text = &self.template.text[operand.span.start..operand.span.end];
                if let Some(message) = misplaced(&operand.kind, wanted, text) {
                    return Err(Failure::new(operand.span, message));
                }
            }
            let value = self.operand(operand, dot)?;
            let got = value.type_name();
            if wanted.is_some_and(|wanted| wanted != got) {
                let wanted = wanted.unwrap_or_default();
                let message = format!("wrong type for value; expected {wanted}; got {got}");
                return Err(Failure::new(operand.span, message));
            }
            args.push(value);
        }
        args.extend(piped);
        let end = operands.last().map_or(head.span.end, |operand| operand.span.end);
        let span = Span { start: head.span.start, end };
        functions::call(self, name, args).map_err(|message| Failure::new(span, message))
    }

    /// `and` and `or` stop at the first argument that decides.
    fn decide(
        &mut self,
        head: &'a Operand,
        operands: &'a [Operand],
        dot: &Value,
        piped: Option<Value>,
    ) -> Result<Value, Failure> {
        let decisive = head.kind == OperandKind::Function("or".to_owned());
        let mut last = None;
        for operand in operands {
            let value = self.operand(operand, dot)?;
            if value.is_true() == decisive {
                return Ok(value);
            }
            last = Some(value);
        }
        piped.or(last).ok_or_else(|| {
            let name = if decisive { "or" } else { "and" };
            let message = format!("wrong number of args for {name}: want at least 1 got 0");
            Failure::new(head.span, message)
        })
    }

    fn operand(&mut self, operand: &'a Operand, dot: &Value) -> Result<Value, Failure> {
        let span = operand.span;
        let in_place = |message: String| Failure::new(span, message);
        let behind = |bytes: usize, message| Failure {
            at: span.start + bytes,
            ..Failure::new(span, message)
        };
        self.spend(1).map_err(in_place)?;
        match &operand.kind {
            OperandKind::Dot => Ok(dot.clone()),
            OperandKind::Nil => Ok(Value::Nil),
            OperandKind::Bool(value) => Ok(Value::Bool(*value)),
            OperandKind::Int(value) => Ok(Value::Int(*value)),
            OperandKind::Float(value) => Ok(Value::Float(*value)),
            OperandKind::String(text) => Ok(Value::text(text.as_str())),
            OperandKind::Field(names) => {
                let second = second_field(&operand.kind);
                self.fields(dot.clone(), names).map_err(|message| behind(second, message))
            }
            OperandKind::Variable(name, names) => {
                let value = self
                    .variable(name)
                    .ok_or_else(|| in_place(format!("undefined variable: {name}")))?;
                let second = second_field(&operand.kind);
                self.fields(value, names).map_err(|message| behind(second, message))
            }
            OperandKind::Function(_) => self.function(operand, &[], dot, None),
            // What it declares outlives its brackets.
            OperandKind::Pipe(pipe) => self.pipe(pipe, dot),
            OperandKind::Chain(inner, names) => {
                let value = self.operand(inner, dot)?;
                self.fields(value, names).map_err(|message| {
                    // What Go looked at last.
                    let Operand { kind, span } = last_in(inner);
                    let at = span.start + second_field(kind);
                    Failure { at, ..Failure::new(*span, message) }
                })
            }
        }
    }

    fn fields(&self, mut value: Value, names: &[String]) -> Result<Value, String> {
        for name in names {
            value = match (&value, name.as_str()) {
                (Value::Map(map), _) => map.entries.get(name).unwrap_or(&map.missing).clone(),
                (Value::Root(root), "Labels") => root.labels.clone(),
                (Value::Root(root), "ExternalLabels") => root.external_labels.clone(),
                (Value::Root(root), "ExternalURL") => Value::String(Rc::clone(&root.external_url)),
                (Value::Root(root), "Value") => Value::Float(root.value),
                (Value::Sample(sample), "Labels") => sample.labels.clone(),
                (Value::Sample(sample), "Value") => Value::Float(sample.value),
                (Value::Time(millis), method) => match moment::call(*millis, method, &[]) {
                    Some(value) => value?,
                    None => {
                        return Err(format!("can't evaluate field {method} in type *time.Time"));
                    }
                },
                (Value::Nil, _) => {
                    return Err(format!("nil data; no entry for key {}", quoted(name)));
                }
                (other, _) => {
                    let of = other.type_name();
                    return Err(format!("can't evaluate field {name} in type {of}"));
                }
            };
        }
        Ok(value)
    }

    /// A value as it prints, cut to what an error may hold.
    fn shown(&self, value: &Value) -> String {
        let mut text = String::new();
        value.print(&mut text, 100);
        text.chars().take(100).collect()
    }

    fn write(
        &mut self,
        span: Span,
        append: impl FnOnce(&mut String, usize),
    ) -> Result<(), Failure> {
        let cap = self.limits.output_bytes;
        append(&mut self.out, cap);
        let message = if self.out.len() > cap {
            Err(format!("the text is longer than {cap} bytes"))
        } else {
            self.spend(1)
        };
        message.map_err(|message| Failure::new(span, message))
    }
}

/// Why a literal cannot stand where a value of that type is wanted.
fn misplaced(kind: &OperandKind, wanted: &str, text: &str) -> Option<String> {
    use OperandKind::{Bool, Float, Int, Nil, String};
    match kind {
        String(_) if wanted == "string" => None,
        Nil => Some(format!("cannot assign nil to {wanted}")),
        Bool(_) | Int(_) | Float(_) if wanted == "string" => {
            Some(format!("expected string; found {text}"))
        }
        Bool(_) | Int(_) | Float(_) | String(_) => {
            Some(format!("can't handle {text} for arg of type {wanted}"))
        }
        _ => None,
    }
}

impl Pipe {
    /// From the first operand to the last.
    fn span(&self) -> Span {
        let operands = || self.commands.iter().flat_map(|command| &command.operands);
        let start = operands().next().map_or(0, |operand| operand.span.start);
        Span { start, end: operands().last().map_or(start, |operand| operand.span.end) }
    }
}
/// Of a chain of fields, where the second of them begins, by which Go places it.
fn second_field(kind: &OperandKind) -> usize {
    match kind {
        OperandKind::Field(names) if names.len() > 1 => 1 + names[0].len(),
        OperandKind::Variable(name, names) if !names.is_empty() => name.len(),
        _ => 0,
    }
}

/// The operand that is evaluated last for this one.
fn last_in(operand: &Operand) -> &Operand {
    let mut last = operand;
    loop {
        last = match &last.kind {
            OperandKind::Chain(inner, _) => inner,
            OperandKind::Pipe(pipe) => {
                match pipe.commands.last().and_then(|command| command.operands.last()) {
                    Some(inner) => inner,
                    None => return last,
                }
            }
            _ => return last,
        };
    }
}
