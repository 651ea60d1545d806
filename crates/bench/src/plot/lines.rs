//! Panels of lines, beside and below each other.

use super::palette::color_of;
use super::scale::{Scale, short};
use super::svg::{Anchor, LINE, Stroke, Svg, text_width};
use super::{Heading, WIDTH};

const PANEL_HEIGHT: f64 = 210.0;

/// One line.
#[derive(Clone, Debug)]
pub(super) struct Line {
    /// Name in the legend; its first word is the backend and gives the colour.
    pub(super) name: String,
    pub(super) dashed: bool,
    pub(super) dots: bool,
    pub(super) points: Vec<(f64, f64)>,
}

/// One panel.
#[derive(Clone, Debug)]
pub(super) struct Panel {
    pub(super) title: String,
    pub(super) x_axis: String,
    pub(super) y_axis: String,
    pub(super) lines: Vec<Line>,
    /// A stretch of the x axis that is shaded, and what it is.
    pub(super) band: Option<(f64, f64)>,
    /// Whether the x axis is logarithmic, too; the y axis always is.
    pub(super) log_x: bool,
    /// Figures of the x axis that stand side by side at equal distances, whatever they are.
    pub(super) categories: Vec<f64>,
}

/// Draws panels, two in a row, with one legend for all.
pub(super) fn draw(heading: &Heading, panels: &[Panel]) -> String {
    let mut svg = Svg::new(WIDTH);
    let below = heading.draw(&mut svg);
    let mut top = legend(&mut svg, below, panels);
    let columns = panels.len().min(2);
    let width = (WIDTH - 24.0) / columns.max(1) as f64;
    let shared = shared_scale(panels);
    for row in panels.chunks(columns.max(1)) {
        for (column, panel) in row.iter().enumerate() {
            let y_scale = shared.clone().unwrap_or_else(|| y_scale(&[panel]));
            draw_panel(&mut svg, panel, &y_scale, (12.0 + column as f64 * width, top, width));
        }
        top += PANEL_HEIGHT + 4.5 * LINE;
    }
    svg.finish(top)
}

/// One scale for panels that all show the same kind of figure, so that they can be compared.
fn shared_scale(panels: &[Panel]) -> Option<Scale> {
    let first = panels.first()?;
    let all_alike = panels.iter().all(|panel| panel.y_axis == first.y_axis);
    all_alike.then(|| y_scale(&panels.iter().collect::<Vec<_>>()))
}

fn y_scale(panels: &[&Panel]) -> Scale {
    let lines = panels.iter().flat_map(|panel| &panel.lines);
    Scale::log(lines.flat_map(|line| &line.points).map(|(_, y)| *y))
}

/// All lines that have different names, in the order in which they come.
fn names(panels: &[Panel]) -> Vec<&Line> {
    let mut found: Vec<&Line> = Vec::new();
    for line in panels.iter().flat_map(|panel| &panel.lines) {
        if !found.iter().any(|known| known.name == line.name) {
            found.push(line);
        }
    }
    found
}

fn legend(svg: &mut Svg, mut y: f64, panels: &[Panel]) -> f64 {
    let lines = names(panels);
    let all: Vec<&str> = lines.iter().map(|line| line.name.as_str()).collect();
    let mut x = 16.0;
    for line in &lines {
        let room = 34.0 + text_width(&line.name) + 18.0;
        if x + room > WIDTH && x > 16.0 {
            (x, y) = (16.0, y + LINE);
        }
        let stroke = stroke_of(line, &all);
        svg.line((x, y - 4.0), (x + 26.0, y - 4.0), stroke);
        svg.text((x + 32.0, y), Anchor::Start, &line.name);
        x += room;
    }
    if panels.iter().any(|panel| panel.band.is_some()) {
        let name = "a checkpoint is taken";
        if x + 34.0 + text_width(name) > WIDTH {
            (x, y) = (16.0, y + LINE);
        }
        svg.rect((x, y - 11.0), (26.0, 14.0), BAND);
        svg.text((x + 32.0, y), Anchor::Start, name);
    }
    y + 14.0
}

const BAND: &str = "#8b949e40";

fn stroke_of(line: &Line, all: &[&str]) -> Stroke {
    Stroke { color: color_of(&line.name, all), width: 2.0, dashed: line.dashed }
}

fn draw_panel(svg: &mut Svg, panel: &Panel, y_scale: &Scale, (x0, y0, width): (f64, f64, f64)) {
    let points = || panel.lines.iter().flat_map(|line| &line.points);
    let x_scale = match panel.log_x {
        true => Scale::log(points().map(|(x, _)| *x)),
        false => Scale::linear(points().map(|(x, _)| *x)),
    };
    let (left, right) = (x0 + 66.0, x0 + width - 22.0);
    let (top, bottom) = (y0 + LINE + 6.0, y0 + LINE + 6.0 + PANEL_HEIGHT);
    let count = panel.categories.len() as f64;
    let x = |figure: f64| match panel.categories.iter().position(|it| *it == figure) {
        Some(position) => left + (position as f64 + 0.5) / count * (right - left),
        None => left + x_scale.place(figure) * (right - left),
    };
    let y = |figure: f64| bottom - y_scale.place(figure) * (bottom - top);
    svg.text((left, y0 + LINE - 4.0), Anchor::Start, &panel.title);
    if let Some((from, to)) = panel.band {
        svg.rect((x(from), top), ((x(to) - x(from)).max(1.5), bottom - top), BAND);
    }
    for tick in &y_scale.ticks {
        svg.line((left, y(*tick)), (right, y(*tick)), Stroke::GRID);
        svg.text((left - 8.0, y(*tick) + 4.0), Anchor::End, &short(*tick));
    }
    let ticks = if panel.categories.is_empty() { &x_scale.ticks } else { &panel.categories };
    for tick in ticks {
        svg.line((x(*tick), bottom), (x(*tick), bottom + 4.0), Stroke::AXIS);
        svg.text((x(*tick), bottom + LINE), Anchor::Middle, &short(*tick));
    }
    svg.line((left, top), (left, bottom), Stroke::AXIS);
    svg.line((left, bottom), (right, bottom), Stroke::AXIS);
    svg.text(((left + right) / 2.0, bottom + 2.0 * LINE + 2.0), Anchor::Middle, &panel.x_axis);
    svg.upright_text((x0 + 14.0, (top + bottom) / 2.0), &panel.y_axis);
    let all: Vec<&str> = panel.lines.iter().map(|line| line.name.as_str()).collect();
    for line in &panel.lines {
        let places: Vec<(f64, f64)> = line.points.iter().map(|(a, b)| (x(*a), y(*b))).collect();
        svg.path(&places, stroke_of(line, &all));
        if line.dots {
            places.iter().for_each(|place| svg.dot(*place, color_of(&line.name, &all)));
        }
    }
}
