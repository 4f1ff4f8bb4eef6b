//! `seeds FOLDER` writes the first inputs of every target into a folder each, where libFuzzer looks for them.

use std::fs;
use std::path::PathBuf;

fn main() {
    let folder = PathBuf::from(std::env::args_os().nth(1).expect("seeds FOLDER"));
    for target in fai_fuzz::targets() {
        let folder = folder.join(target.name);
        fs::create_dir_all(&folder).expect("a folder");
        for (number, seed) in (target.seeds)().into_iter().enumerate() {
            fs::write(folder.join(format!("seed-{number}")), seed).expect("a file");
        }
    }
}
