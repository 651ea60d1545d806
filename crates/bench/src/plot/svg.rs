//! The few shapes that plots are made of, as SVG text.
//!
//! No background, and colours that can be read on white and on near-black alike, since a document
//! may be shown on either.

use core::fmt::Write as _;

/// Colour of text and axes.
pub(super) const INK: &str = "#7d8590";

/// Colour of what text stands out by: titles.
pub(super) const STRONG_INK: &str = "#6b7f95";

/// Height of a line of text.
pub(super) const LINE: f64 = 18.0;

/// Size of ordinary text.
pub(super) const FONT: f64 = 12.5;

/// Size of labels beside marks.
const LABEL_FONT: f64 = 10.5;

/// Where a text is, seen from the point it is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// How a line is drawn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stroke {
    pub(super) color: &'static str,
    pub(super) width: f64,
    pub(super) dashed: bool,
}

impl Stroke {
    pub(super) const GRID: Self = Self { color: "#8b949e55", width: 1.0, dashed: false };
    pub(super) const AXIS: Self = Self { color: INK, width: 1.0, dashed: false };
}

/// A drawing under way.
#[derive(Debug)]
pub(super) struct Svg {
    width: f64,
    body: String,
}

impl Svg {
    pub(super) fn new(width: f64) -> Self {
        Self { width, body: String::new() }
    }

    fn add(&mut self, element: core::fmt::Arguments<'_>) {
        // Writing into a string cannot fail.
        let _ = writeln!(self.body, "{element}");
    }

    pub(super) fn text(&mut self, (x, y): (f64, f64), anchor: Anchor, text: &str) {
        self.styled_text((x, y), anchor, text, (FONT, INK, ""));
    }

    /// Text beside a mark of the plot, as small as can be read.
    pub(super) fn label(&mut self, (x, y): (f64, f64), text: &str) {
        self.styled_text((x, y), Anchor::Start, text, (LABEL_FONT, INK, ""));
    }

    pub(super) fn title(&mut self, (x, y): (f64, f64), text: &str) {
        self.styled_text((x, y), Anchor::Start, text, (16.0, STRONG_INK, " font-weight=\"600\""));
    }

    /// Text that goes upwards, its middle at the point.
    pub(super) fn upright_text(&mut self, (x, y): (f64, f64), text: &str) {
        let turn = format!(" transform=\"rotate(-90 {x:.1} {y:.1})\"");
        self.styled_text((x, y), Anchor::Middle, text, (FONT, INK, &turn));
    }

    fn styled_text(
        &mut self,
        (x, y): (f64, f64),
        anchor: Anchor,
        text: &str,
        (size, color, more): (f64, &str, &str),
    ) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let text = escape(text);
        self.add(format_args!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" font-size=\"{size}\" \
             fill=\"{color}\"{more}>{text}</text>"
        ));
    }

    pub(super) fn line(&mut self, (x1, y1): (f64, f64), (x2, y2): (f64, f64), stroke: Stroke) {
        let Stroke { color, width, dashed } = stroke;
        let dash = if dashed { " stroke-dasharray=\"6 4\"" } else { "" };
        self.add(format_args!(
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"{color}\" \
             stroke-width=\"{width}\"{dash}/>"
        ));
    }

    pub(super) fn path(&mut self, points: &[(f64, f64)], stroke: Stroke) {
        let Stroke { color, width, dashed } = stroke;
        let dash = if dashed { " stroke-dasharray=\"6 4\"" } else { "" };
        let points: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        self.add(format_args!(
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"{width}\" \
             stroke-linejoin=\"round\"{dash}/>",
            points.join(" ")
        ));
    }

    pub(super) fn dot(&mut self, (x, y): (f64, f64), color: &str) {
        self.add(format_args!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\" fill=\"{color}\"/>"));
    }

    /// A rectangle from its upper left corner.
    pub(super) fn rect(&mut self, (x, y): (f64, f64), (width, height): (f64, f64), fill: &str) {
        let (width, height) = (width.max(0.0), height.max(0.0));
        self.add(format_args!(
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" \
             fill=\"{fill}\"/>"
        ));
    }

    /// The finished drawing, which is `height` high.
    pub(super) fn finish(self, height: f64) -> String {
        let Self { width, body } = self;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height:.0}\" \
             viewBox=\"0 0 {width} {height:.0}\" font-family=\"system-ui, 'DejaVu Sans', \
             Helvetica, Arial, sans-serif\">\n{body}</svg>\n"
        )
    }
}

/// About how wide a text is.
pub(super) fn text_width(text: &str) -> f64 {
    text.chars().count() as f64 * FONT * 0.62
}

/// About how wide a label is.
pub(super) fn label_width(text: &str) -> f64 {
    text.chars().count() as f64 * LABEL_FONT * 0.62
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // XML has no way to write these.
            char if char.is_control() => out.push(' '),
            char => out.push(char),
        }
    }
    out
}
