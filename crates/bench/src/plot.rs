//! How cost grows, as a picture.

use anyhow::{Result, anyhow};
use plotters::prelude::{
    BLACK, ChartBuilder, Circle, Color as _, IntoDrawingArea as _, IntoLogRange as _, LineSeries,
    Palette, Palette99, PathElement, SVGBackend, SeriesLabelPosition, WHITE,
};
use serde::{Deserialize, Serialize};

/// Size of a picture in pixels.
const SIZE: (u32, u32) = (760, 440);

/// What a request costs as something grows.
#[derive(Serialize, Deserialize)]
pub(crate) struct Curve {
    /// What is asked of which service.
    pub(crate) name: String,
    /// How many there are, and the CPU time a request in microseconds.
    pub(crate) points: Vec<(u64, f64)>,
}

/// Curves that share their axes.
pub(crate) struct Plot {
    /// Name of the file below `docs/images`.
    pub(crate) file: &'static str,
    /// What grows.
    pub(crate) grows: &'static str,
    pub(crate) growths: &'static [crate::workloads::Growth],
}

impl Plot {
    /// The names of its curves.
    pub(crate) fn curves(&self) -> impl Iterator<Item = &'static str> {
        self.growths.iter().map(|growth| growth.name)
    }

    /// The picture in a page below `docs`.
    pub(crate) fn to_markdown(&self) -> String {
        format!("![CPU time a request over {}](images/{})\n\n", self.grows, self.file)
    }

    /// The picture, both axes logarithmic: a cost that does not grow is a horizontal line.
    ///
    /// # Errors
    /// When there is no point, or the picture cannot be drawn.
    pub(crate) fn to_svg(&self, curves: &[Curve]) -> Result<String> {
        let points = || curves.iter().flat_map(|curve| &curve.points);
        let most = points().map(|point| point.0).max().ok_or_else(|| anyhow!("no points"))?;
        let least = points().map(|point| point.0).min().unwrap_or(1);
        let [low, high] = [f64::min, f64::max]
            .map(|choose| points().map(|point| point.1).reduce(choose).unwrap_or(1.0));
        let mut svg = String::new();
        {
            let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
            let drawn = |error| anyhow!("cannot draw {}: {error}", self.file);
            area.fill(&WHITE).map_err(|error| drawn(error.to_string()))?;
            let mut chart = ChartBuilder::on(&area)
                .margin(12)
                .x_label_area_size(40)
                .y_label_area_size(56)
                .build_cartesian_2d((least..most).log_scale(), (low / 2.0..high * 2.0).log_scale())
                .map_err(|error| drawn(error.to_string()))?;
            chart
                .configure_mesh()
                .x_desc(self.grows)
                .y_desc("CPU time a request, µs")
                .x_label_formatter(&|count| count.to_string())
                .y_label_formatter(&|us| format!("{us:.0}"))
                .light_line_style(BLACK.mix(0.04))
                .draw()
                .map_err(|error| drawn(error.to_string()))?;
            for (number, curve) in curves.iter().enumerate() {
                let colour = Palette99::pick(number).to_rgba();
                let line = LineSeries::new(curve.points.iter().copied(), colour.stroke_width(2));
                chart
                    .draw_series(line)
                    .map_err(|error| drawn(error.to_string()))?
                    .label(&curve.name)
                    .legend(move |(x, y)| {
                        PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2))
                    });
                let marks =
                    curve.points.iter().map(|&point| Circle::new(point, 3, colour.filled()));
                chart.draw_series(marks).map_err(|error| drawn(error.to_string()))?;
            }
            chart
                .configure_series_labels()
                .position(SeriesLabelPosition::UpperLeft)
                .background_style(WHITE.mix(0.8))
                .border_style(BLACK.mix(0.2))
                .draw()
                .map_err(|error| drawn(error.to_string()))?;
            area.present().map_err(|error| drawn(error.to_string()))?;
        }
        Ok(svg)
    }
}

#[cfg(test)]
mod tests {
    use super::{Curve, Plot};

    #[test]
    fn a_plot_names_its_curves_and_what_grows() {
        let plot = Plot { file: "a.svg", grows: "connections", growths: &[] };
        let curve = |name: &str| Curve {
            name: name.to_owned(),
            points: vec![(1, 20.0), (100, 15.0), (10_000, 30.0)],
        };
        let svg = plot.to_svg(&[curve("first"), curve("second")]).unwrap();
        for text in ["<svg", "connections", "first", "second", "10000"] {
            assert!(svg.contains(text), "{text} in {svg}");
        }
        plot.to_svg(&[]).unwrap_err();
    }
}
