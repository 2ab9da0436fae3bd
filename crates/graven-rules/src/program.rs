//! An expression that can be run over a leaf's fields.
//!
//! The interpreter is `cel`. Patterns are not left to it: it would compile each one for each leaf. They are literals here, compiled once, and
//! stand in the expression as variables of a type of their own.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock};

use cel::common::ast::{Expr, LiteralValue};
use cel::common::types::{CelBool, CelDouble, CelInt, CelString, CelUInt, STRING_TYPE, Type};
use cel::common::value::{CowVal, StaticVal, Val};
use cel::context::VariableResolver;
use cel::parser::Parser;
use cel::{Context, Env, ExecutionError, IdedExpr, Value};
use regex::{Regex, RegexBuilder};

use crate::bounds;
use crate::fields::Fields;

/// Most patterns of one expression.
pub const MAX_PATTERNS: usize = 32;
/// Most bytes of a compiled pattern.
pub const MAX_PATTERN_BYTES: usize = 256 << 10;

/// The name of the only variable.
const EVENT: &str = "event";
/// What patterns are called, before their number: no expression can name it.
const PATTERN: &str = "@pattern";

const PATTERN_TYPE_NAME: &str = "graven.pattern";
static PATTERN_TYPE: Type = Type::new_unspecified_type(PATTERN_TYPE_NAME);

static ENV: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut env = Env::stdlib();
    let pattern = Type::new_unspecified_type(PATTERN_TYPE_NAME);
    env.add_member_overload("matches", "string_matches_pattern", STRING_TYPE, vec![pattern], matches)
        .expect("the standard functions have no `matches` without regular expressions");
    Arc::new(env)
});

pub(crate) struct Program {
    expression: IdedExpr,
    patterns: Vec<Pattern>,
    pub(crate) reads_raw: bool,
}

impl std::fmt::Debug for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Program")
    }
}

impl Program {
    pub(crate) fn compile(source: &str) -> Result<Self, String> {
        // A parser's panic is a parser's bug, and no reason to stop.
        let parsed = catch_unwind(|| Parser::new().parse(source).map_err(|errors| first(&errors)));
        let mut expression = parsed.unwrap_or_else(|_| Err("it cannot be read".to_owned()))?;
        let mut found = Found::default();
        found.look(&mut expression)?;
        bounds::check(&expression)?;
        Ok(Self { expression, patterns: found.patterns, reads_raw: found.reads_raw })
    }

    /// Whether it is true of a leaf; false where it fails.
    pub(crate) fn is_true(&self, fields: &Fields) -> bool {
        self.run(fields, |value| value.downcast_ref::<CelBool>().map(|it| *it.inner())).unwrap_or(false)
    }

    /// Its value, as a text; `None` where it fails or is of no type that is one.
    pub(crate) fn text(&self, fields: &Fields) -> Option<String> {
        self.run(fields, |value| {
            let text = value.downcast_ref::<CelString>().map(|it| it.inner().to_owned());
            text.or_else(|| value.downcast_ref::<CelInt>().map(|it| it.inner().to_string()))
                .or_else(|| value.downcast_ref::<CelUInt>().map(|it| it.inner().to_string()))
                .or_else(|| value.downcast_ref::<CelBool>().map(|it| it.inner().to_string()))
                .or_else(|| value.downcast_ref::<CelDouble>().map(|it| it.inner().to_string()))
        })
    }

    fn run<T>(&self, fields: &Fields, read: impl Fn(&dyn Val) -> Option<T>) -> Option<T> {
        let run = || {
            let names = Names { event: fields, patterns: &self.patterns };
            let mut context = Context::with_env(ENV.clone());
            context.set_variable_resolver(&names);
            let value = Value::resolve_val(&self.expression, &context).ok()?;
            read(&*value)
        };
        catch_unwind(AssertUnwindSafe(run)).ok().flatten()
    }
}

/// What variables stand for.
struct Names<'a> {
    event: &'a Fields,
    patterns: &'a [Pattern],
}

impl VariableResolver for Names<'_> {
    fn resolve<'b>(&'b self, name: &str) -> Option<CowVal<'b, 'b>> {
        if name == EVENT {
            return Some(CowVal::Borrowed(self.event.value()));
        }
        let number = name.strip_prefix(PATTERN)?;
        Some(CowVal::Borrowed(self.patterns.get(number.parse::<usize>().ok()?)?))
    }
}

/// A compiled pattern.
#[derive(Clone, Debug)]
struct Pattern(Regex);

impl Val for Pattern {
    fn get_type(&self) -> &Type {
        &PATTERN_TYPE
    }

    fn cel_type() -> &'static Type {
        &PATTERN_TYPE
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v> {
        Box::new(self.clone())
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

impl StaticVal for Pattern {}

// The interpreter hands its arguments over.
#[allow(clippy::needless_pass_by_value)]
fn matches<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let [text, pattern] = &arguments[..] else { return Err(ExecutionError::MissingArgumentOrTarget) };
    let found = (text.downcast_ref::<CelString>(), pattern.downcast_ref::<Pattern>());
    let (Some(text), Some(pattern)) = found else { return Err(ExecutionError::MissingArgumentOrTarget) };
    Ok(CowVal::owned(CelBool::from(pattern.0.is_match(text.inner()))))
}

/// What is taken out of an expression, or noted of it.
#[derive(Default)]
struct Found {
    patterns: Vec<Pattern>,
    reads_raw: bool,
    depth: usize,
}

impl Found {
    fn look(&mut self, expression: &mut IdedExpr) -> Result<(), String> {
        self.depth += 1;
        if self.depth > bounds::MAX_DEPTH {
            return Err(format!("it is nested deeper than {}", bounds::MAX_DEPTH));
        }
        match &mut expression.expr {
            Expr::Call(call) => {
                if call.func_name == "matches" {
                    let [argument] = &mut call.args[..] else {
                        return Err("write `text.matches(\"pattern\")`".to_owned());
                    };
                    argument.expr = Expr::Ident(self.pattern(&argument.expr)?);
                }
                let parts = call.target.as_deref_mut().into_iter().chain(&mut call.args);
                parts.into_iter().try_for_each(|part| self.look(part))?;
            }
            Expr::Comprehension(it) => {
                let it = &mut **it;
                let parts = [
                    &mut it.iter_range,
                    &mut it.accu_init,
                    &mut it.loop_cond,
                    &mut it.loop_step,
                    &mut it.result,
                ];
                parts.into_iter().try_for_each(|part| self.look(part))?;
            }
            Expr::List(list) => list.elements.iter_mut().try_for_each(|part| self.look(part))?,
            Expr::Map(map) => {
                for entry in &mut map.entries {
                    if let cel::common::ast::EntryExpr::MapEntry(entry) = &mut entry.expr {
                        self.look(&mut entry.key)?;
                        self.look(&mut entry.value)?;
                    }
                }
            }
            Expr::Select(select) => {
                self.reads_raw |= select.field == "raw";
                if !matches!(select.operand.expr, Expr::Ident(_)) {
                    self.look(&mut select.operand)?;
                }
            }
            // Alone, or with a key that is computed, it may mean any member.
            Expr::Ident(name) => self.reads_raw |= name == EVENT,
            Expr::Literal(_) | Expr::Struct(_) | Expr::Unspecified => {}
        }
        self.depth -= 1;
        Ok(())
    }

    /// Compiles a pattern. Returns the name of the variable that stands for it.
    fn pattern(&mut self, argument: &Expr) -> Result<String, String> {
        let Expr::Literal(LiteralValue::String(pattern)) = argument else {
            return Err("a pattern must stand in the rule itself".to_owned());
        };
        if self.patterns.len() >= MAX_PATTERNS {
            return Err(format!("it has more than {MAX_PATTERNS} patterns"));
        }
        let compiled =
            RegexBuilder::new(pattern.inner()).size_limit(MAX_PATTERN_BYTES).nest_limit(64).build();
        let compiled = compiled.map_err(|error| format!("not a pattern: {error}"))?;
        self.patterns.push(Pattern(compiled));
        Ok(format!("{PATTERN}{}", self.patterns.len() - 1))
    }
}

fn first(errors: &cel::ParseErrors) -> String {
    let found =
        errors.errors.first().map(|error| format!("{} at {}:{}", error.msg, error.pos.0, error.pos.1));
    found.unwrap_or_else(|| "it cannot be read".to_owned())
}
