//! The colour of each backend: the same in all plots.

const NAMED: [(&str, &str); 3] = [("memory", "#4a90d9"), ("fs", "#e0862f"), ("rocksdb", "#3fa66b")];

const OTHERS: [&str; 4] = ["#a371d9", "#d9628e", "#b59a2b", "#2fa5ad"];

/// The colour of a series whose name begins with that of a backend; others have the next one free.
pub(super) fn color_of(series: &str, all: &[&str]) -> &'static str {
    let named = |name: &str| NAMED.iter().find(|(backend, _)| first_word(name) == *backend);
    if let Some((_, color)) = named(series) {
        return color;
    }
    let others = all.iter().filter(|name| named(name).is_none());
    let position = others.take_while(|name| **name != series).count();
    OTHERS.get(position % OTHERS.len()).copied().unwrap_or(super::svg::INK)
}

fn first_word(text: &str) -> &str {
    text.split([' ', ',']).next().unwrap_or_default()
}
