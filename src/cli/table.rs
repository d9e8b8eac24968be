//! Columns on a terminal.

use serde_json::Value;

use super::stdout::say;

/// Prints rows under their headings, each column as wide as its widest text.
pub(super) fn print(headings: &[&str], rows: &[Vec<String>]) {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain(headings.get(column).map(|heading| heading.chars().count())).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        let padded: Vec<String> =
            cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}", width = *width)).collect();
        say!("{}", padded.join("  ").trim_end());
    };
    line(headings.to_vec());
    rows.iter().for_each(|row| line(row.iter().map(String::as_str).collect()));
}

/// Prints the fields of an object, a line each, in the order given; those that are not there are left out.
pub(super) fn fields(object: &Value, names: &[&str]) {
    let width = names.iter().map(|name| name.len()).max().unwrap_or(0);
    for name in names {
        if let Some(value) = object.get(name).filter(|value| !value.is_null()) {
            say!("{name:<width$}  {}", cell(Some(value)));
        }
    }
}

/// A value on one line: text as it is, nothing as a dash. Control characters are escaped: a name from elsewhere must not
/// drive the terminal.
pub(super) fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) if text.is_empty() => "-".to_owned(),
        Some(Value::String(text)) => plain(text),
        Some(other) => plain(&other.to_string()),
    }
}

/// Text without anything a terminal obeys.
pub(super) fn plain(text: &str) -> String {
    let shown = |character: char| {
        if character.is_control() { character.escape_default().collect::<String>() } else { character.to_string() }
    };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_cell_never_drives_the_terminal() {
        assert_eq!(cell(Some(&json!("a\u{1b}[2Jb\n"))), "a\\u{1b}[2Jb\\n");
        assert_eq!(cell(Some(&json!(["x"]))), r#"["x"]"#);
        assert_eq!((cell(None), cell(Some(&json!(""))), cell(Some(&json!(7)))), ("-".into(), "-".into(), "7".into()));
    }
}
