//! Tokens to a tree, with the error texts of `text/template/parse`.
//!
//! Functions and variables are resolved while parsing, so a template that parses fails later only
//! for what it is given. Blocks and parentheses nest at most [`MAX_NESTING`] deep.

use std::collections::BTreeMap;

use super::functions;
use super::lexer::{Placed, Token, tokenise};
use super::tree::{Branch, Command, Node, Operand, OperandKind, Pipe, Span};
use crate::base::quoted;

/// Far above what people write, low enough for any stack.
const MAX_NESTING: usize = 50;

/// The variables every rule template has (`rules/alerting.go`).
pub(super) const PRESET: [&str; 5] = ["$", "$labels", "$externalLabels", "$externalURL", "$value"];

/// What a template's text holds.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Parsed {
    pub(super) main: Vec<Node>,
    pub(super) defined: BTreeMap<String, Vec<Node>>,
    /// Whether `now` is anywhere in it.
    pub(super) reads_clock: bool,
}

/// What is wrong, and at which byte.
#[derive(Debug)]
pub(super) struct Problem {
    /// Go's place: how far its reader had come.
    pub(super) at: usize,
    /// Where whoever mends it has to look.
    pub(super) from: usize,
    pub(super) message: String,
    pub(super) hint: Option<&'static str>,
}

impl Problem {
    fn new(at: usize, message: impl Into<String>) -> Problem {
        Problem { at, from: at, message: message.into(), hint: None }
    }

    /// What the lexer could not read, in the action that began at `opened`.
    fn unread(at: usize, message: &str, opened: usize) -> Problem {
        let hint = match message {
            "unclosed action" => "close it with `}}`",
            "unclosed comment" => "close it with `*/}}`",
            _ if message.starts_with("unterminated") => {
                "the quote that begins the text must end it too"
            }
            _ => return Problem::new(at, message),
        };
        Problem { at, from: opened, message: message.to_owned(), hint: Some(hint) }
    }
}

/// Reads the text of the template of that name.
pub(super) fn parse(name: &str, text: &str) -> Result<Parsed, Problem> {
    let mut parser = Parser {
        text,
        tokens: tokenise(text),
        at: 0,
        variables: PRESET.map(str::to_owned).to_vec(),
        ranges: 0,
        nesting: 0,
        defined: BTreeMap::new(),
        reads_clock: false,
    };
    let (main, end) = parser.list()?;
    match end {
        Terminator::End => Err(parser.problem("unexpected {{end}}")),
        Terminator::Else => Err(parser.problem("unexpected {{else}}")),
        Terminator::Eof => {
            // The main template counts as one of that name. Prometheus writes variables before its
            // text, so it is never empty.
            if parser.defined.get(name).is_some_and(|nodes| !is_empty(nodes)) {
                return Err(parser.repeated(name));
            }
            let Parser { defined, reads_clock, .. } = parser;
            Ok(Parsed { main, defined, reads_clock })
        }
    }
}

/// What ended a list of nodes.
#[derive(Clone, Copy, PartialEq)]
enum Terminator {
    /// `{{end}}`
    End,
    /// `{{else`, up to the word.
    Else,
    /// The end of the text.
    Eof,
}

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<Placed<'a>>,
    at: usize,
    /// Those in scope, innermost last.
    variables: Vec<String>,
    /// How many `range`s are open, for `break` and `continue`.
    ranges: usize,
    nesting: usize,
    defined: BTreeMap<String, Vec<Node>>,
    reads_clock: bool,
}

/// Text and blocks.
impl<'a> Parser<'a> {
    fn list(&mut self) -> Result<(Vec<Node>, Terminator), Problem> {
        let mut nodes = Vec::new();
        loop {
            match self.next() {
                Token::Text(text) => nodes.push(Node::Text(text.to_owned())),
                Token::End => return Ok((nodes, Terminator::Eof)),
                Token::Open => {
                    self.skip_space();
                    if self.eat_word("end") {
                        self.close("end")?;
                        return Ok((nodes, Terminator::End));
                    }
                    if self.eat_word("else") {
                        return Ok((nodes, Terminator::Else));
                    }
                    nodes.extend(self.action()?);
                }
                _ => return Err(self.unexpected_last("input")),
            }
        }
    }

    /// One action behind its `{{`; a definition leaves no node.
    fn action(&mut self) -> Result<Option<Node>, Problem> {
        let word = match self.peek() {
            Token::Word(word) => *word,
            _ => "",
        };
        match word {
            "if" | "with" | "range" => {
                self.at += 1;
                self.control(word).map(Some)
            }
            "break" | "continue" => {
                self.at += 1;
                self.close(&format!("{{{{{word}}}}}"))?;
                if self.ranges == 0 {
                    return Err(self.problem(&format!("{{{{{word}}}}} outside {{{{range}}}}")));
                }
                Ok(Some(if word == "break" { Node::Break } else { Node::Continue }))
            }
            "define" => {
                self.at += 1;
                self.define().map(|()| None)
            }
            "block" => {
                self.at += 1;
                self.block().map(Some)
            }
            "template" => {
                self.at += 1;
                self.template().map(Some)
            }
            _ => {
                let pipe = self.pipe("command", Token::Close)?;
                Ok(Some(Node::Action(pipe)))
            }
        }
    }

    fn control(&mut self, word: &str) -> Result<Node, Problem> {
        self.nest()?;
        let (outside, opened) = (self.variables.len(), self.opened());
        let pipe = self.pipe(word, Token::Close)?;
        if word == "range" {
            self.ranges += 1;
        }
        let (body, terminator) = self.list()?;
        if word == "range" {
            self.ranges -= 1;
        }
        let otherwise = match terminator {
            Terminator::End => Vec::new(),
            Terminator::Eof => return Err(self.endless(opened)),
            Terminator::Else => self.otherwise(word)?,
        };
        self.variables.truncate(outside);
        self.nesting -= 1;
        let branch = Branch { pipe, body, otherwise };
        Ok(match word {
            "if" => Node::If(branch),
            "with" => Node::With(branch),
            _ => Node::Range(branch),
        })
    }

    /// What follows `{{else`: `}}` and a list, or `if …`/`with …`, which needs no end of its own.
    fn otherwise(&mut self, word: &str) -> Result<Vec<Node>, Problem> {
        let opened = self.opened();
        self.skip_space();
        if word != "range" && self.eat_word(word) {
            return self.control(word).map(|node| vec![node]);
        }
        self.close("else")?;
        let (nodes, terminator) = self.list()?;
        match terminator {
            Terminator::End => Ok(nodes),
            Terminator::Else => Err(self.problem("expected end; found {{else}}")),
            Terminator::Eof => Err(self.endless(opened)),
        }
    }

    fn define(&mut self) -> Result<(), Problem> {
        if self.nesting > 0 {
            return Err(self.problem("unexpected <define> in command"));
        }
        let name = self.name("define clause")?;
        self.close("define clause")?;
        self.body_of(name)
    }

    /// `{{block "name" pipeline}}…{{end}}` is a definition and its use.
    fn block(&mut self) -> Result<Node, Problem> {
        let name = self.name("block clause")?;
        let start = self.tokens[self.at - 1].start;
        let pipe = self.pipe("block clause", Token::Close)?;
        let span = Span { start, end: self.tokens[self.at - 1].start };
        self.body_of(name.clone())?;
        Ok(Node::Template { name, pipe: Some(pipe), span })
    }

    /// The body of a definition sees no variables but `$`.
    fn body_of(&mut self, name: String) -> Result<(), Problem> {
        self.nest()?;
        let opened = self.opened();
        let outside = std::mem::replace(&mut self.variables, vec!["$".to_owned()]);
        let ranges = std::mem::take(&mut self.ranges);
        let (nodes, terminator) = self.list()?;
        self.variables = outside;
        self.ranges = ranges;
        self.nesting -= 1;
        match terminator {
            Terminator::End => {}
            Terminator::Else => return Err(self.problem("unexpected {{else}} in define clause")),
            Terminator::Eof => return Err(self.endless(opened)),
        }
        match self.defined.get(&name) {
            Some(before) if !is_empty(before) => {
                return if is_empty(&nodes) { Ok(()) } else { Err(self.repeated(&name)) };
            }
            _ => self.defined.insert(name, nodes),
        };
        Ok(())
    }

    fn repeated(&self, name: &str) -> Problem {
        self.problem(&format!("template: multiple definition of template {}", quoted(name)))
    }

    fn template(&mut self) -> Result<Node, Problem> {
        let name = self.name("template clause")?;
        let start = self.tokens[self.at - 1].start;
        self.skip_space();
        let pipe = if *self.peek() == Token::Close {
            self.at += 1;
            None
        } else {
            Some(self.pipe("template clause", Token::Close)?)
        };
        let span = Span { start, end: self.tokens[self.at - 1].start };
        Ok(Node::Template { name, pipe, span })
    }

    fn name(&mut self, context: &str) -> Result<String, Problem> {
        self.skip_space();
        match self.next() {
            Token::String(name) => Ok(name),
            _ => Err(self.unexpected_last(context)),
        }
    }
}

/// Whether a definition says nothing: then another one of its name is no repetition.
fn is_empty(nodes: &[Node]) -> bool {
    nodes.iter().all(|node| matches!(node, Node::Text(text) if text.trim().is_empty()))
}

/// Pipelines and operands.
impl<'a> Parser<'a> {
    /// A pipeline up to and over its end, `}}` or `)`. As to Go, a `|` may stand before the end.
    fn pipe(&mut self, context: &str, end: Token<'a>) -> Result<Pipe, Problem> {
        let (variables, assigns) = self.declarations(context)?;
        let mut commands = Vec::new();
        loop {
            self.skip_space();
            if *self.peek() == end {
                self.at += 1;
                break;
            }
            let command = self.command(context, &end)?;
            self.check_stage(&command, commands.len() + 1)?;
            commands.push(command);
        }
        if commands.is_empty() {
            return Err(self.problem(&format!("missing value for {context}")));
        }
        Ok(Pipe { variables, assigns, commands })
    }

    /// `$v :=`, `$v =` or, for `range`, `$k, $v :=`. As to Go, either makes them known from here on;
    /// whether there is one to be set shows when it is.
    fn declarations(&mut self, context: &str) -> Result<(Vec<String>, bool), Problem> {
        self.skip_space();
        let start = self.at;
        let mut variables = Vec::new();
        while let Token::Variable(name) = *self.peek() {
            self.at += 1;
            self.skip_space();
            variables.push(name.to_owned());
            match self.peek() {
                Token::Symbol(symbol @ (":=" | "=")) => {
                    let assigns = *symbol == "=";
                    self.at += 1;
                    self.variables.extend(variables.iter().cloned());
                    return Ok((variables, assigns));
                }
                Token::Symbol(",") if context == "range" && variables.len() < 2 => {
                    self.at += 1;
                    self.skip_space();
                }
                Token::Symbol(",") => {
                    let message = format!("too many declarations in {context}");
                    return Err(self.problem(&message));
                }
                _ => break,
            }
        }
        self.at = start;
        Ok((Vec::new(), false))
    }

    /// One command, and the `|` behind it.
    fn command(&mut self, context: &str, end: &Token<'a>) -> Result<Command, Problem> {
        let mut operands = Vec::new();
        loop {
            self.skip_space();
            if let Some(operand) = self.operand()? {
                operands.push(operand);
            }
            let more = match self.peek() {
                Token::Space => continue,
                Token::Symbol("|") if !operands.is_empty() => true,
                next if next == end => false,
                Token::Close => return Err(self.problem("unclosed left paren")),
                Token::Symbol(")") => {
                    self.at += 1;
                    return Err(self.unexpected_last(context));
                }
                _ => {
                    self.at += 1;
                    let place = if operands.is_empty() { context } else { "operand" };
                    return Err(self.unexpected_last(place));
                }
            };
            self.at += usize::from(more);
            return Ok(Command { operands });
        }
    }

    /// A constant takes no value from the stage before it.
    fn check_stage(&self, command: &Command, stage: usize) -> Result<(), Problem> {
        use OperandKind::{Bool, Dot, Float, Int, Nil, String};
        let first = &command.operands[0].kind;
        let constant = matches!(first, Bool(_) | Dot | Nil | Int(_) | Float(_) | String(_));
        if stage > 1 && constant {
            let message = format!("non executable command in pipeline stage {stage}");
            return Err(self.problem(&message));
        }
        Ok(())
    }

    fn operand(&mut self) -> Result<Option<Operand>, Problem> {
        let start = self.tokens[self.at].start;
        let Some(mut kind) = self.term()? else { return Ok(None) };
        let (first_field, mut fields) = (self.at, Vec::new());
        while let Token::Field(name) = *self.peek() {
            self.at += 1;
            fields.push(name.to_owned());
        }
        let span = Span { start, end: self.last_end() };
        if !fields.is_empty() {
            kind = match kind {
                OperandKind::Field(mut first) => {
                    first.extend(fields);
                    OperandKind::Field(first)
                }
                OperandKind::Variable(name, _) => OperandKind::Variable(name, fields),
                OperandKind::Function(_) | OperandKind::Pipe(_) => {
                    OperandKind::Chain(Box::new(Operand { kind, span }), fields)
                }
                _ => {
                    let term = &self.text[start..self.tokens[first_field].start];
                    return Err(self.problem(&format!("unexpected . after term {}", quoted(term))));
                }
            };
        }
        Ok(Some(Operand { kind, span }))
    }

    fn term(&mut self) -> Result<Option<OperandKind>, Problem> {
        let kind = match self.peek().clone() {
            Token::Word("true") => OperandKind::Bool(true),
            Token::Word("false") => OperandKind::Bool(false),
            Token::Word("nil") => OperandKind::Nil,
            Token::Word(name) => {
                if KEYWORDS.contains(&name) {
                    self.at += 1;
                    return Err(self.unexpected_last("operand"));
                }
                if !functions::exists(name) {
                    return Err(self.problem(&format!("function {} not defined", quoted(name))));
                }
                self.reads_clock |= name == "now";
                OperandKind::Function(name.to_owned())
            }
            Token::Dot => OperandKind::Dot,
            Token::Field(name) => OperandKind::Field(vec![name.to_owned()]),
            Token::Variable(name) => {
                if !self.variables.iter().any(|known| known == name) {
                    return Err(self.problem(&format!("undefined variable {}", quoted(name))));
                }
                OperandKind::Variable(name.to_owned(), Vec::new())
            }
            Token::String(text) => OperandKind::String(text),
            Token::Int(number) => OperandKind::Int(number),
            Token::Float(number) => OperandKind::Float(number),
            Token::Symbol("(") => {
                self.at += 1;
                self.nest()?;
                let pipe = self.pipe("parenthesized pipeline", Token::Symbol(")"))?;
                self.nesting -= 1;
                return Ok(Some(OperandKind::Pipe(Box::new(pipe))));
            }
            _ => return Ok(None),
        };
        self.at += 1;
        Ok(Some(kind))
    }
}

const KEYWORDS: [&str; 10] =
    ["if", "else", "end", "with", "range", "break", "continue", "define", "block", "template"];

/// Tokens.
impl<'a> Parser<'a> {
    fn peek(&self) -> &Token<'a> {
        &self.tokens[self.at].token
    }

    /// Takes the next token; the last one stays.
    fn next(&mut self) -> Token<'a> {
        let token = self.peek().clone();
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        token
    }

    fn skip_space(&mut self) {
        while *self.peek() == Token::Space {
            self.at += 1;
        }
    }

    fn eat_word(&mut self, word: &str) -> bool {
        let found = *self.peek() == Token::Word(word);
        self.at += usize::from(found);
        found
    }

    /// The `}}` of an action that takes nothing more.
    fn close(&mut self, context: &str) -> Result<(), Problem> {
        self.skip_space();
        if *self.peek() != Token::Close {
            self.next();
            return Err(self.unexpected_last(context));
        }
        self.at += 1;
        Ok(())
    }

    fn last_end(&self) -> usize {
        self.tokens[self.at.saturating_sub(1)].end
    }

    fn nest(&mut self) -> Result<(), Problem> {
        self.nesting += 1;
        if self.nesting > MAX_NESTING {
            return Err(self.problem(&format!("nested more than {MAX_NESTING} levels deep")));
        }
        Ok(())
    }

    fn problem(&self, message: &str) -> Problem {
        // A bad character is why the parser stumbled.
        if let Token::Bad(reason, opened) = self.peek() {
            return Problem::unread(self.tokens[self.at].start, reason, *opened);
        }
        let last = &self.tokens[self.at.saturating_sub(1)];
        let from = if last.token == Token::Space { last.end } else { last.start };
        Problem { from, ..Problem::new(last.start, message) }
    }

    /// The error that the text ends before what began at `opened` does.
    fn endless(&self, opened: usize) -> Problem {
        let hint = Some("what begins here needs `{{ end }}`");
        Problem { from: opened, hint, ..self.problem("unexpected EOF") }
    }

    /// Where the newest action begins.
    fn opened(&self) -> usize {
        let mut before = self.tokens[..self.at].iter().rev();
        before.find(|placed| placed.token == Token::Open).map_or(0, |placed| placed.start)
    }

    /// The error that the token just taken does not belong here.
    fn unexpected_last(&self, context: &str) -> Problem {
        let last = self.tokens.len() - 1;
        let at_end = self.at == last && matches!(self.tokens[last].token, Token::Bad(..));
        let placed = &self.tokens[if at_end { last } else { self.at.saturating_sub(1) }];
        let found = match &placed.token {
            Token::Bad(message, opened) => {
                return Problem::unread(placed.start, message, *opened);
            }
            Token::End => "EOF".to_owned(),
            Token::Close => "\"}}\"".to_owned(),
            Token::Open => "\"{{\"".to_owned(),
            Token::Space => "\" \"".to_owned(),
            Token::Word(word) if KEYWORDS.contains(word) => format!("<{word}>"),
            Token::Text(text) | Token::Word(text) | Token::Variable(text) => quoted(text),
            Token::Field(name) => format!("\".{name}\""),
            Token::Dot => "<.>".to_owned(),
            Token::String(text) => quoted(text),
            Token::Int(number) => format!("\"{number}\""),
            Token::Float(number) => format!("\"{number}\""),
            Token::Symbol(symbol) => format!("\"{symbol}\""),
            Token::Stray(character) => format!("\"{character}\""),
        };
        Problem::new(placed.start, format!("unexpected {found} in {context}"))
    }
}
