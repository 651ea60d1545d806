//! A lexer that knows just enough Rust to tell code from comments and literals.

/// A Rust file in two copies of the same layout: in each, what does not belong to it is blanked.
pub(crate) struct Lexed {
    /// Code: comments and the insides of literals are spaces.
    pub(crate) code: String,
    /// Comments alone.
    pub(crate) comments: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Code,
    Comment,
    Literal,
}

impl Lexed {
    pub(crate) fn new(text: &str) -> Self {
        let chars: Vec<char> = text.chars().collect();
        let mut lexed = Self { code: String::new(), comments: String::new() };
        let mut at = 0;
        while at < chars.len() {
            let rest = &chars[at..];
            let (part, len) = next_part(rest, at.checked_sub(1).map(|before| chars[before]));
            for char in &rest[..len] {
                lexed.push(*char, part);
            }
            at += len;
        }
        lexed
    }

    fn push(&mut self, char: char, part: Part) {
        let keep = |wanted: bool| if wanted || char == '\n' { char } else { ' ' };
        self.code.push(keep(part == Part::Code));
        self.comments.push(keep(part == Part::Comment));
    }
}

/// What the text begins with, and its length in characters, at least 1.
fn next_part(rest: &[char], before: Option<char>) -> (Part, usize) {
    let in_word = before.is_some_and(|char| char.is_alphanumeric() || char == '_');
    match rest {
        ['/', '/', ..] => (Part::Comment, until_newline(rest)),
        ['/', '*', ..] => (Part::Comment, block_comment(rest)),
        ['"', ..] => (Part::Literal, quoted(rest)),
        ['r', ..] if !in_word => raw_or_code(rest, 1),
        ['b' | 'c', 'r', ..] if !in_word => raw_or_code(rest, 2),
        ['\'', '\\', ..] => (Part::Literal, escaped_char(rest)),
        ['\'', _, '\'', ..] => (Part::Literal, 3),
        _ => (Part::Code, 1),
    }
}

fn until_newline(rest: &[char]) -> usize {
    rest.iter().position(|char| *char == '\n').unwrap_or(rest.len())
}

fn block_comment(rest: &[char]) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        match &rest[at..] {
            ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
            ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn quoted(rest: &[char]) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

fn escaped_char(rest: &[char]) -> usize {
    let closing = rest.iter().skip(3).position(|char| *char == '\'');
    closing.map_or(rest.len(), |at| at + 4)
}

/// A raw string after a prefix of `prefix` characters, or else one character of code.
fn raw_or_code(rest: &[char], prefix: usize) -> (Part, usize) {
    let hashes = rest.iter().skip(prefix).take_while(|char| **char == '#').count();
    let open = prefix + hashes;
    if rest.get(open) != Some(&'"') {
        return (Part::Code, 1);
    }
    let closes = |at: usize| {
        rest[at] == '"'
            && rest[at + 1..].iter().take(hashes).filter(|it| **it == '#').count() == hashes
    };
    let end = (open + 1..rest.len()).find(|at| closes(*at));
    (Part::Literal, end.map_or(rest.len(), |at| at + 1 + hashes))
}

#[test]
fn comments_and_literals_are_told_from_code() {
    let text = r####"a("x // \" y"); // b "c
/* d /* e */ f */ g('"', '\'', '\u{41}', b'"'); h::<'static>(r#"i " // j"#, r"k", br##"l"##);
let raw = m; let r#type = 1;"####;
    let lexed = Lexed::new(text);
    let words = |text: &str| -> Vec<String> {
        let parts = text.split(|char: char| !char.is_alphanumeric()).map(str::to_owned);
        parts.filter(|part| !part.is_empty()).collect()
    };
    let code = ["a", "g", "b", "h", "static", "let", "raw", "m", "let", "r", "type", "1"];
    assert_eq!(words(&lexed.code), code);
    assert_eq!(words(&lexed.comments), ["b", "c", "d", "e", "f"]);
    assert_eq!(lexed.code.lines().count(), text.lines().count());
}
