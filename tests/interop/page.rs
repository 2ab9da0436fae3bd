//! The page about other languages shows nothing but what is tested here.

use std::{fs, path::Path};

const PAGE: &str = include_str!("../../proto/README.md");
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../proto");

/// Each block of code in these languages follows a link to the file that it is part of.
const CHECKED: [&str; 5] = ["go", "java", "python", "sh", "xml"];

#[test]
fn the_page_shows_parts_of_the_tested_programs() {
    let mut seen = [0; CHECKED.len()];
    for (language, source, code) in blocks(PAGE) {
        let Some(place) = CHECKED.iter().position(|checked| *checked == language) else { continue };
        let path =
            Path::new(FOLDER).join(source.unwrap_or_else(|| panic!("no source is named for:\n{code}")));
        let file = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(is_part(&code, &file), "this is not in {}:\n{code}", path.display());
        seen[place] += 1;
    }
    assert!(seen.iter().all(|count| *count > 0), "{CHECKED:?}: {seen:?} blocks");

    assert!(is_part("a\n  b\n", "x\n  a\n    b\ny\n"));
    assert!(!is_part("a\nb\n", "x\n  a\n    b\ny\n") && !is_part("a\nc\n", "a\nb\nc\n"));
}

/// The fenced blocks: language, the target of the last link before, text.
fn blocks(page: &str) -> Vec<(&str, Option<&str>, String)> {
    let (mut blocks, mut link) = (Vec::new(), None);
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some(language) = line.strip_prefix("```") {
            let code: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
            blocks.push((language, link.take(), code.join("\n")));
        } else if let Some((_, target)) = line.rsplit_once("](") {
            link = target.split(')').next();
        }
    }
    blocks
}

/// Whether these lines follow each other in the file, all of them indented by as much.
fn is_part(code: &str, file: &str) -> bool {
    let (code, file): (Vec<_>, Vec<_>) = (code.lines().collect(), file.lines().collect());
    file.windows(code.len()).any(|window| flush_left(window) == flush_left(&code))
}

fn flush_left<'a>(lines: &[&'a str]) -> Vec<&'a str> {
    let indent = |line: &&str| line.len() - line.trim_start().len();
    let common = lines.iter().filter(|line| !line.is_empty()).map(indent).min().unwrap_or(0);
    lines.iter().map(|line| line.get(common..).unwrap_or("")).collect()
}
