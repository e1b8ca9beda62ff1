"""``plan --html`` and ``show --html``: a picture of an address space, one HTML file that needs nothing else.

Every area is an element whose width grows with the logarithm of its size; the bar above them is to scale. The page is
seen without its script, which only says in words what the pointer is at. Names come from a target and may hold
anything: they are escaped twice, for terminals and for HTML, and the page lets nothing run but this package's script.
"""

from __future__ import annotations

import base64
import hashlib
import html
import sys
from itertools import pairwise

from .. import sinks
from .._os.sinks_common import sink_error
from ..enums import Phase
from ..errors import DumpError
from . import areas as areas_
from . import text
from .picture_page import COLOURS, SCRIPT, STEPS, STYLE, WIDEST
from .regions import meaning, rule_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Final

    from ..report import RuleBytes
    from .areas import Area, Group

_PAGE: Final = 4096
_APART: Final = 1 << 30
"""Areas that are so far apart are in clusters of their own."""
_CLUSTERS: Final = 64
_COLUMNS: Final = 1000
"""Of the bar that is to scale."""
_ROWS: Final = 200
"""So many files are listed."""


def put(path: str, title: str, areas: Sequence[Area], rules: Sequence[RuleBytes] = ()) -> None:
    """Write the picture to a path as a dump is written, or to stdout for ``-``."""
    pieces = page(title, areas, rules)
    if path == "-":
        for piece in pieces:
            sys.stdout.write(piece)
        return
    sink = sinks.open_sink(path)  # as a dump
    assert sink.fd is not None
    try:
        with open(sink.fd, "w", encoding="ascii", newline="\n", closefd=False) as file:
            file.writelines(pieces)
        sink.commit(lambda: None)
    except OSError as error:
        sink.discard()
        raise error if isinstance(error, DumpError) else sink_error(error, "write", path, Phase.FINISH) from error
    except BaseException:
        sink.discard()
        raise


def page(title: str, areas: Sequence[Area], rules: Sequence[RuleBytes] = ()) -> Iterator[str]:
    """The text of the page, in pieces."""
    areas = sorted(areas, key=lambda area: (area.base, -area.size))
    groups = areas_.by_name(areas)
    numbers = {areas_.group_key(group): number for number, group in enumerate(groups)}
    whole = areas_.total(groups)
    name = _named(title)
    yield (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; style-src {_hash(STYLE)}; '
        f"script-src {_hash(SCRIPT)}; base-uri 'none'; form-action 'none'\">\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{name}</title>\n<style>{STYLE}</style></head><body>\n<h1>{name}</h1>\n"
        f"<p>{text.plural(len(areas), 'region')}, {text.size(whole.size)} mapped, {text.size(whole.kept)} of it in the "
        f"dump, {text.size(whole.stored)} stored.</p>\n"
    )
    yield from _legend(areas)
    yield from _to_scale(areas)
    yield from _map(areas, numbers)
    yield from _tables(groups, areas, rules, numbers)
    yield f'<div id="info">Point at an area, or touch it.</div>\n<script>{SCRIPT}</script>\n</body></html>\n'


def _safe(name: str) -> str:
    """A name as text of HTML in ASCII, also within an attribute: stdout may have any encoding."""
    return html.escape(name, quote=True).encode("ascii", "xmlcharrefreplace").decode("ascii")


def _named(name: str) -> str:
    """The same of a name that may hold anything."""
    return _safe(text.printable(name))


def _hash(source: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'"


def _kind(kind: str) -> str:
    return kind if kind in COLOURS else "other"


def _step(part: int, whole: int) -> int:
    """A share in steps: what is not nothing is seen, what is not all is not full."""
    if not part or not whole:
        return 0
    return STEPS if part >= whole else min(STEPS - 1, max(1, part * STEPS // whole))


def _width(size: int) -> int:
    """Pixels of an area: two more each time it is twice as large."""
    pages = max(1, size // _PAGE)
    return min(WIDEST, 3 + 2 * (pages.bit_length() - 1))


def _legend(areas: Sequence[Area]) -> Iterator[str]:
    found = {area.kind: None for area in areas}
    yield '<div class="legend">'
    for kind in found:
        key = _kind(kind)
        yield f'<button value="{key}"><i class="{key} s{STEPS} p{STEPS} w14"></i>{_safe(kind)}</button>'
    yield '</div>\n<div class="legend">'
    yield f'<span><i class="image s{STEPS} p{STEPS} w14"></i>stored in the file</span>'
    yield f'<span><i class="image p{STEPS} w14"></i>in the dump, as zeros or not yet</span>'
    yield '<span><i class="image s8 p14 w14"></i>partly</span>'
    words = {area.verdict: None for area in areas}
    for word in words:
        if word not in ("kept", "partly"):
            yield f'<span><i class="image {_safe(word)} w14"></i>{_safe(word)}: {_safe(meaning(word))}</span>'
    yield "</div>\n"


def _to_scale(areas: Sequence[Area]) -> Iterator[str]:
    """One bar of all memory, in which a kept byte takes as much room as any other."""
    whole = sum(area.size for area in areas if area.verdict not in areas_.NOT_MEMORY)
    yield "<h2>To scale</h2>\n"
    if not whole:
        yield "<p>There is no memory.</p>\n"
        return
    yield (
        f"<p>All {text.size(whole)} by address, without gaps and without areas in which nothing can be; a thousandth "
        f"of the width is {text.size(-(-whole // _COLUMNS))}. Pale: not in the dump.</p>\n"
        f'<svg class="whole" viewBox="0 0 {_COLUMNS} {STEPS}" preserveAspectRatio="none" role="img" '
        'aria-label="All memory to scale">'
    )
    first, last = 0, ("", -1)
    for at, look in enumerate([*_columns(areas, whole), ("", -1)]):
        if look == last:
            continue
        kind, step = last
        if kind:
            place = f'x="{first}" width="{at - first}"'
            yield f'<rect class="rest {kind}" {place} height="{STEPS}"/>'
            yield f'<rect class="{kind}" {place} y="{STEPS - step}" height="{step}"/>' if step else ""
        first, last = at, look
    yield "</svg>\n"


def _columns(areas: Sequence[Area], whole: int) -> Iterator[tuple[str, int]]:
    """For each column of the bar the kind of most of it, and how much of it is in the dump."""
    column, at, weights, kept = 0, 0, dict[str, int](), 0
    for area in areas:
        if area.verdict in areas_.NOT_MEMORY:
            continue
        done = 0
        while done < area.size:
            end = (column + 1) * whole // _COLUMNS
            piece = min(area.size - done, end - at)
            kind = _kind(area.kind)
            weights[kind] = weights.get(kind, 0) + piece
            kept += piece * area.kept // area.size
            at, done = at + piece, done + piece
            if at >= end:
                if weights:
                    yield max(weights, key=weights.__getitem__), _step(kept, sum(weights.values()))
                column, weights, kept = column + 1, {}, 0


def _map(areas: Sequence[Area], numbers: dict[tuple[str, str], int]) -> Iterator[str]:
    """All areas in clusters, by address."""
    yield "<h2>Every region</h2>\n<p>By address. The width of a region grows with the logarithm of its size:</p>"
    yield '<div class="legend">'
    for size in (_PAGE, 1 << 16, 1 << 20, 1 << 24, 1 << 30):
        yield f'<span><i class="other w{_width(size)}"></i>{text.size(size)}</span>'
    yield "</div>\n<p>It is filled as far as it is in the dump. A small space is a gap between addresses.</p>\n"
    yield '<div id="map">\n'
    end = 0
    for number, cluster in enumerate(_clusters(areas)):
        base, last = cluster[0].base, max(area.base + area.size for area in cluster)
        if number:
            yield f'<div class="gap">{text.size(max(0, base - end))} with nothing in it</div>\n'
        sizes = f"{text.plural(len(cluster), 'region')}, {text.size(sum(area.size for area in cluster))}"
        yield f'<h3>{base:#x} to {last:#x}: {sizes}</h3>\n<div class="cluster">'
        end = base
        for area in cluster:
            yield _area(area, numbers[areas_.key_of(area)], after=area.base > end)
            end = max(end, area.base + area.size)
        yield "</div>\n"
    yield "</div>\n"


def _area(area: Area, number: int, *, after: bool) -> str:
    left = ", ".join(f"{word} {text.size(size)}" for word, size in area.left.items())
    stored = f"kept {text.size(area.kept)}, stored {text.size(area.stored)}" if area.kept else ""
    title = (
        f"{area.base:#x} to {area.base + area.size:#x}: {text.size(area.size)}, {area.access or '---'}, {area.kind}\n"
        f"{', '.join(filter(None, (stored, left)))}"
    )
    name = f"\n{text.printable(area.name)}" if area.name else ""  # below what is said of it
    classes = [_kind(area.kind), f"w{_width(area.size)}", f"n{number}"]
    if area.kept:
        classes += [f"s{_step(area.stored, area.size)}", f"p{_step(area.kept, area.size)}"]
    elif area.verdict in areas_.VERDICTS:
        classes.append(area.verdict)
    if after:
        classes.append("after")
    return f'<i class="{" ".join(classes)}" title="{_safe(title + name)}"></i>'


def _clusters(areas: Sequence[Area]) -> list[list[Area]]:
    """Areas between the largest gaps."""
    gaps, end = [], None
    for number, area in enumerate(areas):
        if end is not None and area.base - end >= _APART:
            gaps.append((area.base - end, number))
        end = max(end or 0, area.base + area.size)
    starts = sorted(number for _, number in sorted(gaps, reverse=True)[: _CLUSTERS - 1])
    bounds = [0, *starts, len(areas)]
    return [list(areas[first:last]) for first, last in pairwise(bounds) if last > first]


def _tables(
    groups: Sequence[Group],
    areas: Sequence[Area],
    rules: Sequence[RuleBytes],
    numbers: dict[tuple[str, str], int],
) -> Iterator[str]:
    kinds = areas_.by_kind(areas)
    yield "<h2>By kind</h2>\n"
    yield from _table(
        ("kind", ">regions", ">size", ">kept", ">stored", ""),
        (
            (_button(_kind(kind.kind), kind.kind), f"{kind.areas:,}", *_amounts(kind), _bar(kind, kinds))
            for kind in kinds
        ),
    )
    if left := areas_.by_verdict(areas):
        yield "<h2>Not in the dump</h2>\n"
        rows = ((_safe(word), f"{count:,}", text.size(size), _safe(meaning(word))) for word, size, count in left)
        yield from _table(("why", ">regions", ">size", ""), rows)
    if rules:
        most = max(rule.kept + rule.excluded for rule in rules)
        yield "<h2>By rule</h2>\n<p>The last rule that matches a byte decides.</p>\n"
        yield from _table(
            ("rule", ">kept", ">left out", ""),
            (
                (
                    _named(rule_name(rule)),
                    text.size(rule.kept),
                    text.size(rule.excluded),
                    _svg((("anonymous", rule.kept), ("out", rule.excluded)), most),
                )
                for rule in rules
            ),
        )
    yield "<h2>By module and file</h2>\n"
    yield from _table(
        ("file or kind of memory", "kind", ">regions", ">size", ">kept", ">stored", ""),
        (
            (
                _button(f"n{numbers[areas_.group_key(group)]}", group.name),
                _safe(group.kind),
                f"{group.areas:,}",
                *_amounts(group),
                _bar(group, groups),
            )
            for group in groups[:_ROWS]
        ),
    )
    if rest := groups[_ROWS:]:
        yield f"<p>And {len(rest):,} more, {text.size(areas_.total(rest).size)}.</p>\n"


def _button(value: str, words: str) -> str:
    return f'<button value="{value}">{_named(words)}</button>'


def _amounts(group: Group) -> tuple[str, ...]:
    return tuple(text.size(number) if number else "-" for number in (group.size, group.kept, group.stored))


def _bar(group: Group, groups: Sequence[Group]) -> str:
    most = groups[0].memory  # the largest is the first
    return _svg(((_kind(group.kind), group.kept),), most)


def _svg(parts: Iterable[tuple[str, int]], whole: int) -> str:
    at, found = 0.0, ""
    for key, number in parts:
        width = round(100 * number / whole, 2) if whole else 0
        found += f'<rect class="{key}" x="{at:g}" width="{width:g}" height="10"/>' if width else ""
        at += width
    return f'<svg viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">{found}</svg>'


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """A table of HTML; a head that begins with ``>`` is a column of numbers."""
    right = [' class="number"' if title.startswith(">") else "" for title in head]
    cells = "".join(f"<th{place}>{title.removeprefix('>')}</th>" for place, title in zip(right, head, strict=True))
    yield f'<div class="table"><table><thead><tr>{cells}</tr></thead><tbody>\n'
    for row in rows:
        cells = "".join(f"<td{place}>{cell}</td>" for place, cell in zip(right, row, strict=True))
        yield f"<tr>{cells}</tr>\n"
    yield "</tbody></table></div>\n"
