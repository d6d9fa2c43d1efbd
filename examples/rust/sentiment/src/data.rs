//! Texts and labels: where they come from, how they are split, how they become batches. The rows, their order and the
//! batches are those of the Python example.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use candle_core::{Device, Tensor};
use flate2::read::GzDecoder;
use tokenizers::Tokenizer;

use crate::errors::{Result, input_error};
use crate::python_random::MersenneTwister;
use crate::settings::Settings;

const RESOURCES: &str = "hutto_ICWSM_2014.tar.gz"; // an archive in the archive: those of Hutto and Gilbert 2014
const MOVIES: &str = "movieReviewSnippets_GroundTruth.txt";
const CLEAR_RATING: f64 = 0.5; // ratings run from -4 to 4; nearer to 0 the raters did not agree on a polarity
const FEWEST_ROWS: usize = 100;
const LARGEST_EVALUATION: usize = 1000;

/// A label and a text.
type Row = (String, String);

/// Some rows of a data set: texts, and for each the number of its label.
pub struct Rows {
    pub texts: Vec<String>,
    pub labels: Vec<u32>,
}

impl Rows {
    pub fn len(&self) -> usize {
        self.texts.len()
    }
}

/// Rows in two parts that share none, and the labels' names. A third part, on which the learning rates were chosen, is
/// left out of both.
pub struct Dataset {
    pub train: Rows,
    pub held_out: Rows,
    pub label_names: Vec<String>,
}

/// Reads and splits the rows; the split depends on the rows alone, never on the seed of a run.
pub fn load_dataset(settings: &Settings) -> Result<Dataset> {
    let mut rows = match &settings.data {
        Some(path) => read_labelled_lines(path)?,
        None => read_rated_texts(&settings.reviews)?,
    };
    MersenneTwister::from_text("split").shuffle(&mut rows);
    rows.truncate(settings.max_rows.unwrap_or(rows.len()));
    split_rows(&rows)
}

/// The human-rated movie reviews in vaderSentiment's source distribution, as (polarity, text).
fn read_rated_texts(sdist: &Path) -> Result<Vec<Row>> {
    let name = sdist.display();
    let Ok(file) = File::open(sdist) else {
        return input_error(format!("{name} is missing; 'make setup' downloads it"));
    };
    let Some(resources) = read_member(file, RESOURCES)? else {
        return input_error(format!("{name}: expected a member {RESOURCES}, found none"));
    };
    let Some(movies) = read_member(resources.as_slice(), MOVIES)? else {
        return input_error(format!("{name}: expected a member {MOVIES} in {RESOURCES}, found none"));
    };
    let mut rows = Vec::new();
    for (number, line) in String::from_utf8(movies)?.lines().enumerate() {
        let columns: Vec<&str> = line.split('\t').collect();
        let rating = columns.get(1).and_then(|column| column.trim().parse::<f64>().ok());
        let (&[_, _, text], Some(rating)) = (columns.as_slice(), rating) else {
            return input_error(format!("{MOVIES}, line {}: expected id, tab, rating, tab, text", number + 1));
        };
        if rating.abs() >= CLEAR_RATING {
            let polarity = if rating > 0.0 { "positive" } else { "negative" };
            rows.push((polarity.into(), text.into()));
        }
    }
    Ok(rows)
}

/// The first file of a .tar.gz whose path ends with `ending`.
fn read_member(archive: impl Read, ending: &str) -> Result<Option<Vec<u8>>> {
    for entry in tar::Archive::new(GzDecoder::new(archive)).entries()? {
        let mut entry = entry?;
        if entry.path()?.ends_with(ending) {
            let mut content = Vec::new();
            entry.read_to_end(&mut content)?;
            return Ok(Some(content));
        }
    }
    Ok(None)
}

/// A user's rows as (label, text): one row a line, with one tab between label and text.
fn read_labelled_lines(path: &Path) -> Result<Vec<Row>> {
    let name = path.display();
    let content = match std::fs::read(path).map(String::from_utf8) {
        Ok(Ok(content)) => content,
        Ok(Err(error)) => {
            let position = error.utf8_error().valid_up_to();
            return input_error(format!("{name}: expected UTF-8 text, but byte {position} is not"));
        }
        Err(error) => return input_error(format!("{name}: cannot be read ({error})")),
    };
    let content = content.strip_prefix('\u{feff}').unwrap_or(&content);
    let mut rows: Vec<Row> = Vec::new();
    for (number, line) in content.split('\n').enumerate() {
        let place = format!("{name}, line {}", number + 1);
        match *line.split('\t').map(str::trim).collect::<Vec<_>>() {
            [""] => {}
            ["", _] => return input_error(format!("{place}: the label is empty")),
            [_, ""] => return input_error(format!("{place}: the text is empty")),
            [label, text] => rows.push((label.into(), text.into())),
            ref columns => {
                let count = columns.len();
                return input_error(format!("{place}: expected two columns (label, tab, text), got {count}"));
            }
        }
    }
    if rows.len() < FEWEST_ROWS {
        return input_error(format!("{name}: expected at least {FEWEST_ROWS} rows, got {}", rows.len()));
    }
    if rows.iter().all(|row| row.0 == rows[0].0) {
        return input_error(format!("{name}: expected at least two different labels, got only {:?}", rows[0].0));
    }
    Ok(rows)
}

/// The first rows are held out, the next are for choosing learning rates, the rest is trained on.
fn split_rows(rows: &[Row]) -> Result<Dataset> {
    let mut label_names: Vec<String> = rows.iter().map(|row| row.0.clone()).collect();
    label_names.sort();
    label_names.dedup();
    let part = |chosen: &[Row]| Rows {
        texts: chosen.iter().map(|row| row.1.clone()).collect(),
        labels: chosen.iter().map(|row| label_names.partition_point(|name| *name < row.0) as u32).collect(),
    };
    let size = LARGEST_EVALUATION.min(rows.len() / 5);
    if size == 0 {
        return input_error(format!("expected at least 5 rows to split, got {}", rows.len()));
    }
    Ok(Dataset { train: part(&rows[2 * size..]), held_out: part(&rows[..size]), label_names })
}

/// Token numbers and attention mask, both rows × longest text; one label a row.
pub struct Batch {
    /// u32
    pub tokens: Tensor,
    /// float32: 1 for a token of the text, 0 for padding
    pub mask: Tensor,
    /// u32
    pub labels: Tensor,
    /// Where its rows stand in the [`Rows`] it was made of.
    pub positions: Vec<usize>,
}

/// Tokenized rows, from which batches are cut.
pub struct Batches {
    tokens: Vec<Vec<u32>>,
    labels: Vec<u32>,
}

impl Batches {
    /// `tokenizer` cuts the texts: see [`crate::model::load_tokenizer`].
    pub fn new(rows: &Rows, tokenizer: &Tokenizer) -> Result<Self> {
        let texts: Vec<&str> = rows.texts.iter().map(String::as_str).collect();
        let encodings = tokenizer.encode_batch(texts, true)?;
        let tokens = encodings.iter().map(|encoding| encoding.get_ids().to_vec()).collect();
        Ok(Self { tokens, labels: rows.labels.clone() })
    }

    /// Every row once: for evaluation.
    pub fn in_order_of_length(&self, size: usize) -> impl Iterator<Item = Result<Batch>> {
        let mut order: Vec<usize> = (0..self.tokens.len()).collect();
        order.sort_by_key(|&row| self.tokens[row].len());
        let chunks: Vec<_> = order.chunks(size).map(<[usize]>::to_vec).collect();
        chunks.into_iter().map(|rows| self.batch(rows))
    }

    /// `count` batches, going through all rows before any comes again.
    pub fn shuffled(&self, count: usize, size: usize, seed: String) -> impl Iterator<Item = Result<Batch>> {
        self.shuffled_rows(count, size, &seed).into_iter().map(|rows| self.batch(rows))
    }

    /// The rows of each batch. Texts of similar length share one, which halves the padding: sixteen batches' worth of
    /// shuffled rows are sorted by length, cut, and the cuts shuffled.
    pub fn shuffled_rows(&self, count: usize, size: usize, seed: &str) -> Vec<Vec<usize>> {
        let mut random = MersenneTwister::from_text(seed);
        let mut order = Vec::new();
        while order.len() < count * size {
            order.extend(random.permutation(self.tokens.len()));
        }
        order.truncate(count * size);
        let mut batches = Vec::new();
        for pool in order.chunks_mut(16 * size) {
            pool.sort_by_key(|&row| self.tokens[row].len());
            let mut cuts: Vec<_> = pool.chunks(size).map(<[usize]>::to_vec).collect();
            random.shuffle(&mut cuts);
            batches.extend(cuts);
        }
        batches
    }

    fn batch(&self, rows: Vec<usize>) -> Result<Batch> {
        let length = rows.iter().map(|&row| self.tokens[row].len()).max().unwrap_or(0);
        let (mut tokens, mut mask) = (Vec::new(), Vec::new());
        for &row in &rows {
            let text = &self.tokens[row];
            tokens.extend(text.iter().copied().chain(std::iter::repeat(0)).take(length));
            mask.extend((0..length).map(|position| if position < text.len() { 1f32 } else { 0f32 }));
        }
        let labels: Vec<u32> = rows.iter().map(|&row| self.labels[row]).collect();
        let shape = (rows.len(), length);
        Ok(Batch {
            tokens: Tensor::from_vec(tokens, shape, &Device::Cpu)?,
            mask: Tensor::from_vec(mask, shape, &Device::Cpu)?,
            labels: Tensor::from_vec(labels, rows.len(), &Device::Cpu)?,
            positions: rows,
        })
    }
}
