//! Finding the tensors in what a PyTorch pickle builds, and their names: the path through dicts, lists and
//! attributes that leads to them. Storages and byte ranges are not here.

use crate::tensor::LayoutError;
use crate::tensor::names::MAX_NAME;
use crate::tensor::pickle::{Id, Object, Pickle, Value};
use std::fmt::Write;

/// The arguments with which PyTorch would rebuild a tensor.
pub(super) struct Rebuild<'p> {
    /// Storage, offset, size, stride and so on.
    pub args: &'p [Id],
    /// The element type, where it is an argument and not the storage's.
    pub dtype: Option<Id>,
}

/// The attributes in which a module keeps what belongs to it: left out of names, as `state_dict` does.
const TRANSPARENT: [&str; 3] = ["_parameters", "_buffers", "_modules"];

/// Calls that wrap calls, one in another.
const MAX_WRAPPED: usize = 8;

/// A value whose children are being visited.
struct Frame {
    id: Id,
    next: usize,
    /// Length of the value's own path.
    path: usize,
}

/// Calls `found` with the path and the arguments of each tensor in `pickle`, depth first and in the pickle's
/// order. Each value is visited once: a tensor with two paths has the first, and cycles end.
///
/// Paths start with `base`. Values whose path is longer than a tensor's name may be are left out.
pub(super) fn tensors<'p>(
    pickle: &'p Pickle<'_>,
    base: &str,
    found: &mut dyn FnMut(&str, Rebuild<'p>) -> Result<(), LayoutError>,
) -> Result<(), LayoutError> {
    let mut visited = vec![false; pickle.len()];
    let mut path = base.to_owned();
    let mut frames = Vec::new();
    let mut next = Some(pickle.root());
    loop {
        if let Some(id) = next.take()
            && let Some(visited) = visited.get_mut(id.index())
            && !*visited
        {
            *visited = true;
            if let Some(rebuild) = rebuild(pickle, id) {
                found(&path, rebuild)?;
            }
            frames.push(Frame {
                id,
                next: 0,
                path: path.len(),
            });
        }
        let Some(frame) = frames.last_mut() else {
            return Ok(());
        };
        path.truncate(frame.path);
        match child(pickle, frame.id, frame.next) {
            Some((label, id)) => {
                let seen = visited.get(id.index()).copied().unwrap_or(true);
                next = (!seen && extend(&mut path, label)).then_some(id);
                frame.next += 1;
            }
            None => {
                frames.pop();
            }
        }
    }
}

/// What a child adds to its parent's path.
enum Label<'p> {
    Nothing,
    Text(&'p str),
    Number(i64),
}

/// Appends a label to a path; false when that would become too long.
fn extend(path: &mut String, label: Label<'_>) -> bool {
    if !path.is_empty() && !matches!(label, Label::Nothing) {
        path.push('.');
    }
    match label {
        Label::Nothing => {}
        Label::Text(text) if text.len() > MAX_NAME => return false,
        Label::Text(text) => path.push_str(text),
        Label::Number(number) => {
            // Writing to a string cannot fail.
            let _ = write!(path, "{number}");
        }
    }
    path.len() <= MAX_NAME
}

/// The child of a value at `position`; `None` behind the last.
fn child<'p>(pickle: &'p Pickle<'_>, id: Id, position: usize) -> Option<(Label<'p>, Id)> {
    let number = || Label::Number(i64::try_from(position).unwrap_or(i64::MAX));
    match pickle.get(id) {
        Value::Tuple(items) | Value::List(items) => items.get(position).map(|&item| (number(), item)),
        Value::Dict(pairs) => pairs.get(position).map(|&(key, value)| {
            let label = match *pickle.get(key) {
                Value::Text(text) if TRANSPARENT.contains(&text) => Label::Nothing,
                Value::Text(text) => Label::Text(text),
                Value::Int(int) => Label::Number(int),
                _ => number(),
            };
            (label, value)
        }),
        Value::Object(object) => {
            let parts = parts(pickle, object);
            // A part that is missing is passed over as the object itself, which has been visited.
            parts.get(position).map(|&part| (Label::Nothing, part.unwrap_or(id)))
        }
        _ => None,
    }
}

/// How PyTorch's own functions treat their arguments.
enum Function {
    /// Makes a tensor of a storage; `dtype` is the position of an argument.
    Rebuild { dtype: Option<usize> },
    /// Returns its first argument, with something done to it.
    Wrap,
    /// Calls its first argument with its third and sets the fourth as state.
    Apply,
    /// Anything else.
    Unknown,
}

fn function(pickle: &Pickle<'_>, id: Id) -> Function {
    match pickle.global(id) {
        Some(("torch._utils", name)) => match name {
            "_rebuild_tensor" | "_rebuild_tensor_v2" | "_rebuild_qtensor" => Function::Rebuild { dtype: None },
            "_rebuild_tensor_v3" => Function::Rebuild { dtype: Some(6) },
            "_rebuild_parameter" | "_rebuild_parameter_with_state" => Function::Wrap,
            _ => Function::Unknown,
        },
        Some(("torch.jit._pickle", _)) => Function::Wrap,
        Some(("torch._tensor" | "torch.tensor", "_rebuild_from_type" | "_rebuild_from_type_v2")) => Function::Apply,
        _ => Function::Unknown,
    }
}

/// Follows calls that apply other functions to the innermost one, whose function and arguments are returned.
fn unwrap(pickle: &Pickle<'_>, object: &Object) -> (Id, Id) {
    let (mut class, mut args) = (object.class, object.args);
    for _ in 0..MAX_WRAPPED {
        match (function(pickle, class), pickle.sequence(args)) {
            (Function::Apply, &[inner, _, inner_args, ..]) => (class, args) = (inner, inner_args),
            _ => break,
        }
    }
    (class, args)
}

fn rebuild<'p>(pickle: &'p Pickle<'_>, id: Id) -> Option<Rebuild<'p>> {
    let Value::Object(object) = pickle.get(id) else {
        return None;
    };
    let (class, args) = unwrap(pickle, object);
    let Function::Rebuild { dtype } = function(pickle, class) else {
        return None;
    };
    let args = pickle.sequence(args);
    let dtype = dtype.and_then(|position| args.get(position)).copied();
    Some(Rebuild { args, dtype })
}

/// The values inside an object that may hold tensors: from its arguments, its state and its contents.
fn parts(pickle: &Pickle<'_>, object: &Object) -> [Option<Id>; 4] {
    let (class, args) = unwrap(pickle, object);
    let inner = match function(pickle, class) {
        Function::Rebuild { .. } => None,
        Function::Wrap => pickle.sequence(args).first().copied(),
        Function::Apply | Function::Unknown => Some(args),
    };
    // What wraps a tensor or applies a function has the attributes as its fourth argument.
    let attributes = match function(pickle, object.class) {
        Function::Apply | Function::Wrap => pickle.sequence(object.args).get(3).copied(),
        Function::Rebuild { .. } | Function::Unknown => None,
    };
    [inner, attributes, Some(object.state), Some(object.contents)]
}
