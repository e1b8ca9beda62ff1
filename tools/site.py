"""What mkdocs.yml has beyond its settings (mkdocs calls these hooks by name).

README.md is the first page, and CHANGELOG.md, CONTRIBUTING.md and SECURITY.md are pages too: nothing is written twice.
Pages that mkdocs.yml does not list come last in its guide, so that none is forgotten. Links to files that are not pages
lead to the project's repository.
"""

from __future__ import annotations

import posixpath
import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

sys.path.insert(0, str(Path(__file__).resolve().parent))
import links

# Files of the project that are pages, by the name that the page has.
PAGES = {
    "index.md": "README.md",
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
    "security.md": "SECURITY.md",
}
GUIDE = "Guide"


def _paths(nav: Any) -> set[str]:
    if isinstance(nav, str):
        return {nav}
    return {path for item in (nav.values() if isinstance(nav, dict) else nav) for path in _paths(item)}


def on_config(config: Any) -> Any:
    """Adds the pages that are not listed, and the repository."""
    config.repo_url = links.home()
    docs = Path(config.docs_dir)
    listed = _paths(config.nav)
    found = sorted(path.relative_to(docs).as_posix() for path in docs.rglob("*.md"))
    guide = next(section[GUIDE] for section in config.nav if GUIDE in section)
    guide += [page for page in found if page not in listed]
    return config


def on_files(files: Files, config: Any) -> Files:
    """Adds the pages that are files of the project."""
    for page, path in PAGES.items():
        files.append(File.generated(config, page, content=(links.ROOT / path).read_text("utf-8")))
    return files


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Files) -> str:
    """Leads links to other pages of the site, or out of it."""
    here = page.file.src_uri
    path = PAGES.get(here, f"docs/{here}")
    pages = {file: made for made, file in PAGES.items()}

    def replacement(target: str) -> str:
        if not links.is_relative(target) or target.startswith("#"):
            return target
        file, mark, anchor = target.partition("#")
        file = posixpath.normpath(posixpath.join(posixpath.dirname(path), file))
        made = pages.get(file, file.removeprefix("docs/") if file.startswith("docs/") else "")
        if files.get_file_from_path(made) is None:
            return links.absolute(target, path)
        return posixpath.relpath(made, posixpath.dirname(here) or ".") + mark + anchor

    return links.relinked(markdown, replacement)
