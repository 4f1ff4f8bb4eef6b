//! How commits follow each other, drawn in ASCII beside them, as users of Git know it. Which commits come is not here.

use fai_core::object::CommitId;

/// The lines that are open between the commit that was drawn last and those that follow: where each one leads.
#[derive(Debug, Default)]
pub struct Graph {
    columns: Vec<CommitId>,
}

/// What stands beside one commit.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Edge {
    /// Before its first line.
    pub mark: String,
    /// Before its other lines.
    pub bar: String,
    /// Lines of their own after it.
    pub rows: Vec<String>,
}

impl Graph {
    /// Draws the next commit, which leads to `parents`.
    pub fn next(&mut self, id: CommitId, parents: &[CommitId]) -> Edge {
        let column = self.columns.iter().position(|open| *open == id).unwrap_or_else(|| {
            self.columns.push(id);
            self.columns.len() - 1
        });
        let signs = |sign: &'static str, others: &'static str| -> String {
            let of = |index| if index == column { sign } else { others };
            (0..self.columns.len()).map(of).collect()
        };
        let mark = signs("* ", "| ");
        let bar = signs(if parents.is_empty() { "  " } else { "| " }, "| ");
        let mut rows = Vec::new();
        match parents.split_first() {
            None => {
                rows.extend(self.end(column));
            }
            Some((first, others)) => {
                if let Some(open) = self.columns.get_mut(column) {
                    *open = *first;
                }
                for parent in others.iter().rev() {
                    rows.push(self.part(column, *parent));
                }
            }
        }
        while let Some((left, right)) = self.meeting() {
            rows.push(self.join(left, right));
        }
        Edge { mark, bar, rows }
    }

    /// The line in a column ends: those to its right move up.
    fn end(&mut self, column: usize) -> Option<String> {
        let right = self.columns.len() - column - 1;
        self.columns.remove(column);
        let row = format!("{}{}", "| ".repeat(column), " /".repeat(right));
        (right > 0).then_some(row)
    }

    /// A line to one more parent begins to the right of a column.
    fn part(&mut self, column: usize, parent: CommitId) -> String {
        let right = self.columns.len() - column - 1;
        self.columns.insert(column + 1, parent);
        format!("{}|\\{}", "| ".repeat(column), " \\".repeat(right))
    }

    /// Two columns that lead to the same commit.
    fn meeting(&self) -> Option<(usize, usize)> {
        let twin = |(right, open): (usize, &CommitId)| {
            let left = self.columns.iter().position(|other| other == open)?;
            (left < right).then_some((left, right))
        };
        self.columns.iter().enumerate().find_map(twin)
    }

    /// The right one of them goes over to the left one.
    fn join(&mut self, left: usize, right: usize) -> String {
        let after = self.columns.len() - right - 1;
        self.columns.remove(right);
        let straight = "| ".repeat(left);
        let crossed = "|_".repeat(right - left - 1);
        format!("{straight}{crossed}|/{}", " /".repeat(after))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fai_core::object::Id;

    fn id(name: &str) -> CommitId {
        CommitId::of(name.as_bytes())
    }

    /// Draws commits, given as their name and those of their parents, one word each.
    fn drawn(commits: &[&str]) -> String {
        let mut graph = Graph::default();
        let mut text = String::new();
        for commit in commits {
            let names: Vec<&str> = commit.split(' ').collect();
            let parents: Vec<CommitId> = names[1..].iter().map(|name| id(name)).collect();
            let edge = graph.next(id(names[0]), &parents);
            text += &format!("{}{}\n", edge.mark, names[0]);
            edge.rows.iter().for_each(|row| text += &format!("{row}\n"));
        }
        assert!(graph.columns.is_empty(), "{text}");
        text
    }

    #[test]
    fn a_line() {
        assert_eq!(drawn(&["c b", "b a", "a"]), "* c\n* b\n* a\n");
    }

    #[test]
    fn a_fork_and_a_merge() {
        let expected = "* m\n|\\\n| * x\n* | y\n|/\n* a\n";
        assert_eq!(drawn(&["m y x", "x a", "y a", "a"]), expected);
    }

    #[test]
    fn branches_that_were_not_merged() {
        assert_eq!(drawn(&["y a", "x a", "a"]), "* y\n| * x\n|/\n* a\n");
    }

    #[test]
    fn a_line_that_crosses_another() {
        let expected = "* a\n| * b\n| | * c\n|_|/\n| * s\n|/\n* r\n";
        assert_eq!(drawn(&["a r", "b s", "c r", "s r", "r"]), expected);
    }

    #[test]
    fn an_octopus_and_roots() {
        // The lines of roots end, and those to their right move up.
        let expected = "* o\n|\\\n|\\ \\\n* | | x\n /  /\n".replace(" /  /", " / /");
        assert!(drawn(&["o x y z", "x", "y", "z"]).starts_with(&expected));
        assert!(drawn(&["o x y z", "x", "y", "z"]).ends_with("* | y\n /\n* z\n"));
    }
}
