"""Words: the same for every store, in every script."""

import sqlite3
from contextlib import closing

import pytest

from power_loop.facts.words import MAX_TEXT, excerpt, has_phrases, phrases_of, searchable, words_of
from power_loop.testing.conformance.texts import HOSTILE


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Read_file NOW, caf\u00e9", ["read", "file", "now", "cafe"]),
        ("\u4eca\u5929abc\u5929", ["\u4eca", "\u5929", "abc", "\u5929"]),
        ("\uff21\uff22 \u2460", ["ab", "1"]),
        ("\ud55c\uad6d", ["\ud55c", "\uad6d"]),
        ("\u0939\u093f\u0928\u094d\u0926\u0940 x", ["\u0939\u093f\u0928\u094d\u0926\u0940", "x"]),
        ("\u05e9\u05c1\u05b8\u05dc\u05d5\u05b9\u05dd", ["\u05e9\u05dc\u05d5\u05dd"]),
        ("don't", ["don", "t"]),
        ("", []),
        ("\U0001f680 -- !", []),
    ],
)
def test_words_of_a_text(text, words):
    assert words_of(text) == words


def test_a_word_without_end_is_cut():
    assert words_of("x" * 1000) == ["x" * 64]
    assert has_phrases("a" + "x" * 1000, phrases_of("a" + "x" * 100))


def test_a_phrase_matches_neighbours_only():
    assert has_phrases("alpha beta_gamma", phrases_of("beta_gam"))
    assert not has_phrases("gamma beta", phrases_of("beta_gam"))


def test_sqlite_parts_words_as_we_do():
    """The tokenizer must find exactly our words, whatever characters they are made of."""
    texts = [*HOSTILE.values(), "".join(map(chr, range(1, 0x3000))), "".join(map(chr, range(0x1F000, 0x30000, 7)))]
    with closing(sqlite3.connect(":memory:")) as db:
        db.execute("CREATE VIRTUAL TABLE t USING fts5 (words, tokenize = 'ascii')")
        db.execute("CREATE VIRTUAL TABLE v USING fts5vocab (t, 'row')")
        ours = [word for text in texts for word in words_of(text)]
        db.executemany("INSERT INTO t VALUES (?)", [(" ".join(words_of(text)),) for text in texts])
        assert {term for (term,) in db.execute("SELECT term FROM v")} == set(ours)


@pytest.mark.parametrize(
    ("kind", "body", "text"),
    [
        ("note", '{"topic":"t","text":"said"}', "said"),
        ("note", "not json", ""),
        ("note", "[1]", ""),
        ("note", '{"text":null}', ""),
        ("model_called", '{"content":"x"}', ""),
        ("input_received", '{"content":[{"type":"document","name":"a.pdf"},{"type":"text","text":"b"}]}', "a.pdf\nb"),
        ("model_replied", '{"calls":[{"id":"i","name":"f","raw":"{x"}]}', "f {x"),
        ("model_replied", '{"content":[{"type":"reasoning","text":"hidden"}]}', ""),
    ],
)
def test_what_an_entry_says(kind, body, text):
    assert searchable(kind, body) == text


def test_an_endless_text_is_searched_as_far_as_documented():
    assert len(searchable("note", f'{{"text":"{"x" * (MAX_TEXT + 5)}"}}')) == MAX_TEXT


def test_an_excerpt_is_of_the_place():
    assert "needle" in excerpt("a " * 1000 + "needle" + " b" * 1000, "Needle")
    assert excerpt("short", "absent") == "short"
