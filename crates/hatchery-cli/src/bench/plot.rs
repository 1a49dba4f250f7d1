//! The distribution of the latency, as a picture.
//!
//! The axis of the percentiles is stretched towards the end, so that the slowest requests, which
//! matter most, have most of the room: 90 %, 99 %, 99.9 % are equally far apart.

use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use plotters::coord::Shift;
use plotters::prelude::*;

use super::tally::Tally;

/// Width and height of a chart.
const CHART_SIZE: (u32, u32) = (900, 480);
/// How many points a curve has for each tenfold rarer latency.
const POINTS_PER_DECADE: u32 = 40;
const COLORS: [RGBColor; 4] = [
    RGBColor(214, 96, 20),
    RGBColor(196, 30, 110),
    RGBColor(30, 100, 200),
    RGBColor(40, 140, 70),
];

/// The latencies of one load.
#[derive(Debug)]
pub(super) struct Chart {
    /// What the load was.
    pub(super) title: String,
    /// Whose latencies they are.
    pub(super) curves: Vec<(String, Tally)>,
}

/// Checks that the file `path` can be written, and leaves it as it is.
///
/// # Errors
///
/// Returns [`PlotError::Write`] if it cannot.
pub(super) fn check(path: &Path) -> Result<(), PlotError> {
    let mut options = File::options();
    let created = options.write(true).create_new(true).open(path);
    let outcome = match created {
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            File::options().write(true).open(path).map(drop)
        }
        Err(error) => Err(error),
    };
    outcome.map_err(|source| PlotError::Write {
        path: path.to_owned(),
        source,
    })
}

/// Draws `charts` one below the other into the file `path`.
///
/// # Errors
///
/// Returns [`PlotError::Draw`] if the file cannot be written.
pub(super) fn draw(path: &Path, charts: &[Chart]) -> Result<(), PlotError> {
    let (width, height) = CHART_SIZE;
    let rows = charts.len().max(1);
    let root = SVGBackend::new(path, (width, height * rows as u32)).into_drawing_area();
    let drawn = root.fill(&WHITE).map_err(|error| error.to_string());
    drawn
        .and_then(|()| {
            let areas = root.split_evenly((rows, 1));
            charts
                .iter()
                .zip(&areas)
                .try_for_each(|(chart, area)| chart.draw(area).map_err(|error| error.to_string()))
        })
        .and_then(|()| root.present().map_err(|error| error.to_string()))
        .map_err(|message| PlotError::Draw {
            path: path.to_owned(),
            message,
        })
}

/// Why there is no picture.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum PlotError {
    /// The file cannot be written.
    #[error("--plot: cannot write {}; allowed: a file that this user may write", path.display())]
    Write { path: PathBuf, source: io::Error },
    /// The picture could not be drawn into it.
    #[error("--plot: cannot draw {}: {message}", path.display())]
    Draw { path: PathBuf, message: String },
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type DrawError<'a> = DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>;

impl Chart {
    fn draw<'a>(&self, area: &Area<'a>) -> Result<(), DrawError<'a>> {
        let curves: Vec<Vec<(f64, f64)>> =
            self.curves.iter().map(|(_, tally)| points(tally)).collect();
        let all = || curves.iter().flatten();
        let rarest = all().map(|point| point.0).fold(1.0, f64::max);
        let fastest = all().map(|point| point.1).fold(f64::MAX, f64::min);
        let slowest = all().map(|point| point.1).fold(0.0, f64::max);
        if slowest == 0.0 {
            // Nothing was measured.
            return Ok(());
        }
        let mut chart = ChartBuilder::on(area)
            .caption(&self.title, ("sans-serif", 20))
            .margin(16)
            .x_label_area_size(44)
            .y_label_area_size(72)
            .build_cartesian_2d(0.0..rarest, decades(fastest, slowest).log_scale())?;
        chart
            .configure_mesh()
            .x_labels(rarest as usize + 1)
            .x_label_formatter(&|rarity| percentile(*rarity))
            .y_label_formatter(&|micros| super::table::time(*micros))
            .x_desc("percentile")
            .y_desc("latency")
            .light_line_style(WHITE)
            .draw()?;
        for (((name, _), points), color) in self.curves.iter().zip(curves).zip(COLORS) {
            chart
                .draw_series(LineSeries::new(points, color.stroke_width(2)))?
                .label(name)
                .legend(move |(x, y)| {
                    PathElement::new([(x, y), (x + 20, y)], color.stroke_width(2))
                });
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::LowerRight)
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK.mix(0.3))
            .draw()
    }
}

/// Returns the latencies, in microseconds, by how rare it is that one is exceeded.
///
/// A rarity of 1 is one in ten, 2 one in a hundred, up to one in all that there are.
fn points(tally: &Tally) -> Vec<(f64, f64)> {
    if tally.operations() == 0 {
        return Vec::new();
    }
    let rarest = (tally.operations() as f64).log10();
    let steps = (rarest * f64::from(POINTS_PER_DECADE)) as u32;
    // The very fastest is left out: it would take half the height and says little.
    (1..=steps.max(1))
        .map(|step| f64::from(step) / f64::from(POINTS_PER_DECADE))
        .map(|rarity| {
            let latency = tally.quantile(1.0 - 10_f64.powf(-rarity));
            (rarity, latency.as_secs_f64() * 1e6)
        })
        .collect()
}

/// Returns the powers of ten around both, so that even a short axis has labels.
fn decades(low: f64, high: f64) -> Range<f64> {
    let low = low.log10().floor();
    let high = high.log10().ceil().max(low + 1.0);
    10_f64.powf(low)..10_f64.powf(high)
}

/// Returns the name of a percentile, as in `99.9 %`.
fn percentile(rarity: f64) -> String {
    let percent = 100.0 - 10_f64.powf(2.0 - rarity);
    let digits = (rarity - 2.0).ceil().max(0.0) as usize;
    format!("{percent:.digits$} %")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn percentiles_are_named_with_the_digits_they_need() {
        let names: Vec<String> = [0.0, 1.0, 2.0, 3.0, 4.0].map(percentile).into();
        assert_eq!(names, ["0 %", "90 %", "99 %", "99.9 %", "99.99 %"]);
    }

    #[test]
    fn an_axis_spans_whole_decades_and_at_least_one() {
        assert_eq!(decades(245.0, 8_310.0), 100.0..10_000.0);
        assert_eq!(decades(1_000.0, 1_000.0), 1_000.0..10_000.0);
    }

    #[test]
    fn a_curve_ends_at_the_rarest_latency_there_is() {
        let mut tally = Tally::new();
        for micros in 1..=1000 {
            tally.answered(Duration::from_micros(micros));
        }

        let points = points(&tally);

        let (rarity, micros) = points[points.len() - 1];
        assert!((rarity - 3.0).abs() < 0.1);
        assert!((micros / 1000.0 - 1.0).abs() < 0.01);
    }

    #[test]
    fn a_tally_of_nothing_has_no_curve() {
        assert!(points(&Tally::new()).is_empty());
    }
}
