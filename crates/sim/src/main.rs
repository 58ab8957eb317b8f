//! sim: plays clusters from seeds and prints each seed that fails as the command that repeats it.
//!
//! Invariant: the exit code is 0 only when all plays went well.

use sim::Settings;
use sim::copies;
use sim::play::play;
use std::hash::{BuildHasher, RandomState};
use std::process::ExitCode;

const USAGE: &str = "usage: sim [--copies] [--seed N [--told]] [--seeds A..B] [--random COUNT]";

/// What to play.
#[derive(Default)]
struct Wish {
    seeds: Vec<u64>,
    is_copies: bool,
    is_told: bool,
}

fn parse(words: &[String]) -> Result<Wish, String> {
    let mut wish = Wish::default();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
        let number =
            |text: &str| text.parse::<u64>().map_err(|_| format!("{word} is '{text}': it must be a number"));
        match word.as_str() {
            "--seed" => wish.seeds.push(number(value()?)?),
            "--seeds" => {
                let text = value()?;
                let (from, to) =
                    text.split_once("..").ok_or_else(|| format!("{word} is '{text}': write A..B"))?;
                wish.seeds.extend(number(from)?..number(to)?);
            }
            "--random" => {
                let any = RandomState::new();
                wish.seeds.extend((0..number(value()?)?).map(|at| any.hash_one(at)));
            }
            "--copies" => wish.is_copies = true,
            "--told" => wish.is_told = true,
            other => return Err(format!("'{other}' is not known")),
        }
    }
    if wish.seeds.is_empty() { Err("no seeds".to_owned()) } else { Ok(wish) }
}

/// What a play of the wished kind came to.
fn play_one(seed: u64, wish: &Wish) -> Result<String, String> {
    let is_told = wish.is_told;
    if wish.is_copies {
        let settings = copies::Settings { seed, bug: None, is_told };
        return copies::play(settings).map(|played| format!("{played:?}"));
    }
    play(Settings { seed, bug: None, is_told }).map(|played| format!("{played:?}"))
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let wish = match parse(&words) {
        Ok(wish) => wish,
        Err(why) => {
            eprintln!("sim: {why}\n{USAGE}");
            return ExitCode::from(64);
        }
    };
    let (mut passed, mut failed) = (0, 0);
    for seed in wish.seeds.iter().copied() {
        match play_one(seed, &wish) {
            Ok(played) => {
                passed += 1;
                if wish.is_told {
                    println!("{played}");
                }
            }
            Err(why) => {
                failed += 1;
                let kind = if wish.is_copies { "--copies " } else { "" };
                println!("seed {seed}: {why}\n    cargo run -p sim -- {kind}--seed {seed} --told");
            }
        }
    }
    println!("{passed} passed, {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
