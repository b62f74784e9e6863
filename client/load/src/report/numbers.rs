//! Numbers in the form in which people read them.

/// Separates thousands: 1234567 becomes 1,234,567.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Formats a rate, without decimals from 100 on.
pub(crate) fn rate(per_second: f64) -> String {
    match per_second {
        ..10.0 => format!("{per_second:.2}"),
        ..100.0 => format!("{per_second:.1}"),
        _ => grouped(per_second.round() as u64),
    }
}

/// Formats a latency with three digits and a fitting unit; "-" if there is none.
pub(crate) fn latency(us: Option<f64>) -> String {
    let Some(us) = us else {
        return "-".to_owned();
    };
    // Each limit is where rounding would give a fourth digit.
    match us {
        ..99.95 => format!("{us:.1} us"),
        ..999.5 => format!("{us:.0} us"),
        ..9_995.0 => format!("{:.2} ms", us / 1e3),
        ..99_950.0 => format!("{:.1} ms", us / 1e3),
        ..999_500.0 => format!("{:.0} ms", us / 1e3),
        ..99_995_000.0 => format!("{:.2} s", us / 1e6),
        _ => format!("{:.0} s", us / 1e6),
    }
}

/// Formats a share in percent. Only 0 becomes "0%".
pub(crate) fn percent(part: u64, of: u64) -> String {
    let share = match of {
        0 => 0.0,
        of => part as f64 / of as f64 * 100.0,
    };
    match share {
        0.0 => "0%".to_owned(),
        ..0.001 => "<0.001%".to_owned(),
        ..1.0 => format!("{share:.3}%"),
        _ => format!("{share:.1}%"),
    }
}

/// Formats a number with its noun: "1 read", "2 reads".
pub(crate) fn counted(number: u64, noun: &str) -> String {
    let plural = match number {
        1 => "",
        _ => "s",
    };
    format!("{} {noun}{plural}", grouped(number))
}

/// Formats a time as minutes and seconds, and hours if there are any.
pub(crate) fn clock(seconds: f64) -> String {
    let seconds = seconds.max(0.0) as u64;
    let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    match hours {
        0 => format!("{minutes}:{seconds:02}"),
        _ => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

/// Draws a row of at most `width` bars. The highest is as high as a character. A bar without a value is blank.
pub(crate) fn sparkline(values: &[Option<f64>], width: usize) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let columns = columns(values, width);
    let highest = columns.iter().flatten().fold(0.0, |a: f64, b| a.max(*b));
    let bar = |value: &Option<f64>| match value {
        None => ' ',
        Some(_) if highest <= 0.0 => BARS[0],
        Some(value) => BARS[((value / highest * 8.0).ceil() as usize).clamp(1, 8) - 1],
    };
    columns.iter().map(bar).collect()
}

/// Reduces `values` to at most `width` columns. Each column is the highest of its values, so that no peak is lost.
pub(crate) fn columns(values: &[Option<f64>], width: usize) -> Vec<Option<f64>> {
    let count = values.len().min(width);
    (0..count)
        .map(|column| {
            let from = column * values.len() / count;
            let to = (column + 1) * values.len() / count;
            values[from..to].iter().flatten().copied().reduce(f64::max)
        })
        .collect()
}

/// Formats seconds with three decimals at most.
pub(crate) fn short(seconds: f64) -> String {
    let text = format!("{seconds:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        let cases = [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (123_456, "123,456"),
            (1_234_567, "1,234,567"),
            (u64::MAX, "18,446,744,073,709,551,615"),
        ];
        for (number, text) in cases {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn latencies_choose_their_unit() {
        let cases = [
            (None, "-"),
            (Some(0.0), "0.0 us"),
            (Some(99.94), "99.9 us"),
            (Some(99.96), "100 us"),
            (Some(999.4), "999 us"),
            (Some(999.6), "1.00 ms"),
            (Some(9_994.0), "9.99 ms"),
            (Some(9_996.0), "10.0 ms"),
            (Some(99_949.0), "99.9 ms"),
            (Some(123_456.0), "123 ms"),
            (Some(999_600.0), "1.00 s"),
            (Some(2_500_000.0), "2.50 s"),
            (Some(123_456_789.0), "123 s"),
        ];
        for (us, text) in cases {
            assert_eq!(latency(us), text);
        }
    }

    #[test]
    fn only_zero_is_zero_percent() {
        let cases = [
            (0, 0, "0%"),
            (0, 9, "0%"),
            (1, 1_000_000, "<0.001%"),
            (1, 1_000, "0.100%"),
            (1, 8, "12.5%"),
            (8, 8, "100.0%"),
        ];
        for (part, of, text) in cases {
            assert_eq!(percent(part, of), text);
        }
    }

    #[test]
    fn times_are_as_on_a_clock() {
        let cases = [
            (-1.0, "0:00"),
            (59.9, "0:59"),
            (61.0, "1:01"),
            (3_661.0, "1:01:01"),
        ];
        for (seconds, text) in cases {
            assert_eq!(clock(seconds), text);
        }
    }

    #[test]
    fn a_sparkline_shows_the_highest() {
        assert_eq!(sparkline(&[], 8), "");
        assert_eq!(sparkline(&[Some(0.0), Some(0.0)], 8), "▁▁");
        assert_eq!(sparkline(&[Some(1.0), None, Some(8.0)], 8), "▁ █");
        let mut values = vec![Some(1.0); 100];
        values[57] = Some(8.0);
        assert_eq!(sparkline(&values, 10), "▁▁▁▁▁█▁▁▁▁");
    }
}
