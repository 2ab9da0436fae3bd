//! What an expression takes at most, told before it is ever run.
//!
//! A step is one node of the expression. Going through a list takes the steps of its body as often as the list can be long: a literal is as
//! long as it is, a sum as long as its parts, everything that comes out of a leaf [`MAX_ITEMS`].

use cel::IdedExpr;
use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, operators};

use crate::fields::MAX_ITEMS;

/// Most steps of one run: lists of full length, one inside the other, twice, with a body of a few comparisons.
pub const MAX_STEPS: u64 = 1 << 21;
/// Deepest nesting of an expression: a long chain of `||` included.
pub const MAX_DEPTH: usize = 96;

/// The functions that there are, beside operators.
const FUNCTIONS: [&str; 13] = [
    "size",
    "contains",
    "startsWith",
    "endsWith",
    "matches",
    "int",
    "uint",
    "double",
    "string",
    "bool",
    "dyn",
    "type",
    operators::NOT_STRICTLY_FALSE,
];
const OPERATORS: [&str; 18] = [
    operators::CONDITIONAL,
    operators::LOGICAL_AND,
    operators::LOGICAL_OR,
    operators::LOGICAL_NOT,
    operators::SUBSTRACT,
    operators::ADD,
    operators::MULTIPLY,
    operators::DIVIDE,
    operators::MODULO,
    operators::EQUALS,
    operators::NOT_EQUALS,
    operators::GREATER_EQUALS,
    operators::LESS_EQUALS,
    operators::GREATER,
    operators::LESS,
    operators::NEGATE,
    operators::INDEX,
    operators::IN,
];

/// Refuses an expression that could take too long, or that names what there is not.
pub(crate) fn check(expression: &IdedExpr) -> Result<(), String> {
    let mut walk = Walk { names: vec!["event".to_owned()], depth: 0 };
    let bounds = walk.bounds(expression)?;
    if bounds.steps > MAX_STEPS {
        return Err(format!("it could take {} steps, and at most {MAX_STEPS} are run", bounds.steps));
    }
    Ok(())
}

/// Of one expression.
#[derive(Clone, Copy)]
struct Bounds {
    steps: u64,
    /// How long its value is, if it is a list or a map.
    items: u64,
}

struct Walk {
    /// The variables that can be named here.
    names: Vec<String>,
    depth: usize,
}

impl Walk {
    fn bounds(&mut self, expression: &IdedExpr) -> Result<Bounds, String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(format!("it is nested deeper than {MAX_DEPTH}"));
        }
        let bounds = self.of(&expression.expr)?;
        self.depth -= 1;
        Ok(Bounds { steps: bounds.steps.saturating_add(1), items: bounds.items })
    }

    fn of(&mut self, expression: &Expr) -> Result<Bounds, String> {
        let leaf = Bounds { steps: 0, items: MAX_ITEMS as u64 };
        match expression {
            Expr::Literal(_) => Ok(leaf),
            Expr::Ident(name) if self.names.contains(name) || name.starts_with('@') => Ok(leaf),
            Expr::Ident(name) => Err(format!("there is no `{name}`: an event's members are `event.…`")),
            Expr::Select(select) => self.bounds(&select.operand).map(|of| Bounds { items: leaf.items, ..of }),
            Expr::List(list) => self.all(list.elements.iter()),
            Expr::Map(map) => {
                let parts = map.entries.iter().map(|entry| match &entry.expr {
                    EntryExpr::MapEntry(entry) => Ok([&entry.key, &entry.value]),
                    EntryExpr::StructField(_) => Err("there are no messages"),
                });
                let parts = parts.collect::<Result<Vec<_>, _>>()?;
                self.all(parts.into_iter().flatten())
            }
            Expr::Call(call) => self.call(call),
            Expr::Comprehension(it) => self.comprehension(it),
            Expr::Struct(_) => Err("there are no messages".to_owned()),
            Expr::Unspecified => Err("it is not complete".to_owned()),
        }
    }

    fn all<'e>(&mut self, parts: impl Iterator<Item = &'e IdedExpr>) -> Result<Bounds, String> {
        let mut bounds = Bounds { steps: 0, items: 0 };
        for part in parts {
            bounds.steps = bounds.steps.saturating_add(self.bounds(part)?.steps);
            bounds.items += 1;
        }
        Ok(bounds)
    }

    fn call(&mut self, call: &CallExpr) -> Result<Bounds, String> {
        let name = call.func_name.as_str();
        if !FUNCTIONS.contains(&name) && !OPERATORS.contains(&name) {
            return Err(format!("there is no `{name}()`"));
        }
        let mut bounds = Bounds { steps: 0, items: MAX_ITEMS as u64 };
        let mut items = 0_u64;
        for part in call.target.as_deref().into_iter().chain(&call.args) {
            let part = self.bounds(part)?;
            bounds.steps = bounds.steps.saturating_add(part.steps);
            items = items.saturating_add(part.items);
        }
        // A sum is as long as both, and a choice at most as that.
        if matches!(name, operators::ADD | operators::CONDITIONAL) {
            bounds.items = items;
        }
        Ok(bounds)
    }

    fn comprehension(&mut self, it: &ComprehensionExpr) -> Result<Bounds, String> {
        let range = self.bounds(&it.iter_range)?;
        let start = self.bounds(&it.accu_init)?;
        let names = self.names.len();
        self.names.push(it.iter_var.clone());
        self.names.extend(it.iter_var2.clone());
        self.names.push(it.accu_var.clone());
        let (condition, step) = (self.bounds(&it.loop_cond)?, self.bounds(&it.loop_step)?);
        let result = self.bounds(&it.result)?;
        self.names.truncate(names);
        let body = condition.steps.saturating_add(step.steps).saturating_mul(range.items);
        let steps = [range.steps, start.steps, body, result.steps].into_iter().fold(0, u64::saturating_add);
        Ok(Bounds { steps, items: range.items })
    }
}
