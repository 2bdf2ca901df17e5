//! `eq ne lt le gt ge`: Go's comparisons of basic values.

use std::cmp::Ordering;

use super::value::Value;

/// About so many bytes of a value stand in an error.
const MAX_SHOWN: usize = 200;

/// Whether the first argument stands so to the second; `eq` takes more and needs one that is equal.
pub(super) fn compare(name: &str, args: &[Value]) -> Result<bool, String> {
    let (first, others) = args.split_first().ok_or("missing argument for comparison")?;
    if others.is_empty() {
        return Err("missing argument for comparison".to_owned());
    }
    match name {
        "eq" => {
            for other in others {
                if equal(first, other)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        "ne" => equal(first, &others[0]).map(|equal| !equal),
        _ => {
            let order = order(first, &others[0])?;
            Ok(order.is_some_and(|order| match name {
                "lt" => order == Ordering::Less,
                "le" => order != Ordering::Greater,
                "gt" => order == Ordering::Greater,
                _ => order != Ordering::Less,
            }))
        }
    }
}

fn equal(a: &Value, b: &Value) -> Result<bool, String> {
    match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => Ok(a == b),
        (Value::Nil, Value::Nil) => Ok(true),
        (Value::Nil, _) | (_, Value::Nil) => Ok(false),
        (Value::Map(_) | Value::List(_), _) => {
            let mut shown = String::new();
            a.print(&mut shown, MAX_SHOWN);
            Err(format!("non-comparable type {shown}: {}", a.type_name()))
        }
        _ => Ok(order(a, b)? == Some(Ordering::Equal)),
    }
}

/// `None` if either is NaN.
fn order(a: &Value, b: &Value) -> Result<Option<Ordering>, String> {
    use Value::{Duration, Float, Int, String};
    match (a, b) {
        (Int(a) | Duration(a), Int(b) | Duration(b)) => Ok(Some(a.cmp(b))),
        (Int(a), Float(b)) => Ok((*a as f64).partial_cmp(b)),
        (Float(a), Int(b)) => Ok(a.partial_cmp(&(*b as f64))),
        (Float(a), Float(b)) => Ok(a.partial_cmp(b)),
        (String(a), String(b)) => Ok(Some(a.cmp(b))),
        (Value::Bool(_), Value::Bool(_)) => Err("invalid type for comparison".to_owned()),
        _ if basic(a) && basic(b) => Err("incompatible types for comparison".to_owned()),
        _ => Err("invalid type for comparison".to_owned()),
    }
}

fn basic(value: &Value) -> bool {
    use Value::{Bool, Duration, Float, Int, String};
    matches!(value, Bool(_) | Int(_) | Float(_) | String(_) | Duration(_))
}
