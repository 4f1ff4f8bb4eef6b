//! Step series: taken at `commit`, drawn by `plot`

use std::fs;

use crate::support::{Sandbox, text};
use serde_json::json;

/// A commit with all kinds of files of series.
fn trained() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("model.bin", "1");
    sandbox.write(
        "dvclive/plots/metrics/train/loss.tsv",
        "step\tloss\n0\t2.5\n1\t1.5\n2\t0.75\n",
    );
    sandbox.write(
        "metrics.csv",
        "epoch,step,val_loss,val_acc\n0,10,3,\n0,20,2,0.5\n1,30,nan,0.75\n",
    );
    sandbox.write(
        "events.jsonl",
        "{\"step\": 1, \"lr\": 0.1}\n{\"step\": 2, \"lr\": 0.05, \"grad\": NaN}\n",
    );
    sandbox.commit("first run");
    sandbox
}

#[test]
fn last_values_go_into_the_commit() {
    let sandbox = trained();
    let metrics = sandbox.json(&["metrics"])["metrics"].clone();
    assert_eq!(
        metrics,
        json!({ "grad": "NaN", "lr": 0.05, "train.loss": 0.75, "val_acc": 0.75, "val_loss": "NaN" })
    );
    assert_eq!(
        sandbox.ok(&["best", "val_acc"]).trim(),
        text(&sandbox.json(&["log"])["commits"][0]["id"])
    );
}

#[test]
fn a_summary_wins_over_the_end_of_a_series() {
    let sandbox = Sandbox::new();
    sandbox.write("metrics.csv", "step,loss,acc\n1,2,0.1\n2,1,0.2\n");
    sandbox.write(
        "metrics.json",
        "{\"loss\": 0.5, \"eval\": {\"nan\": NaN, \"best\": Infinity}}",
    );
    sandbox.ok(&["add", "-A"]);
    let commit = sandbox.json(&["commit", "-m", "run", "--metric", "acc=0.9"]);
    assert_eq!(
        commit["metrics"],
        json!({ "acc": 0.9, "eval.best": "inf", "eval.nan": "NaN", "loss": 0.5 })
    );
}

#[test]
fn what_cannot_be_read_is_warned_of_and_committed() {
    let long = "x".repeat(300);
    for (path, broken, reason) in [
        ("metrics.csv", "step,loss\n1,2\n3\n".to_owned(), "line 3 has 1 cells"),
        ("metrics.csv", String::new(), "it is empty"),
        (
            "events.jsonl",
            "{\"loss\": 1}\nTraceback\n".to_owned(),
            "line 2 is no JSON",
        ),
        (
            "dvclive/plots/metrics/a.tsv",
            "\u{0}\n".to_owned(),
            "it holds no numbers",
        ),
        (
            "metrics.json",
            format!("{{\"{long}\": 1}}"),
            "a key in it is longer than 256 bytes",
        ),
        (
            "metrics.json",
            format!("{{\"a\": \"{}\"}}", "x".repeat(500_000)),
            "more than 400000 bytes",
        ),
    ] {
        let sandbox = Sandbox::new();
        sandbox.write(path, &broken);
        sandbox.write("model.bin", "1");
        sandbox.ok(&["add", "-A"]);
        let (said, warning) = sandbox.warned(&["commit", "-m", "run"]);
        assert!(said.starts_with("Created commit "), "{said}");
        assert!(
            warning.starts_with("warning: ") && warning.contains(reason),
            "{path}: {warning}"
        );
        assert_eq!(sandbox.json(&["metrics"])["metrics"], json!({}));
    }
}

#[test]
fn steps_are_drawn() {
    let sandbox = trained();
    let drawn = |arguments: &[&str]| {
        let output = sandbox.command(arguments).env("COLUMNS", "60").output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    insta::assert_snapshot!("plot_of_steps", drawn(&["plot", "train.loss"]));
    insta::assert_snapshot!("plot_of_two", drawn(&["plot", "train.loss", "val_acc"]));
    let output = sandbox.command(&["plot", "lr"]).env("LANG", "C").output().unwrap();
    assert!(output.stdout.is_ascii());
    let document = sandbox.json(&["plot", "val_loss"]);
    assert_eq!(document["x"], "step");
    assert_eq!(
        document["lines"][0]["points"],
        json!([[10.0, 3.0], [20.0, 2.0], [30.0, "NaN"]])
    );
}

#[test]
fn runs_are_drawn_over_each_other() {
    let sandbox = trained();
    sandbox.write("metrics.csv", "step,val_acc\n10,0.6\n20,0.9\n");
    sandbox.commit("second run");
    let document = sandbox.json(&["plot", "val_acc", "HEAD~1", "HEAD"]);
    let labels: Vec<String> = document["lines"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| text(&line["label"]))
        .collect();
    assert!(
        labels[0].starts_with("HEAD~1 (") && labels[1].starts_with("HEAD ("),
        "{labels:?}"
    );
    let over = sandbox.json(&["plot", "val_acc", "--x", "commit"]);
    assert_eq!(
        (&over["x"], &over["lines"][0]["points"]),
        (&json!("commit"), &json!([[1.0, 0.75], [2.0, 0.9]]))
    );
}

#[test]
fn an_svg_is_written() {
    let sandbox = trained();
    assert_eq!(
        sandbox.ok(&["plot", "train.loss", "val_acc", "-o", "out.svg"]),
        "Wrote out.svg\n"
    );
    insta::assert_snapshot!("plot_svg", fs::read_to_string(sandbox.path("out.svg")).unwrap());
}

/// Size and pixels of a PNG file, its rows from above.
fn pixels(file: &[u8]) -> (u32, u32, Vec<[u8; 3]>) {
    let mut reader = png::Decoder::new(std::io::Cursor::new(file)).read_info().unwrap();
    let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
    let frame = reader.next_frame(&mut bytes).unwrap();
    assert_eq!(
        (frame.color_type, frame.bit_depth),
        (png::ColorType::Rgb, png::BitDepth::Eight)
    );
    let pixels = bytes.chunks(3).map(|pixel| pixel.try_into().unwrap()).collect();
    (frame.width, frame.height, pixels)
}

#[test]
fn a_png_is_written() {
    let sandbox = trained();
    let file = |name: &str| {
        let said = sandbox.ok(&["plot", "train.loss", "val_acc", "-o", name]);
        assert_eq!(said, format!("Wrote {name}\n"));
        sandbox.read(name)
    };
    // The same picture every time, over the one before.
    assert_eq!(file("out.png"), file("out.PNG"));
    let (width, height, pixels) = pixels(&file("out.png"));
    // Twice the size of the SVG above, where the places below are from.
    assert_eq!((width, height), (1600, 1032));
    let at = |x: f64, y: f64| pixels[(y * 2.0) as usize * 1600 + (x * 2.0) as usize];
    let (white, blue, red) = ([255; 3], [0x00, 0x72, 0xb2], [0xd5, 0x5e, 0x00]);
    assert_eq!(
        (at(0.0, 0.0), at(799.9, 515.9), at(600.0, 300.0)),
        (white, white, white)
    );
    assert_eq!((at(103.3, 232.0), at(115.0, 304.0)), (blue, blue), "train.loss falls");
    assert_eq!(at(663.3, 400.0), red, "val_acc rises");
    assert_eq!((at(95.0, 480.0), at(95.0, 498.0)), (blue, red), "the legend");
    assert_eq!((at(80.0, 300.0), at(500.0, 424.0)), ([0x22; 3], [0x22; 3]), "the frame");
    assert_eq!(at(500.0, 136.0), [0xe5; 3], "a line of a tick");
    let ink = |left: u32, top: u32, right: u32, bottom: u32| {
        let rows = pixels.chunks(1600).take(bottom as usize * 2).skip(top as usize * 2);
        let cells = rows.flat_map(|row| &row[left as usize * 2..right as usize * 2]);
        cells.filter(|pixel| **pixel == [0x22; 3]).count()
    };
    for (what, [left, top, right, bottom]) in [
        ("title", [300, 8, 500, 30]),
        ("tick of x", [420, 430, 440, 444]),
        ("tick of y", [50, 126, 74, 142]),
        ("name of x", [410, 450, 450, 468]),
        ("legend", [118, 472, 300, 486]),
    ] {
        let count = ink(left, top, right, bottom);
        let all = ((right - left) * (bottom - top) * 4) as usize;
        assert!(count > 20 && count < all / 3, "{what}: {count} of {all}");
    }
    assert_eq!(ink(600, 2, 800, 38), 0, "nothing beside the title");
}

#[test]
fn a_picture_is_written_whole_or_not_at_all() {
    let sandbox = trained();
    for name in ["out.jpg", "out", "png", "out.svgz"] {
        let problem = sandbox.fails_with(2, &["plot", "train.loss", "-o", name]);
        problem.is("usage", &[".svg", ".png"]).hints("-o FILE.png");
        assert!(!sandbox.exists(name));
    }
    for name in ["out.png", "out.svg"] {
        let target = format!("nosuch/{name}");
        sandbox
            .fails(&["plot", "train.loss", "-o", &target])
            .is("error", &[&target]);
        assert!(!sandbox.exists("nosuch"));
        sandbox.write(name, "before");
        sandbox.fails(&["plot", "nosuch", "-o", name]);
        sandbox.fails(&["plot", "grad", "-o", name]).is("not_found", &["grad"]);
        assert_eq!(sandbox.read(name), b"before");
    }
    let document = sandbox.json(&["plot", "train.loss", "-o", "out.png"]);
    assert!(text(&document["file"]).ends_with("/out.png"), "{document}");
}

#[test]
fn letters_that_a_png_has_not_are_warned_of() {
    let sandbox = Sandbox::new();
    sandbox.write("metrics.csv", "step,損失\n1,2\n2,1\n");
    sandbox.commit("run");
    let (said, warning) = sandbox.warned(&["plot", "損失", "-o", "out.png"]);
    assert_eq!(said, "Wrote out.png\n");
    assert!(warning.contains("an SVG file has them all"), "{warning}");
    sandbox.ok(&["plot", "損失", "-o", "out.svg"]);
    assert!(String::from_utf8(sandbox.read("out.svg")).unwrap().contains("損失"));
}

#[test]
fn what_is_not_there_is_an_error() {
    let sandbox = trained();
    let problem = sandbox.fails(&["plot", "nosuch", "--x", "step"]);
    problem
        .is("not_found", &["\"nosuch\"", "there are grad, lr, train.loss"])
        .hints("--x commit");
    sandbox.fails(&["plot", "nosuch"]).is("not_found", &["\"nosuch\""]);
    sandbox.fails(&["plot", "grad"]).is("not_found", &["grad"]);
    sandbox.misused(&["plot"]);
}
