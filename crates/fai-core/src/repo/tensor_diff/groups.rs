//! Tensors by layer: `model.layers.12.mlp.up_proj.weight` belongs to the group `model.layers.12.mlp` and to the layer
//! `model.layers.12`. How groups are shown is not here.

use std::cmp::Ordering;
use std::collections::HashMap;

use super::TensorChanges;
use crate::tensor::compare::Distance;

/// Parts of a name that a group without a number has at the most.
const PLAIN_PARTS: usize = 2;

/// How finely tensors are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// By block of a layer: `model.layers.12.mlp`.
    Module,
    /// By layer: `model.layers.12`.
    Layer,
}

/// Tensors that belong together, and what happened to them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Group {
    /// What their names begin with.
    pub name: String,
    /// Tensors of the new version, and those that were removed.
    pub tensors: u64,
    /// Tensors of the same shape and dtype with other bytes.
    pub changed: u64,
    /// Tensors of another shape or dtype.
    pub recast: u64,
    /// Tensors that are only in the new version.
    pub added: u64,
    /// Tensors that are only in the old version.
    pub removed: u64,
    /// Over all that were compared by value and are not the same: as if they were one tensor.
    pub distance: Distance,
}

/// Counts what happened to a tensor of a group.
type Note = fn(&mut Group);

impl Group {
    /// True when anything happened to any of its tensors.
    pub fn is_touched(&self) -> bool {
        self.changed + self.recast + self.added + self.removed > 0
    }
}

impl TensorChanges {
    /// All groups of tensors, also those that nothing happened to, in the order that people count in. Tensors that are
    /// the same are known only when distances were asked for.
    pub fn groups(&self, level: Level) -> Vec<Group> {
        let mut groups: HashMap<&str, Group> = HashMap::new();
        let lists: [(Vec<&str>, Note); 5] = [
            (names(&self.same), |_| {}),
            (names(&self.changed), |group| group.changed += 1),
            (recast(self), |group| group.recast += 1),
            (names(&self.added), |group| group.added += 1),
            (names(&self.removed), |group| group.removed += 1),
        ];
        for (names, note) in lists {
            for name in names {
                let group = groups.entry(group_of(name, level)).or_default();
                group.tensors += 1;
                note(group);
            }
        }
        for moved in self.moved.iter().filter(|moved| moved.by_value) {
            let group = groups.entry(group_of(&moved.name, level)).or_default();
            group.distance.add(&moved.distance);
        }
        let named = groups.into_iter().map(|(name, group)| Group {
            name: name.to_owned(),
            ..group
        });
        let mut groups: Vec<Group> = named.collect();
        groups.sort_by(|one, other| natural(&one.name, &other.name));
        groups
    }
}

fn names(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}

/// Tensors of another shape, another dtype or both, each once.
fn recast(changes: &TensorChanges) -> Vec<&str> {
    let reshaped: Vec<&str> = changes.reshaped.iter().map(|tensor| tensor.name.as_str()).collect();
    let seen: std::collections::HashSet<&str> = reshaped.iter().copied().collect();
    let retyped = changes.retyped.iter().map(|tensor| tensor.name.as_str());
    let only_retyped: Vec<&str> = retyped.filter(|name| !seen.contains(name)).collect();
    [reshaped, only_retyped].concat()
}

/// Where a tensor stands: the layer, which is its name up to the first number, and the module inside the layer, without
/// the last part (`weight`) when there is another. A name without a number has no layer.
pub fn place(name: &str) -> (&str, &str) {
    let layer = layer_len(name).and_then(|len| name.get(..len)).unwrap_or_default();
    let rest = name.get(layer.len()..).unwrap_or_default().trim_start_matches('.');
    let module = rest.rsplit_once('.').map_or(rest, |(module, _)| module);
    (layer, module)
}

/// The name of a tensor's group: what comes before the last part of its name, cut behind the first part that follows a
/// number.
pub fn group_of(name: &str, level: Level) -> &str {
    let Some(layer) = layer_len(name) else {
        let parent = name.rsplit_once('.').map_or(name, |(parent, _)| parent);
        return first_parts(parent, PLAIN_PARTS);
    };
    if level == Level::Layer {
        return name.get(..layer).unwrap_or(name);
    }
    let (_, module) = place(name);
    let first = module.split('.').next().unwrap_or_default();
    let len = if first.is_empty() {
        layer
    } else {
        layer + 1 + first.len()
    };
    name.get(..len).unwrap_or(name)
}

/// Length of the name up to its first part that is a number; `None` when there is none before the last part.
fn layer_len(name: &str) -> Option<usize> {
    let mut end = 0;
    for part in name.split('.') {
        end += part.len();
        if end == name.len() {
            return None;
        }
        if !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()) {
            return Some(end);
        }
        end += 1;
    }
    None
}

fn first_parts(name: &str, count: usize) -> &str {
    match name.match_indices('.').nth(count - 1) {
        Some((end, _)) => name.get(..end).unwrap_or(name),
        None => name,
    }
}

/// The order that people count in: `layers.2` before `layers.10`.
pub fn natural(one: &str, other: &str) -> Ordering {
    let (mut ones, mut others) = (runs(one), runs(other));
    loop {
        let order = match (ones.next(), others.next()) {
            (None, None) => return one.cmp(other),
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
            (Some(one), Some(other)) => compare_runs(one, other),
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

/// A name in runs of digits and of other characters.
fn runs(mut rest: &str) -> impl Iterator<Item = &str> {
    std::iter::from_fn(move || {
        let digits = rest.bytes().next()?.is_ascii_digit();
        let end = rest.find(|c: char| c.is_ascii_digit() != digits).unwrap_or(rest.len());
        let (run, after) = rest.split_at_checked(end)?;
        rest = after;
        Some(run)
    })
}

fn compare_runs(one: &str, other: &str) -> Ordering {
    let is_number = |run: &str| run.bytes().next().is_some_and(|byte| byte.is_ascii_digit());
    if !(is_number(one) && is_number(other)) {
        return one.cmp(other);
    }
    // Numbers of any length, without reading them as such.
    let (one, other) = (one.trim_start_matches('0'), other.trim_start_matches('0'));
    one.len().cmp(&other.len()).then_with(|| one.cmp(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_are_put_together_by_layer_and_module() {
        let cases = [
            (
                "model.layers.12.mlp.up_proj.weight",
                "model.layers.12.mlp",
                "model.layers.12",
            ),
            (
                "model.layers.12.input_layernorm.weight",
                "model.layers.12.input_layernorm",
                "model.layers.12",
            ),
            ("h.0.weight", "h.0.weight", "h.0"),
            (
                "encoder.layer.3.attention.self.query.bias",
                "encoder.layer.3.attention",
                "encoder.layer.3",
            ),
            ("lm_head.weight", "lm_head", "lm_head"),
            ("model.embed_tokens.weight", "model.embed_tokens", "model.embed_tokens"),
            ("a.b.c.d.weight", "a.b", "a.b"),
            ("logit_scale", "logit_scale", "logit_scale"),
            ("weights.0", "weights", "weights"),
            ("0.1.2", "0.1", "0"),
            ("", "", ""),
            ("..", ".", "."),
        ];
        for (name, module, layer) in cases {
            assert_eq!(group_of(name, Level::Module), module, "{name}");
            assert_eq!(group_of(name, Level::Layer), layer, "{name}");
        }
        assert_eq!(
            place("model.layers.12.self_attn.q_proj.weight"),
            ("model.layers.12", "self_attn.q_proj")
        );
        assert_eq!(place("lm_head.weight"), ("", "lm_head"));
    }

    #[test]
    fn numbers_are_counted_and_not_spelled() {
        let mut names = [
            "l.10.b",
            "l.9",
            "l.10.a",
            "l",
            "m",
            "l.009",
            "l.18446744073709551616",
            "l.2x",
        ];
        names.sort_by(|one, other| natural(one, other));
        assert_eq!(
            names,
            [
                "l",
                "l.2x",
                "l.009",
                "l.9",
                "l.10.a",
                "l.10.b",
                "l.18446744073709551616",
                "m"
            ]
        );
    }
}
