//! Groups and rules, as the engine runs them.

use std::time::Duration;

use crate::base::RuleId;
use crate::promql::ast::Expr;
use crate::promql::{ParseOptions, parse};
use crate::template::Template;
use crate::yaml::{Node, Position};

/// Whether a query may use what it uses is told when it is asked.
const EVERYTHING: ParseOptions = ParseOptions { experimental_functions: true };

/// Rules that are evaluated one after the other at one time.
#[derive(Clone, PartialEq, Debug)]
pub struct Group {
    /// Its name, unique in its file.
    pub name: String,
    /// The file as the user named it.
    pub file: String,
    /// Where it stands in the file.
    pub position: Position,
    /// How often it runs; absent: the global evaluation interval.
    pub interval: Option<Duration>,
    /// How far behind the slot it looks; absent: not at all.
    pub query_offset: Option<Duration>,
    /// How many series or alerts one rule may yield; absent: any number.
    pub limit: Option<usize>,
    /// Labels of every rule, as written; already merged into [`Rule::labels`].
    pub labels: Vec<(String, String)>,
    /// In the order of the file.
    pub rules: Vec<Rule>,
}

/// One rule.
#[derive(Clone, PartialEq, Debug)]
pub struct Rule {
    /// `file;group;name;n`: the n-th rule of that name in its group, from 0, so that an edit of
    /// other rules does not change it.
    pub id: RuleId,
    /// What it does with the result.
    pub kind: RuleKind,
    /// What it evaluates; its spans refer to `expr_text`.
    pub expr: Expr,
    /// The expression as written, without white space at its end.
    pub expr_text: String,
    /// The same in the file, to find a character of it again.
    pub written: Node,
    /// Labels set on every result, sorted by name; the group's, overridden by the rule's own. An
    /// empty value removes the label. Of an alert, values are templates.
    pub labels: Vec<(String, String)>,
    /// Where it stands in the file.
    pub position: Position,
}

/// What a rule does with its result.
#[derive(Clone, PartialEq, Debug)]
pub enum RuleKind {
    /// Writes series of this name.
    Record {
        /// The metric's name.
        name: String,
    },
    /// Raises alerts.
    Alert(Alert),
}

/// What an alerting rule adds to its expression.
#[derive(Clone, PartialEq, Debug)]
pub struct Alert {
    /// The alert's name.
    pub name: String,
    /// How long the condition must hold.
    pub for_: Duration,
    /// How long it goes on firing after the condition has ended.
    pub keep_firing_for: Duration,
    /// Templates, sorted by name.
    pub annotations: Vec<(String, String)>,
    /// What policy may do about it: the rule's label `action`.
    pub action: Action,
}

/// The closed list of words for the rule label `action`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Action {
    /// Nothing; the alert is enough. Also when the label is absent.
    #[default]
    None,
    /// Advice to the operator.
    Advise,
    /// Suggest a bigger plan.
    Nudge,
    /// Restart the container.
    Restart,
    /// Policy chooses between restart and nudge.
    Decide,
    /// Advise to take the latest change back.
    RollbackAdvice,
}

impl Action {
    /// Every word, in the order in which they are listed to people.
    pub const WORDS: [(&'static str, Action); 6] = [
        ("none", Action::None),
        ("advise", Action::Advise),
        ("nudge", Action::Nudge),
        ("restart", Action::Restart),
        ("decide", Action::Decide),
        ("rollback_advice", Action::RollbackAdvice),
    ];

    /// The action a word stands for.
    pub fn of(word: &str) -> Option<Action> {
        Action::WORDS.iter().find(|(known, _)| *known == word).map(|(_, action)| *action)
    }

    /// Its word.
    pub fn word(self) -> &'static str {
        let word = Action::WORDS.iter().find(|(_, action)| *action == self);
        word.map(|(word, _)| *word).expect("every action has its word")
    }
}

impl Rule {
    /// Where in the file a byte of the expression stands.
    pub fn place_of(&self, byte: usize) -> Position {
        self.written.position_of(byte)
    }

    /// What the texts of an alert ask with `query`, as far as that can be told before they are
    /// rendered: the name of the label or annotation, and the query.
    pub fn asked(&self) -> Vec<(&str, Expr)> {
        let RuleKind::Alert(alert) = &self.kind else { return Vec::new() };
        let texts = self.labels.iter().chain(&alert.annotations);
        let mut asked = Vec::new();
        for (name, text) in texts.filter(|(_, text)| text.contains("query")) {
            let queries = Template::parse("", text).map(|template| template.queries());
            let exprs = queries.unwrap_or_default().into_iter();
            let exprs = exprs.filter_map(|query| parse(&query, &EVERYTHING).ok());
            asked.extend(exprs.map(|expr| (name.as_str(), expr)));
        }
        asked
    }

    /// The name of the recorded metric or of the alert.
    pub fn name(&self) -> &str {
        match &self.kind {
            RuleKind::Record { name } => name,
            RuleKind::Alert(alert) => &alert.name,
        }
    }
}
