//! Whether more or less of a metric is better, as its name tells.

/// Which end of a metric is the better one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// The lowest value wins.
    Min,
    /// The highest value wins.
    Max,
}

const LESS: [&str; 24] = [
    "loss",
    "losses",
    "error",
    "err",
    "mae",
    "mse",
    "rmse",
    "mape",
    "perplexity",
    "ppl",
    "wer",
    "cer",
    "ter",
    "fid",
    "nll",
    "bpb",
    "bpc",
    "ece",
    "latency",
    "seconds",
    "divergence",
    "kl",
    "distance",
    "regret",
];

const MORE: [&str; 31] = [
    "accuracy",
    "acc",
    "top1",
    "top5",
    "f1",
    "auc",
    "auroc",
    "auprc",
    "precision",
    "recall",
    "bleu",
    "rouge",
    "meteor",
    "map",
    "iou",
    "miou",
    "dice",
    "r2",
    "score",
    "reward",
    "return",
    "mrr",
    "ndcg",
    "em",
    "psnr",
    "ssim",
    "kappa",
    "mcc",
    "throughput",
    "winrate",
    "likelihood",
];

impl Direction {
    /// Which end of a metric of that name is better; `None` when the name does not tell, or tells both.
    pub fn guess(name: &str) -> Option<Self> {
        let name = name.to_lowercase();
        let mut words = name
            .split(|c: char| !c.is_alphanumeric())
            .filter(|word| !word.is_empty());
        let (mut less, mut more) = (false, false);
        words.by_ref().for_each(|word| {
            // `rouge1`, `rougeL`, `bleu4`, `mAP50`.
            let stem = word.trim_end_matches(|c: char| c.is_ascii_digit());
            less |= LESS.contains(&word) || LESS.contains(&stem);
            more |= MORE.contains(&word) || MORE.contains(&stem) || stem.starts_with("rouge");
        });
        match (less, more) {
            (true, false) => Some(Direction::Min),
            (false, true) => Some(Direction::Max),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_which_end_is_better() {
        for name in [
            "loss",
            "val_loss",
            "train/loss",
            "eval.perplexity",
            "RMSE",
            "word error",
        ] {
            assert_eq!(Direction::guess(name), Some(Direction::Min), "{name}");
        }
        for name in [
            "accuracy",
            "eval_accuracy",
            "F1",
            "top5",
            "rougeL",
            "bleu4",
            "val/mAP50",
            "r2",
        ] {
            assert_eq!(Direction::guess(name), Some(Direction::Max), "{name}");
        }
        for name in ["", "step", "glossy", "accuracy_loss", "x"] {
            assert_eq!(Direction::guess(name), None, "{name}");
        }
    }
}
