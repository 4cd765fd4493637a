//! CSV and TSV.

use csv::{ByteRecord, Reader, ReaderBuilder};

use super::{Columns, Format, ImportError, ImportReport, Pair, ProblemKind, RowProblem};

pub(super) fn column_names(bytes: &[u8], format: Format) -> Result<Vec<String>, ImportError> {
    let mut table = Table::new(bytes, format);
    match table.next() {
        None => Err(ImportError::Empty),
        Some(Row { line, record, .. }) => names(line, &record),
    }
}

pub(super) fn import(bytes: &[u8], format: Format, columns: &Columns) -> Result<ImportReport, ImportError> {
    let mut table = Table::new(bytes, format);
    let Some(Row { line, record: header, .. }) = table.next() else {
        return Err(ImportError::Empty);
    };
    let names = names(line, &header)?;
    let (input, target) = (find(line, &names, &columns.input)?, find(line, &names, &columns.target)?);
    let mut report = ImportReport::default();
    for row in table {
        report.add(row.pair(names.len(), (input, target), columns));
    }
    Ok(report)
}

fn names(line: u64, header: &ByteRecord) -> Result<Vec<String>, ImportError> {
    let name = |field| str::from_utf8(field).map(|name| name.trim().to_owned());
    header.iter().map(name).collect::<Result<_, _>>().map_err(|_| ImportError::HeaderEncoding { line })
}

/// The place of a column that is there exactly once.
fn find(line: u64, names: &[String], column: &str) -> Result<usize, ImportError> {
    let mut places = (0..names.len()).filter(|&i| names[i] == column.trim());
    match (places.next(), places.next()) {
        (Some(place), None) => Ok(place),
        (Some(_), Some(_)) => Err(ImportError::DuplicateColumn { line, column: column.to_owned() }),
        (None, _) => Err(ImportError::MissingColumn { line, column: column.to_owned(), available: names.to_vec() }),
    }
}

/// One record and where it begins.
struct Row {
    line: u64,
    record: ByteRecord,
    open_quote: bool,
}

impl Row {
    fn pair(&self, expected: usize, (input, target): (usize, usize), columns: &Columns) -> Result<Pair, RowProblem> {
        let found = self.record.len();
        let problem = |column: Option<&String>, kind| RowProblem { line: self.line, column: column.cloned(), kind };
        if self.open_quote {
            return Err(problem(None, ProblemKind::OpenQuote));
        }
        if found != expected {
            return Err(problem(None, ProblemKind::Fields { expected, found }));
        }
        let text = |place, column| str::from_utf8(&self.record[place]).map_err(|_| problem(Some(column), ProblemKind::Encoding));
        super::pair(self.line, columns, text(input, &columns.input)?, text(target, &columns.target)?)
    }
}

/// The records of a file, the header among them.
struct Table<'b> {
    bytes: &'b [u8],
    quoting: bool,
    reader: Reader<&'b [u8]>,
    /// Start of the record read last, and its line from 1.
    at: usize,
    line: u64,
}

impl<'b> Table<'b> {
    fn new(bytes: &'b [u8], format: Format) -> Self {
        let quoting = format == Format::Csv;
        let delimiter = if format == Format::Tsv { b'\t' } else { b',' };
        let mut builder = ReaderBuilder::new();
        let reader = builder.has_headers(false).flexible(true).delimiter(delimiter).quoting(quoting).from_reader(bytes);
        Self { bytes, quoting, reader, at: 0, line: 1 }
    }

    /// Moves to the record that begins at or after `position`, past the line ends that `csv`
    /// skips, and counts lines. (`csv` itself counts a line too few after `\r\n`.)
    fn advance(&mut self, position: usize) {
        let rest = &self.bytes[position..];
        let start = position + rest.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
        let mut previous = if self.at == 0 { 0 } else { self.bytes[self.at - 1] };
        for &byte in &self.bytes[self.at..start] {
            self.line += u64::from(byte == b'\r' || byte == b'\n' && previous != b'\r');
            previous = byte;
        }
        self.at = start;
    }

    /// Whether the last record ran to the end of the file because a quote stayed open.
    fn quote_is_open(&self) -> bool {
        self.quoting && self.bytes[self.at..].iter().filter(|&&b| b == b'"').count() % 2 == 1
    }
}

impl Iterator for Table<'_> {
    type Item = Row;

    fn next(&mut self) -> Option<Row> {
        let mut record = ByteRecord::new();
        loop {
            let position = usize::try_from(self.reader.position().byte()).unwrap_or(self.bytes.len());
            // Reading a slice into a flexible byte record cannot fail.
            if !self.reader.read_byte_record(&mut record).unwrap_or(false) {
                return None;
            }
            self.advance(position);
            // A line of white space is no record to anyone but the format.
            if record.len() > 1 || !record.get(0).unwrap_or_default().trim_ascii().is_empty() {
                let at_end = usize::try_from(self.reader.position().byte()).is_ok_and(|end| end >= self.bytes.len());
                return Some(Row { line: self.line, record, open_quote: at_end && self.quote_is_open() });
            }
        }
    }
}
