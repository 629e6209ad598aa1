//! JSON logs, one record at a time.
//!
//! A log of gigabytes may be one single array on one single line, so nothing here waits for the
//! end of a line or of a list. Taken as they come, and mixed: objects one after another, a line
//! each or over several; arrays of objects; and pages, objects with the records in a list under a
//! known name.

use std::io::{self, BufRead};

/// Longest record, bytes. CloudTrail's own limit is 256 KiB, the others' are lower.
const RECORD_MAX: usize = 1 << 20;
/// Deepest nesting of a record.
const DEPTH_MAX: usize = 64;

/// What was found next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The text of one object; whether it is JSON within is not known yet.
    Record,
    /// Something that is no object, or the start of one that does not end.
    Broken(&'static str),
}

/// Splits a log into records.
pub(super) struct Records {
    from: Bytes,
    /// Names under which a page holds its records.
    lists: &'static [&'static str],
    within: Within,
    /// The line on which the record begins, from 1.
    pub(super) line: u64,
    /// Its text.
    pub(super) text: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Within {
    Nothing,
    /// A list; whether a page is around it.
    List {
        page: bool,
    },
    /// What a page has after its list.
    Page,
}

/// How an object ended.
enum End {
    Whole,
    /// It is a page, and its list begins here.
    List,
    Broken(&'static str),
}

impl Records {
    pub(super) fn new(log: Box<dyn BufRead>, lists: &'static [&'static str]) -> Self {
        Self {
            from: Bytes {
                log,
                again: Vec::new(),
                line: 1,
            },
            lists,
            within: Within::Nothing,
            line: 1,
            text: Vec::new(),
        }
    }

    /// The next record; none at the end of the log.
    pub(super) fn next(&mut self) -> io::Result<Option<Found>> {
        loop {
            self.text.clear();
            let Some(byte) = self.from.skip_blank()? else {
                let cut = self.within != Within::Nothing;
                self.within = Within::Nothing;
                return Ok(cut.then_some(Found::Broken("the log ends within a list")));
            };
            self.line = self.from.line;
            match (self.within, byte) {
                (Within::Nothing, b'[') => {
                    self.from.next()?;
                    self.within = Within::List { page: false };
                }
                (Within::List { page }, b']') => {
                    self.from.next()?;
                    self.within = if page { Within::Page } else { Within::Nothing };
                }
                (Within::List { .. }, b',') => {
                    self.from.next()?;
                }
                (Within::Page, _) => {
                    // `"next": "…"}` reads like the rest of an object, which is thrown away.
                    match self.object(1)? {
                        End::Broken(_) => return Ok(Some(Found::Broken("the page does not end"))),
                        End::Whole | End::List => self.within = Within::Nothing,
                    }
                }
                (_, b'{') => match self.object(0)? {
                    End::Whole => return Ok(Some(Found::Record)),
                    End::List => self.within = Within::List { page: true },
                    End::Broken(why) => return Ok(Some(Found::Broken(why))),
                },
                (within, _) => {
                    self.skip_stray(within)?;
                    return Ok(Some(Found::Broken("this is no JSON object")));
                }
            }
        }
    }

    /// Passes over what is no record: to the end of its line, or of its place in a list.
    fn skip_stray(&mut self, within: Within) -> io::Result<()> {
        while let Some(byte) = self.from.peek()? {
            if byte == b'\n' || within != Within::Nothing && matches!(byte, b',' | b']') {
                break;
            }
            self.from.next()?;
            if self.text.len() < RECORD_MAX {
                self.text.push(byte);
            }
        }
        Ok(())
    }

    /// Reads an object into `text`, from its brace, or from within when `depth` is 1 already.
    fn object(&mut self, mut depth: usize) -> io::Result<End> {
        let alone = self.within == Within::Nothing;
        let mut quoted = false;
        let mut escaped = false;
        let mut long = false;
        // The last byte that means something, and where the last string began.
        let mut last = b'{';
        let mut string = 0;
        loop {
            let Some(byte) = self.from.next()? else {
                return Ok(self.broken(alone, "the log ends within this record"));
            };
            if self.text.len() < RECORD_MAX {
                self.text.push(byte);
            } else if alone {
                return Ok(self.broken(alone, "longer than 1 MiB"));
            } else {
                // In a list the end of the record is looked for all the same.
                long = true;
            }
            match byte {
                // No string goes over a line. Where one does, its quote is missing.
                b'\n' if quoted && alone => {
                    return Ok(self.broken(alone, "a string does not end on its line"));
                }
                b'\n' => quoted = false,
                _ if escaped => escaped = false,
                b'\\' if quoted => escaped = true,
                b'"' => {
                    quoted = !quoted;
                    if quoted {
                        string = self.text.len();
                    }
                    last = byte;
                }
                _ if quoted || byte.is_ascii_whitespace() => {}
                b'{' | b'[' => {
                    // An object can follow only these. Elsewhere one has not ended, and this is
                    // the next one already.
                    if alone && depth > 0 && !matches!(last, b':' | b',' | b'[') {
                        return Ok(self.broken(alone, "this record does not end"));
                    }
                    let names_list = alone && depth == 1 && byte == b'[' && last == b':';
                    if names_list && self.is_list(string) {
                        return Ok(End::List);
                    }
                    depth += 1;
                    if depth > DEPTH_MAX && alone {
                        return Ok(self.broken(alone, "nested too deeply"));
                    }
                    last = byte;
                }
                b'}' | b']' => {
                    depth = depth.saturating_sub(1);
                    last = byte;
                    if depth == 0 {
                        return Ok(if long {
                            End::Broken("longer than 1 MiB")
                        } else {
                            End::Whole
                        });
                    }
                }
                _ => last = byte,
            }
        }
    }

    /// Whether the string that begins there is the name of a list.
    fn is_list(&self, string: usize) -> bool {
        let name = self.text.get(string..).unwrap_or_default();
        let name = name.split(|byte| *byte == b'"').next().unwrap_or_default();
        self.lists.iter().any(|list| list.as_bytes() == name)
    }

    /// Gives up on an object that stands alone: its first line is broken, and what followed is
    /// looked at again.
    fn broken(&mut self, alone: bool, why: &'static str) -> End {
        let end = self.text.iter().position(|byte| *byte == b'\n');
        if let Some(end) = end.filter(|_| alone) {
            let rest = self.text.split_off(end + 1);
            self.text.truncate(end);
            self.from.read_again(rest, self.line + 1);
        }
        End::Broken(why)
    }
}

/// The bytes of a log, some of them for a second time.
struct Bytes {
    log: Box<dyn BufRead>,
    /// To be read before the log goes on, the last one first.
    again: Vec<u8>,
    line: u64,
}

impl Bytes {
    fn peek(&mut self) -> io::Result<Option<u8>> {
        match self.again.last() {
            Some(byte) => Ok(Some(*byte)),
            None => Ok(self.log.fill_buf()?.first().copied()),
        }
    }

    fn next(&mut self) -> io::Result<Option<u8>> {
        let byte = self.peek()?;
        if self.again.pop().is_none() && byte.is_some() {
            self.log.consume(1);
        }
        self.line += u64::from(byte == Some(b'\n'));
        Ok(byte)
    }

    /// The next byte that is not blank, which stays there.
    fn skip_blank(&mut self) -> io::Result<Option<u8>> {
        loop {
            match self.peek()? {
                // A byte order mark says nothing either.
                Some(byte) if byte.is_ascii_whitespace() || b"\xEF\xBB\xBF".contains(&byte) => {
                    self.next()?;
                }
                byte => return Ok(byte),
            }
        }
    }

    fn read_again(&mut self, text: Vec<u8>, line: u64) {
        self.again.extend(text.iter().rev());
        self.line = line;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each record's line and text; a broken one's reason.
    fn split(log: &str) -> Vec<String> {
        let log = Box::new(io::Cursor::new(log.to_owned().into_bytes()));
        let mut records = Records::new(log, &["value", "Records"]);
        let mut found = Vec::new();
        while let Some(next) = records.next().unwrap() {
            let text = String::from_utf8_lossy(&records.text).replace('\n', "~");
            found.push(match next {
                Found::Record => format!("{} {text}", records.line),
                Found::Broken(why) => format!("{} {why}: {text}", records.line),
            });
        }
        found
    }

    #[test]
    fn every_form_gives_the_same_records() {
        let records = ["{\"a\":1}", "{\"b\":[{\"value\":[1]},\"]}\\\"{\"]}", "{}"];
        for log in [
            records.join("\n"),
            records.join(""),
            format!("\u{FEFF}[{}]", records.join(",")),
            format!("[\r\n {} \r\n]\n", records.join(" ,\n")),
            format!(
                "{{\"@odata.context\":\"x[\",\"value\":[{}],\"next\":{{\"a\":[\"}}\"]}}}}",
                records.join(",")
            ),
            format!("{{ \"Records\" : [ {} ] }}", records.join(" , ")),
            // Two pages, one after the other, and an empty one.
            format!(
                "{{\"value\":[{},{}]}}\n{{\"value\":[]}}\n{{\"value\":[{}]}}",
                records[0], records[1], records[2]
            ),
        ] {
            let found: Vec<String> = split(&log)
                .iter()
                .map(|found| found.split_once(' ').unwrap().1.to_owned())
                .collect();
            assert_eq!(found, records, "{log}");
        }
        assert_eq!(split("{\n \"a\":\n 1}\n\n{}"), ["1 {~ \"a\":~ 1}", "5 {}"]);
        assert_eq!(split(" \n "), [""; 0]);
        assert_eq!(split("[]"), [""; 0]);
    }

    #[test]
    fn what_is_broken_costs_no_more_than_itself() {
        assert_eq!(
            split(
                "{\"a\":1}\nnonsense\n{\"b\": \n{\"c\":\"\n{\"d\":{}\n{\"e\":[1,\n{\"f\":2}\n7\n{\"g\":3}"
            ),
            [
                "1 {\"a\":1}",
                "2 this is no JSON object: nonsense",
                "3 a string does not end on its line: {\"b\": ",
                "4 a string does not end on its line: {\"c\":\"",
                "5 this record does not end: {\"d\":{}",
                "6 this record does not end: {\"e\":[1,",
                "7 {\"f\":2}",
                "8 this is no JSON object: 7",
                "9 {\"g\":3}",
            ]
        );
        assert_eq!(
            split("[{\"a\":1}, 7, {\"b\" 2}, null, {\"c\":3"),
            [
                "1 {\"a\":1}",
                "1 this is no JSON object: 7",
                "1 {\"b\" 2}",
                "1 this is no JSON object: null",
                "1 the log ends within this record: {\"c\":3",
                "1 the log ends within a list: ",
            ]
        );
        let long = format!("[{{\"a\":\"{}\"}},{{}}]", "x".repeat(RECORD_MAX));
        let found = split(&long);
        assert!(found[0].starts_with("1 longer than 1 MiB"));
        assert_eq!(found[1..], ["1 {}"]);
        let deep = format!("{}\n{{}}", "{\"a\":".repeat(100));
        assert!(split(&deep)[0].contains("nested too deeply"));
        assert_eq!(split(&deep).last().unwrap(), "2 {}");
    }
}
