//! What is to become of what both sides changed.

use std::fmt;
use std::str::FromStr;

use crate::tensor::{Recipe, UnknownRecipe};

/// How conflicts are solved without asking.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Choice {
    /// The side that is merged into.
    Ours,
    /// The side that is merged.
    Theirs,
    /// Tensors by arithmetic. Other conflicts stay.
    Combine(Recipe),
}

impl fmt::Display for Choice {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Choice::Ours => out.write_str("ours"),
            Choice::Theirs => out.write_str("theirs"),
            Choice::Combine(recipe) => recipe.fmt(out),
        }
    }
}

impl FromStr for Choice {
    type Err = UnknownRecipe;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "ours" => Ok(Choice::Ours),
            "theirs" => Ok(Choice::Theirs),
            recipe => recipe.parse().map(Choice::Combine),
        }
    }
}
