"""URLs: only where the host allows, only to addresses that it means, within bytes and seconds."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from content_samples import PNG

from power_loop import ContentError, ContentNotAllowed, ContentTooLarge, ContentUnavailable, MemoryStore, image
from power_loop.content import Intake
from power_loop.content.hosts import is_public, target_of
from power_loop.ports.content import ContentPolicy


class _Handler(BaseHTTPRequestHandler):
    """Answers by path; ``server.asked`` keeps what was asked."""

    def do_GET(self):
        self.server.asked.append((self.path, self.headers["Host"]))
        name = self.path.partition("?")[0].strip("/")
        getattr(self, f"_{name.partition('/')[0]}")()

    def log_message(self, *_):
        pass

    def _send(self, data, status=200, **headers):
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(data)

    def _png(self):
        self._send(PNG, **{"Content-Length": str(len(PNG)), "Content-Type": "text/html"})

    def _open(self):
        self._send(PNG)

    def _missing(self):
        self._send(b"", 404)

    def _short(self):
        self._send(PNG[:-9], **{"Content-Length": str(len(PNG))})

    def _huge(self):
        self._send(PNG, **{"Content-Length": str(1 << 40)})

    def _endless(self):
        self.send_response(200)
        self.end_headers()
        try:
            while True:
                self.wfile.write(PNG * 1000)
        except OSError:
            self.server.left.set()

    def _drip(self):
        self.send_response(200)
        self.end_headers()
        try:
            while not self.server.done.wait(0.02):
                self.wfile.write(b"x")
                self.wfile.flush()
        except OSError:
            self.server.left.set()

    def _silent(self):
        self.server.done.wait(60)

    def _to(self):
        self._send(b"", 302, Location=self.server.target)

    def _round(self):
        self._send(b"", 302, Location="/round")


@contextmanager
def serving() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    server.asked, server.target = [], ""
    server.done, server.left = threading.Event(), threading.Event()
    server.origin = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.done.set()
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def server():
    with serving() as made:
        yield made


async def fetched(server, path, hosts=None, **policy):
    settings = ContentPolicy(hosts=(server.origin,) if hosts is None else hosts, **policy)
    taken = await Intake(lambda: settings).take([image(server.origin + path)], MemoryStore().read_blob)
    return taken.blobs[taken.content[0].blob]


@pytest.mark.parametrize("path", ["/png", "/open", "/png/a%20b?size=1"])
async def test_an_allowed_origin_is_fetched_as_it_stands(server, path):
    assert await fetched(server, path) == PNG
    assert server.asked == [(path, f"127.0.0.1:{server.server_port}")]


@pytest.mark.parametrize("hosts", [(), ("127.0.0.1",), ("*.0.0.1",), ("https://127.0.0.1",), ("http://127.0.0.1",)])
async def test_what_is_not_allowed_is_not_asked(server, hosts):
    with pytest.raises(ContentNotAllowed, match="content_hosts"):
        await fetched(server, "/png", hosts)
    assert server.asked == []


async def test_a_redirect_is_checked_like_the_url_itself(server):
    with serving() as other:
        server.target = other.origin + "/png"
        with pytest.raises(ContentNotAllowed, match="content_hosts"):
            await fetched(server, "/to")
        assert other.asked == []
        assert await fetched(server, "/to", (server.origin, other.origin)) == PNG


@pytest.mark.parametrize("target", ["file:///etc/passwd", "http://user:pw@127.0.0.1/", "http://[::1", "gopher://x/"])
async def test_a_redirect_leads_nowhere_else(server, target):
    server.target = target
    with pytest.raises(ContentError):
        await fetched(server, "/to")


@pytest.mark.parametrize(("path", "why"), [("/missing", "404"), ("/short", "early"), ("/round", "redirects")])
async def test_what_cannot_be_had_says_why(server, path, why):
    with pytest.raises(ContentUnavailable, match=why):
        await fetched(server, path)


async def test_nobody_there():
    with serving() as server:
        pass
    with pytest.raises(ContentUnavailable, match="could not be fetched"):
        await fetched(server, "/png")


@pytest.mark.parametrize("path", ["/huge", "/endless"])
async def test_no_more_is_fetched_than_is_taken(server, path):
    with pytest.raises(ContentTooLarge, match="max_image_bytes"):
        await fetched(server, path, max_image=100_000)


@pytest.mark.parametrize("path", ["/silent", "/drip"])
async def test_a_slow_server_is_left_in_time(server, path):
    with pytest.raises(ContentUnavailable, match=r"within 0\.3 s"):
        await fetched(server, path, timeout=0.3)
    if path == "/drip":
        assert server.left.wait(20)


async def test_a_name_that_leads_home_is_refused_unless_its_origin_is_named(server, monkeypatch):
    """The name is resolved once: the very address that was looked at is the one that is connected to."""
    asked = []

    def resolve(host, port, **_):
        asked.append(host)
        return [(2, 1, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr("power_loop.content.fetch.socket.getaddrinfo", resolve)
    intake = Intake(lambda: ContentPolicy(hosts=("pictures.example",)))
    with pytest.raises(ContentNotAllowed, match="not public"):
        await intake.take([image("https://pictures.example/a.png")], MemoryStore().read_blob)
    assert asked == ["pictures.example"]


@pytest.mark.parametrize(
    ("url", "hosts", "allowed"),
    [
        ("https://example.com/a", ("example.com",), True),
        ("https://EXAMPLE.com./a", ("Example.com",), True),
        ("http://example.com/a", ("example.com",), False),
        ("https://example.com:444/a", ("example.com",), False),
        ("https://example.com:444/a", ("https://example.com:444",), True),
        ("https://a.example.com/", ("example.com",), False),
        ("https://a.example.com/", ("*.example.com",), True),
        ("https://example.com/", ("*.example.com",), False),
        ("https://badexample.com/", ("*.example.com",), False),
        ("https://example.com@evil.test/", ("example.com",), False),
        ("https://example.com:x/", ("example.com",), False),
        ("https://exam\u0440le.com/", ("exam\u0440le.com",), False),
        ("https://example.com/a\r\nHost: b", ("example.com",), False),
    ],
)
def test_which_urls_are_allowed(url, hosts, allowed):
    if allowed:
        assert target_of(url, hosts, "it").path in {"/", "/a"}
    else:
        with pytest.raises(ContentNotAllowed):
            target_of(url, hosts, "it")


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
        "255.255.255.255", "::1", "::", "fe80::1%eth0", "fc00::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
        "64:ff9b::7f00:1", "2002:7f00:1::", "2001:db8::1",
    ],
)  # fmt: skip
def test_addresses_of_ones_own_network_are_not_public(address):
    assert not is_public(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "64:ff9b::101:101"])
def test_addresses_of_the_open_internet_are(address):
    assert is_public(address)
