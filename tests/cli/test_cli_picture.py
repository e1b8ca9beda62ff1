"""``plan --html`` and ``show --html``: the page as its elements, and as a real browser draws it."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import live
import pytest
import readers
from hypothesis import given
from hypothesis import strategies as st

from minidump_cffi.cli import main, picture, text
from minidump_cffi.cli.areas import KINDS, VERDICTS, Area
from minidump_cffi.cli.picture_page import COLOURS

DATA = Path(__file__).resolve().parents[1] / "data"
EVIL = 'x"><b id=evil>&<img src=x onerror=document.title=1>\x1b[2J\u202e.bin'
#: Maps a file of that name, and a stack and a heap that are there anyway.
TARGET = """
import mmap, sys
area = mmap.mmap(-1, 4 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
area[: 2 << 20] = b"x" * (2 << 20)
with open(sys.argv[1], "wb+") as file:
    file.write(b"y" * 65536)
    file.flush()
    mapped = mmap.mmap(file.fileno(), 65536)
print("ready", flush=True)
sys.stdin.read()
"""


TAGS = {"html", "head", "meta", "title", "style", "body", "h1", "h2", "h3", "p", "div", "span", "button", "i", "script"}
TAGS |= {"svg", "rect", "table", "thead", "tbody", "tr", "th", "td"}
ATTRIBUTES = {"lang", "charset", "http-equiv", "content", "name", "class", "value", "title", "viewbox", "role", "id"}
ATTRIBUTES |= {"preserveaspectratio", "aria-label", "aria-hidden", "x", "y", "width", "height"}


class Page(HTMLParser):
    """The elements of a page, with their attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def areas(self) -> list[dict[str, str]]:
        """The regions of the map."""
        return [attributes for tag, attributes in self.elements if tag == "i" and "title" in attributes]


@st.composite
def areas(draw: st.DrawFn) -> list[Area]:
    """Areas of any kind, size and name, as hostile files have them: they may overlap."""
    found = []
    for _ in range(draw(st.integers(0, 20))):
        size = draw(st.integers(1, 1 << 40))
        kept = draw(st.sampled_from([0, size, size // 2]))
        word = draw(st.sampled_from([*VERDICTS, "new-word"])) if kept < size else "kept"
        found.append(
            Area(
                draw(st.integers(0, (1 << 64) - size)),
                size,
                kept=kept,
                stored=draw(st.integers(0, kept)),
                kind=draw(st.sampled_from([*KINDS, "new-kind"])),
                verdict=word,
                left={word: size - kept} if kept < size else {},
                access="rw-",
                type="private",
                name=draw(st.text(max_size=20) | st.just(EVIL)),
            )
        )
    return found


@given(areas(), st.text())
def test_every_area_is_one_element(found: list[Area], title: str) -> None:
    """With all that is known of it, whatever it is called; names make no elements and no attributes."""
    made = "".join(picture.page(title, found))
    page = Page(made)
    shown = page.areas()
    assert len(shown) == len(found)
    assert sorted(area["title"].partition(":")[0] for area in shown) == sorted(
        f"{area.base:#x} to {area.base + area.size:#x}" for area in found
    )
    names = {area["title"].split("\n", 2)[2] for area in shown if area["title"].count("\n") == 2}
    assert names == {text.printable(area.name) for area in found if area.name}
    assert {tag for tag, _ in page.elements} <= TAGS
    assert {name for _, attributes in page.elements for name in attributes} <= ATTRIBUTES
    assert made.isascii() and all(letter.isprintable() or letter == "\n" for letter in made)
    for tag, attributes in page.elements:
        if tag == "rect" and "y" not in attributes:
            assert float(attributes["x"]) >= 0 and float(attributes["x"]) + float(attributes["width"]) <= 1000.5


def test_each_kind_has_a_colour() -> None:
    """In tables and in the picture."""
    assert set(KINDS) == set(COLOURS)


def test_a_page_of_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Only its owner may read it; it appears as a whole; tables are not printed then."""
    path, sample = tmp_path / "map.html", DATA / "google-tiny-exe-with-cet-xsave.dmp"
    assert main(["show", str(sample), "--html", str(path)]) == 0
    out, err = capsys.readouterr()
    assert out == "" and "map.html" in err and err.count("\n") == 1
    assert list(tmp_path.iterdir()) == [path]
    if sys.platform != "win32":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert main(["show", str(sample), "--html", "-"]) == 0
    assert capsys.readouterr().out == path.read_text()
    regions = json.loads(live.run_cli("show", str(sample), "--json").stdout)["regions"]
    free = 0x10000
    assert len(Page(path.read_text()).areas()) == sum(1 for region in regions if region["state"] != free)
    assert main(["show", str(sample), "--html", "-", "--json"]) == 2
    assert "--html -" in capsys.readouterr().err
    assert main(["show", str(sample), "--html", str(tmp_path / "none" / "map.html")]) == 1
    assert "none" in capsys.readouterr().err and list(tmp_path.iterdir()) == [path]


def browser() -> str:
    """Chromium, which CI must have."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        if readers.readers_required():
            pytest.fail("there is no chromium, and MDC_REQUIRE_READERS is set")
        pytest.skip("there is no chromium")
    return found


def pixels(png: bytes) -> dict[tuple[int, int, int], int]:
    """How many pixels of each colour a PNG of 8 bits has (ISO/IEC 15948)."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    at, data, head = 8, b"", b""
    while at < len(png):
        size, kind = struct.unpack_from(">I4s", png, at)
        part = png[at + 8 : at + 8 + size]
        head, data = (part if kind == b"IHDR" else head), (data + part if kind == b"IDAT" else data)
        at += size + 12
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", head)
    step = {2: 3, 6: 4}[colour]
    assert depth == 8 and not interlaced
    raw, found = zlib.decompress(data), dict[tuple[int, int, int], int]()
    above = bytearray(width * step)
    for row in range(height):
        start = row * (width * step + 1)
        method, line = raw[start], bytearray(raw[start + 1 : start + 1 + width * step])
        for i in range(len(line)):
            left, up = line[i - step] if i >= step else 0, above[i]
            corner = above[i - step] if i >= step else 0
            if method == 1:
                line[i] = line[i] + left & 255
            elif method == 2:
                line[i] = line[i] + up & 255
            elif method == 3:
                line[i] = line[i] + (left + up) // 2 & 255
            elif method == 4:
                nearest = left + up - corner
                best = min((left, up, corner), key=lambda value: abs(nearest - value))
                line[i] = line[i] + best & 255
        above = line
        for i in range(0, len(line), step):
            key = (line[i], line[i + 1], line[i + 2])
            found[key] = found.get(key, 0) + 1
    return found


@pytest.mark.linux
def test_a_browser_draws_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every region has a place, the colours of its kinds are there, the script ran, and a hostile name did nothing."""
    chromium, page, image = browser(), tmp_path / "map.html", tmp_path / "map.png"
    command = [sys.executable, "-c", TARGET, str(tmp_path / EVIL)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as target:
        assert target.stdout is not None and target.stdout.readline() == b"ready\n"
        words = ["plan", str(target.pid), "--type", "full", "--exclude", "kind=stack", "--html", str(page), "--json"]
        assert main(words) == 0
        target.kill()
    plan = json.loads(capsys.readouterr().out)
    done = subprocess.run(
        [
            chromium, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=700,900",
            f"--user-data-dir={tmp_path / 'profile'}", f"--screenshot={image}", "--dump-dom", page.as_uri(),
        ],
        capture_output=True, timeout=120, check=False,
    )  # fmt: skip
    dom = done.stdout.decode()
    assert re.search(r'<html lang="en" data-drawn="(\d+)"', dom), (done.stderr, dom[:500])
    drawn = Page(dom)
    assert drawn.elements[0][1]["data-drawn"] == str(len(plan["regions"])) == str(len(drawn.areas()))
    assert not [attributes for tag, attributes in drawn.elements if tag in ("b", "img")]
    assert f"Plan of process {plan['pid']}" in drawn.words and any("<b id=evil>" in word for word in drawn.words)
    found = pixels(image.read_bytes())
    for kind in ("image", "heap", "file"):
        colour = bytes.fromhex(COLOURS[kind].removeprefix("#"))
        assert found.get((colour[0], colour[1], colour[2]), 0) > 100, kind
    excluded = found.get((0xC2, 0x18, 0x2B), 0)
    assert excluded > 10, "the stacks are not hatched"


@pytest.mark.linux
def test_it_is_written_where_dumps_are(start_pattern: Callable[..., live.Target], tmp_path: Path) -> None:
    """A FIFO is written to, a symbolic link is followed: neither is replaced."""
    pid = str(start_pattern().pid)
    fifo, real, link = tmp_path / "fifo", tmp_path / "real.html", tmp_path / "link.html"
    os.mkfifo(fifo)
    real.touch()
    link.symlink_to(real)
    with subprocess.Popen(["cat", fifo], stdout=subprocess.PIPE) as reader:
        assert main(["plan", pid, "--html", str(fifo)]) == 0
        assert b"</html>" in reader.communicate()[0]
    assert main(["plan", pid, "--html", str(link)]) == 0
    assert fifo.is_fifo() and link.is_symlink() and "</html>" in real.read_text("ascii")
    assert main(["plan", pid, "--html", ""]) == 1
    assert main(["plan", pid, "--html", str(tmp_path / "none" / "a.html")]) == 1
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]
