//! The pictures of a card, as SVG.

use plotters::coord::Shift;
use plotters::coord::ranged1d::Ranged;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;

use crate::evaluate::Report;

const SIZE: (u32, u32) = (720, 400);
const FONT: &str = "sans-serif";
/// Colours that people who see few of them can still tell apart (Okabe and Ito 2008).
const COLOURS: [RGBColor; 8] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(120, 120, 120),
    RGBColor(0, 0, 0),
];

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), DrawingAreaErrorKind<std::io::Error>>;

/// Every chart of a report: a file name and its SVG.
#[must_use]
pub fn of(report: &Report) -> Vec<(String, String)> {
    let attack = |name: &str| name.trim_start_matches("attack.").to_owned();
    let scores: Vec<(String, Vec<(f64, f64)>)> = report
        .scores
        .iter()
        .map(|(name, counts)| {
            let total: usize = counts.iter().sum();
            let points = counts.iter().enumerate().map(|(step, count)| {
                let share = *count as f64 / total.max(1) as f64;
                (step as f64 * 5.0, share * 100.0)
            });
            (attack(name), points.collect())
        })
        .collect();
    let roc: Vec<(String, Vec<(f64, f64)>)> = report
        .roc
        .iter()
        .map(|(name, points)| {
            let points = points
                .iter()
                .map(|(honest, found)| (honest.max(1e-4), found * 100.0));
            (attack(name), points.collect())
        })
        .collect();
    let found: Vec<(String, f64)> = report
        .scenarios
        .iter()
        .map(|scenario| {
            (
                attack(&scenario.name),
                scenario.at_one_percent.value * 100.0,
            )
        })
        .collect();
    let features: Vec<(String, f64)> = report
        .features
        .iter()
        .take(16)
        .map(|worth| (worth.feature.clone(), worth.worth * 100.0))
        .collect();
    let budget: Vec<(String, Vec<(f64, f64)>)> = vec![
        (
            "promised at most".to_owned(),
            report
                .budget
                .iter()
                .map(|(points, promised, _)| (f64::from(*points), promised * 100.0))
                .collect(),
        ),
        (
            "seen".to_owned(),
            report
                .budget
                .iter()
                .map(|(points, _, seen)| (f64::from(*points), seen.value * 100.0))
                .collect(),
        ),
    ];
    [
        (
            "scores.svg",
            draw(|area| {
                lines(
                    area,
                    "Scores",
                    "score",
                    "% of its kind",
                    0.0..105.0,
                    &scores,
                )
            }),
        ),
        ("roc.svg", draw(|area| curves(area, &roc))),
        (
            "found.svg",
            draw(|area| bars(area, "Found at 1 % of honest events, %", &found)),
        ),
        (
            "budget.svg",
            draw(|area| {
                lines(
                    area,
                    "Honest events at or above the model's points",
                    "points",
                    "%",
                    25.0..85.0,
                    &budget,
                )
            }),
        ),
        (
            "features.svg",
            draw(|area| bars(area, "Found less without the feature, % points", &features)),
        ),
    ]
    .into_iter()
    .filter_map(|(name, svg)| Some((name.to_owned(), svg?)))
    .collect()
}

/// None when it cannot be drawn: a card does without.
fn draw(chart: impl FnOnce(&Area<'_>) -> Drawn) -> Option<String> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        area.fill(&WHITE).ok()?;
        chart(&area).ok()?;
        area.present().ok()?;
    }
    Some(svg)
}

fn lines(
    area: &Area<'_>,
    title: &str,
    across: &str,
    up: &str,
    range: std::ops::Range<f64>,
    series: &[(String, Vec<(f64, f64)>)],
) -> Drawn {
    let points = series.iter().flat_map(|(_, points)| points);
    let top = points.map(|(_, y)| *y).fold(1.0, f64::max) * 1.05;
    let mut chart = ChartBuilder::on(area)
        .caption(title, (FONT, 18))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(52)
        .build_cartesian_2d(range, 0.0..top)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .x_desc(across)
        .y_desc(up)
        .draw()?;
    draw_each(&mut chart, series, SeriesLabelPosition::UpperRight)
}

/// ROC curves over a logarithm of the honest share: what counts is on the left.
fn curves(area: &Area<'_>, series: &[(String, Vec<(f64, f64)>)]) -> Drawn {
    let mut chart = ChartBuilder::on(area)
        .caption("Found by what it costs", (FONT, 18))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(52)
        .build_cartesian_2d((1e-4..1.0).log_scale(), 0.0..105.0)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .x_desc("share of honest events")
        .y_desc("% of the attack")
        .x_label_formatter(&|share| format!("{} %", share * 100.0))
        .draw()?;
    draw_each(&mut chart, series, SeriesLabelPosition::LowerRight)
}

/// Each series in a colour of its own, and what it is called.
fn draw_each<'a, X>(
    chart: &mut ChartContext<'a, SVGBackend<'a>, Cartesian2d<X, RangedCoordf64>>,
    series: &[(String, Vec<(f64, f64)>)],
    position: SeriesLabelPosition,
) -> Drawn
where
    X: Ranged<ValueType = f64>,
{
    for ((name, points), colour) in series.iter().zip(COLOURS.iter().cycle()) {
        let colour = *colour;
        chart
            .draw_series(LineSeries::new(
                points.iter().copied(),
                colour.stroke_width(2),
            ))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(position)
        .background_style(WHITE.mix(0.8))
        .draw()
}

fn bars(area: &Area<'_>, title: &str, items: &[(String, f64)]) -> Drawn {
    let most = items.iter().map(|(_, value)| *value).fold(1.0, f64::max);
    let least = items.iter().map(|(_, value)| *value).fold(0.0, f64::min);
    let rows = i32::try_from(items.len()).unwrap_or(i32::MAX);
    let mut chart = ChartBuilder::on(area)
        .caption(title, (FONT, 18))
        .margin(12)
        .x_label_area_size(30)
        .y_label_area_size(170)
        .build_cartesian_2d(least..most * 1.05, (0..rows).into_segmented())?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .light_line_style(TRANSPARENT)
        .y_labels(items.len().max(1))
        .y_label_formatter(&|segment| match segment {
            SegmentValue::CenterOf(row) => usize::try_from(rows - 1 - row)
                .ok()
                .and_then(|row| items.get(row))
                .map_or_else(String::new, |(name, _)| name.clone()),
            _ => String::new(),
        })
        .draw()?;
    let [colour, ..] = COLOURS;
    chart.draw_series(items.iter().zip((0..rows).rev()).map(|((_, value), row)| {
        let mut bar = Rectangle::new(
            [
                (0.0, SegmentValue::Exact(row)),
                (*value, SegmentValue::Exact(row + 1)),
            ],
            colour.filled(),
        );
        bar.set_margin(3, 3, 0, 0);
        bar
    }))?;
    Ok(())
}
