//! Medians, which one disturbed round does not move.

/// Returns the median of `values`, or `None` if there are none.
pub(super) fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    let lower = values[(values.len() - 1) / 2];
    Some(f64::midpoint(lower, upper))
}

/// Returns the median over the rounds of what `ours` was to `theirs` in the same round.
///
/// What slows the machine down for a while slows both, so the ratios of the rounds vary less than
/// the figures do. Rounds in which one has no figure are left out.
pub(super) fn median_ratio(ours: &[Option<f64>], theirs: &[Option<f64>]) -> Option<f64> {
    median(ours.iter().zip(theirs).filter_map(|pair| match pair {
        (Some(ours), Some(theirs)) if *theirs > 0.0 => Some(ours / theirs),
        _ => None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median([3.0, 1.0, 100.0]), Some(3.0));
        assert_eq!(median([4.0, 1.0, 2.0, 100.0]), Some(3.0));
        assert_eq!(median([]), None);
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        // Round by round 2, 2 and 3, although the ratio of the medians is 4.
        let ours = [Some(2.0), Some(20.0), Some(15.0)];
        let theirs = [Some(1.0), Some(10.0), Some(5.0)];
        assert_eq!(median_ratio(&ours, &theirs), Some(2.0));
    }

    #[test]
    fn a_round_without_both_figures_is_left_out() {
        let ours = [Some(2.0), None, Some(9.0), Some(6.0)];
        let theirs = [Some(1.0), Some(1.0), Some(0.0), None];
        assert_eq!(median_ratio(&ours, &theirs), Some(2.0));
        assert_eq!(median_ratio(&[], &[]), None);
    }
}
