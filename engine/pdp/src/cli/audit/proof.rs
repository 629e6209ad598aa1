//! `portreeve audit verify --export FILE`: an export, proven by itself.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use store::journal::Chain;
use token::VerifyingKey;
use token::keys::{Admitted, FindKey, admit_jwk};

use super::super::Failure;
use super::super::output::Output;
use super::verify::{VerifyArgs, given, words};
use crate::checkpoints::{self, Unsigned};

/// Longest line, bytes: a record, and what stands around it.
const LINE_MAX: u64 = (16 << 20) + 4096;
/// Most keys of an export.
const KEYS_MAX: usize = 10_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    portreeve_export: Option<u32>,
    first_seq: Option<u64>,
    last_seq: Option<u64>,
    before: Option<String>,
    key: Option<Box<RawValue>>,
    seq: Option<u64>,
    first: Option<bool>,
    chain: Option<String>,
    record: Option<Box<RawValue>>,
    checkpoint: Option<String>,
}

/// The keys that an export brings along, as far as they are trusted.
struct Keys {
    brought: Vec<VerifyingKey>,
    /// Those that somebody trusts; none: all that it brings.
    trusted: Option<Admitted>,
}

impl FindKey for Keys {
    fn find(&self, kid: &str) -> Option<&VerifyingKey> {
        match &self.trusted {
            Some(trusted) => trusted.find(kid).filter(|key| key.thumbprint() == kid),
            None => self.brought.iter().find(|key| key.kid() == kid),
        }
    }
}

/// What an export comes to.
#[derive(Debug, Default)]
struct Found {
    first: u64,
    last: u64,
    records: u64,
    checkpoints: u64,
    signed_until: u64,
    signers: std::collections::BTreeSet<String>,
    chain: Option<Chain>,
    announced: u64,
    gaps: Vec<Unsigned>,
}

pub(super) fn run(path: &Path, args: &VerifyArgs, output: Output) -> Result<(), Failure> {
    let mut keys = Keys {
        brought: Vec::new(),
        trusted: args.keys.as_deref().map(given).transpose()?,
    };
    let mut found = Found::default();
    let mut number = 0;
    let what = lines(path, |line| {
        number += 1;
        step(&mut found, &mut keys, number, line)
    })?
    .map(|what| format!("{}:{number}: {what}", path.display()))
    .or_else(|| incomplete(&found).map(|what| format!("{}: {what}", path.display())));
    let value = json!({
        "ok": what.is_none(),
        "first_seq": found.first,
        "last_seq": found.last,
        "records": found.records,
        "checkpoints": found.checkpoints,
        "signed_until": (found.checkpoints > 0).then_some(found.signed_until),
        "keys": found.signers,
        "keys_given": keys.trusted.is_some(),
        "unsigned": found.gaps,
        "broken": what,
    });
    let signers: Vec<&str> = found.signers.iter().map(String::as_str).collect();
    let mut text = format!(
        "records {} to {}: {}; signed up to record {} with the key {}",
        found.first,
        found.last,
        if what.is_none() { "whole" } else { "BROKEN" },
        found.signed_until,
        signers.join(", ")
    );
    for gap in &found.gaps {
        text.push_str(&format!("\n{}", words(gap)));
    }
    if keys.trusted.is_none() {
        text.push_str(
            "\nthe keys are the file's own: hold their names against the engine's (`portreeve \
             signing-keys list`), or give its key set with `--keys`",
        );
    }
    output.print(&value, &text)?;
    what.map_or(Ok(()), |what| Err(Failure::No(what)))
}

/// Hands over each line until one says what is wrong.
fn lines(
    path: &Path,
    mut take: impl FnMut(&str) -> Option<String>,
) -> Result<Option<String>, Failure> {
    let told = |error: std::io::Error| Failure::Unable(format!("{}: {error}", path.display()));
    let mut reader = BufReader::with_capacity(1 << 18, File::open(path).map_err(told)?);
    let mut text = Vec::new();
    loop {
        text.clear();
        let mut limited = reader.by_ref().take(LINE_MAX);
        if limited.read_until(b'\n', &mut text).map_err(told)? == 0 {
            return Ok(None);
        }
        let line = text.strip_suffix(b"\n").map(std::str::from_utf8);
        let wrong = match line {
            Some(Ok(line)) => take(line),
            Some(Err(_)) => Some("the line is not UTF-8".to_owned()),
            None => Some("the line has no end, or is too long".to_owned()),
        };
        if wrong.is_some() {
            return Ok(wrong);
        }
    }
}

fn chain_of(text: &str) -> Option<Chain> {
    let mut chain = [0; 32];
    hex::decode_to_slice(text, &mut chain).ok()?;
    Some(Chain(chain))
}

/// Takes one line in. What is wrong, if something is.
fn step(found: &mut Found, keys: &mut Keys, number: u64, text: &str) -> Option<String> {
    let line: Line = match serde_json::from_str(text) {
        Ok(line) => line,
        Err(error) => return Some(format!("no line of an export: {error}")),
    };
    if number == 1 {
        let header = (line.portreeve_export, line.first_seq, line.last_seq);
        let before = line.before.as_deref().and_then(chain_of);
        let ((Some(1), Some(first), Some(last)), Some(before)) = (header, before) else {
            return Some("an export of this version begins otherwise".to_owned());
        };
        (found.first, found.announced, found.chain) = (first, last, Some(before));
        found.last = first.saturating_sub(1);
        return None;
    }
    if let Some(key) = line.key {
        return match admit_jwk(key.get()) {
            Ok(key) if key.kid() == key.thumbprint() && keys.brought.len() < KEYS_MAX => {
                keys.brought.push(key);
                None
            }
            Ok(_) => Some("the key has another name than its own".to_owned()),
            Err(refusal) => Some(format!("the key is refused: {refusal}")),
        };
    }
    if let Some(signed) = line.checkpoint {
        let checkpoint = match checkpoints::read(&signed, keys) {
            Ok(checkpoint) => checkpoint,
            Err(fault) => return Some(format!("the checkpoint: {fault}")),
        };
        if checkpoint.end.seq != found.last || Some(checkpoint.end.chain) != found.chain {
            return Some(format!(
                "up to record {} this is not what was signed: it was written anew",
                checkpoint.end.seq
            ));
        }
        found.checkpoints += 1;
        found.signed_until = checkpoint.end.seq;
        found.signers.insert(checkpoint.kid);
        return None;
    }
    let record = (line.seq, line.first, line.chain.as_deref(), line.record);
    let ((Some(seq), Some(first), Some(chain), Some(body)), Some(before)) = (record, found.chain)
    else {
        return Some("neither a record nor a checkpoint".to_owned());
    };
    if seq != found.last + 1 {
        return Some(format!(
            "record {seq} stands where {} should",
            found.last + 1
        ));
    }
    found.gaps.extend(Unsigned::read(body.get().as_bytes()));
    let after = before.after(first, seq, body.get().as_bytes());
    if chain_of(chain) != Some(after) {
        return Some(format!("record {seq} is not the one that was written"));
    }
    found.chain = Some(after);
    found.last = seq;
    found.records += 1;
    None
}

/// What is missing at the end of an export whose lines hold.
fn incomplete(found: &Found) -> Option<String> {
    if found.records == 0 {
        return Some("there is no record in it".to_owned());
    }
    // By themselves: since when the engine has a key is not known here.
    let mut gaps = found.gaps.iter().filter(|gap| gap.to >= found.first);
    if let Some(fault) = gaps.find_map(|gap| gap.fault(None)) {
        return Some(fault);
    }
    if found.last != found.announced {
        return Some(format!(
            "it ends at record {} and should at {}: its end has been cut off",
            found.last, found.announced
        ));
    }
    (found.signed_until != found.last).then(|| {
        format!(
            "record {} is the last that is signed, of {}: its proof has been cut off",
            found.signed_until, found.last
        )
    })
}

/// The checkpoints in a file: an export, or one checkpoint a line.
pub(super) fn checkpoints_in(path: &Path) -> Result<Vec<String>, Failure> {
    #[derive(Deserialize)]
    struct One {
        checkpoint: String,
    }
    let mut all = Vec::new();
    let wrong = lines(path, |line| {
        if line.starts_with('{') {
            let one = serde_json::from_str::<One>(line).ok();
            all.extend(one.map(|one| one.checkpoint));
        } else if !line.trim().is_empty() {
            all.push(line.trim().to_owned());
        }
        None
    })?;
    match wrong {
        Some(wrong) => Err(Failure::Unable(format!("{}: {wrong}", path.display()))),
        None if all.is_empty() => Err(Failure::Unable(format!(
            "{}: no checkpoint in it; `portreeve audit export` writes some",
            path.display()
        ))),
        None => Ok(all),
    }
}
