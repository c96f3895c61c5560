-- Made by the first search, and brought up to date by each: who never searches pays nothing. Words come folded and
-- parted (facts/words.py), so the tokenizer has nothing to decide; it takes all but ASCII punctuation for words.
CREATE VIRTUAL TABLE IF NOT EXISTS search USING fts5 (words, tokenize = 'ascii', columnsize = 0);

CREATE TABLE IF NOT EXISTS search_progress (
    session INTEGER PRIMARY KEY,
    seq INTEGER NOT NULL
);
