//! What a template asks with `query`, as far as its text tells before it is rendered.

use super::parser::Parsed;
use super::tree::{Command, Node, Operand, OperandKind, Pipe};

/// Stands where a value stands that only the alert brings.
pub const UNTOLD: &str = "plimsoll_untold";

/// The queries that are texts, or made by `printf` of a format that is one: `query "up"`,
/// `printf "up{job='%s'}" $labels.job | query`.
pub(super) fn queries(parsed: &Parsed) -> Vec<String> {
    let mut found = Vec::new();
    let mut open: Vec<&Node> =
        parsed.main.iter().chain(parsed.defined.values().flatten()).collect();
    while let Some(node) = open.pop() {
        match node {
            Node::Action(pipe) => of_pipe(pipe, &mut found),
            Node::If(branch) | Node::With(branch) | Node::Range(branch) => {
                of_pipe(&branch.pipe, &mut found);
                open.extend(branch.body.iter().chain(&branch.otherwise));
            }
            Node::Template { pipe, .. } => pipe.iter().for_each(|pipe| of_pipe(pipe, &mut found)),
            Node::Text(_) | Node::Break | Node::Continue => {}
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

fn of_pipe(pipe: &Pipe, found: &mut Vec<String>) {
    for (index, command) in pipe.commands.iter().enumerate() {
        command.operands.iter().for_each(|operand| of_operand(operand, found));
        let [Operand { kind: OperandKind::Function(name), .. }, args @ ..] =
            command.operands.as_slice()
        else {
            continue;
        };
        if name == "query" {
            found.extend(match args.first() {
                Some(operand) => text_of(operand),
                None => result_of(&pipe.commands[..index]),
            });
        }
    }
}

fn of_operand(operand: &Operand, found: &mut Vec<String>) {
    match &operand.kind {
        OperandKind::Pipe(pipe) => of_pipe(pipe, found),
        OperandKind::Chain(inner, _) => of_operand(inner, found),
        _ => {}
    }
}

/// The text an operand is.
fn text_of(operand: &Operand) -> Option<String> {
    match &operand.kind {
        OperandKind::String(text) => Some(text.clone()),
        OperandKind::Pipe(pipe) => result_of(&pipe.commands),
        _ => None,
    }
}

/// The text that the last of these commands gives.
fn result_of(commands: &[Command]) -> Option<String> {
    match commands.last()?.operands.as_slice() {
        [operand] => text_of(operand),
        [Operand { kind: OperandKind::Function(name), .. }, format, ..] if name == "printf" => {
            text_of(format).map(|format| filled(&format))
        }
        _ => None,
    }
}

/// A format with something that can stand there for each of its verbs.
fn filled(format: &str) -> String {
    let mut text = String::new();
    let mut rest = format;
    while let Some(percent) = rest.find('%') {
        text.push_str(&rest[..percent]);
        let directive = &rest[percent + 1..];
        let is_verb = |c: char| c.is_ascii_alphabetic() || c == '%';
        let Some(verb_at) = directive.find(is_verb) else { return text };
        match directive.as_bytes()[verb_at] {
            b'%' => text.push('%'),
            b's' | b'v' => text.push_str(UNTOLD),
            b'q' => text.push_str(&format!("\"{UNTOLD}\"")),
            _ => text.push('1'),
        }
        rest = &directive[verb_at + 1..];
    }
    text + rest
}

#[cfg(test)]
mod tests {
    use super::super::Template;
    use super::UNTOLD;

    #[test]
    fn queries_are_found_wherever_they_stand() {
        for (text, want) in [
            ("no action", vec![]),
            ("{{ $value }} {{ printf \"up\" }}", vec![]),
            ("{{ query \"up\" | first | value }}", vec!["up"]),
            ("{{ \"up\" | query | len }}", vec!["up"]),
            (
                "{{ with query `sum(a)` }}{{ range query \"b\" }}x{{ end }}{{ else }}{{ query \"c\" }}{{ end }}",
                vec!["b", "c", "sum(a)"],
            ),
            (
                "{{ if gt (query \"a\" | first | value) 1.0 }}{{ len (query \"b\") }}{{ end }}",
                vec!["a", "b"],
            ),
            (
                "{{ define \"t\" }}{{ query . }}{{ query \"d\" }}{{ end }}{{ template \"t\" (query \"e\") }}",
                vec!["d", "e"],
            ),
            ("{{ (query \"a\" | first).Value }}", vec!["a"]),
            ("{{ $q := \"a\" }}{{ query $q }}", vec![]),
            (
                "{{ printf \"a{i=%q,j='%s',k=\\\"%v\\\"} > %.2f %% 3\" $labels.i $labels.j 1 $value | query }}",
                vec!["a{i=\"?\",j='?',k=\"?\"} > 1 % 3"],
            ),
            ("{{ query (printf \"rate(%s_total[5m])\" $labels.m) }}", vec!["rate(?_total[5m])"]),
            ("{{ printf \"a%\" | query }}", vec!["a"]),
            ("{{ print \"a\" | query }}", vec![]),
            ("{{ query \"a\" }}{{ query \"a\" }}", vec!["a"]),
        ] {
            let template = Template::parse("__alert_A", text)
                .unwrap_or_else(|error| panic!("{text}: {error}"));
            let want: Vec<String> = want.iter().map(|query| query.replace('?', UNTOLD)).collect();
            assert_eq!(template.queries(), want, "{text}");
        }
    }
}
