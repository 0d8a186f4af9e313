"""What MkDocs is told beside mkdocs.yml: more pages, and where links out of docs/ lead."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

#: Papers that people look for at their place in the repository, and the pages that show them.
PAPERS = {
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
    "src/molgaze/weights/CARD.md": "card.md",
}
_LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)#\s]+)")


def on_files(files: Files, config: Any) -> Files:
    """Add the papers to the pages."""
    root = Path(config.config_file_path).parent
    for paper, page in PAPERS.items():
        text = (root / paper).read_text(encoding="utf-8")
        folder = posixpath.dirname(paper)
        files.append(File.generated(config, page, content=_linked(text, folder, config)))
    return files


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Files) -> str:
    """Make links from a page in docs/ to files outside of it lead to the repository."""
    if page.file.src_uri in PAPERS.values() or not page.file.src_uri.endswith(".md"):
        return markdown
    return _linked(markdown, "docs", config)


def on_page_content(html: str, *, page: Any, config: Any, files: Files) -> str:
    """Take the roles of Sphinx off names in docstrings, which Markdown has no word for."""
    return re.sub(r":(?:meth|data|class|func|mod):(?=<code>)", "", html)


def _linked(markdown: str, folder: str, config: Any) -> str:
    """The text of a paper, with links that hold on the site.

    Args:
        markdown: the text.
        folder: where the paper lies in the repository.
        config: that of MkDocs.
    """

    def target(link: re.Match[str]) -> str:
        name, mark, anchor = link[1].partition("#")
        path = posixpath.normpath(posixpath.join(folder, name))
        if path in PAPERS:
            return PAPERS[path] + mark + anchor
        if path.startswith("docs/"):
            return path.removeprefix("docs/") + mark + anchor
        if not (Path(config.config_file_path).parent / path).exists():
            return link[1]  # MkDocs tells of it
        return f"{config.repo_url.rstrip('/')}/blob/main/{path}{mark}{anchor}"

    return _LINK.sub(target, markdown)
