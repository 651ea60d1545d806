//! Horizontal bars in groups: one group for each case, in it one bar for each backend, on a
//! logarithmic axis, each with a mark where its floor is.

use super::palette::color_of;
use super::scale::{Scale, short};
use super::svg::{Anchor, LINE, STRONG_INK, Stroke, Svg, label_width, text_width};
use super::{Heading, WIDTH};

const BAR: f64 = 12.0;
const GAP: f64 = 9.0;

/// One bar.
#[derive(Clone, Debug)]
pub(super) struct Bar {
    pub(super) series: String,
    pub(super) figure: f64,
    pub(super) floor: Option<f64>,
}

/// Bars of one case.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) name: String,
    pub(super) bars: Vec<Bar>,
}

/// Draws groups one below the other; `axis` says what the figures are.
pub(super) fn draw(heading: &Heading, groups: &[Group], axis: &str) -> String {
    let mut svg = Svg::new(WIDTH);
    let mut series: Vec<&str> = Vec::new();
    for bar in groups.iter().flat_map(|group| &group.bars) {
        if !series.contains(&bar.series.as_str()) {
            series.push(&bar.series);
        }
    }
    let all = || groups.iter().flat_map(|group| &group.bars);
    let has_floor = all().any(|bar| bar.floor.is_some());
    let figures: Vec<f64> =
        all().flat_map(|bar| bar.floor.into_iter().chain([bar.figure])).collect();
    let scale = Scale::log(figures.into_iter());
    let below = heading.draw(&mut svg);
    let top = legend(&mut svg, below, &series, has_floor);
    let names = groups.iter().map(|group| text_width(&group.name)).fold(0.0, f64::max);
    let (left, right) = (names + 28.0, WIDTH - 64.0);
    let x = |figure: f64| left + scale.place(figure) * (right - left);
    let group_height = |group: &Group| group.bars.len() as f64 * BAR + GAP;
    let bottom = top + groups.iter().map(group_height).sum::<f64>();
    for tick in &scale.ticks {
        svg.line((x(*tick), top), (x(*tick), bottom), Stroke::GRID);
        svg.text((x(*tick), bottom + LINE), Anchor::Middle, &short(*tick));
    }
    let mut y = top + GAP / 2.0;
    for group in groups {
        let height = group.bars.len() as f64 * BAR;
        svg.text((left - 10.0, y + height / 2.0 + 4.0), Anchor::End, &group.name);
        for bar in &group.bars {
            let end = x(bar.figure);
            svg.rect((left, y + 1.0), (end - left, BAR - 2.0), color_of(&bar.series, &series));
            let text = short(bar.figure);
            let mut label = end + 4.0;
            if let Some(floor) = bar.floor {
                let mark = Stroke { color: STRONG_INK, width: 2.5, dashed: false };
                svg.line((x(floor), y), (x(floor), y + BAR), mark);
                // Not under the mark.
                if (label - 4.0..label + label_width(&text) + 4.0).contains(&x(floor)) {
                    label = x(floor) + 5.0;
                }
            }
            svg.label((label, y + BAR - 2.5), &text);
            y += BAR;
        }
        y += GAP;
    }
    svg.line((left, top), (left, bottom), Stroke::AXIS);
    svg.text(((left + right) / 2.0, bottom + 2.0 * LINE + 4.0), Anchor::Middle, axis);
    svg.finish(bottom + 3.0 * LINE)
}

/// Names what the colours mean; returns where the plot begins.
fn legend(svg: &mut Svg, y: f64, series: &[&str], has_floor: bool) -> f64 {
    let mut x = 16.0;
    for name in series {
        svg.rect((x, y - 10.0), (12.0, 12.0), color_of(name, series));
        svg.text((x + 18.0, y), Anchor::Start, name);
        x += 18.0 + text_width(name) + 22.0;
    }
    if has_floor {
        let mark = Stroke { color: STRONG_INK, width: 2.5, dashed: false };
        svg.line((x + 6.0, y - 11.0), (x + 6.0, y + 2.0), mark);
        svg.text((x + 18.0, y), Anchor::Start, "its floor in the same run");
    }
    y + 16.0
}
