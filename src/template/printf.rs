//! `printf`: Go's `fmt.Sprintf`, format by format (`fmt/print.go`).

use super::value::Value;
use super::verbs::{Flags, Printer};

/// Go reads no larger width, precision or index.
const MAX_NUMBER: i64 = 1_000_000;

/// Fills the format; stops once the text is longer than `cap`, which the caller then refuses.
pub(super) fn printf(format: &str, args: &[Value], cap: usize) -> String {
    let mut run = Run {
        rest: format,
        args,
        next: 0,
        reordered: false,
        good_index: true,
        printer: Printer::new(cap),
    };
    while let Some(percent) = run.rest.find('%') {
        if run.printer.is_full() {
            return run.printer.out;
        }
        run.printer.out.push_str(&run.rest[..percent]);
        run.rest = &run.rest[percent + 1..];
        if !run.directive() {
            run.printer.out.push_str("%!(NOVERB)");
            run.rest = "";
            break;
        }
    }
    run.printer.out.push_str(run.rest);
    run.extra();
    run.printer.out
}

struct Run<'a> {
    rest: &'a str,
    args: &'a [Value],
    /// The argument that comes next.
    next: usize,
    /// Whether any directive named its argument; then none is called superfluous.
    reordered: bool,
    good_index: bool,
    printer: Printer,
}

impl Run<'_> {
    /// One directive behind its `%`; false if the format ends before its verb.
    fn directive(&mut self) -> bool {
        self.good_index = true;
        self.printer.flags = self.flags();
        let after_index = self.width();
        let Some(verb) = self.precision(after_index) else { return false };
        self.rest = &self.rest[verb.len_utf8()..];
        let out = &mut self.printer.out;
        if verb == '%' {
            out.push('%');
        } else if !self.good_index {
            out.push_str(&format!("%!{verb}(BADINDEX)"));
        } else if let Some(value) = self.args.get(self.next) {
            self.next += 1;
            if matches!(verb, 'v' | 'w') {
                let flags = &mut self.printer.flags;
                (flags.sharp_v, flags.plus_v) = (flags.sharp, flags.plus);
                (flags.sharp, flags.plus) = (false, false);
            }
            self.printer.argument(value, verb);
        } else {
            out.push_str(&format!("%!{verb}(MISSING)"));
        }
        true
    }

    fn flags(&mut self) -> Flags {
        let mut flags = Flags::default();
        while let Some(flag) = self.rest.chars().next() {
            match flag {
                '-' => (flags.minus, flags.zero) = (true, false),
                '+' => flags.plus = true,
                '#' => flags.sharp = true,
                '0' => flags.zero = !flags.minus,
                ' ' => flags.space = true,
                _ => break,
            }
            self.rest = &self.rest[1..];
        }
        flags
    }

    /// The width, a number or `*`; whether an index stood right before what follows.
    fn width(&mut self) -> bool {
        let after_index = self.index();
        if self.eat("*") {
            let width = self.number_argument();
            if width.is_none() {
                self.printer.out.push_str("%!(BADWIDTH)");
            }
            let flags = &mut self.printer.flags;
            if width.is_some_and(|width| width < 0) {
                (flags.minus, flags.zero) = (true, false);
            }
            flags.width = width.map(|width| usize::try_from(width.abs()).unwrap_or(0));
            return false;
        }
        self.printer.flags.width = self.number();
        self.good_index &= !(after_index && self.printer.flags.width.is_some());
        after_index
    }

    /// The precision if there is one, and the verb behind it.
    fn precision(&mut self, mut after_index: bool) -> Option<char> {
        if self.eat(".") {
            self.good_index &= !after_index;
            after_index = self.index();
            if self.eat("*") {
                let precision = self.number_argument();
                let precision = precision.and_then(|precision| usize::try_from(precision).ok());
                if precision.is_none() {
                    self.printer.out.push_str("%!(BADPREC)");
                }
                self.printer.flags.precision = precision;
                after_index = false;
            } else {
                self.printer.flags.precision = Some(self.number().unwrap_or(0));
            }
        }
        if !after_index {
            self.index();
        }
        self.rest.chars().next()
    }

    fn eat(&mut self, symbol: &str) -> bool {
        let after = self.rest.strip_prefix(symbol);
        self.rest = after.unwrap_or(self.rest);
        after.is_some()
    }

    /// `[n]`: the n-th argument is next.
    fn index(&mut self) -> bool {
        let Some(inside) = self.rest.strip_prefix('[') else { return false };
        self.reordered = true;
        let Some((digits, after)) = inside.split_once(']') else {
            self.good_index = false;
            self.rest = inside;
            return false;
        };
        self.rest = after;
        let plain = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
        let index: Option<usize> = digits.parse().ok().filter(|_| plain);
        match index.and_then(|index| index.checked_sub(1)).filter(|at| *at < self.args.len()) {
            Some(at) => self.next = at,
            None => self.good_index = false,
        }
        plain
    }

    /// A number; one that is too large takes all that follows with it, as in Go.
    fn number(&mut self) -> Option<usize> {
        let digits = self.rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.rest.len());
        let (number, after) = self.rest.split_at(digits);
        if number.is_empty() {
            return None;
        }
        match number.parse::<i64>() {
            Ok(number) if number <= MAX_NUMBER => {
                self.rest = after;
                usize::try_from(number).ok()
            }
            _ => {
                self.rest = "";
                None
            }
        }
    }

    /// What a `*` stands for: the next argument, if it is a whole number of sensible size.
    fn number_argument(&mut self) -> Option<i64> {
        let value = self.args.get(self.next)?;
        self.next += 1;
        match value {
            Value::Int(number) | Value::Duration(number) => {
                Some(*number).filter(|number| (-MAX_NUMBER..=MAX_NUMBER).contains(number))
            }
            _ => None,
        }
    }

    /// Names the arguments that no directive took.
    fn extra(&mut self) {
        let left = self.args.get(self.next..).unwrap_or_default();
        if self.reordered || left.is_empty() {
            return;
        }
        self.printer.flags = Flags::default();
        self.printer.out.push_str("%!(EXTRA ");
        for (at, value) in left.iter().enumerate() {
            if self.printer.is_full() {
                return;
            }
            self.printer.out.push_str(if at == 0 { "" } else { ", " });
            match value {
                Value::Nil => self.printer.out.push_str("<nil>"),
                _ => {
                    self.printer.out.push_str(&format!("{}=", value.type_name()));
                    self.printer.argument(value, 'v');
                }
            }
        }
        self.printer.out.push(')');
    }
}
