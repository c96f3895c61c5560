"""What is taken in, by its bytes; and what is refused, in words that name cause and next action."""

import base64
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from content_samples import GIF, JPEG, PNG, WEBP, pdf

from power_loop import (
    BrokenContent,
    ContentNotAllowed,
    ContentTooLarge,
    ContentUnavailable,
    Document,
    Image,
    InvalidInputError,
    MemoryStore,
    Text,
    UnsupportedContent,
    document,
    image,
)
from power_loop.content import Intake
from power_loop.facts.blobs import blob_id
from power_loop.ports.content import ContentPolicy

STORED = MemoryStore().read_blob


def intake(**policy) -> Intake:
    return Intake(lambda: ContentPolicy(**policy))


async def block_of(attachment, **policy):
    taken = await intake(**policy).take([attachment], STORED)
    (block,) = taken.content
    assert {block.blob, getattr(block, "text_blob", None)} - {None} == set(taken.blobs)
    return block


# -- types


@pytest.mark.parametrize(
    ("data", "media_type"), [(PNG, "image/png"), (JPEG, "image/jpeg"), (GIF, "image/gif"), (WEBP, "image/webp")]
)
async def test_an_image_is_what_its_first_bytes_say(data, media_type):
    assert await block_of(image(data)) == Image(blob_id(data), media_type, len(data))


async def test_a_declared_type_is_not_believed():
    url = "data:image/png;base64," + base64.b64encode(JPEG).decode()
    assert (await block_of(image(url))).media_type == "image/jpeg"


async def test_text_is_a_document():
    data = "Größe, 寸法".encode()
    expected = Document(blob_id(data), "text/plain", "a.csv", len(data))
    assert await block_of(document(data, name="a.csv")) == expected


@pytest.mark.parametrize("data", [b"BM" + b"\0" * 50, b"<svg/>", b"II*\0" + b"\0" * 9, b"x"])
async def test_other_images_are_refused(data):
    with pytest.raises(UnsupportedContent, match="PNG, JPEG, GIF or WebP"):
        await block_of(image(data))


@pytest.mark.parametrize("data", [b"PK\x03\x04\0\0", b"\xff\xfe\0", b"text\0with nul", b"\xc3("])
async def test_other_documents_are_refused(data):
    with pytest.raises(UnsupportedContent, match="PDF or UTF-8 text"):
        await block_of(document(data))


async def test_the_error_says_how_it_would_have_been_taken():
    with pytest.raises(UnsupportedContent, match=r"document\(\)"):
        await block_of(image(pdf("x")))
    with pytest.raises(UnsupportedContent, match=r"image\(\)") as caught:
        await block_of(document(PNG))
    assert caught.value.details["media_type"] == "image/png"
    assert isinstance(caught.value, InvalidInputError)


async def test_nothing_is_broken():
    with pytest.raises(BrokenContent, match="empty"):
        await block_of(image(b""))


async def test_sizes_are_bounded_and_the_setting_is_named():
    assert await block_of(image(PNG), max_image=len(PNG))
    for source in (PNG, "data:;base64," + base64.b64encode(PNG).decode()):
        with pytest.raises(ContentTooLarge, match="max_image_bytes") as caught:
            await block_of(image(source), max_image=len(PNG) - 1)
    assert caught.value.details["limit"] == len(PNG) - 1
    with pytest.raises(ContentTooLarge, match="max_document_bytes"):
        await block_of(document(b"hello"), max_document=4)


async def test_a_data_url_that_claims_too_much_is_not_decoded():
    with pytest.raises(ContentTooLarge):
        await block_of(image("data:;base64," + "A" * 1000), max_image=10)


@pytest.mark.parametrize("url", ["data:image/png;base64", "data:image/png;base64,AAA", "data:;base64,*"])
async def test_a_broken_data_url_is_refused(url):
    with pytest.raises(BrokenContent):
        await block_of(image(url))


async def test_a_data_url_without_base64():
    assert await block_of(document("data:text/plain,a%20b")) == Document(blob_id(b"a b"), "text/plain", "", 3)


@pytest.mark.parametrize("source", [3, None, ["x"], "photo.png", "file:///etc/passwd", "ftp://example.com/a"])
def test_other_sources_are_refused_at_once(source):
    with pytest.raises(InvalidInputError):
        image(source)


def test_no_bytes_and_no_secrets_are_shown():
    assert repr(image(PNG)) == f"<image bytes ({len(PNG)} bytes)>"
    shown = repr(document("https://example.com/a.pdf?token=secret"))
    assert "secret" not in shown
    assert document("https://example.com/a/b.pdf?x=1").name == "b.pdf"


# -- files


@pytest.fixture
def folder(tmp_path):
    """An allowed folder, with a secret beside it."""
    (tmp_path / "secret.png").write_bytes(PNG)
    inside = tmp_path / "allowed"
    (inside / "deep").mkdir(parents=True)
    (inside / "deep" / "a.png").write_bytes(PNG)
    (inside / "in").symlink_to("deep/a.png")
    (inside / "out").symlink_to("../secret.png")
    (inside / "far").symlink_to(tmp_path / "secret.png")
    return inside


@pytest.mark.parametrize("path", ["deep/a.png", "in", "deep/../deep/a.png"])
@pytest.mark.parametrize("absolute", [True, False])
async def test_a_file_beneath_a_root_is_read(folder, path, absolute, tmp_path):
    where = folder / path if absolute else Path(path)
    block = await block_of(image(where), roots=(str(tmp_path / "none"), str(folder)))
    assert block == Image(blob_id(PNG), "image/png", len(PNG))


async def test_a_relative_path_may_also_start_from_here(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    for path in ("allowed/deep/a.png", "deep/a.png"):
        assert (await block_of(image(Path(path)), roots=("allowed",))).size == len(PNG)
    with pytest.raises(ContentNotAllowed):
        await block_of(image(Path("allowed/../secret.png")), roots=("allowed",))


@pytest.mark.parametrize("path", ["out", "far", "../secret.png", "deep/../../secret.png"])
@pytest.mark.parametrize("absolute", [True, False])
async def test_no_way_leads_out_of_a_root(folder, path, absolute):
    where = folder / path if absolute else Path(path)
    with pytest.raises(ContentNotAllowed, match="content_roots"):
        await block_of(image(where), roots=(str(folder),))


async def test_without_roots_no_path_is_read(folder):
    with pytest.raises(ContentNotAllowed, match="content_roots, or send the bytes"):
        await block_of(image(folder / "deep" / "a.png"))


@pytest.mark.parametrize("path", ["nothing.png", "deep", "pipe", "deep/a.png/b"])
async def test_what_cannot_be_read_says_why(folder, path):
    os.mkfifo(folder / "pipe")
    with pytest.raises(ContentUnavailable, match="cannot be read"):
        await block_of(image(folder / path), roots=(str(folder),))


async def test_no_more_of_a_file_is_read_than_is_taken(folder):
    os.truncate(folder / "deep" / "a.png", 1 << 40)  # sparse; reading all of it would not fit
    with pytest.raises(ContentTooLarge):
        await block_of(image(folder / "deep" / "a.png"), roots=(str(folder),))


async def test_a_document_has_its_files_name(folder):
    (folder / "notes.txt").write_text("hello")
    assert (await block_of(document(folder / "notes.txt"), roots=(str(folder),))).name == "notes.txt"


# -- PDF


async def test_the_text_of_a_pdf_is_kept_beside_it():
    data = pdf("First page", "Second page")
    taken = await intake().take([document(data, name="two.pdf")], STORED)
    (block,) = taken.content
    assert taken.blobs[block.blob] == data
    assert taken.blobs[block.text_blob] == b"First page\n\nSecond page"


async def test_a_pdf_without_text_has_none():
    assert (await block_of(document(pdf("")))).text_blob is None


@pytest.mark.parametrize("data", [b"%PDF-1.4", b"%PDF-1.4\n%%EOF", pdf("x")[:120]])
async def test_a_broken_pdf_is_refused(data):
    with pytest.raises(BrokenContent, match="not a readable PDF"):
        await block_of(document(data))


WITHOUT_PYPDF = """
import asyncio, sys
sys.path.insert(0, "{here}")
import importlib.util
real = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "pypdf" else real(name, *rest)
from content_samples import pdf
from power_loop import MemoryStore, document, BrokenContent, MissingExtraError
from power_loop.content import Intake
def take(data, needs_text):
    intake = Intake(needs_text=lambda: needs_text)
    return asyncio.run(intake.take([document(data)], MemoryStore().read_blob)).content[0].text_blob
print(take(pdf("x"), False))
for data, needs_text in ((pdf("x")[:120], False), (pdf("x"), True)):
    try:
        take(data, needs_text)
    except (BrokenContent, MissingExtraError) as error:
        print(error)
"""


def test_without_pypdf_a_pdf_goes_natively_and_is_refused_only_where_its_text_is_needed():
    script = WITHOUT_PYPDF.format(here=Path(__file__).parent)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    native, broken, missing = done.stdout.splitlines()
    assert native == "None"
    assert "no end marker" in broken
    assert "pip install 'power-loop[pdf]'" in missing


async def test_a_page_that_never_ends_is_left(monkeypatch):
    """A file of a stranger's may keep its reader busy for ever; who sends it is told in time."""
    release = threading.Event()
    monkeypatch.setattr("power_loop.content.pdf._page_text", lambda _pages, _number: str(release.wait(60)))
    monkeypatch.setattr("power_loop.content.intake.GRACE", 0.01)
    with pytest.raises(BrokenContent, match="to read"):
        await block_of(document(pdf("x")), timeout=0.01)
    release.set()


async def test_what_takes_too_long_is_left_out_and_said():
    taken = await intake(timeout=1e-9).take([document(pdf("one", "two"))], STORED)
    assert taken.blobs[taken.content[0].text_blob] == b"[... pages 1 to 2 were not read ...]"


async def test_names_are_made_holdable():
    assert (await block_of(document(b"hello", name="\ud800.txt"))).name == "\ufffd.txt"


# -- order


async def test_parts_keep_their_order_and_equal_bytes_are_one_blob():
    taken = await intake().take([Text("a"), image(PNG), Text("b"), image(PNG), document(b"c")], STORED)
    assert [type(block) for block in taken.content] == [Text, Image, Text, Image, Document]
    assert set(taken.blobs) == {blob_id(PNG), blob_id(b"c")}


async def test_bytes_that_the_store_does_not_have_are_unavailable():
    with pytest.raises(ContentUnavailable, match="Send them"):
        await block_of(image(blob_id(PNG)))
